<?php

declare(strict_types=1);

namespace Vidette\Exception;

/** What this library throws. Errors that it gets over by itself are not thrown. */
class VidetteException extends \RuntimeException
{
}
