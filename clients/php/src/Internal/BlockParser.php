<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Exception\EventTooLargeException;

/**
 * Server-sent events: bytes in, blocks out.
 *
 * Lines end with CR, LF or CRLF, and bytes may be split anywhere. A block without data is given too: its id moves the
 * cursor. Nothing is kept beyond `maxBytes` of one event.
 */
final class BlockParser
{
    private const BYTE_ORDER_MARK = "\xEF\xBB\xBF";

    private string $line = '';
    private bool $afterCarriageReturn = false;
    private bool $firstLine = true;

    private ?string $id = null;
    private string $event = '';
    private ?string $data = null;
    private ?int $retryMs = null;

    public function __construct(private readonly int $maxBytes)
    {
    }

    /**
     * The blocks that these bytes complete.
     *
     * @return list<Block>
     */
    public function feed(string $bytes): array
    {
        $blocks = [];

        foreach ($this->lines($bytes) as $line) {
            if ($line !== '') {
                $this->field($line);
            } elseif (($block = $this->block()) !== null) {
                $blocks[] = $block;
            }
        }

        return $blocks;
    }

    /** @return list<string> */
    private function lines(string $bytes): array
    {
        if ($bytes === '') {
            return [];
        }
        if ($this->afterCarriageReturn && $bytes[0] === "\n") {
            $bytes = substr($bytes, 1);
        }
        $this->afterCarriageReturn = str_ends_with($bytes, "\r");
        if (str_contains($bytes, "\r")) {
            $bytes = str_replace(["\r\n", "\r"], "\n", $bytes);
        }

        $lines = explode("\n", $bytes);
        $rest = array_pop($lines);
        if ($lines !== []) {
            $lines[0] = $this->line . $lines[0];
            $this->line = '';
        }
        $this->line .= $rest;

        foreach ([...$lines, $this->line] as $line) {
            $this->bound(strlen($line));
        }

        return $this->withoutByteOrderMark($lines);
    }

    /**
     * @param list<string> $lines
     * @return list<string>
     */
    private function withoutByteOrderMark(array $lines): array
    {
        if ($this->firstLine && $lines !== []) {
            $this->firstLine = false;
            $marked = str_starts_with($lines[0], self::BYTE_ORDER_MARK);
            $lines[0] = $marked ? substr($lines[0], strlen(self::BYTE_ORDER_MARK)) : $lines[0];
        }

        return $lines;
    }

    private function field(string $line): void
    {
        [$name, $value] = [...explode(':', $line, 2), ''];
        if (str_starts_with($value, ' ')) {
            $value = substr($value, 1);
        }

        if ($name === 'data') {
            $this->data = $this->data === null ? $value : "$this->data\n$value";
            $this->bound(strlen($this->data));
        } elseif ($name === 'event') {
            $this->event = $value;
        } elseif ($name === 'id' && !str_contains($value, "\0")) {
            $this->id = $value;
        } elseif ($name === 'retry' && ctype_digit($value) && strlen($value) < 16) {
            $this->retryMs = (int) $value;
        }
    }

    private function block(): ?Block
    {
        $block = new Block($this->id, $this->event, $this->data, $this->retryMs);
        $this->id = $this->data = $this->retryMs = null;
        $this->event = '';
        $isEmpty = $block->id === null && $block->event === '' && $block->data === null && $block->retryMs === null;

        return $isEmpty ? null : $block;
    }

    private function bound(int $bytes): void
    {
        if ($bytes > $this->maxBytes) {
            throw new EventTooLargeException("an event has more than $this->maxBytes bytes");
        }
    }
}
