"""Pictures of the slices that agree least with their neighbours, each between the two shown beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.report.page.sections import Picture
from components.shared.documents.preview import WorstSlice
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.geometry import Matrix, scaled_from_full, transform_points
from components.shared.pictures.warping import warped

N_STRIPS = 20
"""Slices that are shown in strips."""
SIDE_PX = 200
"""Longest side of a picture in a strip."""
_WINDOW_SIGMA_PX, _WINDOW_PX = 1.5, 11
"""The Gaussian window of SSIM, as its authors have it."""
_MIN_SHARED = 1 / 16
"""Least part of a strip's picture that two slices must share to be compared, as in `compose`'s check."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A slice as the volume shows it; transparent where `known` is false."""

    z: int
    note: str
    """Few words on what became of the slice; empty where it is shown as it is."""
    values: Picture
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Strip:
    """A slice between its neighbours, all three in the place of the one in the middle."""

    worst: WorstSlice
    frames: tuple[Frame, ...]
    ssim_previous: float | None
    """SSIM with the previous slice; None where that is not shown, shows the same, or shares too little."""
    ssim_next: float | None
    """SSIM with the next slice, likewise."""


def slices_in_strips(worst: tuple[WorstSlice, ...], transforms: Transforms) -> frozenset[int]:
    """The z of the slices whose thumbnails the strips show."""
    of_z = {s.z: s.source_z for s in transforms.slices}
    beside = {s.z + step for s in worst[:N_STRIPS] for step in (-1, 0, 1)}
    return frozenset(of_z[z] for z in beside if z in of_z)


def make_strips(
    worst: tuple[WorstSlice, ...],
    transforms: Transforms,
    scale: float,
    thumbnail: Callable[[int], Picture | None],
) -> list[Strip]:
    """The strips of the worst slices, each with SSIM.

    Args:
        worst: Slices that agree least with their neighbours, worst first.
        transforms: Where the slices lie and what is shown.
        scale: Scale of the thumbnails.
        thumbnail: The thumbnail `[y, x]` of a slice by its z; None where there is none.
    """
    entries = {s.z: s for s in transforms.slices}
    strips = []
    for slice_ in worst[:N_STRIPS]:
        middle = entries.get(slice_.z)
        picture = None if middle is None else thumbnail(middle.source_z)
        if middle is None or picture is None:
            continue
        view_from_volume, shape = _view(middle, entries, picture, scale)
        frames = {
            z: _frame(entries[z], entries, view_from_volume, shape, scale, thumbnail)
            for z in (slice_.z - 1, slice_.z, slice_.z + 1)
            if z in entries
        }
        ssim_previous, ssim_next = (
            similarity(frames[slice_.z], frames[z]) if ncc is not None and z in frames else None
            for z, ncc in ((slice_.z - 1, slice_.ncc_previous), (slice_.z + 1, slice_.ncc_next))
        )
        strips.append(Strip(slice_, tuple(frames.values()), ssim_previous, ssim_next))
    return strips


def similarity(one: Frame, other: Frame) -> float | None:
    """Mean structural similarity (SSIM) where both frames hold a picture; None where they share too little.

    SSIM compares mean, contrast and structure in a Gaussian window around each pixel (Wang et al., "Image
    quality assessment: from error visibility to structural similarity", IEEE Trans. Image Process. 13, 2004).
    """
    from skimage.metrics import structural_similarity

    # Only windows that lie in both pictures as a whole: what is beyond their borders is no tissue.
    window = np.ones((_WINDOW_PX, _WINDOW_PX), np.uint8)
    known = (one.known & other.known).astype(np.uint8)
    shared = cv2.erode(known, window, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if shared.mean() < _MIN_SHARED:
        return None
    _, local = structural_similarity(  # type: ignore[no-untyped-call] # scikit-image has no types
        one.values,
        other.values,
        data_range=255,
        gaussian_weights=True,
        sigma=_WINDOW_SIGMA_PX,
        use_sample_covariance=False,
        full=True,
    )
    return float(local[shared].mean())


def _view(
    middle: SliceTransform, entries: dict[int, SliceTransform], picture: Picture, scale: float
) -> tuple[Matrix, tuple[int, int]]:
    """The transform from the volume, at full resolution, to a picture of the middle slice, and its shape."""
    height, width = picture.shape
    shrink = min(1.0, SIDE_PX / max(height, width))
    shape = max(1, round(height * shrink)), max(1, round(width * shrink))
    full_center = np.array([[(width / scale - 1) / 2, (height / scale - 1) / 2]])
    center = transform_points(np.array(entries[middle.source_z].matrix), full_center)[0]
    view_from_volume = scaled_from_full(scale * shrink)
    offset = (np.array(shape[::-1]) - 1) / 2 - transform_points(view_from_volume, center[None])[0]
    view_from_volume[:2, 2] += offset
    return view_from_volume, shape


def _frame(
    entry: SliceTransform,
    entries: dict[int, SliceTransform],
    view_from_volume: Matrix,
    shape: tuple[int, int],
    scale: float,
    thumbnail: Callable[[int], Picture | None],
) -> Frame:
    source = entry.source_z
    note = _note(entry)
    picture = None if entry.action == "blank" else thumbnail(source)
    if picture is None:
        return Frame(entry.z, note or "missing", np.zeros(shape, np.uint8), np.zeros(shape, np.bool_))
    view_from_thumbnail = (
        view_from_volume @ np.array(entries[source].matrix) @ np.linalg.inv(scaled_from_full(scale))
    )
    shrink = float(np.sqrt(abs(np.linalg.det(view_from_thumbnail[:2, :2]))))
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.5 / shrink) if shrink < 1 else picture
    smooth = np.asarray(blurred, np.uint8)
    thumbnail_from_view = np.linalg.inv(view_from_thumbnail)
    values = warped(
        255 - smooth if entries[source].action == "invert" else smooth, thumbnail_from_view, shape
    )
    known = warped(np.full_like(picture, 255), thumbnail_from_view, shape) > 127
    return Frame(entry.z, note, values, known)


def _note(entry: SliceTransform) -> str:
    if entry.source_z != entry.z:
        return f"shows {entry.source_z}"
    return "" if entry.action == "keep" else entry.action
