"""Two streams of one channel at a gateway that ends: one is ended, the other reads on, and both resume elsewhere."""

import sys
import threading
import time

import grpc

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb, vidette_pb2_grpc  # noqa: E402

TIMEOUT_S = 20


class Reader:
    """A stream that is read by a thread of its own, to its end."""

    def __init__(self, stub, after):
        self.cursor, self.vids, self.is_told, self.code = after, [], False, None
        self.changed = threading.Condition()
        threading.Thread(target=self.read, args=(stub,), daemon=True).start()

    def read(self, stub):
        try:
            for response in stub.Subscribe(pb.SubscribeRequest(after=self.cursor), wait_for_ready=True):
                self.take(response)
        except grpc.RpcError as error:
            with self.changed:
                self.code = error.code()
                self.changed.notify_all()

    def take(self, response):
        kind = response.WhichOneof("message")
        with self.changed:
            if kind == "events":
                self.vids += [event.vid for event in response.events.events]
            self.is_told = self.is_told or kind == "closing"
            self.cursor = getattr(getattr(response, kind), "cursor", "") or self.cursor
            self.changed.notify_all()

    @staticmethod
    def wait_for_any(readers, holds):
        until = time.monotonic() + TIMEOUT_S
        while not any(map(holds, readers)):
            assert time.monotonic() < until, [vars(reader) for reader in readers]
            time.sleep(0.01)

    def wait(self, holds):
        with self.changed:
            assert self.changed.wait_for(lambda: holds(self), TIMEOUT_S), vars(self)


def publish(stub, event_id):
    """Sends the same again for as long as the gateway ends or is gone, which the id makes one event."""
    event = pb.NewEvent(topic="door.1", id=event_id, data=b"1")
    until = time.monotonic() + TIMEOUT_S
    while True:
        try:
            request = pb.PublishRequest(events=[event])
            return stub.Publish(request, timeout=TIMEOUT_S, wait_for_ready=True).last_vid
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE and time.monotonic() < until, error
            time.sleep(0.05)


def ended(reader):
    return reader.code is not None


def main():
    quick = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
    with grpc.insecure_channel(sys.argv[2], options=quick) as channel:
        stub = vidette_pb2_grpc.EventBusStub(channel)
        readers = [Reader(stub, "earliest"), Reader(stub, "earliest")]
        for reader in readers:
            reader.wait(lambda reader: reader.vids == [1])
        print("both read", flush=True)

        # One has its turn at once, the other half a minute later.
        Reader.wait_for_any(readers, ended)
        first, second = sorted(readers, key=ended, reverse=True)
        assert first.is_told and first.code == grpc.StatusCode.UNAVAILABLE, vars(first)
        assert not ended(second)

        # The channel has been told to take its next call elsewhere, and does so by itself.
        vid = publish(stub, "first")
        second.wait(lambda reader: reader.vids == [1, vid])
        print("one reads on", flush=True)
        second.wait(ended)
        assert second.is_told and second.code == grpc.StatusCode.UNAVAILABLE, vars(second)

        # Taken by the next gateway alone; from then on it is the one that is asked.
        next_vid = publish(stub, "second")
        again = [Reader(stub, first.cursor), Reader(stub, second.cursor)]
        again[0].wait(lambda reader: reader.vids == [vid, next_vid])
        again[1].wait(lambda reader: reader.vids == [next_vid])
        print("ok", flush=True)


main()
