<?php

declare(strict_types=1);

namespace Vidette;

/**
 * How a subscription is doing, as of now.
 *
 * `phase` is `connecting`, `catching-up`, `live`, `waiting` or `closed`; `transport` is `sse` or `poll`; `cursor` is
 * the one to save; `lag` is how many vids it was behind at the last hello.
 */
final class State
{
    public function __construct(
        public readonly string $phase,
        public readonly string $transport,
        public readonly ?string $cursor,
        public readonly ?int $lag,
        public readonly int $reconnects,
        public readonly int $gaps,
        public readonly int $duplicates,
    ) {
    }
}
