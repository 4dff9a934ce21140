<?php

declare(strict_types=1);

namespace Vidette;

use Psr\Http\Client\ClientInterface;
use Psr\Http\Message\RequestFactoryInterface;
use Psr\Log\LoggerInterface;
use Vidette\Internal\Asking;
use Vidette\Internal\Clock;
use Vidette\Internal\Log;
use Vidette\Internal\Options;
use Vidette\Internal\Tokens;

/**
 * Reads events in programs of the command line, which may wait.
 *
 * `subscribe` reads server-sent events over a PHP stream, and by long-poll where they do not come through. `poll` and
 * `catchUp` use the PSR-18 client alone. Its time-out must be longer than 25 s, for which a poll may wait.
 */
final class Reader
{
    private readonly string $url;
    private readonly Tokens $tokens;
    private readonly Log $log;

    /**
     * @param string $url of the gateway, as `https://push.example.com`
     * @param null|string|callable(): string $token
     * @param array<string, mixed> $tls options of PHP's `ssl` stream context, for server-sent events
     */
    public function __construct(
        private readonly ClientInterface $http,
        private readonly RequestFactoryInterface $requests,
        string $url,
        #[\SensitiveParameter] null|string|callable $token = null,
        ?LoggerInterface $logger = null,
        private readonly array $tls = [],
        private readonly Clock $clock = new Clock(),
    ) {
        $this->url = rtrim($url, '/');
        $this->tokens = new Tokens($clock, $token);
        $this->log = new Log($logger);
    }

    /**
     * Follows topics for ever, by server-sent events.
     *
     * @param string|list<string> $topics filters; none: all topics
     * @param OnGap|callable(Gap): ?OnGap $onGap
     * @param ?float $maxElapsed seconds without a good connection after which it gives up; null: never
     */
    public function subscribe(
        string|array $topics = [],
        ?string $after = null,
        null|string|\DateTimeInterface $since = null,
        bool $snapshot = false,
        OnGap|callable $onGap = OnGap::Continue,
        ?float $maxElapsed = null,
        int $maxEventBytes = Options::LARGEST_EVENT_BYTES,
        float $sseAgainSeconds = Options::SSE_AGAIN_SECONDS,
    ): Subscription {
        return $this->open(new Options(
            (array) $topics,
            $after,
            self::time($since),
            $snapshot,
            self::policy($onGap),
            'auto',
            false,
            $maxElapsed,
            $maxEventBytes,
            $sseAgainSeconds,
        ));
    }

    /**
     * Follows topics for ever, by long-poll.
     *
     * @param string|list<string> $topics filters; none: all topics
     * @param OnGap|callable(Gap): ?OnGap $onGap
     */
    public function poll(
        string|array $topics = [],
        ?string $after = null,
        null|string|\DateTimeInterface $since = null,
        bool $snapshot = false,
        OnGap|callable $onGap = OnGap::Continue,
        ?float $maxElapsed = null,
    ): Subscription {
        $policy = self::policy($onGap);

        return $this->open(new Options(
            (array) $topics,
            $after,
            self::time($since),
            $snapshot,
            $policy,
            'poll',
            maxElapsed: $maxElapsed,
        ));
    }

    /**
     * Reads what is there by now, and ends: for jobs that run now and then.
     *
     * @param string|list<string> $topics filters; none: all topics
     * @param OnGap|callable(Gap): ?OnGap $onGap
     */
    public function catchUp(
        string|array $topics = [],
        ?string $after = 'earliest',
        OnGap|callable $onGap = OnGap::Continue,
        ?float $maxElapsed = 60.0,
    ): Subscription {
        $policy = self::policy($onGap);

        return $this->open(new Options(
            (array) $topics,
            $after,
            onGap: $policy,
            transport: 'poll',
            untilCaughtUp: true,
            maxElapsed: $maxElapsed,
        ));
    }

    private function open(Options $options): Subscription
    {
        $asking = new Asking($this->http, $this->requests, $this->url, $this->tls, $this->clock);

        return new Subscription($options, $asking, $this->tokens, $this->clock, $this->log);
    }

    private static function policy(OnGap|callable $onGap): OnGap|\Closure
    {
        return $onGap instanceof OnGap ? $onGap : \Closure::fromCallable($onGap);
    }

    private static function time(null|string|\DateTimeInterface $since): ?string
    {
        return $since instanceof \DateTimeInterface ? $since->format('Y-m-d\TH:i:s.vP') : $since;
    }
}
