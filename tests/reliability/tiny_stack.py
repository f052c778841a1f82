"""A stack of a few kilobytes on which every step has something to do, in about a second in all."""

import cv2
import numpy as np

from components.shared.storage.registry import open_store

N_SLICES = 8
SIDE_PX = 96
CONFIG = {
    "image": "img.%05d.png",
    "minz": 0,
    "maxz": N_SLICES - 1,
    "neighbours": 2,
    "raw_pyramid": True,
    "fan": 4,
}


def write_slices(uri: str) -> None:
    """Texture with many corners that changes a little and moves by whole pixels from slice to slice."""
    rng = np.random.default_rng(11)
    store = open_store(uri)
    field = rng.normal(size=(SIDE_PX + 40, SIDE_PX + 40))
    for z in range(N_SLICES):
        field = 0.97 * field + 0.24 * rng.normal(size=field.shape)
        texture = cv2.GaussianBlur(field, (0, 0), 1.6) * 5
        x, y = 10 + 3 * (z % 3), 10 + 2 * (z % 2)
        picture = np.clip(128 + 35 * texture[y : y + SIDE_PX, x : x + SIDE_PX], 1, 255).astype(np.uint8)
        store.write(f"img.{z:05d}.png", cv2.imencode(".png", picture)[1].tobytes())
