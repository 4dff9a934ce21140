<?php

declare(strict_types=1);

namespace Vidette\Exception;

/** An event has more bytes than `maxEventBytes` allows. */
final class EventTooLargeException extends VidetteException
{
}
