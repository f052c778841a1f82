"""Slices that no affine transform fits: what is left of the displacements of windows, and is not tissue.

Structures run through a block in directions of their own, so windows disagree with the best affine transform
of any pair, and the more so the further its slices lie apart. Slices that are warped, or whose rows jitter,
disagree with their neighbours however near these lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from components.report.gather import RunEvidence
from components.shared.documents.transforms import FoundDisplacement
from components.shared.limits import limit
from components.shared.text import count


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondAffineLimits:
    """Limits that decide when slices are said to be warped."""

    least_px: float = limit(
        0.2,
        unit="px RMS, part that does not grow with the distance of slices",
        why="less changes nothing that a person or a segmentation sees",
        measured_on="benchmarks/exact_axes: 0 to 0.10 px on planes without a warp, 0.27 to 0.33 px with soft "
        "warps of 1.5 px, 0.66 to 0.69 px with rows that jitter by 1.5 px; published slices 0.09 to 0.15 px",
        too_small="true slices are said to be warped",
        too_large="warped slices pass in silence",
    )
    least_share: float = limit(
        0.5,
        unit="of what windows disagree by from slice to slice",
        why="in poor pictures the noise of windows is large, and does not grow with distance either",
        measured_on="benchmarks/exact_axes: 0.4 at most without a warp, 0.5 to 0.9 with one",
        too_small="noise is said to be a warp",
        too_large="warped slices of lively tissue pass in silence",
    )
    least_triples: int = limit(
        5,
        unit="triples: three slices in a row, each of which windows pair with the other two",
        why="the median of fewer is a matter of chance",
        measured_on="not measured",
        too_small="a bad slice makes a warped stack",
        too_large="short stacks tell nothing",
    )


LIMITS = BeyondAffineLimits()


@dataclass(frozen=True, slots=True)
class BeyondAffine:
    """Displacement of windows that affine transforms leave, medians over the stack."""

    next_px: float
    """RMS between neighbouring slices."""
    apart_px: float
    """RMS of the part that does not grow with the distance of slices."""

    @property
    def is_warped(self) -> bool:
        """True where slices differ by more than the tissue does."""
        return self.apart_px >= max(LIMITS.least_px, LIMITS.least_share * self.next_px)


def warp_sentence(evidence: RunEvidence) -> str:
    """The sentence on a stack whose slices are warped; empty for others."""
    found = beyond_affine(_residuals_px(evidence))
    if found is None or not found.is_warped:
        return ""
    return (
        f"Windows of neighbouring slices disagree with the best affine transform by {found.next_px:.2f} px "
        f"RMS; {found.apart_px:.2f} px of it are there however near slices lie, as where slices are warped "
        "or their rows jitter, not tissue."
    )


def jitter_sentence(evidence: RunEvidence) -> str:
    """The sentence on rows that jitter and are moved back; empty where none are."""
    found = evidence.transforms.row_jitter if evidence.transforms is not None else None
    if found is None or not found.n_slices:
        return ""
    axes = [axis for axis, is_corrected in zip("xy", found.is_corrected_xy, strict=True) if is_corrected]
    sizes = [
        f"{px:.2f} px"
        for px, is_corrected in zip(found.found_xy_px, found.is_corrected_xy, strict=True)
        if is_corrected
    ]
    return (
        f"Rows jitter by {' and '.join(sizes)} RMS along {' and '.join(axes)}; those of "
        f"{count(found.n_slices, 'slice')} are moved back, by {found.corrected_px:.2f} px RMS."
    )


def straightened_sentence(evidence: RunEvidence) -> str:
    """The sentence on slices that were warped and are straightened; empty where none are."""
    found = evidence.transforms.soft_warp if evidence.transforms is not None else None
    if found is None or not found.n_slices:
        return ""
    return (
        f"Soft warps of {count(found.n_slices, 'slice')} are straightened, "
        f"by {found.corrected_px:.2f} px RMS."
    )


def straightened_fact(evidence: RunEvidence) -> str:
    """Soft warps along x and y, and whether they are corrected; empty where they were not looked for."""
    return _fact(evidence.transforms.soft_warp if evidence.transforms is not None else None, "straightened")


def jitter_fact(evidence: RunEvidence) -> str:
    """Jitter of rows along x and y, and whether it is corrected; empty where it was not looked for."""
    return _fact(evidence.transforms.row_jitter if evidence.transforms is not None else None, "moved back")


def _fact(found: FoundDisplacement | None, corrected: str) -> str:
    """Displacements along x and y, and what was done about them; empty where they were not looked for."""
    if found is None:
        return ""
    told = (
        f"{px:.2f} px RMS along {axis} ({corrected if is_corrected else 'left'})"
        for axis, px, is_corrected in zip("xy", found.found_xy_px, found.is_corrected_xy, strict=True)
    )
    return ", ".join(told)


def warp_fact(evidence: RunEvidence) -> str:
    """Displacement that affine transforms leave, in a few words; empty where it is not known."""
    found = beyond_affine(_residuals_px(evidence))
    if found is None:
        return ""
    return (
        f"{found.next_px:.2f} px RMS from slice to slice, "
        f"of which {found.apart_px:.2f} px are not the tissue's own"
    )


def beyond_affine(residuals_px: Mapping[tuple[int, int], float]) -> BeyondAffine | None:
    """The part of the residuals that tissue does not explain; None where too few slices tell.

    Structures that run straight part by c d over a distance of d slices. With a part w that is the same at
    all distances the mean squares are w^2 + c^2 of neighbours and w^2 + 4 c^2 of slices two apart.
    Structures that wander part more slowly, of which w then holds some. Each three slices in a row tell a w
    of their own, so that places with lively and with still tissue do not mix.

    Args:
        residuals_px: RMS residual of windows under the affine transform, by the slots of a pair.

    Example:
        >>> pairs = {(i, i + d): (0.09 + 0.04 * d**2) ** 0.5 for i in range(9) for d in (1, 2)}
        >>> found = beyond_affine(pairs)
        >>> round(found.next_px, 2), round(found.apart_px, 2), found.is_warped
        (0.36, 0.3, True)
    """
    triples = list(_triples(residuals_px))
    if len(triples) < LIMITS.least_triples:
        return None
    next2 = median(near for near, _ in triples)
    apart2 = median((4 * near - far) / 3 for near, far in triples)
    return BeyondAffine(next_px=next2**0.5, apart_px=max(apart2, 0.0) ** 0.5)


def _residuals_px(evidence: RunEvidence) -> dict[tuple[int, int], float]:
    """RMS residual of windows under the affine transform, by the slots of a pair."""
    slot_of = {entry.z: slot for slot, entry in enumerate(evidence.plan.slices)}
    return {
        (slot_of[z], slot_of[neighbour_z]): residual
        for (z, neighbour_z), residual in evidence.pairs.beyond_affine_px.items()
        if z in slot_of and neighbour_z in slot_of
    }


def _triples(residuals_px: Mapping[tuple[int, int], float]) -> Iterator[tuple[float, float]]:
    """Mean squares of three slices in a row: of its two neighbours, and of the first and the third."""
    for (first, second), residual in residuals_px.items():
        between = residuals_px.get((first, first + 1)), residuals_px.get((first + 1, second))
        if second == first + 2 and between[0] is not None and between[1] is not None:
            yield (between[0] ** 2 + between[1] ** 2) / 2, residual**2
