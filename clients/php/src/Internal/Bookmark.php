<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Exception\ProtocolException;
use Vidette\Gap;
use Vidette\Received;

/**
 * The position of a subscription: where it resumes, and what came already.
 *
 * It moves when the application has finished with an event, never before.
 */
final class Bookmark
{
    private const STARTS = ['earliest', 'latest', '0'];

    public ?string $cursor;
    private ?Position $handedOn = null;
    private ?string $unfinished = null;
    private ?Position $seen = null;

    public function __construct(
        private readonly ?string $after,
        private readonly ?string $since,
        private bool $snapshot,
    ) {
        $this->cursor = in_array($after, self::STARTS, true) ? null : $after;
    }

    /** True while only what comes from now on is wanted, and "now" has no cursor yet. */
    public function fromLatest(): bool
    {
        $wanted = in_array($this->after, [null, 'latest'], true) && $this->since === null && !$this->snapshot;

        return $wanted && $this->cursor === null;
    }

    /**
     * Where the next request begins: the start only until a cursor is known.
     *
     * @return array<string, string>
     */
    public function parameters(): array
    {
        return match (true) {
            $this->cursor !== null => ['after' => $this->cursor],
            $this->snapshot => ['snapshot' => 'true'],
            $this->since !== null => ['since' => $this->since],
            default => ['after' => $this->after ?? 'latest'],
        };
    }

    /** The application is done with the event it has. */
    public function finish(): void
    {
        if ($this->unfinished !== null) {
            $this->move($this->unfinished);
            $this->unfinished = null;
        }
    }

    /** The application left its event unfinished, and gets it again. */
    public function rewind(): void
    {
        if ($this->unfinished !== null) {
            $this->unfinished = null;
            $this->handedOn = $this->cursor === null ? null : Position::of($this->cursor);
        }
    }

    /** Everything up to here is seen, and nothing of it is unfinished. */
    public function progress(string $cursor): void
    {
        $position = Position::of($cursor);

        if ($this->seen === null || $position->epoch !== $this->seen->epoch || $position->vid >= $this->seen->vid) {
            $this->move($cursor);
        }
    }

    /** False for what was handed on before. Throws for an event of another log. */
    public function isNew(Received $event, ?string $epoch): bool
    {
        $position = Position::of($event->cursor);
        if ($position->isOfAnotherLog($epoch)) {
            throw new ProtocolException("event $event->cursor is of another log than $epoch");
        }

        $before = $this->handedOn;
        if ($before === null || $position->vid > $before->vid) {
            return true;
        }
        if ($position->isOfAnotherLog($before->epoch)) {
            throw new ProtocolException("event $event->cursor is of another log, and no gap was reported");
        }

        return false;
    }

    /** The application has this event now. */
    public function handOn(Received $event): void
    {
        $this->handedOn = Position::of($event->cursor);
        $this->unfinished = $event->cursor;
    }

    /** What follows may be of another log, or lower. */
    public function gap(Gap $gap): void
    {
        $this->seen = null;
        $isOfAnotherLog = $this->handedOn !== null && $this->handedOn->isOfAnotherLog($gap->epoch);
        if ($gap->reason === 'reset' || $isOfAnotherLog) {
            $this->handedOn = null;
        }
    }

    /** Forget the cursor: it cannot be served. */
    public function restartWithSnapshot(): void
    {
        $this->cursor = null;
        $this->snapshot = true;
    }

    private function move(string $cursor): void
    {
        $this->cursor = $cursor;
        $this->seen = Position::of($cursor);
    }
}
