"""``sightline init``: writes the configuration files of a system of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import out
from app.core.read_failure import read_failure
from app.errors import SettingsError
from app.settings.paths import BUNDLED

FILES = {
    "serve_config.yaml": "serve_config.yaml",
    "sightline.yaml": "configs/sightline.yaml",
    "cameras.yaml": "configs/cameras.yaml",
    "rules.yaml": "configs/rules.yaml",
}
"""Name of a written file → the file that comes with Sightline, whose text it has."""


def init(
    folder: Annotated[Path, typer.Argument(help="Where they are written; made where it is missing.")] = Path(),
) -> None:
    """Write serve_config.yaml, sightline.yaml, cameras.yaml and rules.yaml, commented; never over an existing file."""
    texts = {folder / name: _text(source) for name, source in FILES.items()}
    there = [str(path) for path in texts if path.exists() or path.is_symlink()]
    if there:
        raise SettingsError(
            f"{' and '.join(there)} {'exists' if len(there) == 1 else 'exist'} already; nothing was written"
        )
    for path, text in texts.items():
        _write(path, text)
    out.print(f"written: {', '.join(map(str, texts))}", markup=False)
    out.print(
        "name your cameras in cameras.yaml and your rules in rules.yaml, then start 'sightline up' in that folder",
        markup=False,
    )


def _text(source: str) -> str:
    """Return a file's text with the paths that hold where they lie in one folder."""
    text = (BUNDLED / source).read_text()
    for name, path in FILES.items():
        text = text.replace(path, name)
    return text


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:  # fails where the file exists: it may have been made since
            file.write(text)
    except OSError as error:
        raise SettingsError(f"{str(path)!r} cannot be written: {read_failure(error)}") from None
