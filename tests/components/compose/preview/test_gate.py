"""The check on thumbnails: good stacks pass, each way to go wrong is stopped with the right slices named."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from components.compose.look import look, tissue_levels_of
from components.compose.preview.correlate import FlatPicture, correlate_neighbours, correlation, flattened
from components.compose.preview.gate import failures_of
from components.compose.preview.limits import CORRELATION
from components.compose.preview.thumbnails import MatchedThumbnails
from components.compose.preview.write import make_preview, refusal
from components.shared.documents.align import SliceStatistics
from components.shared.documents.plan import Override, Plan
from components.shared.documents.preview import Preview
from components.shared.documents.transforms import Transforms
from components.shared.geometry import Matrix, rotation_about, translation
from components.shared.pictures.warping import warped
from tests.builders import transforms_of, with_slice
from tests.components.compose.test_compose_main import plan_in
from tests.real_slices import real_pictures, real_stack

SIDE, SCALE, N = 240, 0.5, 40
FULL = int(SIDE / SCALE)


def tissue(n: int = N, seed: int = 0, noise: float = 0.15) -> NDArray[np.uint8]:
    """[n, y, x] pictures that change slowly along z, with grain."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(n, SIDE, SIDE)), (2, 2, 2), mode="wrap")
    field /= field.std()
    return np.clip(128 + 40 * (field + noise * rng.normal(size=field.shape)), 0, 255).astype(np.uint8)


