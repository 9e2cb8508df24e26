"""Registers ``Detect`` with Serve's gRPC server: as the generated code does, but for two kinds of answers.

To bytes that are no ``DetectRequest`` gRPC itself would answer with the text of an exception; here they reach the
service as :class:`UnreadableRequest`, which answers INVALID_ARGUMENT. And Serve's error for a replica that died is
translated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from app.rpc.codes import LOST_ANSWER, UNKNOWN_FAULT
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

_INTERNAL = (grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL.value[0])
SERVICE = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name


@dataclass(frozen=True)
class UnreadableRequest:
    """Bytes that were sent as a ``DetectRequest`` but cannot be parsed as one."""

    length: int


def read_message(data: bytes) -> pb.DetectRequest | UnreadableRequest:
    """Parse a request; never raise."""
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
    server.add_generic_rpc_handlers((_Handlers({f"/{SERVICE}/Detect": detect}),))


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # the stubs have it generic
    """Handlers whose every call ends with a documented code.

    Serve replaces ``_method_handlers`` by its routing to the replicas; where an ingress replica died with calls in
    flight, that routing would answer INTERNAL with Ray's error text.
    """

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._method_handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call; ``None`` where the method is unknown."""
        found = self._method_handlers.get(handler_call_details.method)
        return found and found._replace(unary_unary=_translated(found.unary_unary))


def _translated(answer: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def translated(request: Any, context: Any) -> Any:
        response = await answer(request, context)
        details = context.details() or ""
        details = details.decode(errors="replace") if isinstance(details, bytes) else details
        if context.code() in _INTERNAL:
            if details.startswith("The actor "):
                context.set_code(grpc.StatusCode.UNAVAILABLE)
                context.set_details(LOST_ANSWER)
            elif "\n" in details:
                context.set_details(UNKNOWN_FAULT)
        return response

    return translated
