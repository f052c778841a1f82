"""Small pictures shown in another frame, to be compared or looked at; the volume is warped by `tile`."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.geometry import Matrix

_Grey = TypeVar("_Grey", np.uint8, np.float32)


def warped(
    picture: NDArray[_Grey], picture_from_frame: Matrix, shape_yx: tuple[int, ...], *, outside: float = 0
) -> NDArray[_Grey]:
    """A picture as a frame shows it, interpolated linearly; a pixel at its rim fades into `outside`.

    Linear, since OpenCV's cubic kernel displaces by up to 0.05 px, and its Lanczos rounds to 1/32 px.

    Args:
        picture: `[y, x]`.
        picture_from_frame: Where in the picture the frame's pixels lie.
        shape_yx: Size of the frame.
        outside: Grey level where the picture does not reach.

    Example:
        >>> ramp = np.array([[0, 10, 20]], np.uint8)
        >>> warped(ramp, np.array([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]]), (1, 2)).tolist()
        [[5, 15]]
    """
    return _warp(picture, picture_from_frame, shape_yx, cv2.BORDER_CONSTANT, outside)


def warped_and_extended(
    picture: NDArray[_Grey], picture_from_frame: Matrix, shape_yx: tuple[int, ...]
) -> NDArray[_Grey]:
    """A picture as a frame shows it, interpolated linearly; beyond its rim it goes on with the rim's grey."""
    return _warp(picture, picture_from_frame, shape_yx, cv2.BORDER_REPLICATE, 0)


def warped_mask(
    mask: NDArray[np.bool_], mask_from_frame: Matrix, shape_yx: tuple[int, ...]
) -> NDArray[np.bool_]:
    """A mask as a frame shows it, by the nearest pixel; False where it does not reach."""
    moved = cv2.warpAffine(
        mask.astype(np.uint8),
        mask_from_frame[:2],
        (shape_yx[1], shape_yx[0]),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    )
    return np.asarray(moved > 0)


def _warp(
    picture: NDArray[_Grey],
    picture_from_frame: Matrix,
    shape_yx: tuple[int, ...],
    border: int,
    outside: float,
) -> NDArray[_Grey]:
    moved = cv2.warpAffine(
        picture,
        picture_from_frame[:2],
        (shape_yx[1], shape_yx[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
        borderValue=outside,
    )
    return moved.astype(picture.dtype, copy=False)
