<?php

declare(strict_types=1);

namespace Vidette\Exception;

/** Whether these events were published is not known, and the gateway may have forgotten their ids by now. */
final class OutcomeUnknown extends VidetteException
{
    /** @param list<string> $ids */
    public function __construct(public readonly array $ids, ?\Throwable $previous = null)
    {
        $reason = $previous?->getMessage() ?? 'no answer';
        parent::__construct("published or not is unknown, the last error was: $reason", 0, $previous);
    }
}
