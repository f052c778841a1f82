"""Evidence of a tall stack as `align` would leave it, without running it: statistics, pairs and thumbnails.

The pairs are those of a planted stack (tests/components/compose/planted_stack.py): positions with 4 px of
jitter on a slow wander, four pairs a slice as 300 matches of 0.8 px would have them, 5% of them confident
nonsense. One slice in a hundred is bad, in turn blank (no pair matches) and out of focus (every pair is
nonsense). Thumbnails come from a bank of pictures of one tissue, back and forth, each displaced as its slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.end_to_end.texture import microscope
from components.align.main import archive_of
from components.compose.solve.pairs import Pairs
from components.shared.documents.align import AlignRecord, PairRecord, SliceStatistics
from components.shared.documents.plan import Plan
from components.shared.geometry import translation
from components.shared.storage.registry import open_store
from components.shared.work import records, units
from components.shared.work.thumbnails import Thumbnail
from tests.components.compose import planted_stack as planting

BANK = 48
"""Pictures; slices a period apart show the same."""
JITTER_PX, WANDER_PX, WANDER_SLICES = 4.0, 30.0, 900
WRONG, ONE_IN_BAD = 0.05, 100
CELLS = 64


def write_evidence(plan: Plan, seed: int = 0) -> None:
    """Write the records of every chunk of a plan below its process URI."""
    rng = np.random.default_rng(seed)
    n, side_px = len(plan.slices), plan.slices[0].width_px
    bad = np.sort(rng.choice(n, n // ONE_IN_BAD, replace=False))
    blank, blurred = set(bad[::2].tolist()), set(bad[1::2].tolist())
    jitter_px = rng.normal(0, JITTER_PX, (BANK, 2))
    planted = planting.plant(
        n,
        plan.config.neighbours,
        seed=seed,
        width=side_px,
        truth=_truth(n, side_px, jitter_px),
        wrong=WRONG,
        bad=bad,
    )
    statistics = _statistics(rng, n, blank, blurred)
    pairs = _pairs(rng, planted.pairs, blank, blurred)
    bank = _bank(jitter_px, round(side_px * plan.thumbnail_scale), plan.thumbnail_scale)
    grey = np.full_like(bank[0], 128)
    process = open_store(plan.locations.process_uri)
    for chunk in units.chunks(plan):
        archive = archive_of({f"z{z}": grey if z in blank else bank[_picture_of(z)] for z in chunk})
        document = AlignRecord(
            slices=tuple(statistics[z] for z in chunk), pairs=tuple(p for z in chunk for p in pairs[z])
        )
        outputs = (
            records.write_output(process, f"align/{chunk}.npz", archive),
            records.write_output(process, f"align/{chunk}.json", document.to_json()),
        )
        sealed = records.Record(
            step="align", unit=str(chunk), input_hash=units.chunk_hash(plan, chunk), outputs=outputs
        )
        records.commit(process, sealed)


def _picture_of(z: int) -> int:
    """The picture of the bank that a slice shows: 0, 1, ... 47, 47, ... 1, 0, 0, 1, ..."""
    place = z % (2 * BANK)
    return min(place, 2 * BANK - 1 - place)


def _truth(n: int, side_px: int, jitter_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 3, 3] volume_from_slice: jitter that goes with the picture, on a slow wander."""
    jitter = jitter_px[[_picture_of(z) for z in range(n)]]
    wander = WANDER_PX * np.sin(np.arange(n)[:, None] / WANDER_SLICES + [0.0, 1.0])
    return planting.about_center(n, side_px, jitter + wander)


def _bank(jitter_px: NDArray[np.float64], side_px: int, scale: float) -> Sequence[Thumbnail]:
    """The pictures of the bank, displaced."""
    matrices = [translation(x * scale, y * scale) for x, y in jitter_px]
    looking = microscope(side_px, matrices)
    return [looking.picture(z, matrix) for z, matrix in enumerate(matrices)]


def _statistics(
    rng: np.random.Generator, n: int, blank: set[int], blurred: set[int]
) -> list[SliceStatistics]:
    """Statistics with a scatter of some percent, as a good microscope's slices have."""

    def around(usual: float, spread: float) -> list[float]:
        values: list[float] = (usual * (1 + spread * rng.standard_normal(n))).tolist()
        return values

    mean, std, noise, contrast = around(128, 0.01), around(35, 0.02), around(8, 0.02), around(20, 0.02)
    sharpness, entropy, streaks = around(0.35, 0.03), around(6.9, 0.01), around(0.07, 0.05)
    content = (1 - 0.02 * rng.random(n)).tolist()
    return [
        SliceStatistics(
            z=z,
            mean=mean[z],
            std=0.0 if z in blank else std[z],
            low=45.0,
            high=210.0,
            zero_fraction=0.0,
            saturated_fraction=0.0,
            sharpness=sharpness[z] * (0.2 if z in blurred else 1),
            content_fraction=0.0 if z in blank else content[z],
            n_features=0 if z in blank else 4000,
            entropy_bits=0.0 if z in blank else entropy[z],
            noise=noise[z],
            contrast=0.0 if z in blank else contrast[z],
            streaks_along_x=streaks[z],
            streaks_along_y=streaks[z],
            content_grid=(1.0,) * CELLS,
        )
        for z in range(n)
    ]


def _pairs(
    rng: np.random.Generator, planted: Pairs, blank: set[int], blurred: set[int]
) -> list[list[PairRecord]]:
    """The records of the pairs of each slice with later ones."""
    found: list[list[PairRecord]] = [[] for _ in range(int(planted.neighbour.max()) + 1)]
    figures = rng.random((len(planted), 8))
    columns = (planted.slot, planted.neighbour, planted.neighbour_from_slice, planted.sigma_px, figures)
    for z, neighbour_z, matrix, sigma_px, own in zip(*(c.tolist() for c in columns), strict=True):
        accepted = not {z, neighbour_z} & blank
        before, after = 0.3 + 0.1 * own[0], 0.9 - 0.05 * (neighbour_z - z) - 0.02 * own[1]
        if {z, neighbour_z} & blurred:
            after = before
        residuals = dict(zip(("translation", "rigid", "rigid_stretch", "affine"), own[2:6], strict=True))
        found[z].append(
            PairRecord(
                z=z,
                neighbour_z=neighbour_z,
                accepted=accepted,
                reason="" if accepted else "few_matches",
                n_matches=600 if accepted else 4,
                n_inliers=400 if accepted else 0,
                coverage=own[6],
                model="affine" if accepted else None,
                residuals_px=residuals if accepted else {},
                matrix=tuple(map(tuple, matrix)) if accepted else None,
                sigma_px=sigma_px if accepted else 0.0,
                n_windows=60 if accepted else 0,
                ncc_before=before if accepted else 0.0,
                ncc_after=after if accepted else 0.0,
                fallback="",
                difference=own[7] + 0.2,
            )
        )
    return found
