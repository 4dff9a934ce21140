<?php

declare(strict_types=1);

namespace Vidette\Tests;

use Vidette\Internal\Clock;

/** Time that moves only by waiting; each wait is written down. Chance is always a half. */
final class FakeClock extends Clock
{
    /** @var list<float> */
    public array $waits = [];
    public float $now = 1000.0;

    public function now(): float
    {
        return $this->now;
    }

    public function random(): float
    {
        return 0.5;
    }

    public function sleep(float $seconds, callable $stopped): void
    {
        $this->waits[] = $seconds;
        $this->now += $seconds;
    }
}
