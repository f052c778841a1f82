"""Slices of 16 bit, in colours and of several channels, through all programs; outputs read back by others."""

import hashlib
import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorstore as ts

from commands.export.main import main as export
from commands.sample.main import main as sample
from commands.verify.main import main as verify
from tests.builders import invoke
from tests.dat_file import dat
from tests.e2e.steps import run_steps

FIRST, LAST = 8, 11
RANGE = {"image": "img.%05d.png", "minz": FIRST, "maxz": LAST}
UNMOVED = {**RANGE, "raw_pyramid": True, "keep_tiles": True, "skip_align": True}


def channels_by_tensorstore(folder: Path, level: int) -> np.ndarray:
    """A level as [channel, z, y, x]."""
    kvstore = {"driver": "file", "path": f"{folder}/"}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": kvstore, "scale_index": level}
    return ts.open(spec, read=True).result().read().result().T


def channels_by_cloud_volume(folder: Path, level: int) -> np.ndarray:
    """A level as [channel, z, y, x], with black for chunks that were not written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume import CloudVolume

        volume = CloudVolume(f"file://{folder}", mip=level, fill_missing=True, progress=False)
        return np.asarray(volume[:, :, :]).T


def tiles_of(output: Path, name: str) -> np.ndarray:
    """An array of tiles as [channel, z, y, x]."""
    kvstore = {"driver": "file", "path": f"{output}/tmp/{name}/"}
    voxels = ts.open({"driver": "zarr3", "kvstore": kvstore}, open=True).result().read().result()
    return voxels if voxels.ndim == 4 else voxels[np.newaxis]


def info_of(folder: Path) -> dict:
    return json.loads((folder / "info").read_text())


def types_of(output: Path) -> dict[str, tuple[str, int]]:
    names = ("neuroglancer/jpeg", "neuroglancer/raw", "chunk")
    infos = {name: info_of(output / name) for name in names}
    return {name: (info["data_type"], info["num_channels"]) for name, info in infos.items()}


def shard_hashes(output: Path) -> dict[str, str]:
    files = [p for name in ("neuroglancer", "chunk") for p in (output / name).rglob("*") if p.is_file()]
    voxels = [p for p in files if p.name != "provenance"]  # that tells slices and settings
    return {str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest() for p in voxels}


def check_lossless(output: Path, tiles: str) -> None:
    """The lossless volumes hold the tiles, and each level the exact mean of the finer one, for two readers.

    cloud-volume takes the components of a PNG or JPEG pixel for channels that lie one behind the other.
    """
    expected = tiles_of(output, tiles)
    np.testing.assert_array_equal(channels_by_tensorstore(output / "chunk", 0), expected)
    raw = output / "neuroglancer/raw"
    for level in range(len(info_of(raw)["scales"])):
        found = channels_by_tensorstore(raw, level)
        np.testing.assert_array_equal(found, expected)
        if len(found) == 1 or info_of(raw)["scales"][0]["encoding"] == "raw":
            np.testing.assert_array_equal(channels_by_cloud_volume(raw, level), found)
        expected = ts.downsample(ts.array(expected), [1, 2, 2, 2], "mean").read(order="C").result()


def check_jpeg(output: Path, most_error: float) -> None:
    """The JPEG shows the first channels of the tiles at 8 bit, for two readers; see `check_lossless`."""
    found = channels_by_tensorstore(output / "neuroglancer/jpeg", 0)
    if len(found) == 1:
        np.testing.assert_array_equal(channels_by_cloud_volume(output / "neuroglancer/jpeg", 0), found)
    expected = tiles_of(output, "aligned")[: len(found)]
    error = np.abs(found.astype(int) - expected).mean(axis=(1, 2, 3))
    assert error.max() < most_error, error


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey slices of 16 bit."""
    folder = tmp_path_factory.mktemp("types") / "deep"
    flags = ["--size", "203x170", "--slices", LAST - FIRST + 1, "--first", FIRST, "--seed", 5, "--bits", 16]
    result = invoke(sample, folder, *flags)
    assert result.exit_code == 0, result.output
    for z in range(FIRST, LAST + 1):
        grey = cv2.imread(str(folder / f"img.{z:05d}.png"), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(folder / f"esb.{z:05d}.png"), 65_535 - grey)
    return folder


