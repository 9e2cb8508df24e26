"""One camera on a small machine, without Ray: the command ``sightline camera``.

The capture loop, the ledger and the connection are those of a camera in the cluster, and the service cannot tell them
apart. The delivery guarantee is the same: what the service answered ``OK`` is durable there, nothing is stored here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.cameras.accounts import CameraObserver
from app.cameras.camera import Camera
from app.cameras.epochs import OUTDATED_EPOCH, Epochs
from app.cameras.sending.client import DetectClient
from app.cameras.status import CameraStatus
from app.cameras.telemetry import CameraTelemetry
from app.core.clock import Clock
from app.settings.loading import load_settings
from app.settings.settings import Settings
from app.telemetry.prometheus_page import PageMeter

_log = logging.getLogger(__name__)

POLL_S = 0.5
"""Seconds between two readings of the camera's status."""
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Sent by Ctrl-C, by a service manager, by a terminal that is closed."""


@dataclass(frozen=True)
class Page:
    """Where the metrics page listens."""

    host: str
    port: int
    """0: any port that is free."""


def run(camera: Mapping[str, Any], page: Page, environment: Mapping[str, str]) -> CameraStatus:
    """Run a camera until a signal ends it, or its recording has ended; return its final status.

    Args:
        camera: the fields of :class:`~app.settings.cameras.CameraSettings`, as a user wrote them.
        page: where the metrics page listens meanwhile.
        environment: the variables of the process; the settings of the connection are read from them.

    Raises:
        SettingsError: a setting is wrong, or the page's address cannot be listened on.
    """
    settings = load_settings(environment, camera=camera)
    (desired,) = settings.cameras
    meter = PageMeter()
    with meter.served(page.host, page.port) as address:
        service = settings.inference_service_url
        _log.info(
            "camera %s: %s at %g fps to %s; metrics at %s", desired.id, desired.url, desired.fps, service, address
        )
        if settings.token is not None and not service.secure and not service.loopback:
            _log.warning("the token crosses the network unencrypted: grpcs:// encrypts it")
        epochs = Epochs(settings.state_dir / "epochs" / desired.id)
        return asyncio.run(_until_signalled(settings, CameraTelemetry(desired.id, meter), epochs))


async def _until_signalled(settings: Settings, observer: CameraObserver, epochs: Epochs) -> CameraStatus:
    stop = asyncio.Event()
    with _set_by_signals(stop):
        return await watch(settings, observer=observer, epochs=epochs, stop=stop)


async def watch(
    settings: Settings, *, observer: CameraObserver, epochs: Epochs, stop: asyncio.Event, clock: Clock | None = None
) -> CameraStatus:
    """Run the one camera of ``settings`` until ``stop`` is set, or its recording has ended; settle every frame.

    While the service is away the source stays open, frames are dropped and counted, and the connection is tried again,
    as by every camera (``app/cameras/sending/client.py``).

    Raises:
        SettingsError: a TLS file cannot be read.
    """
    (desired,) = settings.cameras
    client = DetectClient(settings.inference_service_url, tls=settings.tls, token=settings.token, wanted=desired.wanted)
    camera = Camera(
        desired,
        client=client,
        epoch=epochs.begin(),
        budget_ms=settings.latency_budget_ms,
        observer=observer,
        clock=clock,
    )
    running = asyncio.create_task(camera.run())
    others = [asyncio.create_task(work) for work in (stop.wait(), _log_blocks(camera), _keep_epoch(camera, epochs))]
    try:
        await asyncio.wait({running, *others}, return_when=asyncio.FIRST_COMPLETED)
        await camera.stop()
        await running
    finally:
        for task in others:
            task.cancel()
        await client.close()
    return camera.status()


async def _log_blocks(camera: Camera) -> None:
    """Log when the service begins to block the camera, and when it accepts its frames again."""
    logged = None
    while True:
        status = camera.status()
        trouble = status.blocked.trouble if status.blocked else None
        if trouble is not logged:
            _log.warning("camera %s is %s", status.id, f"blocked: {status.blocked}" if trouble else "no longer blocked")
            logged = trouble
        await asyncio.sleep(POLL_S)


async def _keep_epoch(camera: Camera, epochs: Epochs) -> None:
    """Take a higher epoch where the service has committed one above the camera's own before the camera began.

    Small machines often have no battery for their clock: after a loss of power it may start in the past; and the file
    of the last epoch may be lost, or the camera's last life have been on another machine.
    """
    while True:
        status = camera.status()
        committed = status.epoch_to_exceed
        if committed is not None and (epoch := epochs.exceed(committed)) is not None:
            _log.warning(OUTDATED_EPOCH, status.id, committed, epoch)
            camera.advance(epoch)
        await asyncio.sleep(POLL_S)


@contextlib.contextmanager
def _set_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Have the signals that end a process set ``stop``; a second one changes nothing: the end takes seconds at most."""
    loop = asyncio.get_running_loop()
    for number in END_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in END_SIGNALS:
            loop.remove_signal_handler(number)


def ledger_line(status: CameraStatus) -> str:
    """Return one line that says what became of every frame."""
    ledger = status.ledger
    reasons = ", ".join(f"{reason.value} {count}" for reason, count in ledger.dropped.items() if count)
    return (
        f"{status.id}: {ledger.sampled} sampled = {ledger.accepted} accepted + {ledger.dropped_total} dropped"
        f"{f' ({reasons})' if reasons else ''} + {ledger.unconfirmed} unconfirmed + {ledger.in_flight} in flight"
    )


def ledger_json(status: CameraStatus) -> str:
    """Return the same as JSON, for programs."""
    ledger = status.ledger
    dropped = {reason.value: count for reason, count in ledger.dropped.items()}
    counts = {name: getattr(ledger, name) for name in ("sampled", "accepted", "unconfirmed", "in_flight")}
    return json.dumps({"camera_id": status.id, "epoch": status.epoch, **counts, "dropped": dropped})


def log_to_stderr() -> None:
    """Log to stderr, in lines for a person or for a service manager's log; times are UTC."""
    lines = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    lines.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(lines)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("app").setLevel(logging.INFO)
