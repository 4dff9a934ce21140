<?php

declare(strict_types=1);

use Vidette\Internal\Clock;

/** Quickens limits by 10 and waits by `VIDETTE_KIT_WAITS`; lets other fibers run while one waits. */
final class KitClock extends Clock
{
    public const LIMIT_FACTOR = 0.1;

    public function __construct(public readonly float $waitFactor)
    {
    }

    public function now(): float
    {
        return parent::now() / self::LIMIT_FACTOR;
    }

    public function real(float $seconds): float
    {
        return parent::real($seconds * self::LIMIT_FACTOR);
    }

    public function sleep(float $seconds, callable $stopped): void
    {
        say('wait', ['ms' => (int) round($seconds * 1000), 'why' => 'retry']);
        Fiber::suspend(['until' => parent::now() + $seconds * $this->waitFactor, 'when' => $stopped]);
    }

    public function await($stream, float $seconds, bool $forWriting = false): void
    {
        Fiber::suspend([
            'until' => parent::now() + $seconds * self::LIMIT_FACTOR,
            'stream' => $stream,
            'writing' => $forWriting,
        ]);
    }
}
