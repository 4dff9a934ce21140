<?php

declare(strict_types=1);

namespace Vidette\Internal;

/** How long to wait before a new try: full jitter, under a bound that doubles with each failure. */
final class Backoff
{
    private const BASE_SECONDS = 0.5;
    private const LONGEST_SECONDS = 20.0;
    private const LONGEST_ASKED_SECONDS = 300.0;
    private const DOUBLINGS_MAX = 32;

    private int $failures = 0;

    public function __construct(private readonly Clock $clock)
    {
    }

    /** The connection was good. */
    public function reset(): void
    {
        $this->failures = 0;
    }

    /** The wait after one more failure, the floor at least. */
    public function afterFailure(float $floorSeconds = 0.0): float
    {
        $bound = min(self::LONGEST_SECONDS, self::BASE_SECONDS * 2 ** $this->failures);
        $this->failures = min($this->failures + 1, self::DOUBLINGS_MAX);

        return max($floorSeconds, $this->clock->random() * $bound);
    }

    /** The wait that the server asked for, give or take a half, so that not all come at once. */
    public function afterOrderlyEnd(?int $askedMs): float
    {
        $seconds = $askedMs === null ? self::BASE_SECONDS : $askedMs / 1000;

        return min($seconds, self::LONGEST_ASKED_SECONDS) * (0.5 + $this->clock->random());
    }

    /** What a `Retry-After` of seconds or a date asks for, at most 5 min; 0 for nonsense. */
    public static function retryAfterSeconds(string $header, float $wall): float
    {
        $header = trim($header);
        if ($header !== '' && ctype_digit($header)) {
            return min((float) $header, self::LONGEST_ASKED_SECONDS);
        }

        // Only the form that HTTP sends: PHP would also take "soon" and "-3" as some time.
        $date = \DateTimeImmutable::createFromFormat('D, d M Y H:i:s \G\M\T', $header, new \DateTimeZone('UTC'));

        return $date === false ? 0.0 : min(max(0.0, $date->getTimestamp() - $wall), self::LONGEST_ASKED_SECONDS);
    }
}
