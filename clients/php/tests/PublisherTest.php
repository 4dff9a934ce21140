<?php

declare(strict_types=1);

namespace Vidette\Tests;

use Nyholm\Psr7\Factory\Psr17Factory;
use PHPUnit\Framework\TestCase;
use Vidette\Event;
use Vidette\Exception\OutcomeUnknown;
use Vidette\Exception\StatusException;
use Vidette\Internal\Letter;
use Vidette\Publisher;
use Vidette\Receipt;

final class PublisherTest extends TestCase
{
    private FakeHttp $http;
    private FakeClock $clock;

    protected function setUp(): void
    {
        $this->http = new FakeHttp();
        $this->clock = new FakeClock();
    }

    public function testALostAnswerIsAskedForAgainWithTheSameId(): void
    {
        $this->http->loses()->answers(503)->answers(200, ['vid' => 7, 'cursor' => '7-aaaaaa', 'duplicate' => true]);
        $receipt = $this->publisher()->publish('door.3', ['no' => 3], type: 'opened');

        self::assertEquals(new Receipt(7, '7-aaaaaa', true), $receipt);
        self::assertSame([0.25, 0.5], $this->clock->waits);
        self::assertSame($this->http->sent(0), $this->http->sent(2));
        self::assertSame('opened', $this->http->sent(0)['type']);
    }

    public function testIdsSortByTime(): void
    {
        $ids = [Letter::newId(1700000000.001), Letter::newId(1700000000.002)];

        $form = '/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/';
        self::assertMatchesRegularExpression($form, $ids[0]);
        self::assertSame('018bcfe56801', str_replace('-', '', substr($ids[0], 0, 13)));
        self::assertLessThan($ids[1], $ids[0]);
    }

    public function testARefusalIsFinal(): void
    {
        $this->http->answers(403, ['status' => 403, 'detail' => 'not for this topic']);

        $this->expectExceptionObject(new StatusException(403, ['detail' => 'not for this topic']));
        $this->publisher()->publish('door.3');
    }

    public function testAfterTheWindowTheOutcomeIsUnknown(): void
    {
        foreach (range(1, 40) as $ignored) {
            $this->http->loses();
        }

        try {
            $this->publisher()->publish('door.3', id: 'a1');
            self::fail('no exception');
        } catch (OutcomeUnknown $error) {
            self::assertSame(['a1'], $error->ids);
        }
        self::assertLessThan(110.0, array_sum($this->clock->waits));
    }

    public function testAWebRequestMayGiveUpSooner(): void
    {
        $this->http->loses()->loses()->loses();

        $this->expectException(OutcomeUnknown::class);
        $this->publisher(maxElapsed: 1.0)->publish('door.3');
    }

    public function testABatchIsOneRequest(): void
    {
        $this->http->answers(200, ['first_vid' => 7, 'last_vid' => 8, 'events' => [
            ['vid' => 7, 'cursor' => '7-aaaaaa'],
            ['vid' => 8, 'cursor' => '8-aaaaaa'],
        ]]);
        $receipts = $this->publisher()->publishBatch([new Event('a', 1), new Event('b', 'two')]);

        self::assertSame([7, 8], array_column($receipts, 'vid'));
        self::assertSame([1, 'two'], array_column($this->http->sent(0), 'data'));
        self::assertSame([], $this->publisher()->publishBatch([]));
    }

    public function testAStreamSendsAgainOnlyWhatIsNotAnswered(): void
    {
        $first = '{"vid":7,"cursor":"7-aaaaaa"}' . "\n" . '{"error":{"status":403}}' . "\n" . '{"vid":9,"cur';
        $this->http->loses($first)->answers(200, '{"vid":9,"cursor":"9-aaaaaa"}' . "\n");
        $events = [new Event('a', 1), new Event('b', 2), new Event('c', 3)];
        $outcomes = iterator_to_array($this->publisher()->publishStream($events), false);

        self::assertSame(7, $outcomes[0]->vid);
        self::assertInstanceOf(StatusException::class, $outcomes[1]);
        self::assertSame(9, $outcomes[2]->vid);
        self::assertSame('c', $this->http->sent(1)['topic']);
        self::assertSame('application/x-ndjson', $this->http->requests[1]->getHeaderLine('Content-Type'));
    }

    public function testAStreamIsCutIntoRequests(): void
    {
        $lines = static fn (int $from, int $to): string => implode('', array_map(
            static fn (int $vid): string => "{\"vid\":$vid,\"cursor\":\"$vid-aaaaaa\"}\n",
            range($from, $to),
        ));
        $this->http->answers(200, $lines(1, 256))->answers(200, $lines(257, 300));
        $events = (static function (): \Generator {
            for ($n = 0; $n < 300; $n++) {
                yield new Event('a', $n);
            }
        })();

        $receipts = iterator_to_array($this->publisher()->publishStream($events), false);
        self::assertSame(range(1, 300), array_column($receipts, 'vid'));
        self::assertSame(256, substr_count((string) $this->http->requests[0]->getBody(), "\n"));
        self::assertCount(2, $this->http->requests);
    }

    public function testBytesAreSentAsBase64AndTextAsItIs(): void
    {
        foreach (range(1, 2) as $vid) {
            $this->http->answers(200, ['vid' => $vid, 'cursor' => "$vid-aaaaaa"]);
        }
        $publisher = $this->publisher();
        $publisher->publish('a', "\x00\xFF", contentType: 'image/png');
        $publisher->publish('a', 'Zürich', headers: ['h' => 'v']);

        self::assertSame('AP8=', $this->http->sent(0)['data_base64']);
        self::assertSame('image/png', $this->http->sent(0)['content_type']);
        self::assertSame('Zürich', $this->http->sent(1)['data']);
        self::assertSame(['h' => 'v'], $this->http->sent(1)['headers']);
    }

    private function publisher(?float $maxElapsed = null): Publisher
    {
        return new Publisher($this->http, new Psr17Factory(), 'http://x', maxElapsed: $maxElapsed, clock: $this->clock);
    }
}
