"""Runs with other settings on a finished output: each leaves what a run on nothing leaves."""

from pathlib import Path
from typing import Any

import pytest
import tifffile

from tests.builders import cli
from tests.components.pyramid.pyramid_builders import textured
from tests.e2e.steps import run_steps

STACK = {"image": "s.%d.tif", "minz": 0, "maxz": 4, "skip_align": True}
ALL_OUTPUTS = {"ome_zarr": True, "raw_pyramid": True, "keep_tiles": True}
SETTINGS: list[dict[str, Any]] = [
    ALL_OUTPUTS,
    {"resolution": 9.0, **ALL_OUTPUTS},
    {"resolution": [4, 4, 30], **ALL_OUTPUTS},
    {"output_level": 1, **ALL_OUTPUTS},
    {"crop": [0, 0, 60, 50], **ALL_OUTPUTS},
    {"jpeg_quality": 60, "lossless_encoding": "png", **ALL_OUTPUTS},
    {"maxz": 3, **ALL_OUTPUTS},
    {"ome_zarr": True},
    {"raw_pyramid": True},
    {},
]
"""Settings of runs that follow each other; each leaves something of the one before without use."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    for z, picture in enumerate(textured((5, 150, 200))):
        tifffile.imwrite(folder / f"s.{z}.tif", picture, photometric="minisblack")
    return folder


def files(output: Path) -> dict[str, bytes]:
    """Every file and folder of an output; files with their bytes, unless they name the output itself.

    What `align` has found is left out: it holds for its slices, and is used again where the range comes back.
    """

    def content(path: Path) -> bytes:
        return b"" if path.is_dir() or output / "process" in path.parents else path.read_bytes()

    found = {path.relative_to(output).as_posix(): content(path) for path in output.rglob("*")}
    return {key: data for key, data in found.items() if "/align/" not in key}


def test_nothing_of_an_earlier_volume_is_left(source: Path, tmp_path: Path) -> None:
    for number, settings in enumerate(SETTINGS):
        output = run_steps(source, tmp_path / "out", **STACK | settings)
        alone = run_steps(source, tmp_path / f"alone-{number}", **STACK | settings)
        left, expected = files(output), files(alone)
        assert left.keys() == expected.keys(), settings
        assert left == expected, settings
    assert cli("verify", output).exit_code == 0
