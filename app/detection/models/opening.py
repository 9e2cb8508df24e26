"""Opening a model: by OpenVINO alone where it and the machine allow that, else by Ultralytics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from app.detection.models.exports import Requirements, find_export, installed, read_metadata
from app.detection.models.files import check_pin, find_model
from app.detection.models.gpu_presence import may_have_gpu
from app.detection.models.openvino_network import OpenVinoNetwork, runs_alone
from app.detection.options import DetectorOptions

if TYPE_CHECKING:
    from app.detection.models.network import Network

logger = logging.getLogger(__name__)


def open_network(options: DetectorOptions) -> Network | OpenVinoNetwork:
    """Return the network that the options name, loaded.

    Raises:
        SettingsError: there is no such model, it is not the pinned one, or the image size is not the one that a static
            export has.
        ModelUnavailable: it cannot be downloaded or loaded, is no detection model, or has other classes than names.
    """
    network = _by_openvino(options)
    if network is None:
        from app.detection.models.network import Network  # it loads torch

        return Network(options)
    return network


def _by_openvino(options: DetectorOptions) -> OpenVinoNetwork | None:
    if options.device.startswith("cuda") or not installed("openvino"):
        return None
    weights = find_model(options.model)
    check_pin(weights, options.model_sha256)
    if options.device == "auto" and may_have_gpu():
        return None
    # The pin is that of the weights alone: a file beside them is not taken in their place.
    export = None
    if options.use_export and options.model_sha256 is None:
        export = find_export(weights, Requirements(nms_free=options.nms_free))
    folder = weights if export is None else export.path
    if not folder.is_dir() or not runs_alone(folder, metadata := read_metadata(folder)):
        return None
    network = OpenVinoNetwork(weights.name, folder, metadata, options, export.image_size if export else None)
    if export is not None:
        logger.info("%s runs as its export %s; use_export: false runs the .pt itself", network.name, network.form)
    return network
