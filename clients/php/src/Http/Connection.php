<?php

declare(strict_types=1);

namespace Vidette\Http;

use Vidette\Internal\Clock;

/**
 * One request on a connection of its own, over a PHP stream: what no PSR-18 client promises.
 *
 * The answer is read piece by piece with a time-out for each, and `close` ends a read that is under way.
 */
final class Connection
{
    private const HEAD_BYTES_MAX = 65536;
    private const PIECE_BYTES = 65536;

    public int $status = 0;
    /** @var array<string, string> with names in lower case */
    public array $headers = [];
    private ?BodyDecoder $decoder = null;
    private string $early = '';

    /** @param ?resource $stream */
    private function __construct(private $stream, private readonly Clock $clock)
    {
    }

    /**
     * Connects, with TLS for https.
     *
     * @param array<string, mixed> $tls options of PHP's `ssl` stream context
     */
    public static function open(string $url, float $seconds, Clock $clock, array $tls = []): self
    {
        $parts = parse_url($url);
        $secure = ($parts['scheme'] ?? '') === 'https';
        $port = $parts['port'] ?? ($secure ? 443 : 80);
        $address = ($secure ? 'ssl://' : 'tcp://') . ($parts['host'] ?? '') . ":$port";
        $context = stream_context_create(['ssl' => $tls]);

        // Why TLS fails is said by warnings alone.
        $warnings = [];
        set_error_handler(static function (int $number, string $text) use (&$warnings): bool {
            return (bool) ($warnings[] = $text);
        });
        try {
            $limit = $clock->real($seconds);
            $stream = stream_socket_client($address, $number, $text, $limit, STREAM_CLIENT_CONNECT, $context);
        } finally {
            restore_error_handler();
        }
        if ($stream === false) {
            throw new ConnectionLost("no connection to $address: " . implode('; ', $warnings));
        }
        stream_set_blocking($stream, false);
        stream_set_chunk_size($stream, self::PIECE_BYTES);
        stream_set_read_buffer($stream, 0);

        return new self($stream, $clock);
    }

    /**
     * Sends the request and reads the head of the answer.
     *
     * @param array<string, string> $headers
     */
    public function ask(string $method, string $url, array $headers, string $body, float $seconds): void
    {
        $until = $this->clock->now() + $seconds;
        $this->send(self::request($method, $url, $headers, $body), $until);

        do {
            $this->takeHead($this->readHead($until));
        } while ($this->status >= 100 && $this->status < 200);

        $this->decoder = new BodyDecoder($this->headers);
    }

    /** The next piece of the body; null when it is complete. */
    public function read(float $seconds): ?string
    {
        if ($this->decoder === null) {
            throw new \LogicException('nothing was asked for');
        }

        $until = $this->clock->now() + $seconds;
        while (!$this->decoder->isComplete()) {
            $bytes = $this->early !== '' ? $this->early : $this->receive($until);
            $this->early = '';
            if ($bytes === null) {
                $this->decoder->end();
                break;
            }

            $piece = $this->decoder->feed($bytes);
            if ($piece !== '') {
                return $piece;
            }
        }

        return null;
    }

    /** Ends it at once; a read that is under way throws. */
    public function close(): void
    {
        if ($this->stream !== null) {
            fclose($this->stream);
            $this->stream = null;
        }
    }

    /** @param array<string, string> $headers */
    private static function request(string $method, string $url, array $headers, string $body): string
    {
        $parts = parse_url($url);
        $target = ($parts['path'] ?? '/') . (isset($parts['query']) ? '?' . $parts['query'] : '');
        $host = ($parts['host'] ?? '') . (isset($parts['port']) ? ':' . $parts['port'] : '');
        $lines = ["$method $target HTTP/1.1", "Host: $host", 'Connection: close'];

        if ($body !== '' || $method === 'POST') {
            $lines[] = 'Content-Length: ' . strlen($body);
        }
        foreach ($headers as $name => $value) {
            $lines[] = "$name: " . str_replace(["\r", "\n"], ' ', $value);
        }

        return implode("\r\n", $lines) . "\r\n\r\n" . $body;
    }

    private function send(string $bytes, float $until): void
    {
        while ($bytes !== '') {
            $sent = $this->stream === null ? false : @fwrite($this->stream, $bytes);
            if ($sent === false) {
                throw new ConnectionLost('the request could not be sent');
            }
            $bytes = substr($bytes, $sent);
            if ($bytes !== '') {
                $this->await($until, true);
            }
        }
    }

    private function readHead(float $until): string
    {
        while (($end = strpos($this->early, "\r\n\r\n")) === false) {
            $bytes = $this->receive($until);
            if ($bytes === null) {
                throw new ConnectionLost('the connection ended before an answer');
            }
            $this->early .= $bytes;
            if (strlen($this->early) > self::HEAD_BYTES_MAX) {
                throw new ConnectionLost('the head of the answer is too long');
            }
        }

        $head = substr($this->early, 0, $end);
        $this->early = substr($this->early, $end + 4);

        return $head;
    }

    private function takeHead(string $head): void
    {
        $lines = explode("\r\n", $head);
        if (preg_match('~^HTTP/1\.\d (\d{3})~', (string) array_shift($lines), $match) !== 1) {
            throw new ConnectionLost('the answer is not HTTP');
        }

        $this->status = (int) $match[1];
        $this->headers = [];
        foreach ($lines as $line) {
            [$name, $value] = [...explode(':', $line, 2), ''];
            $this->headers[strtolower($name)] = trim($value);
        }
    }

    /** Some bytes, or null at the end of the connection. */
    private function receive(float $until): ?string
    {
        while ($this->stream !== null) {
            $bytes = @fread($this->stream, self::PIECE_BYTES);
            if ($bytes !== false && $bytes !== '') {
                return $bytes;
            }
            if (feof($this->stream)) {
                return null;
            }
            $this->await($until, false);
        }

        throw new ConnectionLost('the connection was closed');
    }

    private function await(float $until, bool $forWriting): void
    {
        $left = $until - $this->clock->now();
        if ($left <= 0) {
            throw new TimedOut('nothing came in time');
        }
        if ($this->stream !== null) {
            $this->clock->await($this->stream, $left, $forWriting);
        }
    }
}
