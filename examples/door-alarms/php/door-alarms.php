<?php

/* Writes every alarm of a door into a database, each exactly once.
 *
 * The row and the position behind its event are written in one transaction. So whatever is killed, and whenever: the
 * service goes on behind the last row, and no alarm is missing or there twice. */

declare(strict_types=1);

use Nyholm\Psr7\Factory\Psr17Factory;
use Vidette\Gap;
use Vidette\Http\StreamClient;
use Vidette\OnGap;
use Vidette\Reader;
use Vidette\Received;

require __DIR__ . '/vendor/autoload.php';

const TABLES = <<<'SQL'
    CREATE TABLE IF NOT EXISTS alarms (id TEXT NOT NULL, door TEXT NOT NULL, seconds INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT NOT NULL);
    SQL;

/** The row and the position: both or none. */
function handle(PDO $db, Received $event): void
{
    $db->beginTransaction();
    if ($event->type === 'alarm') {
        $db->prepare('INSERT INTO alarms VALUES (?, ?, ?)')
            ->execute([$event->id, $event->topic, $event->data['open_seconds']]);
    }
    $db->prepare('REPLACE INTO position VALUES (1, ?)')->execute([$event->cursor]);
    $db->commit();

    echo "$event->id: $event->type of $event->topic\n";
}

/** The service was away for longer than events are retained. */
function report(Gap $gap): OnGap
{
    echo "alarms may be missing: $gap->reason\n";

    return OnGap::Continue;
}

$db = new PDO('sqlite:' . (getenv('ALARMS_DB') ?: 'alarms.db'));
$db->exec(TABLES);
// Where the last run came to; at first, the oldest event that is retained.
$cursor = $db->query('SELECT cursor FROM position')->fetchColumn() ?: 'earliest';

$factory = new Psr17Factory();
$url = getenv('VIDETTE_URL') ?: 'http://127.0.0.1:8080';
$reader = new Reader(new StreamClient($factory), $factory, $url);

// Follows until it is stopped; lost connections are the library's work.
foreach ($reader->subscribe('door.*', after: $cursor, onGap: report(...)) as $event) {
    handle($db, $event);
}
