"""A stack of slices on disk, with the truth about how they lie, as `fibstack sample` writes one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from benchmarks.end_to_end.texture import microscope
from commands.sample.accuracy import compare
from commands.sample.truth import Truth
from commands.sample.walk import make_truth
from components.shared.documents.transforms import Transforms

IMAGE = "img.%05d.png"
FASTEST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def make_stack(folder: Path, n_slices: int, side_px: int) -> None:
    """Write slices that are shifted and turned against each other, and `truth.json`."""
    folder.mkdir(parents=True)
    truth = make_truth(0, (side_px, side_px), range(n_slices), {})
    matrices = [np.array(entry.matrix) for entry in truth.slices]
    looking = microscope(side_px, matrices)
    for z, matrix in enumerate(matrices):
        encoded = cv2.imencode(".png", looking.picture(z, matrix), FASTEST_PNG)[1]
        (folder / (IMAGE % z)).write_bytes(encoded.tobytes())
    (folder / "truth.json").write_bytes(truth.to_json())


def neighbour_error_px(source: Path, output: Path) -> float:
    """Mean error of the alignment between neighbours: shows that the pipeline did its work."""
    truth = Truth.model_validate_json((source / "truth.json").read_bytes())
    transforms = Transforms.model_validate_json((output / "process/transforms.json").read_bytes())
    recovered = {entry.z: np.array(entry.matrix) for entry in transforms.slices}
    true = {entry.z: np.array(entry.matrix) for entry in truth.slices}
    return compare(recovered, true, truth.width_px, truth.height_px).mean_px
