"""The thumbnails of a run as slices are matched: grey where a data bar lies, each slice's own or an error."""

from __future__ import annotations

import math

import numpy as np

from components.shared.documents.plan import Part, Plan, part_without
from components.shared.errors import TransientError
from components.shared.work.thumbnails import Thumbnail, Thumbnails


class MatchedThumbnails:
    """The thumbnails of a run, of what is matched of each slice."""

    def __init__(self, plan: Plan, thumbnails: Thumbnails) -> None:
        self._plan = plan
        self._thumbnails = thumbnails
        self._sizes_px = {s.z: (s.width_px, s.height_px) for s in plan.slices}

    def picture(self, z: int) -> Thumbnail | None:
        """The thumbnail of a slice; None where there is no slice.

        Raises:
            TransientError: the slice has no thumbnail.
            UserError: its archive cannot be read.
        """
        picture, plan = self._thumbnails.picture(z), self._plan
        if picture is None and z in self._sizes_px:
            raise TransientError(
                f"the thumbnail of slice {z} must lie in {plan.locations.process_uri}/align; it is missing. "
                f"Run align again."
            )
        if picture is None or not plan.data_bars:
            return picture
        return _without_bars(picture, part_without(plan.data_bars, self._sizes_px[z]), plan.thumbnail_scale)


def _without_bars(picture: Thumbnail, part: Part, scale: float) -> Thumbnail:
    """A thumbnail that is grey where its slice is not matched: a data bar correlates as it lies.

    Args:
        picture: the thumbnail.
        part: of the slice that is matched, in px of the slice.
        scale: of the thumbnail.
    """
    x, y, width_px, height_px = part
    inside = (
        slice(math.ceil(y * scale), math.floor((y + height_px) * scale)),
        slice(math.ceil(x * scale), math.floor((x + width_px) * scale)),
    )
    covered = np.full_like(picture, round(float(picture[inside].mean())))
    covered[inside] = picture[inside]
    return covered
