"""A right reader, as small as can be, and with `naive` a deliberately wrong one.

The kit tests itself with both: the right one must pass every scenario, so that each can be passed;
the naive one must fail known ones, so that the verdict can fail. It is no library: read it to see how
an adapter is written, not how a client should be.
"""

import codecs
import email.utils
import http.client
import json
import os
import queue
import random
import re
import socket
import sys
import threading
import time
import urllib.parse
import uuid

NAIVE = "naive" in sys.argv[1:]
WAITS = float(os.environ.get("VIDETTE_KIT_WAITS", "0.01"))
LIMITS = 0.1
HOST = urllib.parse.urlsplit(os.environ["VIDETTE_KIT_URL"]).netloc
printing = threading.Lock()


def say(what, **fields):
    with printing:
        sys.stdout.write(json.dumps({"say": what, **fields}) + "\n")
        sys.stdout.flush()


class Final(Exception):
    """Ends the subscription; its fields are those of the `error` line."""

    def __init__(self, kind, **fields):
        super().__init__(kind)
        self.fields = {"kind": kind, **fields}


class Again(Exception):
    """The connection is over; another try follows."""

    def __init__(self, floor_ms=0, exact_ms=None):
        super().__init__("again")
        self.floor_ms, self.exact_ms = floor_ms, exact_ms


class Backoff:
    def __init__(self, closed):
        self.tries, self.closed = 0, closed

    def wait(self, again):
        if again.exact_ms is not None:
            wait_ms = again.exact_ms * random.uniform(0.5, 1.5)
        else:
            jitter = random.uniform(0, min(20_000, 500 * 2 ** min(self.tries, 10)))
            wait_ms = max(jitter, again.floor_ms)
            self.tries += 1
        say("wait", ms=int(wait_ms), why="retry")
        self.closed.wait(wait_ms * WAITS / 1000)


class Tokens:
    """One call at a time; those who wait meanwhile get what it returned."""

    def __init__(self):
        self.lock, self.calls, self.token = threading.Lock(), 0, None

    def get(self, refused=None):
        with self.lock:
            if self.token == refused:
                self.calls += 1
                say("token", n=self.calls)
                self.token = f"token-{self.calls}"
            return self.token


def retry_after_ms(answer):
    text = answer.getheader("Retry-After") or ""
    if re.fullmatch(r"\d+", text):
        return min(int(text) * 1000, 300_000)
    date = email.utils.parsedate_to_datetime(text) if re.match(r"\w{3}, ", text) else None
    return min(max((date.timestamp() - time.time()) * 1000, 0), 300_000) if date else 0


def raw_data(text):
    """The JSON text of an event's data, as it was sent."""
    found = re.search(r'"data"\s*:\s*', text)
    start = found.end()
    _, end = json.JSONDecoder(parse_int=str).raw_decode(text, start)
    return text[start:end]


