"""Large events and batches, with the message limit of 4 MiB that a gRPC client has by default."""

import sys

import grpc

sys.path.insert(0, sys.argv[1])
from vidette.v1 import vidette_pb2 as pb, vidette_pb2_grpc  # noqa: E402

TIMEOUT_S = 25
KIB = 1024
# One event of 3 MiB; events just below; many of middle size in one batch; small ones after large ones.
BATCHES_KIB = [[3072], [3000, 40], [1000] * 3, [300] * 30, [1, 2900, 1], [500] * 6 + [2500]]


def payload(number, size_kib):
    return (b"%08d" % number) * (size_kib * KIB // 8)


def main():
    with grpc.insecure_channel(sys.argv[2]) as channel:
        stub = vidette_pb2_grpc.EventBusStub(channel)
        sizes = []
        for batch in BATCHES_KIB:
            numbered = list(enumerate(batch, start=len(sizes) + 1))
            events = [pb.NewEvent(topic="large", data=payload(*each), content_type="application/x") for each in numbered]
            answer = stub.Publish(pb.PublishRequest(events=events), timeout=TIMEOUT_S)
            assert answer.last_vid - answer.first_vid == len(batch) - 1, answer
            sizes += batch

        vid, largest = 0, 0
        request = pb.SubscribeRequest(after="earliest", limit=len(sizes))
        for response in stub.Subscribe(request, timeout=TIMEOUT_S):
            largest = max(largest, response.ByteSize())
            for event in response.events.events:
                vid += 1
                assert event.vid == vid
                assert event.data == payload(vid, sizes[vid - 1]), f"the data of vid {vid} is another"
        assert vid == len(sizes), vid
        assert largest > 3 * KIB * KIB, largest
    print("ok")


main()
