"""StreetSpec: the simulated street that a ``synthetic://street?…`` address selects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import parse_qsl, urlsplit

from app.errors import SettingsError
from app.simulation.script import ScriptedEvent, parse_script

MOTIONS = ("stop", "turn", "cross", "enter", "bus")
"""What ``motion`` may name.

``stop``: some stop on their way and go on. ``turn``: some turn back. ``cross``: some pedestrians cross the roadway, and
the ways of others. ``enter``: some pedestrians come out of a door or go in, in the middle of the picture. ``bus``:
one road user is always a bus on the near lane, which waits in the picture and hides who passes behind it.
"""

_LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "fps": (0.1, 240),
    "width": (160, 3840),
    "height": (120, 2160),
    "objects": (0, 40),
}


@dataclass(frozen=True)
class StreetSpec:
    """The parameters of a street; equal parameters draw equal frames.

    Raises:
        SettingsError: a value is out of range; the text names the key, the value and what is allowed.
    """

    seed: int = 7
    fps: float = 25.0
    """Frames per second of simulated time."""
    width: int = 1280
    """Pixels."""
    height: int = 720
    """Pixels."""
    objects: int = 6
    """Number of road users that are in the scene at once, approximately."""
    motion: tuple[str, ...] = ()
    """How road users move, of ``MOTIONS``; none: each crosses the street at one speed."""
    script: tuple[ScriptedEvent, ...] = ()
    """What happens besides, and when; the other road users are the same with and without it."""

    def __post_init__(self) -> None:
        for key, (low, high) in _LIMITS.items():
            value = getattr(self, key)
            if not low <= value <= high:
                raise SettingsError(f"synthetic://street: {key}={value!r}; allowed is {low:g} to {high:g}")
        for name in self.motion:
            if name not in MOTIONS:
                raise SettingsError(
                    f"synthetic://street: motion={name!r} is not known; allowed are {'+'.join(MOTIONS)}"
                )

    @classmethod
    def parse(cls, url: str) -> StreetSpec:
        """Parse a ``synthetic://street?seed=7&fps=25&…`` address; ``loop`` is ignored.

        Raises:
            SettingsError: the scene or a key is unknown, or a value is malformed or out of range.
        """
        parts = urlsplit(url)
        if parts.scheme != "synthetic" or parts.netloc != "street" or parts.path not in ("", "/"):
            raise SettingsError(f"{url!r} is no scene of the simulator; allowed is synthetic://street?…")
        lists = ("motion", "script")
        kinds = {field.name: float if field.name == "fps" else int for field in fields(cls) if field.name not in lists}
        values: dict[str, float] = {}
        motion: tuple[str, ...] = ()
        script: tuple[ScriptedEvent, ...] = ()
        for key, text in parse_qsl(parts.query, keep_blank_values=True):
            if key == "loop":
                continue
            if key == "motion":
                motion = tuple(text.split())  # a plus sign in a query is a space
                continue
            if key == "script":
                script = parse_script(text)
                continue
            if key not in kinds:
                allowed = ", ".join((*kinds, *lists))
                raise SettingsError(f"synthetic://street: {key!r} is not known; allowed are {allowed}")
            try:
                values[key] = kinds[key](text)
            except ValueError:
                expected = "a number" if key == "fps" else "a whole number"
                raise SettingsError(f"synthetic://street: {key}={text!r} is not {expected}") from None
        return cls(**values, motion=motion, script=script)  # type: ignore[arg-type]
