"""How much memory stays resident after a burst of requests whose bodies do not end.

    python3 scripts/unfinished_bodies.py target/release/vidette 48

Starts that gateway with a budget that allows all of them, sends so many bodies of 16 MiB without their last bytes, disconnects,
waits, and does so again. Prints the resident memory in MiB: before, at the peak, 1 s and 13 s later.
"""

import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

BODY_BYTES = 16 * 1024 * 1024
BUDGET_BYTES = 4 * 1024 * 1024 * 1024
PIECE = b" " * 65536


def start(binary):
    config = tempfile.NamedTemporaryFile("w", suffix=".toml")
    config.write(f"[limits]\nmemory_budget = {BUDGET_BYTES}\n")
    config.flush()
    command = [binary, "serve", "--engine", "memory", "--listen", "127.0.0.1:0", "--config", config.name]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if found := re.search(r"listening on http://127.0.0.1:(\d+)", line):
            break
    threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()
    return process, int(found.group(1))


def resident_mib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) // 1024


def send_unfinished(port, connections):
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    connection.sendall(head.encode())
    for _ in range(BODY_BYTES // len(PIECE) - 1):
        connection.sendall(PIECE)
    connections.append(connection)


def burst(process, port, count):
    connections = []
    senders = [threading.Thread(target=send_unfinished, args=(port, connections)) for _ in range(count)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    time.sleep(0.5)
    peak = resident_mib(process)
    for connection in connections:
        connection.close()
    time.sleep(1)
    soon = resident_mib(process)
    time.sleep(12)
    return peak, soon, resident_mib(process)


def main():
    binary, count = sys.argv[1], int(sys.argv[2])
    process, port = start(binary)
    try:
        before = resident_mib(process)
        for _ in range(2):
            peak, soon, later = burst(process, port, count)
            print(f"before {before}, peak {peak}, after 1 s {soon}, after 13 s {later}")
    finally:
        process.kill()
        process.wait()


main()
