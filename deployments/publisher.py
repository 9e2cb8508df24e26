"""KafkaPublisher and BrokerActor: the two actors that Serve keeps alive beside the ingress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import ray

from app.errors import SightlineError
from app.events import (
    BrokerAnnouncement,
    EmbeddedBroker,
    EventPublisher,
    KafkaSink,
    PublisherSnapshot,
    Receipt,
    Submission,
)
from app.settings import KafkaSettings
from app.telemetry import PublisherTelemetry
