"""The thumbnails of a run as slices are matched, and what is made of them: the last few are kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from components.compose.preview.correlate import FlatPicture, flattened
from components.compose.preview.limits import CORRELATION, CorrelationLimits
from components.shared.documents.plan import Part, Plan, pixels_within
from components.shared.errors import TransientError
from components.shared.work.thumbnails import ReadThumbnail, Thumbnail


class MatchedThumbnails:
    """The thumbnails of what is matched of each slice.

    Of the last few slices each thumbnail is read once, and flattened once, by whomever it is asked for.
    """

    def __init__(self, plan: Plan, read: ReadThumbnail, limits: CorrelationLimits = CORRELATION) -> None:
        """Read nothing yet.

        Args:
            plan: The plan of the run.
            read: Reads the thumbnail of a slice.
            limits: How many slices are kept, and how they are flattened.
        """
        self._plan, self._read, self._limits = plan, read, limits
        self._sizes_px = {s.z: (s.width_px, s.height_px) for s in plan.slices}
        self.picture = lru_cache(limits.slices_in_memory)(self._picture)
        """The thumbnail of a slice by its z; None where there is no slice."""
        self.flat = lru_cache(limits.slices_in_memory)(self._flat)
        """The thumbnail of a slice without grain and shading; None where there is no slice."""

    def _picture(self, z: int) -> Thumbnail | None:
        """The thumbnail of a slice.

        Raises:
            TransientError: the slice has no thumbnail.
            UserError: its archive cannot be read.
        """
        picture, plan = self._read(z), self._plan
        if picture is None and z in self._sizes_px:
            raise TransientError(
                f"the thumbnail of slice {z} must lie in {plan.locations.process_uri}/align; it is missing. "
                f"Give the same command again."
            )
        if picture is None:
            return None
        size_px = self._sizes_px[z]
        part = plan.matched_part(size_px)
        return picture if part == (0, 0, *size_px) else _only(part, picture, plan.thumbnail_scale)

    def _flat(self, z: int) -> FlatPicture | None:
        picture = self.picture(z)
        return None if picture is None else flattened(picture, self._limits)


def _only(part: Part, picture: Thumbnail, scale: float) -> Thumbnail:
    """A thumbnail that is grey where its slice is not matched: a data bar correlates as it lies.

    Args:
        part: of the slice that is matched, in px of the slice.
        picture: the thumbnail.
        scale: of the thumbnail.
    """
    inside = pixels_within(part, scale)
    covered = np.full_like(picture, round(float(picture[inside].mean())))
    covered[inside] = picture[inside]
    return covered
