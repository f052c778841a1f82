"""Grey levels at 8 bit: the range of scikit-image, and ranges that are too narrow."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import exposure

from components.shared.pictures.grey_levels import as_8_bit


@pytest.mark.parametrize(("low", "high"), [(0, 65535), (1000, 9000), (12.5, 13.75)])
def test_a_range_is_spread_as_scikit_image_does(low: float, high: float) -> None:
    levels = np.arange(2**16, dtype=np.float64)
    theirs = exposure.rescale_intensity(levels, (low, high), (0, 255))
    np.testing.assert_array_equal(as_8_bit(levels, low, high), np.rint(theirs))


def test_a_range_is_at_least_one_level_wide() -> None:
    assert as_8_bit(np.array([6.0, 7, 8, 9]), 7, 7).tolist() == [0, 0, 255, 255]
