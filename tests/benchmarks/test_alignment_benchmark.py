"""The benchmark's cases hold what they claim, and its scores tell a right answer from a wrong one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.alignment.cases import (
    LOOKS,
    RECIPES,
    Case,
    _is_tissue,
    cases_of,
    planted_defects,
    write_case,
)
from benchmarks.alignment.method import Found
from benchmarks.alignment.peers import PEERS
from benchmarks.alignment.scoring import score
from benchmarks.alignment.table import as_markdown, shortfalls
from benchmarks.alignment.tissue import PhantomTissue, real_tissue
from commands.sample.truth import Truth
from components.shared.geometry import corner_points, grid_points, transform_points, translation

SIDE_PX, SLICES = 300, 20


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for a real stack: one texture on every slice, with noise."""
    folder = tmp_path_factory.mktemp("real")
    rng = np.random.default_rng(0)
    texture = sum(
        cv2.GaussianBlur(rng.standard_normal((SIDE_PX, SIDE_PX)), (0, 0), sigma) * sigma
        for sigma in (1.5, 4, 9)
    )
    grey = 128 + 30 * texture / texture.std()
    for z in range(SLICES):
        noisy = np.clip(grey + rng.normal(0, 3, grey.shape), 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"img.{z:05d}.png"), noisy)
    return folder


def case_of(real: Path, name: str) -> Case:
    """A real case, smaller than those of the command; `oblong` does not fit and is left out there."""
    tissue = real_tissue(real, serial=False)
    recipe = RECIPES[name]
    base = cases_of(PhantomTissue(), quick=False)[0]
    window = replace(base.window, size_xy=(200, 200), centre_xy=(149.5, 149.5), room_xy=(44.0, 44.0))
    return Case(name=name, recipe=recipe, tissue=tissue, window=window, n_slices=SLICES)


@pytest.mark.parametrize("name", ["walk", "jumps", "drift", "damaged"])
def test_windows_stay_inside_the_picture(real: Path, tmp_path: Path, name: str) -> None:
    truth = write_case(case_of(real, name), tmp_path)
    for lies in truth.slices:
        corners = transform_points(np.array(lies.matrix), corner_points(200, 200))
        assert corners.min() >= 0, lies.z
        assert corners.max() <= SIDE_PX - 1, lies.z


def test_the_truth_undoes_the_motion(real: Path, tmp_path: Path) -> None:
    truth = write_case(case_of(real, "drift"), tmp_path)
    middle = []
    for lies in truth.slices:
        picture = cv2.imread(str(tmp_path / f"img.{lies.z:05d}.png"), cv2.IMREAD_UNCHANGED)
        placed = cv2.warpAffine(picture, np.array(lies.matrix)[:2], (SIDE_PX, SIDE_PX), flags=cv2.INTER_CUBIC)
        middle.append(placed[110:190, 110:190].astype(float).ravel())
    against_first = [np.corrcoef(middle[0], other)[0, 1] for other in middle[1:]]
    assert min(against_first) > 0.95


def test_jumps_are_as_long_as_promised(real: Path, tmp_path: Path) -> None:
    truth = write_case(case_of(real, "jumps"), tmp_path)
    centres = [transform_points(np.array(s.matrix), [[99.5, 99.5]])[0] for s in truth.slices]
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    assert (steps[[6, 13]] > 50).all()


def test_faults_are_in_the_files(real: Path, tmp_path: Path) -> None:
    truth = write_case(case_of(real, "damaged"), tmp_path)
    by_kind = {s.defect: s.z for s in truth.slices if s.defect}

    def picture(kind: str) -> np.ndarray:
        return cv2.imread(str(tmp_path / f"img.{by_kind[kind]:05d}.png"), cv2.IMREAD_UNCHANGED)

    assert not (tmp_path / f"img.{by_kind['missing']:05d}.png").exists()
    assert picture("blank").max() < 40
    assert (picture("half")[100:] == 0).all()
    assert picture("half")[:100].std() > 10
    before = tmp_path / f"img.{by_kind['duplicate'] - 1:05d}.png"
    assert before.read_bytes() == (tmp_path / f"img.{by_kind['duplicate']:05d}.png").read_bytes()


def test_halves_and_a_gap_are_planted_where_they_say() -> None:
    halves, gap = planted_defects("halves", 10), planted_defects("gap", 30)
    assert halves == {1: "half", 4: "half", 7: "half"}
    assert gap == dict.fromkeys(range(10, 20), "missing")


def test_every_third_slice_is_one_of_three(real: Path, tmp_path: Path) -> None:
    asked = []

    class Watched:
        name, size_xy, n_slices, serial = "watched", (SIDE_PX, SIDE_PX), SLICES, False

        def grey(self, z: int, world_from_slice: np.ndarray, size_xy: tuple[int, int]) -> np.ndarray:
            asked.append(z)
            return np.full(size_xy[::-1], 100, np.float32)

    write_case(replace(case_of(real, "thirds"), tissue=Watched(), n_slices=4), tmp_path)
    assert asked == [0, 3, 6, 9]


def test_remounts_turn_and_magnify_as_they_say(real: Path, tmp_path: Path) -> None:
    truth = write_case(replace(case_of(real, "remounts"), n_slices=3), tmp_path)
    first, turned, magnified = (np.array(s.matrix)[:2, :2] for s in truth.slices)
    assert np.array_equal(first, np.eye(2))
    assert np.degrees(np.arctan2(turned[1, 0], turned[0, 0])) == pytest.approx(12)
    assert np.allclose(magnified * 1.1, np.eye(2))


