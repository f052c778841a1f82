"""`python -m benchmarks.alignment.margins DIR ...`: what the gates of `align` are asked on real stacks.

Pairs that belong together (next, second and fourth neighbours) and pairs that do not (a neighbour that is
mirrored, or turned by a right angle). The limits in `components/align/gates.py` were measured so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from components.align import gates, pair
from components.align.prepare import PreparedSlice, prepare
from components.align.search import whole_frame_search
from components.shared.geometry import rotation_deg

MATCH_SIDE_PX = 1280
"""Longest side at matching scale, as `plan` chooses it."""
Figures = dict[str, float]
Grey = NDArray[np.uint8]
WATCHED: tuple[tuple[object, str, Callable[[Any, tuple[Any, ...]], Figures]], ...] = (
    (pair, "consensus", lambda found, _: {"inliers": len(found)}),
    (gates, "coverage", lambda found, _: {"coverage": found}),
    (
        gates,
        "refusal_of_matrix",
        lambda _, asked: {
            "determinant": float(np.linalg.det(asked[0][:2, :2])),
            "rotation_deg": rotation_deg(asked[0]),
        },
    ),
    (
        gates,
        "refusal_of_windows",
        lambda _, asked: {"windows": asked[0], "window_share": asked[0] / max(asked[1], 1)},
    ),
    (gates, "refusal_of_correction", lambda _, asked: {"correction_px": asked[0]}),
    (gates, "refusal_of_bands", lambda _, asked: {"bands_px": asked[0]}),
    (
        gates,
        "refusal_of_agreement",
        lambda _, asked: {
            "above_chance": asked[0].moved - max(asked[0].mirrored, 0.0),
            "gain": asked[0].moved - asked[1],
        },
    ),
    (pair.PairFit, "of", lambda found, asked: {"spread_px": found.spread_px * asked[2]}),
)
"""A module's function, and what its result and arguments tell."""


@click.command()
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--every", default=6, show_default=True, help="Look at every so many slices.")
def main(folders: tuple[Path, ...], every: int) -> None:
    """Print least, median and greatest of what the gates are asked, by stack and kind of pair."""
    cv2.setNumThreads(1)
    print("| stack | pairs | accepted | figure | least | median | greatest |")
    print("|---|---|---:|---|---:|---:|---:|")
    for folder in folders:
        for kind, found in figures_of(folder, every).items():
            n_accepted = sum(figures.pop("accepted") > 0 for figures in found)
            for name in sorted({name for figures in found for name in figures}):
                values = [figures[name] for figures in found if name in figures]
                numbers = " | ".join(f"{v:.4g}" for v in (min(values), np.median(values), max(values)))
                print(f"| {folder.name} | {kind} | {n_accepted} of {len(found)} | {name} | {numbers} |")


def figures_of(folder: Path, every: int) -> dict[str, list[Figures]]:
    """Figures that the gates compare, of the pairs of a stack, by kind of pair."""
    paths = sorted(folder.glob("*.png"))
    found: dict[str, list[Figures]] = defaultdict(list)
    for z in range(0, len(paths) - 4, every):
        slice_ = _prepared(z, _read(paths[z]))
        for kind, picture in _neighbours(paths, z):
            found[kind].append(_asked(slice_, _prepared(z + 1, picture)))
    return found


def _neighbours(paths: list[Path], z: int) -> Iterator[tuple[str, Grey]]:
    for kind, distance in (("next", 1), ("second", 2), ("fourth", 4)):
        yield kind, _read(paths[z + distance])
    picture = _read(paths[z + 1])
    yield "mirrored", np.ascontiguousarray(np.fliplr(picture))
    yield "turned by 90 degrees", np.ascontiguousarray(np.rot90(picture))


def _read(path: Path) -> Grey:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def _prepared(z: int, picture: Grey) -> PreparedSlice:
    return prepare(z, picture, min(1.0, MATCH_SIDE_PX / max(picture.shape)))


def _asked(slice_: PreparedSlice, neighbour: PreparedSlice) -> Figures:
    """The first figures that are asked of a pair, and how far the search stands above chance.

    The spread is that of the last fit: of the windows, where there are enough.
    """
    figures: Figures = {}

    def watching(
        original: Callable[..., Any], told: Callable[[Any, tuple[Any, ...]], Figures]
    ) -> Callable[..., Any]:
        def watched(*asked: Any) -> Any:  # noqa: ANN401 - of any function
            found = original(*asked)
            for figure, value in told(found, asked).items():
                if figure not in figures or figure == "spread_px":
                    figures[figure] = value
            return found

        return watched

    with ExitStack() as patches:
        for module, name, told in WATCHED:
            patches.enter_context(patch.object(module, name, watching(getattr(module, name), told)))
        record = pair.match_pair(slice_, neighbour)
    found, _ = whole_frame_search(slice_.matching, neighbour.matching)
    return {**figures, "search_above_chance": found.above_chance, "accepted": float(record.accepted)}


if __name__ == "__main__":
    main()
