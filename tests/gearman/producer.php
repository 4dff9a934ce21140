<?php
// Sends door records as the old producers do: producer.php PORT FIRST LAST background|foreground
// A job that was not taken is sent again, with the same unique id.
[, $port, $first, $last, $how] = $argv;
ini_set('display_errors', 'stderr');
set_error_handler(fn() => true); // a job server that is down is reported as a warning, …

function connect($port) {
    $client = new GearmanClient();
    try {
        $client->addServer('127.0.0.1', (int) $port);
    } catch (GearmanException) {
        // … or as an exception, as it is asked for an option at once; the job will fail.
    }
    $client->setTimeout(10000);
    return $client;
}

$client = connect($port);
for ($number = (int) $first; $number <= (int) $last; $number++) {
    $record = json_encode(['vid' => 900, 'doorno' => $number % 5, 'rfsim' => (string) $number,
        'optime' => '2008-05-12 14:28:04', 'ynopen' => 1]);
    for ($tries = 1; ; $tries++) {
        $answer = $how == 'foreground' ? @$client->doNormal('getmsg', $record, "rec-$number")
            : @$client->doBackground('getmsg', $record, "rec-$number");
        if ($client->returnCode() == GEARMAN_SUCCESS) break;
        if ($tries == 300) exit("record $number was not taken: " . $client->error() . "\n");
        usleep(200000);
        $client = connect($port);
    }
    if ($how == 'foreground') echo $answer, "\n";
}
