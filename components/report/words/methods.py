"""A paragraph on methods, to paste into a paper: only what this run has done, with what it is built on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.report.gather import RunEvidence
from components.report.run_document import RunDocument
from components.shared.text import count, product

REFERENCES = {
    "fibstack": "The fibstack developers, fibstack {version}, software",
    "sift": "Lowe 2004, Distinctive image features from scale-invariant keypoints, IJCV 60:91-110",
    "rootsift": "Arandjelovic and Zisserman 2012, Three things everyone should know to improve object "
    "retrieval, CVPR",
    "ransac": "Fischler and Bolles 1981, Random sample consensus, Communications of the ACM 24:381-395",
    "magsac": "Barath et al. 2020, MAGSAC++, a fast, reliable and accurate robust estimator, CVPR",
    "ecc": "Evangelidis and Psarakis 2008, Parametric image alignment using ECC maximization, IEEE PAMI "
    "30:1858-1865",
    "padfield": "Padfield 2012, Masked object registration in the Fourier domain, IEEE TIP 21:2706-2718",
    "geman": "Geman and McClure 1987, Statistical methods for tomographic image reconstruction, Bulletin of "
    "the ISI 52",
    "savitzky": "Savitzky and Golay 1964, Smoothing and differentiation of data, Analytical Chemistry "
    "36:1627-1639",
    "spline": "Unser 1999, Splines, a perfect fit for signal and image processing, IEEE SPM 16:22-38",
    "clahe": "Zuiderveld 1994, Contrast limited adaptive histogram equalization, Graphics Gems IV",
    "precomputed": "Neuroglancer precomputed volume and sharded format, github.com/google/neuroglancer",
    "ome-zarr": "OME-Zarr 0.5 and 0.6, ngff.openmicroscopy.org",
}
"""Sources by name, as the contracts of the steps have them."""


Cite = Callable[..., str]
"""Gives the numbers of references in brackets, numbered as they come."""


@dataclass(frozen=True, slots=True)
class Methods:
    """Sentences with numbers of references in brackets, and the references in their order."""

    sentences: tuple[str, ...]
    references: tuple[str, ...]


def methods_of(run: RunDocument, evidence: RunEvidence) -> Methods:
    """The paragraph on a run whose volume is complete; empty for others."""
    if not run.complete or evidence.transforms is None:
        return Methods((), ())
    numbers: dict[str, int] = {}

    def cite(*names: str) -> str:
        return "[" + ", ".join(str(numbers.setdefault(name, len(numbers) + 1)) for name in names) + "]"

    sentences = tuple(
        sentence
        for part in (_whole, _matching, _solving, _pictures, _output)
        for sentence in part(run, evidence, cite)
    )
    version = run.versions.get("fibstack", "")
    return Methods(sentences, tuple(REFERENCES[name].format(version=version) for name in numbers))


def _whole(run: RunDocument, evidence: RunEvidence, cite: Cite) -> Iterator[str]:
    stack = f"{count(run.n_slices, 'slice')} ({evidence.plan.config.minz} to {evidence.plan.config.maxz})"
    voxel = f"voxels of {product(evidence.plan.voxel.xyz_nm)} nm"
    made = "put together as they lie" if run.config.skip_align else "aligned"
    made = "placed as those of another detector" if run.config.placed_as else made
    version = run.versions.get("fibstack", "")
    yield f"{stack} with {voxel} were {made} with fibstack {version} {cite('fibstack')}."


def _matching(run: RunDocument, evidence: RunEvidence, cite: Cite) -> Iterator[str]:
    config, pairs = run.config, evidence.pairs
    if config.skip_align or not pairs.n_accepted:
        return
    n_pairs = pairs.n_accepted + pairs.n_refused
    yield (
        f"Each slice was matched with the {config.neighbours} that follow it by SIFT features "
        f"{cite('sift')}, compared as RootSIFT {cite('rootsift')}, and a consensus of RANSAC's kind, "
        f"MAGSAC++ {cite('ransac', 'magsac')}; {pairs.n_accepted:,} of {count(n_pairs, 'pair')} were "
        "accepted."
    )
    if pairs.n_searched:
        yield (
            f"{count(pairs.n_searched, 'pair')} without features enough were found by masked correlation "
            f"{cite('padfield')}."
        )
    if pairs.beyond_affine_px:
        yield (
            f"Their transforms were refined by the correlation of windows near full resolution {cite('ecc')}."
        )


def _solving(run: RunDocument, evidence: RunEvidence, cite: Cite) -> Iterator[str]:
    config, trends = run.config, evidence.trends
    if config.skip_align:
        return
    if config.solver == "robust":
        yield (
            "One transform for each slice was solved for from all pairs at once, by least squares with "
            f"robust weights {cite('geman')}."
        )
    else:
        yield "The transforms of neighbouring slices were multiplied along the stack."
    if trends is not None and any(
        (track.lowest, track.highest) != (track.written_lowest, track.written_highest)
        for track in trends.tracks
    ):
        yield f"Slow trends along z were changed by the policy '{trends.policy}' {cite('savitzky')}."


def _pictures(run: RunDocument, evidence: RunEvidence, cite: Cite) -> Iterator[str]:
    transforms, config = evidence.transforms, run.config
    if transforms is None:
        return
    jitter = transforms.row_jitter
    if jitter is not None and jitter.n_slices:
        yield f"Rows that jitter were moved back in {count(jitter.n_slices, 'slice')}."
    n_flicker = sum(entry.grey_line is not None for entry in transforms.slices)
    if n_flicker:
        yield f"Brightness and contrast of {count(n_flicker, 'slice')} were brought to those around."
    n_filtered = sum(entry.filtered_streaks is not None for entry in transforms.slices)
    if n_filtered:
        yield f"Streaks were filtered in {count(n_filtered, 'slice')}."
    n_evened = sum(entry.shown_z is not None for entry in transforms.slices)
    if n_evened:
        yield f"Steps along z were evened: {count(n_evened, 'plane')} show another slice, which lies nearer."
    if run.n_replaced:
        missing = f", {run.n_missing:,} of them missing" if run.n_missing else ""
        yield f"{count(run.n_replaced, 'slice')} are not shown as recorded but replaced{missing}."
    black, white = transforms.intensity_range
    contrast = f"grey levels from {black:g} to {white:g} were shown as black to white"
    if config.clip_limit > 0:
        clahe = f"CLAHE {cite('clahe')} with a clip limit of {config.clip_limit:g}"
        contrast += f", local contrast was equalised by {clahe}"
    yield f"{contrast[0].upper()}{contrast[1:]}."
    if config.keep_bits and evidence.plan.pixel_type != "uint8":
        yield "The lossless volumes hold the raw grey levels instead."
    if not config.lies_as_recorded:
        yield f"Each slice was interpolated once, by cubic B-splines {cite('spline')}."


def _output(run: RunDocument, _: RunEvidence, cite: Cite) -> Iterator[str]:
    encodings = sorted({output.encoding for output in run.outputs if "ome-zarr" not in output.uri})
    if encodings:
        yield f"The volume was written in the format 'precomputed' {cite('precomputed')}."
    if run.config.ome_zarr:
        yield f"It was written as OME-Zarr {run.config.ome_zarr_version} {cite('ome-zarr')} as well."
