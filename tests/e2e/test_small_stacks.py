"""Stacks at the edge of what a stack is: one to three slices, bad ends, a tenth bad, mixed sizes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from commands.sample.accuracy import compare
from commands.sample.main import main as sample
from commands.sample.truth import Truth
from components.shared.documents.transforms import Transforms
from tests.builders import invoke
from tests.e2e.steps import run_steps

SIZE = "256x240"


def planted(folder: Path, n_slices: int, *defects: str) -> Truth:
    """A sample of small slices with the defects at their z."""
    flags = [flag for defect in defects for flag in ("--defect", defect)]
    arguments = [str(folder), "--size", SIZE, "--slices", str(n_slices), "--workers", "1", *flags]
    result = invoke(sample, *arguments)
    assert result.exit_code == 0, result.output
    return Truth.model_validate_json((folder / "truth.json").read_bytes())


def aligned(source: Path, output: Path, n_slices: int, **config: object) -> Transforms:
    run_steps(source, output, image="img.%05d.png", minz=0, maxz=n_slices - 1, **config)
    run = json.loads((output / "process" / "run.json").read_text())
    assert (output / "neuroglancer/jpeg/info").exists(), run
    return Transforms.model_validate_json((output / "process" / "transforms.json").read_bytes())


def worst_px(transforms: Transforms, truth: Truth, without: set[int] = frozenset()) -> float:
    found = {s.z: np.array(s.matrix) for s in transforms.slices if s.z not in without}
    return compare(
        found, {s.z: np.array(s.matrix) for s in truth.slices}, truth.width_px, truth.height_px
    ).max_px


@pytest.mark.parametrize("n_slices", [1, 2, 3])
def test_a_few_slices_make_a_volume(tmp_path: Path, n_slices: int) -> None:
    truth = planted(tmp_path / "stack", n_slices)
    transforms = aligned(tmp_path / "stack", tmp_path / "volume", n_slices)
    assert [s.verdict for s in transforms.slices] == ["good"] * n_slices
    assert transforms.volume_size_xyz[2] == n_slices
    if n_slices > 1:
        assert worst_px(transforms, truth) < 0.6


@pytest.mark.parametrize("bad", [{0: "blank"}, {11: "blank"}, {0: "defocus", 11: "half"}])
def test_bad_ends_are_found_and_their_neighbours_stay(tmp_path: Path, bad: dict[int, str]) -> None:
    truth = planted(tmp_path / "stack", 12, *(f"{kind}:{z}" for z, kind in bad.items()))
    transforms = aligned(tmp_path / "stack", tmp_path / "volume", 12)
    names = {"defocus": "defocused", "half": "partial"}
    expected = {z: names.get(kind, kind) for z, kind in bad.items()}
    assert {s.z: s.verdict for s in transforms.slices if s.verdict != "good"} == expected
    replaced = {s.z: s.replaced_from for s in transforms.slices if s.replaced_from is not None}
    assert replaced == {z: 1 if z == 0 else 10 for z in bad}
    assert worst_px(transforms, truth, set(bad)) < 0.6


def test_a_tenth_of_the_slices_bad(tmp_path: Path) -> None:
    truth = planted(tmp_path / "stack", 20, "slip:6", "blank:13")
    transforms = aligned(tmp_path / "stack", tmp_path / "volume", 20)
    assert {s.z: s.verdict for s in transforms.slices if s.verdict != "good"} == {6: "slip", 13: "blank"}
    assert worst_px(transforms, truth, {6, 13}) < 0.6


def test_slices_of_mixed_sizes_lie_where_they_belong(tmp_path: Path) -> None:
    """The camera's field was cut from the right and from below in mid-stack, which moves no pixel."""
    truth = planted(tmp_path / "stack", 8)
    for z in (4, 5, 6, 7):
        path = str(tmp_path / "stack" / f"img.{z:05d}.png")
        picture = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        cv2.imwrite(path, picture[: 240 - 9 * z, : 256 - 5 * z])
    transforms = aligned(tmp_path / "stack", tmp_path / "volume", 8)
    assert [s.verdict for s in transforms.slices] == ["good"] * 8
    assert worst_px(transforms, truth) < 0.8
