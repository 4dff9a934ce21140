"""The adapter of the kit for reader.py, which knows polls alone: vidette-kit run --via poll."""

import json
import os
import queue
import sys
import threading
import time

from reader import Reader, Refused


def say(word, **fields):
    print(json.dumps({"say": word, **fields}), flush=True)


def say_ready():
    say("ready", library="own (60 lines)", version="1", resets=True)


class Reading:
    """One subscription; a thread asks for the next event when it is wanted."""

    def __init__(self, command, url, waits):
        self.waits = waits
        self.wanted = queue.Queue()
        self.finished = self.in_hand = None
        self.has_ended = False
        self.policy = command.get("on_gap")
        query = [("topic", topic) for topic in command["topic"]]
        if self.policy == "fail":
            query.append(("on_gap", "fail"))
        start = ("snapshot", "true") if command.get("snapshot") else ("after", "latest")
        for name in ("after", "since"):
            start = (name, command[name]) if name in command else start
        self.reader = Reader(url, query, start, self.told, self.pause)
        threading.Thread(target=self.work, daemon=True).start()

    def pause(self, seconds):
        say("wait", ms=round(seconds * 1000), why="retry")
        time.sleep(seconds * self.waits)

    def told(self, gap):
        say("gap", **gap)
        return self.policy

    def work(self):
        events, ahead = iter(self.reader), None
        try:
            while True:
                wanted = self.wanted.get()
                while wanted is None or wanted > 0:
                    event = ahead or self.next(events)
                    ahead, self.in_hand = None, event["cursor"]
                    said = {name: event[name] for name in ("vid", "cursor", "topic")}
                    say("event", raw=json.dumps(event["data"]), **said)
                    wanted = None if wanted is None else wanted - 1
                if wanted == -1 and ahead is None:
                    ahead = self.next(events)
        except StopIteration:
            pass
        except Refused as refused:
            kind = "gap" if refused.args[0] == 410 else "status"
            say("error", kind=kind, status=refused.args[0])
        self.end()

    def next(self, events):
        self.finished = self.in_hand or self.finished
        return next(events)

    def close(self):
        self.reader.close()
        self.end()

    def end(self):
        if not self.has_ended:
            self.has_ended = True
            say("ended")


def main():
    url, waits = os.environ["VIDETTE_KIT_URL"], float(os.environ.get("VIDETTE_KIT_WAITS", "0.01"))
    reading = None
    say_ready()
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "subscribe":
                reading = Reading(command, url, waits)
            case "take":
                reading.wanted.put(command.get("n"))
            case "ack":
                reading.wanted.put(-1)
            case "state":
                say("state", cursor=reading.finished)
            case "close":
                reading.close()
            case "reset":
                if reading:
                    reading.close()
                url, waits, reading = command["url"], command["waits"], None
                say_ready()
            case unknown:
                say("unsupported", do=unknown)


main()
