<?php

declare(strict_types=1);

namespace Vidette\Tests;

use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Broadcasting\PrivateChannel;
use Nyholm\Psr7\Factory\Psr17Factory;
use PHPUnit\Framework\TestCase;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;
use Vidette\Bridge\LaravelBroadcaster;
use Vidette\Publisher;

/** On Laravel's own abstract broadcaster, which decides who may join a channel. */
final class LaravelBroadcasterTest extends TestCase
{
    private FakeHttp $http;

    protected function setUp(): void
    {
        $this->http = new FakeHttp();
        if (!class_exists(AccessDeniedHttpException::class)) {
            // Laravel brings it; the Debian package of its broadcasting does not.
            class_alias(AccessDenied::class, AccessDeniedHttpException::class);
        }
    }

    public function testEachChannelIsATopicAndAllAreOneBatch(): void
    {
        $this->http->answers(200, ['events' => [['vid' => 1, 'cursor' => '1-aaaaaa'], ['vid' => 2, 'cursor' => '2-aaaaaa']]]);
        $payload = ['no' => 3, 'socket' => '12.34'];
        $this->broadcaster()->broadcast([new PrivateChannel('orders.1'), 'news'], 'App\Events\Shipped', $payload);

        [$first, $second] = $this->http->sent(0);
        self::assertSame(['app.private-orders.1', 'app.news'], [$first['topic'], $second['topic']]);
        self::assertSame('App\Events\Shipped', $first['type']);
        self::assertSame(['no' => 3], $first['data']);
        self::assertSame(['socket' => '12.34'], $first['headers']);
        self::assertNotSame($first['id'], $second['id']);
    }

    public function testALongClassNameIsCutToAType(): void
    {
        $this->http->answers(200, ['events' => [['vid' => 1, 'cursor' => '1-aaaaaa']]]);
        $this->broadcaster()->broadcast(['news'], 'App\\' . str_repeat('Deep\\', 20) . 'Shipped');

        self::assertSame('Shipped', $this->http->sent(0)[0]['type']);
        self::assertSame('{}', json_encode(json_decode((string) $this->http->requests[0]->getBody())[0]->data));
    }

    public function testARefusalIsLaravelsException(): void
    {
        $this->http->answers(403);

        $this->expectException(BroadcastException::class);
        $this->broadcaster()->broadcast(['news'], 'Shipped');
    }

    public function testAUserWhoMayJoinGetsTheTopicAndAToken(): void
    {
        $broadcaster = $this->broadcaster();
        $broadcaster->channel('orders.{id}', static fn (object $user, string $id): bool => $id === $user->order);

        $answer = $broadcaster->auth($this->request('private-orders.1', (object) ['order' => '1']));
        self::assertSame(['topic' => 'app.private-orders.1', 'token' => 'token of 1 for app.private-orders.1'], $answer);
    }

    public function testOthersMayNot(): void
    {
        $broadcaster = $this->broadcaster();
        $broadcaster->channel('orders.{id}', static fn (object $user, string $id): bool => $id === $user->order);
        $refused = 0;

        foreach ([['private-orders.1', (object) ['order' => '2']], ['private-orders.1', null], ['private-other', (object) []], ['', null]] as $case) {
            try {
                $broadcaster->auth($this->request(...$case));
            } catch (AccessDeniedHttpException) {
                $refused++;
            }
        }
        self::assertSame(4, $refused);
    }

    private function broadcaster(): LaravelBroadcaster
    {
        $token = static fn (object $user, string $topic): string => "token of $user->order for $topic";

        return new LaravelBroadcaster(
            new Publisher($this->http, new Psr17Factory(), 'http://x', clock: new FakeClock()),
            'app.{channel}',
            $token,
        );
    }

    private function request(string $channel, ?object $user): object
    {
        return new class ($channel, $user) {
            public function __construct(public readonly string $channel_name, private readonly ?object $user)
            {
            }

            public function user(): ?object
            {
                return $this->user;
            }
        };
    }
}
