"""DesiredRules: which rules there should be, and every way to change that; all end at the publisher's shards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from app.errors import RuleExists, RuleUnknown
from app.fleet.desired_list import DesiredList, EntryKind
from app.fleet.override_store import OverrideStore
from app.fleet.overrides import Desired
from app.fleet.rule_sender import RuleSender
from app.settings.rule_lists import ConfiguredRules, dump_rules
from app.settings.rules import RuleFields

RULE = EntryKind("rule", "rule", RuleUnknown, RuleExists)
DesiredRule = Desired[RuleFields]
"""One rule that should hold."""


class DesiredRules:
    """The desired rules: those configured, with the overrides made at run time applied. For one event loop.

    A shard that does not answer has a change later: :meth:`follow` sends the rules again and again.
    """

    def __init__(self, configured: ConfiguredRules, store: OverrideStore[RuleFields], sender: RuleSender) -> None:
        """Set the configured rules as desired; nothing is sent before :meth:`follow`."""
        self._sender = sender
        self._list = DesiredList(RULE, configured, store, self._set)

    @property
    def desired(self) -> Sequence[DesiredRule]:
        """Every rule there should be."""
        return self._list.desired

    @property
    def version(self) -> str:
        """A text that is another one whenever the rules have changed."""
        return self._version

    @property
    def trouble(self) -> str:
        """Why the rules are not in force everywhere, in one sentence; empty: they are."""
        return self._sender.trouble

    async def open(self, patience_s: float) -> None:
        """Load the overrides of the last run; failing that, log it and go on with what is configured.

        Args:
            patience_s: how long a predecessor that is being shut down may still hold them.
        """
        await self._list.open(patience_s)

    async def follow(self, period_s: float) -> None:
        """Send the rules to every shard, every ``period_s`` seconds, until cancelled.

        A shard that was started again, or did not answer, has them within a period.
        """
        await self._sender.follow(period_s)

    async def add(self, rule: RuleFields) -> None:
        """Add a rule; it holds from the next committed frame of each shard that answers.

        Raises:
            RuleExists: its id is taken.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._list.add(rule)
        await self._sender.send()

    async def replace(self, rule: RuleFields) -> None:
        """Change a rule; its incidents that go on end with the reason ``rule_changed``.

        Raises:
            RuleUnknown: there is no rule of that id.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._list.replace(rule.id, lambda _: rule)
        await self._sender.send()

    async def remove(self, rule_id: str) -> None:
        """Remove a rule; its incidents that go on end with the reason ``rule_changed``.

        Raises:
            RuleUnknown: there is no rule of that id.
            ChangeNotKept: the change could not be written, so it was not made.
        """
        await self._list.remove(rule_id)
        await self._sender.send()

    async def configure(self, configured: ConfiguredRules) -> None:
        """Set the configured rules; an override of a rule whose configuration has changed is dropped."""
        await self._list.configure(configured)
        await self._sender.send()

    def close(self) -> None:
        """Release the store."""
        self._list.close()

    def _set(self, desired: Sequence[DesiredRule]) -> None:
        rules = tuple(rule.settings for rule in desired)
        self._version = hashlib.sha256(dump_rules(rules).encode()).hexdigest()[:16]
        self._sender.set_rules(rules)
