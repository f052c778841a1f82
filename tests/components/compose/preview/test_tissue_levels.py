"""Tissue that a range leaves few grey levels stops a run; resin around a little tissue does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from components.align.statistics import Tissue, thumbnail
from components.compose.preview.gate import lost_grey_levels
from components.compose.preview.tissue_levels import quartiles_of, tissue_levels
from components.shared.documents.align import SliceStatistics
from components.shared.documents.transforms import Transforms
from tests.builders import transforms_of, with_slice
from tests.components.compose.test_compose_main import plan_in

SIDE_PX, SCALE = 512, 0.5
RNG = np.random.default_rng(0)


def texture(seed: int = 0) -> NDArray[np.float64]:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE_PX, SIDE_PX)), 2)
    return field / field.std()


def levels_of(picture: NDArray[np.float64], shown: tuple[float, float] | None = None) -> float:
    """The levels of a slice in the range of its own percentiles, or in another."""
    image = np.clip(np.rint(picture), 0, 65_535).astype(np.uint16)
    low, high = np.percentile(image, [0.1, 99.9])
    own = SliceStatistics(
        z=0,
        mean=0,
        std=0,
        low=low,
        high=high,
        zero_fraction=0,
        saturated_fraction=0,
        sharpness=0,
        content_fraction=1,
        n_features=0,
        noise=30,
    )
    small = thumbnail(Tissue.of(image).image, SCALE, low, high)
    return tissue_levels(small, own, shown or (low, high))


def hot(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    odd = RNG.random(picture.shape) < 0.004
    return np.where(odd, RNG.uniform(40_000, 65_535, picture.shape), picture)


def noisy_border(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.zeros(picture.shape, bool)
    inside[20:-20, 20:-20] = True
    return np.where(inside, picture, RNG.uniform(0, 400, picture.shape))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1), (2, 2), (5, 7), (64, 80)])
def test_quartiles_are_those_of_numpy(shape: tuple[int, int]) -> None:
    for highest in (2, 9, 256):
        picture = RNG.integers(0, highest, shape).astype(np.uint8)
        assert quartiles_of(picture).tolist() == np.percentile(picture, [25, 75]).tolist()


@pytest.mark.parametrize("spoilt", [hot, noisy_border])
def test_what_is_no_tissue_takes_its_grey_levels(spoilt: object) -> None:
    assert levels_of(spoilt(31_500 + 300 * texture())) < 16  # type: ignore[operator]


def test_tissue_in_its_own_range_has_its_grey_levels() -> None:
    assert levels_of(31_500 + 300 * texture()) == pytest.approx(55, abs=6)


def test_slices_of_another_exposure_are_black() -> None:
    assert levels_of(1_000 + 50 * texture(), shown=(30_000, 50_000)) == 0


def test_a_little_tissue_in_much_resin_is_enough() -> None:
    resin = 20_000 + 30 * RNG.normal(size=(SIDE_PX, SIDE_PX))
    resin[150:260, 150:260] = (31_500 + 2_000 * texture())[150:260, 150:260]
    assert levels_of(resin) > 16


def test_slices_that_lost_their_grey_levels_are_named_and_odd_ones_are_let_through(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20, first_z=0)
    transforms = transforms_of(plan).model_copy(update={"intensity_range": (0.0, 33_000.0)})

    def found(levels: dict[int, float], shown: Transforms = transforms) -> list[int]:
        """How many reasons against the volume, and how many remarks."""
        return list(map(len, lost_grey_levels(shown, {**dict.fromkeys(range(20), 55.0), **levels})))

    ((clause,), remarks) = lost_grey_levels(transforms, {3: 8.0, 5: 9.0, 6: 10.0, 9: 55.0})
    assert "gets 9.0 of 256 grey levels (median) in 3 of 4 slices (3, 5, 6), fewer than 16" in clause
    assert "from 0 to 33,000" in clause
    assert "--set 'crop=[X, Y, WIDTH, HEIGHT]'" in clause
    assert remarks == ()
    assert found({3: 8.0, 5: 9.0, 6: 10.0}) == [1, 0]
    assert found({3: 8.0, 5: 9.0}) == [0, 1]
    assert found({3: 15.9, 5: 16.0, 6: 16.1, 7: 0.0}) == [0, 1]
    assert found({3: 16.0}) == [0, 0]
    replaced = with_slice(transforms, 3, verdict="blank", action="replace", replaced_from=2)
    assert found({3: 8.0}, replaced) == [0, 0]
