<?php

declare(strict_types=1);

namespace Vidette\Internal;

/** What is known of the request under way. */
final class Attempt
{
    private const HELLO_SECONDS = 10.0;
    private const FIRST_BYTE_SECONDS = 5.0;
    private const DEFAULT_HEARTBEAT_SECONDS = 15.0;
    private const SILENT_HEARTBEATS = 2.5;

    public ?float $headAt = null;
    public bool $anyByte = false;
    public bool $closing = false;
    public ?int $retryMs = null;
    private ?float $heartbeatSeconds = null;

    public function __construct(
        public readonly string $transport,
        public readonly float $askedAt,
        public readonly ?string $token,
    ) {
    }

    public function hello(?int $heartbeatMs): void
    {
        $this->heartbeatSeconds = $heartbeatMs > 0 ? $heartbeatMs / 1000 : self::DEFAULT_HEARTBEAT_SECONDS;
    }

    /** How long ago the head of the answer came; 0 if it has not. */
    public function secondsOpen(float $now): float
    {
        return $this->headAt === null ? 0.0 : $now - $this->headAt;
    }

    /** How long the next byte may take. */
    public function readLimit(float $now): float
    {
        if ($this->heartbeatSeconds !== null) {
            return self::SILENT_HEARTBEATS * $this->heartbeatSeconds;
        }
        $left = $this->askedAt + self::HELLO_SECONDS - $now;

        return $this->anyByte || $this->headAt === null
            ? $left
            : min($left, $this->headAt + self::FIRST_BYTE_SECONDS - $now);
    }
}
