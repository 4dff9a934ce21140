"""CloudEvents as the SDK of Python writes and reads them: published in every content mode, read by poll and stream."""

import json
import sys
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

GATEWAY = f"http://{sys.argv[2]}"
TIMEOUT_S = 20
START = "?format=cloudevents&topic=door.opened&after=earliest&wait=0"


def event(number, data, **more):
    attributes = {
        "id": f"python-{number}",
        "source": "/doors/§ 3",
        "type": "door.opened",
        "subject": 'ö "3" %',
        "time": datetime(2026, 11, 28, 10, 0, number, tzinfo=timezone.utc),
        "site": "north",
    }
    return CloudEvent(attributes=attributes | more, data=data)


def publish(path, message):
    request = urllib.request.Request(GATEWAY + path, message.body, message.headers, method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        assert answer.status == 204 and not answer.read(), answer.status
        return answer.headers


def batch(events):
    """The SDK has no batches; one is an array of what it makes of each event."""
    bodies = [to_structured_event(one).body for one in events]
    return HTTPMessage({"Content-Type": "application/cloudevents-batch+json"}, b"[" + b",".join(bodies) + b"]")


def get(path):
    with urllib.request.urlopen(GATEWAY + path + START, timeout=TIMEOUT_S) as answer:
        return answer.read().decode()


def by_poll():
    return json.loads(get("/v1/poll"))["events"]


def by_stream():
    data = [line.removeprefix("data: ") for line in get("/v1/sse").splitlines() if line.startswith("data: ")]
    return [one for one in map(json.loads, data) if "specversion" in one]


def same(sent, shown):
    read = JSONFormat().read(None, json.dumps(shown))
    assert read.get_attributes() == sent.get_attributes(), (read.get_attributes(), sent.get_attributes())
    assert read.get_data() == sent.get_data(), (read.get_data(), sent.get_data())


def main():
    as_json = {"datacontenttype": "application/json"}
    in_binary_mode = event(1, {"n": 1}, **as_json)
    structured = event(2, "a text\nof two lines", datacontenttype="text/plain")
    together = [
        event(3, b"\x00\x01\xff", datacontenttype="application/octet-stream"),
        event(4, None, urgent=True, floor=-3),
        event(5, {"implied": "JSON"}),
    ]

    first = publish("/v1/cloudevents", to_binary_event(in_binary_mode))
    assert first["Vidette-Vid"] == "1" and first["Vidette-Duplicate"] is None, first.items()
    publish("/v1/events?topic={type}", to_structured_event(structured))
    last = publish("/v1/topics/door.opened", batch(together))
    assert last["Vidette-Vid"] == "5" and last["Vidette-Cursor"].startswith("5-"), last.items()
    again = publish("/v1/cloudevents", to_binary_event(in_binary_mode))
    assert again["Vidette-Vid"] == "1" and again["Vidette-Duplicate"] == "true", again.items()

    for read in (by_poll(), by_stream()):
        assert len(read) == 5, read
        for sent, shown in zip([in_binary_mode, structured, *together], read):
            same(sent, shown)
    print("ok")


main()
