"""Model check: whether a model can be used here, before anything is started that needs it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from app.core.wanted import Wanted
from app.detection.options import DetectorOptions
from app.errors import ModelUnavailable, RequestError, SettingsError


def check_model(options: DetectorOptions, wanted: Mapping[str, Wanted] | None = None) -> None:
    """Load a model in a process of its own, whose memory, of the GPU's too, is free again afterwards.

    Args:
        options: which model, and how it is run.
        wanted: what each camera wants detected, by its id.

    Raises:
        SettingsError: an option, or what a camera wants, does not suit the model.
        ModelUnavailable: it cannot be loaded, or is no detection model that is supported.
    """
    context = multiprocessing.get_context("spawn")  # a fork could not use a GPU that this process has initialized
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            pool.submit(_load, options, dict(wanted or {})).result()
        except BrokenProcessPool:
            name = Path(options.model).name
            raise ModelUnavailable(
                f"the process that loaded the model {name!r} died: there may be too little memory for it"
            ) from None


def _load(options: DetectorOptions, wanted: Mapping[str, Wanted]) -> None:
    from app.detection.detector import Detector

    detector = Detector(options)
    for camera_id, each in wanted.items():
        try:
            detector.check_wanted(each)
        except RequestError as refusal:
            raise SettingsError(f"camera {camera_id}: {refusal}") from None
    detector.close()
