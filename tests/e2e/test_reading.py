"""Pictures that must be cropped, inverted or mapped become the volume of the plain pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.components.shared.pictures.planted_bar import SIDE_PX, soft_tissue
from tests.e2e import bad_input_cases as cases
from tests.e2e.bad_files import png, tiff
from tests.e2e.steps import run_steps

RANGE = {"minz": cases.FIRST, "maxz": cases.LAST}
DEEP = 150


def write(folder: Path, name: str, make: Callable[[NDArray[np.uint8]], bytes]) -> Path:
    folder.mkdir()
    for z in range(cases.FIRST, cases.LAST + 1):
        (folder / (name % z)).write_bytes(make(cases.slice_of(z)))
    return folder


def volume_of(output: Path) -> dict[str, str]:
    """Digests of what a run has written to be looked at and worked with."""
    files = [p for name in ("neuroglancer", "chunk") for p in (output / name).rglob("*") if p.is_file()]
    voxels = [p for p in files if p.name != "provenance"]  # that tells slices and settings
    return {str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest() for p in voxels}


def transforms_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "process/transforms.json").read_text())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 8 bit."""
    folder = tmp_path_factory.mktemp("plain")
    return run_steps(write(folder / "stack", "%d.png", png), folder / "volume", image="%d.png", **RANGE)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 16 bit."""
    folder = tmp_path_factory.mktemp("deep")
    source = write(folder / "stack", "%d.tif", lambda image: tiff(image.astype(np.uint16) * DEEP))
    return run_steps(source, folder / "volume", image="%d.tif", **RANGE)


def with_data_bar(image: NDArray[np.uint8]) -> bytes:
    """The microscope's legend below, a margin to the left and above, all of which stay in place."""
    canvas = np.zeros((cases.HEIGHT + 40, cases.WIDTH + 25), np.uint8)
    canvas[9 : 9 + cases.HEIGHT, 17 : 17 + cases.WIDTH] = image
    cv2.putText(canvas, "HV 1.5 kV", (5, cases.HEIGHT + 35), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    return png(canvas)


def test_a_data_bar_is_cut_off(plain: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "stack", "%d.png", with_data_bar)
    crop = [17, 9, cases.WIDTH, cases.HEIGHT]
    output = run_steps(source, tmp_path / "volume", image="%d.png", crop=crop, **RANGE)
    assert volume_of(output) == volume_of(plain)
    found, expected = transforms_of(output), transforms_of(plain)
    assert [s["matrix"] for s in found["slices"]] == [s["matrix"] for s in expected["slices"]]
    assert (found["slice_origin_xy_px"], expected["slice_origin_xy_px"]) == ([17, 9], [0, 0])


def test_inverted_slices_are_turned_round(plain: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "stack", "%d.png", lambda image: png(255 - image))
    output = run_steps(source, tmp_path / "volume", image="%d.png", invert=True, **RANGE)
    assert volume_of(output) == volume_of(plain)


def test_signed_numbers_are_those_of_16_bit(deep: Path, tmp_path: Path) -> None:
    def signed(image: NDArray[np.uint8]) -> bytes:
        return tiff((image.astype(np.int32) * DEEP - 2**15).astype(np.int16))

    output = run_steps(
        write(tmp_path / "stack", "%d.tif", signed), tmp_path / "volume", image="%d.tif", **RANGE
    )
    assert volume_of(output) == volume_of(deep)


def test_floating_point_becomes_16_bit_with_room_for_other_slices(deep: Path, tmp_path: Path) -> None:
    def floating(image: NDArray[np.uint8]) -> bytes:
        return tiff(image.astype(np.float32) / 255 - 0.5, compression="zlib")

    output = run_steps(
        write(tmp_path / "stack", "%d.tif", floating), tmp_path / "volume", image="%d.tif", **RANGE
    )
    plan = json.loads((output / "process/plan.json").read_text())
    ((low, high),) = plan["reading"]["values"]
    assert (plan["pixel_type"], low < -0.9, high > 0.9) == ("uint16", True, True)
    found, expected = transforms_of(output), transforms_of(deep)
    for a, b in zip(found["slices"], expected["slices"], strict=True):
        np.testing.assert_allclose(a["matrix"], b["matrix"], atol=0.1)


def test_slices_are_matched_by_a_region_and_written_whole(tmp_path: Path) -> None:
    """Beside the tissue a ruler stands still and a screen flickers; neither takes part."""
    pictures, places = soft_tissue(6, seed=2, softness_px=4, most_step_px=6)
    (tmp_path / "stack").mkdir()
    for z, picture in enumerate(pictures):
        canvas = np.zeros((SIDE_PX + 20, SIDE_PX + 120), np.uint8)
        canvas[:20] = np.tile(np.repeat([20, 230], 7), canvas.shape[1])[: canvas.shape[1]]
        canvas[:, SIDE_PX:] = np.random.default_rng(z).choice([0, 255], (SIDE_PX + 20, 120))
        canvas[20:, :SIDE_PX] = picture
        (tmp_path / f"stack/{z}.png").write_bytes(png(canvas))
    output = run_steps(
        tmp_path / "stack",
        tmp_path / "volume",
        image="%d.png",
        minz=0,
        maxz=5,
        match_region=[0, 20, SIDE_PX, SIDE_PX],
    )
    found = transforms_of(output)
    matrices = np.array([s["matrix"] for s in found["slices"]])
    centre = np.array([SIDE_PX / 2, 20 + SIDE_PX / 2, 1])
    steps = np.diff(matrices @ centre, axis=0)[:, :2]
    assert np.abs(steps + np.diff(places, axis=0)).max() < 0.4
    assert [s["verdict"] for s in found["slices"]] == ["good"] * 6
    assert min(found["volume_size_xyz"][:2]) >= SIDE_PX + 20
    preview = json.loads((output / "process/preview.json").read_text())
    assert preview["gate"]["failures"] == []
    assert preview["median_after"] > 0.8
