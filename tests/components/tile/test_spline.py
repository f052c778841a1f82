"""The compiled interpolation is that of SciPy, whatever the size, the transform or the processor."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from components.shared.errors import ConfigError
from components.shared.geometry import Matrix, rotation_about, translation
from components.shared.pictures.grey_levels import Picture
from components.tile import spline
from setup import FLAGS
from tests.real_slices import real_pictures

ROOT = Path(__file__).parents[3]
TYPES = (np.uint8, np.uint16)
SHAPES = ((1, 1), (1, 9), (9, 1), (2, 2), (2, 11), (3, 3), (4, 5), (16, 17), (75, 130))
MATRICES = {
    "shift": translation(0.3, -0.4),
    "half a pixel along x": translation(0.5, 0),
    "rotation by 0.2 degrees": translation(0.31, 0.2) @ rotation_about((40, 40), math.radians(0.2)),
    "rotation by 10 degrees": translation(0.123, 0.456) @ rotation_about((3, 2), math.radians(10)),
    "quarter turn": np.array([[0.0, 1.0, 0.3], [-1.0, 0.0, 6.4], [0.0, 0.0, 1.0]]),
    "mirrored": np.array([[-1.0, 0.0, 7.3], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]]),
    "enlarged": np.array([[0.3, 0.0, 0.1], [0.0, 0.4, 0.2], [0.0, 0.0, 1.0]]),
    "shrunk": np.array([[3.1, 0.0, -7.3], [0.0, 2.3, -5.2], [0.0, 0.0, 1.0]]),
}
"""slice_from_volume; none puts a pixel's centre on the very edge, where the last bit of a product decides."""


def random_picture(shape: tuple[int, int], dtype: type[np.uint8 | np.uint16], seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def by_scipy(picture: Picture, slice_from_volume: Matrix, shape: tuple[int, int]) -> NDArray[np.float64]:
    coefficients = ndimage.spline_filter(picture, order=3, output=np.float64, mode="mirror")
    grey = ndimage.affine_transform(
        coefficients,
        slice_from_volume[1::-1, 1::-1],
        slice_from_volume[1::-1, 2],
        output_shape=shape,
        order=3,
        prefilter=False,
    )
    return np.clip(grey, 0, np.iinfo(picture.dtype).max)


def warped(picture: Picture, slice_from_volume: Matrix, shape: tuple[int, int]) -> Picture:
    out: Any = np.full(shape, 77, picture.dtype)
    spline.warp(picture, slice_from_volume, out)
    return out


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", MATRICES)
def test_it_is_the_spline_of_scipy_also_at_the_edges_and_in_tiny_pictures(name: str, dtype: Any) -> None:
    # Rounding to 8 bit, or 32-bit floats at 16 bit.
    allowed = 0.501 if dtype == np.uint8 else 0.56
    for shape in SHAPES:
        picture = random_picture(shape, dtype)
        frame = (shape[0] + 23, shape[1] + 70)
        found, expected = warped(picture, MATRICES[name], frame), by_scipy(picture, MATRICES[name], frame)
        np.testing.assert_array_equal(found[expected == 0] <= allowed, True, err_msg=str(shape))
        assert np.abs(found - expected).max() <= allowed, shape


@given(
    linear=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    offset=st.lists(st.floats(-60, 60), min_size=2, max_size=2),
    height=st.integers(1, 40),
    width=st.integers(1, 90),
    seed=st.integers(0, 2**31),
)
def test_any_transform_is_that_of_scipy(
    linear: list[float], offset: list[float], height: int, width: int, seed: int
) -> None:
    matrix = np.array([[*linear[:2], offset[0]], [*linear[2:], offset[1]], [0, 0, 1]])
    picture = random_picture((height, width), np.uint8, seed)
    found, expected = warped(picture, matrix, (30, 80)), by_scipy(picture, matrix, (30, 80))
    y, x = np.mgrid[0:30, 0:80]
    places = np.stack([matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] for k in (0, 1)])
    from_edge = np.minimum(np.abs(places), np.abs(places - np.array([width - 1, height - 1])[:, None, None]))
    decided = from_edge.min(axis=0) > 1e-9
    assert np.abs(found - expected)[decided].max(initial=0) <= 0.502


