<?php

declare(strict_types=1);

use Vidette\Internal\Clock;

/** Quickens limits and waits as the kit asks; lets other fibers run while one waits. */
final class KitClock extends Clock
{
    public readonly float $waitFactor;
    public readonly float $limitFactor;

    public function __construct()
    {
        $this->waitFactor = (float) (getenv('VIDETTE_KIT_WAITS') ?: '0.01');
        $this->limitFactor = (float) (getenv('VIDETTE_KIT_LIMITS') ?: '0.1');
    }

    public function now(): float
    {
        return parent::now() / $this->limitFactor;
    }

    public function real(float $seconds): float
    {
        return parent::real($seconds * $this->limitFactor);
    }

    public function sleep(float $seconds, callable $stopped): void
    {
        say('wait', ['ms' => (int) round($seconds * 1000), 'why' => 'retry']);
        Fiber::suspend(['until' => parent::now() + $seconds * $this->waitFactor, 'when' => $stopped]);
    }

    public function await($stream, float $seconds, bool $forWriting = false): void
    {
        Fiber::suspend([
            'until' => parent::now() + $seconds * $this->limitFactor,
            'stream' => $stream,
            'writing' => $forWriting,
        ]);
    }
}
