"""Real slices with a known motion: each is looked at through a window that walks and turns.

The window lies inside the picture at all times, so no black border gives the motion away.
"""

import json
import math
from pathlib import Path

import cv2
import numpy as np

WINDOW_PX = 400
ROOM_PX = 45.0
"""How far the window's centre may walk; the rest of the 520 px is for its rotation."""


def plant(source: Path, target: Path, seed: int, n_slices: int, moving: bool) -> tuple[int, int]:
    """Write windowed slices and their truth.json to `target`; returns the first and last z."""
    rng = np.random.default_rng(seed)
    target.mkdir(parents=True)
    shift, angle_deg = np.zeros(2), 0.0
    slices = []
    for z, path in enumerate(sorted(source.glob("img.*.png"))[:n_slices]):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if moving:
            step = rng.normal(0, 3.0, 2) + (rng.random() < 0.05) * rng.normal(0, 20.0, 2)
            shift = np.clip(shift + step, -ROOM_PX, ROOM_PX)
            angle_deg = float(np.clip(angle_deg + rng.normal(0, 0.1), -1, 1))
        height, width = picture.shape
        matrix = _world_from_window(width, height, shift if moving else np.zeros(2), angle_deg)
        window = cv2.warpAffine(
            picture, matrix[:2], (WINDOW_PX, WINDOW_PX), flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        )
        cv2.imwrite(str(target / f"img.{z:05d}.png"), window)
        slices.append({"z": z, "matrix": matrix.tolist(), "defect": ""})
    truth = {"seed": seed, "width_px": WINDOW_PX, "height_px": WINDOW_PX, "slices": slices}
    (target / "truth.json").write_text(json.dumps(truth))
    return 0, len(slices) - 1


def _world_from_window(width: int, height: int, shift: np.ndarray, angle_deg: float) -> np.ndarray:
    centre = (WINDOW_PX - 1) / 2
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    rotation = np.array([[c, -s], [s, c]])
    origin = np.round([(width - WINDOW_PX) / 2, (height - WINDOW_PX) / 2]) + centre + shift
    matrix = np.eye(3)
    matrix[:2, :2] = rotation
    matrix[:2, 2] = origin - rotation @ [centre, centre]
    return matrix
