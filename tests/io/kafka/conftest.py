"""One broker for all tests here."""

from __future__ import annotations

from tests.support.broker import broker  # noqa: F401  # a fixture
