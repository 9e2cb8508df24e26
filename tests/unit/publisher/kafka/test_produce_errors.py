"""Every answer of Produce, through the real client over the wire: what becomes of the event, and of those after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from kafka import errors
from kafka.partitioner.abc import Partitioner
from kafka.partitioner.default import murmur2

from app.errors import DeliveryRefused, DeliveryUnavailable
from app.publisher import EventRecord
from app.publisher.kafka.connection import translate, translate_invalid
from app.publisher.kafka.partitioner import PinnedPartitioner
from app.publisher.kafka.produce_errors import PRODUCE_ERRORS, ProduceError, Verdict
from app.publisher.kafka.producer import end_producer, make_producer
from app.publisher.kafka.sink import KafkaSink
from app.publisher.kafka.timeouts import Timeouts
from app.settings.connections import KafkaSettings
from tests.support.scripted_broker import Answer, Judge, ScriptedBroker
from tests.support.waiting import until

TOPIC = "answers"


def record(value: str, camera: str = "cam") -> EventRecord:
    return EventRecord(camera.encode(), value.encode(), (), 1_700_000_000_000)


def first(times: int, answer: Answer) -> Judge:
    """Return the answer to the first batches that hold something bad, so often."""
    left = [answer] * times
    return lambda values: left.pop() if left and any(value.startswith(b"bad") for value in values) else None


@asynccontextmanager
async def sink_on(broker: ScriptedBroker, timeouts: Timeouts = Timeouts()) -> AsyncIterator[KafkaSink]:  # noqa: B008
    async def find() -> tuple[str, ...]:
        return (broker.address,)

    async with broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,), topic=TOPIC)
        sink = KafkaSink(settings, find, timeouts, watches_addresses=False)  # requests are counted here
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


async def send_apart(broker: ScriptedBroker, sink: KafkaSink, *values: str) -> list[asyncio.Future[object]]:
    """Send events each in a batch of its own, all on their way at once; the broker holds its answers back."""
    broker.answering.clear()
    sent = []
    for value in values:
        before = broker.requests["ProduceRequest"]
        sent.append(sink.send(record(value)))
        await until(lambda before=before: broker.requests["ProduceRequest"] > before)
    return sent


async def test_several_batches_of_a_partition_are_on_their_way_at_once():
    broker = ScriptedBroker(TOPIC, lambda values: None, partitions=1)
    async with sink_on(broker) as sink:
        await sink.send(record("0"))
        sent = await send_apart(broker, sink, "1", "2", "3", "4", "5")
        assert broker.requests["ProduceRequest"] == 6  # and one of them is answered
        sent += [sink.send(record(str(number))) for number in (6, 7, 8)]
        broker.answering.set()
        await asyncio.gather(*sent)
        assert broker.logs[0] == [str(number).encode() for number in range(9)]


async def test_until_a_batch_was_acknowledged_no_second_one_is_sent_since_the_broker_would_take_it_without_the_first():
    broker = ScriptedBroker(TOPIC, lambda values: None, partitions=1)
    async with sink_on(broker) as sink:
        sent = await send_apart(broker, sink, "0")
        sent += [sink.send(record(str(number))) for number in range(1, 5)]
        await asyncio.sleep(0.2)  # a second request would have been sent long before
        assert broker.requests["ProduceRequest"] == 1
        broker.answering.set()
        await asyncio.gather(*sent)
        assert broker.logs[0] == [str(number).encode() for number in range(5)]


@of(Verdict.RETRIED)
@pytest.mark.parametrize("written", [False, True])
async def test_what_was_sent_behind_a_batch_that_is_retried_is_written_after_it_and_once(
    error: ProduceError, written: bool
):
    broker = ScriptedBroker(TOPIC, first(2, Answer(error.code, written=written)), partitions=1)
    async with sink_on(broker) as sink:
        await sink.send(record("0"))
        sent = await send_apart(broker, sink, "bad", "2", "3")
        broker.answering.set()
        await asyncio.gather(*sent)
        await sink.send(record("4"))
        assert broker.logs[0] == [b"0", b"bad", b"2", b"3", b"4"]
        assert broker.requests["InitProducerIdRequest"] == 1


@of(Verdict.REFUSED)
async def test_what_was_sent_behind_a_refused_event_is_written_in_order_and_once(error: ProduceError):
    broker = ScriptedBroker(TOPIC, first(2, Answer(error.code)), partitions=1)
    async with sink_on(broker) as sink:
        await sink.send(record("0"))
        bad, two, again, three = await send_apart(broker, sink, "bad", "2", "bad", "3")
        broker.answering.set()
        for refused in (bad, again):
            with pytest.raises(DeliveryRefused, match=error.name):
                await refused
        await asyncio.gather(two, three, sink.send(record("4")))
        assert broker.logs[0] == [b"0", b"2", b"3", b"4"]
        assert broker.requests["InitProducerIdRequest"] == 1


@pytest.mark.parametrize("named", [True, False])
async def test_the_good_ones_of_a_batch_that_is_refused_are_written_before_what_was_sent_behind_it(named: bool):
    def judge(values: Sequence[bytes]) -> Answer | None:
        bad = tuple(index for index, value in enumerate(values) if value.startswith(b"bad"))
        return Answer(87, bad if named else ()) if bad else None

    broker = ScriptedBroker(TOPIC, judge, partitions=1)
    async with sink_on(broker) as sink:
        await sink.send(record("0"))
        sent = await send_apart(broker, sink, "1", "2", "3", "4", "5")
        values = ["bad", "06", "07", "bad", "08", "bad", "09", "10", "11"]
        together = [sink.send(record(value)) for value in values]
        broker.answering.set()
        outcomes = await asyncio.gather(*together, return_exceptions=True)
        assert [isinstance(outcome, DeliveryRefused) for outcome in outcomes] == [value == "bad" for value in values]
        await asyncio.gather(*sent, sink.send(record("12")))
        good = [value for value in values if value != "bad"]
        assert broker.logs[0] == [value.encode() for value in ["0", "1", "2", "3", "4", "5", *good, "12"]]


@pytest.mark.parametrize("code", [each.code for each in PRODUCE_ERRORS.values() if each.verdict is Verdict.FATAL])
async def test_where_a_batch_ends_the_producer_what_was_sent_behind_it_fails_too_and_is_not_written(code: int):
    broker = ScriptedBroker(TOPIC, first(1, Answer(code)), partitions=1)
    async with sink_on(broker) as sink:
        await sink.send(record("0"))
        sent = await send_apart(broker, sink, "bad", "2", "3")
        broker.answering.set()
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        assert all(isinstance(outcome, DeliveryUnavailable) for outcome in outcomes)
        assert broker.logs[0] == [b"0"]


async def test_a_refusal_in_one_partition_leaves_the_order_of_another_with_batches_on_their_way():
    broker = ScriptedBroker(TOPIC, lambda values: Answer(87) if b"bad" in values else None, partitions=2)
    async with sink_on(broker) as sink:
        await asyncio.gather(*(sink.send(record("0", camera)) for camera in ("cam", "other", "c2", "c3", "c4")))
        assert set(broker.logs) == {0, 1}
        good = await send_apart(broker, sink, "1", "2")
        bad = [sink.send(record("bad", camera)) for camera in ("other", "c2", "c3", "c4")]
        broker.answering.set()
        more = [sink.send(record(str(number))) for number in range(3, 30)]
        assert all(isinstance(one, DeliveryRefused) for one in await asyncio.gather(*bad, return_exceptions=True))
        await asyncio.gather(*good, *more)
        log = next(log for log in broker.logs.values() if b"1" in log)
        assert [value for value in log if value != b"0"] == [str(number).encode() for number in range(1, 30)]
        assert broker.requests["InitProducerIdRequest"] == 1


@pytest.mark.parametrize("error", [PRODUCE_ERRORS[3], PRODUCE_ERRORS[19]], ids=lambda error: error.name)
async def test_an_event_whose_time_passes_fails_with_the_error_that_it_waited_for_and_nothing_behind_it_is_written(
    error: ProduceError,
):
    broker = ScriptedBroker(TOPIC, lambda values: None, partitions=1)
    async with sink_on(broker, Timeouts(request_ms=200, delivery_ms=400, metadata_ms=200)) as sink:
        await sink.send(record("0"))
        broker.judge = lambda values: Answer(error.code)
        sent = [sink.send(record(str(number))) for number in (1, 2, 3)]
        await asyncio.sleep(0.2)
        sent += [sink.send(record(str(number))) for number in (4, 5)]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        assert all(isinstance(outcome, DeliveryUnavailable) for outcome in outcomes)
        assert {str(outcome) for outcome in outcomes} == {
            str(translate(errors.for_code(error.code)(None), KafkaSettings(topic=TOPIC)))
        }
        broker.judge = lambda values: None
        await until(lambda: sink.connected)
        await asyncio.gather(*(sink.send(record(str(number))) for number in range(1, 6)))
        assert broker.logs[0] == [str(number).encode() for number in range(6)]


async def test_partitions_that_are_added_are_used_once_all_that_was_on_its_way_is_written():
    held = True
    broker = ScriptedBroker(
        TOPIC, lambda values: Answer(19) if held and any(b"before" in value for value in values) else None, partitions=1
    )
    cameras = [f"c{number}" for number in range(12)]
    async with sink_on(broker, Timeouts(refresh_ms=50)) as sink:
        await sink.send(record("0"))
        waiting = [sink.send(record(f"{camera} before", camera)) for camera in cameras]
        broker.partitions = 4
        asked = broker.requests["MetadataRequest"]
        await until(lambda: broker.requests["MetadataRequest"] > asked + 1)
        waiting += [sink.send(record(f"{camera} after", camera)) for camera in cameras]
        asked = broker.requests["ProduceRequest"]
        await until(lambda: broker.requests["ProduceRequest"] > asked)
        assert broker.logs == {0: [b"0"]}
        held = False
        await asyncio.gather(*waiting)
        assert set(broker.logs) == {0, 1, 2, 3}
        assert broker.logs[0][:13] == [b"0", *(f"{camera} before".encode() for camera in cameras)]


class Nowhere(Partitioner):
    """Finds no partition, as the client does of a topic that vanishes while a record is handed over."""

    def partition(self, *_: object) -> None:
        return None


async def test_a_topic_that_vanishes_while_an_event_is_handed_over_is_no_fault_of_the_event():
    broker = ScriptedBroker(TOPIC, lambda values: None)
    async with broker:
        settings = KafkaSettings(bootstrap_servers=(broker.address,), topic=TOPIC)
        producer = await asyncio.to_thread(make_producer, settings, (broker.address,), Timeouts())
        producer.config["partitioner"] = Nowhere()
        with pytest.raises(ValueError) as raised:  # noqa: PT011 - its text is what is tested
            producer.send(TOPIC, b"value", key=b"cam")
        assert translate_invalid(raised.value) is None
        await asyncio.to_thread(end_producer, producer)


async def test_a_key_has_the_partition_that_kafka_s_own_client_would_choose():
    partitioner = PinnedPartitioner()
    for count in (1, 7):
        partitioner.count = count
        for camera in ("cam", "gate-3", "\u00e9", "x" * 300):
            assert partitioner.partition(TOPIC, None, camera.encode(), None, b"", None) == (
                (murmur2(camera.encode()) & 0x7FFFFFFF) % count
            )


def test_what_the_table_calls_retried_is_what_the_protocol_calls_retriable():
    retriable = {code for code in PRODUCE_ERRORS if issubclass(errors.for_code(code), errors.RetriableError)}
    retried = {code for code, error in PRODUCE_ERRORS.items() if error.verdict is Verdict.RETRIED}
    assert retried - retriable == {2}  # CORRUPT_MESSAGE is retriable by the protocol; kafka-python 3.0.12 says not
    assert retriable <= retried
