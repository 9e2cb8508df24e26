"""The screens of ``sightline status`` and ``sightline cameras list``, for a person."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.cameras import CameraState
from app.web.channels import ChannelModel
from app.web.evidence_fields import EvidenceModel
from app.web.figures import LatencyModel, QuantilesModel
from app.web.schemas import BrokerModel, CameraModel, StatusModel
from app.web.write_routes import RemovedModel

_SIGNS = {
    CameraState.LIVE: ("●", "green"),
    CameraState.STARTING: ("◔", "yellow"),
    CameraState.STALLED: ("▲", "red"),
    CameraState.RECONNECTING: ("▲", "red"),
    CameraState.OFFLINE: ("✖", "red"),
    CameraState.ENDED: ("■", "blue"),
}


def screen(status: StatusModel, now: datetime | None = None) -> RenderableType:
    """Return the whole system as one screen."""
    now = now or datetime.now(UTC)
    return Group(
        _headline(status),
        Text(),
        cameras_table(status.cameras, status.budget_ms, now),
        Text(),
        _stages(status),
        Text(),
        *_system(status),
    )


def cameras_table(cameras: tuple[CameraModel, ...], budget_ms: float, now: datetime) -> Table:
    """Return a table with one line per camera; with decoders where any camera is to have another than the CPU."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("camera", "state", "for"):
        table.add_column(name, overflow="fold")
    for name in ("asked", "delivered", "p50 ms", "p95 ms", "dropped"):
        table.add_column(name, justify="right")
    chosen = any(camera.settings.decode != "cpu" for camera in cameras)
    if chosen:
        table.add_column("decoder")
    table.add_column("what is wrong", overflow="fold", ratio=1)
    for camera in cameras:
        *cells, trouble = _row(camera, budget_ms, now)
        table.add_row(*cells, *([Text(camera.decoder or "-")] if chosen else []), trouble)
    return table


def _row(camera: CameraModel, budget_ms: float, now: datetime) -> list[Text]:
    sign, colour = _SIGNS[camera.state]
    total = camera.latency.total
    dropped = sum(camera.ledger.dropped.values()) if camera.ledger else 0
    return [
        Text(camera.id),
        Text(f"{sign} {camera.state}", style=colour),
        Text(_age((now - camera.since).total_seconds())),
        Text(f"{camera.fps_asked:g}/s"),
        Text(f"{camera.fps_delivered:.1f}/s"),
        Text(f"{total.p50:.0f}" if total else "-"),
        Text(f"{total.p95:.0f}" if total else "-", style="red" if total and total.p95 > budget_ms else ""),
        Text(str(dropped)),
        Text(camera.trouble or "-", style="red" if camera.trouble else ""),
    ]


def _headline(status: StatusModel) -> Text:
    live = sum(camera.state is CameraState.LIVE for camera in status.cameras)
    troubled = [camera.id for camera in status.cameras if camera.trouble]
    text = Text(f"{live} of {len(status.cameras)} cameras live", style="bold")
    text.append(f"; look at {', '.join(troubled)}" if troubled else "; nothing is wrong with them")
    if status.broker.trouble:
        text.append(f"; events do not reach Kafka: {status.broker.trouble}", style="red")
    for channel in status.channels:
        if channel.trouble:
            text.append(f"; {channel.channel} do not reach Kafka: {channel.trouble}", style="red")
    if status.publisher and status.publisher.quarantine_trouble:
        text.append(f"; {status.publisher.quarantine_trouble}", style="red")
    if status.evidence and status.evidence.trouble:
        text.append(f"; {status.evidence.trouble}", style="red")
    return text


def _stages(status: StatusModel) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("latency, ms")
    names = list(status.latency.stages)
    for name in (*names, "total", "to Kafka"):
        table.add_column(name, justify="right")
    for quantile in ("p50", "p95", "p99"):
        table.add_row(quantile, *_quantile(status.latency, status.capture_to_kafka_ms, names, quantile))
    return table


