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
from numpy.typing import NDArray

from components.compose.solve.bounds import bounding_box
from components.compose.solve.pairs import Floats, Integers, Pairs, Solution, Stack
from components.compose.solve.ties import Frame, Ties
from components.compose.solve.tracks import LONG, linear_tracks
from components.shared.documents.trends import Track, Trends

NOTABLE_PPM = 2000.0
"""Scale or shear beyond which a volume is warned of: 0.2%."""
NOTABLE_GROWTH = 1.1
NOTABLE_RATIO = 3.0
"""Beyond so many sigmas, a net drift or a non-closure is no chance."""
_STEP_LENGTH = 25
_FEW = 10
_STILL_RUN = 5
"""Fewer slices in a row may stand still by chance."""
_DIGITS = 4
_PARAMETERS = ("x", "y", "rotation", "scale_x", "scale_y", "shear")
_UNITS = ("px", "px", "deg", "ppm", "ppm", "ppm")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closure:
    """What far pairs say beyond near ones, from end to end, `[6]`."""

    mean: Floats
    sigma: Floats


def trends_of(
    pairs: Pairs, stack: Stack, solved: Solution, written: Solution, held: NDArray[np.bool_], policy: str
) -> Trends:
    """Describe the tracks of a solution before and after the trend policy.

    Args:
        pairs: All pairs of the solve.
        stack: The slices.
        solved: As the pairs have it.
        written: After the policy.
        held: `[n]` slices that believed pairs hold; the others count for nothing.
        policy: The policy.
    """
    frame = Frame.of(stack.sizes_xy)
    held = held if held.any() else np.ones(len(stack), np.bool_)
    before = _figures(solved.volume_from_slice[held], frame)
    after = _figures(written.volume_from_slice[held], frame)
    closure = _closure(pairs.chosen(solved.kept), len(stack), frame)
    length = max(1, min(_STEP_LENGTH, len(before) // 8))
    tracks = tuple(_track(i, before[:, i], after[:, i], length, closure) for i in range(len(_PARAMETERS)))
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
                *_warnings(after, stack.z[held], written_growth),
                *_still_runs(pairs.chosen(solved.kept), stack, frame),
            ),
            "suggestion": _suggestion(tracks, len(stack), written_growth),
        }
    )


def _figures(matrices: Floats, frame: Frame) -> Floats:
    """[n, 6] the numbers of matrices in the units of the tracks."""
    poses = frame.poses(matrices)
    centers: Floats = poses[:, :, 2] - np.asarray(frame.center_xy)
    linear = linear_tracks(poses[:, :, :2] / frame.half_px)
    linear[:, 0] = np.degrees(linear[:, 0])
    linear[:, 1:] *= 1e6
    return np.concatenate([centers, linear], axis=1)


