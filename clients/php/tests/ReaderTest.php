<?php

declare(strict_types=1);

namespace Vidette\Tests;

use Nyholm\Psr7\Factory\Psr17Factory;
use PHPUnit\Framework\TestCase;
use Vidette\Exception\GapException;
use Vidette\Exception\GaveUpException;
use Vidette\Exception\StatusException;
use Vidette\Gap;
use Vidette\OnGap;
use Vidette\Reader;
use Vidette\Subscription;

/** The rules over long-poll, in virtual time. The kit plays them over the wire, and over server-sent events. */
final class ReaderTest extends TestCase
{
    private FakeHttp $http;
    private FakeClock $clock;

    protected function setUp(): void
    {
        $this->http = new FakeHttp();
        $this->clock = new FakeClock();
    }

    public function testEachRequestAsksForWhatComesAfterTheLastFinishedEvent(): void
    {
        $this->http->polls([11, 12], '12-aaaaaa')->polls([], '20-aaaaaa')->polls([21], '21-aaaaaa');

        self::assertSame([11, 12, 21], self::take($this->reader()->poll('door.*', after: '10-aaaaaa'), 3));
        self::assertSame(['10-aaaaaa', '12-aaaaaa', '20-aaaaaa'], $this->askedAfter());
        self::assertSame('door.*', $this->http->asked(0, 'topic'));
        self::assertSame('25', $this->http->asked(0, 'wait'));
    }

    public function testAnUnfinishedEventComesAgain(): void
    {
        $this->http->polls([11, 12], '12-aaaaaa')->polls([12], '12-aaaaaa');
        $events = $this->reader()->poll('door.*', after: '10-aaaaaa');

        self::assertSame([11, 12], self::take($events, 2));
        self::assertSame('11-aaaaaa', $events->cursor());
        self::assertSame([12], self::take($events, 1));

        $events->finish();
        self::assertSame('12-aaaaaa', $events->cursor());
    }

    public function testWhatComesTwiceIsDropped(): void
    {
        $this->http->polls([11, 12, 11, 13], '13-aaaaaa');
        $events = $this->reader()->poll('door.*', after: '10-aaaaaa');

        self::assertSame([11, 12, 13], self::take($events, 3));
        self::assertSame(1, $events->state()->duplicates);
    }

    public function testTheFirstPollForWhatComesFromNowOnOnlyAsksForAPosition(): void
    {
        $this->http->polls([], '10-aaaaaa')->loses()->polls([11], '11-aaaaaa');

        self::assertSame([11], self::take($this->reader()->poll('door.*'), 1));
        self::assertSame(['latest', '10-aaaaaa', '10-aaaaaa'], $this->askedAfter());
        self::assertSame('0', $this->http->asked(0, 'wait'));
        self::assertSame([0.25], $this->clock->waits);
    }

    public function testAGapIsToldBeforeTheEventBehindIt(): void
    {
        $gap = ['reason' => 'expired', 'requested' => '10-aaaaaa', 'first' => 40, 'last' => 60, 'epoch' => 'aaaaaa'];
        $this->http->polls([40], '40-aaaaaa', ['gap' => $gap]);

        $told = [];
        $onGap = static function (Gap $gap) use (&$told): void {
            $told[] = $gap->reason;
        };
        foreach ($this->reader()->poll('door.*', after: '10-aaaaaa', onGap: $onGap) as $event) {
            $told[] = $event->vid;
            break;
        }

        self::assertSame(['expired', 40], $told);
    }

    public function testAGapEndsItWhereThatIsAskedFor(): void
    {
        $gap = ['reason' => 'expired', 'requested' => '10-aaaaaa', 'first' => 40, 'last' => 60, 'epoch' => 'aaaaaa'];
        $this->http->answers(410, $gap);

        try {
            self::take($this->reader()->poll('door.*', after: '10-aaaaaa', onGap: OnGap::Fail), 1);
            self::fail('no exception');
        } catch (GapException $error) {
            self::assertSame(40, $error->gap->first);
            self::assertSame('fail', $this->http->asked(0, 'on_gap'));
        }
    }

    public function testASnapshotIsReadAfterAGapWhereThatIsAskedFor(): void
    {
        $gap = ['reason' => 'expired', 'requested' => '10-aaaaaa', 'first' => 40, 'last' => 60, 'epoch' => 'aaaaaa'];
        $this->http->polls([40], '40-aaaaaa', ['gap' => $gap])->polls([55, 60], '60-aaaaaa');

        self::assertSame([55, 60], self::take($this->reader()->poll('door.*', after: '10-aaaaaa', onGap: OnGap::Snapshot), 2));
        self::assertSame('true', $this->http->asked(1, 'snapshot'));
        self::assertNull($this->http->asked(1, 'after'));
    }

