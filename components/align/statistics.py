"""Statistics of a raw slice from one look at it, and its thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align.normalise import Raw, blurred_along_x, mean_along_y, resized
from components.shared.documents.align import SliceStatistics
from components.shared.documents.transforms import FillLevel
from components.shared.limits import limit
from components.shared.pictures.fill_values import fill_levels, where_fill
from components.shared.pictures.grey_levels import TAIL_PERCENTILES, as_8_bit
from components.shared.pictures.streaks import streak_figures


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsLimits:
    """Bands and samples that the statistics of a slice are measured on.

    None of them decides by itself: `compose` compares each slice with those around it.
    """

    fine_sigmas_px: tuple[float, float] = limit(
        (1.0, 2.0),
        unit="px at refinement scale",
        why="band whose energy falls with defocus; above the grain of one pixel",
        measured_on="blurred phantom, tests/components/align/test_align_slices.py",
        too_small="noise of a poor slice counts as sharpness",
        too_large="slight defocus is not seen",
    )
    coarse_sigmas_px: tuple[float, float] = limit(
        (2.0, 4.0),
        unit="px at half the refinement scale",
        why="band of the membranes, which defocus leaves: the measure of contrast",
        measured_on="blurred phantom, tests/components/align/test_align_slices.py",
        too_small="it falls with defocus as the fine band does, and sharpness says nothing",
        too_large="shading counts as contrast",
    )
    strip_px: int = limit(
        32,
        unit="rows at full resolution",
        why="noise is measured on strips, not on the whole slice",
        measured_on="not measured; 32 strips of a slice of 5,000 px are a fifth of it",
        too_small="borders of strips, which do not count, take a part of each",
        too_large="time, and nothing is gained",
    )
    most_strips: int = limit(
        32,
        unit="strips",
        why="evenly spaced, so that tissue and resin are both in",
        measured_on="not measured",
        too_small="a strip of dirt decides",
        too_large="time, and nothing is gained",
    )
    counted_px: int = limit(
        2**24,
        unit="px",
        why="pixels whose grey levels are counted at a time: OpenCV's counts are float32",
        measured_on="derived: whole numbers up to this are exact in float32",
        too_small="time for many small calls; no result changes",
        too_large="counts of a slice of one grey level are rounded",
    )


LIMITS = StatisticsLimits()
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Difference of two Laplacians: 0 on slopes and curvature; unit noise comes out with a deviation of 6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """A raw slice whose fill values, with their edge, have given way to the mean grey level of the rest."""

    image: Raw
    """[y, x] the slice itself where it has no fill value."""
    hidden: NDArray[np.bool_] | None
    """[y, x] True where there was a fill value or the edge of one; None where there is none."""
    fill: tuple[FillLevel, ...]
    counts: NDArray[np.float64]
    """[256 or 65536] number of pixels of the slice at each grey level."""
    tissue_counts: NDArray[np.float64]
    """[256 or 65536] number of the pixels that are not hidden, at each grey level."""

    @classmethod
    def of(cls, image: Raw) -> Tissue:
        """Find the fill values of a slice and take them out.

        Args:
            image: [y, x] raw grey levels.
        """
        counts = _grey_level_counts(image)
        fill = fill_levels(image, counts)
        if not fill:
            return cls(image=image, hidden=None, fill=(), counts=counts, tissue_counts=counts)
        hidden = where_fill(image, fill)
        known = image[~hidden][np.newaxis]
        plain = image.copy()
        plain[hidden] = round(float(known.mean()))
        return cls(
            image=plain, hidden=hidden, fill=fill, counts=counts, tissue_counts=_grey_level_counts(known)
        )


def slice_statistics(
    z: int,
    tissue: Tissue,
    fine: NDArray[np.float32],
    small: NDArray[np.float32],
    *,
    content: NDArray[np.float32],
    n_features: int,
) -> SliceStatistics:
    """Describe a raw slice.

    Args:
        z: number of the slice.
        tissue: the slice without its fill values.
        fine: the same at refinement scale, for sharpness and contrast.
        small: the same at matching scale, for streaks.
        content: [8, 8] fraction of each cell with texture to match.
        n_features: features that were found.
    """
    of_all = tissue.counts / tissue.counts.sum()
    counts = tissue.tissue_counts
    share = counts / counts.sum()
    padding = {fill.level for fill in tissue.fill if fill.is_padding}
    levels = np.arange(len(counts))
    mean = float(np.sum(share * levels))
    low, high = (int(np.searchsorted(share.cumsum(), p / 100)) for p in TAIL_PERCENTILES)
    coarse = _band_energy(resized(fine, 0.5), LIMITS.coarse_sigmas_px)
    return SliceStatistics(
        z=z,
        mean=mean,
        std=float(np.sqrt(np.sum(share * np.square(levels - mean)))),
        low=low,
        high=high,
        zero_fraction=float(of_all[0]),
        saturated_fraction=0.0 if len(counts) - 1 in padding else float(of_all[-1]),
        sharpness=_band_energy(fine, LIMITS.fine_sigmas_px) / max(coarse, 1e-6),
        content_fraction=float(content.mean()),
        n_features=n_features,
        entropy_bits=float(-np.sum(share * np.log2(share, where=share > 0, out=np.zeros_like(share)))),
        noise=noise_sigma(tissue.image),
        contrast=float(np.sqrt(coarse)),
        streaks_along_x=streaks_along_y(np.ascontiguousarray(small.T)),
        streaks_along_y=streaks_along_y(small),
        content_grid=tuple(round(float(cell), 3) for cell in content.ravel()),
        fill=tissue.fill,
        streaks=streak_figures(tissue.image),
    )


def thumbnail(image: Raw, scale: float, low: float, high: float) -> NDArray[np.uint8]:
    """A small 8 bit picture of a slice, by area averaging.

    Args:
        image: [y, x]; 8 bit keeps its grey levels.
        scale: of the thumbnail, above 0, at most 1.
        low: 16 bit grey level shown as 0.
        high: 16 bit grey level shown as 255.

    Example:
        >>> thumbnail(np.array([[100, 300]], np.uint16), 1, 100, 300).tolist()
        [[0, 255]]
    """
    low, high = (low, high) if image.dtype == np.uint16 else (0, 255)
    return as_8_bit(resized(image, scale), low, high)


def streaks_along_y(picture: NDArray[np.float32]) -> float:
    """Fraction of the energy of what is thin along x that is long along y besides; 0..1."""
    thin = picture - blurred_along_x(picture)
    energy = float(np.mean(np.square(thin, dtype=np.float64)))
    return float(np.mean(np.square(mean_along_y(thin), dtype=np.float64))) / energy if energy > 0 else 0.0


def noise_sigma(image: Raw) -> float:
    """Standard deviation of the noise, from evenly spaced strips (Immerkaer 1996)."""
    height, width = image.shape
    starts = np.unique(np.linspace(0, max(height - LIMITS.strip_px, 0), LIMITS.most_strips).astype(int))
    strips = [image[start : start + LIMITS.strip_px].astype(np.float32) for start in starts]
    sums = [float(np.abs(cv2.filter2D(s, -1, _IMMERKAER)[1:-1, 1:-1]).sum(dtype=np.float64)) for s in strips]
    n_pixels = sum(max(s.shape[0] - 2, 0) * max(width - 2, 0) for s in strips)
    # The mean magnitude of normal noise is sigma * sqrt(2 / pi).
    return float(np.sqrt(np.pi / 2) / 6 * sum(sums) / n_pixels) if n_pixels else 0.0


def _grey_level_counts(image: Raw) -> NDArray[np.float64]:
    """[256 or 65536] number of pixels at each grey level."""
    n_levels = np.iinfo(image.dtype).max + 1
    counts = np.zeros(n_levels)
    rows = max(1, LIMITS.counted_px // image.shape[1])
    for start in range(0, len(image), rows):
        counts += cv2.calcHist([image[start : start + rows]], [0], None, [n_levels], [0, n_levels]).ravel()
    return counts


def _band_energy(picture: NDArray[np.float32], sigmas_px: tuple[float, float]) -> float:
    """Mean square of the band between two Gaussians."""
    fine, coarse = (cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in sigmas_px)
    return float(np.mean(np.square(fine - coarse, dtype=np.float64)))
