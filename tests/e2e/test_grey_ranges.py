"""Slices with fill values, and tissue without grey levels, through all programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from commands.sample.main import main as sample
from components.shared.documents.transforms import Transforms
from tests.builders import cli, invoke
from tests.e2e.steps import run_steps
from tests.e2e.test_data_types import channels_by_tensorstore

N_SLICES = 4
SETTINGS = {"image": "%05d.tif", "minz": 0, "maxz": N_SLICES - 1, "clip_limit": 0}
BORDER_PX = 12


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[np.float64]]:
    """Slices of tissue, nearly all of it between 0 and 1."""
    folder = tmp_path_factory.mktemp("ranges")
    result = invoke(sample, folder, "--size", "224x192", "--slices", N_SLICES, "--bits", 16, "--seed", 4)
    assert result.exit_code == 0, result.output
    raw = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED).astype(float) for p in sorted(folder.glob("*.png"))]
    low, high = np.percentile(np.stack(raw), [0.1, 99.9])
    return [np.clip((picture - low) / (high - low), 0, 1) for picture in raw]


def bordered(picture: NDArray[Any], number: float, sides: str = "tblr") -> NDArray[Any]:
    result = picture.copy()
    n = BORDER_PX
    places = {"t": np.s_[:n], "b": np.s_[-n:], "l": np.s_[:, :n], "r": np.s_[:, -n:]}
    for side in sides:
        result[places[side]] = number
    return result


def write(folder: Path, pictures: list[NDArray[Any]]) -> Path:
    folder.mkdir()
    for z, picture in enumerate(pictures):
        tifffile.imwrite(folder / f"{z:05d}.tif", picture)
    return folder


def between(low: int, high: int, dtype: str = "uint16") -> Callable[[NDArray[np.float64]], NDArray[Any]]:
    return lambda picture: np.rint(low + (high - low) * picture).astype(dtype)


def as_float(picture: NDArray[np.float64]) -> NDArray[Any]:
    return picture.astype(np.float32)


@pytest.fixture(scope="module")
def plain(tissue: list[NDArray[np.float64]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volume of the tissue without a border."""
    folder = tmp_path_factory.mktemp("plain")
    return run_steps(
        write(folder / "in", [between(30_000, 33_000)(t) for t in tissue]), folder / "out", **SETTINGS
    )