class Subscription:
    def __init__(self, asked, tokens):
        self.asked, self.tokens = asked, tokens
        self.closed = threading.Event()
        self.connection = None
        self.start = {k: asked[k] for k in ("after", "since") if k in asked}
        self.start |= {"snapshot": "true"} if asked.get("snapshot") else {}
        self.position = asked.get("after") if "-" in asked.get("after", "") else None
        self.saved, self.handed = self.position, None
        self.polling = asked.get("transport") == "poll"
        self.short, self.bad, self.strange = 0, 0, 0
        self.sse_again = None
        self.gap_seen = True
        self.data_limit = asked.get("max_event_bytes", 8 << 20) * 4 // 3 + 4096

    def close(self):
        self.closed.set()
        connection = self.connection
        if connection is not None and connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def items(self):
        """Events and gaps, for as long as the subscription is open."""
        backoff = Backoff(self.closed)
        while not self.closed.is_set():
            try:
                yield from self.poll(backoff) if self.polling else self.stream(backoff)
            except Final:
                raise
            except Again as again:
                backoff.wait(again)
            except (OSError, http.client.HTTPException, ValueError, AttributeError):
                if NAIVE and backoff.tries == 3:
                    raise Final("other", message="gave up") from None
                if not self.closed.is_set():
                    backoff.wait(Again())
            finally:
                if self.connection is not None and not self.polling:
                    self.connection.close()
        if self.connection is not None:
            self.connection.close()

    def parameters(self, **more):
        where = self.start
        if self.position is not None and not NAIVE:
            where = {"after": self.position}
        policy = {"on_gap": "fail"} if self.asked.get("on_gap") == "fail" else {}
        topics = [("topic", topic) for topic in self.asked["topic"]]
        return urllib.parse.urlencode(topics + [*where.items(), *policy.items(), *more.items()])

    def request(self, path, seconds):
        refused = None
        while True:
            if self.connection is None or self.connection.sock is None:
                self.connection = http.client.HTTPConnection(HOST, timeout=10 * LIMITS)
                self.connection.connect()
            self.connection.sock.settimeout(seconds * LIMITS)
            headers = {"Accept": "text/event-stream, application/json"}
            token = self.tokens.get(refused) if "token" in self.asked else None
            if token:
                headers["Authorization"] = f"Bearer {token}"
            self.connection.request("GET", path, headers=headers)
            answer = self.connection.getresponse()
            if answer.status != 401 or refused or not token:
                return answer
            answer.read()
            refused = token

    def check_status(self, answer):
        if answer.status == 200:
            return
        body = answer.read()
        if answer.status == 410:
            raise Final("gap", gap=json.loads(body))
        if answer.status in (400, 401, 403, 404):
            raise Final("status", status=answer.status)
        if answer.status in (502, 504):
            self.bad_answer()
        raise Again(floor_ms=retry_after_ms(answer))

    def bad_answer(self):
        self.bad += 1
        if self.bad >= 2:
            self.to_poll()

    def to_poll(self):
        self.polling = True
        again_ms = self.asked.get("sse_again_ms", 600_000)
        self.sse_again = time.monotonic() + again_ms * WAITS / 1000

    def stream(self, backoff):
        answer = self.request("/v1/sse?" + self.parameters(), 10)
        self.check_status(answer)
        if not (answer.getheader("Content-Type") or "").startswith("text/event-stream"):
            answer.read()
            self.bad_answer()
            raise Again()

        opened, self.first_byte = time.monotonic(), False
        # An answer that ends with the connection has taken the socket.
        self.socket = self.connection.sock or answer.fp.raw._sock
        self.socket.settimeout(5 * LIMITS)
        try:
            for name, identity, data in self.blocks(answer):
                for item in self.block(name, identity, data):
                    backoff.tries = 0
                    yield item
        except TimeoutError:
            if not self.first_byte:
                self.to_poll()
                return
            raise Again() from None
        finally:
            answer.close()
            self.connection.close()
        self.short = self.short + 1 if time.monotonic() - opened < LIMITS else 0
        if self.short >= 3:
            self.to_poll()
        raise Again()

    def blocks(self, answer):
        """Blocks of the stream as (event, id, data); the last incomplete one is dropped."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text, begun, size = "", False, 0
        name, identity, data = None, None, []
        while piece := answer.read1(65536):
            self.first_byte = True
            text += decoder.decode(piece)
            if not begun and text:
                begun, text = True, text.removeprefix("\ufeff")
            if len(text) > self.data_limit:
                raise Final("too_large")
            # A CR at the very end may be half of a CRLF.
            whole = text[:-1] if text.endswith("\r") else text
            *lines, rest = re.split("\r\n|\n|\r", whole)
            text = rest + text[len(whole):]
            for line in lines:
                if not line:
                    if name or data or identity is not None:
                        yield name, identity, "\n".join(data)
                    name, identity, data = None, None, []
                    continue
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
                    if len(value) > self.data_limit:
                        raise Final("too_large")
                elif field == "id" and "\0" not in value:
                    identity = value

    def block(self, name, identity, data):
        """What one block hands on; moves the position behind it."""
        if name == "vidette.hello":
            hello = json.loads(data)
            self.socket.settimeout(2.5 * hello["heartbeat_ms"] / 1000 * LIMITS)
            if self.position is None and self.start.get("after", "latest") == "latest":
                if "since" not in self.start and "snapshot" not in self.start:
                    self.move(f"{hello['last']}-{hello['epoch']}")
        elif name == "vidette.gap":
            yield from self.gap(json.loads(data))
        elif name == "vidette.closing":
            raise Again(exact_ms=json.loads(data)["retry_ms"])
        elif name is not None and name.startswith("vidette."):
            if name == "vidette.caught_up":
                self.move(json.loads(data)["cursor"])
        elif data:
            yield from self.event(identity, data)
        elif identity is not None:
            self.move(identity)

    def move(self, cursor):
        self.position = self.saved = cursor

    def gap(self, gap):
        if NAIVE:
            return
        yield "gap", gap
        self.handed, self.gap_seen = None, True
        if self.asked.get("on_gap") == "snapshot":
            self.start, self.position = {"snapshot": "true"}, None
            raise Again(exact_ms=0)

    def event(self, cursor, text):
        vid, _, epoch = cursor.partition("-")
        if not NAIVE:
            before = (self.handed or self.position or "").partition("-")
            if before[2] and before[2] != epoch and not self.gap_seen:
                self.strange += 1
                if self.strange == 2:
                    raise Final("protocol", message="another epoch without a gap")
                raise Again()
            if self.handed and before[2] == epoch and int(vid) <= int(before[0]):
                return
        self.gap_seen = False
        self.position = self.handed = cursor
        fields = {k: v for k, v in json.loads(text).items() if k in ("vid", "topic", "type", "id")}
        yield "event", {"cursor": cursor, "raw": raw_data(text), **fields}
        self.saved = cursor

    def poll(self, backoff):
        answer = self.request("/v1/poll?" + self.parameters(wait=25), 35)
        self.check_status(answer)
        body = json.loads(answer.read())
        backoff.tries = 0
        if "gap" in body:
            yield from self.gap(body["gap"])
        for event in body["events"]:
            yield from self.event(f"{event['vid']}-{body['epoch']}", json.dumps(event))
        self.move(body["cursor"])
        if self.sse_again is not None and time.monotonic() > self.sse_again:
            self.polling, self.sse_again, self.short, self.bad = False, None, 0, 0


class Taker:
    """Asks the subscription for the next item only when a command wants it."""

    def __init__(self, subscription):
        self.subscription, self.wanted = subscription, queue.Queue()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        kept = None
        items = self.subscription.items()
        try:
            while (want := self.wanted.get()) is not None:
                if want == "ack":
                    kept = kept or self.next_event(items)
                    continue
                while want > 0 and (kept := kept or self.next_event(items)) is not None:
                    say("event", **kept)
                    kept, want = None, want - 1
        except Final as final:
            self.subscription.close()
            say("error", **final.fields)
        items.close()
        if self.subscription.connection is not None:
            self.subscription.connection.close()
        say("ended")

    def next_event(self, items):
        for kind, fields in items:
            if kind == "event":
                return fields
            say("gap", **fields)
        return None


def post(body, content_type, command, tokens, refused=None):
    token = tokens.get(refused) if "token" in command else None
    headers = {"Content-Type": content_type}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection(HOST, timeout=2)
    connection.request("POST", "/v1/events", body=body, headers=headers)
    return connection, connection.getresponse(), token


def publish(command, tokens):
    """Publishes with the same ids until it is answered, or the window is over."""
    events = [{"id": str(uuid.uuid4()), **event} for event in command["events"]]
    until = time.monotonic() + command.get("window_ms", 110_000) / 1000 * LIMITS
    backoff, refused, done = Backoff(threading.Event()), None, 0
    stream = command["mode"] == "stream"
    while True:
        again = Again()
        try:
            lines = "".join(json.dumps(event) + "\n" for event in events[done:])
            whole = json.dumps(events if command["mode"] == "batch" else events[0])
            kind = "application/x-ndjson" if stream else "application/json"
            if NAIVE:
                whole = json.dumps({**events[0], "id": str(uuid.uuid4())})
            connection, answer, token = post(lines if stream else whole, kind, command, tokens, refused)
            if answer.status == 401 and refused is None and token:
                refused = token
                continue
            if answer.status == 200:
                for line in answer if stream else [answer.read()]:
                    receipt = json.loads(line)
                    for one in receipt.get("events", [receipt]):
                        say("receipt", ref=command["ref"], index=done, **one)
                        done += 1
                if done == len(events):
                    return connection.close()
            elif answer.status not in (429, 503, 507):
                failed = {"error": "status", "status": answer.status}
                return say("receipt", ref=command["ref"], index=0, **failed)
            again = Again(floor_ms=retry_after_ms(answer))
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > until:
            return say("receipt", ref=command["ref"], index=done, error="outcome_unknown")
        backoff.wait(again)


def main():
    say("ready", library="naive" if NAIVE else "reference", version="0")
    tokens, subscription, taker = Tokens(), None, None
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "subscribe":
                subscription = Subscription(command, tokens)
                taker = Taker(subscription)
            case "take":
                taker.wanted.put(command.get("n", 1 << 60))
            case "ack":
                taker.wanted.put("ack")
            case "state":
                say("state", cursor=subscription.saved)
            case "close" if subscription is None:
                say("ended")
            case "close":
                subscription.close()
                taker.wanted.put(None)
            case "publish":
                threading.Thread(target=publish, args=(command, tokens), daemon=True).start()
            case unknown:
                say("unsupported", do=unknown)


main()
