"""A stack whose slices no affine transform fits is said to be one; tissue that runs obliquely is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.report.gather import RunEvidence
from components.report.words.warped_slices import (
    jitter_fact,
    jitter_sentence,
    straightened_fact,
    straightened_sentence,
    warp_fact,
    warp_sentence,
)
from components.shared.documents.align import AlignRecord
from components.shared.documents.transforms import FoundDisplacement
from tests.builders import transforms_of
from tests.components.report.finished_run import make_plan, pair_record, slice_statistics

N_SLICES = 12


def evidence_of(tmp_path: Path, tissue_px: float, warp_px: float, n_slices: int = N_SLICES) -> RunEvidence:
    """A stack whose structures part by `tissue_px` a slice, and whose pairs are warped by `warp_px`."""
    evidence = RunEvidence(make_plan(tmp_path, n_slices))
    for z in range(n_slices):
        pairs = [
            pair_record(z, z + d).model_copy(
                update={"residuals_px": {"affine": float(np.hypot(warp_px, tissue_px * d))}}
            )
            for d in (1, 2, 3)
            if z + d < n_slices
        ]
        evidence.pairs.add(AlignRecord(slices=(slice_statistics(z),), pairs=tuple(pairs)))
    return evidence


def test_a_warp_is_told_apart_from_tissue(tmp_path: Path) -> None:
    sentence = warp_sentence(evidence_of(tmp_path, tissue_px=0.3, warp_px=0.6))
    assert "by 0.67 px RMS; 0.60 px of it" in sentence


@pytest.mark.parametrize(
    ("tissue_px", "warp_px"), [(0.4, 0.0), (0.05, 0.15), (0.9, 0.3)], ids=["tissue", "small", "lively tissue"]
)
def test_other_stacks_are_not_said_to_be_warped(tmp_path: Path, tissue_px: float, warp_px: float) -> None:
    evidence = evidence_of(tmp_path, tissue_px, warp_px)
    assert warp_sentence(evidence) == ""
    assert f"of which {warp_px:.2f} px" in warp_fact(evidence)


def test_a_few_slices_tell_nothing(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path, tissue_px=0.3, warp_px=0.6, n_slices=6)
    assert (warp_sentence(evidence), warp_fact(evidence)) == ("", "")


def test_a_bad_slice_does_not_make_a_warped_stack(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path, tissue_px=0.3, warp_px=0.0)
    for pair in evidence.pairs.beyond_affine_px:
        if 5 in pair:
            evidence.pairs.beyond_affine_px[pair] = 4.0
    assert warp_sentence(evidence) == ""


def test_rows_that_are_moved_back_are_said_to_be(tmp_path: Path) -> None:
    evidence = RunEvidence(make_plan(tmp_path, N_SLICES))
    assert (jitter_sentence(evidence), jitter_fact(evidence)) == ("", "")
    found = FoundDisplacement(
        found_xy_px=(1.472, 0.05), is_corrected_xy=(True, False), n_slices=11, corrected_px=1.38
    )
    evidence.transforms = transforms_of(evidence.plan).model_copy(update={"row_jitter": found})
    assert jitter_sentence(evidence) == (
        "Rows jitter by 1.47 px RMS along x; those of 11 slices are moved back, by 1.38 px RMS."
    )
    assert jitter_fact(evidence) == "1.47 px RMS along x (moved back), 0.05 px RMS along y (left)"


def test_slices_that_are_straightened_are_said_to_be(tmp_path: Path) -> None:
    evidence = RunEvidence(make_plan(tmp_path, N_SLICES))
    assert (straightened_sentence(evidence), straightened_fact(evidence)) == ("", "")
    found = FoundDisplacement(
        found_xy_px=(0.72, 0.05), is_corrected_xy=(True, False), n_slices=11, corrected_px=0.68
    )
    evidence.transforms = transforms_of(evidence.plan).model_copy(update={"soft_warp": found})
    assert straightened_sentence(evidence) == ("Soft warps of 11 slices are straightened, by 0.68 px RMS.")
    assert straightened_fact(evidence) == "0.72 px RMS along x (straightened), 0.05 px RMS along y (left)"
    left = found.model_copy(update={"is_corrected_xy": (False, False), "n_slices": 0})
    evidence.transforms = evidence.transforms.model_copy(update={"soft_warp": left})
    assert straightened_sentence(evidence) == ""


def test_rows_that_are_left_are_a_fact_alone(tmp_path: Path) -> None:
    evidence = RunEvidence(make_plan(tmp_path, N_SLICES))
    found = FoundDisplacement(
        found_xy_px=(0.02, 0.0), is_corrected_xy=(False, False), n_slices=0, corrected_px=0.0
    )
    evidence.transforms = transforms_of(evidence.plan).model_copy(update={"row_jitter": found})
    assert jitter_sentence(evidence) == ""
    assert "left" in jitter_fact(evidence)