    public function testCatchingUpEndsAtTheLiveEnd(): void
    {
        $this->http->polls([1, 2], '2-aaaaaa')->polls([3], '3-aaaaaa', ['up_to_date' => true]);
        $events = $this->reader()->catchUp('door.*');

        self::assertSame([1, 2, 3], self::take($events, 99));
        self::assertSame('3-aaaaaa', $events->cursor());
        self::assertSame(['earliest', '2-aaaaaa'], $this->askedAfter());
        self::assertSame([], self::take($events, 99));
    }

    public function testItWaitsLongerAfterEachFailureAndAtLeastAsLongAsAsked(): void
    {
        $this->http->loses()->answers(503)->answers(502)->answers(429, '', ['Retry-After' => '7'])->polls([11], '11-aaaaaa');

        self::assertSame([11], self::take($this->reader()->poll('door.*', after: '10-aaaaaa'), 1));
        self::assertSame([0.25, 0.5, 1.0, 7.0], $this->clock->waits);
    }

    public function testItGivesUpWhereALimitIsSet(): void
    {
        $this->http->loses()->loses()->loses();

        $this->expectException(GaveUpException::class);
        self::take($this->reader()->poll('door.*', after: '10-aaaaaa', maxElapsed: 1.0), 1);
    }

    public function testTheTokenIsAskedForOnceMoreAfter401(): void
    {
        $tokens = 0;
        $this->http->answers(401)->polls([11], '11-aaaaaa')->answers(401)->answers(401);
        $events = $this->reader(static function () use (&$tokens): string {
            return 'token-' . ++$tokens;
        })->poll('door.*', after: '10-aaaaaa');

        try {
            self::take($events, 2);
            self::fail('no exception');
        } catch (StatusException $error) {
            self::assertSame(401, $error->status);
        }
        self::assertSame(3, $tokens);
        self::assertSame('Bearer token-2', $this->http->requests[1]->getHeaderLine('Authorization'));
        self::assertSame('Bearer token-2', $this->http->requests[2]->getHeaderLine('Authorization'));
    }

    public function testATokenIsRenewedBeforeItExpires(): void
    {
        $tokens = [];
        $this->http->polls([11], '11-aaaaaa')->polls([12], '12-aaaaaa');
        $function = static function () use (&$tokens): string {
            return $tokens[] = 'x.' . base64_encode(json_encode(['exp' => time() + 20])) . '.y';
        };

        self::assertSame([11, 12], self::take($this->reader($function)->poll('door.*', after: '10-aaaaaa'), 2));
        self::assertCount(2, $tokens);
    }

    public function testClosingWithinTheLoopEndsIt(): void
    {
        $this->http->polls([11, 12], '12-aaaaaa');
        $events = $this->reader()->poll('door.*', after: '10-aaaaaa');

        foreach ($events as $event) {
            $events->close();
        }
        self::assertSame(11, $event->vid);
        self::assertSame('closed', $events->state()->phase);
        self::assertSame('11-aaaaaa', $events->cursor());
    }

    public function testDataIsParsedAndKeptAsText(): void
    {
        $events = '[{"vid":1,"topic":"a","data":{"n":1.50}},{"vid":2,"topic":"a","data":"t€xt"},'
            . '{"vid":3,"topic":"a","data_base64":"AP8=","content_type":"image/png","headers":{"h":"v"}}]';
        $this->http->answers(200, '{"epoch":"aaaaaa","cursor":"3-aaaaaa","up_to_date":true,"events":' . $events . '}');
        $read = iterator_to_array($this->reader()->catchUp(), false);

        self::assertSame([['n' => 1.5], 't€xt', "\x00\xFF"], array_column($read, 'data'));
        self::assertSame(['{"n":1.50}', '"t€xt"', null], array_column($read, 'raw'));
        self::assertSame(['application/json', 'text/plain', 'image/png'], array_column($read, 'contentType'));
        self::assertSame(['h' => 'v'], $read[2]->headers);
    }

    private function reader(null|string|\Closure $token = null): Reader
    {
        return new Reader($this->http, new Psr17Factory(), 'http://x/', $token, new \Psr\Log\NullLogger(), clock: $this->clock);
    }

    /** @return list<int> */
    private static function take(Subscription $events, int $count): array
    {
        $vids = [];
        foreach ($events as $event) {
            $vids[] = $event->vid;
            if (count($vids) === $count) {
                break;
            }
        }

        return $vids;
    }

    /** @return list<?string> */
    private function askedAfter(): array
    {
        return array_map(fn (int $n): ?string => $this->http->asked($n, 'after'), array_keys($this->http->requests));
    }
}
