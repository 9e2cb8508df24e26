"""Whatever bytes a client sends, the service answers with a code of the contract's table."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from app.core.image_header import MAX_PIXELS, probe
from app.detection import ImageOutcome
from app.detection.decoding import decode
from app.detection.detections import Detections
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo
from app.errors import ImageError
from app.ingress.service import DetectionService, ServiceLimits
from app.rpc.codes import LOST_ANSWER, UNKNOWN_FAULT, status_of
from app.rpc.conversion import write_response
from app.rpc.serving import SERVICE, add_inference_service_to_server, read_message
from tests.support import fuzzing
from tests.support.detection_service import Observer, Publisher

ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DEADLINE_EXCEEDED}


class DecodingDetector:
    """Decodes as the real one does, and sees one thing in every picture."""

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        return DetectorAnswer(tuple(self._look(job.image) for job in jobs), ModelInfo("m.pt", {0: "thing"}, "cpu"))

    def _look(self, data: bytes) -> ImageOutcome:
        try:
            image = decode(data).pixels
        except ImageError as error:
            return ImageOutcome(None, error, 0, 0, 0.0, 0.0)
        height, width = image.shape[:2]
        box = Detections(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
        return ImageOutcome(box, None, width, height, 1.0, 1.0)


async def answer(message: bytes) -> tuple[grpc.StatusCode, str]:
    service = DetectionService(DecodingDetector(), [Publisher()], limits=ServiceLimits(), observer=Observer())
    service.resize(1)
    try:
        accepted = await service.detect(read_message(message), {})
        write_response(accepted.event, accepted.total_ms).SerializeToString()
    except Exception as error:
        return status_of(error)
    finally:
        await service.close()
    return grpc.StatusCode.OK, ""


def test_every_message_gets_a_code_of_the_table_and_every_path_is_taken():
    seen: Counter[grpc.StatusCode] = Counter()

    @settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(fuzzing.messages)
    def check(message: bytes) -> None:
        code, details = asyncio.run(answer(message))
        assert code in ALLOWED, details
        assert "\n" not in details
        seen[code] += 1

    check()
    assert seen[grpc.StatusCode.OK] > 0
    # Budgets are drawn too: on a busy machine a short one runs out, which is no other path.
    assert seen[grpc.StatusCode.OK] + seen[grpc.StatusCode.DEADLINE_EXCEEDED] > 30
    assert seen[grpc.StatusCode.INVALID_ARGUMENT] > 100


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(fuzzing.images)
def test_an_image_is_decoded_to_the_size_that_its_header_says_or_is_refused_in_one_line(data: bytes):
    refusal, shape = "", (0, 0, 0)
    try:
        shape = decode(data).pixels.shape
    except ImageError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        return
    header = probe(data)
    assert shape == (header.height, header.width, 3)
    assert header.width * header.height <= MAX_PIXELS


class Call:
    """What a handler sees of a gRPC call."""

    def __init__(self) -> None:
        self._code: object = 0
        self._details = ""

    def code(self) -> object:
        return self._code

    def details(self) -> str:
        return self._details

    def set_code(self, code: object) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details


@pytest.mark.parametrize(
    ("said", "code", "details"),
    [
        ("The actor died unexpectedly before finishing this task.\n\tclass_name: X", "UNAVAILABLE", LOST_ANSWER),
        ("The actor 1f is unavailable: the connection was lost", "UNAVAILABLE", LOST_ANSWER),
        ("Traceback (most recent call last):\n  File", "INTERNAL", UNKNOWN_FAULT),
        ("the model 'm.pt' failed on the image: factor", "INTERNAL", "the model 'm.pt' failed on the image: factor"),
    ],
)
@pytest.mark.parametrize("number", [True, False])
async def test_what_serve_says_of_a_fault_is_put_into_our_words(said: str, code: str, details: str, number: bool):
    handlers: list[grpc.GenericRpcHandler] = []

    class Servicer:
        async def Detect(self, request: object, context: Call) -> bytes:  # noqa: N802
            context.set_code(grpc.StatusCode.INTERNAL.value[0] if number else grpc.StatusCode.INTERNAL)
            context.set_details(said)
            return b""

    class Server:
        def add_generic_rpc_handlers(self, added: Sequence[grpc.GenericRpcHandler]) -> None:
            handlers.extend(added)

    class Details:
        method = f"/{SERVICE}/Detect"

    add_inference_service_to_server(Servicer(), Server())
    call = Call()
    await handlers[0].service(Details()).unary_unary(b"", call)
    expected = grpc.StatusCode[code]
    assert call.code() in (expected, expected.value[0])
    assert call.details() == details
