<?php

declare(strict_types=1);

namespace Vidette\Exception;

/** There was no good connection for as long as `maxElapsed` says. */
final class GaveUpException extends VidetteException
{
}
