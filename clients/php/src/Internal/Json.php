<?php

declare(strict_types=1);

namespace Vidette\Internal;

/**
 * JSON of which the text of a member is kept, so that no digit of a number is lost.
 *
 * The scanner only finds where values end; whether the text is JSON at all is `json_decode`'s judgement.
 */
final class Json
{
    private const SPACE = " \t\n\r";
    private const DEPTH_MAX = 512;

    /**
     * A JSON object, parsed; integers beyond 64 bits become strings. An empty array if it is anything else.
     *
     * @return array<mixed>
     */
    public static function object(string $json): array
    {
        $value = json_decode($json, true, self::DEPTH_MAX, JSON_BIGINT_AS_STRING);

        return is_array($value) && !array_is_list($value) ? $value : [];
    }

    /** The text of one member of an object that `json_decode` takes; the last one of that name, as there. */
    public static function member(string $json, string $name): ?string
    {
        $found = null;
        $at = strcspn($json, '{') + 1;

        while (($at = self::skip($json, $at)) < strlen($json) && $json[$at] !== '}') {
            $nameEnd = self::end($json, $at);
            $valueAt = self::skip($json, self::skip($json, $nameEnd) + 1);
            $valueEnd = self::end($json, $valueAt);

            if (json_decode(substr($json, $at, $nameEnd - $at)) === $name) {
                $found = substr($json, $valueAt, $valueEnd - $valueAt);
            }
            $at = self::afterComma($json, $valueEnd);
        }

        return $found;
    }

    /**
     * The texts of the elements of an array that `json_decode` takes.
     *
     * @return list<string>
     */
    public static function elements(string $json): array
    {
        $found = [];
        $at = strcspn($json, '[') + 1;

        while (($at = self::skip($json, $at)) < strlen($json) && $json[$at] !== ']') {
            $end = self::end($json, $at);
            $found[] = substr($json, $at, $end - $at);
            $at = self::afterComma($json, $end);
        }

        return $found;
    }

    private static function skip(string $json, int $at): int
    {
        return $at + strspn($json, self::SPACE, $at);
    }

    private static function afterComma(string $json, int $at): int
    {
        $at = self::skip($json, $at);

        return $at + strspn($json, ',', $at, 1);
    }

    /** Where the value that begins here ends. */
    private static function end(string $json, int $at): int
    {
        $first = $json[$at] ?? '';
        if ($first === '"') {
            return self::stringEnd($json, $at);
        }
        if ($first !== '{' && $first !== '[') {
            return $at + strcspn($json, ',]}' . self::SPACE, $at);
        }

        $depth = 0;
        do {
            $sign = $json[$at] ?? '';
            $depth += match ($sign) {
                '{', '[' => 1,
                '}', ']' => -1,
                default => 0,
            };
            $at = $sign === '"' ? self::stringEnd($json, $at) : $at + 1;
            $at += $depth > 0 ? strcspn($json, '"{}[]', min($at, strlen($json))) : 0;
        } while ($depth > 0 && $at < strlen($json));

        return $at;
    }

    private static function stringEnd(string $json, int $at): int
    {
        $length = strlen($json);
        $at++;

        while ($at < $length) {
            $at += strcspn($json, '"\\', $at);
            if ($at >= $length || $json[$at] === '"') {
                return min($at + 1, $length);
            }
            $at += 2;
        }

        return $length;
    }
}
