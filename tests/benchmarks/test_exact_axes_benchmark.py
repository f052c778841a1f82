"""The benchmark on exact axes: its truth is what is planted, and its measures tell what differs from it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.alignment.method import Found, PointGrid
from benchmarks.exact_axes.__main__ import main
from benchmarks.exact_axes.cases import RECIPES, Planted, plant, write_stack
from benchmarks.exact_axes.levels import level_figures
from benchmarks.exact_axes.measures import Row, score
from benchmarks.exact_axes.planes import Planes, read_planes
from components.shared.documents.transforms import Matrix3
from components.shared.geometry import Matrix, grid_points, transform_points, translation


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume of 64^3 voxels of smooth texture, as slices along z."""
    folder = tmp_path_factory.mktemp("cube")
    rng = np.random.default_rng(0)
    for z in range(64):
        blurred = cv2.GaussianBlur(rng.standard_normal((64, 64)).astype(np.float32), (0, 0), 2)
        levels = np.clip(128 + 200 * blurred, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"img.{z:05d}.png"), levels)
    return folder


@pytest.fixture(scope="module")
def planes(cube: Path) -> Planes:
    return read_planes(cube, "y", 12)


def answer(planted: Planted, change: dict[int, Matrix] | None = None) -> Found:
    """The true matrices, some of them followed by another motion."""

    def rows(z: int, matrix: Matrix) -> Matrix3:
        (a, b, c), (d, e, f), _ = ((change or {}).get(z, np.eye(3)) @ matrix).tolist()
        return (a, b, c), (d, e, f), (0.0, 0.0, 1.0)

    matrices = {z: rows(z, placed.matrix) for z, placed in planted.slices.items()}
    return Found(matrices=matrices, n_pairs=len(matrices) - 1, cpu_s=1.0, peak_mb=1.0)


def scored(planted: Planted, found: Found) -> Row:
    return score("cube y", "case", "method", planted, found)


def test_planes_are_those_of_the_axis(cube: Path) -> None:
    volume = np.stack([cv2.imread(str(cube / f"img.{z:05d}.png"), cv2.IMREAD_UNCHANGED) for z in range(64)])
    assert np.array_equal(read_planes(cube, "y", 10).levels, volume[:, 27:37].transpose(1, 0, 2))
    assert np.array_equal(read_planes(cube, "x", 64).levels, volume.transpose(2, 0, 1))


def test_a_slice_that_does_not_move_is_a_part_of_its_plane(planes: Planes, tmp_path: Path) -> None:
    planted = plant(planes, RECIPES["still"])
    write_stack(planes, RECIPES["still"], planted, tmp_path)
    width, height = planted.size_xy
    left, top = (64 - width) // 2, (64 - height) // 2
    seen = cv2.imread(str(tmp_path / "img.00003.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(seen, planes.levels[3, top : top + height, left : left + width])


@pytest.mark.parametrize("case", RECIPES)
def test_points_go_to_the_world_and_back(planes: Planes, case: str) -> None:
    planted = plant(planes, RECIPES[case])
    points = grid_points(*planted.size_xy)
    for placed in planted.slices.values():
        assert np.allclose(placed.slice_points(placed.world(points)), points, atol=0.02)


def on_grids(planted: Planted, found: Found, per_side: int = 9) -> Found:
    """The answer of matrices as one of points on grids."""
    width, height = planted.size_xy
    xs, ys = np.linspace(0, width - 1, per_side), np.linspace(0, height - 1, per_side)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    grids = {
        z: PointGrid(
            first_xy_px=(0, 0),
            step_xy_px=(xs[1], ys[1]),
            n_xy=(per_side, per_side),
            volume_xy_px=transform_points(np.array(matrix), points).tolist(),
        )
        for z, matrix in found.matrices.items()
    }
    nowhere = dict.fromkeys(found.matrices, ((1.0, 0.0, 99.0), (0.0, 1.0, 99.0), (0.0, 0.0, 1.0)))
    return found.model_copy(update={"grids": grids, "matrices": nowhere})


def test_points_on_a_grid_say_what_the_matrices_say(planes: Planes) -> None:
    planted = plant(planes, RECIPES["turns"])
    found = answer(planted, {5: translation(1.5, -0.5)})
    of_matrices, of_grids = scored(planted, found), scored(planted, on_grids(planted, found))
    assert of_grids.mean_px == pytest.approx(of_matrices.mean_px, abs=1e-6)
    assert of_grids.worst_px == pytest.approx(of_matrices.worst_px, abs=1e-6)
    assert of_grids.by_distance_px == pytest.approx(of_matrices.by_distance_px, abs=1e-6)


@pytest.mark.parametrize("case", ["still", "walk", "turns", "bad slices"])
def test_the_truth_has_no_error(planes: Planes, case: str) -> None:
    planted = plant(planes, RECIPES[case])
    row = scored(planted, answer(planted))
    assert row.worst_px is not None
    assert row.worst_px < 1e-9
    assert row.constant_px is not None
    assert row.constant_px < 1e-9


def test_a_constant_step_is_told_apart(planes: Planes) -> None:
    planted = plant(planes, RECIPES["walk"])
    row = scored(planted, answer(planted, {z: translation(0.3 * z, 0.4 * z) for z in planted.slices}))
    assert row.constant_px == pytest.approx(0.5)
    assert row.worst_px == pytest.approx(0.0, abs=1e-9)


def test_one_slice_that_is_off_is_the_worst(planes: Planes) -> None:
    planted = plant(planes, RECIPES["walk"])
    row = scored(planted, answer(planted, {5: translation(1.0, 0.0)}))
    assert row.worst_px == pytest.approx(1.0, abs=0.2)
    assert row.mean_px is not None
    assert row.mean_px < 0.4


@pytest.mark.parametrize(
    ("case", "rows_at_least", "warp_at_least"), [("rows", 0.8, 0.8), ("soft warp", 0, 0.03)]
)
def test_what_no_matrix_can_tell_is_left(
    planes: Planes, case: str, rows_at_least: float, warp_at_least: float
) -> None:
    planted = plant(planes, RECIPES[case])
    row = scored(planted, answer(planted))
    assert row.rows_px is not None
    assert row.rows_px > rows_at_least
    assert row.warp_px is not None
    assert row.warp_px > warp_at_least


def test_grey_levels_are_compared_about_what_all_slices_have_in_common(
    planes: Planes, tmp_path: Path
) -> None:
    planted = plant(planes, RECIPES["restart"])
    write_stack(planes, RECIPES["restart"], planted, tmp_path)
    left = answer(planted)
    true = {z: (1 / p.gain, -p.offset / p.gain) for z, p in planted.slices.items()}
    doubled = {z: (2 * gain, 2 * offset + 9) for z, (gain, offset) in true.items()}
    for lines in (true, doubled):
        figures = level_figures(planes, planted, tmp_path, left.model_copy(update={"grey_lines": lines}))
        assert figures["levels_before"] > 5
        assert figures["levels_after"] < 0.5
        assert figures["levels_step"] < 0.2
        assert figures["levels_further"] < 0.1
    unchanged = level_figures(planes, planted, tmp_path, left)
    assert unchanged["levels_after"] == unchanged["levels_before"]
    assert unchanged["levels_further"] == 0


def test_the_command_prints_a_row_for_each_method(cube: Path) -> None:
    words = [str(cube), "--planes", "6", "--case", "walk", "--method", "phase", "--method", "phase + ECC"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.count("| walk |") == 2
