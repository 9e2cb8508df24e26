"""MachineShare: how much of the machine a system could have had while others used it as well."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.system import System

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE, _WAITING = 3, 4
"""Fields of the line ``cpu`` of ``/proc/stat`` (proc_stat(5)); others hold those of guests, too."""


class MachineShare:
    """Measures from when it is made: 1 where nothing else ran, 0.25 where others took three quarters of all cores."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._busy_s, self._whole_s = _machine()
        self._own_s = self._own()

    def now(self) -> float:
        """Return the part of all cores' time that others left."""
        busy_s, whole_s = _machine()
        others_s = busy_s - self._busy_s - (self._own() - self._own_s)
        return 1.0 - max(0.0, others_s) / (whole_s - self._whole_s)

    def _own(self) -> float:
        return self._system.cpu_s() + time.process_time()


def _machine() -> tuple[float, float]:
    """Return the seconds that all cores were busy, and all seconds of theirs."""
    fields = [int(field) / _TICKS for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[_IDLE] - fields[_WAITING], sum(fields)
