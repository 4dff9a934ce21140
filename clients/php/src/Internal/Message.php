<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Exception\ProtocolException;

/** What a subscription yields (the contract, section 4), the same for SSE and long-poll. */
final class Message
{
    public const HELLO = 'hello';
    public const EVENT = 'event';
    public const PROGRESS = 'progress';
    public const CAUGHT_UP = 'caught_up';
    public const GAP = 'gap';
    public const CLOSING = 'closing';

    /** @param array<mixed> $fields */
    private function __construct(
        public readonly string $kind,
        public readonly array $fields = [],
        public readonly ?string $cursor = null,
        public readonly string $event = '',
    ) {
    }

    /** The message of one SSE block, if it is one. Blocks of a later version of the gateway are passed over. */
    public static function ofBlock(Block $block): ?self
    {
        if (!str_starts_with($block->event, 'vidette.')) {
            return $block->data === null
                ? self::progress($block->id)
                : new self(self::EVENT, [], $block->id, $block->data);
        }

        $fields = Json::object($block->data ?? '');

        return match ($block->event) {
            'vidette.hello' => new self(self::HELLO, $fields),
            'vidette.gap' => new self(self::GAP, $fields),
            'vidette.closing' => new self(self::CLOSING, $fields),
            'vidette.caught_up' => new self(self::CAUGHT_UP, $fields, self::text($fields, 'cursor') ?? $block->id),
            default => self::progress($block->id),
        };
    }

    /**
     * The messages of a poll's answer. Throws a ProtocolException if it is none.
     *
     * @return list<self>
     */
    public static function ofAnswer(string $body): array
    {
        $fields = Json::object($body);
        $cursor = self::text($fields, 'cursor');
        if ($cursor === null || self::text($fields, 'epoch') === null || !is_array($fields['events'] ?? null)) {
            throw new ProtocolException('a poll was answered with something else than events and a position');
        }

        $messages = [new self(self::HELLO, $fields)];
        if (is_array($fields['gap'] ?? null)) {
            $messages[] = new self(self::GAP, $fields['gap']);
        }
        foreach (Json::elements(Json::member($body, 'events') ?? '[]') as $event) {
            $messages[] = new self(self::EVENT, [], null, $event);
        }
        $kind = ($fields['up_to_date'] ?? false) === true ? self::CAUGHT_UP : self::PROGRESS;
        $messages[] = new self($kind, $fields, $cursor);

        return $messages;
    }

    public function number(string $name): ?int
    {
        return is_int($this->fields[$name] ?? null) ? $this->fields[$name] : null;
    }

    public function string(string $name): string
    {
        return self::text($this->fields, $name) ?? '';
    }

    private static function progress(?string $id): ?self
    {
        return $id === null || $id === '' ? null : new self(self::PROGRESS, [], $id);
    }

    /** @param array<mixed> $fields */
    private static function text(array $fields, string $name): ?string
    {
        return is_string($fields[$name] ?? null) ? $fields[$name] : null;
    }
}
