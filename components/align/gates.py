"""The conditions under which a transform is accepted: refuse, do not guess.

Each gate gives its refusal, with the value and the limit in words, or None. The last ones correlate the
pictures themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from components.align import normalise
from components.align.features import cell_of
from components.align.normalise import MatchingPicture, blurred, enlarged, resized
from components.shared.geometry import Matrix, Points, at_scale, rotation_deg, transform_points
from components.shared.limits import limit
from components.shared.pictures.warping import warped

Reason = Literal[
    "no_content",
    "too_few_inliers",
    "coverage",
    "determinant",
    "rotation",
    "second_consensus",
    "windows_disagree",
    "bands_disagree",
    "ncc_not_better",
    "ncc_not_above_chance",
]
"""Code of the reason for which a pair is refused."""
REFUSALS_OF_MATRIX: tuple[Reason, ...] = ("determinant", "rotation")
"""Refusals of a motion that many matches agree on, and that two neighbours do not have."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer of a gate that refuses a transform."""

    reason: Reason
    found: str
    """Words for the value and its limit, such as "6 points, at least 20"."""

    @property
    def is_of_matrix(self) -> bool:
        """The motion is refused, whatever the pictures say of it."""
        return self.reason in REFUSALS_OF_MATRIX


_MARGINS = "benchmarks/alignment/margins.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceLimits:
    """Limits that decide when a transform between two slices is accepted."""

    min_inliers: int = limit(
        20,
        unit="matches",
        why="fewer can agree by chance on six numbers; the older workflow's and Render's limit too",
        measured_on=f"{_MARGINS}: FIB-SEM neighbours have 228 to 1,669, mirrored slices 3 to 16",
        too_small="slices of different tissue agree on a motion",
        too_large="poor slices go to the slower attempts",
    )
    min_coverage: float = limit(
        0.3,
        unit="of the cells with content in both slices",
        why="a consensus in one corner says nothing of the rest",
        measured_on=f"{_MARGINS}: next FIB-SEM neighbours 0.88 to 1, fourth next 0.61 to 0.88; "
        "0.17 to 0.48 in slices of 250 px, where the search steps in",
        too_small="dirt or a label that moves by itself is taken for the slice",
        too_large="slices that share a strip are refused",
    )
    min_content_of_cell: float = limit(
        0.25,
        unit="of a cell's pixels",
        why="a cell with less content need not hold an inlier",
        measured_on="not measured",
        too_small="cells of resin with a speck in them lower the coverage",
        too_large="coverage is asked for where tissue is dense, and resin with tissue in it does not count",
    )
    least_determinant: float = limit(
        0.97,
        unit="area of the neighbour over area of the slice",
        why="magnification between neighbours changes by far less; a wrong consensus has any area",
        measured_on=f"{_MARGINS}: pairs of three published stacks 0.999 to 1.015",
        too_small="mirrored and collapsed pictures pass",
        too_large="two slices across a change of magnification are refused",
    )
    greatest_determinant: float = limit(
        1.03,
        unit="area of the neighbour over area of the slice",
        why="as much above 1 as the least is below",
        measured_on="see least_determinant",
        too_small="two slices across a change of magnification are refused",
        too_large="wrong consensus passes more often",
    )
    max_rotation_deg: float = limit(
        5.0,
        unit="degrees",
        why="two slices that each turned by a degree or two pass; the search of the whole frame looks as far",
        measured_on=f"{_MARGINS}: pairs of three published stacks at most 0.9 degrees",
        too_small="remounted samples fall apart",
        too_large="wrong consensus passes more often, and the search takes longer",
    )
    most_magnification: float = limit(
        1.35,
        unit="ratio, and its inverse",
        why="a sample that was mounted anew, or recorded at the next setting of the microscope, is asked "
        "again with its neighbour turned back and of the same size; what remains must pass all other gates",
        measured_on="sections turned by 7 to 180 degrees and magnified by 1.1 to 1.3, docs/decisions/0031",
        too_small="a restart at another magnification is refused",
        too_large="wrong consensus is asked more often, which costs time",
    )
    min_windows: int = limit(
        12,
        unit="windows of 49",
        why="least number that refines a transform; with fewer the features carry it alone",
        measured_on=f"{_MARGINS}: FIB-SEM 28 to 49, serial sections 34 to 46, next but one 3 to 14",
        too_small="a handful of chance peaks bends a good transform",
        too_large="partial slices stay at the error of features",
    )
    min_window_share: float = limit(
        0.3,
        unit="of the windows that were looked at",
        why="windows without a peak say that the transform is off, or that there is nothing to see",
        measured_on=f"{_MARGINS}: FIB-SEM 0.57 to 1, serial sections 0.69 to 0.94, next but one 0.06 to 0.29",
        too_small="chance peaks among hundreds carry a transform",
        too_large="slices with much resin are not refined",
    )
    max_window_spread_px: float = limit(
        3.0,
        unit="px at refinement scale, one axis",
        why="windows that find chance peaks scatter evenly over the search of 8 px, with a sigma of 4.6 px",
        measured_on=f"{_MARGINS}: FIB-SEM 0.1 to 1.9, serial sections 1.5 to 2.93: no room there",
        too_small="serial sections, whose tissue changes, are not refined",
        too_large="chance peaks bend a good transform",
    )
    max_correction_px: float = limit(
        8.0,
        unit="px at matching scale, RMS of the corners",
        why="a coarse transform is better; else the windows met chance peaks. A window reaches 4 to 8 px "
        "of matching scale (WindowLimits.search_px, at refinement scale), a fit more at the corners",
        measured_on=f"{_MARGINS}: FIB-SEM 0.01 to 2.4, serial sections 0.7 to 6.0",
        too_small="what the search of the whole frame finds, to a pixel of its small pictures, is refused",
        too_large="never refused: the windows reach no further",
    )
    max_band_disagreement_px: float = limit(
        3.0,
        unit="px at detail scale, RMS of the corners",
        why="between the windows' coarse band and the whole picture's fine one; nearly twice the most that "
        "real neighbours and serial sections show",
        measured_on=f"{_MARGINS}: FIB-SEM 0.02 to 1.4, serial sections 0.05 to 1.7",
        too_small="serial sections are refused",
        too_large="a pattern that stands still and one that moves pass as one",
    )
    small_motion_px: float = limit(
        3.0,
        unit="px at matching scale, RMS",
        why="a motion below this need not improve the correlation: tissue itself moves as much",
        measured_on="not measured; benchmarks/alignment: tissue of serial sections moves by 2 to 8 px",
        too_small="good pairs of a still stack are refused by noise",
        too_large="small wrong motions pass",
    )
    ncc_slack: float = limit(
        0.02,
        unit="NCC",
        why="what a small motion may lose by noise and interpolation",
        measured_on=f"{_MARGINS}: every pair of three published stacks gains, 0.0001 to 0.07",
        too_small="good pairs of a still stack are refused by noise",
        too_large="small wrong motions pass",
    )
    min_above_chance: float = limit(
        0.1,
        unit="NCC above that of mirrored pictures",
        why="what two slices must share beyond texture and brightness; for a search of the whole frame that "
        "windows shall then confirm, above the best of the mirrored searches",
        measured_on=f"{_MARGINS}: FIB-SEM 0.52 to 0.98, serial sections 0.27 to 0.37",
        too_small="slices of different tissue pass",
        too_large="the next but one serial section is refused",
    )
    min_above_chance_alone: float = limit(
        0.08,
        unit="NCC above the best of three mirrored searches",
        why="for a search that no window confirms: four times the spread of mirrored searches. It is looser "
        "than min_above_chance, since such a pair weighs little in the solve",
        measured_on=f"{_MARGINS}: serial sections 0.36 to 0.46, next but one 0.125 to 0.174, "
        "slices a right angle apart -0.16 to 0.011",
        too_small="sections that show different tissue are tied together",
        too_large="the next but one serial section is not found",
    )
    min_above_chance_confirmed: float = limit(
        0.03,
        unit="NCC above the best of three mirrored searches",
        why="for such a search that the largest structures confirm, which put the slice at the same place",
        measured_on="serial sections of 512 and 307 px: 0.03 to 0.46 of 91 of 96 neighbours, which agree; "
        "of 614 pairs of different tissue 162 agree by chance, with 0.06 at most and little in common",
        too_small="sections that show different tissue are tied together",
        too_large="neighbours that share little more than their largest structures are not found",
    )
    min_above_chance_broad: float = limit(
        0.06,
        unit="NCC above the best of three mirrored searches",
        why="for the search of the largest structures that confirms another",
        measured_on="serial sections: neighbours 0.05 to 0.54; pairs of different tissue that agree on a "
        "place by chance 0.07 at most",
        too_small="sections that show different tissue are tied together",
        too_large="neighbours whose large structures change are not found",
    )
    min_overlap_confirmed: float = limit(
        0.7,
        unit="of the pixels that the slice with the fewer of them shows",
        why="of two such searches: where little is in common, much correlates by chance, in both alike",
        measured_on="serial sections: 0.8 and more of 94 of 96 neighbours; half for nearly all pairs of "
        "different tissue, whose best place is at the rim of what is searched",
        too_small="sections that show different tissue are tied together",
        too_large="neighbours that share little are not found where they jump",
    )
    whole_frame_sigma_px: float = limit(
        6.0,
        unit="px at matching scale, 1-sigma",
        why="error that the solve is told of such a search that stands min_above_chance_alone above chance; "
        "it falls as that rises. Decides how much the pair weighs",
        measured_on="serial sections (VNC), 6 and 8: corners within 15 px of the published alignment, which "
        "is good to 2 to 8 px",
        too_small="a coarse pair pulls good neighbours apart",
        too_large="parts of a stack that only such pairs hold together drift",
    )
    settled_sigma_px: float = limit(
        2.0,
        unit="px at matching scale, 1-sigma",
        why="least error that the solve is told of such a search",
        measured_on="27 neighbours in serial sections that windows confirm: 1.4 px apart from these in the "
        "median, 5.5 at most",
        too_small="a coarse pair counts as one that windows confirm",
        too_large="a clear neighbour counts no more than a doubtful one two sections away",
    )
    compared_scale: float = limit(
        0.5,
        unit="of the scale of matching",
        why="pictures are correlated at this scale: what is smoothed holds no more than so many pixels",
        measured_on="derived from smoothing_sigma_px",
        too_small="membranes are averaged away",
        too_large="time, with the square",
    )
    smoothing_sigma_px: float = limit(
        0.7,
        unit="px of the pictures that are correlated",
        why="pictures are smoothed before they are correlated: noise differs whatever their position",
        measured_on="not measured; with the averaging of pixels, the fine end of the windows' band",
        too_small="noise lowers every correlation",
        too_large="shading correlates anywhere",
    )
    min_overlap_px: int = limit(
        256,
        unit="px of the pictures that are correlated",
        why="with fewer common pixels two pictures count as uncorrelated",
        measured_on="not measured; 32 x 32 px at matching scale hold some ten independent grains of texture",
        too_small="chance correlation of a small corner",
        too_large="tiny slices are refused",
    )


