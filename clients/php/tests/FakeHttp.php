<?php

declare(strict_types=1);

namespace Vidette\Tests;

use Nyholm\Psr7\Response;
use Psr\Http\Client\ClientInterface;
use Psr\Http\Message\RequestInterface;
use Psr\Http\Message\ResponseInterface;
use Vidette\Http\ConnectionLost;
use Vidette\Http\NetworkException;

/** Answers the n-th request with the n-th answer: a status with a JSON body, or `null` for a lost connection. */
final class FakeHttp implements ClientInterface
{
    /** @var list<RequestInterface> */
    public array $requests = [];
    /** @var list<null|array{int, mixed, array<string, string>}> */
    private array $answers = [];

    /** @param array<string, string> $headers */
    public function answers(int $status, mixed $body = '', array $headers = []): self
    {
        $this->answers[] = [$status, is_string($body) ? $body : json_encode($body), $headers];

        return $this;
    }

    public function loses(string $received = ''): self
    {
        $this->answers[] = [0, $received, []];

        return $this;
    }

    /** A poll's answer with events of these vids. */
    public function polls(array $vids, string $cursor, array $more = []): self
    {
        $events = array_map(static fn (int $vid): array => [
            'vid' => $vid,
            'topic' => 'door.1',
            'time' => '2026-11-28T10:00:00.000Z',
            'data' => ['no' => $vid],
        ], $vids);
        $epoch = explode('-', $cursor)[1];

        return $this->answers(200, $more + [
            'epoch' => $epoch,
            'first' => 1,
            'last' => 100,
            'vid' => (int) $cursor,
            'cursor' => $cursor,
            'events' => $events,
        ]);
    }

    public function sendRequest(RequestInterface $request): ResponseInterface
    {
        $this->requests[] = $request;
        $answer = array_shift($this->answers) ?? throw new \LogicException("unexpected: {$request->getUri()}");
        [$status, $body, $headers] = $answer;

        if ($status === 0) {
            $lost = new ConnectionLost('cut');
            $lost->received = $body;
            throw new NetworkException($request, $lost);
        }

        return new Response($status, $headers + ['Content-Type' => 'application/json'], $body);
    }

    /** A parameter of the n-th request's query. */
    public function asked(int $number, string $name): ?string
    {
        parse_str($this->requests[$number]->getUri()->getQuery(), $query);

        return $query[$name] ?? null;
    }

    /** The body of the n-th request, parsed. */
    public function sent(int $number): mixed
    {
        return json_decode((string) $this->requests[$number]->getBody(), true);
    }
}
