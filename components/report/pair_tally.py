"""Counts over the pairs of slices, of which a long stack has tens of thousands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from components.shared.documents.align import AlignRecord, PairRecord


@dataclass(frozen=True, slots=True)
class RefusedPair:
    """A pair that could not be matched."""

    z: int
    neighbour_z: int
    reason: str
    n_matches: int
    n_inliers: int
    words: str
    """Why, in words with the value and its limit."""


@dataclass(slots=True)
class PairTally:
    """Counts over pairs, filled one align record at a time."""

    n_accepted: int = 0
    refused: list[RefusedPair] = field(default_factory=list)
    ncc_of_next: dict[int, tuple[float, float]] = field(default_factory=dict)
    """NCC of each z with the next matched slice, before and after the transform of their pair."""
    n_searched: int = 0
    """Accepted pairs whose features told too little, so that they were searched for."""
    models: Counter[str] = field(default_factory=Counter)
    """Accepted pairs by the model of their transform."""
    beyond_affine_px: dict[tuple[int, int], float] = field(default_factory=dict)
    """RMS residual of windows under the affine transform, by z and neighbour, of accepted pairs."""
    _next_z: dict[int, int] = field(default_factory=dict)
    _reach: dict[int, int] = field(default_factory=dict)
    """Furthest slice that an accepted pair joins to each z."""

    @property
    def n_refused(self) -> int:
        """Number of refused pairs."""
        return len(self.refused)

    @property
    def reasons(self) -> Mapping[str, int]:
        """Number of refused pairs by reason, most frequent first."""
        counted = Counter(pair.reason for pair in self.refused)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def breaks(self, present: Sequence[int]) -> list[tuple[int, int]]:
        """The slices on both sides of each place that no accepted pair reaches across.

        Args:
            present: The z of all slices, ascending.

        Example:
            >>> tally = PairTally()
            >>> tally._reach = {4: 6, 6: 7, 9: 10}
            >>> tally.breaks([4, 5, 6, 7, 9, 10])
            [(7, 9)]
        """
        found, furthest = [], -1
        for z, following in pairwise(present):
            furthest = max(furthest, self._reach.get(z, z))
            if furthest <= z:
                found.append((z, following))
        return found

    def add(self, record: AlignRecord) -> None:
        """Take in the pairs of one chunk."""
        for pair in record.pairs:
            self._add_pair(pair)

    def _add_pair(self, pair: PairRecord) -> None:
        if pair.accepted:
            self.n_accepted += 1
            self.n_searched += pair.fallback.startswith("whole_frame")
            self.models[pair.model or "unknown"] += 1
            self._reach[pair.z] = max(pair.neighbour_z, self._reach.get(pair.z, pair.z))
            if pair.n_windows and "affine" in pair.residuals_px:
                self.beyond_affine_px[pair.z, pair.neighbour_z] = pair.residuals_px["affine"]
        else:
            self.refused.append(
                RefusedPair(
                    z=pair.z,
                    neighbour_z=pair.neighbour_z,
                    reason=pair.reason,
                    n_matches=pair.n_matches,
                    n_inliers=pair.n_inliers,
                    words=pair.refused_motion or pair.refusal,
                )
            )
        if pair.neighbour_z <= self._next_z.get(pair.z, pair.neighbour_z):
            self._next_z[pair.z] = pair.neighbour_z
            self.ncc_of_next[pair.z] = (pair.ncc_before, pair.ncc_after)
