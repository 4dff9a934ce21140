<?php

declare(strict_types=1);

namespace Vidette;

use Vidette\Exception\GapException;
use Vidette\Exception\ProtocolException;
use Vidette\Exception\VidetteException;
use Vidette\Http\ConnectionLost;
use Vidette\Http\TimedOut;
use Vidette\Internal\Asking;
use Vidette\Internal\Attempt;
use Vidette\Internal\Bookmark;
use Vidette\Internal\Clock;
use Vidette\Internal\Intake;
use Vidette\Internal\Log;
use Vidette\Internal\Message;
use Vidette\Internal\Options;
use Vidette\Internal\Recovery;
use Vidette\Internal\Refused;
use Vidette\Internal\Tokens;
use Vidette\Internal\TransportPolicy;

/**
 * Events in order, for `foreach`. It connects when the first is asked for.
 *
 * Asking for the next event finishes the one before, and moves `cursor` behind it. Nothing is read while the
 * application works on an event. After `break` another `foreach` goes on, with the unfinished event first.
 *
 * @implements \IteratorAggregate<string, Received>
 */
final class Subscription implements \IteratorAggregate
{
    private const POLL_WAIT_SECONDS = 25;

    private readonly Bookmark $bookmark;
    private readonly Intake $intake;
    private readonly TransportPolicy $policy;
    private readonly Recovery $recovery;

    private bool $closed = false;
    private int $requests = 0;
    private ?string $refusedToken = null;
    private bool $wasRefused = false;

    /** @internal Reader makes subscriptions. */
    public function __construct(
        private readonly Options $options,
        private readonly Asking $asking,
        private readonly Tokens $tokens,
        private readonly Clock $clock,
        private readonly Log $log,
    ) {
        $this->bookmark = new Bookmark($options->after, $options->since, $options->snapshot);
        $this->intake = new Intake($this->bookmark, $log);
        $this->policy = new TransportPolicy($clock, $options->transport, $options->sseAgainSeconds);
        $this->recovery = new Recovery($clock, $this->policy, $log, $options->maxElapsed);
    }

    /** @return \Generator<string, Received> by cursor */
    public function getIterator(): \Generator
    {
        $this->bookmark->rewind();

        try {
            while (!$this->closed) {
                yield from $this->attempt();
            }
        } catch (VidetteException $final) {
            $this->close();
            throw $final;
        } finally {
            $this->asking->close();
        }
    }

    /** The last event is handled, and no other is wanted yet: as before `break`. */
    public function finish(): void
    {
        $this->bookmark->finish();
    }

    /** The position to resume from: behind the last event that was finished. */
    public function cursor(): ?string
    {
        return $this->bookmark->cursor;
    }

    /** Ends it at once, also from a signal handler. May be called again. */
    public function close(): void
    {
        $this->closed = true;
        $this->intake->phase = 'closed';
        $this->asking->close();
    }

    /** A snapshot of how the subscription is doing. */
    public function state(): State
    {
        return new State(
            $this->intake->phase,
            $this->policy->current,
            $this->bookmark->cursor,
            $this->intake->lag,
            max(0, $this->requests - 1),
            $this->intake->gaps,
            $this->intake->duplicates,
        );
    }

    /**
     * One request, and the wait after it.
     *
     * @return \Generator<string, Received>
     */
    private function attempt(): \Generator
    {
        $attempt = $this->begin();

        try {
            $wait = yield from $attempt->transport === 'sse' ? $this->stream($attempt) : $this->poll($attempt);
        } catch (Refused $refused) {
            $wait = $this->refused($refused, $attempt);
        } catch (ProtocolException $error) {
            $wait = $this->recovery->afterViolation($error);
        } catch (TimedOut $error) {
            $wait = $this->silent($error, $attempt);
        } catch (ConnectionLost $error) {
            $wait = $this->closed ? null : $this->recovery->afterEnd($attempt, $error);
        }
        $this->asking->close();

        if ($wait !== null && !$this->closed) {
            $this->intake->phase = 'waiting';
            $this->clock->sleep($wait, fn (): bool => $this->closed);
        }
    }

    private function begin(): Attempt
    {
        $transport = $this->policy->next();
        $this->intake->phase = 'connecting';
        $this->intake->epoch = null;

        // A poll after an answered poll is no reconnect.
        $isReconnect = $transport === 'sse' || $this->requests === 0 || $this->recovery->isFailing();
        $this->requests += $isReconnect ? 1 : 0;

        return new Attempt($transport, $this->clock->now(), $this->tokens->get($this->refusedToken));
    }

