"""Independent readers of a written volume."""

import warnings
from pathlib import Path

import numpy as np
import tensorstore as ts


def through_tensorstore(folder: Path, level: int) -> np.ndarray:
    """A level as [z, y, x]."""
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "scale_index": level,
    }
    return ts.open(spec, read=True).result()[..., 0].read().result().T


def through_cloud_volume(folder: Path, level: int) -> np.ndarray:
    """A level as [z, y, x]; omitted chunks are black."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume import CloudVolume

        volume = CloudVolume(f"file://{folder}", mip=level, fill_missing=True, progress=False)
        return np.asarray(volume[:, :, :])[..., 0].T


def mean_of_level(data: np.ndarray) -> np.ndarray:
    """The next level: the mean of the voxels that exist, rounded half to even. Slow and plain."""
    shape = tuple(-(-n // 2) for n in data.shape)
    total = np.zeros(shape, np.int64)
    count = np.zeros(shape, np.int64)
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                part = data[dz::2, dy::2, dx::2]
                region = tuple(slice(0, n) for n in part.shape)
                total[region] += part
                count[region] += 1
    return np.rint(total / count).astype(data.dtype)
