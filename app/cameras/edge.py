"""One camera on a small machine, without Ray: what ``sightline camera`` does.

The capture loop, its ledger and its connection are those of a camera in the cluster; to the service it is one like any
other. It delivers as they do: what the service answered ``OK`` is durable there, nothing is kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from app.cameras import Camera, CameraObserver, CameraStatus, DetectClient
from app.cameras.telemetry import CameraTelemetry
from app.core.files import replace_file
from app.settings.loading import load_settings
from app.settings.settings import Settings
from app.telemetry.prometheus_page import PageMeter

_log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often the camera's state is looked at, for the line that tells of a change."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager's wish, a closed terminal."""


@dataclass(frozen=True)
class Page:
    """Where the metrics are shown."""

    host: str
    port: int
    """0: any that is free."""


def run(camera: Mapping[str, Any], page: Page, environment: Mapping[str, str]) -> CameraStatus:
    """Watch a camera until a signal ends it, or its recording is over; give the last word of its ledger.

    Args:
        camera: the fields of :class:`~app.settings.cameras.CameraSettings`, as a user wrote them.
        page: where the metrics are shown meanwhile.
        environment: the variables of the process; the settings of the connection are read from them.

    Raises:
        SettingsError: a setting is wrong, or the page's address cannot be listened on.
    """
    settings = load_settings(environment, camera=camera)
    (wanted,) = settings.cameras
    meter = PageMeter()
    with meter.served(page.host, page.port) as address:
        service = settings.inference_service_url
        _log.info("camera %s: %s at %g fps to %s; metrics at %s", wanted.id, wanted.url, wanted.fps, service, address)
        if settings.token is not None and not service.secure and not service.loopback:
            _log.warning("the token crosses the network unencrypted: grpcs:// encrypts it")
        epoch = next_epoch(user_state_path("sightline") / "epochs" / wanted.id)
        return asyncio.run(_until_signalled(settings, CameraTelemetry(wanted.id, meter), epoch))


async def _until_signalled(settings: Settings, observer: CameraObserver, epoch: int) -> CameraStatus:
    stop = asyncio.Event()
    with _ended_by_signals(stop):
        return await watch(settings, observer=observer, epoch=epoch, stop=stop)


async def watch(settings: Settings, *, observer: CameraObserver, epoch: int, stop: asyncio.Event) -> CameraStatus:
    """Watch the one camera of ``settings`` until ``stop`` is set, or its recording has ended; settle every frame.

    While the service is away the source stays open, frames are dropped and counted, and the connection is tried again,
    as by every camera (``app/cameras/sending/client.py``).

    Raises:
        SettingsError: a TLS file cannot be read.
    """
    (wanted,) = settings.cameras
    client = DetectClient(settings.inference_service_url, tls=settings.tls, token=settings.token)
    camera = Camera(wanted, client=client, epoch=epoch, budget_ms=settings.latency_budget_ms, observer=observer)
    watching = asyncio.create_task(camera.run())
    beside = [asyncio.create_task(work) for work in (stop.wait(), _tell_blocks(camera))]
    try:
        await asyncio.wait({watching, *beside}, return_when=asyncio.FIRST_COMPLETED)
        await camera.stop()
        await watching
    finally:
        for task in beside:
            task.cancel()
        await client.close()
    return camera.status()


async def _tell_blocks(camera: Camera) -> None:
    """Say when the service begins to take none of the camera's frames, and when it takes them again."""
    told = None
    while True:
        status = camera.status()
        trouble = status.blocked.trouble if status.blocked else None
        if trouble is not told:
            _log.warning("camera %s is %s", status.id, f"blocked: {status.blocked}" if trouble else "no longer blocked")
            told = trouble
        await asyncio.sleep(LOOK_S)


@contextlib.contextmanager
def _ended_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Let the signals that end a process set ``stop``; a second one changes nothing: the end takes seconds at most."""
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)


def next_epoch(file: Path, wall_ns: Callable[[], int] = time.time_ns) -> int:
    """Give the epoch of a camera's new life: the time in milliseconds, and above the last one, which ``file`` keeps.

    Small machines often have no battery for their clock: after a loss of power it may start in the past, and the
    service would refuse the whole life of the camera as older than the one before.
    """
    try:
        last = int(file.read_text())
    except (OSError, ValueError):
        last = 0
    epoch = max(last + 1, wall_ns() // 1_000_000)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, f"{epoch}\n")
    except OSError as error:
        _log.warning("the epoch cannot be kept at %s (%s): the clock must not be set back", file, error.strerror)
    return epoch


def ledger_line(status: CameraStatus) -> str:
    """Tell in one line what became of every frame."""
    ledger = status.ledger
    reasons = ", ".join(f"{reason.value} {count}" for reason, count in ledger.dropped.items() if count)
    return (
        f"{status.id}: {ledger.sampled} sampled = {ledger.accepted} accepted + {ledger.dropped_total} dropped"
        f"{f' ({reasons})' if reasons else ''} + {ledger.unconfirmed} unconfirmed + {ledger.in_flight} in flight"
    )


def ledger_json(status: CameraStatus) -> str:
    """Tell the same for programs."""
    ledger = status.ledger
    dropped = {reason.value: count for reason, count in ledger.dropped.items()}
    counts = {name: getattr(ledger, name) for name in ("sampled", "accepted", "unconfirmed", "in_flight")}
    return json.dumps({"camera_id": status.id, "epoch": status.epoch, **counts, "dropped": dropped})


def log_to_stderr() -> None:
    """Let what cameras say of themselves be lines for a person, or for a service manager's log; times are UTC."""
    lines = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    lines.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(lines)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("app").setLevel(logging.INFO)
