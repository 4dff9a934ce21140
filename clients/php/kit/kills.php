<?php

// Kills a real gateway again and again, and checks that nothing was lost, doubled or out of order.
//
//     php clients/php/kit/kills.php --gateway target/release/vidette --seconds 600
//
// Four readers follow from the start, each in a process of its own: by server-sent events, by long-poll, one that
// begins again from its cursor every 500 events, and one that catches up again and again. A publisher sends numbered
// events. Exit status 1 if a reader has not exactly what was published.

declare(strict_types=1);

require __DIR__ . '/../tests/bootstrap.php';

use Nyholm\Psr7\Factory\Psr17Factory;
use Vidette\Event;
use Vidette\Http\StreamClient;
use Vidette\Publisher;
use Vidette\Reader;
use Vidette\Receipt;

const TOPIC = 'kills.numbers';
const LAST = 'last';
const EVENTS_BEFORE_RESTART = 500;
const SECONDS_TO_FINISH = 60;
const READERS = ['sse', 'poll', 'again', 'catch-up'];

function publish(string $url, float $seconds): void
{
    $factories = new Psr17Factory();
    $publisher = new Publisher(new StreamClient($factories), $factories, $url);
    $endsAt = microtime(true) + $seconds;
    $count = 0;

    while (microtime(true) < $endsAt) {
        $events = array_map(static fn (int $n): Event => new Event(TOPIC, $n), range($count, $count + 19));
        foreach ($publisher->publishStream($events) as $outcome) {
            $outcome instanceof Receipt || throw $outcome;
            $count++;
        }
        usleep(20_000);
    }
    $publisher->publish(TOPIC, LAST);
    echo "$count\n";
}

/** Prints each number that is read, up to the last. */
function follow(string $url, string $how): void
{
    $factories = new Psr17Factory();
    $reader = new Reader(new StreamClient($factories), $factories, $url, logger: new Psr\Log\NullLogger());
    $cursor = 'earliest';
    $count = 0;

    while (true) {
        $events = match ($how) {
            'poll' => $reader->poll(TOPIC, after: $cursor),
            'catch-up' => $reader->catchUp(TOPIC, after: $cursor),
            default => $reader->subscribe(TOPIC, after: $cursor),
        };
        foreach ($events as $event) {
            if ($event->data === LAST) {
                return;
            }
            echo "$event->data\n";
            $cursor = $event->cursor;
            if (++$count % EVENTS_BEFORE_RESTART === 0 && $how === 'again') {
                break;
            }
        }
        usleep(50_000);
    }
}

/** @return resource */
function start(array $command, string $output)
{
    $pipes = [];

    return proc_open($command, [1 => ['file', $output, 'a'], 2 => ['file', "$output.errors", 'a']], $pipes);
}

function wait_for($process, int $seconds): bool
{
    for ($n = 0; $n < $seconds * 20 && proc_get_status($process)['running']; $n++) {
        usleep(50_000);
    }
    $ended = !proc_get_status($process)['running'];
    proc_terminate($process, SIGKILL);

    return $ended;
}

function check(string $program, float $seconds, string $folder): bool
{
    $socket = stream_socket_server('tcp://127.0.0.1:0');
    $address = stream_socket_get_name($socket, false);
    fclose($socket);
    $serve = [$program, 'serve', '--data-dir', "$folder/log", '--listen', $address];
    $gateway = static fn () => start($serve, "$folder/gateway");
    $this_program = [PHP_BINARY, __FILE__, '--url', "http://$address", '--seconds', (string) $seconds];
    $child = static fn (string $role) => start([...$this_program, '--role', $role], "$folder/$role");

    $running = $gateway();
    $readers = array_combine(READERS, array_map($child, READERS));
    $publisher = $child('publish');
    $kills = 0;

    while (proc_get_status($publisher)['running']) {
        usleep(random_int(500_000, 3_000_000));
        proc_terminate($running, SIGKILL);
        proc_close($running);
        $kills++;
        usleep(random_int(0, 500_000));
        $running = $gateway();
    }

    $published = (int) file_get_contents("$folder/publish");
    echo "$kills kills, $published events published\n", @file_get_contents("$folder/publish.errors");
    $good = $published > 0;
    foreach ($readers as $role => $process) {
        $ended = wait_for($process, SECONDS_TO_FINISH);
        $read = array_map('intval', file("$folder/$role") ?: []);
        $lost = count(array_diff(range(0, $published - 1), $read));
        $doubled = count($read) - count(array_unique($read));
        $isRight = $ended && $read === range(0, $published - 1);
        printf("%-9s %d read, %d lost, %d doubled%s\n", $role, count($read), $lost, $doubled, $isRight ? '' : ', WRONG');
        $good = $good && $isRight;
    }
    proc_terminate($running, SIGKILL);
    proc_close($running);

    return $good;
}

$options = getopt('', ['gateway:', 'seconds:', 'role:', 'url:']);
$seconds = (float) ($options['seconds'] ?? 600);

if (isset($options['role'])) {
    if ($options['role'] === 'publish') {
        publish($options['url'], $seconds);
    } else {
        follow($options['url'], $options['role']);
    }
    exit(0);
}

$folder = sys_get_temp_dir() . '/vidette-kills-' . getmypid();
mkdir($folder);
$good = check($options['gateway'] ?? 'target/release/vidette', $seconds, $folder);
if ($good) {
    exec('rm -r ' . escapeshellarg($folder));
} else {
    echo "see $folder\n";
}
exit($good ? 0 : 1);
