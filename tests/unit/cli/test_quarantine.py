"""``sightline quarantine``: what Kafka refused for good is shown, sent again, dropped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import quarantine
from app.errors import SettingsError, SpoolUnavailable
from app.publisher import Spool, SpoolOptions, read_accounts
from app.publisher.spool.rows import Refusal
from app.settings.settings import Settings, SpoolSettings
from tests.support.publisher import NOW, arrival


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose spool has two events in quarantine."""
    spool = Spool(SpoolOptions(tmp_path))
    taken = spool.commit([arrival("a"), arrival("b")])
    spool.commit([], [], [Refusal(one.id, "too large", NOW) for one in taken if one])
    spool.close()
    return Settings(spool=SpoolSettings(dir=tmp_path))


def test_each_event_is_a_line_for_people_or_for_programs(settings: Settings):
    assert all("cam" in line and "too large" in line for line in quarantine.lines(settings, raw=False))
    assert [json.loads(line)["event_id"] for line in quarantine.lines(settings, raw=True)] == ["a", "b"]


def test_a_named_event_waits_again_and_another_is_discarded_once_the_publisher_looks(settings: Settings):
    assert quarantine.request(settings, "resend", ["a"], everything=False) == 1
    assert quarantine.request(settings, "drop", [], everything=True) == 1
    spool = Spool(SpoolOptions(settings.spool.dir))
    assert spool.tidy(NOW) == [("detections", "cam")]
    assert [waiting.event_id for waiting in spool.waiting("cam", 0, 10)] == ["a"]
    accounts = spool.accounts()
    assert (accounts.spooled, accounts.discarded, accounts.quarantined, accounts.balanced) == (1, 1, 0, True)
    spool.close()
    assert read_accounts(settings.spool.dir) == accounts


@pytest.mark.parametrize(("events", "everything"), [([], False), (["a"], True), (["z"], False)])
def test_a_wish_that_names_no_event_or_an_unknown_one_is_refused(
    settings: Settings, events: list[str], everything: bool
):
    with pytest.raises(SettingsError):
        quarantine.request(settings, "drop", events, everything=everything)


def test_without_a_spool_it_says_so(tmp_path: Path):
    with pytest.raises(SpoolUnavailable, match="no spool"):
        quarantine.lines(Settings(spool=SpoolSettings(dir=tmp_path / "none")), raw=False)
