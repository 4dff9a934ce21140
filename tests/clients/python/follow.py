"""Prints the vid of so many events, a line each, and comes back with its last cursor whenever the stream ends."""

import sys

import grpc

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb, vidette_pb2_grpc  # noqa: E402


def follow(stub, cursor, left):
    """Reads until the stream ends; gives where it was, and how many events are left to read."""
    try:
        request = pb.SubscribeRequest(after=cursor, limit=left)
        for response in stub.Subscribe(request, wait_for_ready=True):
            assert response.WhichOneof("message") != "gap", response
            for event in response.events.events:
                print(event.vid)
                left -= 1
            cursor = response.events.cursor or cursor
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
    return cursor, left


def main():
    cursor, left = "earliest", int(sys.argv[3])
    quick = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
    with grpc.insecure_channel(sys.argv[2], options=quick) as channel:
        stub = vidette_pb2_grpc.EventBusStub(channel)
        while left:
            cursor, left = follow(stub, cursor, left)


main()
