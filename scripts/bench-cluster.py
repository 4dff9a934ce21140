#!/usr/bin/env python3
"""Measures gateways on NATS JetStream beside one on SQLite, and prints a table.

Starts three servers of NATS and two gateways on one stream, on loopback, runs `vidette bench` against them, and ends
what it has started. All share one machine, so compare only figures of one run.

    python3 scripts/bench-cluster.py [PROGRAM] [--seconds 10] [--rounds 1]
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATS = os.environ.get("NATS_SERVER", str(ROOT / ".tools/bin/nats-server"))
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def cpu_seconds(process):
    """What a process has used so far; fields 14 and 15 of /proc/PID/stat."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def until_it_answers(url, seconds=60):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{url} has not answered within {seconds} s")


class Running:
    """Processes and folders of one setup, which end with it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="vidette-bench-"))
        self.processes = []

    def start(self, *command):
        log = open(self.folder / f"{len(self.processes)}.log", "wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder)


def start_nats(running, sync_always):
    ports = [free_port() for _ in range(9)]
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[6:])
    sync = "sync_interval: always" if sync_always else ""
    for n in range(3):
        config = running.folder / f"n{n}.conf"
        config.write_text(
            f"server_name: n{n}\nlisten: 127.0.0.1:{ports[n]}\nhttp: 127.0.0.1:{ports[3 + n]}\nmax_payload: 4MB\n"
            f'jetstream {{ store_dir: "{running.folder}/n{n}", {sync} }}\n'
            f"cluster {{ name: bench, listen: 127.0.0.1:{ports[6 + n]}, routes: [{routes}] }}\n"
        )
        running.start(NATS, "--config", str(config))
    for n in range(3):
        until_it_answers(f"http://127.0.0.1:{ports[3 + n]}/healthz")
    return ",".join(f"nats://127.0.0.1:{port}" for port in ports[:3])


def start_gateway(running, program, *log):
    port = free_port()
    gateway = running.start(program, "serve", "--listen", f"127.0.0.1:{port}", *log)
    until_it_answers(f"http://127.0.0.1:{port}/readyz")
    return f"http://127.0.0.1:{port}", gateway


def bench(program, url, gateway, what, *options):
    command = [program, "bench", *what, "--json", "--url", url, "--yes", "--server-pid", str(gateway.pid), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def result(run):
    output, _ = run.communicate()
    return json.loads(output.strip().splitlines()[-1])


def ms(microseconds):
    return microseconds / 1000


def faults(report):
    delivery = report["delivery"]
    return sum(delivery[kind] for kind in ("missing", "repeated", "out_of_order"))


def measure(program, seconds, gateways, nats):
    """One value a row; those of two gateways are left out where there is one."""
    url, gateway = gateways[0]
    rows = {}

    def run(*what):
        before = sum(map(cpu_seconds, nats))
        report = result(bench(program, url, gateway, what, "-d", str(seconds)))
        return report, sum(map(cpu_seconds, nats)) - before

    for name, options in {
        "1 publisher": ["-p", "1"],
        "8 publishers": ["-p", "8"],
        "64 publishers": ["-p", "64"],
        "8 publishers, 100 events a request": ["-p", "8", "-b", "100"],
    }.items():
        report, nats_cpu = run("publish", *options)
        published, accepted = report["publish"], max(report["publish"]["accepted"], 1)
        rows[f"{name}: events/s"] = published["per_second"]
        rows[f"{name}: acknowledged p50, ms"] = ms(published["answer_us"]["p50"])
        rows[f"{name}: acknowledged p99, ms"] = ms(published["answer_us"]["p99"])
        rows[f"{name}: gateway CPU, µs an event"] = report["server"]["cpu_s"] / accepted * 1e6
        if nats:
            rows[f"{name}: all NATS servers' CPU, µs an event"] = nats_cpu / accepted * 1e6
        rows[f"{name}: missing, repeated, out of order"] = faults(report)

    report, _ = run("fanout", "-n", "1000", "-r", "100")
    rows["1,000 readers, 100 events/s: p50, ms"] = ms(report["delivery"]["latency_us"]["p50"])
    rows["1,000 readers, 100 events/s: p99, ms"] = ms(report["delivery"]["latency_us"]["p99"])
    rows["1,000 readers, 100 events/s: gateway CPU, s"] = report["server"]["cpu_s"]

    both = [
        bench(program, *each, ("fanout", "-n", "10000", "-r", "5", "--coalesce", "5"), "-d", str(seconds))
        for each in gateways
    ]
    for n, report in enumerate(map(result, both), 1):
        name = f"10,000 readers on gateway {n} of {len(gateways)}, {5 * len(gateways)} events/s in all"
        rows[f"{name}: p50, ms"] = ms(report["delivery"]["latency_us"]["p50"])
        rows[f"{name}: p99, ms"] = ms(report["delivery"]["latency_us"]["p99"])
        rows[f"{name}: missing, repeated, out of order"] = faults(report)

    report, nats_cpu = run("resume", "-n", "1000", "--behind", "10000")
    caught_up = report["resume"]["caught_up"]
    rows["1,000 readers resume 10,000 behind: events/s"] = caught_up["per_second"]
    rows["1,000 readers resume 10,000 behind: live p99, ratio"] = report["resume"]["live_p99_ratio"]
    rows["1,000 readers resume 10,000 behind: missing, repeated, out of order"] = sum(
        caught_up[kind] for kind in ("missing", "repeated", "out_of_order")
    )
    return rows


def on_sqlite(program, seconds):
    with Running() as running:
        data = str(running.folder / "data")
        gateway = start_gateway(running, program, "--data-dir", data)
        return measure(program, seconds, [gateway], [])


def on_jetstream(program, seconds, sync_always):
    with Running() as running:
        servers = start_nats(running, sync_always)
        nats = list(running.processes)
        log = ["--engine", "jetstream", "--nats", servers, "--stream", "bench", "--create"]
        gateways = [start_gateway(running, program, *log) for _ in range(2)]
        return measure(program, seconds, gateways, nats)


def text(values):
    if not values:
        return ""
    median = statistics.median(values)
    return f"{median:,.0f}" if median >= 100 or median == int(median) else f"{median:,.2f}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", nargs="?", default=str(ROOT / "target/release/vidette"))
    arguments.add_argument("--seconds", type=int, default=10)
    arguments.add_argument("--rounds", type=int, default=1)
    options = arguments.parse_args()

    setups = {
        "sqlite": lambda: on_sqlite(options.program, options.seconds),
        "jetstream, R3": lambda: on_jetstream(options.program, options.seconds, False),
        "jetstream, R3, sync always": lambda: on_jetstream(options.program, options.seconds, True),
    }
    found = {name: [] for name in setups}
    for number in range(options.rounds):
        for name, setup in setups.items():
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
            found[name].append(setup())

    # The second setup has all rows.
    rows = list(dict.fromkeys(row for name in ("jetstream, R3", "sqlite") for row in found[name][0]))
    print("| | " + " | ".join(setups) + " |")
    print("|---|" + "--:|" * len(setups))
    for row in rows:
        values = ([of_round[row] for of_round in found[name] if row in of_round] for name in setups)
        print(f"| {row} | " + " | ".join(map(text, values)) + " |")


if __name__ == "__main__":
    main()
