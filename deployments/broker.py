"""BrokerActor: the embedded broker's owner, an actor that Serve keeps alive beside the ingress."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import ray

from app.publisher.kafka.embedded_broker import EmbeddedBroker, announcement_file
from deployments.actor_logs import log_beside_serve
from deployments.actors import BROKER

logger = logging.getLogger("ray.serve")

BROKER_WATCH_S = 0.5
"""How often the embedded broker is checked."""


@ray.remote
class BrokerActor:
    """The embedded broker's owner: its process ends with this actor, however that ends."""

    def __init__(self, topic: str, state_dir: str) -> None:
        """Start the broker; ``state_dir`` is ``SIGHTLINE_STATE_DIR``.

        Raises:
            BrokerUnavailable: it did not come up.
        """
        log_beside_serve(BROKER)
        self._broker = EmbeddedBroker(announcement=announcement_file(Path(state_dir))).start()
        threading.Thread(target=self._exit_with_broker, name="broker-watch", daemon=True).start()
        print(
            f"sightline: KAFKA_BOOTSTRAP_SERVERS is not set: an embedded broker on {self._broker.address} keeps the "
            f"events of topic {topic} in memory only. Follow them with: sightline events",
            flush=True,
        )

    def address(self) -> str:
        """Return ``host:port``."""
        return self._broker.address

    def _exit_with_broker(self) -> None:
        """Exit when the broker has died: without that Serve would take this actor for healthy for ever."""
        while self._broker.alive:
            time.sleep(BROKER_WATCH_S)
        logger.error("the embedded broker died, and its events with it; another is started")
        os._exit(1)
