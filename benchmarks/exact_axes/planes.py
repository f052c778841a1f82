"""Planes of an isotropic volume, along an axis on which the microscope's raster registers them exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from components.shared.geometry import Points

Axis = Literal["x", "y", "z"]
SPLINE_ORDER = 5
"""Planes are interpolated once, by a spline that loses the least of the fine structures."""


@dataclass(frozen=True, slots=True)
class Planes:
    """Planes [n, row, column] in 8-bit grey levels; neighbours lie exactly upon each other."""

    name: str
    axis: Axis
    levels: NDArray[np.uint8]

    @property
    def size_xy(self) -> tuple[int, int]:
        """Width and height of a plane in px."""
        height, width = self.levels.shape[1:]
        return width, height

    def sampled(self, number: int, points: Points, shape_yx: tuple[int, int]) -> NDArray[np.float64]:
        """Grey levels of a plane at `points` [height * width, 2], as a picture."""
        coefficients = spline_filter(self.levels[number].astype(np.float64), SPLINE_ORDER, mode="mirror")
        grey: NDArray[np.float64] = map_coordinates(
            coefficients, points[:, ::-1].T, order=SPLINE_ORDER, mode="mirror", prefilter=False
        )
        return grey.reshape(shape_yx)


def read_planes(folder: Path, axis: Axis, n_planes: int) -> Planes:
    """The middle planes of a volume along an axis.

    Args:
        folder: The volume's slices along z, 8-bit pictures in the order of their names.
        axis: `y` is the slow axis of the scan, along which noise of neighbouring pixels is the least alike.
            `z` is no exact axis; along it the published alignment is the truth.
        n_planes: At most so many.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".tif", ".tiff"))
    slices = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
    if not slices or any(s is None or s.dtype != np.uint8 or s.ndim != 2 for s in slices):
        raise ValueError(f"a volume must hold readable 8-bit grey pictures; got {folder}")
    volume = np.stack([np.asarray(s, np.uint8) for s in slices])
    along = np.moveaxis(volume, "zyx".index(axis), 0)
    first = max(0, (len(along) - n_planes) // 2)
    return Planes(folder.name, axis, np.ascontiguousarray(along[first : first + n_planes]))
