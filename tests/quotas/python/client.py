"""One call by grpcio, with these credentials: STUBS ADDRESS AUTHORIZATION CALL [EVENTS [BATCH]].

Prints a line for what comes: `open`, `published N`, or the name of a status and its details.
"""

import sys

import grpc

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb, vidette_pb2_grpc  # noqa: E402


def batches(topic, events, each):
    """So many events, in batches of `each`."""
    for first in range(1, events + 1, each):
        numbers = range(first, min(first + each, events + 1))
        yield pb.PublishRequest(
            events=[
                pb.NewEvent(topic=topic, content_type="application/json", data=str(number).encode())
                for number in numbers
            ]
        )


def subscribe(stub, metadata):
    for response in stub.Subscribe(pb.SubscribeRequest(), metadata=metadata):
        if response.WhichOneof("message") == "hello":
            print("open", flush=True)


def subscribe_often(stub, metadata, times):
    """On one connection, all at once."""
    streams = []
    for _ in range(times):
        stream = stub.Subscribe(pb.SubscribeRequest(), metadata=metadata)
        streams.append(stream)
        try:
            next(stream)
            print("open", flush=True)
        except grpc.RpcError as error:
            report(error)
    sys.stdin.read()


def publish(stub, metadata, events, each):
    for batch in batches("python.unary", events, each):
        print("published", len(stub.Publish(batch, metadata=metadata).events), flush=True)


def publish_stream(stub, metadata, events, each):
    for answer in stub.PublishStream(batches("python.stream", events, each), metadata=metadata):
        print("published", len(answer.events), flush=True)


def report(error):
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    has_delay = b"google.rpc.RetryInfo" in trailers.get("grpc-status-details-bin", b"")
    print(error.code().name, "later" if has_delay else "never", error.details(), flush=True)


def main():
    address, authorization, call = sys.argv[2:5]
    numbers = [int(text) for text in sys.argv[5:]]
    metadata = [("authorization", authorization)] if authorization else []
    calls = {
        "subscribe": subscribe,
        "subscribe-often": subscribe_often,
        "publish": publish,
        "publish-stream": publish_stream,
    }
    with grpc.insecure_channel(address) as channel:
        try:
            calls[call](vidette_pb2_grpc.EventBusStub(channel), metadata, *numbers)
        except grpc.RpcError as error:
            report(error)


main()
