"""Which of the slices that follow a slice are matched with it."""

from __future__ import annotations

from dataclasses import dataclass

from components.align.pair import match_pair
from components.align.prepare import PreparedSlice
from components.shared.documents.align import PairRecord

_WANTED = 2
"""A slice with fewer accepted pairs looks further: one pair alone cannot be checked against another."""
_NORMAL_WAYS = ("", "smooth", "whole_frame", "fine")


@dataclass(slots=True)
class Neighbourhood:
    """A slice that is matched with the next slices, and with as many again where these do not suffice.

    Which pairs are tried depends on the slices alone, so chunks of any length give the same.
    """

    slice_: PreparedSlice
    reach: int
    """Present slices that every slice is matched with."""
    n_tried: int = 0
    n_accepted: int = 0

    @property
    def wants_more(self) -> bool:
        """Whether the next slice shall be matched too."""
        if self.n_tried < self.reach:
            return True
        return self.n_tried < 2 * self.reach and self.n_accepted < min(_WANTED, self.reach)

    def add(self, neighbour: PreparedSlice) -> PairRecord:
        """Match the slice with the next one."""
        pair = match_pair(self.slice_, neighbour)
        is_wide = self.n_tried >= self.reach
        self.n_tried += 1
        self.n_accepted += pair.accepted
        if is_wide and pair.accepted and pair.fallback in _NORMAL_WAYS:
            return pair.model_copy(update={"fallback": "wide"})
        return pair