KINDS: dict[str, tuple[Callable[..., NDArray[Any]], float, set[int], float]] = {
    "float of -9999": (as_float, -9999, {0}, 0),
    "16 bit of 0": (between(30_000, 33_000), 0, {0}, 0),
    "16 bit of 65535": (between(30_000, 33_000), 65_535, {65_535}, 0),
    "8 bit of 255": (between(60, 160, "uint8"), 255, {255}, 60),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_border_takes_no_grey_levels_and_is_shown_as_the_margin(
    tissue: list[NDArray[np.float64]], plain: Path, tmp_path: Path, kind: str
) -> None:
    made, number, levels, _ = KINDS[kind]
    slices = [bordered(made(picture), number) for picture in tissue]
    output = run_steps(write(tmp_path / "in", slices), tmp_path / "out", **SETTINGS)
    transforms = Transforms.model_validate_json((output / "process/transforms.json").read_bytes())
    assert {fill.level for entry in transforms.slices for fill in entry.fill} == levels
    for entry, picture in zip(transforms.slices, slices, strict=True):
        assert sum(fill.share for fill in entry.fill) == pytest.approx(np.mean(picture == number), abs=1e-5)
    voxels, expected = (
        channels_by_tensorstore(folder / "chunk", 0)[0].astype(float) for folder in (output, plain)
    )
    x, y = (round(entry) for entry in np.array(transforms.slices[0].matrix)[:2, 2])
    assert not voxels[0, y + 2 : y + BORDER_PX - 4, x + 40 : x + 80].any()
    inside = np.s_[:, 50:120, 60:140]
    scale = 100 / 255 if made is KINDS["8 bit of 255"][0] else 1
    for quarter in (25, 50, 75):
        found, wanted = (np.percentile(v[inside], quarter) for v in (voxels, expected))
        assert found == pytest.approx(wanted * scale + KINDS[kind][3], abs=4)
    run = json.loads((output / "process/run.json").read_text())
    assert run["complete"]
    said = [sentence for sentence in run["summary"] if sentence.startswith("Fill value: ")]
    assert len(said) == 1
    assert f"grey level {max(levels):,}" in said[0]
    assert f"in 4 of 4 slices, {np.mean(slices[0] == number):.1%} of their pixels" in said[0]


def test_a_border_does_not_change_where_slices_lie(
    tissue: list[NDArray[np.float64]], plain: Path, tmp_path: Path
) -> None:
    """The border stands still while the tissue moves."""
    slices = [bordered(between(30_000, 33_000)(picture), 65_535) for picture in tissue]
    output = run_steps(write(tmp_path / "in", slices), tmp_path / "out", **SETTINGS)
    centre = np.array([112.0, 96.0, 1.0])

    def steps(folder: Path) -> NDArray[np.float64]:
        transforms = Transforms.model_validate_json((folder / "process/transforms.json").read_bytes())
        return np.diff([(np.array(entry.matrix) @ centre)[:2] for entry in transforms.slices], axis=0)

    np.testing.assert_allclose(steps(output), steps(plain), atol=0.15)


def test_saturated_structures_stay_white(tissue: list[NDArray[np.float64]], tmp_path: Path) -> None:
    slices = [between(20_000, 40_000)(picture) for picture in tissue]
    for picture in slices:
        picture[80:100, 90:120] = 65_535
    output = run_steps(write(tmp_path / "in", slices), tmp_path / "out", **SETTINGS, skip_align=True)
    voxels = channels_by_tensorstore(output / "chunk", 0)[0]
    assert (voxels[:, 80:100, 90:120] == 255).all()
    assert np.ptp(np.percentile(voxels[:, 10:70, 10:200], [25, 75])) > 60


def test_raw_grey_levels_show_padding_as_the_margin_too(
    tissue: list[NDArray[np.float64]], tmp_path: Path
) -> None:
    slices = [bordered(between(30_000, 33_000)(picture), 65_535) for picture in tissue]
    output = run_steps(
        write(tmp_path / "in", slices), tmp_path / "out", **SETTINGS, skip_align=True, keep_bits=True
    )
    voxels = channels_by_tensorstore(output / "chunk", 0)[0]
    for plane, picture in zip(voxels, slices, strict=True):
        np.testing.assert_array_equal(plane, np.where(picture == 65_535, 0, picture))


def test_tissue_that_would_lose_its_grey_levels_is_never_complete(
    tissue: list[NDArray[np.float64]], tmp_path: Path
) -> None:
    """Half of the stack has another exposure, so that no range shows both as they are."""
    slices = [between(1_000, 1_300)(picture) for picture in tissue[:2]]
    slices += [between(30_000, 50_000)(picture) for picture in tissue[2:]]
    place = ("--source", write(tmp_path / "in", slices), "--image", "%05d.tif", "--minz", 0, "--maxz", 3)
    as_they_are = ("--set", "skip_align=true", "--set", "intensity=none")
    result = cli("run", *place, "--output", tmp_path / "out", *as_they_are)
    assert result.exit_code == 65, result.output
    (said,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert "gets 0.0 of 256 grey levels (median) in 1 of 3 slices (1), fewer than 16" in said
    assert "--set force=true" in said
    assert not (tmp_path / "out/neuroglancer/jpeg/info").exists()
    # Brought to the grey levels of the slices around it, the same tissue gets its share of 256.
    assert cli("run", *place, "--output", tmp_path / "even", "--set", "skip_align=true").exit_code == 0
    shown = channels_by_tensorstore(tmp_path / "even/chunk", 0)[0]
    for plane in shown:
        assert np.ptp(np.percentile(plane, [25, 75])) > 16


@pytest.fixture(scope="module")
def deep(tissue: list[NDArray[np.float64]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume of 16 bit whose grey levels lie from 30,000 to 33,000."""
    folder = tmp_path_factory.mktemp("deep")
    source = write(folder / "in", [between(30_000, 33_000)(picture) for picture in tissue])
    return run_steps(source, folder / "out", **SETTINGS, skip_align=True, keep_bits=True)


@pytest.mark.parametrize(
    ("contrast", "result"),
    [
        ("40-210", "100% of the voxels white and 0% black"),
        ("32900-40000", "0% of the voxels white and"),
        ("0-65535", "the middle half of the voxels in"),
    ],
)
def test_an_export_in_other_grey_levels_than_the_volume_is_refused_with_those_that_fit(
    deep: Path, tmp_path: Path, contrast: str, result: str
) -> None:
    refused = cli("export", deep, tmp_path / "new", "--contrast", contrast, "--jobs", 1)
    assert refused.exit_code == 78, refused.output
    assert f"got {contrast}, which would show {result}" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
    fitting = refused.stderr.strip().rpartition("Write --contrast ")[2].rstrip(".")
    low, high = map(int, fitting.split("-"))
    assert (low, high) == pytest.approx((30_000, 33_000), abs=150)
    assert cli("export", deep, tmp_path / "new", "--contrast", fitting, "--jobs", 1).exit_code == 0


def test_a_volume_of_8_bit_is_not_burnt_out(plain: Path, tmp_path: Path) -> None:
    refused = cli("export", plain, tmp_path / "new", "--contrast", "3-12", "--jobs", 1)
    assert refused.exit_code == 78, refused.output
    assert "of the voxels white" in refused.stderr
    assert cli("export", plain, tmp_path / "new", "--contrast", "30-220", "--jobs", 1).exit_code == 0
