"""A client that has no stubs: all it knows comes from reflection."""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TIMEOUT_S = 20


def main():
    with grpc.insecure_channel(sys.argv[2]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = database.get_services()
        assert "vidette.v1.EventBus" in services and "grpc.health.v1.Health" in services, services
        bus = DescriptorPool(database).FindServiceByName("vidette.v1.EventBus")

        def call(name, kind, **fields):
            method = bus.methods_by_name[name]
            ask = getattr(channel, kind)(
                f"/{bus.full_name}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            return ask(GetMessageClass(method.input_type)(**fields), timeout=TIMEOUT_S)

        events = [{"topic": "door.1", "data": b"%d" % n} for n in range(3)]
        published = call("Publish", "unary_unary", events=events)
        assert (published.first_vid, published.last_vid) == (1, 3), published
        state = call("GetBus", "unary_unary")
        assert state.last == 3 and state.cursor == published.cursor, state
        responses = list(call("Subscribe", "unary_stream", after="earliest", limit=3))
        assert responses[0].hello.last == 3, responses
        assert [e.data for r in responses for e in r.events.events] == [b"0", b"1", b"2"], responses
    print("ok")


main()
