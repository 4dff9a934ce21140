<?php

declare(strict_types=1);

namespace Vidette\Internal;

/** What stood before an empty line of an event stream. `data` is null if there was no data line. */
final class Block
{
    public function __construct(
        public readonly ?string $id,
        public readonly string $event,
        public readonly ?string $data,
        public readonly ?int $retryMs,
    ) {
    }
}
