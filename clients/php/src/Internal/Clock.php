<?php

declare(strict_types=1);

namespace Vidette\Internal;

/** Time, chance and waiting in one place, so that tests can have their own. All times are in seconds. */
class Clock
{
    /** Seconds since some moment; never falls. */
    public function now(): float
    {
        return hrtime(true) / 1e9;
    }

    /** Seconds since 1970, as a token's `exp` counts them. */
    public function wall(): float
    {
        return microtime(true);
    }

    /** A number from 0 to 1. */
    public function random(): float
    {
        return random_int(0, 1 << 30) / (1 << 30);
    }

    /** How long a time-out really is. */
    public function real(float $seconds): float
    {
        return max(0.001, $seconds);
    }

    /**
     * Waits before a new try, until the time is over or `$stopped` says so (as a signal handler may have decided).
     *
     * @param callable(): bool $stopped
     */
    public function sleep(float $seconds, callable $stopped): void
    {
        $until = $this->now() + $seconds;

        while (!$stopped() && ($left = $until - $this->now()) > 0) {
            usleep((int) (min($left, 1.0) * 1e6));
        }
    }

    /**
     * Waits until the stream can be read (or written), at most so long. A signal ends it early.
     *
     * @param resource $stream
     */
    public function await($stream, float $seconds, bool $forWriting = false): void
    {
        $read = $forWriting ? [] : [$stream];
        $write = $forWriting ? [$stream] : [];
        $except = [];
        $seconds = max(0.0, $seconds);

        @stream_select($read, $write, $except, (int) $seconds, (int) (fmod($seconds, 1.0) * 1e6));
    }
}
