"""What ``sightline status`` shows of the system."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from app.cameras import CameraState
from app.cli.status_screen import removed_line, screen
from app.evidence.rows import EvidenceAccounts
from app.publisher import ChannelSnapshot, EvidenceSnapshot
from app.publisher.spool.outbox import OutboxAccounts
from app.web import BrokerFacts, CameraFacts, DeploymentFacts
from app.web.schemas import LedgerModel, StatusModel
from app.web.write_routes import RemovedModel
from tests.support.api_system import NOW, PUBLISHER, SLOW, System, camera, status

LATER = NOW + timedelta(seconds=42)


async def screen_of(camera_facts: CameraFacts | None = None, **changed: object) -> str:
    facts = replace(await System(camera_facts).facts(0), **changed)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(screen(StatusModel.of(facts), LATER))
    return capture.get()


async def shown(**publisher: object) -> str:
    return await screen_of(publisher=replace(PUBLISHER, **publisher))


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


async def test_the_screen_has_cameras_latency_by_stage_and_the_state_of_every_part():
    assert lines(await screen_of()) == [
        "1 of 1 cameras live; nothing is wrong with them",
        "",
        "camera  state   for   asked  delivered  p50 ms  p95 ms  dropped  what is wrong",
        "gate    ● live  42 s    5/s      5.0/s      21      21        3  -",
        "",
        "latency, ms  encode  transport  queue  decode  inference  commit  total  to Kafka",
        "p50               1          2      3       4          5       6     21        20",
        "p95               1          2      3       4          5       6     21        40",
        "p99               1          2      3       4          5       6     21        60",
        "",
        "budget    200 ms from capture to Kafka",
        "replicas  ObjectDetector 1 healthy",
        "queue     1 frames wait, 2 batches run",
        "spool     2 events, 800 bytes, the oldest 3 s",
        "broker    the embedded one, for demonstration: events in memory only; topic events.detections",
        "ledger    9 accepted = 7 published + 2 spooled + 0 quarantined + 0 discarded; 1 over the budget",
    ]


async def test_what_cannot_be_reached_is_unknown_and_no_number_is_made_up():
    text = await screen_of(camera(None, ()), publisher=None, load=None, deployments=())
    assert lines(text) == [
        "0 of 1 cameras live; look at gate; events do not reach Kafka: the publisher does not answer",
        "",
        "camera  state       for   asked  delivered  p50 ms  p95 ms  dropped  what is wrong",
        "gate    ◔ starting  42 s    5/s      0.0/s       -       -        0  its process died",
        "",
        "latency, ms  total  to Kafka",
        "p50              -         -",
        "p95              -         -",
        "p99              -         -",
        "",
        "budget    200 ms from capture to Kafka",
        "replicas  unknown: the controller does not answer",
        "queue     unknown",
        "spool     unknown",
        "broker    the embedded one, for demonstration: events in memory only; topic events.detections; "
        "TROUBLE: the publisher does not answer",
    ]


@pytest.mark.parametrize(
    ("state", "sign"), [*zip(CameraState, ("◔", "●", "▲", "▲", "✖", "■"), strict=True)], ids=lambda one: str(one)
)
async def test_every_state_has_its_word_and_a_sign_that_needs_no_colour(state: CameraState, sign: str):
    assert f"gate    {sign} {state} " in await screen_of(camera(status(state)))


async def test_a_camera_over_the_budget_is_named_with_the_stage_that_takes_most():
    first, _, _, row, *_ = lines(await screen_of(camera(status(), (SLOW,))))
    assert first == "1 of 1 cameras live; look at gate"
    assert row.split()[7:10] == ["269", "269", "3"]
    assert "p95 269 ms of 200 ms" in row
    assert "transport 250 ms" in row


@pytest.mark.parametrize(
    ("broker", "line"),
    [
        (BrokerFacts(False, False, (), "t"), "broker    off: nothing is published"),
        (BrokerFacts(True, False, ("a:1", "b:2"), "t"), "broker    a:1, b:2; topic t"),
    ],
)
async def test_the_broker_is_reported_as_it_is_configured(broker: BrokerFacts, line: str):
    assert line in lines(await screen_of(broker=broker))


async def test_replicas_that_start_are_counted_apart():
    starting = (DeploymentFacts("inference", "ObjectDetector", 1, 2, "updating"),)
    assert "replicas  ObjectDetector 1 (+2 starting) updating" in lines(await screen_of(deployments=starting))


async def test_a_configuration_of_cameras_that_is_not_taken_is_reported():
    assert "cameras   the current configuration is not in force: no such file" in lines(
        await screen_of(cameras_trouble="no such file")
    )


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h"), (-5, "0 s")],
)
async def test_a_state_s_age_is_in_the_unit_that_reads_well(seconds: int, age: str):
    facts = replace(camera(status()), status=replace(status(), since=LATER - timedelta(seconds=seconds)))
    assert f"● live  {age} " in await screen_of(facts)


def test_a_removed_camera_tells_where_its_frames_went():
    last = LedgerModel.of(status().ledger)
    assert removed_line(RemovedModel(id="gate", ledger=last)) == (
        "gate is removed: 10 sampled = 1 accepted + 3 dropped (3 deadline) + 0 unconfirmed"
    )
    assert removed_line(RemovedModel(id="gate", ledger=None)).startswith(
        "gate is removed; its process no longer answered"
    )


@pytest.mark.parametrize(("away", "reported"), [((), False), ((2,), True)])
async def test_a_ledger_that_lacks_a_shard_s_part_says_so(away: tuple[int, ...], reported: bool):
    text = " ".join((await shown(away=away)).split())
    assert "9 accepted = 7 published + 2 spooled + 0 quarantined + 0 discarded" in text
    assert ("WITHOUT publisher 2, which does not answer" in text) == reported


async def test_an_address_that_fails_while_another_takes_the_events_is_reported_and_trouble_before_it():
    assert "; but nothing listens on b:2" in " ".join((await shown(broker_warning="nothing listens on b:2")).split())
    both = await shown(broker_warning="nothing listens on b:2", trouble="no broker answers")
    assert "TROUBLE: no broker answers" in " ".join(both.split())
    assert "but nothing" not in both


async def test_the_first_line_tells_what_is_in_quarantine_and_why_kafka_gets_nothing():
    assert (await shown()).splitlines()[0] == "1 of 1 cameras live; nothing is wrong with them"
    first = (await shown(quarantined=2, refusal="too old")).splitlines()[0]
    assert "; 2 events are in quarantine, the newest: too old ('sightline quarantine list'" in first
    assert (
        "; events do not reach Kafka: no broker answers" in (await shown(trouble="no broker answers")).splitlines()[0]
    )


async def test_decoders_are_shown_where_a_camera_asks_for_hardware():
    facts = camera(status())
    asked = replace(facts, requested=facts.requested.model_copy(update={"decode": "auto"}))
    (head, row) = lines(await screen_of(asked))[2:4]
    assert head.endswith("dropped  decoder  what is wrong")
    assert row.endswith("3  cpu      -")
    assert "decoder" not in await screen_of()


async def test_the_other_topics_have_their_own_ledger_and_their_trouble_is_in_the_first_line():
    facts = await System().facts(0)
    broker = replace(facts.broker, channel_topics={"anomalies": "events.anomalies", "objects": "events.objects"})
    held = ChannelSnapshot(OutboxAccounts(accepted=5, published=2, waiting=3), "the topic does not exist")
    channels = {"anomalies": held, "objects": ChannelSnapshot(OutboxAccounts(accepted=4, published=4))}
    text = lines(await screen_of(broker=broker, publisher=replace(PUBLISHER, channels=channels)))
    assert text[0].endswith("nothing is wrong with them; anomalies do not reach Kafka: the topic does not exist")
    assert text[-2:] == [
        "anomalies 5 accepted = 2 published + 3 waiting + 0 quarantined + 0 discarded; topic events.anomalies; "
        "TROUBLE: the topic does not exist",
        "objects   4 accepted = 4 published + 0 waiting + 0 quarantined + 0 discarded; topic events.objects",
    ]


async def test_the_evidence_of_incidents_has_its_own_ledger_and_its_trouble_is_in_the_first_line():
    accounts = EvidenceAccounts(9, 4, 2, 2, 1, 800, 1, {"quota": 2, "too_large": 1})
    trouble = "pictures and clips of incidents are not stored: the store has no bucket 'evidence'"
    text = lines(await shown(evidence=EvidenceSnapshot(accounts, 61.4, trouble)))
    assert text[0] == f"1 of 1 cameras live; nothing is wrong with them; {trouble}"
    assert " ".join(text[-2:]) == (
        "evidence  9 asked = 4 stored + 2 spooled + 2 expired + 1 refused (2 quota, 1 too_large); "
        f"800 bytes here, the oldest 61 s; TROUBLE: {trouble}"
    )
    assert "evidence" not in await shown()
