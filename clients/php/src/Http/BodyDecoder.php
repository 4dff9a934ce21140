<?php

declare(strict_types=1);

namespace Vidette\Http;

/** The body of an HTTP/1.1 answer: chunked, of a known length, or up to the end of the connection. */
final class BodyDecoder
{
    private const SIZE_LINE_BYTES_MAX = 1024;

    /** Bytes that still belong to the chunk or to the body; null: up to the end of the connection. */
    private ?int $left;
    private readonly bool $chunked;
    private string $buffer = '';
    private bool $complete = false;

    /** @param array<string, string> $headers with names in lower case */
    public function __construct(array $headers)
    {
        $length = $headers['content-length'] ?? null;
        $this->chunked = str_contains(strtolower($headers['transfer-encoding'] ?? ''), 'chunked');
        $this->left = $this->chunked ? 0 : ($length === null ? null : (int) $length);
        $this->complete = !$this->chunked && $this->left === 0;
    }

    public function isComplete(): bool
    {
        return $this->complete;
    }

    /** The connection has ended. Throws if the body has not. */
    public function end(): void
    {
        if (!$this->complete && ($this->chunked || $this->left !== null)) {
            throw new ConnectionLost('the connection ended within the answer');
        }
        $this->complete = true;
    }

    /** The part of the body that these bytes are. */
    public function feed(string $bytes): string
    {
        if (!$this->chunked) {
            return $this->plain($bytes);
        }

        $body = '';
        $this->buffer .= $bytes;
        while (!$this->complete && $this->buffer !== '') {
            if ($this->left > 0) {
                $piece = substr($this->buffer, 0, $this->left);
                $this->buffer = substr($this->buffer, strlen($piece));
                $this->left -= strlen($piece);
                $body .= $piece;
            } elseif (!$this->nextSize()) {
                break;
            }
        }

        return $body;
    }

    private function plain(string $bytes): string
    {
        if ($this->left !== null) {
            $bytes = substr($bytes, 0, $this->left);
            $this->left -= strlen($bytes);
            $this->complete = $this->left === 0;
        }

        return $bytes;
    }

    /** Takes the line with the next chunk's size, and the line end of the chunk before. */
    private function nextSize(): bool
    {
        $found = preg_match('/^(?:\r?\n)?([0-9a-fA-F]{1,15})[^\r\n]*\r?\n/', $this->buffer, $match);
        if ($found === 1) {
            $this->left = (int) hexdec($match[1]);
            $this->buffer = substr($this->buffer, strlen($match[0]));
            $this->complete = $this->left === 0;
        } elseif (
            strlen($this->buffer) > self::SIZE_LINE_BYTES_MAX
            || preg_match('/^[^\r\n0-9a-fA-F]/', $this->buffer) === 1
        ) {
            throw new ConnectionLost('the answer has a chunk without a size');
        }

        return $found === 1;
    }
}
