<?php

declare(strict_types=1);

namespace Vidette;

/**
 * An event to be published.
 *
 * `data` is anything that `json_encode` takes; a string is published as text, or as bytes when it has a content type.
 * Without an `id` the library makes one, so that a second try is never a second event.
 */
final class Event
{
    /** @param array<string, string> $headers */
    public function __construct(
        public readonly string $topic,
        public readonly mixed $data = null,
        public readonly ?string $type = null,
        public readonly ?string $id = null,
        public readonly ?string $contentType = null,
        public readonly array $headers = [],
    ) {
    }
}
