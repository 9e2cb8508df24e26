"""InvalidValue: the first thing that pydantic refused, as one line for the user who wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class ValidationFailure(Protocol):
    """Pydantic's ``ValidationError``, or FastAPI's ``RequestValidationError``."""

    def errors(self) -> Sequence[Any]:
        """Return what was refused, each a mapping with ``loc``, ``type`` and ``msg``."""


@dataclass(frozen=True)
class InvalidValue:
    """Where a value was refused, and why.

    >>> InvalidValue(("fps",), "greater_than", "input should be greater than 0").line("--fps", "-1")
    '--fps: -1: input should be greater than 0'
    """

    location: tuple[str, ...]
    """Keys and indexes from the outermost model to the value; empty: the whole input."""
    kind: str
    """Pydantic's name of the error, such as ``extra_forbidden``."""
    message: str
    """What is allowed; it begins in lower case and does not hold the value."""

    @classmethod
    def first_of(cls, failure: ValidationFailure) -> InvalidValue:
        """Return the first of the errors."""
        first = failure.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        return cls(tuple(str(part) for part in first["loc"]), str(first["type"]), message[:1].lower() + message[1:])

    @property
    def key(self) -> str:
        """The location, dotted."""
        return ".".join(self.location)

    def line(self, key: str, shown: str = "") -> str:
        """Return ``key: value: what is allowed``.

        Args:
            key: what the user calls the value.
            shown: the value as the user may see it; empty: it is left out, for instance because it is a secret.
        """
        return ": ".join(part for part in (key, shown, self.message) if part)
