<?php

declare(strict_types=1);

namespace Vidette\Exception;

/** The gateway refused the request, and trying again would not help. `problem` is its answer, parsed. */
final class StatusException extends VidetteException
{
    /** @param array<mixed> $problem */
    public function __construct(public readonly int $status, public readonly array $problem = [])
    {
        $detail = $problem['detail'] ?? $problem['title'] ?? null;

        parent::__construct("the gateway answered $status" . (is_string($detail) ? ": $detail" : ''), $status);
    }
}
