"""AddressWatch: whether each address answers, bootstrap or advertised, while events reach Kafka by another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from app.publisher.kafka.diagnosis import diagnose
from app.settings.connections import KafkaSettings
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

PERIOD_S = 60.0
"""Between two checks: a broker whose events cannot be written is reported by the sink within seconds."""


class AddressWatch:
    """Asks every address now and then; used from one event loop."""

    def __init__(self, settings: KafkaSettings, period_s: float = PERIOD_S) -> None:
        """Prepare; nothing is asked yet."""
        self._settings = settings
        self._period_s = period_s
        self._task: asyncio.Task[None] | None = None
        self._log = TroubleLog(logger, "an address of Kafka fails", unit="checks")
        self.warning = ""
        """One sentence for each address that fails; empty where none does."""

    def start(self, bootstrap: Sequence[str]) -> None:
        """Watch these addresses from now on, and those that their brokers advertise; not the embedded broker's."""
        self.stop()
        if not self._settings.embedded:
            self._task = asyncio.get_running_loop().create_task(self._watch(bootstrap))

    def stop(self) -> None:
        """Watch no more; a check under way ends by itself."""
        self.warning = ""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self, bootstrap: Sequence[str]) -> None:
        while True:
            self.warning = await asyncio.to_thread(diagnose, self._settings, bootstrap)
            if self.warning:
                self._log.report(self.warning)
            else:
                self._log.resolve("all addresses of Kafka answer again")
            await asyncio.sleep(self._period_s)
