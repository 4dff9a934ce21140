<?php

declare(strict_types=1);

namespace Vidette\Http;

/** Nothing came within the time that was given. */
final class TimedOut extends ConnectionLost
{
}
