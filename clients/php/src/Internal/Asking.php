<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Psr\Http\Client\ClientExceptionInterface;
use Psr\Http\Client\ClientInterface;
use Psr\Http\Message\RequestFactoryInterface;
use Vidette\Exception\EventTooLargeException;
use Vidette\Exception\ProtocolException;
use Vidette\Http\Connection;
use Vidette\Http\ConnectionLost;
use Vidette\Publisher;

/** Asks for messages, by a stream of its own or by a poll over the caller's PSR-18 client. */
final class Asking
{
    private const HELLO_SECONDS = 10.0;
    private const ERROR_BODY_BYTES = 65536;
    private const PAGE_BYTES = 2 * 1024 * 1024;

    private ?Connection $connection = null;

    /** @param array<string, mixed> $tls options of PHP's `ssl` stream context, for streams */
    public function __construct(
        private readonly ClientInterface $http,
        private readonly RequestFactoryInterface $requests,
        private readonly string $url,
        private readonly array $tls,
        private readonly Clock $clock,
    ) {
    }

    /**
     * The messages of an event stream, until it ends.
     *
     * @return \Generator<Message>
     */
    public function stream(Attempt $attempt, string $query, int $eventBytesMax): \Generator
    {
        $url = "$this->url/v1/sse?$query";
        $connection = $this->connection = Connection::open($url, self::HELLO_SECONDS, $this->clock, $this->tls);
        $left = $attempt->askedAt + self::HELLO_SECONDS - $this->clock->now();
        $connection->ask('GET', $url, self::headers('text/event-stream', $attempt->token), '', $left);
        $attempt->headAt = $this->clock->now();
        $this->checkStreamHead($connection, $attempt);

        $parser = new BlockParser($eventBytesMax);
        while (($bytes = $connection->read($attempt->readLimit($this->clock->now()))) !== null) {
            $attempt->anyByte = true;
            foreach ($parser->feed($bytes) as $block) {
                $attempt->retryMs = $block->retryMs ?? $attempt->retryMs;
                $message = Message::ofBlock($block);
                if ($message !== null) {
                    yield $message;
                }
            }
        }
    }

    /**
     * The messages of one poll's answer.
     *
     * @return list<Message>
     */
    public function poll(Attempt $attempt, string $query, int $eventBytesMax): array
    {
        $request = $this->requests->createRequest('GET', "$this->url/v1/poll?$query");
        foreach (self::headers('application/json', $attempt->token) as $name => $value) {
            $request = $request->withHeader($name, $value);
        }

        try {
            $response = $this->http->sendRequest($request);
            $body = (string) $response->getBody();
        } catch (ClientExceptionInterface | \RuntimeException $error) {
            throw new ConnectionLost($error->getMessage(), 0, $error);
        }

        $refused = new Refused($response->getStatusCode(), $response->getHeaderLine('Retry-After'), $body);
        if ($refused->status !== 200 || !self::isOfType($response->getHeaderLine('Content-Type'), 'application/json')) {
            throw $refused;
        }
        if (strlen($body) > self::PAGE_BYTES + $eventBytesMax) {
            throw new EventTooLargeException("a poll's answer is larger than events may be");
        }

        try {
            return Message::ofAnswer($body);
        } catch (ProtocolException) {
            throw $refused;
        }
    }

    /** Ends a stream at once, also while it is read. */
    public function close(): void
    {
        $this->connection?->close();
        $this->connection = null;
    }

    private function checkStreamHead(Connection $connection, Attempt $attempt): void
    {
        $isStream = self::isOfType($connection->headers['content-type'] ?? '', 'text/event-stream');
        if ($connection->status === 200 && $isStream) {
            return;
        }

        $body = '';
        try {
            $until = $this->clock->now() + self::HELLO_SECONDS;
            while (strlen($body) < self::ERROR_BODY_BYTES) {
                $piece = $connection->read($until - $this->clock->now());
                if ($piece === null) {
                    break;
                }
                $body .= $piece;
            }
        } catch (ConnectionLost) {
            // The status says enough.
        }

        throw new Refused($connection->status, $connection->headers['retry-after'] ?? '', $body);
    }

    /** @return array<string, string> */
    private static function headers(string $accept, #[\SensitiveParameter] ?string $token): array
    {
        $headers = ['User-Agent' => Publisher::USER_AGENT, 'Accept' => $accept, 'Cache-Control' => 'no-store'];

        return $token === null ? $headers : $headers + ['Authorization' => "Bearer $token"];
    }

    private static function isOfType(string $header, string $type): bool
    {
        return strtolower(trim(explode(';', $header)[0])) === $type;
    }
}
