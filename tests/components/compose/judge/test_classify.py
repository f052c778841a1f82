"""Each verdict follows from the evidence that asks for it, and from nothing else."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from components.compose.judge.classify import SliceVerdict, classify
from components.compose.judge.limits import FIGURES, VERDICTS
from components.compose.judge.slice_figures import SliceFigures, excess, figures_of
from components.compose.solve.connectivity import connectivity
from components.compose.solve.pairs import Slices
from components.compose.solve.problem import SolveProblem, accepted_pairs
from components.compose.solve.robust import solve
from components.shared.documents.align import PairRecord, SliceStatistics
from components.shared.documents.transforms import Verdict
from components.shared.geometry import rotation_about, translation

N, K, WIDTH = 40, 4, 500.0
USUAL_NCC = {1: 0.95, 2: 0.85, 3: 0.75, 4: 0.65}


def slice_statistics(z: int, rng: np.random.Generator, **changes: Any) -> SliceStatistics:
    values = {
        "mean": 120.0, "std": 35 * (1 + rng.normal(0, 0.01)), "low": 50.0, "high": 200.0,
        "zero_fraction": 0.0, "saturated_fraction": 0.0, "content_fraction": 0.95,
        "sharpness": 0.4 * (1 + rng.normal(0, 0.02)),
        "n_features": 2000,
    }  # fmt: skip
    return SliceStatistics(z=z, **values | changes)


class Evidence:
    """A good stack with a random walk; tests spoil what they need."""

    def __init__(self, n: int = N, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.stack = Slices(z=np.arange(n), sizes_xy=np.full((n, 2), WIDTH))
        self.position = np.cumsum(rng.normal(0, 2, (n, 2)), axis=0)
        self.statistics = {z: slice_statistics(z, rng) for z in range(n)}
        self.changes: dict[tuple[int, int], dict[str, Any]] = {}

    def change(self, z: int, **changes: Any) -> None:
        self.statistics[z] = self.statistics[z].model_copy(update=changes)

    def pairs_of(self, z: int, **changes: Any) -> None:
        """Change every pair of a slice."""
        for i, j in self.ends():
            if z in (i, j):
                self.pair(i, j, **changes)

    def pair(self, i: int, j: int, **changes: Any) -> None:
        self.changes[i, j] = self.changes.get((i, j), {}) | changes

    def ends(self) -> list[tuple[int, int]]:
        n = len(self.stack)
        return [(i, j) for i in range(n) for j in range(i + 1, min(i + K, n - 1) + 1)]

    def record(self, i: int, j: int) -> PairRecord:
        values = {
            "z": i, "neighbour_z": j, "accepted": True, "reason": "", "n_matches": 100, "n_inliers": 90,
            "coverage": 0.9, "model": "translation", "residuals_px": {}, "sigma_px": 0.1, "n_windows": 40,
            "matrix": translation(*(self.position[i] - self.position[j])).tolist(), "ncc_before": 0.5,
            "ncc_after": USUAL_NCC[j - i], "fallback": "",
        }  # fmt: skip
        return PairRecord(**values | self.changes.get((i, j), {}))

    def figures(self, *others: PairRecord) -> SliceFigures:
        records = [self.record(i, j) for i, j in self.ends()] + list(others)
        pairs = accepted_pairs(records, self.stack)
        problem = SolveProblem.of(self.stack, pairs)
        solution = solve(problem)
        isolated = connectivity(pairs.chosen(solution.kept), len(self.stack)).isolated
        return figures_of(problem, solution, isolated, self.statistics, records)

    def findings(self) -> dict[int, SliceVerdict]:
        return {z: f for z, f in enumerate(classify(self.figures())) if f.verdict != "good"}

    def verdicts(self) -> dict[int, str]:
        return {z: f.verdict for z, f in self.findings().items()}


REFUSED = {
    "accepted": False,
    "reason": "too_few_inliers",
    "matrix": None,
    "ncc_after": 0.0,
    "ncc_before": 0.0,
}


@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_good_slices_are_good(n: int) -> None:
    assert Evidence(n).verdicts() == {}


def test_a_pair_with_a_slice_that_is_missing_says_nothing() -> None:
    evidence = Evidence()
    with_missing = evidence.record(N - 2, N - 1).model_copy(update={"neighbour_z": N})
    for field in ("n_pairs", "n_accepted", "n_kept"):
        np.testing.assert_array_equal(
            getattr(evidence.figures(with_missing), field), getattr(evidence.figures(), field)
        )


@pytest.mark.parametrize("z", [0, 1, 20, 38, 39])
@pytest.mark.parametrize(
    ("verdict", "changes"),
    [
        ("blank", {"std": 1.5, "sharpness": 16.0}),
        ("blank", {"std": 0.0, "sharpness": 0.0, "content_fraction": 0.0, "zero_fraction": 1.0}),
        ("blank", {"content_fraction": 0.0}),
        ("blank", {"zero_fraction": 1.0}),
        ("saturated", {"saturated_fraction": 0.9}),
        ("defocused", {"sharpness": 0.05}),
        ("isolated", {}),
    ],
)
def test_a_slice_that_matches_nothing(z: int, verdict: Verdict, changes: dict[str, Any]) -> None:
    evidence = Evidence()
    evidence.change(z, **changes)
    evidence.pairs_of(z, **REFUSED)
    assert evidence.verdicts() == {z: verdict}


def test_a_slice_that_no_pair_holds_says_why_its_closest_pair_was_refused() -> None:
    evidence = Evidence()
    evidence.pairs_of(20, **REFUSED, refused_for="6 points, at least 20")
    said = evidence.findings()[20].evidence
    assert said.startswith("no pair holds it; 0 of ")
    assert said.endswith(" pairs kept: too few points agree on a motion (6 points, at least 20)")


@pytest.mark.parametrize(
    ("verdict", "changes"),
    [
        ("partial", {"content_fraction": 0.55}),
        ("partial", {"zero_fraction": 0.5}),
        ("defocused", {"sharpness": 0.1}),
        ("charged", {"std": 60.0}),
        ("charged", {"streaks_along_x": 0.3}),
    ],
)
def test_a_poor_slice_that_still_matches(verdict: Verdict, changes: dict[str, Any]) -> None:
    evidence = Evidence()
    evidence.change(20, **changes)
    evidence.pairs_of(20, ncc_after=0.4)
    assert evidence.verdicts() == {20: verdict}


@pytest.mark.parametrize(
    ("statistic", "usual", "odd", "figure", "sigmas"),
    [
        ("std", 35.0, 35.0 * 1.2, "log_std", math.log(1.2) / 0.03),
        ("contrast", 20.0, 20.0 * 1.3, "log_contrast", math.log(1.3) / 0.05),
        ("sharpness", 0.4, 0.4 * 0.75, "log_sharpness", math.log(0.75) / 0.04),
        ("noise", 5.0, 5.0 * 1.3, "log_noise", math.log(1.3) / 0.04),
        ("content_fraction", 0.95, 0.75, "content", -0.2 / 0.03),
        ("zero_fraction", 0.0, 0.06, "zero", 6.0),
        ("saturated_fraction", 0.0, 0.06, "saturated", 6.0),
        ("streaks_along_x", 0.1, 0.16, "streaks", 6.0),
    ],
)
def test_in_an_even_stack_a_difference_counts_against_its_floor(
    statistic: str, usual: float, odd: float, figure: str, sigmas: float
) -> None:
    evidence = Evidence()
    for z in range(N):
        evidence.change(z, **{statistic: usual})
    evidence.change(20, **{statistic: odd})
    assert getattr(evidence.figures(), figure).sigmas[20] == pytest.approx(sigmas)
    assert abs(sigmas) > VERDICTS.notable_sigmas


def test_noise_above_that_of_a_quiet_stack_is_charging() -> None:
    evidence = Evidence()
    for z in range(N):
        evidence.change(z, noise=5.0)
    evidence.change(20, noise=6.5)
    evidence.pairs_of(20, ncc_after=0.4)
    assert evidence.verdicts() == {20: "charged"}


@pytest.mark.parametrize(("refused", "verdicts"), [(4, {20: "defocused"}), (3, {})])
def test_a_soft_slice_suffers_where_half_of_its_pairs_fail(refused: int, verdicts: dict[int, str]) -> None:
    evidence = Evidence()
    evidence.change(20, sharpness=0.4 * 0.6)
    for i, j in [(16, 20), (17, 20), (20, 23), (20, 24)][:refused]:
        evidence.pair(i, j, **REFUSED)
    assert evidence.verdicts() == verdicts


def test_odd_figures_of_a_slice_that_agrees_with_its_neighbours_mean_nothing() -> None:
    evidence = Evidence()
    evidence.change(10, std=60.0)
    evidence.change(20, streaks_along_x=0.3)
    evidence.change(30, sharpness=0.27)
    assert evidence.verdicts() == {}


def test_a_lasting_change_is_no_fault() -> None:
    evidence = Evidence()
    for z in range(20, N):
        evidence.change(z, content_fraction=0.5, sharpness=0.15, std=12.0, zero_fraction=0.3)
    evidence.pairs_of(20, ncc_after=0.6)
    assert evidence.verdicts() == {}


def test_three_bad_slices_in_a_row() -> None:
    evidence = Evidence()
    for z in (20, 21, 22):
        evidence.change(z, sharpness=0.05)
    assert evidence.verdicts() == dict.fromkeys((20, 21, 22), "defocused")


@pytest.mark.parametrize("changes", [{"ncc_before": 1.0, "ncc_after": 1.0}, {"difference": 0.0}])
def test_the_second_of_two_equal_slices_is_the_duplicate(changes: dict[str, Any]) -> None:
    evidence = Evidence()
    evidence.position[21:] += evidence.position[20] - evidence.position[21]
    evidence.pair(20, 21, **changes)
    assert evidence.verdicts() == {21: "duplicate"}


@pytest.mark.parametrize("block", [[20], [0], [5, 6, 7], list(range(25, 40))])
@pytest.mark.parametrize("accepted", [True, False])
def test_the_rarer_grey_levels_are_inverted(block: list[int], accepted: bool) -> None:
    evidence = Evidence()
    for i, j in evidence.ends():
        if (i in block) != (j in block):
            evidence.pair(i, j, **({"fallback": "inverted"} if accepted else REFUSED | {"ncc_before": -0.7}))
    assert evidence.verdicts() == dict.fromkeys(block, "inverted") | (
        {} if accepted or len(block) < 4 else {25: "inverted"}
    )


@pytest.mark.parametrize(("below", "verdict"), [(0.0, "isolated"), (0.01, "inverted")])
def test_refused_pairs_invert_a_slice_below_the_limit_alone(below: float, verdict: Verdict) -> None:
    evidence = Evidence()
    evidence.pairs_of(20, **REFUSED | {"ncc_before": FIGURES.opposite_ncc - below})
    assert evidence.verdicts() == {20: verdict}


def test_a_slice_that_jumps_out_and_back_slipped() -> None:
    evidence = Evidence()
    evidence.position[20] += (34, -23)
    found = evidence.findings()
    assert {z: f.verdict for z, f in found.items()} == {20: "slip"}
    limit = r"lies \d+\.\d px off its neighbours \(limit \d+\.\d px\), moved back; 8 of 8 pairs kept"
    assert re.fullmatch(limit, found[20].evidence)


def test_a_slice_that_the_solve_contradicts_slipped() -> None:
    evidence, rng = Evidence(), np.random.default_rng(5)
    for i, j in evidence.ends():
        if 20 in (i, j):
            evidence.pair(i, j, matrix=translation(*rng.uniform(-90, 90, 2)).tolist())
    assert evidence.verdicts() == {20: "slip"}


def test_a_jump_that_lasts_is_a_step() -> None:
    evidence = Evidence()
    evidence.position[20:] += (80, 50)
    found = evidence.findings()
    assert {z: f.verdict for z, f in found.items()} == {20: "step"}
    assert "stays there" in found[20].evidence


def test_a_part_that_nothing_joins_begins_with_a_step() -> None:
    evidence = Evidence()
    for i, j in evidence.ends():
        if i < 20 <= j:
            evidence.pair(i, j, **REFUSED)
    assert evidence.verdicts() == {20: "step"}


def test_evidence_tells_figures() -> None:
    evidence = Evidence()
    evidence.change(20, sharpness=0.05)
    evidence.pair(20, 22, **REFUSED)
    text = evidence.findings()[20].evidence
    assert text.startswith("sharpness ")
    assert text.endswith("of theirs (limit 50%); 7 of 8 pairs kept")


@pytest.mark.parametrize(
    "changes",
    [
        {"saturated_fraction": 0.9},
        {"zero_fraction": 1.0},
        {"content_fraction": 0.4},
        {"sharpness": 0.05},
    ],
)
def test_evidence_tells_the_limit_of_each_figure(changes: dict[str, float]) -> None:
    evidence = Evidence()
    evidence.change(20, **changes)
    evidence.pairs_of(20, **REFUSED)
    text = evidence.findings()[20].evidence
    assert re.search(r"\d(%| sigma| zeros)[^;]*\(limit \d+(%|)\)", text), text


def test_evidence_of_a_copy_tells_how_little_it_differs() -> None:
    evidence = Evidence()
    evidence.pair(19, 20, ncc_before=1.0, difference=0.004)
    text = evidence.findings()[20].evidence
    assert text.endswith("as the slice before: they differ by 0.4% of their contrast (limit 2%)")


def test_excess_is_that_over_the_nearer_side() -> None:
    values = np.concatenate([np.zeros(30), np.full(30, 5.0)])
    values[10], values[40] = 3.0, -2.0
    found = excess(values, 0.1)
    assert found.size[[10, 40]].tolist() == [3.0, -7.0]
    assert not found.size[[0, 29, 30, 59]].any()


def test_ten_thousand_slices_take_no_time() -> None:
    assert excess(np.random.default_rng(0).normal(size=13_696), 0.1).sigmas.shape == (13_696,)


def test_a_slice_that_turns_about_its_centre_takes_no_step() -> None:
    evidence, center = Evidence(), ((WIDTH - 1) / 2, (WIDTH - 1) / 2)
    angle = np.where(np.arange(N) % 2 == 0, 0.004, -0.004)
    for i, j in evidence.ends():
        evidence.pair(i, j, matrix=rotation_about(center, angle[j] - angle[i]).tolist())
    assert np.abs(evidence.figures().steps_xy).max() < 0.01


@pytest.mark.parametrize(("kept", "verdicts"), [(0, {20: "blank"}), (1, {})])
def test_a_faint_slice_is_blank_where_no_pair_holds_it(kept: int, verdicts: dict[int, str]) -> None:
    evidence = Evidence()
    evidence.change(20, std=35.0 * (VERDICTS.faint + VERDICTS.empty) / 2)
    for i, j in [end for end in evidence.ends() if 20 in end][kept:]:
        evidence.pair(i, j, **REFUSED)
    assert evidence.verdicts() == verdicts
