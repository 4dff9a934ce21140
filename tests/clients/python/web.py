"""gRPC-web over HTTP/1.1, framed by hand, as a browser's client does it."""

import base64
import http.client
import re
import struct
import sys

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb  # noqa: E402

TIMEOUT_S = 20
TRAILERS = 0x80


def call(method, message, content_type="application/grpc-web+proto"):
    """Sends a request; gives the connection, which has to be kept, and the response."""
    body = message.SerializeToString()
    body = struct.pack(">BI", 0, len(body)) + body
    if "text" in content_type:
        body = base64.b64encode(body)
    connection = http.client.HTTPConnection(sys.argv[2], timeout=TIMEOUT_S)
    headers = {"Content-Type": content_type, "Accept": content_type, "X-Grpc-Web": "1"}
    connection.request("POST", f"/vidette.v1.EventBus/{method}", body, headers)
    response = connection.getresponse()
    assert response.version == 11 and response.status == 200, response.status
    assert response.getheader("Content-Type").startswith(content_type), response.getheader("Content-Type")
    return connection, response


def frames(response):
    """Each frame as soon as it has arrived: its flags and what it holds."""
    while True:
        head = response.read(5)
        if not head:
            return
        flags, length = struct.unpack(">BI", head)
        yield flags, response.read(length)


def trailers(content):
    fields = (line.split(":", 1) for line in content.decode().split("\r\n") if line)
    return {name.lower(): value.strip() for name, value in fields}


def unary(method, message, answer):
    _, response = call(method, message)
    data, end = list(frames(response))
    assert data[0] == 0 and end[0] == TRAILERS, (data, end)
    assert trailers(end[1])["grpc-status"] == "0", end
    return answer.FromString(data[1])


def check_subscribe():
    """A limited stream ends by itself, with its trailers in the last frame."""
    _, response = call("Subscribe", pb.SubscribeRequest(after="earliest", limit=3))
    *data, (flags, end) = frames(response)
    assert flags == TRAILERS and trailers(end)["grpc-status"] == "0", end
    messages = [pb.SubscribeResponse.FromString(content) for _, content in data]
    assert messages[0].hello.last == 3, messages
    assert [e.vid for m in messages for e in m.events.events] == [1, 2, 3], messages


def check_live():
    """Messages come as they happen, and not at the end."""
    connection, response = call("Subscribe", pb.SubscribeRequest(after="latest"))
    stream = frames(response)
    kinds = []
    while "caught_up" not in kinds:
        kinds.append(pb.SubscribeResponse.FromString(next(stream)[1]).WhichOneof("message"))
    for vid in (4, 5):
        publish(b"live")
        message = pb.SubscribeResponse.FromString(next(stream)[1])
        assert [e.vid for e in message.events.events] == [vid], message
    connection.close()


def check_text():
    """grpc-web-text is the same in base64."""
    _, response = call("GetBus", pb.GetBusRequest(), "application/grpc-web-text+proto")
    # Each part of the body is padded by itself.
    frame = b"".join(base64.b64decode(part) for part in re.findall(rb"[^=]+=*", response.read()))
    flags, length = struct.unpack(">BI", frame[:5])
    assert flags == 0 and pb.GetBusResponse.FromString(frame[5 : 5 + length]).last == 5


def check_refusal():
    """An error before the first message may come as headers alone."""
    _, response = call("Subscribe", pb.SubscribeRequest(after="nonsense"))
    received = {name.lower(): value for name, value in response.getheaders()}
    for flags, content in frames(response):
        assert flags == TRAILERS, flags
        received.update(trailers(content))
    assert received["grpc-status"] == "3" and received["grpc-message"], received


def publish(*data):
    events = [pb.NewEvent(topic="door.1", data=each) for each in data]
    return unary("Publish", pb.PublishRequest(events=events), pb.PublishResponse)


def main():
    assert publish(b"1", b"2", b"3").last_vid == 3
    check_subscribe()
    check_live()
    check_text()
    check_refusal()
    print("ok")


main()
