<?php

declare(strict_types=1);

namespace Vidette\Internal;

use Vidette\Exception\ProtocolException;

/** A cursor's vid, and its epoch if it names one: `1042-k3x9q2`. */
final class Position
{
    private function __construct(public readonly int $vid, public readonly ?string $epoch)
    {
    }

    public static function of(string $cursor): self
    {
        if (preg_match('/^(\d{1,16})(?:-([a-z0-9]{1,32}))?$/D', $cursor, $match) !== 1) {
            throw new ProtocolException("'$cursor' is no cursor");
        }

        return new self((int) $match[1], $match[2] ?? null);
    }

    /** Whether both name an epoch, and not the same one. */
    public function isOfAnotherLog(?string $epoch): bool
    {
        return $this->epoch !== null && $epoch !== null && $epoch !== '' && $this->epoch !== $epoch;
    }
}
