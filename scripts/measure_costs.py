#!/usr/bin/env python3
"""Costs that `vidette bench` does not show: kernel memory of a socket, full TLS handshakes, NATS.

  scripts/measure_costs.py sockets VIDETTE            19,000 idle connections, /proc/slabinfo (needs root)
  scripts/measure_costs.py handshakes VIDETTE [COUNT] full handshakes against three kinds of certificates' keys
  scripts/measure_costs.py burst VIDETTE              10,000 connects to a gateway with a part of a core (needs root)
  scripts/measure_costs.py gateways VIDETTE NATS_SERVER
                                                      two gateways on a stream: publishing at one, the tail of the other
  scripts/measure_costs.py nats NATS_SERVER           three servers, a stream of three replicas, and its tails

VIDETTE and NATS_SERVER are programs. Everything is on loopback; what is started is ended. Figures are
CPU seconds of processes and bytes, which other work on the machine changes little; no latencies.
"""

import json
import os
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    sys.exit("it did not become ready")


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


# --- sockets -------------------------------------------------------------------------------------


def slab_bytes():
    total = 0
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        fields = line.split()
        # Active objects times their size.
        total += int(fields[1]) * int(fields[3])
    return total


def sockets(vidette):
    readers = 19_000
    before = slab_bytes()
    command = [vidette, "bench", "idle", "-n", str(readers), "--hold", "8", "--json"]
    bench = subprocess.Popen(command, stdout=subprocess.PIPE)
    time.sleep(6)
    held = slab_bytes()
    report = json.loads(bench.communicate()[0])
    assert report["ready"] == readers, report
    # Both ends of each connection are on this machine.
    each = (held - before) / readers / 2
    print(f"kernel memory of an idle socket, of one end: {each:.0f} bytes ({readers} connections)")


# --- handshakes ----------------------------------------------------------------------------------

KEYS = {
    "ECDSA P-256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "RSA 2048": ["rsa:2048"],
}


