"""Publish, PublishStream, Subscribe, GetBus and ListTopics, with stubs generated from the proto file."""

import sys

import grpc

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb, vidette_pb2_grpc  # noqa: E402

TIMEOUT_S = 20


def options_for(address):
    """grpcio names the path of a Unix socket as the host, in a form that HTTP/2 servers may refuse."""
    return [("grpc.default_authority", "localhost")] if address.startswith("unix:") else []


def new_event(number, **fields):
    return pb.NewEvent(topic=f"door.{number % 3}", data=b"%d" % number, **fields)


def events_of(stub, **request):
    """The events of a subscription that has a limit, and every cursor received on the way."""
    events, cursors = [], []
    for response in stub.Subscribe(pb.SubscribeRequest(**request), timeout=TIMEOUT_S):
        kind = response.WhichOneof("message")
        if kind == "events":
            events += response.events.events
            cursors.append(response.events.cursor)
        elif kind in ("caught_up", "progress"):
            cursors.append(getattr(response, kind).cursor)
    return events, cursors


def main():
    with grpc.insecure_channel(sys.argv[2], options=options_for(sys.argv[2])) as channel:
        stub = vidette_pb2_grpc.EventBusStub(channel)

        batch = [new_event(n, type="opened", id=f"id-{n}", headers={"card": "17"}) for n in range(1, 11)]
        answer = stub.Publish(pb.PublishRequest(events=batch), timeout=TIMEOUT_S)
        assert (answer.first_vid, answer.last_vid) == (1, 10), answer
        assert [e.vid for e in answer.events] == list(range(1, 11)), answer
        again = stub.Publish(pb.PublishRequest(events=batch[:2]), timeout=TIMEOUT_S)
        assert [(e.vid, e.duplicate) for e in again.events] == [(1, True), (2, True)], again

        requests = (pb.PublishRequest(events=[new_event(n), new_event(n)]) for n in range(11, 111))
        acks = list(stub.PublishStream(requests, timeout=TIMEOUT_S))
        assert [(a.first_vid, a.last_vid) for a in acks] == [(n, n + 1) for n in range(11, 211, 2)], acks

        events, _ = events_of(stub, after="earliest", limit=210)
        assert [e.vid for e in events] == list(range(1, 211))
        first = events[0]
        assert (first.topic, first.type, first.id, first.data) == ("door.1", "opened", "id-1", b"1"), first
        assert first.headers == {"card": "17"} and first.content_type == "application/json", first
        assert first.time.ToMilliseconds() > 0

        head, cursors = events_of(stub, after="earliest", limit=100)
        rest, _ = events_of(stub, after=cursors[-1], limit=110)
        assert [e.vid for e in [*head, *rest]] == list(range(1, 211))

        filtered, _ = events_of(stub, topic=["door.1"], after="earliest", limit=3)
        assert [e.vid for e in filtered] == [1, 4, 7], filtered

        bus = stub.GetBus(pb.GetBusRequest(), timeout=TIMEOUT_S)
        assert (bus.first, bus.last, bus.events) == (1, 210, 210), bus
        topics = stub.ListTopics(pb.ListTopicsRequest(), timeout=TIMEOUT_S).topics
        assert [t.topic for t in topics] == ["door.0", "door.1", "door.2"], topics

        try:
            stub.Publish(pb.PublishRequest(events=[pb.NewEvent(topic="a..b")]), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        else:
            raise AssertionError("a bad topic was taken")
    print("ok")


main()
