"""The motion of a written volume's middle, read through tensorstore."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from components.report.image_axes.middle import motion_of_middle
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.storage.registry import open_store
from components.shared.volume.volume import Volume, volume_of
from tests.components.report.finished_run import make_plan, make_transforms, write_volume

SIDE = 100


def tissue() -> NDArray[np.uint8]:
    """[z, y, x] a cube whose structures are as wide along each axis."""
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(SIDE,) * 3), 3)
    return np.clip(128 + 35 * smooth / smooth.std(), 1, 255).astype(np.uint8)


def written(
    output: Path,
    voxels_zyx: NDArray[np.uint8],
    replaced: dict[int, int] | None = None,
    resolution: tuple[float, ...] = (8, 8, 8),
) -> tuple[Plan, Volume, Transforms]:
    """A whole volume of these voxels."""
    n_slices, height, width = voxels_zyx.shape
    plan = make_plan(output, n_slices, (width, height), resolution=resolution)
    transforms = make_transforms(plan, [np.eye(3)] * n_slices, (width, height, n_slices), replaced)
    write_volume(plan, transforms, open_store(str(output / "process")), voxels_zyx.transpose(2, 1, 0))
    return plan, volume_of(plan, transforms), transforms


def test_slices_that_jump_do_so_along_z_alone(tmp_path: Path) -> None:
    lying, random = tissue(), np.random.default_rng(1)
    jumping = lying.copy()
    for z in range(SIDE):
        jumping[z] = shift(
            lying[z].astype(np.float32), random.normal(scale=0.3, size=2), order=3, mode="nearest"
        )
    still = motion_of_middle(*written(tmp_path / "still", lying))
    moved = motion_of_middle(*written(tmp_path / "moved", np.maximum(jumping, 1)))
    assert [along.axis for along in still] == ["z", "y", "x"]
    assert all(along.n_pairs == 63 for along in still)
    assert max(along.change_px for along in still) < 1.3 * min(along.change_px for along in still)
    z, y, x = moved
    # White errors of 0.3 px change the shift by sqrt(6) times as much from step to step.
    assert abs(z.change_px - 0.3 * 6**0.5) < 0.12
    assert max(y.change_px, x.change_px) < 0.5 * z.change_px


def test_a_slice_that_shows_another_takes_no_part(tmp_path: Path) -> None:
    shown = tissue()
    shown[50] = shown[49]
    z, y, _ = motion_of_middle(*written(tmp_path, shown, {50: 49}))
    assert (z.n_pairs, y.n_pairs) == (61, 63)


@pytest.mark.parametrize("why", ["anisotropic", "thin", "margin"])
def test_what_cannot_be_compared_is_not_told(why: str, tmp_path: Path) -> None:
    voxels = tissue()
    if why == "thin":
        voxels = voxels[:80]
    resolution = (8, 8, 800) if why == "anisotropic" else (8, 8, 8)
    plan, volume, transforms = written(tmp_path, voxels, resolution=resolution)
    if why == "margin":
        aside = transforms.slices[30].model_copy(update={"matrix": ((1, 0, 5.0), (0, 1, 0), (0, 0, 1))})
        slices = (*transforms.slices[:30], aside, *transforms.slices[31:])
        transforms = transforms.model_copy(update={"slices": slices})
    assert motion_of_middle(plan, volume, transforms) == ()


def test_a_chunk_that_does_not_decode_is_an_error(tmp_path: Path) -> None:
    run = written(tmp_path, tissue())
    (shard,) = (tmp_path / "chunk").rglob("*.shard")
    content = bytearray(shard.read_bytes())
    content[len(content) // 8 : -len(content) // 8] = bytes(
        len(content[len(content) // 8 : -len(content) // 8])
    )
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"the middle of .*chunk cannot be read"):
        motion_of_middle(*run)