def test_a_wobble_shears_and_comes_back(real: Path, tmp_path: Path) -> None:
    truth = write_case(case_of(real, "wobble"), tmp_path)
    shears = [s.matrix[0][1] for s in truth.slices]
    assert max(shears) == pytest.approx(0.01)
    assert shears[10] == pytest.approx(shears[0], abs=1e-9)


@pytest.mark.parametrize(("name", "sigma"), [("SNR 1", 1.0), ("SNR 0.5", 2.0), ("SNR 0.3", 1 / 0.3)])
def test_noise_is_as_loud_as_it_says(name: str, sigma: float) -> None:
    rng = np.random.default_rng(0)
    grey = (128 + 20 * rng.standard_normal((200, 200))).astype(np.float32)
    assert np.std(LOOKS[name](grey, rng) - grey) == pytest.approx(sigma * grey.std(), rel=0.02)


def test_few_electrons_keep_the_mean_and_spread_as_they_count() -> None:
    grey = np.full((200, 200), 120, np.float32)
    shown = LOOKS["6 electrons"](grey, np.random.default_rng(0))
    assert shown.mean() == pytest.approx(120, rel=0.01)
    assert shown.std() / shown.mean() == pytest.approx(6**-0.5, rel=0.02)


def test_curtains_stand_still_and_run_along_y() -> None:
    grey, rng = np.full((50, 200), 120, np.float32), np.random.default_rng(0)
    first, second = (LOOKS["curtains"](grey, rng) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(first[0], first[-1])
    assert np.ptp(first) >= 20


def test_tissue_in_resin_moves_with_the_tissue_and_covers_its_share(real: Path) -> None:
    window = case_of(real, "resin").window
    x, y = window.centre_xy[0] - 99.5, window.centre_xy[1] - 99.5
    still, moved = _is_tissue(window, translation(x, y)), _is_tissue(window, translation(x + 5, y))
    assert still.mean() == pytest.approx(0.2, rel=0.01)
    assert np.array_equal(still[:, 5:], moved[:, :-5])


def test_a_case_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    case = next(case for case in cases_of(PhantomTissue(), quick=True) if case.name == "16 bit")
    small = replace(case, window=replace(case.window, size_xy=(96, 64)), n_slices=2)
    for name in "ab":
        write_case(small, tmp_path / name)
    for first in (tmp_path / "a").iterdir():
        assert first.read_bytes() == (tmp_path / "b" / first.name).read_bytes()
    picture = cv2.imread(str(tmp_path / "a" / "img.00000.png"), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16
    assert np.ptp(picture.astype(int)) < 2000


def test_planted_defects_leave_good_slices_between() -> None:
    planted = sorted(planted_defects("spread", 16))
    assert min(np.diff(planted)) >= 2
    assert planted[0] > 0
    assert planted[-1] < 15


@pytest.mark.parametrize("name", [name for name in PEERS if "pystackreg" not in name])
def test_peers_give_the_matrix_from_a_slice_to_the_next(real: Path, name: str) -> None:
    grey = cv2.imread(str(real / "img.00000.png"), cv2.IMREAD_UNCHANGED)
    step = PEERS[name](grey[20:270, 20:270], grey[13:263, 24:274])
    assert step is not None
    points = grid_points(250, 250)
    error = np.linalg.norm(
        transform_points(step, points) - transform_points(translation(-4, 7), points), axis=1
    )
    assert error.mean() < 0.5


def test_pystackreg_gives_the_matrix_from_a_slice_to_the_next(real: Path) -> None:
    pytest.importorskip("pystackreg", reason="an extra of the benchmark")
    test_peers_give_the_matrix_from_a_slice_to_the_next(real, "pystackreg rigid")


def scored(truth: Truth, case: Case, matrices: dict, **found: object):
    answer = Found(matrices=matrices, n_pairs=1, cpu_s=1, peak_mb=1, **found)
    return score(case, found.get("method", "fibstack"), truth, answer, unmoved=None)


def test_scores_tell_right_from_wrong(real: Path, tmp_path: Path) -> None:
    case = case_of(real, "damaged")
    truth = write_case(case, tmp_path)
    right = {s.z: s.matrix for s in truth.slices}
    names = {"defocus": "defocused", "half": "partial"}
    verdicts = {s.z: names.get(s.defect, s.defect) for s in truth.slices if s.defect}
    row = scored(truth, case, right, verdicts=verdicts)
    assert (row.max_px, row.n_failed, row.n_found, row.n_right) == (pytest.approx(0, abs=1e-6), 0, 7, 7)
    assert not row.missed
    assert not row.false_alarms

    moved = right | {9: (translation(5, 0) @ np.array(right[9])).tolist()}
    worse = scored(truth, case, moved, verdicts={9: "slip"})
    assert worse.n_failed == 2
    assert worse.n_found == 0
    assert worse.false_alarms == {9: "slip"}

    unplaced = scored(truth, case, right, unplaced=[9])
    assert unplaced.n_failed == 1
    lost = scored(truth, case, {}, stopped="no pair")
    assert lost.n_failed == lost.n_good


def test_the_table_and_the_shortfalls_name_what_is_worse(real: Path, tmp_path: Path) -> None:
    case = case_of(real, "walk")
    truth = write_case(case, tmp_path)
    right = {s.z: s.matrix for s in truth.slices}
    off = {z: (translation(3.0 * z, 0) @ np.array(matrix)).tolist() for z, matrix in right.items()}
    own = scored(truth, case, off)
    peer = scored(truth, case, right).model_copy(update={"method": "peer"})
    sentences = " ".join(shortfalls([own, peer]))
    assert "peer has 0.000 px" in sentences
    assert "19 pairs fail" in sentences
    assert "| **0.00** |" in as_markdown([own, peer])
    assert (
        shortfalls([peer.model_copy(update={"method": "fibstack"}), own.model_copy(update={"method": "p"})])
        == []
    )
