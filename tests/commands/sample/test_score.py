"""`fibstack score`: its two lines, from documents whose errors are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from commands.sample.score import main
from commands.sample.truth import Truth
from commands.sample.walk import make_truth
from components.shared.documents.transforms import Verdict
from components.shared.geometry import Matrix, translation
from tests.builders import invoke, plan_of, transforms_of, with_slice


def write_run(folder: Path, truth: Truth, moved: dict[int, Matrix], bad: dict[int, Verdict]) -> None:
    plan = plan_of(0, len(truth.slices) - 1)
    matrices = [translation(12, 30) @ moved.get(s.z, np.eye(3)) @ np.array(s.matrix) for s in truth.slices]
    transforms = transforms_of(plan, matrices, size_px=(150, 150))
    for z, verdict in bad.items():
        transforms = with_slice(transforms, z, verdict=verdict, action="replace", replaced_from=z - 1)
    (folder / "process").mkdir()
    (folder / "process" / "transforms.json").write_bytes(transforms.to_json())
    (folder / "truth.json").write_bytes(truth.to_json())


def score(folder: Path) -> Result:
    return invoke(main, folder, folder / "truth.json")


def test_two_lines_with_the_errors(tmp_path: Path) -> None:
    truth = make_truth(3, (120, 100), range(12), {})
    write_run(tmp_path, truth, moved={z: translation(0.6, 0.8) for z in (9, 10, 11)}, bad={})
    result = score(tmp_path)
    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()
    assert first == "neighbour error: mean 0.091 px, p95 0.500 px, max 1.000 px after slice 8"
    assert second.startswith("drift: 0.7")
    assert second.endswith("; 12 of 12 slices compared, 0 left out")


def test_slices_that_are_not_good_are_left_out_and_counted(tmp_path: Path) -> None:
    truth = make_truth(3, (120, 100), range(12), {4: "blank", 7: "missing"})
    moved = {4: translation(500, 0), 7: translation(0, 500)}
    write_run(tmp_path, truth, moved, bad={4: "isolated", 7: "missing"})
    result = score(tmp_path)
    assert result.exit_code == 0, result.output
    assert "max 0.000 px" in result.output
    assert "10 of 12 slices compared, 2 left out" in result.output


def test_a_wrong_slice_that_the_run_calls_good_counts(tmp_path: Path) -> None:
    truth = make_truth(3, (120, 100), range(12), {4: "blank"})
    write_run(tmp_path, truth, {4: translation(500, 0)}, bad={})
    assert "max 500.000 px" in score(tmp_path).output


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "truth.json").unlink(), "there is no such file"),
        (lambda folder: (folder / "process" / "transforms.json").unlink(), "there is no such file"),
        (lambda folder: (folder / "truth.json").write_text("{}"), "must be a Truth document"),
        (lambda folder: (folder / "process" / "transforms.json").write_text("[1"), "must be a Transforms"),
        (
            lambda folder: (folder / "truth.json").write_bytes(
                make_truth(0, (9, 9), range(50, 52), {}).to_json()
            ),
            "must share two good slices or more",
        ),
    ],
)
def test_bad_documents_are_one_sentence(tmp_path: Path, damage, sentence: str) -> None:
    write_run(tmp_path, make_truth(3, (120, 100), range(4), {}), {}, {})
    damage(tmp_path)
    result = score(tmp_path)
    assert result.exit_code == 65
    assert sentence in result.output
    assert "Traceback" not in result.output
