"""The driver of ``sightline up``: ``serve run`` that stops the cameras before Serve ends anything.

``serve run`` ends on SIGINT by ``serve.shutdown()``, which ends the proxies first (Ray 2.60): cameras that still send
then lose the frames in flight. Here the camera manager is asked first to stop its cameras, which settles those frames.

    python -m deployments.driver run serve_config.yaml
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from types import FrameType
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.scripts import cli

CAMERAS = "cameras"
"""Name of the cameras application in ``serve_config.yaml``."""
MANAGER = "CameraManager"
"""The deployment there that owns the cameras."""
PATIENCE_S = 6.0
"""How long the cameras may take to stop: each waits 2 s for answers and 3 s for its source at most."""


async def stop_cameras(patience_s: float = PATIENCE_S) -> None:
    """Stop the cameras of the running system, if there are any.

    Raises:
        Exception: the manager did not answer in time, or anything that Ray and Serve raise.
    """
    application = serve.status().applications.get(CAMERAS)
    manager = None if application is None else application.deployments.get(MANAGER)
    running = manager is not None and any(state == "RUNNING" for state in manager.replica_states)
    if running:
        # Awaited: with the tuned environment a handle works on the event loop of its caller alone. Made here: Serve
        # would keep one of its own, and try to end that on this loop once it is closed.
        handle: DeploymentHandle[Any] = DeploymentHandle(MANAGER, CAMERAS)
        try:
            await asyncio.wait_for(handle.stop_cameras.remote(), patience_s)
        finally:
            await handle.shutdown_async()  # type: ignore[no-untyped-call]


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not ray.is_initialized():
        raise KeyboardInterrupt
    # Not here: this may have interrupted a call of Ray's.
    threading.Thread(target=_stop_and_interrupt, name="stop-cameras", daemon=True).start()


def _stop_and_interrupt() -> None:
    loop = asyncio.new_event_loop()  # never closed: threads of Ray may still call back into it
    try:
        loop.run_until_complete(stop_cameras())
    except Exception as error:  # noqa: BLE001 - for whatever reason: the system ends all the same
        print(
            f"sightline: the cameras were not stopped first: {type(error).__name__}: {error}",
            file=sys.stderr,
            flush=True,
        )
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)  # there it interrupts a sleep


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupted)
    cli()
