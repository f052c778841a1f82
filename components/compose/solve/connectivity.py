"""Connected parts of a stack: the slices that kept pairs tie together, and where the stack breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from components.compose.solve.pairs import Flags, Integers, Pairs
from components.shared.documents.align import PairRecord, reason_in_words
from components.shared.text import listed, ranges

_SHOWN = 4
"""Parts, runs or places that a sentence lists before it counts the rest."""
CONTRADICTED = "contradicted by the other pairs"
"""Reason of a pair that matching accepted and the solve does not keep."""


Refused = tuple[str, str]
"""Why a pair was refused: the reason's code, and words for its value and limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectivity:
    """Parts into which the pairs divide the slots."""

    parts: tuple[Integers, ...]
    """Ascending slots of each connected part, by first slot."""
    isolated: Flags
    """[n] whether no pair holds a slot, so that another slice is shown in its place."""
    cuts: tuple[int, ...] = ()
    """First slot of each part that begins with a true step; no pair need reach across it."""

    @property
    def longest_isolated_run(self) -> int:
        """Most isolated slots in a row."""
        isolated = np.insert(self.isolated.astype(np.int8), self.cuts, 0)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], isolated, [0]])))
        return int((edges[1::2] - edges[::2]).max(initial=0))

    def is_whole(self, bridge: int) -> bool:
        """One part (between cuts) holds most slices, with at most `bridge` isolated ones in a row."""
        most = 2 * int(self.isolated.sum()) < len(self.isolated)
        return len(self.parts) == 1 + len(self.cuts) and most and self.longest_isolated_run <= bridge


def connectivity(pairs: Pairs, n_slices: int, cuts: tuple[int, ...] = ()) -> Connectivity:
    """Divide the slots into parts of two or more that the pairs connect, and isolated ones.

    Where no two slices (between two cuts) are connected, each is a part of its own and none is isolated.
    No pair may cross a cut.

    Example:
        >>> chain = Pairs(slot=np.array([0]), neighbour=np.array([2]),
        ...               neighbour_from_slice=np.eye(3)[None], sigma_px=np.zeros(1),
        ...               supports_px=np.full((1, 4), np.nan))
        >>> found = connectivity(chain, 3)
        >>> [part.tolist() for part in found.parts], found.isolated.tolist()
        ([[0, 2]], [False, True, False])
    """
    label = _first_slots(pairs, n_slices)
    size = np.bincount(label, minlength=n_slices)
    between = np.searchsorted(cuts, np.arange(n_slices), side="right")
    largest = np.zeros(len(cuts) + 1, np.int64)
    np.maximum.at(largest, between, size[label])
    alone = (size[label] == 1) & (largest[between] > 1)
    parts = [np.flatnonzero(label == part) for part in np.unique(label[~alone])]
    return Connectivity(parts=tuple(sorted(parts, key=lambda part: int(part[0]))), isolated=alone, cuts=cuts)


def _first_slots(pairs: Pairs, n_slices: int) -> Integers:
    """[n] the first slot of the connected part that each slot belongs to.

    Each slot takes over the lowest slot that its pairs know of, and what that one knows of, until nothing
    changes. SciPy's graphs take longer to start than this takes for 13,696 slices.
    """
    first = np.arange(n_slices)
    while True:
        lowest = np.minimum(first[pairs.slot], first[pairs.neighbour])
        known = first.copy()
        np.minimum.at(known, pairs.slot, lowest)
        np.minimum.at(known, pairs.neighbour, lowest)
        known = known[known]
        if np.array_equal(known, first):
            return first
        first = known


def in_one_part(n_slices: int) -> Connectivity:
    """The division of a stack that is taken as it lies: one part, no slot isolated."""
    return Connectivity(parts=(np.arange(n_slices),), isolated=np.zeros(n_slices, np.bool_))


def breaks(found: Connectivity, z: Integers) -> list[tuple[int, int]]:
    """The two z at each place, cuts apart, where a part or a run of isolated slices ends."""
    owner = np.full(len(z), -1)
    for index, part in enumerate(found.parts):
        owner[part] = index
    ends = [(i, j) for i, j in pairwise(range(len(z))) if owner[i] != owner[j] and j not in found.cuts]
    return [(int(z[i]), int(z[j])) for i, j in ends]


def break_sentence(found: Connectivity, z: Integers, refusals: Mapping[tuple[int, int], Refused]) -> str:
    """A sentence on a stack that is not whole: `<what> must <rule>; got <value>` and where.

    Args:
        found: The division.
        z: `[n]` z of each slot.
        refusals: Why each pair (z, neighbour z) was refused, by the matching or by the solve.
    """
    named = [f"slices {_ranges(z[part])}" for part in found.parts]
    parts = listed(named, _SHOWN, between="; ", rest="; and {more} more")
    got = f"{len(found.parts)} parts ({parts})" if len(found.parts) > 1 else f"the connected {parts}"
    if found.isolated.any():
        got += f" and the isolated slices {_ranges(z[found.isolated])}"
    between = [f"between {a} and {b} ({_reasons(refusals, a, b)})" for a, b in breaks(found, z)]
    places = listed(between, _SHOWN)
    return f"matched pairs must connect the slices; got {got}. The stack breaks {places}"


def refused_motions(
    found: Connectivity, z: Integers, records: Mapping[tuple[int, int], PairRecord]
) -> list[PairRecord]:
    """The pairs right across the breaks whose matches agree on a motion, but on one that neighbours lack."""
    across = [records[place] for place in breaks(found, z) if place in records]
    return [record for record in across if record.refused_matrix is not None]


def _reasons(refusals: Mapping[tuple[int, int], Refused], previous: int, following: int) -> str:
    """The reasons of the refused pairs that would have joined the two sides, most frequent first.

    The value and the limit are those of the pair that lies closest.
    """
    across = {pair: why for pair, why in refusals.items() if pair[0] <= previous and pair[1] >= following}
    counted = Counter(reason for reason, _ in across.values())
    closest: dict[str, str] = {}
    for _, (reason, found) in sorted(across.items(), key=lambda item: (item[0][1] - item[0][0], item[0])):
        closest.setdefault(reason, found)
    named = [
        f"{reason_in_words(reason)} in {count}" + (f", {closest[reason]}" if closest[reason] else "")
        for reason, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    ]
    return f"refused pairs: {'; '.join(named)}" if named else "no refused pairs"


def _ranges(z: Integers) -> str:
    """The first few ranges of ascending z."""
    return listed(ranges(z.tolist()), _SHOWN)
