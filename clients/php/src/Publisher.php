<?php

declare(strict_types=1);

namespace Vidette;

use Psr\Http\Client\ClientInterface;
use Psr\Http\Message\RequestFactoryInterface;
use Psr\Http\Message\StreamFactoryInterface;
use Vidette\Exception\VidetteException;
use Vidette\Internal\Clock;
use Vidette\Internal\Delivery;
use Vidette\Internal\Letter;
use Vidette\Internal\Tokens;

/**
 * Publishes events. What it returns is durable.
 *
 * Every event has an id, made here unless given. Where the network fails, or the gateway answers 429 or 5xx, the event
 * is sent again with the same id, so it is never published twice. Trying ends before the gateway forgets ids.
 */
final class Publisher
{
    public const VERSION = '0.1.0';
    public const USER_AGENT = 'vidette-php/' . self::VERSION;

    private const FORGETS_EARLY_SECONDS = 10.0;
    private const ROUND_EVENTS = 256;
    private const ROUND_BYTES = 1024 * 1024;

    private readonly string $url;
    private readonly Tokens $tokens;

    /**
     * @param RequestFactoryInterface&StreamFactoryInterface $factories one PSR-17 object, as most packages have
     * @param string $url of the gateway, as `https://push.example.com`
     * @param null|string|callable(): string $token a function is asked at first, after a 401 and before a JWT expires
     * @param float $dedupeWindow seconds for which the gateway remembers ids
     * @param ?float $maxElapsed seconds for which to try, if that is less: web requests cannot wait for two minutes
     */
    public function __construct(
        private readonly ClientInterface $http,
        private readonly RequestFactoryInterface&StreamFactoryInterface $factories,
        string $url,
        #[\SensitiveParameter] null|string|callable $token = null,
        private readonly float $dedupeWindow = 120.0,
        private readonly ?float $maxElapsed = null,
        private readonly Clock $clock = new Clock(),
    ) {
        $this->url = rtrim($url, '/');
        $this->tokens = new Tokens($clock, $token);
    }

    /**
     * Publishes one event.
     *
     * @param mixed $data anything that `json_encode` takes; a string is text, or bytes when it is no UTF-8
     * @param array<string, string> $headers
     * @throws Exception\StatusException when the gateway refuses it
     * @throws Exception\OutcomeUnknown when it is not known whether it was published
     */
    public function publish(
        string $topic,
        mixed $data = null,
        ?string $type = null,
        ?string $id = null,
        ?string $contentType = null,
        array $headers = [],
    ): Receipt {
        $letters = [new Letter(new Event($topic, $data, $type, $id, $contentType, $headers), $this->clock)];
        $this->delivery()->deliver($letters, Delivery::ONE);

        return self::receipts($letters)[0];
    }

    /**
     * Publishes events in one request: all or none, with no other event between them.
     *
     * @param list<Event> $events
     * @return list<Receipt>
     * @throws Exception\StatusException when the gateway refuses them
     * @throws Exception\OutcomeUnknown when it is not known whether they were published
     */
    public function publishBatch(array $events): array
    {
        $letters = array_map(fn (Event $event): Letter => new Letter($event, $this->clock), array_values($events));
        if ($letters !== []) {
            $this->delivery()->deliver($letters, Delivery::BATCH);
        }

        return self::receipts($letters);
    }

    /**
     * Publishes many events in order, some hundred to a request; each is taken or refused by itself.
     *
     * Nothing is sent unless the result is read.
     *
     * @param iterable<Event> $events
     * @return \Generator<int, Receipt|VidetteException> for each event its receipt, or why there is none
     */
    public function publishStream(iterable $events): \Generator
    {
        $letters = [];
        $bytes = 0;

        foreach ($events as $event) {
            $letter = new Letter($event, $this->clock);
            $isFull = count($letters) === self::ROUND_EVENTS || $bytes + strlen($letter->json) > self::ROUND_BYTES;
            if ($letters !== [] && $isFull) {
                yield from $this->round($letters);
                [$letters, $bytes] = [[], 0];
            }
            $letters[] = $letter;
            $bytes += strlen($letter->json);
        }
        yield from $this->round($letters);
    }

    /**
     * @param list<Letter> $letters
     * @return \Generator<int, Receipt|VidetteException>
     */
    private function round(array $letters): \Generator
    {
        $this->delivery()->deliver($letters, Delivery::LINES);

        foreach ($letters as $letter) {
            if ($letter->outcome !== null) {
                yield $letter->outcome;
            }
        }
    }

    private function delivery(): Delivery
    {
        $window = max(0.0, $this->dedupeWindow - self::FORGETS_EARLY_SECONDS);
        $seconds = min($window, $this->maxElapsed ?? $window);

        return new Delivery($this->http, $this->factories, $this->url, $this->tokens, $seconds, $this->clock);
    }

    /**
     * @param list<Letter> $letters
     * @return list<Receipt>
     */
    private static function receipts(array $letters): array
    {
        $receipts = [];
        foreach ($letters as $letter) {
            $receipts[] = $letter->outcome instanceof Receipt
                ? $letter->outcome
                : throw $letter->outcome ?? new \LogicException('a letter was not delivered');
        }

        return $receipts;
    }
}
