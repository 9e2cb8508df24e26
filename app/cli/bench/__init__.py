"""``sightline bench``: a whole system of its own under a load of N cameras, and what that cost and gave."""

from __future__ import annotations

from app.cli.bench.bench import Bench
from app.cli.bench.plan import BenchPlan, size_of
from app.cli.bench.report import BenchReport, Spread, Tally, fairness, screen

__all__ = ["Bench", "BenchPlan", "BenchReport", "Spread", "Tally", "fairness", "screen", "size_of"]