    /** @return \Generator<string, Received, mixed, ?float> the wait before the next request */
    private function stream(Attempt $attempt): \Generator
    {
        $query = $this->query(null);
        foreach ($this->asking->stream($attempt, $query, $this->options->lineBytesMax()) as $message) {
            $this->accepted();
            if (!yield from $this->handOn($message, $attempt)) {
                return null;
            }
        }

        return $this->recovery->afterEnd($attempt, null);
    }

    /** @return \Generator<string, Received, mixed, ?float> the wait before the next request */
    private function poll(Attempt $attempt): \Generator
    {
        // Without a cursor a lost answer would lose events: the first poll only asks for one.
        $atOnce = $this->bookmark->fromLatest() || $this->options->untilCaughtUp;
        $query = $this->query($atOnce ? 0 : self::POLL_WAIT_SECONDS);
        $messages = $this->asking->poll($attempt, $query, $this->options->lineBytesMax());
        $this->accepted();
        $seconds = $this->clock->now() - $attempt->askedAt;

        $moved = false;
        foreach ($messages as $message) {
            $moved = $moved || in_array($message->kind, [Message::EVENT, Message::GAP], true);
            if (!yield from $this->handOn($message, $attempt)) {
                return null;
            }
        }
        if ($this->options->untilCaughtUp && $message->kind === Message::CAUGHT_UP) {
            $this->close();
        }

        $wait = $this->recovery->afterPoll($moved, $seconds);

        return $wait > 0 ? $wait : null;
    }

    /** @return \Generator<string, Received, mixed, bool> false: the rest of the answer is not wanted */
    private function handOn(Message $message, Attempt $attempt): \Generator
    {
        $given = $this->intake->take($message, $attempt);

        if ($given instanceof Gap) {
            return $this->tell($given) && !$this->closed;
        }
        if ($given !== null) {
            $this->recovery->handedOn();
            yield $given->cursor => $given;
            $this->bookmark->finish();
        }

        return !$this->closed;
    }

    /** Tells the application of a gap. False: it wants a snapshot. */
    private function tell(Gap $gap): bool
    {
        $choice = $this->options->onGap;
        if ($choice instanceof \Closure) {
            $choice = $choice($gap) ?? OnGap::Continue;
        } else {
            $this->log->warning("events after $gap->requested are gone ($gap->reason)");
        }

        if ($choice === OnGap::Fail) {
            throw new GapException($gap);
        }
        if ($choice === OnGap::Snapshot) {
            $this->bookmark->restartWithSnapshot();
        }

        return $choice !== OnGap::Snapshot;
    }

    /** The token was good. */
    private function accepted(): void
    {
        $this->wasRefused = false;
        $this->refusedToken = null;
        $this->policy->good();
    }

    private function refused(Refused $refused, Attempt $attempt): ?float
    {
        if ($refused->status === 401 && $this->tokens->areRenewable() && !$this->wasRefused) {
            $this->wasRefused = true;
            $this->refusedToken = $attempt->token;

            return null;
        }

        $problem = $refused->asStatusException()->problem;
        if ($refused->status === 410 && isset($problem['reason']) && $this->options->onGap === OnGap::Fail) {
            throw new GapException($this->intake->takeGap(Gap::parse($problem)));
        }

        return $this->recovery->afterRefusal($refused);
    }

    private function silent(TimedOut $error, Attempt $attempt): ?float
    {
        $isHeldBack = $attempt->transport === 'sse' && $attempt->headAt !== null && !$attempt->anyByte;
        if ($isHeldBack && !$this->policy->isFixed()) {
            $this->log->info('no byte of the stream came through; long-poll from here');
            $this->policy->nothingCame();

            return null;
        }

        return $this->recovery->afterEnd($attempt, $error);
    }

    private function query(?int $waitSeconds): string
    {
        $part = static fn (string $topic): string => 'topic=' . rawurlencode($topic);
        $parts = array_map($part, $this->options->topics);
        $parameters = $this->bookmark->parameters();
        if ($this->options->onGap === OnGap::Fail) {
            $parameters['on_gap'] = OnGap::Fail->value;
        }
        if ($waitSeconds !== null) {
            $parameters['wait'] = (string) $waitSeconds;
        }

        return implode('&', [...$parts, http_build_query($parameters, '', '&', PHP_QUERY_RFC3986)]);
    }
}