@pytest.fixture(scope="module")
def kept(deep: Path) -> Path:
    return run_steps(deep, deep.parent / "kept", **UNMOVED, keep_bits=True)


def test_raw_grey_levels_are_kept_at_16_bit(deep: Path, kept: Path) -> None:
    assert types_of(kept) == {
        "neuroglancer/jpeg": ("uint8", 1),
        "neuroglancer/raw": ("uint16", 1),
        "chunk": ("uint16", 1),
    }
    check_lossless(kept, "aligned-uint16")
    check_jpeg(kept, most_error=6)
    voxels = channels_by_tensorstore(kept / "chunk", 0)[0]
    for index, z in enumerate(range(FIRST, LAST + 1)):
        raw = cv2.imread(str(deep / f"img.{z:05d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(voxels[index, : raw.shape[0], : raw.shape[1]], raw)


def test_a_second_run_writes_the_same_bytes_and_clears_both_arrays_away(
    deep: Path, kept: Path, tmp_path: Path
) -> None:
    again = run_steps(deep, tmp_path / "again", **{**UNMOVED, "keep_tiles": False}, keep_bits=True)
    assert shard_hashes(again) == shard_hashes(kept)
    assert not [path for path in (again / "tmp").rglob("*") if path.is_file()]


def test_without_keep_bits_every_output_is_8_bit(deep: Path, kept: Path, tmp_path: Path) -> None:
    output = run_steps(deep, tmp_path / "mapped", **UNMOVED)
    assert {kind for kind, _ in types_of(output).values()} == {"uint8"}
    check_lossless(output, "aligned")
    inside = channels_by_tensorstore(output / "chunk", 0)[..., 40:-40, 40:-40]
    assert np.percentile(inside, 99) - np.percentile(inside, 1) > 100
    # What is shown does not depend on what else is kept.
    shown, shown_of_kept = (
        {key: crc for key, crc in shard_hashes(folder).items() if key.startswith("neuroglancer/jpeg")}
        for folder in (output, kept)
    )
    assert shown == shown_of_kept


def test_a_further_channel_is_warped_as_the_one_that_is_aligned(deep: Path, tmp_path: Path) -> None:
    config = {**RANGE, "keep_tiles": True, "raw_pyramid": True, "keep_bits": True, "clip_limit": 0}
    output = run_steps(deep, tmp_path / "two", **config, more_channels=["esb.%05d.png"], neighbours=1)
    assert types_of(output) == {
        "neuroglancer/jpeg": ("uint8", 1),
        "neuroglancer/raw": ("uint16", 2),
        "chunk": ("uint16", 2),
    }
    check_lossless(output, "aligned-uint16")
    check_jpeg(output, most_error=6)
    first, second = channels_by_tensorstore(output / "chunk", 0).astype(int)
    inside = first + second > 0
    assert inside.mean() > 0.7
    assert np.abs(first + second - 65_535)[inside].max() <= 1
    # Each has its own range of grey levels: the second is not lost outside of the first's.
    shown = tiles_of(output, "aligned")[1][inside]
    assert shown.std() > 20


@pytest.fixture(scope="module")
def coloured(deep: Path) -> Path:
    """RGB slices of 8 bit, each channel a function of the grey level."""
    folder = deep.parent / "coloured"
    folder.mkdir()
    for z in range(FIRST, LAST + 1):
        grey = cv2.imread(str(deep / f"img.{z:05d}.png"), cv2.IMREAD_UNCHANGED).astype(float)
        red = np.clip(255 * (grey - np.percentile(grey, 1)) / np.ptp(np.percentile(grey, [1, 99])), 0, 255)
        bgr = np.stack([255 - red, 40 + red / 2, red], axis=2)
        cv2.imwrite(str(folder / f"img.{z:05d}.png"), np.rint(bgr).astype(np.uint8))
    return folder


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_colours_stay_together(coloured: Path, tmp_path: Path, encoding: str) -> None:
    output = run_steps(
        coloured, tmp_path / "rgb", **UNMOVED, clip_limit=0, lossless_encoding=encoding, jpeg_quality=95
    )
    assert set(types_of(output).values()) == {("uint8", 3)}
    check_lossless(output, "aligned")
    check_jpeg(output, most_error=6)
    voxels = channels_by_tensorstore(output / "chunk", 0)
    for index, z in enumerate(range(FIRST, LAST + 1)):
        bgr = cv2.imread(str(coloured / f"img.{z:05d}.png"))
        np.testing.assert_array_equal(
            voxels[:, index, : len(bgr), : bgr.shape[1]], bgr[:, :, ::-1].transpose(2, 0, 1)
        )


def test_raw_images_of_a_microscope_are_read_as_they_are(deep: Path, tmp_path: Path) -> None:
    """Two detectors in one `.dat`: the first is aligned and shown, both are kept as they were recorded."""
    grey, signed = {}, 32_768
    for z in range(FIRST, LAST + 1):
        grey[z] = cv2.imread(str(deep / f"img.{z:05d}.png"), cv2.IMREAD_UNCHANGED).astype(int)
        recorded = np.dstack([grey[z] - signed, 65_535 - grey[z] - signed]).astype(np.int16)
        (tmp_path / f"raw_{z}.dat").write_bytes(dat(recorded))
    config = {**UNMOVED, "image": "raw_%d.dat"}
    output = run_steps(tmp_path, tmp_path / "out", **config, keep_bits=True)
    assert types_of(output) == {
        "neuroglancer/jpeg": ("uint8", 1),
        "neuroglancer/raw": ("uint16", 2),
        "chunk": ("uint16", 2),
    }
    voxels = channels_by_tensorstore(output / "chunk", 0)
    for index, picture in enumerate(grey.values()):
        inside = voxels[:, index, : picture.shape[0], : picture.shape[1]]
        np.testing.assert_array_equal(inside, [picture, 65_535 - picture])


def test_four_channels_show_their_colours_as_jpeg(coloured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rgba"
    folder.mkdir()
    for z in range(FIRST, LAST + 1):
        bgr = cv2.imread(str(coloured / f"img.{z:05d}.png"))
        alpha = np.full(bgr.shape[:2], 200, np.uint8)
        cv2.imwrite(str(folder / f"img.{z:05d}.png"), np.dstack([bgr, alpha]))
    output = run_steps(folder, tmp_path / "out", **UNMOVED, jpeg_quality=95)
    assert types_of(output) == {
        "neuroglancer/jpeg": ("uint8", 3),
        "neuroglancer/raw": ("uint8", 4),
        "chunk": ("uint8", 4),
    }
    check_lossless(output, "aligned")
    check_jpeg(output, most_error=6)
    assert set(np.unique(channels_by_tensorstore(output / "chunk", 0)[3])) <= {0, 200}


def test_kept_bits_are_verified_and_exported_in_another_contrast(kept: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert invoke(verify, kept, "--full").exit_code == 0
    flags = ["--lossless", "--contrast", "20000-50000", "--jobs", "1"]
    result = invoke(export, kept, new, *flags)
    assert result.exit_code == 0, result.output
    raw = channels_by_tensorstore(kept / "chunk", 0).astype(float)
    expected = np.rint(np.clip((raw - 20_000) * 255 / 30_000, 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(channels_by_tensorstore(new / "chunk", 0), expected)
    assert invoke(verify, new, "--full").exit_code == 0
