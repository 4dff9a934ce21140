<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Gap;
use Vidette\Received;

/** From messages to events, gaps and positions, in the order of the wire. */
final class Intake
{
    public string $phase = 'connecting';
    public ?string $epoch = null;
    public ?int $lag = null;
    public int $gaps = 0;
    public int $duplicates = 0;

    public function __construct(private readonly Bookmark $bookmark, private readonly Log $log)
    {
    }

    /** Takes one message; returns the event or the gap that it is for the application. */
    public function take(Message $message, Attempt $attempt): Received|Gap|null
    {
        switch ($message->kind) {
            case Message::EVENT:
                return $this->takeEvent($message);
            case Message::GAP:
                return $this->takeGap(Gap::parse($message->fields));
            case Message::HELLO:
                $this->takeHello($message, $attempt);
                break;
            case Message::CLOSING:
                $this->log->info('the gateway ends the stream: ' . $message->string('reason'));
                $attempt->closing = true;
                $attempt->retryMs = $message->number('retry_ms') ?? $attempt->retryMs;
                break;
            default:
                $this->takePosition($message);
        }

        return null;
    }

    /** To be handed on before anything that follows. */
    public function takeGap(Gap $gap): Gap
    {
        $this->gaps++;
        $this->epoch = $gap->epoch === '' ? $this->epoch : $gap->epoch;
        $this->bookmark->gap($gap);

        return $gap;
    }

    private function takeEvent(Message $message): ?Received
    {
        $event = Received::parse($message->event, $message->cursor, $this->epoch);
        if (!$this->bookmark->isNew($event, $this->epoch)) {
            $this->duplicates++;

            return null;
        }
        $this->bookmark->handOn($event);

        return $event;
    }

    private function takePosition(Message $message): void
    {
        if ($message->cursor !== null) {
            $this->bookmark->progress($message->cursor);
        }
        if ($message->kind === Message::CAUGHT_UP) {
            $this->phase = 'live';
        }
    }

    private function takeHello(Message $hello, Attempt $attempt): void
    {
        $this->epoch = $hello->string('epoch') ?: null;
        $this->phase = 'catching-up';
        $attempt->hello($hello->number('heartbeat_ms'));

        if (isset($hello->fields['filter'])) {
            $this->log->warning("this caller's rights cut the filter down to " . json_encode($hello->fields['filter']));
        }

        $last = $hello->number('last');
        if ($last !== null && $attempt->transport === 'sse' && $this->bookmark->fromLatest() && $this->epoch !== null) {
            $this->bookmark->progress("$last-$this->epoch");
        }
        $cursor = $this->bookmark->cursor;
        $this->lag = $last === null || $cursor === null ? null : max(0, $last - Position::of($cursor)->vid);
    }
}
