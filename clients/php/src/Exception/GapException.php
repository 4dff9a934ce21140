<?php

declare(strict_types=1);

namespace Vidette\Exception;

use Vidette\Gap;

/** Events are gone, and the subscription was asked to end then. Load the current state, and subscribe anew. */
final class GapException extends VidetteException
{
    public function __construct(public readonly Gap $gap)
    {
        parent::__construct("events after $gap->requested are gone ($gap->reason); $gap->first is the first one kept");
    }
}
