"""Waiting at the start until the inference service is deployed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger("ray.serve")

POLL_S = 0.25


async def wait_while_deploying(
    is_deploying: Callable[[], Awaitable[bool]], patience_s: float, poll_s: float = POLL_S
) -> None:
    """Wait while the inference service is being deployed: frames sent before would only be dropped.

    Args:
        is_deploying: asks for the service's state; an error of it is logged and asked again.
        patience_s: after so many seconds it returns all the same.
        poll_s: seconds between two questions.
    """
    failures = TroubleLog(logger, "the state of the inference application cannot be read", unit="tries")
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            if not await is_deploying():
                return
        except Exception as error:  # noqa: BLE001 - the controller may be away for a while
            failures.report(type(error).__name__)
        await asyncio.sleep(poll_s)
