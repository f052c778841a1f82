"""Places every slice of a stack and says how sure that is, or why it cannot be placed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from components.compose.solve.chain import chained
from components.compose.solve.connectivity import (
    CONTRADICTED,
    Connectivity,
    Refused,
    break_sentence,
    connectivity,
    in_one_part,
    refused_motions,
)
from components.compose.solve.drift import trends_of
from components.compose.solve.pairs import Flags, Solution
from components.compose.solve.problem import Remounts, SolveProblem, problem_of
from components.compose.solve.robust import normal_equations, solve
from components.compose.solve.trend import with_trend_policy
from components.compose.solve.uncertainty import Uncertainty, observed_spread, uncertainty, unknown
from components.shared.documents.align import PairRecord
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Matrix3, Trends
from components.shared.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The place of every slice of a stack, with the problem that was solved and how sure the solution is."""

    problem: SolveProblem
    solution: Solution
    """Solution after the trend policy."""
    isolated: Flags
    """[n] True of a slot that no kept pair holds."""
    n_parts: int
    """Parts of the stack between which no kept pair reaches; 1 where it is whole."""
    uncertainty: Uncertainty
    trends: Trends


def place(plan: Plan, records: Iterable[PairRecord]) -> Placement:
    """Solve for the stack as the plan's configuration asks.

    A single slice without any kept pair does not stop the run as long as pairs bridge it: it is isolated, and
    another is shown in its place.

    Raises:
        UserError: the pairs leave the stack in parts, and the configuration does not allow gaps.
    """
    config = plan.config
    by_slices = {(r.z, r.neighbour_z): r for r in records}
    own = problem_of(plan, by_slices.values())
    remounts = Remounts.of(own)
    problem = own if remounts is None else remounts.turned_back(own)
    n_slices = len(problem.stack)
    solution = _solved(problem, config)
    found = in_one_part(n_slices) if config.skip_align else _connected(plan, problem, solution, by_slices)
    written, known, policy = solution, unknown(n_slices), "keep"
    if config.solver == "robust" and not config.skip_align:
        policy = config.trend
        written = with_trend_policy(problem, solution, policy)
        spread = observed_spread(problem, solution)
        known = uncertainty(normal_equations(problem, solution), spread, found.parts, n_slices)
    trends = trends_of(problem, solution, written, ~found.isolated, policy)
    if remounts is not None:
        written = remounts.brought_back(written)
        trends = trends.model_copy(update={"warnings": (*remounts.sentences(own), *trends.warnings)})
    return Placement(
        problem=own,
        solution=written,
        isolated=found.isolated,
        n_parts=len(found.parts),
        uncertainty=known,
        trends=trends,
    )


def _solved(problem: SolveProblem, config: RunConfig) -> Solution:
    """The slices as they lie, by the plain chain, or by the robust solve."""
    n_slices = len(problem.stack)
    if config.skip_align:
        as_they_lie = np.tile(np.eye(3), (n_slices, 1, 1))
        return Solution(volume_from_slice=as_they_lie, weight=np.zeros(0), residual_px=np.zeros(0))
    return chained(problem.pairs, n_slices) if config.solver == "compose" else solve(problem)


def _connected(
    plan: Plan, problem: SolveProblem, solution: Solution, records: dict[tuple[int, int], PairRecord]
) -> Connectivity:
    """Parts into which the kept pairs divide the stack; an error where several are not allowed."""
    found = connectivity(problem.pairs.chosen(solution.kept), len(problem.stack), problem.cuts)
    if not found.is_whole(_bridge(plan.config)) and not plan.config.allow_gaps:
        sentence = break_sentence(found, problem.stack.z, _refusals(records, problem, solution))
        moved = refused_motions(found, problem.stack.z, records)
        remedy = _overrides_of(moved) if moved else "Look at the slices there"
        raise UserError(
            f"{sentence} in {plan.locations.source_uri}. {remedy}, or add --set allow_gaps=true: "
            "each part then goes on where the one before ends, and isolated slices are replaced."
        )
    return found


def _overrides_of(moved: list[PairRecord]) -> str:
    """A sentence on the motions that refused pairs show, with the overrides that accept them."""
    said = "; ".join(f"{record.neighbour_z} {record.refused_motion}" for record in moved)
    lines = ", ".join(
        f"{{z: {record.neighbour_z}, matrix: {_rounded(record.refused_matrix)}}}" for record in moved
    )
    return (
        f"Compared with the slice before it, slice {said}. Where that is true, say so "
        f"(echo '[{lines}]' > overrides.yaml) and run again with --set overrides=overrides.yaml, turn or "
        "scale these slices in copies of their files"
    )


def _rounded(matrix: Matrix3 | None) -> list[list[float]]:
    """A matrix as it is written in overrides: its digits are good to a hundredth of a pixel."""
    return [[round(x, 6) for x in row[:2]] + [round(row[2], 2)] for row in matrix or ()]


def _bridge(config: RunConfig) -> int:
    """The most isolated slices in a row that pairs reach across."""
    return 0 if config.solver == "compose" else config.neighbours - 1


def _refusals(
    records: dict[tuple[int, int], PairRecord], problem: SolveProblem, solution: Solution
) -> dict[tuple[int, int], Refused]:
    """Why each pair (z, neighbour z) that is not kept was refused, by the solve or by the matching."""
    z, pairs, refused = problem.stack.z, problem.pairs, ~solution.kept
    by_solve = {
        (int(z[i]), int(z[j])): (CONTRADICTED, "")
        for i, j in zip(pairs.slot[refused], pairs.neighbour[refused], strict=True)
    }
    by_matching = {
        key: (r.reason or "refused", r.refused_for) for key, r in records.items() if not r.accepted
    }
    return by_matching | by_solve
