"""Publishes one batch by PublishStream with a token, then sends nothing; prints the status."""

import sys
import threading

import grpc

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb, vidette_pb2_grpc  # noqa: E402

METADATA = [("authorization", f"Bearer {sys.argv[3]}")]
ended = threading.Event()


def requests():
    yield pb.PublishRequest(events=[pb.NewEvent(topic="door.1", data=b"1")])
    ended.wait()


with grpc.insecure_channel(sys.argv[2]) as channel:
    stub = vidette_pb2_grpc.EventBusStub(channel)
    try:
        for response in stub.PublishStream(requests(), metadata=METADATA):
            print("acknowledged", response.last_vid)
    except grpc.RpcError as error:
        print(error.code().name)
    ended.set()
