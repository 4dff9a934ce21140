<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Psr\Http\Client\ClientExceptionInterface;
use Psr\Http\Client\ClientInterface;
use Psr\Http\Message\RequestFactoryInterface;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\StreamFactoryInterface;
use Vidette\Exception\OutcomeUnknown;
use Vidette\Exception\StatusException;
use Vidette\Exception\VidetteException;
use Vidette\Http\NetworkException;
use Vidette\Publisher;
use Vidette\Receipt;

/**
 * Publishes letters until each has a receipt or an error.
 *
 * Every try sends the same ids, so a second try is never a second event. Trying ends before the gateway may have
 * forgotten the ids: then the outcome is unknown, and is said to be.
 */
final class Delivery
{
    public const ONE = 'one';
    public const BATCH = 'batch';
    public const LINES = 'lines';

    private readonly Backoff $backoff;
    private ?string $refusedToken = null;
    private bool $wasRefused = false;

    public function __construct(
        private readonly ClientInterface $http,
        private readonly RequestFactoryInterface&StreamFactoryInterface $factories,
        private readonly string $url,
        private readonly Tokens $tokens,
        private readonly float $windowSeconds,
        private readonly Clock $clock,
    ) {
        $this->backoff = new Backoff($clock);
    }

    /** @param list<Letter> $letters */
    public function deliver(array $letters, string $form): void
    {
        while (($open = self::open($letters)) !== []) {
            $token = $this->tokens->get($this->refusedToken);
            foreach ($open as $letter) {
                $letter->triedAt ??= $this->clock->now();
            }

            try {
                $response = $this->http->sendRequest($this->request($open, $form, $token));
                $wait = $this->takeResponse($response, $open, $form, $token);
            } catch (ClientExceptionInterface $error) {
                $this->takeReceipts($error instanceof NetworkException ? $error->received : '', $open, $form);
                $wait = $this->afterFailure($open, $error);
            }

            if ($wait !== null) {
                $this->clock->sleep($wait, static fn (): bool => false);
            }
        }
    }

    /**
     * @param list<Letter> $letters
     * @return list<Letter>
     */
    private static function open(array $letters): array
    {
        return array_values(array_filter($letters, static fn (Letter $letter): bool => $letter->outcome === null));
    }

    /** @param list<Letter> $letters */
    private function request(
        array $letters,
        string $form,
        #[\SensitiveParameter] ?string $token,
    ): \Psr\Http\Message\RequestInterface {
        $events = array_map(static fn (Letter $letter): string => $letter->json, $letters);
        $body = match ($form) {
            self::ONE => $events[0],
            self::BATCH => '[' . implode(',', $events) . ']',
            default => implode("\n", $events) . "\n",
        };

        $request = $this->factories->createRequest('POST', "$this->url/v1/events")
            ->withHeader('User-Agent', Publisher::USER_AGENT)
            ->withHeader('Content-Type', $form === self::LINES ? 'application/x-ndjson' : 'application/json')
            ->withBody($this->factories->createStream($body));

        return $token === null ? $request : $request->withHeader('Authorization', "Bearer $token");
    }

    /**
     * Returns the wait before another try, if one is needed.
     *
     * @param list<Letter> $letters
     */
    private function takeResponse(ResponseInterface $response, array $letters, string $form, ?string $token): ?float
    {
        $status = $response->getStatusCode();
        [$body, $readError] = self::body($response);

        if ($status === 200) {
            $this->wasRefused = false;
            $this->takeReceipts($body, $letters, $form);
            $short = $readError ?? new \RuntimeException('the answer ended before all events had their receipt');

            return self::open($letters) === [] ? null : $this->afterFailure($letters, $short);
        }

        $error = new StatusException($status, Json::object($body));
        if ($status === 401 && $this->tokens->areRenewable() && !$this->wasRefused) {
            $this->wasRefused = true;
            $this->refusedToken = $token;

            return null;
        }
        if (self::mayPass($status)) {
            $floor = Backoff::retryAfterSeconds($response->getHeaderLine('Retry-After'), $this->clock->wall());

            return $this->afterFailure($letters, $error, $floor);
        }
        self::settle($letters, $error);

        return null;
    }

    /**
     * The body as far as it comes, as clients differ in when they notice that an answer is cut.
     *
     * @return array{string, ?\RuntimeException}
     */
    private static function body(ResponseInterface $response): array
    {
        $body = '';
        $stream = $response->getBody();

        try {
            if ($stream->isSeekable()) {
                $stream->rewind();
            }
            while (!$stream->eof()) {
                $body .= $stream->read(65536);
            }
        } catch (\RuntimeException $error) {
            return [$body, $error];
        }

        return [$body, null];
    }

    /**
     * Whether the letters arrived is not known: they are sent again while the gateway remembers their ids.
     *
     * @param list<Letter> $letters
     */
    private function afterFailure(array $letters, \Throwable $error, float $floorSeconds = 0.0): ?float
    {
        $wait = $this->backoff->afterFailure($floorSeconds);
        $nextTry = $this->clock->now() + $wait;
        $isLate = fn (Letter $letter): bool => $nextTry >= $letter->triedAt + $this->windowSeconds;
        $late = array_values(array_filter(self::open($letters), $isLate));

        if ($late !== []) {
            $ids = array_map(static fn (Letter $letter): string => $letter->id, $late);
            self::settle($late, new OutcomeUnknown($ids, $error));
        }

        return self::open($letters) === [] ? null : $wait;
    }

    /** @param list<Letter> $letters */
    private function takeReceipts(string $body, array $letters, string $form): void
    {
        if ($form === self::LINES) {
            $answers = array_filter(explode("\n", $body), static fn (string $line): bool => trim($line) !== '');
            $entries = array_map(Json::object(...), array_values($answers));
        } else {
            $fields = Json::object($body);
            $entries = $form === self::BATCH ? ($fields['events'] ?? []) : [$fields];
        }
        if ($form === self::BATCH && (!is_array($entries) || count($entries) !== count($letters))) {
            return;
        }

        foreach ($letters as $index => $letter) {
            $this->takeReceipt($letter, $entries[$index] ?? null);
        }
    }

    private function takeReceipt(Letter $letter, mixed $fields): void
    {
        $error = $fields['error'] ?? null;
        $vid = $fields['vid'] ?? null;
        $cursor = $fields['cursor'] ?? null;

        if (is_array($error)) {
            $status = is_int($error['status'] ?? null) ? $error['status'] : 400;
            if (!self::mayPass($status)) {
                $letter->outcome = new StatusException($status, $error);
            }
        } elseif (is_int($vid) && is_string($cursor)) {
            $letter->outcome = new Receipt($vid, $cursor, ($fields['duplicate'] ?? false) === true);
            $this->backoff->reset();
        }
    }

    /** True for what a later try may get over; all other answers are final. */
    private static function mayPass(int $status): bool
    {
        return $status === 429 || $status >= 500;
    }

    /** @param list<Letter> $letters */
    private static function settle(array $letters, VidetteException $error): void
    {
        foreach ($letters as $letter) {
            $letter->outcome ??= $error;
        }
    }
}