def _track(index: int, before: Floats, after: Floats, length: int, closure: _Closure | None) -> Track:
    n_blocks = max(1, len(before) // length)
    blocks = before[: n_blocks * length].reshape(n_blocks, -1).mean(axis=1)
    steps = np.diff(blocks)
    walk = float(steps.std() * len(steps) ** 0.5) if len(steps) else 0.0
    return Track.model_validate(
        {
            "parameter": _PARAMETERS[index],
            "unit": _UNITS[index],
            "net": _rounded(before[-length:].mean() - before[:length].mean()),
            "expected_net": _rounded(walk),
            "step_length": length,
            "non_closure": None if closure is None else _rounded(closure.mean[index]),
            "non_closure_sigma": None if closure is None else _rounded(closure.sigma[index]),
            "lowest": _rounded(before.min()),
            "highest": _rounded(before.max()),
            "written_lowest": _rounded(after.min()),
            "written_highest": _rounded(after.max()),
        }
    )


def _closure(believed: Pairs, n_slices: int, frame: Frame) -> _Closure | None:
    """Compare the farthest pairs with the products of the near pairs below them."""
    distance = believed.neighbour - believed.slot
    steps = np.full((n_slices, 3, 3), np.nan)
    near = distance == 1
    steps[believed.slot[near]] = believed.neighbour_from_slice[near]
    for reach in range(int(distance.max(initial=1)), 1, -1):
        errors = _closure_errors(believed.chosen(distance == reach), steps, reach)
        if len(errors) >= _FEW:
            figures = _figures(errors, frame) * (n_slices - 1) / reach
            # Neighbouring errors share all but one step, so only each reach-th is independent.
            return _Closure(
                mean=figures.mean(axis=0), sigma=figures.std(axis=0) * (reach / len(figures)) ** 0.5
            )
    return None


def _closure_errors(far: Pairs, steps: Floats, reach: int) -> Floats:
    """[c, 3, 3] near to `inverse(far) @ product of near pairs`: 1 where they agree."""
    product: Floats = np.tile(np.eye(3), (len(far), 1, 1))
    for ahead in range(reach):
        product = steps[far.slot + ahead] @ product
    whole = np.isfinite(product).all(axis=(1, 2))
    return np.linalg.solve(far.neighbour_from_slice[whole], product[whole]).astype(np.float64)


def _growth(matrices: Floats, sizes_xy: Floats) -> float:
    width, height = bounding_box(matrices, sizes_xy).size_xy
    largest = sizes_xy.max(axis=0)
    return _rounded(width * height / (largest[0] * largest[1]))


def _warnings(written: Floats, z: Integers, growth: float) -> tuple[str, ...]:
    found = []
    for index in (3, 4, 5):
        worst = int(np.abs(written[:, index]).argmax())
        value = float(written[worst, index])
        if abs(value) > NOTABLE_PPM:
            found.append(
                f"{_PARAMETERS[index]} should stay within 0.2%; got {value / 1e4:+.2f}% at slice {z[worst]}. "
                "Tissue does not stretch so much: compare trend hybrid and keep"
            )
    if growth > NOTABLE_GROWTH:
        found.append(
            f"the slices drift apart: the volume is {growth:.2f} times as large as the largest slice. Where "
            "the drift is not in the tissue, trend straighten or detrend removes it"
        )
    return tuple(found)


def _still_runs(believed: Pairs, stack: Stack, frame: Frame) -> list[str]:
    """Runs of slices between which nothing moves, where the rest of the stack does."""
    still = Ties.of(believed, stack, frame).still(frame)
    moves = np.zeros(len(stack), np.bool_)
    moves[believed.slot[~still]] = moves[believed.neighbour[~still]] = True
    held = np.zeros(len(stack), np.bool_)
    held[believed.slot] = held[believed.neighbour] = True
    runs = np.flatnonzero(np.diff(np.concatenate([[0], (held & ~moves).view(np.int8), [0]])))
    return [
        f"slices {stack.z[first]}-{stack.z[end - 1]} do not move at all against each other, where others do: "
        "a pattern that stands still may hide the tissue. Look at them, and skip them or give a matrix"
        for first, end in zip(runs[::2], runs[1::2], strict=True)
        if end - first >= _STILL_RUN
    ]


def _suggestion(tracks: tuple[Track, ...], n_slices: int, growth: float) -> str:
    """Which policy fits, and why, in one or two sentences."""
    if n_slices < LONG:
        return (
            f"{n_slices} slices are too few to tell a trend from a walk ({LONG} are needed): hybrid leaves "
            "them as keep does."
        )
    open_loops = [t for t in tracks if _is_notable(t.non_closure, t.non_closure_sigma)]
    linear = [t for t in tracks[2:] if _is_notable(t.net, t.expected_net)]
    centers = [t for t in tracks[:2] if _is_notable(t.net, t.expected_net)]
    sentences = []
    if open_loops:
        sentences.append(
            f"Near and far pairs disagree on {_names(open_loops)}, so part of that drift is an error of "
            "matching: compare with detrend."
        )
    if linear:
        sentences.append(f"{_names(linear)} drifts beyond chance: hybrid removes it, keep believes it.")
    if centers:
        policy = "straighten" if growth > NOTABLE_GROWTH else "keep or hybrid"
        sentences.append(
            f"The position drifts beyond chance in {_names(centers)}, by slanted tissue or by the stage: "
            f"{policy} fits, and anchor where true positions are known."
        )
    return " ".join(sentences) or "No drift beyond chance: keep and hybrid agree."


def _is_notable(value: float | None, sigma: float | None) -> bool:
    return value is not None and sigma is not None and abs(value) > NOTABLE_RATIO * sigma


def _names(tracks: list[Track]) -> str:
    return ", ".join(f"{t.parameter} ({t.net:+.4g} {t.unit})" for t in tracks)


def _rounded(value: float | np.floating) -> float:
    return round(float(value), _DIGITS) + 0.0
