"""Stage: where a frame's time goes, from its capture to the broker's acknowledgement."""

from __future__ import annotations

import enum


class Stage(enum.StrEnum):
    """The stages of a frame, in their order."""

    ENCODE = "encode"
    """Shrinking and encoding at the camera."""
    TRANSPORT = "transport"
    """From the camera to the inference service."""
    QUEUE = "queue"
    """Waiting for a detector."""
    DECODE = "decode"
    """Decoding the image, in the detector."""
    INFERENCE = "inference"
    """The model."""
    COMMIT = "commit"
    """From the model's answer until the event is durable; only the camera measures it, as the rest of its total."""
    SPOOL = "spool"
    """Waiting in the spool to be sent to Kafka."""
    PUBLISH = "publish"
    """From sending until the broker's acknowledgement."""

    def __str__(self) -> str:
        return self.value


EVENT_STAGES: tuple[str, ...] = tuple(
    stage.value for stage in (Stage.ENCODE, Stage.TRANSPORT, Stage.QUEUE, Stage.DECODE, Stage.INFERENCE)
)
"""Names of the stages that an event reports: those that lie behind it when it is built."""
ANSWER_STAGES: tuple[str, ...] = (*EVENT_STAGES, Stage.COMMIT.value)
"""Names of the stages from a frame's capture to the service's answer."""
