"""How even the slices lie along z: what the estimate tells, and the steps that stand out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from components.report.gather import RunEvidence
from components.report.run_document import PlaneMotion, RunDocument
from components.shared.documents.thickness import StepKind, UnevenStep
from components.shared.text import count, listed

_NAMED = 5
"""Steps that a sentence names."""
_KINDS: Mapping[StepKind, str] = {"gap": "with lost material", "thick": "thick", "thin": "thin"}


def thickness_sentences(run: RunDocument, evidence: RunEvidence) -> Iterator[str]:
    """Sentences on steps along z; none where nothing is known of them and nobody has asked for even ones."""
    found, correct = evidence.thickness, evidence.plan.config.z == "correct"
    if found is None:
        return
    if found.spread is None:
        if correct:
            yield f"Steps along z stay as they are, since nothing is known of them: {found.unknown}."
        return
    yield _spread(found.spread, evidence.plan.resolution_nm[2], invented_spread(run.motion))
    if found.uneven:
        kinds = Counter(step.kind for step in found.uneven)
        counted = ", ".join(f"{kinds[kind]:,} {word}" for kind, word in _KINDS.items() if kinds[kind])
        largest_first = sorted(found.uneven, key=lambda step: (-abs(step.step - 1), step.z))
        named = listed([_named(step) for step in largest_first], _NAMED, rest=", ...")
        verb = "stands" if len(found.uneven) == 1 else "stand"
        yield f"{count(len(found.uneven), 'step')} along z {verb} out: {counted} ({named})."
    if correct and evidence.transforms is not None:
        n_planes = sum(entry.shown_z is not None for entry in evidence.transforms.slices)
        shown = f"{count(n_planes, 'plane')} of {len(evidence.transforms.slices):,}"
        yield f"Steps along z were evened: {shown} show another slice, which lies nearer."


def invented_spread(motion: Sequence[PlaneMotion]) -> float | None:
    """The spread that the estimate of steps invents along x or y, the larger; None where unknown."""
    known = [along.step_spread for along in motion if along.axis != "z" and along.step_spread is not None]
    return max(known) if known else None


def _spread(spread: float, slice_nm: float, invented: float | None) -> str:
    """A sentence on how much steps differ.

    Example:
        >>> _spread(0.25, 8, None)
        'Steps along z differ from even ones by 0.25 of a slice, 2 nm (RMS), as the likeness of slices tells.'
        >>> _spread(0.25, 8, 0.03).partition("tells")[2]
        '; on planes along the axes of the pictures, which are even, it tells 0.03.'
    """
    null = (
        ""
        if invented is None
        else f"; on planes along the axes of the pictures, which are even, it tells {invented:.2f}"
    )
    return (
        f"Steps along z differ from even ones by {spread:.2f} of a slice, {spread * slice_nm:.2g} nm (RMS), "
        f"as the likeness of slices tells{null}."
    )


def _named(step: UnevenStep) -> str:
    """A step in a few words.

    Example:
        >>> _named(UnevenStep(z=41, previous_z=40, kind="gap", step=5.214, sigma=0.31))
        '40-41: 5.2 +- 0.3'
    """
    n_slices = step.z - step.previous_z
    return f"{step.previous_z}-{step.z}: {step.step * n_slices:.1f} +- {step.sigma * n_slices:.1f}"
