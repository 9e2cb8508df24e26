"""A broker that speaks Kafka's protocol and answers Produce as a test says.

It keeps a log for each partition and checks producers' epochs and sequences as Apache Kafka 4.1 does
(``ProducerAppendInfo``), so that a client that numbers wrongly is found out. It knows what a producer asks for.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka.protocol.admin import DescribeConfigsRequest, DescribeConfigsResponse
from kafka.protocol.broker_version_data import BrokerVersionData
from kafka.protocol.metadata import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    MetadataRequest,
    MetadataResponse,
)
from kafka.protocol.producer import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)
from kafka.record.memory_records import MemoryRecords

OUT_OF_ORDER, DUPLICATE, OLD_EPOCH = 45, 46, 47
NO_RIGHT = 29
_REQUESTS = {
    request.API_KEY: request
    for request in (ApiVersionsRequest, MetadataRequest, InitProducerIdRequest, ProduceRequest, DescribeConfigsRequest)
}


@dataclass(frozen=True)
class Answer:
    """What Produce is answered for one batch."""

    code: int
    named: tuple[int, ...] = ()
    """Indexes of the records that the answer names."""
    written: bool = False
    """The records are kept nevertheless, as where replicas were too slow to answer."""


Judge = Callable[[Sequence[bytes]], Answer | None]
"""It is given the values of a batch; ``None``: the batch is taken, if its producer's numbers are right."""


@dataclass
class _Producer:
    epoch: int
    next_sequence: int


@dataclass
class ScriptedBroker:
    """An asynchronous context manager; ``address`` is there within."""

    topic: str
    judge: Judge
    partitions: int = 2
    first_epoch: int = 0
    """Of every producer id that is given out."""
    config: Mapping[str, str] | None = field(default_factory=lambda: {"retention.ms": "-1"})
    """Of the topic; ``None``: the right to read it is missing."""
    producer_id_code: int = 0
    """The error that InitProducerId is answered; 0: it gets an id."""
    logs: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """By partition, the values that were taken."""
    advertised: int | None = None
    """The port that clients are reported, where it is not its own: of a proxy."""
    others: Mapping[int, int] = field(default_factory=dict)
    """Further brokers that clients are told of, by id and port; none of them leads a partition."""
    requests: Counter[str] = field(default_factory=Counter)
    """How many of each kind came."""

    def __post_init__(self) -> None:
        self._producers: dict[tuple[int, int], _Producer] = {}
        self._given = 1000
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.answering = asyncio.Event()
        """While it is not set, records are taken, and the answers to Produce held back."""
        self.answering.set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> ScriptedBroker:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._open):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        answers: asyncio.Queue[tuple[Any, bytes]] = asyncio.Queue()
        sending = asyncio.create_task(self._send(answers, writer))
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                payload = await reader.readexactly(size)
                key, version, correlation = struct.unpack(">hhi", payload[:8])
                request = _REQUESTS[key].decode(payload, version=version, header=True)
                self.requests[type(request).__name__] += 1
                answer = self._answer(request)
                answer.API_VERSION = version
                answer.with_header(correlation)
                answers.put_nowait((request, answer.encode(header=True, framed=True)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            sending.cancel()
            self._open.discard(writer)
            writer.close()

    async def _send(self, answers: asyncio.Queue[tuple[Any, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            request, answer = await answers.get()
            if isinstance(request, ProduceRequest):
                await self.answering.wait()
            writer.write(answer)
            await writer.drain()

    def _answer(self, request: Any) -> Any:
        if isinstance(request, ApiVersionsRequest):
            known = BrokerVersionData((4, 1)).api_versions
            kind = ApiVersionsResponse.ApiVersion
            keys = [kind(api_key=key, min_version=low, max_version=high) for key, (low, high) in known.items()]
            return ApiVersionsResponse(error_code=0, api_keys=keys)
        if isinstance(request, MetadataRequest):
            return self._metadata()
        if isinstance(request, DescribeConfigsRequest):
            return self._configs()
        if isinstance(request, InitProducerIdRequest):
            self._given += 1
            return InitProducerIdResponse(
                throttle_time_ms=0,
                error_code=self.producer_id_code,
                producer_id=self._given,
                producer_epoch=self.first_epoch,
            )
        return self._produced(request)

    def _metadata(self) -> Any:
        topic = MetadataResponse.MetadataResponseTopic
        partitions = [
            topic.MetadataResponsePartition(
                error_code=0,
                partition_index=number,
                leader_id=1,
                leader_epoch=0,
                replica_nodes=[1],
                isr_nodes=[1],
                offline_replicas=[],
            )
            for number in range(self.partitions)
        ]
        kind = MetadataResponse.MetadataResponseBroker
        ports = {1: self.advertised or self.port, **self.others}
        return MetadataResponse(
            throttle_time_ms=0,
            brokers=[kind(node_id=node, host="127.0.0.1", port=port, rack=None) for node, port in ports.items()],
            cluster_id="scripted",
            controller_id=1,
            topics=[topic(error_code=0, name=self.topic, is_internal=False, partitions=partitions)],
        )

    def _configs(self) -> Any:
        kind = DescribeConfigsResponse.DescribeConfigsResult
        value = kind.DescribeConfigsResourceResult
        values = [
            value(
                name=name, value=text, read_only=False, config_source=1, is_sensitive=False, synonyms=[], config_type=2
            )
            for name, text in (self.config or {}).items()
        ]
        code = NO_RIGHT if self.config is None else 0
        reported = kind(error_code=code, error_message=None, resource_type=2, resource_name=self.topic, configs=values)
        return DescribeConfigsResponse(throttle_time_ms=0, results=[reported])

    def _produced(self, request: Any) -> Any:
        kind = ProduceResponse.TopicProduceResponse
        topics = [
            kind(name=topic.name, partition_responses=[self._append(one) for one in topic.partition_data])
            for topic in request.topic_data
        ]
        return ProduceResponse(responses=topics, throttle_time_ms=0, node_endpoints=[])

    def _append(self, data: Any) -> Any:
        kind = ProduceResponse.TopicProduceResponse.PartitionProduceResponse
        (batch,) = list(MemoryRecords(bytes(data.records)))
        values = [bytes(record.value) for record in batch]
        log = self.logs[data.index]
        base = len(log)
        said = self.judge(values)
        code = 0 if said is None else said.code
        if said is None or said.written:
            wrong = self._number(batch, data.index, len(values))
            code = wrong or code
            if not wrong:
                log.extend(values)
        named = () if said is None else said.named
        return kind(
            index=data.index,
            error_code=code,
            base_offset=-1 if code else base,
            log_append_time_ms=-1,
            log_start_offset=0,
            record_errors=[
                kind.BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=f"record {index} is bad")
                for index in named
            ],
            error_message=None,
        )

    def _number(self, batch: Any, partition: int, count: int) -> int:
        """Check and remember the producer's numbers; return the code of what is wrong with them, or 0."""
        epoch, sequence = batch.producer_epoch, batch.base_sequence
        key = (batch.producer_id, partition)
        known = self._producers.get(key)
        if known is not None and epoch < known.epoch:
            return OLD_EPOCH
        if known is not None and epoch > known.epoch and sequence != 0:
            return OUT_OF_ORDER
        if known is not None and epoch == known.epoch and sequence != known.next_sequence:
            return DUPLICATE if sequence < known.next_sequence else OUT_OF_ORDER
        self._producers[key] = _Producer(epoch, sequence + count)
        return 0
