"""The API holds to its own OpenAPI document, whatever it is asked (schemathesis)."""

from __future__ import annotations

import schemathesis
from fastapi import FastAPI
from schemathesis.specs.openapi.checks import unsupported_method

from app.web import build_api
from app.web.problems import PROBLEM
from tests.unit.test_web_reading import System


def api() -> FastAPI:
    made: list[System] = []

    def host() -> System:
        made[:] = made or [System()]  # on the event loop that serves
        return made[0]

    return build_api(host)


# A stream has no end: what it tells is tested beside.
schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", api()).exclude(path="/api/v1/events/stream")


@schema.parametrize()
def test_every_answer_is_as_documented_and_every_error_a_problem(case: schemathesis.Case):
    answer = case.call()
    case.validate_response(answer, excluded_checks=[unsupported_method])
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0] == PROBLEM
        assert answer.json()["status"] == answer.status_code