def moved(pictures: NDArray[np.uint8], shifts_px: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pictures whose slice lies at the shift (full resolution): its content moves the other way."""
    return np.array(
        [
            cv2.warpAffine(
                p,
                np.float64([[1, 0, -x * SCALE], [0, 1, -y * SCALE]]),
                (SIDE, SIDE),
                borderMode=cv2.BORDER_REFLECT,
            )
            for p, (x, y) in zip(pictures, shifts_px, strict=True)
        ]
    )


def placed(
    plan: Plan,
    matrices: Sequence[Matrix] | None = None,
    size_px: tuple[int, int] = (FULL, FULL),
    **changes: dict[str, Any],
) -> Transforms:
    """`changes` by z, as z10={...}."""
    transforms = transforms_of(plan, matrices, size_px=size_px)
    for z, values in changes.items():
        transforms = with_slice(transforms, int(z.removeprefix("z")), **values)
    return transforms


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_in(tmp_path, N, first_z=0).model_copy(update={"thumbnail_scale": SCALE})


def failures(plan: Plan, transforms: Transforms, pictures: NDArray[np.uint8]) -> tuple[str, ...]:
    found = correlate_neighbours(transforms, SCALE, lambda z: flattened(pictures[z]))
    return failures_of(plan, transforms, found)


def test_a_shift_and_a_turn_are_undone() -> None:
    picture = flattened(tissue(1)[0])
    turn = rotation_about((100, 120), 0.05) @ translation(7.5, -3)
    b = cv2.warpAffine(picture.grey, turn[:2], (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    assert correlation(picture, FlatPicture.of(b), turn) > 0.97
    assert abs(correlation(picture, FlatPicture.of(b), np.eye(3))) < 0.3


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_a_correlation_is_that_of_the_pixels_that_both_have(offset: float) -> None:
    rng = np.random.default_rng(3)
    a, b = (cv2.GaussianBlur(rng.normal(0, 9, (90, 80)).astype(np.float32), (0, 0), 2) for _ in "ab")
    a, b = a + np.float32(offset), np.asarray(a + 0.5 * b, np.float32)
    matrix = translation(6.25, -3.5) @ rotation_about((40, 45), 0.02)
    moved = warped(b, matrix, a.shape, outside=np.nan)
    both = np.isfinite(moved)
    assert 0.7 < both.mean() < 0.99
    expected = np.corrcoef(a[both].astype(np.float64), moved[both].astype(np.float64))[0, 1]
    assert correlation(FlatPicture.of(a), FlatPicture.of(b), matrix) == pytest.approx(expected, abs=6e-5)
    expected = np.corrcoef(a.ravel().astype(np.float64), b.ravel().astype(np.float64))[0, 1]
    assert correlation(FlatPicture.of(a), FlatPicture.of(b), np.eye(3)) == pytest.approx(expected, abs=6e-5)


def test_large_pictures_are_compared_at_some_of_their_pixels() -> None:
    """Which tells the same as all of them."""
    every = dataclasses.replace(CORRELATION, every_px=1)
    large = [cv2.resize(picture, (512, 440), interpolation=cv2.INTER_CUBIC) for picture in tissue(4)]
    assert flattened(large[0]).samples.grey.shape == (220, 256)
    assert flattened(large[0][:200, :200]).samples.grey.shape == (200, 200)
    place = np.eye(3)
    for matrix in (place, translation(6.25, -3.5) @ rotation_about((40, 45), 0.02), translation(9, 300)):
        for ahead in (1, 2, 3):
            of_some = correlation(flattened(large[0]), flattened(large[ahead]), matrix)
            a, b = flattened(large[0], every), flattened(large[ahead], every)
            assert of_some == pytest.approx(correlation(a, b, matrix, every), abs=0.01)


def test_shading_does_not_correlate() -> None:
    shading = np.linspace(0, 120, SIDE)
    a, b = (np.clip(p * 0.5 + shading, 0, 255).astype(np.uint8) for p in (tissue(1, 1)[0], tissue(1, 2)[0]))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.5
    assert abs(correlation(flattened(a), flattened(b), np.eye(3))) < 0.1


def test_slices_that_hardly_overlap_correlate_at_nothing() -> None:
    picture = flattened(tissue(1)[0])
    assert correlation(picture, picture, translation(0.95 * SIDE, 0)) == 0
    assert np.isnan(correlation(picture, FlatPicture.of(np.zeros_like(picture.grey)), np.eye(3)))


def test_the_scale_of_thumbnails_is_taken_into_account(plan: Plan) -> None:
    shifts = np.cumsum(np.random.default_rng(1).normal(0, 12, (N, 2)), axis=0)
    pictures = moved(tissue(), shifts)
    transforms = placed(plan, [translation(*s) for s in shifts])
    found = correlate_neighbours(transforms, SCALE, lambda z: flattened(pictures[z]))
    assert np.nanmin(found.next_after) > 0.8
    assert np.nanmedian(found.next_before) < 0.5
    assert np.isnan(found.next_after[-1:]).all()
    assert np.isnan(found.second_after[-2:]).all()
    assert failures_of(plan, transforms, found) == ()


def test_what_is_shown_is_compared(plan: Plan) -> None:
    pictures = tissue()
    pictures[20] = 255 - pictures[20]
    pictures[30] = tissue(1, seed=9)[0]
    transforms = placed(
        plan,
        z20={"action": "invert"},
        z30={"action": "blend", "replaced_from": 29, "blended_with": 31},
        z35={"action": "blank"},
        z10={"action": "replace", "replaced_from": 9},
    )
    found = correlate_neighbours(transforms, SCALE, lambda z: flattened(pictures[z]))
    after = found.next_after
    assert np.nanmin(after) > 0.7
    assert found.second_after[[18, 20, 28, 30]].min() > 0.5  # with those that are inverted and blended
    # A copy beside its original proves nothing, and nothing correlates with black.
    assert set(np.flatnonzero(np.isnan(after))) == {9, 29, 30, 34, 35, N - 1}


def test_a_blend_is_compared_where_both_of_its_slices_are_shown(plan: Plan) -> None:
    shifts = np.zeros((N, 2))
    shifts[31:] = 40
    transforms = placed(
        plan,
        [translation(*s) for s in shifts],
        z30={"action": "blend", "replaced_from": 29, "blended_with": 31},
    )
    pictures = moved(tissue(), shifts)
    found = correlate_neighbours(transforms, SCALE, lambda z: flattened(pictures[z]))
    assert found.second_after[[28, 30]].min() > 0.5


def test_a_missing_slice_has_no_thumbnail(plan: Plan) -> None:
    pictures = tissue()
    transforms = placed(plan, z12={"action": "replace", "replaced_from": 11, "verdict": "missing"})
    found = correlate_neighbours(transforms, SCALE, lambda z: None if z == 12 else flattened(pictures[z]))
    assert np.isnan(found.next_before[11:13]).all()
    assert np.isnan(found.next_after[11])
    assert found.next_after[12] > 0.7


def test_a_few_bad_slices_pass_and_many_do_not(plan: Plan) -> None:
    pictures, other = tissue(), tissue(seed=5)
    replaced = {f"z{z}": {"action": "replace", "replaced_from": z - 1} for z in (5, 17, 28)}
    for z in (5, 17, 28, 33):
        pictures[z] = other[z]
    assert failures(plan, placed(plan, **replaced), pictures) == ()
    (said,) = failures(plan, placed(plan), pictures)
    assert said.startswith("8 of 39 neighbours (limit 4) have an NCC far below")
    assert "32-33" in said or "33-34" in said


def test_wrong_transforms_are_stopped(plan: Plan) -> None:
    shifts = np.random.default_rng(3).normal(0, 30, (N, 2))
    said = failures(plan, placed(plan, [translation(*s) for s in shifts]), tissue())
    assert "the NCC of neighbours is" in said[0]


def test_a_part_that_is_solved_wrong_is_named(plan: Plan) -> None:
    matrices = [translation(15 * (z % 2) * (20 <= z < 30), 0) for z in range(N)]
    (said,) = failures(plan, placed(plan, matrices), tissue())
    assert "of 39 neighbours (limit 4) have an NCC far below what is usual here" in said
    assert "limit 50% of it" in said
    named = [int(z) for z in re.findall(r"(\d+)-\d+ \(", said)]
    assert len(named) == 5
    assert set(named) <= set(range(19, 30))


def test_two_unrelated_halves_are_stopped_at_the_place(plan: Plan) -> None:
    pictures = np.concatenate([tissue()[:20], tissue(seed=8)[20:]])
    (said,) = failures(plan, placed(plan), pictures)
    assert said.startswith("nothing correlates across the step between slices 19-20 (")
    cut = plan.model_copy(update={"overrides": (Override(z=20, cut=True),)})
    assert failures(cut, placed(plan), pictures) == ()
    given = plan.model_copy(update={"overrides": (Override(z=20, matrix=np.eye(3).tolist()),)})
    assert failures(given, placed(plan), pictures) == ()
    kept = plan.model_copy(update={"overrides": (Override(z=20, keep=True),)})
    assert failures(kept, placed(plan), pictures) == (said,)
    gaps = plan.model_copy(update={"config": plan.config.model_copy(update={"allow_gaps": True})})
    assert failures(gaps, placed(plan), pictures) == ()


def test_one_strange_slice_is_no_break(plan: Plan) -> None:
    pictures = tissue()
    pictures[20] = tissue(1, seed=9)[0]
    assert failures(plan, placed(plan), pictures) == ()


def test_too_many_copies_are_stopped_unless_a_person_asked_for_them(plan: Plan) -> None:
    pictures = tissue()
    copies = range(1, 20, 2)
    transforms = placed(plan, **{f"z{z}": {"action": "replace", "replaced_from": z - 1} for z in copies})
    (said,) = failures(plan, transforms, pictures)
    assert said == "10 of 40 slices (limit 8) are not shown, such as 1, 3, 5, 7, 9 and 5 more"
    decided = plan.model_copy(update={"overrides": tuple(Override(z=z, skip=True) for z in copies)})
    assert failures(decided, transforms, pictures) == ()


def test_a_volume_that_is_mostly_empty_is_stopped(plan: Plan) -> None:
    (said,) = failures(plan, placed(plan, size_px=(4 * FULL, 2 * FULL)), tissue())
    assert "need a volume of" in said
    assert said.endswith("(limit 4 times the area)")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_short_stacks_pass(tmp_path: Path, n: int) -> None:
    plan = plan_in(tmp_path, n, first_z=0)
    transforms = placed(plan, size_px=(FULL, FULL))
    pictures = tissue(n)
    assert failures(plan, transforms, pictures) == ()


def test_a_static_pattern_does_not_speak_against_the_alignment(plan: Plan) -> None:
    """As they lie the pattern agrees, after alignment the tissue does."""
    shifts = np.cumsum(np.random.default_rng(2).normal(0, 12, (N, 2)), axis=0)
    pictures = moved(tissue(), shifts)
    pattern = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(SIDE, SIDE)), 2)
    pictures = np.clip(pictures + 40 * pattern / pattern.std(), 0, 255).astype(np.uint8)
    assert failures(plan, placed(plan, [translation(*s) for s in shifts]), pictures) == ()


@pytest.mark.parametrize(("name", "least"), [("fibsem_medulla", 0.9), ("sstem_vnc", 0.25)])
def test_published_stacks_pass_as_they_lie(tmp_path: Path, name: str, least: float) -> None:
    n_slices = len(sorted(real_stack(name).glob("img.*.png")))
    pictures = real_pictures(name, range(n_slices))
    pictures = [cv2.resize(p, (512, 512), interpolation=cv2.INTER_AREA) for p in pictures]
    plan = plan_in(tmp_path, n_slices, first_z=0)
    transforms = placed(plan, size_px=(500, 500))
    found = correlate_neighbours(transforms, 1.0, lambda z: flattened(pictures[z]))
    assert np.nanmedian(found.next_after) > least
    assert failures_of(plan, transforms, found) == ()


def preview_of(
    plan: Plan,
    transforms: Transforms,
    pictures: NDArray[np.uint8],
    statistics: dict[int, SliceStatistics] | None = None,
) -> Preview:
    """The check of pictures whose flicker nobody asks for."""
    config = plan.config.model_copy(update={"intensity": "none"})
    thumbnails = MatchedThumbnails(plan, lambda z: pictures[z])
    seen = look(plan.model_copy(update={"config": config}), transforms, statistics or {}, thumbnails)
    levels = tissue_levels_of(transforms, statistics or {}, seen.quartiles, thumbnails)
    return make_preview(plan, transforms, seen.correlations, levels)


def test_the_document_and_the_sentence(plan: Plan) -> None:
    pictures = tissue()
    for z in (7, 8, 20):
        pictures[z] = tissue(1, seed=z)[0]
    preview = preview_of(plan, placed(plan), pictures)
    assert {worst.z for worst in preview.worst[:3]} == {7, 8, 20}
    assert len(preview.worst) == 20
    assert len(preview.ncc_next_after) == N
    assert preview.ncc_next_after[-1] is None
    assert preview.gate.stops_the_run
    said = str(refusal(plan, preview))
    assert "7-8 (" in said
    assert f"fibstack resolve {plan.config.output} --overrides FILE" in said
    assert "--set force=true" in said
    quoted = plan.model_copy(update={"config": plan.config.model_copy(update={"output": "/lab's data/run"})})
    command = str(refusal(quoted, preview)).partition("decide on them with '")[2].partition("', or")[0]
    assert shlex.split(command) == ["fibstack", "resolve", "/lab's data/run", "--overrides", "FILE"]
    for key in ("force", "skip_align"):
        changed = plan.model_copy(update={"config": plan.config.model_copy(update={key: True})})
        free = preview_of(changed, placed(plan), pictures)
        assert free.gate.failures == preview.gate.failures
        assert not free.gate.stops_the_run


def test_lost_grey_levels_stop_a_run_that_aligns_nothing_too(plan: Plan) -> None:
    """Slices may lie as they do, but a volume without grey levels shows nothing."""
    own = {"mean": 0, "std": 0, "low": 31_000, "high": 32_000, "zero_fraction": 0, "saturated_fraction": 0}
    more = {"sharpness": 0, "content_fraction": 1, "n_features": 0}
    statistics = {z: SliceStatistics(z=z, **own, **more) for z in range(N)}
    for pixel_type, key, stops in (
        ("uint16", "skip_align", True),
        ("uint16", "force", False),
        ("uint8", "skip_align", False),
    ):
        changes = {"pixel_type": pixel_type, "config": plan.config.model_copy(update={key: True})}
        changed = plan.model_copy(update=changes)
        transforms = placed(plan).model_copy(update={"intensity_range": (0.0, 65_535.0)})
        preview = preview_of(changed, transforms, tissue(), statistics)
        assert preview.gate.stops_the_run == stops
        assert any("of 256 grey levels" in clause for clause in preview.gate.failures) == (
            pixel_type == "uint16"
        )


def test_the_control_has_what_interpolation_alone_gains(plan: Plan) -> None:
    """Slices of noise on the same structures, that the solution moves by half a pixel of the thumbnail."""
    noise = np.random.default_rng(7).normal(0, 60, (N, SIDE, SIDE))
    pictures = np.clip(tissue(1)[0] + noise, 0, 255).astype(np.uint8)
    still = correlate_neighbours(placed(plan), SCALE, lambda z: flattened(pictures[z]))
    half = 0.5 / SCALE
    moved_by_half = placed(plan, [translation(half * (z % 2), half * (z % 2)) for z in range(N)])
    found = correlate_neighbours(moved_by_half, SCALE, lambda z: flattened(pictures[z]))
    before, control = np.nanmedian(found.next_before), np.nanmedian(found.next_control)
    assert np.nanmedian(still.next_control) == before
    assert control > before + 0.01
    # Half a pixel off, the structures agree less; the noise gains the same.
    assert np.nanmedian(found.next_after) <= control
