"""CamerasGiven: where the configured cameras are written, to be read when the system starts and again as it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.camera_settings import ConfiguredCameras, parse_camera_list, parse_cameras, parse_cameras_file
from app.errors import SettingsError


@dataclass(frozen=True)
class CamerasGiven:
    """One of a cameras file, the text ``id=url,id=url``, or a list as such a file holds it."""

    file: Path | None = None
    """Absolute."""
    listed: str = field(default="", repr=False)
    """It may hold passwords."""
    entries: tuple[Any, ...] | None = field(default=None, repr=False)

    def text(self) -> str:
        """Give what is to be read; of a file its content.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.file is None:
            return self.listed
        try:
            return self.file.read_text()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"cameras file {str(self.file)!r} cannot be read") from None

    def parse(self, text: str, environment: Mapping[str, str]) -> ConfiguredCameras:
        """Read the cameras from :meth:`text`.

        Raises:
            SettingsError: an entry is wrong; one line, without secrets.
        """
        if self.entries is not None:
            return parse_cameras(self.entries, environment)
        if self.file is not None:
            return parse_cameras_file(text, self.file, environment)
        return parse_camera_list(text)

    def read(self, environment: Mapping[str, str]) -> ConfiguredCameras:
        """Read the cameras as they are written now; raises as the two above."""
        return self.parse(self.text(), environment)
