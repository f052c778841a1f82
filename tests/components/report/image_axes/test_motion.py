"""The motion of planes, on textures whose motion is planted."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import fourier_shift, gaussian_filter

from components.report.image_axes.motion import plane_motion

SIDE = 128


def texture(seed: int = 0) -> NDArray[np.float64]:
    """[y, x] structures of some 3 px, periodic, so that a shift is exact."""
    noise = np.random.default_rng(seed).normal(size=(SIDE, SIDE))
    smooth = gaussian_filter(noise, 3, mode="wrap")
    return 128 + 40 * smooth / smooth.std()


def shifted(picture: NDArray[np.float64], x_px: float, y_px: float) -> NDArray[np.float32]:
    moved = np.fft.ifft2(fourier_shift(np.fft.fft2(picture), (y_px, x_px))).real
    return moved.astype(np.float32)


def test_planes_that_lie_still_do_not_move() -> None:
    found = plane_motion("x", 8, [texture().astype(np.float32)] * 6)
    assert found is not None
    assert (found.n_pairs, found.constant_px) == (5, 0)
    assert found.change_px == 0
    assert found.rows_px == 0


def test_an_even_shift_is_told_apart_from_what_changes() -> None:
    picture, random = texture(), np.random.default_rng(1)
    jitter = random.normal(scale=0.1, size=(30, 2))
    places = jitter + np.arange(30)[:, None] * (0.3, 0.4)
    found = plane_motion("z", 8, [shifted(picture, x, y) for x, y in places])
    assert found is not None
    steps = np.diff(places, axis=0)
    assert abs(found.constant_px - np.hypot(*steps.mean(axis=0))) < 0.01
    assert abs(found.change_px - np.sqrt(np.mean(np.diff(steps, axis=0) ** 2))) < 0.01


def test_rows_that_move_by_themselves_are_told() -> None:
    picture, random = texture(), np.random.default_rng(2)
    planes = []
    for x_px in random.normal(scale=0.2, size=20):
        upper, lower = shifted(picture, x_px, 0), shifted(picture, -x_px, 0)
        planes.append(np.concatenate([upper[: SIDE // 2], lower[SIDE // 2 :]]))
    still = plane_motion("z", 8, [shifted(picture, 0, 0)] * 20)
    found = plane_motion("z", 8, planes)
    assert still is not None
    assert found is not None
    assert found.rows_px is not None
    assert still.rows_px == 0
    assert found.rows_px > 0.15
    assert found.change_px < 0.1


def test_planes_that_take_no_part_leave_a_gap() -> None:
    picture = texture()
    planes = [shifted(picture, 0.2 * i, 0) for i in range(12)]
    given = [plane if i != 5 else None for i, plane in enumerate(planes)]
    found, whole = plane_motion("z", 8, given), plane_motion("z", 8, planes)
    assert found is not None
    assert whole is not None
    assert (found.n_pairs, whole.n_pairs) == (9, 11)
    assert abs(found.constant_px - whole.constant_px) < 0.005


def test_planes_without_structure_tell_nothing() -> None:
    assert plane_motion("y", 8, [np.full((SIDE, SIDE), 7, np.float32)] * 9) is None
    assert plane_motion("y", 8, [texture().astype(np.float32)] * 3) is None
