"""`fibstack resolve`: another decision about a slice, matching nothing and writing only what changed."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from components.shared.geometry import corner_points, transform_points
from tests.builders import cli
from tests.e2e.conftest import Stack, fibstack


def _inner_z(stack: Stack) -> int:
    """A slice of the first slab of two that does not touch the volume's border: its box needs others."""
    transforms = stack.document("transforms.json")
    size_xy = np.array(transforms["volume_size_xyz"][:2])
    for entry in transforms["slices"][1:15]:
        corners = transform_points(np.array(entry["matrix"]), corner_points(203, 170))
        if corners.min() > 0.5 and (corners < size_xy - 1.5).all():
            return entry["z"]
    raise AssertionError("every slice touches the border")


@pytest.fixture(scope="module")
def aligned(small_sample: Stack, run_folder: Path) -> Stack:
    stack = Stack(small_sample.source, run_folder / "resolve", small_sample.minz, small_sample.maxz)
    stack.run("--set", "keep_tiles=true", "--jobs", 2)
    return stack


def _digests(output: Path) -> dict[str, str]:
    """Of every file but the page, which tells how long the steps took."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != "index.html"
    }


def _written(output: Path, pattern: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(output.glob(pattern))}


def _steps(logs: Path) -> set[str]:
    (folder,) = logs.iterdir()
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_an_override_rewrites_what_it_changes_and_can_be_taken_back(aligned: Stack, tmp_path: Path) -> None:
    output = aligned.output
    first = _digests(output)
    records = _written(output, "process/records/align/*.json") | _written(
        output, "process/records/tile/*.json"
    )
    assert {"0.json", "1.json"} <= records.keys()
    z = _inner_z(aligned)
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text(f"- {{z: {z}, replace: previous}}\n")

    fibstack("resolve", output, "--overrides", decisions, "--jobs", 2, "--log-dir", tmp_path / "there")
    shown = {s["z"]: s["replaced_from"] for s in aligned.document("transforms.json")["slices"]}
    assert shown.pop(z) == z - 1
    assert set(shown.values()) == {None}
    assert aligned.document("plan.json")["overrides"][0]["z"] == z
    assert "align" not in _steps(tmp_path / "there")
    now = _written(output, "process/records/align/*.json") | _written(output, "process/records/tile/*.json")
    assert {name for name in records if now[name] != records[name]} == {"0.json"}

    fibstack("resolve", output, "--overrides", "", "--jobs", 2, "--log-dir", tmp_path / "back")
    assert "align" not in _steps(tmp_path / "back")
    assert _digests(output) == first


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--set", "neighbours=2"], 78, "'neighbours' must stay as it is"),
        (["--set", "source=elsewhere"], 65, "the source must be a folder or bucket that exists"),
        (["--overrides", "no-such-file.yaml"], 78, "no-such-file.yaml, which does not exist"),
        (["--set", "clip_limit=2"], 78, "clip_limit"),
    ],
)
def test_mistakes_get_a_sentence_and_change_nothing(
    aligned: Stack, tmp_path: Path, words, code, said
) -> None:
    before = json.dumps(aligned.document("plan.json"))
    done = cli("resolve", aligned.output, *words, "--log-dir", tmp_path / "logs")
    assert done.exit_code == code
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert json.dumps(aligned.document("plan.json")) == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    done = cli("resolve", tmp_path, "--log-dir", tmp_path / "logs")
    assert done.exit_code == 65
    assert "plan.json" in done.stderr