@pytest.mark.parametrize("offset", [1e6, -1e18, 1e300, -1e308, math.inf, math.nan])
@pytest.mark.parametrize("stretch", [1.0, 1e-300, 1e300])
def test_places_far_away_are_outside(offset: float, stretch: float) -> None:
    matrix = np.array([[stretch, 0.0, offset], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    assert not warped(random_picture((20, 90), np.uint8), matrix, (20, 90)).any()


def textured(side: int, shift_xy: tuple[float, float]) -> NDArray[np.float64]:
    """Grain as fine as that of electron micrographs, moved exactly: by the phases of its frequencies."""
    white = np.fft.fft2(np.random.default_rng(3).standard_normal((side, side)))
    y, x = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    blur = np.exp(-2 * (np.pi * 1.2) ** 2 * (x**2 + y**2))
    phases = np.exp(-2j * np.pi * (x * shift_xy[0] + y * shift_xy[1]))
    grain = np.fft.ifft2(white * blur).real
    moved: NDArray[np.float64] = np.fft.ifft2(white * blur * phases).real
    return 128 + 35 * moved / grain.std()


@pytest.mark.parametrize("fraction_px", np.arange(1, 20) * 0.05)
@pytest.mark.parametrize("axis", ["x", "y"])
def test_every_fraction_of_a_pixel_is_kept(fraction_px: float, axis: str) -> None:
    picture = np.rint(textured(256, (0, 0))).astype(np.uint8)
    along = np.array([1.0, 0.0]) if axis == "x" else np.array([0.0, 1.0])
    x, y = along * fraction_px
    expected = textured(256, (x, y))
    slope = (textured(256, (x + along[0] * 1e-3, y + along[1] * 1e-3)) - expected) / 1e-3
    found = warped(picture, translation(-x, -y), picture.shape)
    inner = (slice(12, -12), slice(12, -12))
    error_px = ((found - expected) * slope)[inner].sum() / (slope**2)[inner].sum()
    assert abs(error_px) < 0.003  # OpenCV's cubic kernel: 0.026


def worst_rms(pictures: list[Picture]) -> float:
    """Root mean square of the difference to the B-spline in 64-bit floats, in grey levels."""
    errors = []
    for picture in pictures:
        height, width = picture.shape
        turned = rotation_about((width / 2, height / 2), math.radians(0.2))
        matrix = translation(3.3, -2.6) @ turned
        difference = warped(picture, matrix, (height, width)) - by_scipy(picture, matrix, (height, width))
        errors.append(math.sqrt((difference**2).mean()))
    return max(errors)


def test_grey_levels_are_those_of_the_exact_spline() -> None:
    assert worst_rms([np.rint(textured(512, (0, 0))).astype(np.uint8)]) < 0.3  # rounding alone: 0.29


@pytest.mark.parametrize("name", ["fibsem_medulla", "fibsem_cube", "sstem_vnc", "sstem_isbi"])
def test_grey_levels_of_real_slices_are_those_of_the_exact_spline(name: str) -> None:
    assert worst_rms(real_pictures(name, [3, 4])) < 0.3


def test_a_picture_need_not_lie_in_one_piece() -> None:
    whole = random_picture((60, 200), np.uint16)
    matrix = MATRICES["rotation by 0.2 degrees"]
    for view in (whole[5:50, 7:150], whole[::2, ::3], whole[::-1], whole.T, np.asfortranarray(whole)):
        np.testing.assert_array_equal(warped(view, matrix, (50, 140)), warped(view.copy(), matrix, (50, 140)))


def test_nothing_is_written_beside_the_plane() -> None:
    canvas = np.full((70, 220), 200, np.uint8)
    picture = random_picture((60, 200), np.uint8)
    spline.warp(picture, MATRICES["shift"], canvas[4:-6, 3:-5])
    np.testing.assert_array_equal(canvas[4:-6, 3:-5], warped(picture, MATRICES["shift"], (60, 212)))
    canvas[4:-6, 3:-5] = 200
    assert (canvas == 200).all()


def test_arrays_that_the_kernel_does_not_know_are_refused() -> None:
    picture = random_picture((8, 8), np.uint8)
    bad: list[tuple[Any, Any]] = [
        (picture, np.zeros((8, 8), np.uint16)),
        (picture.astype(np.float32), np.zeros((8, 8), np.float32)),
        (picture, np.zeros((8, 16), np.uint8)[:, ::2]),
        (picture.astype(">u2"), np.zeros((8, 8), ">u2")),
    ]
    for source, out in bad:
        with pytest.raises(AssertionError):
            spline.warp(source, MATRICES["shift"], out)


def test_threads_do_not_disturb_each_other() -> None:
    pictures = [random_picture((150, 240), np.uint8, seed) for seed in range(16)]

    def work(picture: Picture) -> Picture:
        return warped(picture, MATRICES["rotation by 10 degrees"], (150, 240))

    alone = [work(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as executor:
        together = list(executor.map(work, pictures))
    np.testing.assert_array_equal(together, alone)


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], str], None]:
    """Compiles the kernel in another way, and has the tests use it."""

    def compile_and_use(flags: list[str], source: str) -> None:
        checksum = f"-DSOURCE_CRC32={spline.source_crc32()}U"
        (tmp_path / "bspline.c").write_text(source)
        command = [sys.executable, "-m", "ziglang", "cc", *flags, checksum, "bspline.c", "-o", "bspline.bin"]
        subprocess.run(command, cwd=tmp_path, check=True)
        monkeypatch.setattr(spline, "LIBRARY", tmp_path / "bspline.bin")

    return compile_and_use


@pytest.mark.parametrize("flags", [["-O0"], ["-O3", "-mcpu=native"]], ids=["one by one", "this processor"])
def test_bytes_do_not_depend_on_the_processor(
    flags: list[str], compiled: Callable[[list[str], str], None]
) -> None:
    """Without vectors, and with all that this processor has, fused operations among it."""
    cases = [
        (random_picture((150, 240), dtype), MATRICES[name])
        for dtype in TYPES
        for name in ("rotation by 0.2 degrees", "rotation by 10 degrees")
    ]
    as_installed = [warped(picture, matrix, (150, 240)) for picture, matrix in cases]
    source = (ROOT / "components/tile/bspline.c").read_text()
    without = [flag for flag in FLAGS if not re.match("-O|-mcpu", flag)]
    compiled([*without, *flags, "-fno-sanitize=undefined"], source)
    for (picture, matrix), expected in zip(cases, as_installed, strict=True):
        np.testing.assert_array_equal(warped(picture, matrix, (150, 240)), expected)


def test_a_library_that_is_missing_or_of_another_source_says_what_to_do(
    compiled: Callable[[list[str], str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "unsigned source_crc32(void) { return SOURCE_CRC32 + 1; } void warp(void) {}"
    compiled(["-shared", "-fPIC"], source)
    picture = random_picture((8, 8), np.uint8)
    with pytest.raises(
        ConfigError, match=r"compiled of bspline\.c beside it; got an older one\. Run make setup"
    ):
        warped(picture, MATRICES["shift"], (8, 8))
    monkeypatch.setattr(spline, "LIBRARY", tmp_path / "none.bin")
    with pytest.raises(ConfigError, match=r"must be loaded from .*none\.bin; got .*Run make setup"):
        warped(picture, MATRICES["shift"], (8, 8))


def test_nothing_has_to_be_written_to_warp() -> None:
    """Not in a home, not in a cache, not in a temporary folder: a container may be read-only."""
    program = (
        "import numpy as np; from components.tile import spline; out = np.zeros((9, 9), np.uint8); "
        "spline.warp(np.full((9, 9), 7, np.uint8), np.eye(3), out); print(out.sum())"
    )
    nowhere = dict.fromkeys(["HOME", "TMPDIR", "XDG_CACHE_HOME"], "/nowhere")
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{7 * 81}\n"
