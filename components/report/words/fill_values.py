"""Fill values of the slices: which, in how many slices, and what was done about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from components.report.gather import RunEvidence
from components.shared.documents.plan import Reading
from components.shared.documents.transforms import FillLevel
from components.shared.text import count


def fill_sentences(evidence: RunEvidence) -> Iterator[str]:
    """A sentence for each fill value of the slices."""
    if evidence.transforms is None:
        return
    n_slices = len(evidence.plan.slices)
    for level, found in _by_level(evidence).items():
        share = median(fill.share for fill in found)
        shown = "shown as the margin is" if any(fill.is_padding for fill in found) else "shown as it is"
        yield (
            f"Fill value: {fill_name(level, evidence.plan.reading)} in {len(found):,} of "
            f"{count(n_slices, 'slice')}, {share:.1%} of their pixels (median), far from all others; left "
            f"out of ranges and of matching, {shown}."
        )


def fill_fact(evidence: RunEvidence) -> str:
    """The fill values and their share in a few words; empty where there is none."""
    shares = (
        f"{fill_name(level, evidence.plan.reading)}: {median(fill.share for fill in found):.1%}"
        for level, found in _by_level(evidence).items()
    )
    return ", ".join(shares)


def _by_level(evidence: RunEvidence) -> Mapping[int, Sequence[FillLevel]]:
    """Fill values of the slices by grey level, ascending."""
    slices = evidence.transforms.slices if evidence.transforms is not None else ()
    every = sorted((fill for entry in slices for fill in entry.fill), key=lambda fill: fill.level)
    return {fill.level: [other for other in every if other.level == fill.level] for fill in every}


def fill_name(level: int, reading: Reading) -> str:
    """A fill value in the numbers of the files where these are not grey levels.

    Example:
        >>> from components.shared.documents.plan import FillNumber
        >>> wide = Reading(values=((-1, 2),), fill=((FillNumber(number=-9999, share=0.1),),))
        >>> fill_name(0, Reading()), fill_name(0, wide)
        ('grey level 0', 'grey level 0 (-9999 in the files)')
    """
    if not reading.values or level > 0:
        return f"grey level {level:,}"
    numbers = [f"{number:g}" for number in reading.fill_numbers(0)]
    return f"grey level 0 ({' and '.join(numbers) or 'no number, or far below'} in the files)"
