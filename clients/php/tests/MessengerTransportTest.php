<?php

declare(strict_types=1);

namespace Vidette\Tests;

use Nyholm\Psr7\Factory\Psr17Factory;
use PHPUnit\Framework\TestCase;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Exception\MessageDecodingFailedException;
use Symfony\Component\Messenger\Exception\TransportException;
use Symfony\Component\Messenger\Stamp\TransportMessageIdStamp;
use Vidette\Bridge\MessengerTransport;
use Vidette\Publisher;
use Vidette\Reader;

/** With Symfony's own envelopes and serializer. */
final class MessengerTransportTest extends TestCase
{
    private FakeHttp $http;
    private FakeClock $clock;
    private ?string $saved = null;

    protected function setUp(): void
    {
        $this->http = new FakeHttp();
        $this->clock = new FakeClock();
    }

    public function testAMessageThatIsSentIsReceived(): void
    {
        $this->http->answers(200, ['vid' => 7, 'cursor' => '7-aaaaaa']);
        $sent = $this->transport()->send(new Envelope(new \ArrayObject(['door' => 3])));
        $body = $this->http->sent(0);

        self::assertSame('7-aaaaaa', $sent->last(TransportMessageIdStamp::class)->getId());
        self::assertSame(['jobs', 'message'], [$body['topic'], $body['type']]);

        $this->answersWith([7 => $body['data']]);
        [$received] = $this->transport()->get();

        self::assertEquals(new \ArrayObject(['door' => 3]), $received->getMessage());
    }

    public function testAMessageComesAgainUntilItIsAcknowledged(): void
    {
        $this->answersWith([1 => $this->encoded('one'), 2 => $this->encoded('two')]);
        $transport = $this->transport();

        [$first] = $transport->get();
        [$again] = $transport->get();
        self::assertEquals($first, $again);
        self::assertNull($this->saved);

        $transport->ack($first);
        self::assertSame('1-aaaaaa', $this->saved);

        [$second] = $transport->get();
        self::assertSame(['two'], (array) $second->getMessage());
        $transport->reject($second);
        self::assertSame('2-aaaaaa', $this->saved);
    }

    public function testWhenItHasCaughtUpItAsksAgainFromThere(): void
    {
        $this->saved = '5-aaaaaa';
        $this->answersWith([]);
        $this->answersWith([9 => $this->encoded('nine')]);
        $transport = $this->transport();

        self::assertSame([], $transport->get());
        self::assertSame('9-aaaaaa', $this->saved);
        self::assertCount(1, $transport->get());
        self::assertSame(['5-aaaaaa', '9-aaaaaa'], [$this->http->asked(0, 'after'), $this->http->asked(1, 'after')]);
    }

    public function testAMessageThatCannotBeReadIsPassedOver(): void
    {
        $this->answersWith([1 => ['body' => 'nonsense'], 2 => $this->encoded('two')]);
        $transport = $this->transport();

        try {
            $transport->get();
            self::fail('no exception');
        } catch (MessageDecodingFailedException) {
            self::assertSame('1-aaaaaa', $this->saved);
        }
        self::assertCount(1, $transport->get());
    }

    public function testARefusalIsSymfonysException(): void
    {
        $this->http->answers(403);

        $this->expectException(TransportException::class);
        $this->transport()->send(new Envelope(new \stdClass()));
    }

    /** @return array{body: string} */
    private function encoded(string $text): array
    {
        return (new \Symfony\Component\Messenger\Transport\Serialization\PhpSerializer())
            ->encode(new Envelope(new \ArrayObject([$text])));
    }

    /** @param array<int, mixed> $data by vid */
    private function answersWith(array $data): void
    {
        $events = [];
        foreach ($data as $vid => $value) {
            $events[] = ['vid' => $vid, 'topic' => 'jobs', 'data' => $value];
        }
        $cursor = (array_key_last($data) ?? 9) . '-aaaaaa';
        $this->http->answers(200, ['epoch' => 'aaaaaa', 'cursor' => $cursor, 'up_to_date' => true, 'events' => $events]);
    }

    private function transport(): MessengerTransport
    {
        $factories = new Psr17Factory();

        return new MessengerTransport(
            new Publisher($this->http, $factories, 'http://x', clock: $this->clock),
            'jobs',
            new Reader($this->http, $factories, 'http://x', clock: $this->clock),
            fn (): ?string => $this->saved,
            function (string $cursor): void {
                $this->saved = $cursor;
            },
        );
    }
}
