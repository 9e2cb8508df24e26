"""The API holds to its own OpenAPI document, whatever it is asked (schemathesis)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import schemathesis
from fastapi import FastAPI
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from app.web import build_api
from app.web.problems import PROBLEM
from tests.support.changing_system import GATE, Changing

TOKEN = "right"
"""Without one nobody from afar, as these requests are, may change anything."""
BEYOND_A_SCHEMA = ("url:", "resources", "masks", "rule", "from:", "step:")
"""How a 422 begins whose reason a schema cannot say: what an address, a polygon or a span of time must be."""
_folder = tempfile.TemporaryDirectory()


def api() -> FastAPI:
    made: list[Changing] = []

    def host() -> Changing:
        if not made:  # on the event loop that serves
            made.append(Changing(Path(_folder.name), GATE))
            made[0].token = TOKEN
        return made[0]

    return build_api(host)


# A stream has no end: what it tells is tested beside.
schema = schemathesis.openapi.from_asgi(
    "/api/v1/openapi.json", api(), headers={"authorization": f"Bearer {TOKEN}"}
).exclude(path="/api/v1/events/stream")


@schema.parametrize()
def test_every_answer_is_as_documented_and_every_error_a_problem(case: schemathesis.Case):
    answer = case.call(headers={"authorization": f"Bearer {TOKEN}"})
    excluded = [unsupported_method]
    if answer.status_code == 422 and answer.json()["detail"].startswith(BEYOND_A_SCHEMA):
        excluded.append(positive_data_acceptance)
    if case.path.startswith("/api/v1/rules") or answer.status_code == 413:
        excluded.append(negative_data_rejection)  # read as those of a file, where "5" is a number and a,b is a list
    case.validate_response(answer, excluded_checks=excluded)
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0] == PROBLEM
        assert answer.json()["status"] == answer.status_code
