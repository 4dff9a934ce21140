<?php

declare(strict_types=1);

namespace Vidette\Internal;

/** The caller's token: a value, or a function that is asked for one. */
final class Tokens
{
    private const RENEW_BEFORE_SECONDS = 30.0;

    private ?string $current;
    private readonly ?\Closure $function;

    /** @param null|string|callable(): string $token */
    public function __construct(private readonly Clock $clock, #[\SensitiveParameter] null|string|callable $token)
    {
        // A text is always a token, also when a function has that name.
        $this->current = is_string($token) ? $token : null;
        $this->function = $token === null || is_string($token) ? null : \Closure::fromCallable($token);
    }

    /** True if there is a function to ask. */
    public function areRenewable(): bool
    {
        return $this->function !== null;
    }

    /** A token that is not the refused one, as far as the function has another. */
    public function get(#[\SensitiveParameter] ?string $refused = null): ?string
    {
        if ($this->function !== null && $this->isDue($refused)) {
            $this->current = ($this->function)();
        }

        return $this->current;
    }

    private function isDue(?string $refused): bool
    {
        if ($this->current === null || $this->current === $refused) {
            return true;
        }
        $expires = self::expiresAt($this->current);

        return $expires !== null && $expires - $this->clock->wall() < self::RENEW_BEFORE_SECONDS;
    }

    /** The `exp` of a JWT; null for any other token. */
    private static function expiresAt(string $token): ?float
    {
        $parts = explode('.', $token);
        $claims = count($parts) === 3 ? base64_decode(strtr($parts[1], '-_', '+/')) : false;
        $expires = $claims === false ? null : (Json::object($claims)['exp'] ?? null);

        return is_int($expires) || is_float($expires) ? (float) $expires : null;
    }
}
