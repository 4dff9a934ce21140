<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Psr\Log\LoggerInterface;

/** The caller's PSR-3 logger. Without one, warnings go to PHP's error log, as a gap must never pass unseen. */
final class Log
{
    public function __construct(private readonly ?LoggerInterface $logger)
    {
    }

    public function info(string $text): void
    {
        $this->logger?->info($text);
    }

    public function warning(string $text): void
    {
        if ($this->logger === null) {
            error_log("vidette: $text");
        } else {
            $this->logger->warning($text);
        }
    }
}
