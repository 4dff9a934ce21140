<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Exception\StatusException;

/** An answer that is not the one asked for: another status than 200, or another kind of content. */
final class Refused extends \RuntimeException
{
    public function __construct(
        public readonly int $status,
        public readonly string $retryAfter,
        public readonly string $body,
    ) {
        parent::__construct("the answer was $status");
    }

    public function asStatusException(): StatusException
    {
        return new StatusException($this->status, Json::object($this->body));
    }
}
