"""The API holds to its own OpenAPI document, whatever it is asked (schemathesis)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import schemathesis
from fastapi import FastAPI
from schemathesis.specs.openapi.checks import positive_data_acceptance, unsupported_method

from app.web import build_api
from app.web.problems import PROBLEM
from tests.support.changing_system import GATE, Changing

TOKEN = "right"
"""Without one nobody from afar, as these requests are, may change anything."""
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
    if answer.status_code == 422 and answer.json()["detail"].startswith(("url:", "resources", "masks")):
        excluded.append(positive_data_acceptance)  # a schema cannot say all that an address or a polygon must be
    case.validate_response(answer, excluded_checks=excluded)
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0] == PROBLEM
        assert answer.json()["status"] == answer.status_code
