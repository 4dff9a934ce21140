import json, random, sys, time
from pathlib import Path

import httpx
from httpx_sse import connect_sse

URL = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080") + "/v1/sse"
saved = Path("cursor")
cursor = saved.read_text() if saved.exists() else "earliest"

while True:
    try:  # read=40: a gateway that is silent for 2.5 heartbeats is gone
        with httpx.Client(timeout=httpx.Timeout(10, read=40)) as http, connect_sse(
                http, "GET", URL, params={"topic": "door.*", "after": cursor}) as source:
            if source.response.status_code not in (429, 502, 503, 504):
                source.response.raise_for_status()  # what a new try cannot mend ends it
                for block in source.iter_sse():
                    if block.event == "vidette.gap":
                        print("events are gone:", block.data, file=sys.stderr)
                    elif block.data and not block.event.startswith("vidette."):
                        event = json.loads(block.data)
                        print(event["vid"], event["topic"], event["data"], flush=True)
                    cursor = block.id or cursor  # only now: an event that was not handled comes again
                    saved.write_text(cursor)
    except httpx.TransportError as error:
        print("reconnecting:", error, file=sys.stderr)
    time.sleep(random.uniform(0, 2))
