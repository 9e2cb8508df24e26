"""Model files: a file, an exported folder, or a hub name that Ultralytics can download."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from app.core.one_line import one_line
from app.detection.ultralytics_guard import import_ultralytics
from app.errors import ModelUnavailable, SettingsError
from app.settings.homes import user_cache

_RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
_CONNECT_S = 5.0
_DOWNLOAD_S = 300.0
_RENAMED = ("yolov3", "yolov5")  # no other names are changed, nor is torch loaded for them here
_REMEDY = "give a file in DETECTOR_MODEL"


def find_model(model: str, cache: Path | None = None, fetch: Callable[[str, Path], None] | None = None) -> Path:
    """Return the file or folder that ``model`` names; a hub name that is not here yet is downloaded.

    Args:
        model: a path, or a hub name with or without ``.pt``.
        cache: the folder of downloaded models; ``None``: that of this user.
        fetch: downloads the named model to a path; ``None``: from Ultralytics' releases, in bounded time.

    Raises:
        SettingsError: it names neither a file nor a model that can be downloaded, or there is no home to keep one in.
        ModelUnavailable: it could not be downloaded.
    """
    if "://" in model:
        raise SettingsError(f"the model {model.split('://')[0]}://… is an address; download it and {_REMEDY}")
    try:
        path = Path(model).expanduser()
    except RuntimeError:
        raise SettingsError(f"the model {model!r}: there is no such home directory; {_REMEDY}") from None
    if path.exists():
        _check_name(path)
        return path
    name = _hub_name(path)
    if name is None:
        where = "here" if path.is_absolute() else f"in {Path.cwd()}"
        raise SettingsError(f"the model {model!r} is no file {where} and no name that Ultralytics offers; {_REMEDY}")
    kept = (cache or user_cache() / "models") / name
    if not kept.exists():
        _download(name, kept, fetch or _fetch)
    return kept


def check_pin(path: Path, sha256: str | None) -> None:
    """Check that a model's file is the one that was pinned.

    Raises:
        SettingsError: it is another file, or a folder, which cannot be pinned.
    """
    if sha256 is None:
        return
    if not path.is_file():
        raise SettingsError(f"detector.model_sha256: the model {path.name!r} is a folder; allowed is a pin for a file")
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    if found.hexdigest() != sha256.lower():
        raise SettingsError(
            f"detector.model_sha256: {sha256!r} is not that of the model {path.name!r}, which is {found.hexdigest()}; "
            "it is not loaded"
        )


def _check_name(path: Path) -> None:
    """Refuse a name that Ultralytics would replace by another, and search for that."""
    if path.suffix.lower() != ".pt":
        return
    cleaned = str(path).strip().replace("'", "")
    if any(name in cleaned for name in _RENAMED):
        import_ultralytics()
        from ultralytics.utils.checks import check_yolov5u_filename

        cleaned = check_yolov5u_filename(cleaned)
    if cleaned != str(path):
        raise SettingsError(f"the model {str(path)!r} has a name that Ultralytics changes; rename the file")


def _hub_name(path: Path) -> str | None:
    if path.name != str(path):
        return None
    import_ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    for name in (path.name, f"{path.name}.pt"):
        if name in GITHUB_ASSETS_NAMES:
            return name
    return None


def _download(name: str, target: Path, fetch: Callable[[str, Path], None]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(name, target)
    except Exception as error:  # noqa: BLE001  # whatever stops a download, the remedy is the same
        reason = one_line(error, 200)
        raise ModelUnavailable(
            f"the model {name!r} is not on this machine and could not be downloaded: {reason}; {_REMEDY}"
        ) from None


def _fetch(name: str, target: Path) -> None:
    """Download from Ultralytics' releases by its own function; give up after five minutes."""
    import requests

    url = f"{_RELEASE}/{name}"
    try:
        requests.head(url, timeout=_CONNECT_S, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        raise ConnectionError(f"github.com cannot be reached ({type(error).__name__})") from None
    failures: list[Exception] = []
    worker = threading.Thread(target=_safe_download, args=(url, target, failures), daemon=True, name="model-download")
    worker.start()
    worker.join(_DOWNLOAD_S)
    if worker.is_alive():
        raise TimeoutError(f"it took more than {_DOWNLOAD_S:.0f} s")
    if failures:
        raise failures[0]


def _safe_download(url: str, target: Path, failures: list[Exception]) -> None:
    from ultralytics.utils.downloads import safe_download

    try:
        with contextlib.redirect_stdout(None):
            safe_download(url, file=target.name, dir=target.parent, retry=0, min_bytes=1e5, progress=False)
    except Exception as error:  # noqa: BLE001  # handed to the thread that waits
        failures.append(error)
