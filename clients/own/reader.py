"""A reader of vidette over long-poll, with nothing but the standard library."""

import contextlib
import http.client
import json
import random
import socket
import time
from urllib.parse import urlencode, urlsplit

FINAL = {400, 401, 403, 404, 410}  # the same request would be refused again


class Refused(Exception):
    """The gateway will not answer this request."""


class Reader:
    """Iterates over events. Save event["cursor"] once you have handled one, and start with it."""

    def __init__(self, url, query=(), start=("after", "latest"), on_gap=print, sleep=time.sleep):
        self.host, self.query, self.start = urlsplit(url).netloc, list(query), start
        self.on_gap, self.sleep, self.connection, self.closed = on_gap, sleep, None, False

    def __iter__(self):
        failures, seen = 0, 0
        while not self.closed:
            try:
                page, failures = self.poll(), 0
            except (OSError, ValueError, http.client.HTTPException):  # rule 5: it passes
                jitter = random.uniform(0, min(20, 0.5 * 2**failures))  # rule 6
                self.closed or self.sleep(self.retry_after + jitter)
                failures = min(failures + 1, 16)
                continue
            self.start = ("after", page["cursor"])  # rule 1: the next request goes on from here
            if "gap" in page:  # rule 4: reported before the event behind it
                seen = 0
                if self.on_gap(page["gap"]) == "snapshot":
                    self.start = ("snapshot", "true")
                    continue
            for event in page["events"]:
                if event["vid"] > seen:  # rule 3: never twice
                    seen = event["vid"]
                    yield {**event, "cursor": f'{seen}-{page["epoch"]}'}  # rule 2: you move it

    def poll(self):
        wait = 0 if self.start == ("after", "latest") else 25  # seconds; "now" becomes a cursor
        self.retry_after = 0
        self.connection = http.client.HTTPConnection(self.host, timeout=wait + 10)
        try:
            self.connection.connect()
            if self.closed:
                raise OSError("closed")
            query = urlencode([*self.query, self.start, ("wait", wait)])
            self.connection.request("GET", f"/v1/poll?{query}")
            answer = self.connection.getresponse()
            if answer.status in FINAL:
                raise Refused(answer.status, answer.read(10_000).decode())
            if answer.status != 200:
                text = answer.headers.get("Retry-After", "")
                self.retry_after = min(300, int(text)) if text.isdecimal() else 0
                raise OSError(answer.status)
            return json.loads(answer.read())
        finally:
            self.connection.close()

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError, AttributeError):  # it may be gone, or not be there yet
            self.connection.sock.shutdown(socket.SHUT_RDWR)
