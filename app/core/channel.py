"""Channel: one of the streams that Sightline publishes, whatever its topic is called (``proto/asyncapi.yaml``)."""

from __future__ import annotations

from typing import Literal, get_args

DETECTIONS: Literal["detections"] = "detections"
"""The events: one a frame."""
Channel = Literal["anomalies", "objects"]
"""What is published beside them: the transitions of incidents, the lives of objects."""
CHANNELS: tuple[Channel, ...] = get_args(Channel)
