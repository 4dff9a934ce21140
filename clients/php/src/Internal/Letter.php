<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Event;
use Vidette\Exception\VidetteException;
use Vidette\Receipt;

/** An event on its way: its JSON with its id, when it was first tried, and what became of it. */
final class Letter
{
    public readonly string $id;
    public readonly string $json;
    public ?float $triedAt = null;
    public Receipt|VidetteException|null $outcome = null;

    public function __construct(Event $event, Clock $clock)
    {
        $this->id = $event->id ?? self::newId($clock->wall());
        $this->json = self::encode($event, $this->id);
    }

    /** A UUIDv7: ids of one publisher sort by time. */
    public static function newId(float $wall): string
    {
        $bytes = substr(pack('J', (int) ($wall * 1000)), 2) . random_bytes(10);
        $bytes[6] = chr(0x70 | ord($bytes[6]) & 0x0F);
        $bytes[8] = chr(0x80 | ord($bytes[8]) & 0x3F);

        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
    }

    private static function encode(Event $event, string $id): string
    {
        $fields = ['topic' => $event->topic, 'id' => $id];
        if ($event->type !== null) {
            $fields['type'] = $event->type;
        }
        if ($event->contentType !== null) {
            $fields['content_type'] = $event->contentType;
        }
        if ($event->headers !== []) {
            $fields['headers'] = $event->headers;
        }

        // Text and bytes are both strings in PHP: what is no UTF-8 cannot be sent as text.
        if (is_string($event->data) && preg_match('//u', $event->data) !== 1) {
            $fields['data_base64'] = base64_encode($event->data);
        } else {
            $fields['data'] = $event->data;
        }
        $flags = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;

        return json_encode($fields, $flags);
    }
}
