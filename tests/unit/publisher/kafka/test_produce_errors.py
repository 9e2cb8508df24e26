"""Every answer of Produce, through the real client over the wire: what becomes of the event, and of those after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from kafka import errors

from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import EventRecord
from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, ProduceError, Verdict
from app.publisher.kafka.sink import KafkaSink
from app.settings.connections import KafkaSettings
from tests.support.scripted_broker import Answer, Judge, ScriptedBroker

TOPIC = "answers"


def record(value: str, camera: str = "cam") -> EventRecord:
    return EventRecord(camera.encode(), value.encode(), (), 1_700_000_000_000)


def first(times: int, answer: Answer) -> Judge:
    """Give the answer to the first batches that hold something bad, so often."""
    left = [answer] * times
    return lambda values: left.pop() if left and any(value.startswith(b"bad") for value in values) else None


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def sink_on(broker: ScriptedBroker) -> AsyncIterator[KafkaSink]:
    async def find() -> tuple[str, ...]:
        return (broker.address,)

    async with broker:
        sink = KafkaSink(KafkaSettings(bootstrap_servers=(broker.address,), topic=TOPIC), find)
        sink.start()
        try:
            await until(lambda: sink.connected)
            yield sink
        finally:
            await sink.close()


def of(verdict: Verdict) -> pytest.MarkDecorator:
    chosen = [error for error in PRODUCE_ERRORS.values() if error.verdict is verdict]
    return pytest.mark.parametrize("error", chosen, ids=lambda error: error.name)


def read(broker: ScriptedBroker) -> list[bytes]:
    return sorted(value for log in broker.logs.values() for value in log)


@of(Verdict.REFUSED)
async def test_a_refusal_fails_its_event_alone(error: ProduceError):
    broker = ScriptedBroker(TOPIC, first(3, Answer(error.code)), partitions=1)
    async with sink_on(broker) as sink:
        for number in range(3):
            with pytest.raises(DeliveryRefused, match=error.name):
                await sink.send(record("bad"))
            await sink.send(record(f"good-{number}"))
            await sink.send(record(f"other-{number}", camera="other"))
        assert broker.logs[0] == [b"good-0", b"other-0", b"good-1", b"other-1", b"good-2", b"other-2"]
        assert broker.requests["InitProducerIdRequest"] == 1  # the producer went on


@of(Verdict.RETRIED)
async def test_an_error_that_may_pass_costs_nothing_but_time(error: ProduceError):
    broker = ScriptedBroker(TOPIC, first(2, Answer(error.code)))
    async with sink_on(broker) as sink:
        await sink.send(record("bad"))
        await sink.send(record("good"))
        assert read(broker) == [b"bad", b"good"]
        assert broker.requests["InitProducerIdRequest"] == 1


@of(Verdict.WRITTEN)
async def test_what_the_topic_has_already_is_acknowledged(error: ProduceError):
    broker = ScriptedBroker(TOPIC, first(1, Answer(error.code, written=True)))
    async with sink_on(broker) as sink:
        await sink.send(record("bad"))
        await sink.send(record("good"))
        assert read(broker) == [b"bad", b"good"]


@pytest.mark.parametrize(
    "code", [*(each.code for each in PRODUCE_ERRORS.values() if each.verdict is Verdict.FATAL), 99]
)
async def test_an_error_of_the_producer_or_one_unknown_refuses_nothing_and_a_new_producer_sends_it(code: int):
    broker = ScriptedBroker(TOPIC, first(1, Answer(code)))
    async with sink_on(broker) as sink:
        await sink.send(record("a"))
        with pytest.raises(DeliveryUnavailable):
            await sink.send(record("bad"))
        await until(lambda: sink.connected)
        await sink.send(record("bad"))
        await sink.send(record("good"))
        assert read(broker) == [b"a", b"bad", b"good"]
        assert broker.requests["InitProducerIdRequest"] >= 2


@pytest.mark.parametrize("named", [True, False])
@of(Verdict.REFUSED)
async def test_of_a_batch_the_bad_ones_are_refused_and_the_others_written_once(error: ProduceError, named: bool):
    def judge(values: Sequence[bytes]) -> Answer | None:
        bad = tuple(index for index, value in enumerate(values) if value.startswith(b"bad"))
        return Answer(error.code, bad if named else ()) if bad else None

    broker = ScriptedBroker(TOPIC, judge, partitions=2)
    sent = [record(f"{'bad' if number in (11, 12, 30) else 'good'}-{number:02}", f"c{number}") for number in range(40)]
    async with sink_on(broker) as sink:
        outcomes = await asyncio.gather(*(sink.send(one) for one in sent), return_exceptions=True)
        refused = {one.value for one, said in zip(sent, outcomes, strict=True) if isinstance(said, DeliveryRefused)}
        assert refused == {b"bad-11", b"bad-12", b"bad-30"}
        assert read(broker) == sorted(one.value for one in sent if one.value not in refused)
        assert broker.requests["InitProducerIdRequest"] == 1


async def test_after_the_last_epoch_another_producer_id_is_asked_for():
    broker = ScriptedBroker(TOPIC, first(2, Answer(87)), first_epoch=32_767)
    async with sink_on(broker) as sink:
        for number in range(2):
            with pytest.raises(DeliveryRefused):
                await sink.send(record("bad"))
            await sink.send(record(f"good-{number}"))
        assert read(broker) == [b"good-0", b"good-1"]
        assert broker.requests["InitProducerIdRequest"] == 3


async def test_the_next_event_is_not_taken_for_a_repeat_where_the_refused_one_had_been_written():
    """Its acknowledgement was lost, and until it was sent again it had grown too old."""
    answers = [Answer(32), Answer(7, written=True)]
    broker = ScriptedBroker(TOPIC, lambda values: answers.pop() if answers else None, partitions=1)
    async with sink_on(broker) as sink:
        with pytest.raises(DeliveryRefused):
            await sink.send(record("bad"))
        await sink.send(record("good"))
        assert broker.logs[0] == [b"bad", b"good"]


def test_what_the_table_calls_retried_is_what_the_protocol_calls_retriable():
    retriable = {code for code in PRODUCE_ERRORS if issubclass(errors.for_code(code), errors.RetriableError)}
    retried = {code for code, error in PRODUCE_ERRORS.items() if error.verdict is Verdict.RETRIED}
    assert retried - retriable == {2}  # CORRUPT_MESSAGE is retriable by the protocol; kafka-python 3.0.12 says not
    assert retriable <= retried