LIMITS = AcceptanceLimits()


@dataclass(frozen=True, slots=True)
class ComparedPicture:
    """A slice made ready to be correlated: small and smooth."""

    picture: NDArray[np.float32]
    """[y, x] grey levels."""
    shown: NDArray[np.bool_]
    """[y, x] False in padding."""
    scale: float
    """Size of a pixel of the matching picture, in pixels of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """NCC of two slices, -1..1."""

    moved: float
    """NCC after the transform."""
    mirrored: float
    """The most that a mirrored slice reaches after the transform: what chance gives with such pictures."""


def coverage(
    inliers_px: Points, slice_: MatchingPicture, neighbour: MatchingPicture, neighbour_from_slice: Matrix
) -> float:
    """Fraction of the cells with content in both slices that hold inliers; 0 where there are none."""
    has_content = _cells_in_common(slice_, neighbour, neighbour_from_slice)
    if not has_content.any():
        return 0.0
    cells = normalise.LIMITS.content_cells
    holds_inlier = np.zeros(cells**2, bool)
    holds_inlier[cell_of(inliers_px, slice_.picture.shape, cells)] = True
    return float(np.count_nonzero(holds_inlier & has_content) / np.count_nonzero(has_content))


def content_in_common(
    slice_: MatchingPicture, neighbour: MatchingPicture, neighbour_from_slice: Matrix
) -> Points:
    """[n, 2] middles, in pixels of the slice, of the cells that have content in both slices."""
    return _cell_middles(slice_.picture.shape)[_cells_in_common(slice_, neighbour, neighbour_from_slice)]


def refusal_of_inliers(n_inliers: int) -> Refusal | None:
    """Why points that agree on a motion do not suffice, or None."""
    least = LIMITS.min_inliers
    too_few = n_inliers < least
    return Refusal("too_few_inliers", f"{n_inliers} points, at least {least}") if too_few else None


def refusal_of_coverage(covered: float) -> Refusal | None:
    """Why points that agree say too little of the rest of the slice, or None.

    Args:
        covered: fraction of the cells with content in both slices that hold such points.
    """
    least = LIMITS.min_coverage
    in_corner = covered < least
    return Refusal("coverage", f"{covered:.0%} of the tissue, at least {least:.0%}") if in_corner else None


def refusal_of_windows(n_kept: int, n_windows: int) -> Refusal | None:
    """Why the windows that have found their place do not carry a transform, or None."""
    least = max(LIMITS.min_windows, math.ceil(LIMITS.min_window_share * n_windows))
    if n_kept >= least:
        return None
    return Refusal("windows_disagree", f"{n_kept} of {n_windows} windows find their place, at least {least}")


def refusal_of_spread(spread_px: float) -> Refusal | None:
    """Why windows that scatter do not carry a transform, or None.

    Args:
        spread_px: robust standard deviation along one axis, at refinement scale.
    """
    most = LIMITS.max_window_spread_px
    apart = spread_px > most
    return (
        Refusal("windows_disagree", f"windows {spread_px:.1f} px apart, at most {most:g}") if apart else None
    )


def refusal_of_correction(corrected_px: float) -> Refusal | None:
    """Why the refined transform is refused, or None.

    Args:
        corrected_px: RMS motion of the corners from coarse to refined, at matching scale.
    """
    most = LIMITS.max_correction_px
    far = corrected_px > most
    return (
        Refusal("windows_disagree", f"corners {corrected_px:.1f} px off, at most {most:g}") if far else None
    )


def refusal_of_bands(apart_px: float) -> Refusal | None:
    """Why two bands of the same pictures speak against a transform, or None.

    Args:
        apart_px: RMS motion of the corners between what they find, at detail scale.
    """
    most = LIMITS.max_band_disagreement_px
    apart = apart_px > most
    return Refusal("bands_disagree", f"corners {apart_px:.1f} px apart, at most {most:g}") if apart else None


def refusal_of_matrix(matrix: Matrix) -> Refusal | None:
    """Reason for which a motion cannot be one of neighbouring slices; None where it can."""
    determinant, angle_deg = float(np.linalg.det(matrix[:2, :2])), abs(rotation_deg(matrix))
    least, greatest = LIMITS.least_determinant, LIMITS.greatest_determinant
    if not least <= determinant <= greatest:
        return Refusal("determinant", f"{determinant:.2f} times the area, {least:g} to {greatest:g}")
    if angle_deg > LIMITS.max_rotation_deg:
        return Refusal("rotation", f"{angle_deg:.1f} degrees, at most {LIMITS.max_rotation_deg:g}")
    return None


def may_be_turned_back(similar: Matrix) -> bool:
    """True of a motion of a neighbour that is undone, so that the neighbour is asked again."""
    magnification = float(np.linalg.det(similar[:2, :2])) ** 0.5
    return bool(1 / LIMITS.most_magnification <= magnification <= LIMITS.most_magnification)


def motion_in_words(matrix: Matrix) -> str:
    """Value and limit of a motion that no two neighbours have; empty where `refusal_of_matrix` accepts it.

    Example:
        >>> motion_in_words(np.diag([1.1, 1.1, 1.0]))
        'has 1.21 times the area, 0.97 to 1.03 are accepted'
    """
    words, angle_deg = [], rotation_deg(matrix)
    if abs(angle_deg) > LIMITS.max_rotation_deg:
        most = LIMITS.max_rotation_deg
        words.append(f"is turned by {angle_deg:.1f} degrees, at most {most:g} are accepted")
    area = float(np.linalg.det(matrix[:2, :2]))
    least, greatest = LIMITS.least_determinant, LIMITS.greatest_determinant
    if not least <= area <= greatest:
        words.append(f"has {area:.2f} times the area, {least:g} to {greatest:g} are accepted")
    return " and ".join(words)


def refusal_of_agreement(found: Agreement, as_they_lie: float, motion_px: float) -> Refusal | None:
    """Why the pictures speak against a transform, or None.

    Args:
        found: correlation of the two slices after it.
        as_they_lie: NCC of the two without it.
        motion_px: RMS motion over the picture, at matching scale.
    """
    slack = LIMITS.ncc_slack if motion_px < LIMITS.small_motion_px else 0.0
    if found.moved <= as_they_lie - slack:
        least = as_they_lie - slack
        return Refusal("ncc_not_better", f"NCC {found.moved:.3f}, more than {least:.3f}")
    least = max(found.mirrored, 0.0) + LIMITS.min_above_chance
    if found.moved < least:
        return Refusal("ncc_not_above_chance", f"NCC {found.moved:.3f}, at least {least:.3f}")
    return None


def refusal_of_search(above_chance: float) -> Refusal | None:
    """Why what a search of the whole frame has found is not examined, or None.

    Args:
        above_chance: NCC above the best of the mirrored searches.
    """
    if above_chance >= LIMITS.min_above_chance:
        return None
    found = f"NCC {above_chance:.3f} above chance, at least {LIMITS.min_above_chance:g}"
    return Refusal("ncc_not_above_chance", found)


def whole_frame_sigma_px(above_chance: float) -> float:
    """1-sigma at matching scale of a search of the whole frame that no window confirms."""
    share = LIMITS.min_above_chance_alone / max(above_chance, LIMITS.min_above_chance_confirmed)
    return max(LIMITS.settled_sigma_px, LIMITS.whole_frame_sigma_px * share)


def compared_picture(matching: MatchingPicture) -> ComparedPicture:
    """The small, smooth version of a matching picture that the gates correlate."""
    scale = LIMITS.compared_scale
    small = blurred(resized(matching.picture, scale), LIMITS.smoothing_sigma_px)
    return ComparedPicture(small, enlarged(matching.shown, small.shape), scale)


def agreement(slice_: ComparedPicture, neighbour: ComparedPicture, neighbour_from_slice: Matrix) -> Agreement:
    """Correlate two pictures after a transform, and mirrored.

    The mirrored pictures have the same textures and brightness, but show nothing in common.

    Args:
        slice_: the slice.
        neighbour: the neighbour, at the same scale.
        neighbour_from_slice: at matching scale.
    """
    moved, inside = _as_slice_shows(neighbour, neighbour_from_slice, slice_.picture.shape)
    mirrored = [
        ncc(np.flip(slice_.picture, axes), moved, np.flip(inside & slice_.shown, axes) & inside)
        for axes in (0, 1, (0, 1))
    ]
    return Agreement(moved=ncc(slice_.picture, moved, inside & slice_.shown), mirrored=max(mirrored))


def agreement_as_they_lie(slice_: ComparedPicture, neighbour: ComparedPicture) -> float:
    """NCC of two pictures without any motion."""
    still, inside = _as_slice_shows(neighbour, np.eye(3), slice_.picture.shape)
    return ncc(slice_.picture, still, inside & slice_.shown)


def ncc(a: NDArray[np.float32], b: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Normalised cross-correlation of two pictures where `inside`; 0 where there is too little to compare."""
    if np.count_nonzero(inside) < LIMITS.min_overlap_px:
        return 0.0
    mask = inside.astype(np.uint8)
    # OpenCV sums in double precision, and without BLAS, whose last bits depend on the number of threads.
    (a_mean, a_std), (b_mean, b_std) = _mean_and_std(a, mask), _mean_and_std(b, mask)
    product = cv2.multiply(a - np.float32(a_mean), b - np.float32(b_mean))
    spread = a_std * b_std
    return float(cv2.mean(product, mask)[0]) / spread if spread > 0 else 0.0


