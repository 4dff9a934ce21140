<?php

declare(strict_types=1);

namespace Vidette\Bridge;

use Illuminate\Broadcasting\Broadcasters\Broadcaster;
use Illuminate\Broadcasting\Broadcasters\UsePusherChannelConventions;
use Illuminate\Broadcasting\BroadcastException;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;
use Vidette\Event;
use Vidette\Exception\VidetteException;
use Vidette\Publisher;

/**
 * Broadcasts Laravel's events by vidette: one event for each channel, all in one atomic request.
 *
 * The channel's name becomes the topic, the event's name the type, and the payload the data. The socket id of
 * `toOthers()` is the header `socket`, by which a page can pass over what it did itself.
 */
final class LaravelBroadcaster extends Broadcaster
{
    use UsePusherChannelConventions;

    private const TYPE_BYTES_MAX = 64;

    /**
     * @param string $topic where `{channel}` stands for the channel's name
     * @param ?\Closure(mixed, string): string $readerToken from the user and the topic to a token that may read it
     */
    public function __construct(
        private readonly Publisher $publisher,
        private readonly string $topic = '{channel}',
        private readonly ?\Closure $readerToken = null,
    ) {
    }

    /** Whether the user may listen to the channel of the request; what `Broadcast::channel` says decides. */
    public function auth($request): mixed
    {
        $channel = (string) $request->channel_name;
        $name = $this->normalizeChannelName($channel);

        if ($channel === '' || ($this->isGuardedChannel($channel) && !$this->retrieveUser($request, $name))) {
            throw new AccessDeniedHttpException();
        }

        return $this->verifyUserCanAccessChannel($request, $name);
    }

    /** The topic to subscribe to, with a token for it where tokens are made here. */
    public function validAuthenticationResponse($request, $result): mixed
    {
        $channel = (string) $request->channel_name;
        $answer = ['topic' => $this->topicOf($channel)];

        if ($this->readerToken !== null) {
            $user = $this->retrieveUser($request, $this->normalizeChannelName($channel));
            $answer['token'] = ($this->readerToken)($user, $answer['topic']);
        }

        return is_bool($result) ? $answer : $answer + ['user' => $result];
    }

    /** @param array<mixed> $payload */
    public function broadcast(array $channels, $event, array $payload = []): void
    {
        $headers = is_string($payload['socket'] ?? null) ? ['socket' => $payload['socket']] : [];
        unset($payload['socket']);

        $toEvent = fn (string $channel): Event => new Event(
            $this->topicOf($channel),
            $payload === [] ? new \stdClass() : $payload,
            self::typeOf((string) $event),
            headers: $headers,
        );

        try {
            $this->publisher->publishBatch(array_map($toEvent, array_values($this->formatChannels($channels))));
        } catch (VidetteException $error) {
            throw new BroadcastException($error->getMessage(), 0, $error);
        }
    }

    private function topicOf(string $channel): string
    {
        return str_replace('{channel}', $channel, $this->topic);
    }

    /** A type may have 64 bytes: of a longer class name the last part is kept. */
    private static function typeOf(string $event): string
    {
        if (strlen($event) <= self::TYPE_BYTES_MAX) {
            return $event;
        }

        return substr((string) strrchr("\\$event", '\\'), 1, self::TYPE_BYTES_MAX);
    }
}
