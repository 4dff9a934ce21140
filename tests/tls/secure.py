"""Calls the gateway at an address that this authority's certificate vouches for, with reflected messages only."""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main():
    address, authority = sys.argv[1:]
    with open(authority, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(address, credentials) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

        def message(name):
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"vidette.v1.{name}"))

        get_bus = channel.unary_unary(
            "/vidette.v1.EventBus/GetBus",
            request_serializer=message("GetBusRequest").SerializeToString,
            response_deserializer=message("GetBusResponse").FromString,
        )
        print("last", get_bus(message("GetBusRequest")(), timeout=20).last)
        subscribe = channel.unary_stream(
            "/vidette.v1.EventBus/Subscribe",
            request_serializer=message("SubscribeRequest").SerializeToString,
            response_deserializer=message("SubscribeResponse").FromString,
        )
        request = message("SubscribeRequest")(after="0", limit=3)
        answers = subscribe(request, timeout=20)
        print("vids", *(event.vid for answer in answers for event in answer.events.events))


main()
