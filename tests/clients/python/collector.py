"""A collector of spans, with the messages of OpenTelemetry's own package: prints each span as a line of JSON.

Says its port first, and ends when its standard input does.
"""

import json
import sys
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(of):
    return {one.key: value(one.value) for one in of.attributes}


class Collector(service.TraceServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.show(attributes(resource.resource), scope.scope, span)
        return messages.ExportTraceServiceResponse()

    def show(self, resource, scope, span):
        shown = {
            "resource": resource,
            "scope": scope.name,
            "trace": span.trace_id.hex(),
            "id": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "flags": span.flags,
            "name": span.name,
            "kind": span.kind,
            "begun": span.start_time_unix_nano,
            "ended": span.end_time_unix_nano,
            "status": span.status.code,
            "attributes": attributes(span),
        }
        print(json.dumps(shown), flush=True)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
service.add_TraceServiceServicer_to_server(Collector(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(grace=None).wait()
