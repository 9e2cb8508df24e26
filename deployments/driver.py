"""The driver of ``sightline up``: ``serve run`` that stops the cameras before Serve ends anything.

``serve run`` ends on SIGINT by ``serve.shutdown()``, which ends the proxies first (Ray 2.60): cameras that still send
then lose the frames in flight. Here the camera manager is asked first to stop its cameras, which settles those frames.

    python -m deployments.driver run serve_config.yaml
"""

from __future__ import annotations

import asyncio
import os
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
SERVE_S = 3.0
"""What Serve and Ray may take beside that, before the system is ended all the same."""


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
    loop = asyncio.new_event_loop()
    # It runs until the process ends: Serve delivers to it what becomes of the manager's replica.
    threading.Thread(target=loop.run_forever, name="stop-cameras-loop", daemon=True).start()
    try:
        asyncio.run_coroutine_threadsafe(stop_cameras(), loop).result(PATIENCE_S + SERVE_S)
    except Exception as error:  # noqa: BLE001 - for whatever reason: the system ends all the same
        print(f"sightline: the cameras were not stopped first: {type(error).__name__}: {error}", file=sys.stderr)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)  # there it interrupts a sleep


def main() -> int:
    """Run Serve's command line until it ends, and end Ray, as at the interpreter's exit; return the exit status."""
    signal.signal(signal.SIGINT, _interrupted)
    try:
        cli()
    except SystemExit as end:
        status = end.code
    else:
        status = 0
    ray.shutdown()
    return status if isinstance(status, int) else int(status is not None)


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to do, and the interpreter would take a second or more, on a busy machine several, to take down
    # what Ray and Serve have loaded.
    os._exit(ended)
