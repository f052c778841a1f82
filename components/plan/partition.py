"""At which scales slices are matched and previewed, and how many of them one call of `align` takes."""

from __future__ import annotations

from components.shared.errors import ConfigError
from components.shared.grid import ceil_div

THUMBNAIL_SIDE_PX = 512
FEW_CHUNKS = 8
"""Enough to keep the cores of one machine busy to the end."""
SHORTEST_CHUNK, USUAL_CHUNK = 8, 16
"""Slices per call of `align`: each also prepares a halo of neighbours, so short chunks cost more in all."""


def match_scale(longest_side_px: int, match_size_px: int, downsample_factor: float) -> float:
    """The scale (<= 1) at which slices are matched.

    Raises:
        ConfigError: the factor would enlarge the slices.

    Example:
        >>> match_scale(5120, 1280, 0), match_scale(5120, 1280, 2), match_scale(520, 1280, 0)
        (0.25, 0.5, 1.0)
    """
    if 0 < downsample_factor < 1:
        raise ConfigError(
            f"'downsample_factor' must be 0, or 1 or more; got {downsample_factor}. "
            f"A factor of 4 matches slices at a quarter of their size."
        )
    if downsample_factor:
        return 1 / downsample_factor
    return min(1.0, match_size_px / longest_side_px)


def thumbnail_scale(longest_side_px: int) -> float:
    """The scale (<= 1) of the thumbnails.

    Example:
        >>> thumbnail_scale(5120), thumbnail_scale(300)
        (0.1, 1.0)
    """
    return min(1.0, THUMBNAIL_SIDE_PX / longest_side_px)


def chunk_length(n_slices: int, fan: int) -> int:
    """Slices per chunk: about eight chunks for a small stack, at most `fan` for any.

    Example:
        >>> chunk_length(48, 200), chunk_length(1000, 200), chunk_length(13_696, 200)
        (8, 16, 69)
    """
    few = ceil_div(n_slices, FEW_CHUNKS)
    return max(min(max(few, SHORTEST_CHUNK), USUAL_CHUNK), ceil_div(n_slices, fan))
