"""Keeps Ultralytics from installing packages, unpickling code, calling home and writing to the terminal."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from app.errors import SettingsError
from app.settings.homes import user_cache

_FORCED = {
    # weights_only=True with an allow-list of known layers: a checkpoint cannot run code (needs torch 2.6).
    "ULTRALYTICS_SAFE_LOAD": "true",
    "YOLO_AUTOINSTALL": "false",
    # No analytics, no error reports, no version check, and no DNS query on import; a download still works.
    "YOLO_OFFLINE": "true",
}


def guard_ultralytics() -> None:
    """Set, for this process and its children, what Ultralytics reads when it is imported."""
    os.environ.update(_FORCED)
    # OpenVINO reports its mere import to Google Analytics where this package, which it installs, can be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    os.environ.setdefault("YOLO_VERBOSE", "false")
    # Ultralytics writes a settings file on import: into Sightline's folder, not into the user's own.
    if "YOLO_CONFIG_DIR" not in os.environ:
        os.environ["YOLO_CONFIG_DIR"] = str(_config_folder())


def _config_folder() -> Path:
    try:
        folder = user_cache() / "ultralytics"
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError
    except (SettingsError, OSError):  # no home, or one that cannot be written: a folder of this process, gone with it
        folder = Path(tempfile.mkdtemp(prefix="sightline-ultralytics-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def import_ultralytics() -> Any:
    """Import Ultralytics with the guard in force, also where something else had imported it before."""
    # torch first: Ultralytics sets OMP_NUM_THREADS=1 on import, which would hold torch to one thread.
    given = os.environ.get("OMP_NUM_THREADS")
    import torch  # noqa: F401
    import torchvision  # noqa: F401  # its presence decides which NMS Ultralytics uses

    guard_ultralytics()
    import ultralytics
    import ultralytics.nn.tasks as tasks
    import ultralytics.utils as utils
    import ultralytics.utils.checks as checks

    if given is None:
        os.environ.pop("OMP_NUM_THREADS", None)
    utils.SAFE_LOAD = tasks.SAFE_LOAD = True
    utils.AUTOINSTALL = checks.AUTOINSTALL = False
    utils.ONLINE = checks.ONLINE = False
    dict.__setitem__(utils.SETTINGS, "sync", False)  # in memory only: __setitem__ of the class writes the file
    return ultralytics


def limit_opencv(pixels: int) -> None:
    """Bound what OpenCV decodes, should it ever read another size in an image than ``probe`` did."""
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(pixels)


def loads_safely() -> bool:
    """Return whether checkpoints are loaded without running code: older versions ignore the variable silently."""
    import ultralytics.nn.tasks as tasks

    return bool(getattr(getattr(tasks, "_SafeLoad", None), "SUPPORTED", False))
