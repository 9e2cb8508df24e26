"""The table of what each fault did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest

from tests.support.verdict import VERDICT, Verdict


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[Verdict], Verdict]:
    """Take a verdict into the table (``tests/support/verdict.py``), and return it."""

    def take(verdict: Verdict) -> Verdict:
        request.node.user_properties.append((VERDICT, asdict(verdict)))
        return verdict

    return take
