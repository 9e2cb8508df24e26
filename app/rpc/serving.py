"""How ``Detect`` is offered to a gRPC server: as the generated code does, but for messages that cannot be read.

gRPC itself answers bytes that are no ``DetectRequest`` with UNKNOWN or INTERNAL and the text of an exception. Here they
reach the service as what they are, and get its INVALID_ARGUMENT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from app.rpc.sightline.inference.v1 import inference_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name


@dataclass(frozen=True)
class UnreadableRequest:
    """Bytes that were sent as a ``DetectRequest``, and are none."""

    length: int


def read_message(data: bytes) -> pb.DetectRequest | UnreadableRequest:
    """Read a request; never raise."""
    try:
        return pb.DetectRequest.FromString(data)
    except DecodeError:
        return UnreadableRequest(len(data))


def add_inference_service_to_server(servicer: Any, server: Any) -> None:
    """Register the service; ``grpc_options`` of ``serve_config.yaml`` names this function."""
    detect = grpc.unary_unary_rpc_method_handler(
        servicer.Detect,
        request_deserializer=read_message,
        response_serializer=pb.DetectResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Detect": detect}),))
    server.add_registered_method_handlers(SERVICE, {"Detect": detect})
