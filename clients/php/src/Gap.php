<?php

declare(strict_types=1);

namespace Vidette;

/**
 * Events between `requested` and what follows are not retained any more.
 *
 * `reason` is `expired`, `reset` (another log), `ahead`, or one that is newer than this library.
 */
final class Gap
{
    public function __construct(
        public readonly string $reason,
        public readonly string $requested,
        public readonly int $first,
        public readonly int $last,
        public readonly string $epoch,
    ) {
    }

    /**
     * Reads a gap object; what is missing or odd becomes empty or 0.
     *
     * @param array<mixed> $fields
     */
    public static function parse(array $fields): self
    {
        $text = static fn (string $name): string => is_string($fields[$name] ?? null) ? $fields[$name] : '';
        $number = static fn (string $name): int => is_int($fields[$name] ?? null) ? $fields[$name] : 0;

        return new self($text('reason'), $text('requested'), $number('first'), $number('last'), $text('epoch'));
    }
}
