"""RuleSender: sends the rules to every shard of the publisher, and again to a shard that has missed them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from app.settings.rules import RuleFields
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger("ray.serve")

SendRules = Callable[[tuple[RuleFields, ...]], Awaitable[Sequence[str]]]
"""Sends all rules to all shards, each of which keeps them, and returns why those that do not have them now do not, a
sentence each; nothing is raised. A shard that has the same rules already does nothing."""


class RuleSender:
    """Sends what is set last; before :meth:`begin` nothing is sent. For one event loop."""

    def __init__(self, send: SendRules) -> None:
        self._send = send
        self._rules: tuple[RuleFields, ...] = ()
        self._started = False
        self._sending = asyncio.Lock()
        self._failures = TroubleLog(logger, "the rules are not in force everywhere", unit="tries")
        self.trouble = ""
        """Why the last rules are not in force everywhere; empty: they are."""

    def set_rules(self, rules: tuple[RuleFields, ...]) -> None:
        """Set the rules that are sent from now on."""
        self._rules = rules

    def begin(self) -> None:
        """Allow sending: the rules are those that there should be."""
        self._started = True

    async def send(self) -> None:
        """Send the rules once, where that has begun; what fails is logged and named in ``trouble``."""
        if not self._started:
            return
        async with self._sending:  # in turn: a shard must not end with older rules
            try:
                reasons = await self._send(self._rules)
            except Exception as error:  # noqa: BLE001 - the next try may succeed
                self.trouble = f"they cannot be sent: {type(error).__name__}"
                self._failures.report(type(error).__name__, error=error)
                return
            self.trouble = "; ".join(reasons)
            if self.trouble:
                self._failures.report(self.trouble)
            else:
                self._failures.resolve("the rules are in force everywhere")

    async def follow(self, period_s: float) -> None:
        """Send the rules every ``period_s`` seconds until cancelled."""
        self.begin()
        while True:
            await self.send()
            await asyncio.sleep(period_s)
