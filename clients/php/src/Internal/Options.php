<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\OnGap;

/** What a subscription is asked to do, checked before anything runs. */
final class Options
{
    public const LARGEST_EVENT_BYTES = 3 * 1024 * 1024;
    public const SSE_AGAIN_SECONDS = 600.0;

    /**
     * @param list<string> $topics
     * @param OnGap|\Closure(\Vidette\Gap): ?OnGap $onGap
     * @param string $transport `auto`, `sse` or `poll`
     */
    public function __construct(
        public readonly array $topics,
        public readonly ?string $after = null,
        public readonly ?string $since = null,
        public readonly bool $snapshot = false,
        public readonly OnGap|\Closure $onGap = OnGap::Continue,
        public readonly string $transport = 'auto',
        public readonly bool $untilCaughtUp = false,
        public readonly ?float $maxElapsed = null,
        public readonly int $maxEventBytes = self::LARGEST_EVENT_BYTES,
        public readonly float $sseAgainSeconds = self::SSE_AGAIN_SECONDS,
    ) {
        if (($after !== null) + ($since !== null) + $snapshot > 1) {
            throw new \InvalidArgumentException('only one of after, since and snapshot says where it starts');
        }
    }

    /** The longest event on the wire: its data as base64, and its other fields. */
    public function lineBytesMax(): int
    {
        return intdiv($this->maxEventBytes + 2, 3) * 4 + 4096;
    }
}
