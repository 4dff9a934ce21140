"""Reads by Subscribe with a token until the gateway ends that; prints each step and the status."""

import sys

import grpc

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb, vidette_pb2_grpc  # noqa: E402

METADATA = [("authorization", f"Bearer {sys.argv[3]}")]

with grpc.insecure_channel(sys.argv[2]) as channel:
    stub = vidette_pb2_grpc.EventBusStub(channel)
    try:
        for response in stub.Subscribe(pb.SubscribeRequest(topic=["door.*"]), metadata=METADATA):
            kind = response.WhichOneof("message")
            print(f"closing {response.closing.reason}" if kind == "closing" else kind)
    except grpc.RpcError as error:
        print(error.code().name)
