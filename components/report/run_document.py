"""`process/run.json`: how a run went. The step writes it, and commands read what a finished run was."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from pydantic import Field

from components.shared.documents.config import RunConfig
from components.shared.documents.cost import Pod
from components.shared.documents.sealed import Document, SealedDocument
from components.shared.work.completeness import OutputSummary

RUN_KEY = "run.json"
"""Key below the process URI."""
PAGE_KEY = "report/index.html"
"""Key of the report's page, below the process URI."""

_PACKAGES = {
    "fibstack": "fibstack",
    "numpy": "numpy",
    "opencv": "opencv-contrib-python-headless",
    "tensorstore": "tensorstore",
}


class PlaneMotion(Document):
    """How the planes along one axis of the volume's middle move, in px of the level that was looked at."""

    axis: Literal["z", "y", "x"]
    voxel_nm: float
    """Side of a voxel of that level."""
    n_pairs: int
    constant_px: float
    """Length of the mean shift from plane to plane: tissue that runs obliquely, or what an alignment has
    straightened away."""
    change_px: float
    """RMS of what the shift changes by from step to step."""
    rows_px: float | None
    """RMS of what the shift of a band of rows, about that of its plane, changes by from step to step; None
    where a plane has too few rows."""
    step_spread: float | None = None
    """Standard deviation of the distances between planes, as their likeness tells, in mean distances: along
    the axes of the pictures what is invented; None where they tell none."""


class StandingOut(Document):
    """A slice that stands out: it is not good, or not shown as it is."""

    z: int
    verdict: str
    shown: str
    """Words for what is shown at its place."""


Tone = Literal["good", "doubtful", "bad"]
"""Kind of a verdict on a run."""


class RunDocument(SealedDocument):
    """The figures and sentences on a run."""

    schema_version: Literal[1] = 1
    state: Literal["succeeded", "failed", "unknown"]
    """How the steps before the report ended, by the records where they tell it, else by the engine's word."""
    error: str
    complete: bool
    """Every part of the volume was found, opened and published."""
    problems: tuple[str, ...]
    ends_the_same: bool = False
    """Something must be changed first: the same run again would end the same way."""
    n_slices: int
    n_missing: int
    n_replaced: int | None
    n_pairs_accepted: int
    n_pairs_refused: int
    refusal_reasons: dict[str, int]
    median_ncc_before: float | None
    median_ncc_after: float | None
    median_ncc_control: float | None = None
    """That of neighbours as they lie, one of them interpolated as the volume does and moved nowhere."""
    largest_step_px: float | None
    motion: tuple[PlaneMotion, ...] = ()
    """Motion of neighbouring planes along z, and along the axes that the microscope's raster has registered;
    empty where these cannot be compared."""
    volume_size_xyz: tuple[int, int, int] | None
    levels: tuple[int, ...]
    outputs: tuple[OutputSummary, ...]
    volume_hash: str
    """Hash of all that the volume depends on; empty where there is no volume."""
    published_hash: str = ""
    """That of the earlier volume that viewers may still find, of a run that is not complete."""
    plan_crc32c: str = ""
    """Checksum of the plan that was carried out."""
    page_is_sealed: bool = False
    """The page of the report carries the checksum of its own bytes; pages of older versions do not."""
    versions: dict[str, str]
    images: dict[str, str] = Field(default_factory=dict)
    """Container image of each step; empty where the steps ran in none, or nobody told."""
    images_known: str = ""
    """Sentence on how surely `images` are known."""
    config: RunConfig
    summary: tuple[str, ...]
    """Sentences for the terminal; the first says how the run ended."""
    tone: Tone | None = None
    """Kind of the verdict; None in documents of older versions."""
    headline: str = ""
    """Sentence of the verdict; empty in documents of older versions."""
    standing_out: tuple[StandingOut, ...] = ()
    """The first slices that stand out, z ascending."""
    n_standing_out: int = 0


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the result depends on."""
    found = {"python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def images_used(pods: Mapping[str, Pod], *, as_processes: bool) -> tuple[dict[str, str], str]:
    """The image of each step, and a sentence on how surely these are known."""
    if as_processes:
        return (
            {},
            "Not pinned: the steps ran as processes, in no container, with the versions above.",
        )
    if not pods:
        return {}, "Not known: nobody told the run which images its steps are from."
    images = {step: pod.image for step, pod in pods.items()}
    by_tag = [step for step, image in images.items() if "@" not in image]
    if not by_tag:
        return images, "Pinned: each step ran the image with this digest."
    return images, f"Not pinned: {', '.join(by_tag)} by a tag alone, which may come to mean another image."
