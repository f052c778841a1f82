"""Flicker is undone to the grey level; what tissue, resin and charging change stays."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.compose.documents import with_grey_lines
from components.compose.judge.grey_lines import course, grey_lines
from components.compose.judge.level_change import LevelChange, level_change
from components.compose.look import look
from components.compose.preview.thumbnails import MatchedThumbnails
from components.shared.documents.align import SliceStatistics
from components.shared.documents.plan import PixelType
from components.shared.documents.transforms import GreyLine, Transforms
from components.shared.geometry import translation
from tests.builders import plan_of, transforms_of, with_slice

N, SIDE, PIVOT = 30, 200, 120.0


def tissue(seed: int = 0, n: int = N) -> NDArray[np.float64]:
    """[n, y, x] smooth texture of 90 to 150 that changes a little from slice to slice."""
    rng = np.random.default_rng(seed)
    blobs = [cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)), (0, 0), 4) for _ in range(n + 29)]
    moving = np.stack([np.sum(blobs[z : z + 30], axis=0) for z in range(n)])
    return np.asarray(PIVOT + 15 * moving / moving.std(), np.float64)


def statistics_of(z: int, picture: NDArray[np.float64]) -> SliceStatistics:
    low, high = np.percentile(picture, (0.1, 99.9))
    return SliceStatistics(
        z=z, mean=float(picture.mean()), std=float(picture.std()), low=float(low), high=float(high),
        zero_fraction=0, saturated_fraction=0, sharpness=1, content_fraction=0.9, n_features=1000,
    )  # fmt: skip


def lines_of(
    pictures: NDArray[np.float64], transforms: Transforms | None = None, pixel_type: PixelType = "uint8"
) -> dict[int, GreyLine]:
    plan = plan_of(0, len(pictures) - 1, size_px=(SIDE, SIDE), thumbnail_scale=1.0, pixel_type=pixel_type)
    own = {z: statistics_of(z, picture) for z, picture in enumerate(pictures)}
    thumbnails = {}
    for z, picture in enumerate(pictures):
        low, high = (own[z].low, own[z].high) if pixel_type == "uint16" else (0.0, 255.0)
        stretched = (picture - low) * 255 / (high - low)
        thumbnails[z] = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
    transforms = transforms or transforms_of(plan)
    seen = look(plan, transforms, own, MatchedThumbnails(plan, thumbnails.get))
    return grey_lines(transforms, own, seen.changes)


def errors(
    came: NDArray[np.float64], truth: NDArray[np.float64], lines: Mapping[int, GreyLine]
) -> NDArray[np.float64]:
    """[n] mean error of each slice in grey levels, about the median one."""
    none = GreyLine(gain=1, offset=0)
    shown = np.array([picture * lines.get(z, none).gain for z, picture in enumerate(came)])
    shown += np.array([lines.get(z, none).offset for z in range(len(came))])[:, None, None]
    found = (shown - truth).mean(axis=(1, 2))
    return np.asarray(np.abs(found - np.median(found)), np.float64)


def flickering(truth: NDArray[np.float64], share: float = 0.2) -> NDArray[np.float64]:
    gains, offsets = 1 + share * np.random.default_rng(5).uniform(-1, 1, (2, len(truth), 1, 1))
    return np.asarray((truth - 128) * gains + 128 * offsets, np.float64)


def test_a_clean_stack_keeps_its_grey_levels() -> None:
    assert lines_of(tissue()) == {}


@pytest.mark.parametrize("pixel_type", ["uint8", "uint16"])
def test_flicker_of_every_slice_is_undone(pixel_type: PixelType) -> None:
    truth = tissue() * (200 if pixel_type == "uint16" else 1)
    unit = 200 if pixel_type == "uint16" else 1
    came = flickering(truth / unit) * unit
    lines = lines_of(came, pixel_type=pixel_type)
    assert errors(came, truth, {}).max() / unit > 15
    assert errors(came, truth, lines).max() / unit < 1


def test_a_step_at_a_restart_follows_the_longer_side() -> None:
    truth = tissue()
    came = truth.copy()
    came[20:] = (came[20:] - 128) * 1.15 + 150
    lines = lines_of(came)
    assert set(lines) == set(range(20, N))
    assert errors(came, truth, lines).max() < 0.6


def test_one_slice_that_flickers_is_the_only_one_that_changes() -> None:
    truth = tissue()
    came = truth.copy()
    came[11] += 12
    lines = lines_of(came)
    assert set(lines) == {11}
    assert errors(came, truth, lines).max() < 0.6


def test_resin_that_begins_is_no_flicker() -> None:
    came = tissue()
    for z in range(10, N):  # a third of the picture at once, then more
        came[z, : SIDE // 3 + 3 * (z - 10)] = 180
    assert lines_of(came) == {}


def test_a_cloud_of_charging_is_no_flicker() -> None:
    came = tissue()
    y, x = np.mgrid[:SIDE, :SIDE]
    for z in range(0, N, 3):
        came[z] += 60 * np.exp(-((y - 50) ** 2 + (x - 8 * z) ** 2) / (2 * 35**2))
    assert lines_of(came) == {}


def test_slices_are_compared_where_they_are_aligned() -> None:
    """Half of each picture is bright; as the slices lie, it would seem to come and go."""
    truth = tissue()
    truth[:, :, SIDE // 2 :] += 60
    came = np.stack([np.roll(picture, 40 * (z % 2), axis=1) for z, picture in enumerate(truth)])
    plan = plan_of(0, N - 1, size_px=(SIDE, SIDE))
    placed = transforms_of(plan, [translation(-40.0 * (z % 2), 0) for z in range(N)])
    assert lines_of(came, placed) == {}


def test_bad_slices_take_no_part() -> None:
    truth = tissue()
    came = truth.copy()
    came[7] = 255 - came[7]
    came[8:] += 14
    plan = plan_of(0, N - 1, size_px=(SIDE, SIDE))
    transforms = with_slice(transforms_of(plan), 7, verdict="charged", action="replace", replaced_from=6)
    lines = lines_of(came, transforms)
    assert set(lines) == set(range(7))
    assert lines[3].offset + (lines[3].gain - 1) * PIVOT == pytest.approx(14, abs=0.6)


def course_of(
    *changes: LevelChange | None, own_levels: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = {(i, i + 1): change for i, change in enumerate(changes) if change is not None}
    n = len(changes) + 1
    return course(known, np.zeros(n) if own_levels is None else own_levels, np.full(n, 15.0))


def test_small_changes_among_flicker_are_undone_too() -> None:
    """One that is left out would displace all slices that follow."""
    small = LevelChange(log_gain=0.0, shift=0.4, is_flicker=False)
    large = LevelChange(log_gain=0.0, shift=9.0, is_flicker=True)
    back = LevelChange(log_gain=0.0, shift=-9.4, is_flicker=True)
    _, shifts = course_of(*[large, small, back] * 4)
    assert np.ptp(shifts[::3]) == pytest.approx(0, abs=0.02)
    _, shifts = course_of(*[small] * 6, large, *[small] * 7)
    assert shifts == pytest.approx([-9.0] * 7 + [0.0] * 8, abs=0.02)


def test_errors_of_changes_do_not_add_up_along_a_long_stack() -> None:
    """Where every slice flickers, tissue that becomes brighter slowly is not told from the microscope."""
    n = 250
    of_microscope = 15 * np.random.default_rng(3).uniform(-1, 1, n)
    steps = np.diff(of_microscope) + 0.2
    changes = [LevelChange(log_gain=0.0, shift=step, is_flicker=True) for step in steps]
    _, shifts = course_of(*changes, own_levels=of_microscope)
    assert np.abs(np.cumsum(steps) - of_microscope[1:]).max() > 40
    found = shifts - of_microscope
    assert np.abs(found - np.median(found)).max() < 6


def test_tissue_that_comes_and_goes_among_flicker_keeps_its_levels() -> None:
    """A vessel makes 20 slices darker; the pixels that stay do not tell of it."""
    n = 100
    of_microscope = 15 * np.random.default_rng(3).uniform(-1, 1, n)
    own = of_microscope.copy()
    own[40:60] -= 20
    changes = [LevelChange(log_gain=0.0, shift=step, is_flicker=True) for step in np.diff(of_microscope)]
    _, shifts = course_of(*changes, own_levels=own)
    found = shifts - of_microscope
    assert np.abs(found - np.median(found)).max() < 2


def test_levels_of_slices_are_not_believed_where_none_flickers() -> None:
    """Tissue that becomes brighter slowly stays so beside a slice that flickers."""
    large = LevelChange(log_gain=0.0, shift=9.0, is_flicker=True)
    back = LevelChange(log_gain=0.0, shift=-9.0, is_flicker=True)
    small = LevelChange(log_gain=0.0, shift=0.4, is_flicker=False)
    own = np.linspace(-20, 20, 100)
    _, shifts = course_of(*[small] * 49, large, back, *[small] * 48, own_levels=own)
    assert np.delete(shifts, 50) == pytest.approx(np.zeros(99), abs=0.1)


def test_the_line_is_told_by_tissue_that_stays() -> None:
    """A third of the picture becomes brighter, everywhere alike: the edges of what moves."""
    grey = tissue(n=1)[0]
    slope = np.hypot(*np.gradient(grey))
    moved = grey + 12 * (slope > np.quantile(slope, 0.67))
    seen = 1.15 * (moved - PIVOT) + PIVOT + 20
    change = level_change(grey.astype(np.float32), seen.astype(np.float32), np.eye(3), PIVOT)
    assert change is not None
    assert change.is_flicker
    assert change.shift == pytest.approx(20, abs=0.3)
    assert np.exp(change.log_gain) == pytest.approx(1.15, abs=0.02)


def test_an_unknown_change_is_none() -> None:
    large = LevelChange(log_gain=0.1, shift=9.0, is_flicker=True)
    log_gains, shifts = course_of(None, large, None)
    assert log_gains == pytest.approx([0, -0.05, 0.05, 0], abs=0.001)
    assert shifts[0] == pytest.approx(shifts[3])


def test_pictures_that_hardly_overlap_tell_nothing() -> None:
    levels = tissue(n=1)[0].astype(np.float32)
    assert level_change(levels, levels, translation(SIDE - 5, 0), PIVOT) is None
    assert level_change(np.full_like(levels, 7), levels, np.eye(3), PIVOT) is None


def test_the_range_that_is_shown_is_of_the_levels_that_are_shown() -> None:
    came = tissue() * 200
    came[20:] += 40_000 - 200 * PIVOT
    plan = plan_of(0, N - 1, size_px=(SIDE, SIDE), thumbnail_scale=1.0, pixel_type="uint16")
    own = {z: statistics_of(z, picture) for z, picture in enumerate(came)}
    before = transforms_of(plan, intensity_range=(10_000.0, 50_000.0))
    after = with_grey_lines(plan, before, own, lines_of(came, before, "uint16"))
    black, white = after.intensity_range
    assert 0.9 * own[0].low < black < white < 1.1 * own[0].high
    assert with_grey_lines(plan, before, own, {}) is before
