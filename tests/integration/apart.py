"""A Ray of a program's own, apart from others on the machine."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Keep what Ray writes to itself, and its address above all: killed, a cluster would leave it behind for others.

    Without it every ``ray.init()`` of this machine would join that cluster. Before Ray is imported.
    """
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        os.environ.update({"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"})
        yield
