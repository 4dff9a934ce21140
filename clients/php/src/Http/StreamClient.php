<?php

declare(strict_types=1);

namespace Vidette\Http;

use Psr\Http\Client\ClientInterface;
use Psr\Http\Message\RequestInterface;
use Psr\Http\Message\ResponseFactoryInterface;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\StreamFactoryInterface;
use Vidette\Internal\Clock;

/**
 * A small PSR-18 client over PHP streams, for programs that have no other.
 *
 * Each request has a connection of its own. `close` ends the requests that are under way.
 */
final class StreamClient implements ClientInterface
{
    private const BODY_BYTES_MAX = 16 * 1024 * 1024;

    /** @var array<int, Connection> */
    private array $open = [];

    /**
     * @param float $timeoutSeconds for a whole request; more than the 25 s of a long-poll
     * @param array<string, mixed> $tls options of PHP's `ssl` stream context
     */
    public function __construct(
        private readonly ResponseFactoryInterface&StreamFactoryInterface $factories,
        private readonly float $timeoutSeconds = 35.0,
        private readonly array $tls = [],
        private readonly Clock $clock = new Clock(),
    ) {
    }

    public function sendRequest(RequestInterface $request): ResponseInterface
    {
        $until = $this->clock->now() + $this->timeoutSeconds;

        try {
            $url = (string) $request->getUri();
            $connection = Connection::open($url, $this->timeoutSeconds, $this->clock, $this->tls);
            $this->open[spl_object_id($connection)] = $connection;
            try {
                return $this->answer($connection, $request, $until);
            } finally {
                unset($this->open[spl_object_id($connection)]);
                $connection->close();
            }
        } catch (ConnectionLost $lost) {
            throw new NetworkException($request, $lost);
        }
    }

    /** Ends the requests that are under way. */
    public function close(): void
    {
        foreach ($this->open as $connection) {
            $connection->close();
        }
    }

    private function answer(Connection $connection, RequestInterface $request, float $until): ResponseInterface
    {
        $left = fn (): float => $until - $this->clock->now();
        $headers = [];
        foreach ($request->getHeaders() as $name => $values) {
            if (!in_array(strtolower((string) $name), ['host', 'content-length', 'connection'], true)) {
                $headers[(string) $name] = implode(', ', $values);
            }
        }
        [$method, $url, $body] = [$request->getMethod(), (string) $request->getUri(), (string) $request->getBody()];
        $connection->ask($method, $url, $headers, $body, $left());

        $answer = $this->factories->createStream($this->body($connection, $left));
        $response = $this->factories->createResponse($connection->status)->withBody($answer);
        foreach ($connection->headers as $name => $value) {
            $response = $response->withHeader($name, $value);
        }

        return $response;
    }

    /** @param callable(): float $left */
    private function body(Connection $connection, callable $left): string
    {
        $body = '';

        try {
            while (($piece = $connection->read($left())) !== null) {
                $body .= $piece;
                if (strlen($body) > self::BODY_BYTES_MAX) {
                    throw new ConnectionLost('the answer is too long');
                }
            }
        } catch (ConnectionLost $lost) {
            $lost->received = $connection->status === 200 ? $body : '';
            throw $lost;
        }

        return $body;
    }
}
