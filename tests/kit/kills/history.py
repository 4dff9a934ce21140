"""What was published, handed on and is in the log, compared."""

from __future__ import annotations

import http.client
import json
import ssl
from collections import Counter
from typing import Any

from publisher import Publisher, failed
from reader import Reader

Event = dict[str, Any]


def whole_log(port: int, context: ssl.SSLContext) -> list[Event]:
    """Every event of the log, asked of the gateway itself."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    events: list[Event] = []
    cursor = "earliest"

    while True:
        connection.request("GET", f"/v1/poll?after={cursor}&wait=0")
        answer = json.load(connection.getresponse())
        events += answer["events"]
        if not answer["events"]:
            return events
        cursor = answer["cursor"]


def wrong_publishing(log: list[Event], publisher: Publisher) -> list[str]:
    """Events that are in the log although they should not, or the other way round."""
    by_id = {event["id"]: event for event in log}
    times = Counter(event["id"] for event in log)
    found = [f"{count} times in the log: {name}" for name, count in times.items() if count > 1]
    found += [f"never published: {name}" for name in by_id if name not in publisher.receipts]

    for name, receipt in publisher.receipts.items():
        if failed(receipt):
            # The gateway is never away for as long as a library tries.
            what = "published, but not acknowledged" if name in by_id else "not published"
            found.append(f"{what}: {name}: {receipt}")
        elif name not in by_id:
            found.append(f"lost although acknowledged: {name}")
        elif by_id[name]["vid"] != receipt["vid"]:
            found.append(f"acknowledged with another vid: {name}")

    for ids in publisher.calls:
        vids = [by_id[name]["vid"] for name in ids if name in by_id]
        if vids != sorted(vids):
            found.append(f"published in another order: {ids}")
    return found


def wrong_reading(log: list[Event], reader: Reader) -> tuple[int, int, list[str]]:
    """How many events one reader has lost and doubled, and all that was wrong."""
    expected = [event for event in log if event["topic"].startswith("kills.")]
    vids = [event["vid"] for event in reader.handed]
    lost = len({event["vid"] for event in expected} - set(vids))
    doubled = len(vids) - len(set(vids))
    found = []

    if lost or doubled:
        found.append(f"{lost} lost, {doubled} doubled")
    if vids != sorted(vids):
        found.append("out of order")
    if not reader.is_done:
        found.append(f"did not come to the end: {reader.error or 'still reading'}")
    if reader.gaps:
        found.append(f"gaps: {reader.gaps}")

    for event, handed in zip(expected, reader.handed):
        is_same = all(event[name] == handed.get(name) for name in ("vid", "id", "topic"))
        if not is_same or event["data"] != json.loads(handed["raw"]):
            found.append(f"another event: {handed} for {event}")
            break
    return lost, doubled, found
