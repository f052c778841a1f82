"""What is written for a volume follows from the plan and the transforms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.documents.plan import ChannelFile
from components.shared.errors import ConfigError
from components.shared.grid import BLOCK
from components.shared.volume.volume import Volume, volume_of
from tests.builders import plan_of, transforms_of


def small_volume(minz: int = 0, maxz: int = 59, width_px: int = 520, **config: object) -> Volume:
    plan = plan_of(minz, maxz, **config)
    return volume_of(plan, transforms_of(plan, size_px=(width_px, 80)))


@given(st.integers(0, 2500))
def test_slabs_cover_the_slices_once(maxz: int) -> None:
    volume = small_volume(maxz=min(maxz, 200))
    covered = [z for slab in range(volume.n_slabs) for z in volume.slab_z_indices(slab)]
    assert covered == list(range(volume.size_xyz[2]))


@given(st.integers(1, 5000), st.integers(1, 30_000), st.integers(1, 30_000))
def test_a_block_reads_exactly_the_slabs_that_hold_its_slices(depth: int, width: int, height: int) -> None:
    plan = plan_of(0, 0)
    transforms = transforms_of(plan).model_copy(update={"volume_size_xyz": (width, height, depth)})
    volume = volume_of(plan, transforms)
    first_pass = volume.passes[0]
    for block in {0, first_pass.n_blocks // 2, first_pass.n_blocks - 1}:
        z = first_pass.block_position(block)[2] * BLOCK
        slices = set(range(z, min(z + BLOCK, depth)))
        read = {index for slab in volume.slabs_of_block(block) for index in volume.slab_z_indices(slab)}
        assert read == slices  # no slab lies in two blocks


def test_a_plain_run_writes_a_volume_to_browse_and_one_to_process() -> None:
    volume = small_volume()
    assert [(o.uri, o.encoding, list(o.levels)) for o in volume.outputs] == [
        ("out/neuroglancer/jpeg", "jpeg", [0, 1, 2, 3, 4]),
        ("out/chunk", "raw", [0]),
    ]
    assert volume.outputs[0].jpeg_quality == 80
    assert volume.size_xyz == (520, 80, 60)
    assert volume.size_at_level(3) == (65, 10, 8)
    assert volume.resolution_at_level(2) == (32.0, 32.0, 32.0)


def test_the_lossless_pyramid_is_written_where_asked() -> None:
    volume = small_volume(raw_pyramid=True)
    assert (volume.outputs[2].uri, volume.outputs[2].encoding) == ("out/neuroglancer/raw", "raw")
    assert volume.outputs[2].levels == volume.outputs[0].levels


@pytest.mark.parametrize(("encoding", "n_png"), [("raw", 0), ("png", 2)])
def test_lossless_volumes_are_gzip_or_png_and_ome_zarr_is_always_gzip(encoding: str, n_png: int) -> None:
    volume = small_volume(raw_pyramid=True, ome_zarr=True, lossless_encoding=encoding)
    assert sum(output.encoding == "png" for output in volume.outputs) == n_png
    last = volume.outputs[-1]
    assert (last.uri, last.format, last.encoding) == ("out/ome-zarr", "ome-zarr", "raw")
    assert last.levels == volume.outputs[0].levels


def test_coarse_slices_are_halved_later() -> None:
    volume = small_volume(minz=4, maxz=63, resolution=(4.0, 4.0, 16.0))
    assert [volume.size_at_level(level) for level in range(5)] == [
        (520, 80, 60), (260, 40, 60), (130, 20, 60), (65, 10, 30), (33, 5, 15),
    ]  # fmt: skip
    assert [volume.resolution_at_level(level)[2] for level in range(5)] == [16, 16, 16, 32, 64]
    # z is halved twice, so that multiples of 4 can be kept.
    assert [volume.voxel_offset_at_level(level)[2] for level in range(5)] == [4, 4, 4, 2, 1]


def test_more_levels_than_the_pipeline_has_loops_for_are_refused() -> None:
    plan = plan_of(0, 9, resolution=(1.0, 1.0, 1000.0))
    large = transforms_of(plan).model_copy(update={"volume_size_xyz": (40_000, 40_000, 10_000)})
    with pytest.raises(ConfigError, match=r"at most 15 levels; got 18 .* Change --set 'resolution="):
        volume_of(plan, large)


@pytest.mark.parametrize(("asked", "first"), [(0, 0), (2, 2), (4, 4)])
def test_output_level_is_the_finest_that_is_written(asked: int, first: int) -> None:
    volume = small_volume(output_level=asked)
    assert list(volume.outputs[0].levels) == list(range(first, 5))
    assert list(volume.outputs[1].levels) == [first]


def test_a_small_volume_has_its_one_level_whatever_is_asked() -> None:
    volume = small_volume(maxz=9, width_px=64, output_level=4)
    assert [list(output.levels) for output in volume.outputs] == [[1], [1]]  # 80 px high: two levels


@pytest.mark.parametrize(("minz", "offset"), [(0, 0), (16, 16), (48, 48), (1, 0), (8, 0), (20, 0)])
def test_slice_numbers_are_kept_where_every_level_can_hold_them(minz: int, offset: int) -> None:
    volume = small_volume(minz=minz, maxz=minz + 59)  # five levels: multiples of 16
    assert volume.voxel_offset_xyz == (0, 0, offset)


def test_every_level_belongs_to_one_pass() -> None:
    volume = small_volume(width_px=5000)
    assert [volume.pass_at_level(level).base_level for level in range(8)] == [0] * 5 + [5] * 3


def volume_with(file_channels: tuple[int, ...], pixel_type: str = "uint8", **config: object) -> Volume:
    """A volume of 520 x 80 x 60 voxels of slices with these channels."""
    plan = plan_of(0, 59, **config)
    first, *others = file_channels
    more = tuple(ChannelFile(key=f"{i}", size_bytes=1, n_channels=n) for i, n in enumerate(others))
    slices = tuple(s.model_copy(update={"n_channels": first, "more_channels": more}) for s in plan.slices)
    plan = plan.model_copy(update={"slices": slices, "pixel_type": pixel_type})
    return volume_of(plan, transforms_of(plan, size_px=(520, 80)))


def types(volume: Volume) -> list[tuple[str, str, int, int]]:
    return [(o.array.key, o.array.data_type, o.n_channels, o.shard_side) for o in volume.outputs]


def test_bits_are_kept_where_there_are_more_and_only_on_request() -> None:
    grey = [("aligned", "uint8", 1, 1024), ("aligned", "uint8", 1, 512)]
    assert types(volume_with((1,), "uint8", keep_bits=True)) == grey
    assert types(volume_with((1,), "uint16")) == grey
    kept = volume_with((1,), "uint16", keep_bits=True)
    assert types(kept) == [("aligned", "uint8", 1, 1024), ("aligned-uint16", "uint16", 1, 256)]
    assert [array.bytes_per_voxel for array in kept.arrays] == [1, 2]


@pytest.mark.parametrize(
    ("file_channels", "n_jpeg"), [((3,), 3), ((4,), 3), ((1, 1), 1), ((1, 1, 1), 3), ((1,) * 5, 1)]
)
def test_jpeg_shows_one_channel_or_three(file_channels: tuple[int, ...], n_jpeg: int) -> None:
    n_all = sum(file_channels)
    assert types(volume_with(file_channels)) == [
        ("aligned", "uint8", n_jpeg, 1024),
        ("aligned", "uint8", n_all, 256),
    ]


def test_slabs_are_thinner_where_a_voxel_has_more_bytes() -> None:
    plan = plan_of(0, 59)
    sizes = {(1,): 16, (3,): 4, (4,): 4}
    for file_channels, depth in sizes.items():
        slices = tuple(s.model_copy(update={"n_channels": sum(file_channels)}) for s in plan.slices)
        wide = plan.model_copy(update={"slices": slices})
        assert volume_of(wide, transforms_of(wide, size_px=(5000, 5000))).slab_depth == depth
