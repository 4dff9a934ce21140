<?php

declare(strict_types=1);

namespace Vidette\Exception;

/** The server broke the contract, also at a second try. */
final class ProtocolException extends VidetteException
{
}
