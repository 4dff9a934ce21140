<?php

declare(strict_types=1);

namespace Vidette\Http;

/** The network failed, or the answer is not HTTP. `received` is what came of the body. */
class ConnectionLost extends \RuntimeException
{
    public string $received = '';
}
