<?php

declare(strict_types=1);

namespace Vidette\Http;

use Psr\Http\Client\NetworkExceptionInterface;
use Psr\Http\Message\RequestInterface;

/** What StreamClient throws. `received` is the part of the answer's body that came, if its head said success. */
final class NetworkException extends \RuntimeException implements NetworkExceptionInterface
{
    public readonly string $received;

    public function __construct(private readonly RequestInterface $request, ConnectionLost $previous)
    {
        parent::__construct($previous->getMessage(), 0, $previous);
        $this->received = $previous->received;
    }

    public function getRequest(): RequestInterface
    {
        return $this->request;
    }
}
