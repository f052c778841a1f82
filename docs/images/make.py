"""Makes the README's picture: a section along z through the sample, as the slices lie and aligned.

Usage: python docs/images/make.py run/volume docs/images/sample-section.png
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import tensorstore as ts

STRETCH = 4
"""Each slice is drawn this many px high, for the stack is thin."""


def main(volume: Path, picture: Path) -> None:
    """Draw the section half-way down the slices, above as they lie, below aligned."""
    slices = json.loads((volume / "process/transforms.json").read_text())["slices"]
    raw = np.stack([cv2.imread(s["uri"], cv2.IMREAD_GRAYSCALE) for s in slices])
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{volume}/chunk/"}}
    aligned = ts.open(spec, read=True).result()[..., 0].read().result().T
    before, after = (stack[:, stack.shape[1] // 2] for stack in (raw, aligned))
    width = min(before.shape[1], after.shape[1])
    gap = np.full((8, width), 255, np.uint8)
    parts = [np.repeat(section[:, :width], STRETCH, axis=0) for section in (before, after)]
    cv2.imwrite(str(picture), np.vstack([parts[0], gap, parts[1]]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
