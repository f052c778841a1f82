"""How evenly planes of a volume lie along an axis, as their likeness tells; along x and y they are even.

The raster of the microscope spaces rows and columns evenly. So what the estimate of places along z says of
planes along x and y is what it invents from this tissue and this noise, and bounds what it can tell along z.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.along_z.limits import PLACES, PlaceLimits
from components.shared.along_z.places import places_of

Plane = NDArray[np.float32]
"""[rows, columns] grey levels without grain and shading."""


def step_spread(planes: Sequence[Plane | None], limits: PlaceLimits = PLACES) -> float | None:
    """Standard deviation of the steps between planes, gaps left out; None where they tell no places.

    Args:
        planes: Of the same size; None where a plane takes no part.
        limits: What is enough to tell places.
    """
    numbers = [number for number, plane in enumerate(planes) if plane is not None]
    pictures = [_normalised(plane) for plane in planes if plane is not None]
    likeness = np.full((len(pictures), limits.reach), np.nan)
    for first, picture in enumerate(pictures):
        for ahead, other in enumerate(pictures[first + 1 : first + 1 + limits.reach]):
            likeness[first, ahead] = 1 - cv2.norm(picture, other, cv2.NORM_L2SQR) / 2
    found = places_of(np.array(numbers, np.int64), likeness)
    if isinstance(found, str):
        return None
    steps = found.step[1:]
    return float(steps[steps < limits.gap_ratio].std())


def _normalised(plane: Plane) -> Plane:
    """A picture of mean 0 whose squares sum to 1; NaN where it has no texture."""
    about = plane - plane.mean()
    length = float(np.sqrt(np.square(about, dtype=np.float64).sum()))
    return np.asarray(about / length if length > 0 else np.full_like(about, np.nan), np.float32)
