<?php

// The adapter of the common kit: JSON lines in, this library's doings out.
//
// Run by the kit: `vidette-kit run --level full -- php clients/php/kit/adapter.php`. What is said is in full time.

declare(strict_types=1);

require __DIR__ . '/../tests/bootstrap.php';
require __DIR__ . '/Loop.php';
require __DIR__ . '/KitClock.php';
require __DIR__ . '/Reading.php';

use Nyholm\Psr7\Factory\Psr17Factory;
use Vidette\Event;
use Vidette\Exception\OutcomeUnknown;
use Vidette\Exception\StatusException;
use Vidette\Gap;
use Vidette\Http\StreamClient;
use Vidette\Internal\Options;
use Vidette\OnGap;
use Vidette\Publisher;
use Vidette\Reader;
use Vidette\Receipt;
use Vidette\Received;

/** One line for the kit. */
function say(string $word, array $fields = []): void
{
    fwrite(STDOUT, json_encode(['say' => $word] + $fields, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES) . "\n");
}

function sayEvent(Received $event): void
{
    $fields = ['vid' => $event->vid, 'cursor' => $event->cursor, 'topic' => $event->topic];
    $fields += $event->raw === null ? ['base64' => base64_encode($event->data)] : ['raw' => $event->raw];

    say('event', $fields + array_filter(['type' => $event->type, 'id' => $event->id], is_string(...)));
}

/** Holds one client, and one subscription at a time. */
final class Adapter
{
    private readonly Psr17Factory $factories;
    private readonly KitClock $clock;
    private readonly StreamClient $http;
    private readonly array $tls;
    private ?Publisher $publisher = null;
    private ?Reading $reading = null;
    private int $tokens = 0;

    public function __construct(private readonly string $url, private readonly Loop $loop)
    {
        $this->factories = new Psr17Factory();
        $this->clock = new KitClock();
        $this->tls = getenv('VIDETTE_KIT_CA') ? ['cafile' => getenv('VIDETTE_KIT_CA')] : [];
        $this->http = new StreamClient($this->factories, tls: $this->tls, clock: $this->clock);
    }

    public function obey(array $command): void
    {
        match ($command['do'] ?? '') {
            'subscribe' => $this->subscribe($command),
            'take' => $this->reading?->take($command['n'] ?? null),
            'ack' => $this->reading?->askAhead(),
            'state' => $this->sayState(),
            'close' => $this->close(),
            'publish' => $this->publish($command),
            default => say('unsupported', ['do' => $command['do'] ?? '']),
        };
    }

    public function close(): void
    {
        $this->reading?->close();
        $this->http->close();
        $this->loop->resume();
    }

    private function subscribe(array $command): void
    {
        $reader = new Reader(
            $this->http,
            $this->factories,
            $this->url,
            $this->token($command),
            new Psr\Log\NullLogger(),
            $this->tls,
            clock: $this->clock,
        );
        $start = [
            'topics' => $command['topic'] ?? [],
            'after' => $command['after'] ?? null,
            'since' => $command['since'] ?? null,
            'snapshot' => $command['snapshot'] ?? false,
            'onGap' => $this->policy(OnGap::from($command['on_gap'] ?? 'continue')),
        ];

        // Time with SSE set aside is a wait, and the library measures it on the clock of limits.
        $againMs = $command['sse_again_ms'] ?? Options::SSE_AGAIN_SECONDS * 1000;
        $again = $againMs / 1000 * $this->clock->waitFactor / $this->clock->limitFactor;
        $bytes = $command['max_event_bytes'] ?? Options::LARGEST_EVENT_BYTES;

        $events = ($command['transport'] ?? 'auto') === 'poll'
            ? $reader->poll(...$start)
            : $reader->subscribe(...$start, maxEventBytes: $bytes, sseAgainSeconds: $again);
        $this->reading = new Reading($events);
        $this->loop->start($this->reading->run(...));
    }

    private function policy(OnGap $choice): OnGap|Closure
    {
        return $choice === OnGap::Fail ? $choice : static function (Gap $gap) use ($choice): OnGap {
            say('gap', get_object_vars($gap));

            return $choice;
        };
    }

    private function sayState(): void
    {
        $state = $this->reading?->events->state();
        say('state', $state === null ? ['state' => 'closed', 'cursor' => null] : [
            'state' => $state->phase,
            'transport' => $state->transport,
            'cursor' => $state->cursor,
            'duplicates' => $state->duplicates,
            'gaps' => $state->gaps,
            'reconnects' => $state->reconnects,
        ]);
    }

    private function token(array $command): ?Closure
    {
        return ($command['token'] ?? null) !== 'counted' ? null : function (): string {
            $this->tokens++;
            say('token', ['n' => $this->tokens]);

            return "token-$this->tokens";
        };
    }

    private function publish(array $command): void
    {
        $window = ($command['window_ms'] ?? 110_000) / 1000 + 10;
        $this->publisher ??= new Publisher(
            $this->http,
            $this->factories,
            $this->url,
            $this->token($command),
            $window,
            clock: $this->clock,
        );
        $events = array_map(self::event(...), $command['events']);

        $this->loop->start(function () use ($command, $events): void {
            try {
                $outcomes = match ($command['mode']) {
                    'batch' => $this->publisher->publishBatch($events),
                    'stream' => $this->publisher->publishStream($events),
                    default => [$this->publisher->publish(...get_object_vars($events[0]))],
                };
                $outcomes = is_array($outcomes) ? $outcomes : iterator_to_array($outcomes, false);
            } catch (Throwable $error) {
                $outcomes = array_fill(0, count($events), $error);
            }
            foreach ($outcomes as $index => $outcome) {
                $this->sayOutcome(['ref' => $command['ref'], 'index' => $index], $outcome);
            }
        });
    }

    private static function event(array $fields): Event
    {
        return new Event($fields['topic'], $fields['data'] ?? null, $fields['type'] ?? null, $fields['id'] ?? null);
    }

    private function sayOutcome(array $which, Receipt|Throwable $outcome): void
    {
        say('receipt', $which + match (true) {
            $outcome instanceof Receipt => get_object_vars($outcome),
            $outcome instanceof StatusException => ['error' => 'status', 'status' => $outcome->status],
            $outcome instanceof OutcomeUnknown => ['error' => 'outcome_unknown'],
            default => ['error' => 'other', 'message' => (string) $outcome],
        });
    }
}

say('ready', ['library' => 'vidette/publisher (PHP)', 'version' => Publisher::VERSION]);
$loop = new Loop();
$adapter = new Adapter((string) getenv('VIDETTE_KIT_URL'), $loop);
$loop->run($adapter->obey(...));
$adapter->close();
