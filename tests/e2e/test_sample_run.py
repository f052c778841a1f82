"""The whole pipeline on the sample: accuracy against the exact truth, and every output read back."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from commands.sample.truth import Truth
from components.shared.geometry import transform_points
from tests.e2e.stack import Stack, fibstack, said
from tests.e2e.volumes import mean_of_level, through_cloud_volume, through_tensorstore


def _levels(folder: Path) -> list[dict]:
    return json.loads((folder / "info").read_text())["scales"]


def test_neighbour_error_against_the_exact_truth(sample: Stack, figure: Callable[..., None]) -> None:
    accuracy = sample.accuracy()
    figure(f"sample: {said(accuracy)}")
    assert accuracy.mean_px <= 0.15
    assert accuracy.p95_px <= 0.3
    assert accuracy.max_px <= 1.0


def test_points_of_one_column_of_tissue_land_above_each_other(sample: Stack, tmp_path: Path) -> None:
    """`fibstack apply` on where `truth.json` has the same places of the world in every slice."""
    truth = Truth.model_validate_json(sample.truth.read_bytes())
    x, y = truth.width_px / 2, truth.height_px / 2
    in_first = [[x - 150, y - 120], [x, y], [x + 150, y + 120]]
    world = transform_points(np.array(truth.slices[0].matrix), in_first)
    rows = [
        f"{x},{y},{lies.z}"
        for lies in truth.slices
        for x, y in transform_points(np.linalg.inv(np.array(lies.matrix)), world)
    ]
    (tmp_path / "raw.csv").write_text("\n".join(["x,y,slice", *rows]))
    fibstack("apply", sample.output, tmp_path / "raw.csv", tmp_path / "volume.csv", "--unit", "px")
    moved = np.loadtxt(tmp_path / "volume.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
    columns = moved[:, :2].reshape(-1, 3, 2)
    assert np.abs(np.diff(columns, axis=0)).max() < 0.6
    assert np.abs(np.diff(columns, axis=0)).mean() < 0.15
    fibstack(
        "apply",
        sample.output,
        tmp_path / "volume.csv",
        tmp_path / "back.csv",
        "--unit",
        "px",
        "--to",
        "slices",
    )
    back = np.loadtxt(tmp_path / "back.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
    np.testing.assert_allclose(back, np.loadtxt(rows, delimiter=","), atol=0.01)


@pytest.mark.parametrize("name", ["neuroglancer/jpeg", "neuroglancer/raw"])
def test_levels_have_exactly_their_sizes(sample: Stack, name: str) -> None:
    size = np.array(sample.document("transforms.json")["volume_size_xyz"])
    levels = _levels(sample.output / name)
    for level, scale in enumerate(levels):
        assert scale["size"] == [int(-(-n // 2**level)) for n in size]
    assert max(levels[-1]["size"]) <= 64 < max(levels[-2]["size"])


def test_lossless_levels_are_means_of_the_level_below(sample: Stack) -> None:
    folder = sample.output / "neuroglancer/raw"
    below = through_tensorstore(folder, 0)
    for level in range(1, len(_levels(folder))):
        data = through_tensorstore(folder, level)
        np.testing.assert_array_equal(data, mean_of_level(below))
        below = data


@pytest.mark.parametrize("name", ["neuroglancer/jpeg", "neuroglancer/raw", "chunk"])
def test_two_readers_agree(sample: Stack, name: str) -> None:
    folder = sample.output / name
    for level in range(len(_levels(folder))):
        np.testing.assert_array_equal(through_tensorstore(folder, level), through_cloud_volume(folder, level))


def test_outputs_show_the_aligned_tiles(sample: Stack) -> None:
    tiles = ts.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{sample.output}/tmp/aligned/"}}
    ).result()
    aligned = tiles.read().result()
    np.testing.assert_array_equal(through_tensorstore(sample.output / "chunk", 0), aligned)
    np.testing.assert_array_equal(through_tensorstore(sample.output / "neuroglancer/raw", 0), aligned)
    jpeg = through_tensorstore(sample.output / "neuroglancer/jpeg", 0)
    assert np.abs(jpeg.astype(float) - aligned).mean() < 6


def test_neighbours_correlate_after_alignment(sample: Stack, figure: Callable[..., None]) -> None:
    run = sample.document("run.json")
    assert run["complete"] is True
    figure(f"sample: {run['summary']}")
