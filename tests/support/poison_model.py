"""A model whose events no broker takes: the bundled one, with labels of hundreds of kilobytes."""

from __future__ import annotations

from pathlib import Path

import torch

from app.settings.paths import DEMO_MODEL

LABEL_BYTES = 300_000
"""Four of these in an event are over Kafka's usual limit of 1 MiB a record; the street shows five or six objects."""


def write_poison(path: Path) -> Path:
    """Write the bundled model with endless labels."""
    checkpoint = torch.load(DEMO_MODEL, map_location="cpu", weights_only=False)
    for part in ("model", "ema"):
        network = checkpoint.get(part)
        if network is not None:
            network.names = {number: f"{name}-{'x' * LABEL_BYTES}" for number, name in network.names.items()}
    torch.save(checkpoint, path)
    return path
