<?php

declare(strict_types=1);

namespace Vidette;

use Vidette\Exception\ProtocolException;
use Vidette\Internal\Json;

/** An event that was read. `cursor` is the position behind it: store it, and give it to `after:` next time. */
final class Received
{
    /**
     * @param mixed $data the parsed JSON value (objects as arrays), the text, or the bytes
     * @param ?string $raw the data as the JSON text that was sent, with all digits; null for bytes
     * @param array<string, string> $headers
     */
    public function __construct(
        public readonly int $vid,
        public readonly string $cursor,
        public readonly string $topic,
        public readonly string $time,
        public readonly ?string $type,
        public readonly ?string $id,
        public readonly string $contentType,
        public readonly array $headers,
        public readonly mixed $data,
        public readonly ?string $raw,
    ) {
    }

    /** Reads the event object of SSE and long-poll; throws a ProtocolException if it is none. */
    public static function parse(string $json, ?string $cursor, ?string $epoch): self
    {
        $fields = Json::object($json);
        $vid = $fields['vid'] ?? null;
        if (!is_int($vid) || !is_string($fields['topic'] ?? null)) {
            throw new ProtocolException('an event has no vid or no topic');
        }

        [$contentType, $data, $raw] = self::data($json, $fields);
        $text = static fn (string $name): ?string => is_string($fields[$name] ?? null) ? $fields[$name] : null;

        return new self(
            $vid,
            $cursor ?? ($epoch === null ? (string) $vid : "$vid-$epoch"),
            $fields['topic'],
            $text('time') ?? '',
            $text('type'),
            $text('id'),
            $text('content_type') ?? $contentType,
            is_array($fields['headers'] ?? null) ? $fields['headers'] : [],
            $data,
            $raw,
        );
    }

    /**
     * The content type where none is named, the data, and its JSON text.
     *
     * @param array<mixed> $fields
     * @return array{string, mixed, ?string}
     */
    private static function data(string $json, array $fields): array
    {
        if (isset($fields['data_base64'])) {
            $bytes = is_string($fields['data_base64']) ? base64_decode($fields['data_base64'], true) : false;
            if ($bytes === false) {
                throw new ProtocolException('data_base64 is not base64');
            }

            return ['application/octet-stream', $bytes, null];
        }

        $data = $fields['data'] ?? null;

        return [is_string($data) ? 'text/plain' : 'application/json', $data, Json::member($json, 'data') ?? 'null'];
    }
}