def certificate(folder, key):
    files = [str(Path(folder) / name) for name in ("key.pem", "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", *KEYS[key], "-nodes", "-days", "2", "-subj"]
    command += ["/CN=localhost", "-keyout", files[0], "-out", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return f'[tls]\ncertificate = "{files[1]}"\nkey = "{files[0]}"\n'


def open_stream(port, context):
    plain = socket.create_connection(("127.0.0.1", port))
    stream = context.wrap_socket(plain, server_hostname="localhost") if context else plain
    stream.sendall(b"GET /v1/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = b""
    while b"vidette.hello" not in head:
        head += stream.recv(4096)
    return stream


def handshakes(vidette, count=3000):
    count = int(count)
    for key in [None, *KEYS]:
        with tempfile.TemporaryDirectory() as folder:
            config, port, context = Path(folder) / "vidette.toml", free_port(), None
            config.write_text(certificate(folder, key) if key else "")
            if key:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            command = [vidette, "serve", "--engine", "memory", "--listen", f"127.0.0.1:{port}"]
            gateway = subprocess.Popen(command + ["--config", str(config)], stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda: can_connect(port))
                before = cpu_seconds(gateway.pid)
                # No session is offered, so each handshake is a full one; the streams stay open.
                streams = [open_stream(port, context) for _ in range(count)]
                used = (cpu_seconds(gateway.pid) - before) / count
                print(f"{key or 'plain'}: {used * 1e6:.0f} µs of the gateway's CPU a stream")
                for stream in streams:
                    stream.close()
            finally:
                gateway.terminate()
                gateway.wait()


# --- bursts of connections -----------------------------------------------------------------------

CONTROL_GROUP = Path("/sys/fs/cgroup/cpu/vidette-burst")


def burst(vidette):
    """How long a burst takes where the gateway's CPU is what it waits for."""
    CONTROL_GROUP.mkdir()
    try:
        for key in (None, "ECDSA P-256"):
            for percent in (10, 20, 40):
                burst_once(vidette, key, percent)
    finally:
        CONTROL_GROUP.rmdir()


def burst_once(vidette, key, percent):
    (CONTROL_GROUP / "cpu.cfs_period_us").write_text("10000")
    (CONTROL_GROUP / "cpu.cfs_quota_us").write_text(str(percent * 100))
    with tempfile.TemporaryDirectory() as folder:
        config, address = Path(folder) / "vidette.toml", f"127.0.0.1:{free_port()}"
        config.write_text(certificate(folder, key) if key else "")
        command = [vidette, "serve", "--engine", "memory", "--listen", address, "--config", str(config)]
        gateway = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            (CONTROL_GROUP / "cgroup.procs").write_text(str(gateway.pid))
            wait_for(lambda: can_connect(int(address.split(":")[1])))
            url = f"https://{address}" if key else f"http://{address}"
            bench = [vidette, "bench", "idle", "-n", "10000", "--hold", "1", "--url", url, "--json"]
            bench += ["--server-pid", str(gateway.pid)] + (["--insecure-tls"] if key else [])
            report = json.loads(subprocess.run(bench, capture_output=True, check=True).stdout)
        finally:
            gateway.terminate()
            gateway.wait()
    seconds, cpu = report["connect"]["seconds"], report["server"]["connect_cpu_s"]
    print(f"{key or 'plain'}, {percent} % of a core: {report['ready']} connected in {seconds:.2f} s; CPU by the "
          f"share of it: {cpu * 100 / percent:.2f} s")


# --- NATS ----------------------------------------------------------------------------------------

CONFIG = """server_name: n{index}
listen: 127.0.0.1:{port}
http: 127.0.0.1:{monitor}
max_payload: 4MB
jetstream {{ store_dir: "{folder}/n{index}", sync_interval: {sync} }}
cluster {{ name: scale, listen: 127.0.0.1:{route}, routes: [{routes}] }}
"""


class Client:
    """As much of the protocol of NATS as this needs, on one socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.inbox = b"_INBOX.%d" % time.monotonic_ns()
        self.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
        self.send(b"SUB %s 1\r\n" % self.inbox)

    def send(self, data):
        self.socket.sendall(data)

    def message(self):
        while True:
            words = self.file.readline().split()
            if words and words[0] == b"PING":
                self.send(b"PONG\r\n")
            if words and words[0] in (b"MSG", b"HMSG"):
                body = self.file.read(int(words[-1]) + 2)[:-2]
                return body[int(words[-2]) :] if words[0] == b"HMSG" else body

    def ask(self, subject, body=None):
        data = json.dumps(body).encode() if body else b""
        self.send(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), self.inbox, len(data), data))
        return json.loads(self.message() or b"{}")

    def publish_group(self, batch, count, data):
        """An atomic batch with the headers that the gateway gives its events; waits for the ack."""
        parts = []
        for number in range(1, count + 1):
            headers = f"NATS/1.0\r\nNats-Batch-Id: {batch:08}\r\nNats-Batch-Sequence: {number}\r\n"
            headers += f"Nats-Msg-Id: ~{batch}\r\n" if number == 1 else ""
            headers += "Nats-Batch-Commit: 1\r\n" if number == count else ""
            block = (headers + "Content-Type: application/json\r\n\r\n").encode()
            reply = b" " + self.inbox if number in (1, count) else b""
            size = (len(block), len(block) + len(data))
            parts.append(b"HPUB ev.bench.%d%s %d %d\r\n%s%s\r\n" % (number, reply, *size, block, data))
        self.send(b"".join(parts))
        while not (answer := self.message()).startswith(b'{"'):
            pass
        assert b"error" not in answer, answer


class Tails:
    """Consumers as the gateway makes them, each on a connection of its own; what comes is counted."""

    def __init__(self, ports, count):
        self.selector, self.events, self.ending = selectors.DefaultSelector(), 0, False
        self.hosts, self.clients = {}, []
        for index in range(count):
            client, name = Client(ports[index % len(ports)]), f"tail-{time.monotonic_ns()}"
            config = {"name": name, "deliver_policy": "new", "ack_policy": "none"}
            config |= {"mem_storage": True, "num_replicas": 1, "inactive_threshold": 10**10}
            request = {"stream_name": "S", "action": "create", "config": config}
            create = lambda: client.ask(f"$JS.API.CONSUMER.CREATE.S.{name}", request)
            made = wait_for(lambda: (answer := create()) and "error" not in answer and answer)
            host = made["cluster"]["leader"]
            self.hosts[host] = self.hosts.get(host, 0) + 1
            self.clients.append((client, name))
        for client, name in self.clients:
            self.pull(client, name)
            self.selector.register(client.socket, selectors.EVENT_READ, [b"", client, name])
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def pull(self, client, name):
        pull = json.dumps({"batch": 10**6, "expires": 300 * 10**9}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.S.{name}".encode()
        client.send(b"PUB %s %s %d\r\n%s\r\n" % (subject, client.inbox, len(pull), pull))

    def read(self):
        while not self.ending:
            for key, _ in self.selector.select(0.1):
                # A mark may be cut by the end of a read.
                rest, client, name = key.data
                data = rest + key.fileobj.recv(1 << 20)
                self.events += data.count(b"$JS.ACK.")
                key.data[0] = data[-7:]
                if b"NATS/1.0 503" in data:
                    # Its server does not know of the consumer yet.
                    time.sleep(0.1)
                    self.pull(client, name)
                if b"PING\r\n" in data:
                    client.send(b"PONG\r\n")

    def close(self):
        self.ending = True
        self.thread.join()
        for client, _ in self.clients:
            client.socket.shutdown(socket.SHUT_RDWR)


class Cluster:
    def __init__(self, program, folder, sync):
        numbers = range(3)
        self.ports, self.monitors = [[free_port() for _ in numbers] for _ in range(2)]
        routes = [free_port() for _ in numbers]
        urls = ", ".join(f"nats://127.0.0.1:{route}" for route in routes)
        self.processes = []
        for index in numbers:
            config = Path(folder) / f"n{index}.conf"
            places = dict(port=self.ports[index], monitor=self.monitors[index], route=routes[index])
            config.write_text(CONFIG.format(index=index, folder=folder, sync=sync, routes=urls, **places))
            command = [program, "-c", str(config)]
            self.processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        wait_for(self.is_healthy)
        stream = {"name": "S", "subjects": ["ev.>"], "num_replicas": 3, "storage": "file"}
        stream |= {"allow_direct": True, "allow_atomic": True, "duplicate_window": 120 * 10**9}
        self.client = Client(self.ports[0])
        wait_for(lambda: "config" in self.client.ask("$JS.API.STREAM.CREATE.S", stream))
        leader = self.client.ask("$JS.API.STREAM.INFO.S")["cluster"]["leader"]
        self.leader = int(leader[1:])
        self.client = Client(self.ports[self.leader])

    def is_healthy(self):
        try:
            for port in self.monitors:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).read()
            return True
        except OSError:
            return False

    def use(self):
        """CPU seconds, and bytes sent to clients and other servers, of each server."""
        cpu = [cpu_seconds(process.pid) for process in self.processes]
        return cpu, [self.sent(port) for port in self.monitors]

    def sent(self, port):
        def load(path, field):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
                return json.load(answer)[field]

        routes = sum(route["out_bytes"] for route in load("routez", "routes"))
        return load("varz", "out_bytes"), routes

    def end(self):
        for process in self.processes:
            process.terminate()
            process.wait()


def spend(cluster, work):
    cpu, _ = cluster.use()
    begun = time.monotonic()
    work()
    seconds = time.monotonic() - begun
    after, _ = cluster.use()
    used = [now - before for now, before in zip(after, cpu)]
    others = [use for index, use in enumerate(used) if index != cluster.leader]
    return used[cluster.leader], sum(others) / 2, seconds


def publish(cluster, events, size):
    data = b'{"data":"' + b"x" * (128 - 11) + b'"}'
    for _ in range(events // size):
        publish.batch += 1
        cluster.client.publish_group(publish.batch, size, data)


publish.batch = 0


def publish_and_read(cluster, tails, events, size):
    expected = tails.events + events * len(tails.clients)
    publish(cluster, events, size)
    wait_for(lambda: tails.events >= expected, 120)


def nats(program):
    for sync in ("2m", "always"):
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(program, folder, sync)
            try:
                measure_nats(cluster, sync)
            finally:
                cluster.end()


def measure_nats(cluster, sync):
    print(f"sync_interval {sync}; µs of CPU: of the stream's leader, and of each follower")
    publish(cluster, 2000, 100)
    for size, events in ((1, 3000), (10, 20_000), (100, 50_000)):
        leader, follower, seconds = spend(cluster, lambda: publish(cluster, events, size))
        each = [use / events * 1e6 for use in (leader, follower)]
        print(f"  an event in groups of {size}: {each[0]:.1f}, {each[1]:.1f} ({events / seconds:.0f}/s)")
    asked = 5000
    ask = lambda: [cluster.client.ask("$JS.API.STREAM.INFO.S") for _ in range(asked)]
    leader, follower, _ = spend(cluster, ask)
    print(f"  a STREAM.INFO: {leader / asked * 1e6:.0f}, {follower / asked * 1e6:.0f}")
    cpu, _, seconds = spend(cluster, lambda: time.sleep(10))
    print(f"  nothing: {cpu / seconds * 1e6:.0f} a second")
    for size, events in ((10, 20_000), (100, 40_000)):
        measure_tails(cluster, size, events)


def measure_tails(cluster, size, events):
    base = None
    for count in (0, 20, 60):
        tails = Tails(cluster.ports, count)
        time.sleep(1)
        (_, sent), hosts = cluster.use(), dict(sorted(tails.hosts.items()))
        leader, follower, _ = spend(cluster, lambda: publish_and_read(cluster, tails, events, size))
        _, sent_after = cluster.use()
        tails.close()
        # CPU; bytes of headers and data in all; those between servers.
        use = [(leader + 2 * follower) * 1e6]
        use += [sum(after[i] - before[i] for after, before in zip(sent_after, sent)) for i in range(2)]
        base = base or use
        more = [(now - then) / events / max(count, 1) for now, then in zip(use, base)]
        print(f"  {count} tails on {hosts}, groups of {size}: for an event and tail {more[0]:.2f} µs of all "
              f"servers, {more[1]:.0f} bytes of headers and data, {more[2]:.0f} of them between servers")


# --- gateways on NATS ----------------------------------------------------------------------------


def gateways(vidette, program):
    for sync in ("2m", "always"):
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(program, folder, sync)
            started = []
            try:
                urls = ",".join(f"nats://127.0.0.1:{port}" for port in cluster.ports)
                for _ in range(2):
                    started.append(start_gateway(vidette, urls))
                print(f"sync_interval {sync}; µs of CPU for an event: of the gateway that publishes it, of another "
                      "gateway that nobody reads from, of all three servers")
                before = cpu_seconds(started[1][0].pid)
                time.sleep(20)
                idle = (cpu_seconds(started[1][0].pid) - before) / 20 * 1e6
                print(f"  nothing: {idle:.0f} of a gateway, a second")
                for batch, rate in ((1, 0), (1, 200), (10, 5000), (100, 20_000)):
                    measure_gateways(vidette, cluster, started, batch, rate)
            finally:
                for gateway, _ in started:
                    gateway.terminate()
                    gateway.wait()
                cluster.end()


def start_gateway(vidette, urls):
    address = f"127.0.0.1:{free_port()}"
    command = [vidette, "serve", "--engine", "jetstream", "--nats", urls, "--stream", "V", "--create"]
    command += ["--replicas", "3", "--listen", address]
    gateway = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def is_ready():
        try:
            return urllib.request.urlopen(f"http://{address}/readyz", timeout=1).status == 200
        except OSError:
            return False

    wait_for(is_ready)
    return gateway, address


def measure_gateways(vidette, cluster, started, batch, rate):
    processes = [gateway for gateway, _ in started] + cluster.processes
    bench = [vidette, "bench", "publish", "--url", f"http://{started[0][1]}", "--yes", "--batch", str(batch)]
    before, begun = [cpu_seconds(process.pid) for process in processes], time.monotonic()
    bench += ["--rate", str(rate), "--json"]
    report = json.loads(subprocess.run(bench, capture_output=True, check=True).stdout)
    used = [cpu_seconds(process.pid) - was for process, was in zip(processes, before)]
    events = report["publish"]["accepted"]
    publishing, other, servers = [cpu / events * 1e6 for cpu in (used[0], used[1], sum(used[2:]))]
    print(f"  {batch} events a request, {events} in {time.monotonic() - begun:.0f} s: "
          f"{publishing:.1f}, {other:.1f}, {servers:.1f}")


def main():
    commands = {"sockets": sockets, "handshakes": handshakes, "burst": burst}
    commands |= {"gateways": gateways, "nats": nats}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
