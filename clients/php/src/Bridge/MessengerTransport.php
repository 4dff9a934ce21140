<?php

declare(strict_types=1);

namespace Vidette\Bridge;

use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Exception\LogicException;
use Symfony\Component\Messenger\Exception\MessageDecodingFailedException;
use Symfony\Component\Messenger\Exception\TransportException;
use Symfony\Component\Messenger\Stamp\TransportMessageIdStamp;
use Symfony\Component\Messenger\Transport\Serialization\PhpSerializer;
use Symfony\Component\Messenger\Transport\Serialization\SerializerInterface;
use Symfony\Component\Messenger\Transport\TransportInterface;
use Vidette\Exception\VidetteException;
use Vidette\Publisher;
use Vidette\Reader;
use Vidette\Received;
use Vidette\Subscription;

/**
 * Sends Symfony's messages to one topic, and receives them in order.
 *
 * A log, not a queue: one worker for each cursor handles every message, in its order. A message is done when it is
 * acknowledged or rejected (Messenger's retries and failure transport have had it then), and the cursor is saved.
 */
final class MessengerTransport implements TransportInterface
{
    private ?Subscription $events = null;
    private ?\Generator $iterator = null;
    private ?Received $current = null;
    private ?string $savedCursor = null;

    /**
     * @param ?Reader $reader needed to receive
     * @param ?\Closure(): ?string $loadCursor where to begin; null from it: at the earliest event
     * @param ?\Closure(string): void $saveCursor is called after each message
     */
    public function __construct(
        private readonly Publisher $publisher,
        private readonly string $topic,
        private readonly ?Reader $reader = null,
        private readonly ?\Closure $loadCursor = null,
        private readonly ?\Closure $saveCursor = null,
        private readonly SerializerInterface $serializer = new PhpSerializer(),
    ) {
    }

    public function send(Envelope $envelope): Envelope
    {
        $encoded = $this->serializer->encode($envelope);

        try {
            $receipt = $this->publisher->publish($this->topic, [
                'body' => $encoded['body'],
                'headers' => (object) ($encoded['headers'] ?? []),
            ], type: 'message');
        } catch (VidetteException $error) {
            throw new TransportException($error->getMessage(), 0, $error);
        }

        return $envelope->with(new TransportMessageIdStamp($receipt->cursor));
    }

    /** The next message, if there is one; it is the same until it is acknowledged or rejected. */
    public function get(): iterable
    {
        try {
            $this->current ??= $this->next();
        } catch (VidetteException $error) {
            $this->iterator = null;
            throw new TransportException($error->getMessage(), 0, $error);
        }
        if ($this->current === null) {
            return [];
        }

        $data = is_array($this->current->data) ? $this->current->data : [];
        $encoded = ['body' => $data['body'] ?? '', 'headers' => $data['headers'] ?? []];

        try {
            return [$this->serializer->decode($encoded)->with(new TransportMessageIdStamp($this->current->cursor))];
        } catch (MessageDecodingFailedException $error) {
            // As other transports do: what cannot be read would stop the worker for ever.
            $this->done();
            throw $error;
        }
    }

    public function ack(Envelope $envelope): void
    {
        $this->done();
    }

    public function reject(Envelope $envelope): void
    {
        $this->done();
    }

    private function next(): ?Received
    {
        if ($this->iterator === null) {
            $this->events = $this->reader()->catchUp($this->topic, $this->cursor());
            $this->iterator = $this->events->getIterator();
        } else {
            $this->iterator->next();
        }
        if ($this->iterator->valid()) {
            return $this->iterator->current();
        }

        // Caught up: the next call asks again, from where this one ended. The cursor moves also where nothing came.
        $this->iterator = null;
        $this->save($this->events?->cursor());

        return null;
    }

    private function done(): void
    {
        if ($this->current !== null) {
            $cursor = $this->current->cursor;
            $this->current = null;
            $this->save($cursor);
        }
    }

    private function save(?string $cursor): void
    {
        if ($cursor !== null && $cursor !== $this->savedCursor && $this->saveCursor !== null) {
            ($this->saveCursor)($cursor);
            $this->savedCursor = $cursor;
        }
    }

    private function cursor(): string
    {
        return $this->events?->cursor() ?? ($this->loadCursor === null ? null : ($this->loadCursor)()) ?? 'earliest';
    }

    private function reader(): Reader
    {
        return $this->reader ?? throw new LogicException('this transport has no reader, and can only send');
    }
}