def _cells_in_common(
    slice_: MatchingPicture, neighbour: MatchingPicture, neighbour_from_slice: Matrix
) -> NDArray[np.bool_]:
    """[cells] True of the slice's cells that have content where the neighbour has some, too."""
    moved = np.rint(transform_points(neighbour_from_slice, _cell_middles(slice_.picture.shape)))
    height, width = neighbour.picture.shape
    shown = np.all((moved >= 0) & (moved < [width, height]), axis=1)
    has_content = shown & (slice_.content.ravel() >= LIMITS.min_content_of_cell)
    met = cell_of(moved[has_content], (height, width), normalise.LIMITS.content_cells)
    has_content[has_content] = neighbour.content.ravel()[met] >= LIMITS.min_content_of_cell
    return np.asarray(has_content)


def _cell_middles(shape_yx: tuple[int, ...]) -> Points:
    """[cells, 2] middle of each cell of a picture, in its pixels, row by row."""
    cells = normalise.LIMITS.content_cells
    x, y = ((np.arange(cells) + 0.5) * length / cells - 0.5 for length in reversed(shape_yx))
    columns, rows = np.meshgrid(x, y)
    return np.column_stack([columns.ravel(), rows.ravel()])


def _mean_and_std(picture: NDArray[np.float32], mask: NDArray[np.uint8]) -> tuple[float, float]:
    mean, std = cv2.meanStdDev(picture, mask=mask)
    return float(mean[0, 0]), float(std[0, 0])


def _as_slice_shows(
    neighbour: ComparedPicture, neighbour_from_slice: Matrix, shape_yx: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The neighbour as the slice would show it, and where all of a pixel is in it."""
    matrix = at_scale(neighbour_from_slice, neighbour.scale)
    shown = neighbour.shown.astype(np.uint8) * np.uint8(255)
    return warped(neighbour.picture, matrix, shape_yx), warped(shown, matrix, shape_yx) == 255