def _quantile(latency: LatencyModel, kafka: QuantilesModel | None, names: list[str], quantile: str) -> list[str]:
    spreads = [*(latency.stages[name] for name in names), latency.total, kafka]
    return ["-" if spread is None else f"{getattr(spread, quantile):.0f}" for spread in spreads]


def _system(status: StatusModel) -> list[Text]:
    replicas = ", ".join(
        f"{one.name} {one.running}{f' (+{one.starting} starting)' if one.starting else ''} {one.state}"
        for one in status.deployments
    )
    queue, spool = status.queue, status.spool
    waiting = f"{queue.frames_waiting} frames wait, {queue.batches_running} batches run" if queue else "unknown"
    spooled = f"{spool.events} events, {spool.bytes} bytes, the oldest {spool.oldest_s:.0f} s" if spool else "unknown"
    lines = {
        "budget": f"{status.budget_ms:g} ms from capture to Kafka",
        "replicas": replicas or "unknown: the controller does not answer",
        "queue": waiting,
        "spool": spooled,
        "broker": _broker(status.broker),
    }
    if status.cameras_trouble:
        lines["cameras"] = f"the current configuration is not in force: {status.cameras_trouble}"
    if status.rules_trouble:
        lines["rules"] = f"the current ones are not in force: {status.rules_trouble}"
    if status.publisher:
        counts = status.publisher
        lines["ledger"] = (
            f"{counts.accepted} accepted = {counts.published} published + {spool.events if spool else 0} spooled + "
            f"{counts.quarantined} quarantined + {counts.discarded} discarded; {counts.breaches} over the budget"
        )
        if counts.away:
            lines["ledger"] += f"; WITHOUT publisher {', '.join(map(str, counts.away))}, which does not answer"
    lines |= {channel.channel: _channel(channel) for channel in status.channels}
    if status.evidence and (status.evidence.asked or status.evidence.trouble):
        lines["evidence"] = _evidence(status.evidence)
    return [Text(f"{name:<9} {text}") for name, text in lines.items()]


def _channel(channel: ChannelModel) -> str:
    trouble = f"; TROUBLE: {channel.trouble}" if channel.trouble else ""
    return (
        f"{channel.accepted} accepted = {channel.published} published + {channel.waiting} waiting + "
        f"{channel.quarantined} quarantined + {channel.discarded} discarded; topic {channel.topic}{trouble}"
    )


def _evidence(evidence: EvidenceModel) -> str:
    lost = ", ".join(f"{count} {reason}" for reason, count in evidence.lost.items() if count)
    waits = f"; {evidence.bytes} bytes here, the oldest {evidence.oldest_s:.0f} s" if evidence.spooled else ""
    told = f"; TROUBLE: {evidence.trouble}" if evidence.trouble else ""
    return (
        f"{evidence.asked} asked = {evidence.stored} stored + {evidence.spooled} spooled + "
        f"{evidence.expired} expired + {evidence.refused} refused{f' ({lost})' if lost else ''}{waits}{told}"
    )


def _broker(broker: BrokerModel) -> str:
    if not broker.enabled:
        return "off: nothing is published"
    brokers = (
        "the embedded one, for demonstration: events in memory only" if broker.embedded else ", ".join(broker.servers)
    )
    trouble = f"; TROUBLE: {broker.trouble}" if broker.trouble else f"; but {broker.warning}" if broker.warning else ""
    return f"{brokers}; topic {broker.topic}{trouble}"


def removed_line(removed: RemovedModel) -> str:
    """Return in one line that a camera was removed, and what became of its frames."""
    ledger = removed.ledger
    if ledger is None:
        return f"{removed.id} is removed; its process no longer answered, so what became of its last frames is unknown"
    dropped = ", ".join(f"{count} {reason}" for reason, count in ledger.dropped.items() if count)
    return (
        f"{removed.id} is removed: {ledger.sampled} sampled = {ledger.accepted} accepted + "
        f"{sum(ledger.dropped.values())} dropped{f' ({dropped})' if dropped else ''} + {ledger.unconfirmed} unconfirmed"
    )


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
