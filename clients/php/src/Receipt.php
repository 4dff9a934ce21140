<?php

declare(strict_types=1);

namespace Vidette;

/** An event is published and durable. `duplicate`: its id was known, so nothing was added. */
final class Receipt
{
    public function __construct(
        public readonly int $vid,
        public readonly string $cursor,
        public readonly bool $duplicate = false,
    ) {
    }
}
