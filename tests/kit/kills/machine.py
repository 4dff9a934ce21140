"""A gateway with TLS, its certificates, and a clock that can be set wrong."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CLOCK_SHIM = REPOSITORY / "tests/history/clock_shim.c"
DAY_MS = 24 * 3600 * 1000
LONGEST_JUMP_MS = DAY_MS // 2
START_PATIENCE_SECONDS = 30.0

CONFIG = """
[bus]
heartbeat = "2s"

[tls]
certificate = "cert.pem"
key = "key.pem"
"""


class WrongClock:
    """The time of day of every process that has this environment, right at first."""

    def __init__(self, folder: Path) -> None:
        self.jumps = 0
        self._file = folder / "clock-offset-ms"
        library = folder / "clock_shim.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", library, CLOCK_SHIM, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIM_FILE": str(self._file)}
        self.set(0)

    def set(self, offset_ms: int) -> None:
        """By how much it is wrong from now on; nobody reads half a number."""
        new = self._file.with_suffix(".new")
        new.write_text(str(offset_ms))
        new.replace(self._file)

    def jump(self) -> None:
        """To the future or the past."""
        self.set(random.randint(-LONGEST_JUMP_MS, LONGEST_JUMP_MS))
        self.jumps += 1


class Certificates:
    """An authority of its own, and the certificates that it issues one after the other."""

    def __init__(self, folder: Path, clock: WrongClock) -> None:
        self.authority = folder / "authority.pem"
        self.swaps = 0
        self._folder = folder
        # Issued as of last month, so that they are valid for processes whose clock is behind.
        last_month = folder / "last-month"
        last_month.write_text(str(-30 * DAY_MS))
        self._environment = os.environ | clock.environment | {"CLOCK_SHIM_FILE": str(last_month)}
        self._openssl("-keyout", "authority.key", "-out", "authority.pem", "-subj", "/CN=kills",
                      "-addext", "keyUsage=critical,keyCertSign")
        self._issue()

    def swap(self) -> None:
        """Another key and certificate, in the place of those in use."""
        self._issue()
        self.swaps += 1

    def context(self) -> ssl.SSLContext:
        """Trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.authority))

    def in_use(self) -> bytes:
        """The certificate that new connections should get."""
        return ssl.PEM_cert_to_DER_cert((self._folder / "cert.pem").read_text())

    def _issue(self) -> None:
        self._openssl("-keyout", "key.new", "-out", "cert.new", "-subj", "/CN=localhost",
                      "-CA", "authority.pem", "-CAkey", "authority.key",
                      "-addext", "basicConstraints=critical,CA:false",
                      "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        for name in ("key", "cert"):
            (self._folder / f"{name}.new").replace(self._folder / f"{name}.pem")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "365", *arguments],
            cwd=self._folder, env=self._environment, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Gateway:
    """A gateway on a port of its own, with a log that outlives it."""

    def __init__(self, program: str, folder: Path, clock: WrongClock) -> None:
        self.kills = 0
        self.log = folder / "gateway.log"
        self._environment = os.environ | clock.environment
        # Below the ports that outgoing connections take, so it stays free while it is down.
        self.port = free_port()
        (folder / "vidette.toml").write_text(CONFIG)
        self._command = [
            program, "serve", "--config", str(folder / "vidette.toml"),
            "--data-dir", str(folder / "log"), "--listen", f"127.0.0.1:{self.port}"]
        self.start()

    def start(self) -> None:
        """On the log that it left."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=log)

    def kill(self) -> None:
        """SIGKILL: it closes nothing and syncs nothing."""
        self._process.kill()
        self._process.wait()
        self.kills += 1

    def reload(self) -> None:
        """SIGHUP, where it would have seen new files by itself a little later."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """The end of the run."""
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    while True:
        port = random.SystemRandom().randrange(16_000, 30_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
