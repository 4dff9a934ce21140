<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Exception\GaveUpException;
use Vidette\Exception\ProtocolException;

/** How long a subscription waits after each kind of end, and when it ends for good. */
final class Recovery
{
    private const GOOD_AFTER_SECONDS = 10.0;
    private const QUICK_ANSWER_SECONDS = 1.0;
    private const QUICK_ANSWERS_MAX = 3;
    private const FINAL_STATUSES = [400, 401, 403, 404, 410];
    private const PROXY_STATUSES = [200, 502, 504];

    private readonly Backoff $backoff;
    private ?float $failingSince = null;
    private bool $endedOrderly = false;
    private int $violations = 0;
    private int $quickAnswers = 0;

    public function __construct(
        private readonly Clock $clock,
        private readonly TransportPolicy $policy,
        private readonly Log $log,
        private readonly ?float $maxElapsed,
    ) {
        $this->backoff = new Backoff($clock);
    }

    public function isFailing(): bool
    {
        return $this->failingSince !== null;
    }

    /** An event was handed on. */
    public function handedOn(): void
    {
        $this->violations = 0;
        $this->good();
    }

    /** The network failed, before or after the head; null: the answer ended. */
    public function afterEnd(Attempt $attempt, ?\Throwable $error): float
    {
        if ($attempt->transport === 'poll' || $attempt->headAt === null) {
            $this->policy->pollFailed();

            return $this->afterFailure($error);
        }

        $lasted = $attempt->secondsOpen($this->clock->now());
        $this->policy->streamEnded($lasted, $attempt->closing);
        if ($lasted >= self::GOOD_AFTER_SECONDS) {
            $this->good();
        }

        return $attempt->closing || ($error === null && $lasted >= self::GOOD_AFTER_SECONDS)
            ? $this->afterOrderlyEnd($attempt->retryMs)
            : $this->afterFailure($error ?? new \RuntimeException('the stream ended early'));
    }

    /** An answer that was not the one asked for. Throws where trying again would not help. */
    public function afterRefusal(Refused $refused): float
    {
        if (in_array($refused->status, self::FINAL_STATUSES, true)) {
            throw $refused->asStatusException();
        }
        if (in_array($refused->status, self::PROXY_STATUSES, true)) {
            $this->policy->badAnswer();
        } else {
            $this->policy->pollFailed();
        }

        return $this->afterFailure($refused, Backoff::retryAfterSeconds($refused->retryAfter, $this->clock->wall()));
    }

    /** The server broke the contract: the first time a reconnect may help. */
    public function afterViolation(ProtocolException $error): float
    {
        if (++$this->violations > 1) {
            throw $error;
        }
        $this->log->warning('the server broke the contract, reconnecting once: ' . $error->getMessage());

        return $this->afterFailure($error);
    }

    /** A poll was answered. An empty answer comes after `wait`; ones that come at once must not make us spin. */
    public function afterPoll(bool $moved, float $seconds): float
    {
        $this->policy->good();
        if ($moved || $seconds >= self::QUICK_ANSWER_SECONDS) {
            $this->quickAnswers = 0;
            $this->good();

            return 0.0;
        }

        return ++$this->quickAnswers > self::QUICK_ANSWERS_MAX ? $this->backoff->afterFailure() : 0.0;
    }

    private function good(): void
    {
        $this->backoff->reset();
        $this->failingSince = null;
        $this->endedOrderly = false;
    }

    private function afterOrderlyEnd(?int $retryMs): float
    {
        $seconds = $this->backoff->afterOrderlyEnd($retryMs);
        if ($this->endedOrderly) {
            $seconds = max($seconds, $this->backoff->afterFailure());
        }
        $this->endedOrderly = true;

        return $this->bounded($seconds, null);
    }

    private function afterFailure(?\Throwable $error, float $floorSeconds = 0.0): float
    {
        return $this->bounded($this->backoff->afterFailure($floorSeconds), $error);
    }

    /** Throws if the next try would be later than the caller wants to wait. */
    private function bounded(float $seconds, ?\Throwable $error): float
    {
        $now = $this->clock->now();
        $this->failingSince ??= $now;
        if ($this->maxElapsed !== null && $now + $seconds - $this->failingSince > $this->maxElapsed) {
            throw new GaveUpException("there was no good connection for $this->maxElapsed s", 0, $error);
        }
        $why = $error?->getMessage() ?? 'end of the stream';
        $this->log->info(sprintf('the connection ended (%s), the next try is in %.3f s', $why, $seconds));

        return $seconds;
    }
}
