"""Slow motions along z, described so that a person can choose the trend policy.

Three questions about each number of the transforms (`Track`):

- Is it more than chance? A walk of independent steps ends at the root of their number times their spread. The
  steps are those between means of `step_length` slices, so that the jitter of single slices, which does not
  add up, does not count.
- Do near and far pairs agree? Errors of matching that add up along the chain of neighbours do not add up in
  the same way over pairs that reach farther. Where the two disagree, part of the track is error
  (non-closure).
- Does it matter? A block of tissue does not stretch by 0.2%, and an even drift only needs a larger volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.compose.solve.chain import neighbours_of, steps_of
from components.compose.solve.limits import ROUND_OFF, DriftLimits
from components.compose.solve.pairs import Flags, Floats, Integers, Pairs, Solution, bounding_box
from components.compose.solve.problem import SolveProblem
from components.compose.solve.ties import PoseFrame
from components.compose.solve.trend import linear_tracks
from components.shared.documents.transforms import Track, Trends

_PARAMETERS = ("x", "y", "rotation", "scale_x", "scale_y", "shear")
_UNITS = ("px", "px", "deg", "ppm", "ppm", "ppm")


@dataclass(frozen=True, slots=True, kw_only=True)
class NonClosure:
    """Net motion by the far pairs alone minus that by the near ones, `[6]`, one for each parameter."""

    mean: Floats
    sigma: Floats
    """1-sigma of the mean by chance."""


def trends_of(problem: SolveProblem, solved: Solution, written: Solution, held: Flags, policy: str) -> Trends:
    """Describe the tracks of a solution before and after the trend policy.

    Args:
        problem: What was solved.
        solved: The solution as the pairs have it.
        written: The solution after the policy.
        held: `[n]` whether kept pairs hold a slot; the others count for nothing.
        policy: Name of the policy.
    """
    stack, frame, limits = problem.stack, problem.frame, problem.limits.drift
    held = held if held.any() else np.ones(len(stack), np.bool_)
    raw = _tracks_of(solved.volume_from_slice[held], frame)
    final = _tracks_of(written.volume_from_slice[held], frame)
    far = non_closure(problem.pairs.chosen(solved.kept), len(stack), frame, limits)
    length = max(1, min(limits.step_length, len(raw) // limits.least_steps))
    tracks = tuple(_track(i, raw[:, i], final[:, i], length, far) for i in range(len(_PARAMETERS)))
    growth, written_growth = (
        _growth(s.volume_from_slice[held], stack.sizes_xy[held]) for s in (solved, written)
    )
    return Trends.model_validate(
        {
            "policy": policy,
            "n_slices": len(stack),
            "tracks": tracks,
            "box_growth": growth,
            "written_box_growth": written_growth,
            "warnings": (
                *_warnings(final, stack.z[held], written_growth, limits),
                *_still_runs(problem, solved.kept),
            ),
            "suggestion": _suggestion(tracks, problem, written_growth),
        }
    )


def _tracks_of(matrices: Floats, frame: PoseFrame) -> Floats:
    """[n, 6] position, rotation, scales and shear of matrices in the units of the tracks."""
    poses = frame.poses(matrices)
    centers: Floats = poses[:, :, 2] - np.asarray(frame.center_xy)
    linear = linear_tracks(poses[:, :, :2] / frame.half_px)
    linear[:, 0] = np.degrees(linear[:, 0])
    linear[:, 1:] *= 1e6
    return np.concatenate([centers, linear], axis=1)


def _track(index: int, raw: Floats, final: Floats, length: int, far: NonClosure | None) -> Track:
    """The track of one parameter from its values before and after the policy."""
    n_blocks = max(1, len(raw) // length)
    blocks = raw[: n_blocks * length].reshape(n_blocks, -1).mean(axis=1)
    steps = np.diff(blocks)
    walk = float(steps.std() * len(steps) ** 0.5) if len(steps) else 0.0
    return Track.model_validate(
        {
            "parameter": _PARAMETERS[index],
            "unit": _UNITS[index],
            "net": _rounded(raw[-length:].mean() - raw[:length].mean()),
            "expected_net": _rounded(walk),
            "step_length": length,
            "non_closure": None if far is None else _rounded(far.mean[index]),
            "non_closure_sigma": None if far is None else _rounded(far.sigma[index]),
            "lowest": _rounded(raw.min()),
            "highest": _rounded(raw.max()),
            "written_lowest": _rounded(final.min()),
            "written_highest": _rounded(final.max()),
        }
    )


def non_closure(kept: Pairs, n_slices: int, frame: PoseFrame, limits: DriftLimits) -> NonClosure | None:
    """Compare the farthest pairs with the products of the near pairs below them; None where too few tell."""
    distance = kept.neighbour - kept.slot
    steps = steps_of(neighbours_of(kept), n_slices)
    for reach in range(int(distance.max(initial=1)), 1, -1):
        errors = _closure_errors(kept.chosen(distance == reach), steps, reach)
        if len(errors) >= limits.min_closures:
            end_to_end = _tracks_of(errors, frame) * (n_slices - 1) / reach
            # Standard error of a mean. Neighbouring errors share all but one step, so only each reach-th of
            # them is independent.
            sigma = end_to_end.std(axis=0) * (reach / len(end_to_end)) ** 0.5
            return NonClosure(mean=end_to_end.mean(axis=0), sigma=sigma)
    return None


def _closure_errors(far: Pairs, steps: Floats, reach: int) -> Floats:
    """[c, 3, 3] `inverse(far) @ product of the near pairs below it`: the identity where they agree."""
    product: Floats = np.tile(np.eye(3), (len(far), 1, 1))
    for ahead in range(reach):
        product = steps[far.slot + ahead] @ product
    whole = np.isfinite(product).all(axis=(1, 2))
    return np.linalg.solve(far.neighbour_from_slice[whole], product[whole]).astype(np.float64)


def _growth(matrices: Floats, sizes_xy: Floats) -> float:
    """Area of the box around all slices over that of the largest slice."""
    width, height = bounding_box(matrices, sizes_xy).size_xy
    largest = sizes_xy.max(axis=0)
    return _rounded(width * height / (largest[0] * largest[1]))


def _warnings(written: Floats, z: Integers, growth: float, limits: DriftLimits) -> tuple[str, ...]:
    found = []
    for index in (3, 4, 5):
        worst = int(np.abs(written[:, index]).argmax())
        value = float(written[worst, index])
        if abs(value) > limits.notable_ppm:
            found.append(
                f"{_PARAMETERS[index]} should stay within {limits.notable_ppm:,.0f} ppm; "
                f"got {value:+,.0f} ppm at slice {z[worst]}. "
                "Tissue does not stretch so much: compare trend hybrid and keep"
            )
    if growth > limits.notable_growth:
        found.append(
            f"the slices drift apart: the volume is {growth:.2f} times as large as the largest slice. Where "
            "the drift is not in the tissue, trend straighten or detrend removes it"
        )
    return tuple(found)


def _still_runs(problem: SolveProblem, kept: Flags) -> list[str]:
    """A warning for each run of slices between which nothing moves, where the rest of the stack does."""
    stack, pairs = problem.stack, problem.pairs.chosen(kept)
    still = problem.ties.are_still(problem.frame, problem.limits.ties, among=kept)
    moves = np.zeros(len(stack), np.bool_)
    moves[pairs.slot[~still]] = moves[pairs.neighbour[~still]] = True
    held = np.zeros(len(stack), np.bool_)
    held[pairs.slot] = held[pairs.neighbour] = True
    runs = np.flatnonzero(np.diff(np.concatenate([[0], (held & ~moves).view(np.int8), [0]])))
    return [
        f"slices {stack.z[first]}-{stack.z[end - 1]} do not move at all against each other, where others do: "
        "a pattern that stands still may hide the tissue. Look at them, and skip them or give a matrix"
        for first, end in zip(runs[::2], runs[1::2], strict=True)
        if end - first >= problem.limits.drift.still_run
    ]


def _suggestion(tracks: tuple[Track, ...], problem: SolveProblem, growth: float) -> str:
    """A sentence or two on the trend policy that fits, and why."""
    limits, long_slices = problem.limits.drift, problem.limits.trend.long_slices
    n_slices = len(problem.stack)
    if n_slices < long_slices:
        return (
            f"{n_slices} slices are too few to tell a trend from a walk ({long_slices} are needed): "
            "hybrid leaves them as keep does."
        )
    open_loops = [t for t in tracks if _is_notable(t.non_closure, t.non_closure_sigma, limits)]
    linear = [t for t in tracks[2:] if _is_notable(t.net, t.expected_net, limits)]
    centers = [t for t in tracks[:2] if _is_notable(t.net, t.expected_net, limits)]
    sentences = []
    if open_loops:
        sentences.append(
            f"Near and far pairs disagree on {_names(open_loops)}, so part of that drift is an error of "
            "matching: compare with detrend."
        )
    if linear:
        sentences.append(f"{_names(linear)} drifts beyond chance: hybrid removes it, keep believes it.")
    if centers:
        policy = "straighten" if growth > limits.notable_growth else "keep or hybrid"
        sentences.append(
            f"The position drifts beyond chance in {_names(centers)}, by slanted tissue or by the stage: "
            f"{policy} fits, and anchor where true positions are known."
        )
    return " ".join(sentences) or "No drift beyond chance: keep and hybrid agree."


def _is_notable(value: float | None, sigma: float | None, limits: DriftLimits) -> bool:
    return value is not None and sigma is not None and abs(value) > limits.notable_ratio * sigma


def _names(tracks: list[Track]) -> str:
    return ", ".join(f"{t.parameter} ({t.net:+.4g} {t.unit})" for t in tracks)


def _rounded(value: float | np.floating) -> float:
    return round(float(value), ROUND_OFF.trend_digits) + 0.0
