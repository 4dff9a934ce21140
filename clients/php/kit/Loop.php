<?php

declare(strict_types=1);

/** Runs fibers that wait for streams and times, beside the commands on stdin. */
final class Loop
{
    /** @var array<int, array{fiber: Fiber, wish: array<string, mixed>}> */
    private array $waiting = [];
    private string $input = '';

    public function start(Closure $work): void
    {
        $this->go(new Fiber($work), true);
    }

    /** Runs until stdin ends. */
    public function run(callable $command): void
    {
        stream_set_blocking(STDIN, false);
        while (!feof(STDIN)) {
            $this->select();
            $this->input .= (string) fread(STDIN, 65536);
            while (($end = strpos($this->input, "\n")) !== false) {
                $line = substr($this->input, 0, $end);
                $this->input = substr($this->input, $end + 1);
                $command(json_decode($line, true));
                $this->resume();
            }
            $this->resume();
        }
    }

    /** Resumes those whose time, stream or condition has come. */
    public function resume(): void
    {
        $now = hrtime(true) / 1e9;
        foreach ($this->waiting as $key => ['fiber' => $fiber, 'wish' => $wish]) {
            $isReady = ($wish['ready'] ?? false) || $now >= ($wish['until'] ?? INF)
                || (isset($wish['stream']) && !is_resource($wish['stream']))
                || (isset($wish['when']) && $wish['when']());
            if ($isReady) {
                unset($this->waiting[$key]);
                $this->go($fiber, false);
            }
        }
    }

    private function go(Fiber $fiber, bool $isNew): void
    {
        $wish = $isNew ? $fiber->start() : $fiber->resume();
        if (!$fiber->isTerminated()) {
            $this->waiting[] = ['fiber' => $fiber, 'wish' => $wish];
        }
    }

    private function select(): void
    {
        $read = ['stdin' => STDIN];
        $write = $except = [];
        $until = hrtime(true) / 1e9 + 1.0;

        foreach ($this->waiting as $key => ['wish' => $wish]) {
            $until = min($until, $wish['until'] ?? INF);
            if (isset($wish['stream']) && is_resource($wish['stream'])) {
                $wish['writing'] ? $write[$key] = $wish['stream'] : $read[$key] = $wish['stream'];
            }
        }

        $left = max(0.0, $until - hrtime(true) / 1e9);
        stream_select($read, $write, $except, (int) $left, (int) ceil(fmod($left, 1.0) * 1e6));
        foreach (array_keys($read + $write) as $key) {
            if ($key !== 'stdin') {
                $this->waiting[$key]['wish']['ready'] = true;
            }
        }
    }
}
