"""Pictures of the slices that stand out: each as it was recorded, between its neighbours, and what is shown.

All pictures of one page are of one scale. Those as recorded lie as in their files, so that a slice that has
slipped is seen to jump; what is shown is drawn as the volume has it, about the middle of the slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.report.page.sections import Picture
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.geometry import Matrix, scaled_from_full, transform_points
from components.shared.pictures.warping import warped

SIDE_PX = 200
"""Longest side of the largest slice's picture on a card."""
_WINDOW_SIGMA_PX, _WINDOW_PX = 1.5, 11
"""The Gaussian window of SSIM, as its authors have it."""
_MIN_SHARED = 1 / 16
"""Least part of a picture that two slices must share to be compared, as in `compose`'s check."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture on a card; transparent where `known` is false."""

    z: int
    note: str
    """Few words on what it shows."""
    values: Picture
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CardPictures:
    """The pictures of one card, and how like its neighbours the volume's picture is."""

    z: int
    recorded: tuple[Frame, ...]
    """The slices of the card as they lie in their files, z ascending; no picture where there is no file."""
    shown: Frame | None = None
    """Picture that the volume shows at the slice's place; None where the slices have no transforms."""
    ssim_previous: float | None = None
    """SSIM of what is shown with what is shown at z - 1; None where they are the same or share too little."""
    ssim_next: float | None = None
    """SSIM with what is shown at z + 1, likewise."""


class CardMaker:
    """Makes the pictures of cards from thumbnails, of which it keeps small copies alone.

    Args:
        plan: Plan of the run.
        transforms: Where the slices lie and what is shown; None where nothing is solved.
        cards: The z of each card's own slice.
        breaks: The last slice before, and the first after, each place that no pair joins.
    """

    def __init__(
        self,
        plan: Plan,
        transforms: Transforms | None,
        cards: Sequence[int],
        breaks: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._cards, self._breaks = cards, breaks
        self._present = [entry.z for entry in plan.slices]
        self._entries = {s.z: s for s in transforms.slices} if transforms is not None else {}
        self._shrink = min(1.0, SIDE_PX / max(1.0, max(plan.largest_xy) * plan.thumbnail_scale))
        self._scale = plan.thumbnail_scale * self._shrink
        self._kept: dict[int, Picture] = {}

    @property
    def wanted(self) -> frozenset[int]:
        """The z of the slices whose thumbnails the cards show."""
        recorded = {z for card in self._cards for z in self._beside(card)}
        recorded |= {z for pair in self._breaks for z in pair}
        entries = (self._entries.get(card + step) for card in self._cards for step in (-1, 0, 1))
        shown = {z for entry in entries if entry is not None for z in _sources(entry)}
        return frozenset(self._present) & (recorded | shown)

    def keep(self, z: int, thumbnail: Picture) -> None:
        """Take a small copy of a thumbnail that is wanted."""
        height, width = thumbnail.shape
        shape = max(1, round(height * self._shrink)), max(1, round(width * self._shrink))
        blurred = cv2.GaussianBlur(thumbnail, (0, 0), 0.5 / self._shrink) if self._shrink < 1 else thumbnail
        thumbnail_from_small: Matrix = np.linalg.inv(scaled_from_full(self._shrink)).astype(np.float64)
        self._kept[z] = warped(np.asarray(blurred, np.uint8), thumbnail_from_small, shape)

    def cards(self) -> Iterator[CardPictures]:
        """The pictures of the cards, once all thumbnails were kept."""
        for z in self._cards:
            recorded = tuple(self._recorded(beside) for beside in self._beside(z))
            yield self._shown_on(CardPictures(z, recorded))

    def breaks(self) -> Iterator[CardPictures]:
        """The pictures on both sides of each break."""
        for pair in self._breaks:
            yield CardPictures(pair[0], tuple(self._recorded(z) for z in pair))

    def _beside(self, z: int) -> list[int]:
        """A slice between the present slices before and after it."""
        before = [other for other in self._present if other < z]
        after = [other for other in self._present if other > z]
        return [*before[-1:], z, *after[:1]]

    def _recorded(self, z: int) -> Frame:
        picture = self._kept.get(z)
        if picture is None:
            note = "its picture cannot be read" if z in self._present else "no file"
            return Frame(z, note, *_nothing(self._shape()))
        return Frame(z, "", picture, np.ones(picture.shape, np.bool_))

    def _shown_on(self, card: CardPictures) -> CardPictures:
        entry = self._entries.get(card.z)
        if entry is None:
            return card
        shape = next((f.values.shape for f in card.recorded if f.z == card.z), self._shape())
        view_from_volume = self._view(entry, shape)
        frames = {
            z: self._shown(self._entries[z], view_from_volume, shape)
            for z in (card.z - 1, card.z, card.z + 1)
            if z in self._entries
        }
        shown = frames[card.z]
        ssim_previous, ssim_next = (
            similarity(shown, frames[z])
            if z in frames and _sources(self._entries[z]) != _sources(entry)
            else None
            for z in (card.z - 1, card.z + 1)
        )
        return CardPictures(card.z, card.recorded, shown, ssim_previous, ssim_next)

    def _view(self, entry: SliceTransform, shape: tuple[int, ...]) -> Matrix:
        """The transform from the volume, at full resolution, to a picture about the middle of a slice."""
        middle = self._entries.get(entry.source_z, entry)
        height, width = shape
        full_center = np.array([[(width / self._scale - 1) / 2, (height / self._scale - 1) / 2]])
        center = transform_points(np.array(middle.matrix), full_center)[0]
        view_from_volume = scaled_from_full(self._scale)
        offset = (np.array([width, height]) - 1) / 2 - transform_points(view_from_volume, center[None])[0]
        view_from_volume[:2, 2] += offset
        return view_from_volume

    def _shown(self, entry: SliceTransform, view_from_volume: Matrix, shape: tuple[int, ...]) -> Frame:
        frames = [self._warped(z, view_from_volume, shape) for z in _sources(entry) if z in self._kept]
        if not frames:
            return Frame(entry.z, "left black", *_nothing(shape))
        values = np.mean([values for values, _ in frames], axis=0).round().astype(np.uint8)
        return Frame(entry.z, "", values, np.all([known for _, known in frames], axis=0))

    def _warped(
        self, z: int, view_from_volume: Matrix, shape: tuple[int, ...]
    ) -> tuple[Picture, NDArray[np.bool_]]:
        source, picture = self._entries[z], self._kept[z]
        view_from_small = (
            view_from_volume @ np.array(source.matrix) @ np.linalg.inv(scaled_from_full(self._scale))
        )
        small_from_view = np.linalg.inv(view_from_small)
        grey = 255 - picture if source.action == "invert" else picture
        known = warped(np.full_like(picture, 255), small_from_view, shape) > 127
        return warped(grey, small_from_view, shape), known

    def _shape(self) -> tuple[int, ...]:
        """Shape of a picture where there is none."""
        return next((picture.shape for picture in self._kept.values()), (SIDE_PX, SIDE_PX))


def _sources(entry: SliceTransform) -> tuple[int, ...]:
    """The z of the slices of which the volume shows the picture, or the mean, at a slice's place."""
    if entry.action == "blank":
        return ()
    if entry.blended_with is None or entry.shown_z is not None:
        return (entry.source_z,)
    return (entry.source_z, entry.blended_with)


def _nothing(shape: tuple[int, ...]) -> tuple[Picture, NDArray[np.bool_]]:
    return np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)


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
