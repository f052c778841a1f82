"""How even the slices lie along z: what the estimate tells, and the steps that stand out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from components.report.gather import RunEvidence
from components.shared.documents.thickness import StepKind, UnevenStep
from components.shared.text import count, listed

_NAMED = 5
"""Steps that a sentence names."""
_KINDS: Mapping[StepKind, str] = {"gap": "with lost material", "thick": "thick", "thin": "thin"}


def thickness_sentences(evidence: RunEvidence) -> Iterator[str]:
    """Sentences on steps along z; none where nothing is known of them."""
    found = evidence.thickness
    if found is None or found.spread is None:
        return
    yield _spread(found.spread, evidence.plan.resolution_nm[2])
    if found.uneven:
        kinds = Counter(step.kind for step in found.uneven)
        counted = ", ".join(f"{kinds[kind]:,} {word}" for kind, word in _KINDS.items() if kinds[kind])
        largest_first = sorted(found.uneven, key=lambda step: (-abs(step.step - 1), step.z))
        named = listed([_named(step) for step in largest_first], _NAMED, rest=", ...")
        yield f"{count(len(found.uneven), 'step')} along z stand out: {counted} ({named})."


def _spread(spread: float, slice_nm: float) -> str:
    """A sentence on how much steps differ.

    Example:
        >>> _spread(0.25, 8)
        'Steps along z differ from even ones by 0.25 of a slice, 2 nm (RMS), as the likeness of slices tells.'
    """
    return (
        f"Steps along z differ from even ones by {spread:.2f} of a slice, {spread * slice_nm:.2g} nm (RMS), "
        f"as the likeness of slices tells."
    )


def _named(step: UnevenStep) -> str:
    """A step in a few words.

    Example:
        >>> _named(UnevenStep(z=41, previous_z=40, kind="gap", step=5.214, sigma=0.31))
        '40-41: 5.2 +- 0.3'
    """
    n_slices = step.z - step.previous_z
    return f"{step.previous_z}-{step.z}: {step.step * n_slices:.1f} +- {step.sigma * n_slices:.1f}"
