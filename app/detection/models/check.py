"""Model check: whether a model can be used here, before anything is started that needs it."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from app.detection.options import DetectorOptions
from app.errors import ModelUnavailable


def check_model(options: DetectorOptions) -> None:
    """Load a model in a process of its own, whose memory, of the GPU's too, is free again afterwards.

    Raises:
        SettingsError: an option does not suit the model.
        ModelUnavailable: it cannot be loaded, or is no detection model that is supported.
    """
    context = multiprocessing.get_context("spawn")  # a fork could not use a GPU that this process has initialized
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            pool.submit(_load, options).result()
        except BrokenProcessPool:
            name = Path(options.model).name
            raise ModelUnavailable(
                f"the process that loaded the model {name!r} died: there may be too little memory for it"
            ) from None


def _load(options: DetectorOptions) -> None:
    from app.detection.detector import Detector

    Detector(options).close()
