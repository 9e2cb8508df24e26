"""Whether PyTorch could see a GPU, asked without loading it."""

from __future__ import annotations

import ctypes
from pathlib import Path

_ROCM = Path("/dev/kfd")
"""AMD's driver, for a PyTorch that was built for ROCm."""


def may_have_gpu(cuda: str = "libcuda.so.1", rocm: Path = _ROCM) -> bool:
    """Return whether a driver of NVIDIA shows this process a GPU, or one of AMD is there.

    ``CUDA_VISIBLE_DEVICES``, which Ray sets, counts, as for PyTorch.

    Args:
        cuda: the library of NVIDIA's driver.
        rocm: the device file of AMD's driver.
    """
    if rocm.exists():
        return True
    try:
        driver = ctypes.CDLL(cuda)
    except OSError:
        return False
    count = ctypes.c_int()
    # https://docs.nvidia.com/cuda/cuda-driver-api, cuInit and cuDeviceGetCount; 0 is success
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
