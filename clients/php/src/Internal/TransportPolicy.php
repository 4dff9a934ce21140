<?php

declare(strict_types=1);

namespace Vidette\Internal;

/** Which transport to ask by: SSE, or long-poll where SSE does not come through. Learns from how requests end. */
final class TransportPolicy
{
    private const SHORT_SECONDS = 1.0;
    private const SHORT_ENDS = 3;
    private const BAD_ANSWERS = 2;

    public string $current;
    private readonly bool $fixed;
    private int $shortEnds = 0;
    private int $badAnswers = 0;
    private bool $onTrial = false;
    private float $pollingSince = 0.0;

    public function __construct(
        private readonly Clock $clock,
        string $choice,
        private readonly float $sseAgainSeconds,
    ) {
        $this->fixed = $choice !== 'auto';
        $this->current = $choice === 'poll' ? 'poll' : 'sse';
    }

    /** The transport of the next request. */
    public function next(): string
    {
        if ($this->current === 'poll' && $this->clock->now() - $this->pollingSince >= $this->sseAgainSeconds) {
            $this->use('sse');
        }

        return $this->current;
    }

    public function isFixed(): bool
    {
        return $this->fixed;
    }

    /** Headers of a stream, and then no byte: a proxy holds it back. */
    public function nothingCame(): void
    {
        $this->use('poll');
    }

    /** A stream that was opened has ended. */
    public function streamEnded(float $lastedSeconds, bool $orderly): void
    {
        if ($lastedSeconds > self::SHORT_SECONDS) {
            $this->shortEnds = 0;
        } elseif (!$orderly) {
            $this->shortEnds++;
        }

        if ($this->shortEnds >= self::SHORT_ENDS) {
            $this->use('poll');
        }
    }

    /** A proxy answered: 502, 504, or a page that is not of the gateway. */
    public function badAnswer(): void
    {
        if ($this->current === 'poll') {
            $this->pollFailed();
        } elseif (++$this->badAnswers >= self::BAD_ANSWERS) {
            $this->use('poll');
            $this->onTrial = true;
        }
    }

    /** Long-poll on trial does not help either: the next try is SSE, the one after is not. */
    public function pollFailed(): void
    {
        if ($this->onTrial) {
            $this->use('sse');
            $this->badAnswers = self::BAD_ANSWERS - 1;
        }
    }

    /** The gateway itself has answered. */
    public function good(): void
    {
        $this->onTrial = false;
        $this->badAnswers = 0;
    }

    private function use(string $transport): void
    {
        if ($this->fixed) {
            return;
        }
        $this->current = $transport;
        $this->shortEnds = $this->badAnswers = 0;
        $this->onTrial = false;
        $this->pollingSince = $this->clock->now();
    }
}
