"""The pyramid step through its program, its volumes read back by other programs."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from components.pyramid import sources
from components.pyramid.main import main
from components.pyramid.writing import Job, write_block
from components.shared.errors import TransientError
from components.shared.storage.registry import open_store
from components.shared.storage.store import join_uri
from components.shared.volume.layout import predicted_shards, shards_of_block
from components.shared.work import records
from components.shared.work.left import blocks_to_do, slabs_to_do
from components.shared.work.records import Record
from tests.builders import invoke
from tests.components.pyramid.pyramid_builders import (
    AlignedStack,
    halvings_of,
    read_cloudvolume,
    read_tensorstore,
    read_tensorstore_zarr,
    read_zarr,
    reference_levels,
    textured,
)
from tests.components.shared.work.rot import change_places, change_with_time_put_back, rot

# cloud-volume 12.15 warns of its own dependencies when it is imported and when it opens a volume.
quiet_cloudvolume = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")


def run_step(stack: AlignedStack, level: int, blocks: str) -> Result:
    arguments = ["--process-uri", stack.plan.locations.process_uri, "--level", str(level), "--blocks", blocks]
    return invoke(main, *arguments)


def files_below(uri: str) -> dict[str, bytes]:
    files = [p for p in Path(uri).rglob("*") if p.is_file() and p.name not in METADATA]
    return {p.relative_to(uri).as_posix(): p.read_bytes() for p in files}


METADATA = ("info", "provenance", "zarr.json")


def check_volume(stack: AlignedStack, *, jpeg_error: float) -> None:
    """Both readers see the same; lossless is exact at each level; JPEG is close."""
    _, *lossless = stack.volume.outputs
    halvings = halvings_of(stack.volume)
    expected = reference_levels(stack.voxels, halvings)
    for output in stack.volume.outputs:
        for index, level in enumerate(output.levels):
            if output.format == "ome-zarr":
                voxels = read_tensorstore_zarr(output.uri, index)
                np.testing.assert_array_equal(voxels, read_zarr(output.uri, index))
            else:
                voxels, origin = read_tensorstore(output.uri, index)
                np.testing.assert_array_equal(voxels, read_cloudvolume(output.uri, index))
                offsets = zip(origin, halvings[level], strict=True)
                assert tuple(n << k for n, k in offsets) == stack.volume.voxel_offset_xyz
            if output in lossless:
                np.testing.assert_array_equal(voxels, expected[level])
            else:
                error = np.abs(voxels.astype(int) - expected[level]).mean()
                assert voxels.shape == expected[level].shape
                assert error < jpeg_error


@quiet_cloudvolume
@pytest.mark.parametrize(
    ("shape_zyx", "small", "minz", "settings"),
    [
        ((38, 35, 70), (8, 3), 64, {"lossless_encoding": "png"}),
        ((5, 37, 66), (4, 3), 0, {"ome_zarr": True}),
        ((33, 9, 1), (8, 2), 7, {"ome_zarr": True, "lossless_encoding": "png"}),
        ((1, 1, 1), (8, 3), 0, {"ome_zarr": True}),
        ((11, 19, 36), (2, 4), 0, {"resolution": (8, 8, 4.5)}),
        ((13, 18, 40), (4, 3), 64, {"resolution": (4, 4, 40), "ome_zarr": True}),
        ((21, 9, 18), (4, 2), 0, {"resolution": (4, 4, 40)}),
        ((40, 9, 17), (4, 3), 0, {"resolution": (8, 8, 1), "ome_zarr": True}),
        ((9, 20, 17), (4, 3), 0, {"resolution": (2, 9, 4), "lossless_encoding": "png"}),
    ],
)
def test_small_pyramids_of_many_passes_read_back(
    tmp_path: Path,
    shape_zyx: tuple[int, int, int],
    small: tuple[int, int],
    minz: int,
    settings: dict[str, Any],
) -> None:
    stack = AlignedStack(tmp_path, textured(shape_zyx), small=small, slab_depth=2, minz=minz, **settings)
    written = stack.write_blocks()
    stack.write_info()
    for output in stack.volume.outputs:
        predicted = predicted_shards(stack.volume, output)
        expected = {f"{scale}/{name}" for scale, names in predicted.items() for name in names}
        assert files_below(output.uri).keys() == expected
        for (level, block), files in written.items():
            owned = shards_of_block(stack.volume, output, level, block)
            assert {key for uri, key in files if uri == output.uri} == set(owned)
    assert max(stack.volume.size_at_level(stack.volume.outputs[0].levels[-1])) <= small[0]
    check_volume(stack, jpeg_error=12)


@quiet_cloudvolume
@pytest.mark.parametrize(("shape_zyx", "minz"), [((70, 130, 200), 96), ((9, 20, 1100), 0)])
def test_the_program_writes_every_pass(
    tmp_path: Path, shape_zyx: tuple[int, int, int], minz: int, caplog: pytest.LogCaptureFixture
) -> None:
    stack = AlignedStack(tmp_path, textured(shape_zyx), minz=minz)
    assert len(stack.volume.passes) == (2 if shape_zyx[2] > 1024 else 1)
    with caplog.at_level(logging.INFO):
        for pyramid_pass in stack.volume.passes:
            result = run_step(stack, pyramid_pass.base_level, f"0-{pyramid_pass.n_blocks - 1}")
            assert result.exit_code == 0, result.output
    stack.write_info()
    check_volume(stack, jpeg_error=5)
    n_blocks = sum(p.n_blocks for p in stack.volume.passes)
    assert sum("block" in message for message in caplog.messages) == n_blocks


def test_folder_and_bucket_hold_the_same(store_uri: str) -> None:
    stack = AlignedStack(store_uri, textured((20, 30, 1100)))
    assert run_step(stack, 0, "0-1").exit_code == 0
    assert run_step(stack, 5, "0-0").exit_code == 0
    stack.write_info()
    raw = stack.volume.outputs[2]
    for level, expected in enumerate(reference_levels(stack.voxels, halvings_of(stack.volume))):
        np.testing.assert_array_equal(read_tensorstore(raw.uri, level)[0], expected)


def test_a_block_that_is_done_is_not_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stack = AlignedStack(tmp_path, textured((20, 30, 40)))
    assert run_step(stack, 0, "0-0").exit_code == 0
    shard = next(Path(stack.volume.outputs[0].uri).rglob("*.shard"))
    before = shard.stat().st_mtime_ns
    stack.tile_path(0).unlink()  # the tiles may be gone by then
    with caplog.at_level(logging.INFO):
        assert run_step(stack, 0, "0-0").exit_code == 0
    assert shard.stat().st_mtime_ns == before
    assert "1 of 1 blocks are already done" in caplog.text


def test_a_task_that_is_stopped_loses_only_the_block_that_it_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = AlignedStack(tmp_path, textured((9, 20, 3000)))
    written: list[int] = []

    def write(job: Job, level: int, block: int, *more: Any) -> Record:
        if block == 1 and not written[1:]:
            written.append(block)
            raise TransientError("the machine is taken away")
        written.append(block)
        return write_block(job, level, block, *more)

    monkeypatch.setattr("components.pyramid.main.write_block", write)
    assert run_step(stack, 0, "0-2").exit_code == TransientError.exit_code
    assert blocks_to_do(stack.run, stack.volume.passes[0]) == [1, 2]
    assert run_step(stack, 0, "0-2").exit_code == 0
    assert written == [0, 1, 1, 2]


def test_how_blocks_are_shared_out_among_tasks_changes_no_byte(tmp_path: Path) -> None:
    volumes = []
    for name, tasks in (("one", ["0-2"]), ("each", ["2-2", "0-0", "1-1"])):
        stack = AlignedStack(tmp_path / name, textured((9, 20, 3000)))
        assert [run_step(stack, 0, blocks).exit_code for blocks in tasks] == [0] * len(tasks)
        volumes.append([files_below(output.uri) for output in stack.volume.outputs])
    assert volumes[0] == volumes[1]


PEAK = """
import sys
from pathlib import Path
from components.pyramid.main import main
main(sys.argv[1:], standalone_mode=False)
(line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(line.split()[1])
"""
"""Runs the program and prints the KiB that it took at most."""


def test_a_task_of_many_blocks_takes_the_memory_of_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 255, (64, 128, 9 * 1024), np.uint8)
    stack = AlignedStack(tmp_path, noise)  # 9 blocks of 8 MiB, 20 MiB when they are encoded
    peaks_kib = []
    for blocks in ("0-0", "1-8"):
        flags = ["--process-uri", stack.plan.locations.process_uri, "--level", "0", "--blocks", blocks]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *flags], capture_output=True, text=True, check=True
        )
        peaks_kib.append(int(done.stdout))
    libraries_keep_kib = 64 * 1024
    assert peaks_kib[1] < peaks_kib[0] + libraries_keep_kib


def test_a_lost_shard_is_made_again(tmp_path: Path) -> None:
    stack = AlignedStack(tmp_path, textured((20, 30, 40)))
    assert run_step(stack, 0, "0-0").exit_code == 0
    shard = next(Path(stack.volume.outputs[0].uri).rglob("*.shard"))
    data = shard.read_bytes()
    shard.unlink()
    assert run_step(stack, 0, "0-0").exit_code == 0
    assert shard.read_bytes() == data


@quiet_cloudvolume
def test_output_level_leaves_finer_levels_out(tmp_path: Path) -> None:
    stack = AlignedStack(tmp_path, textured((70, 130, 200)), output_level=2)
    stack.write_blocks()
    stack.write_info()
    assert [output.levels for output in stack.volume.outputs] == [range(2, 3)] * 3
    assert not list(tmp_path.rglob("8x8x8"))
    check_volume(stack, jpeg_error=5)


def test_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    volumes = []
    for n_threads in (1, 4):
        stack = AlignedStack(tmp_path / str(n_threads), textured((20, 35, 70)), small=(8, 3))
        stack.write_blocks(n_threads)
        volumes.append([files_below(output.uri) for output in stack.volume.outputs])
    assert volumes[0] == volumes[1]


class TestTilesThatAreNotThere:
    @pytest.fixture
    def stack(self, tmp_path: Path) -> AlignedStack:
        return AlignedStack(tmp_path, textured((40, 30, 50)))  # slabs of 16: 0, 1, 2

    def check(self, stack: AlignedStack, *said: str) -> None:
        result = run_step(stack, 0, "0-0")
        assert result.exit_code == TransientError.exit_code
        assert all(text in result.output for text in (*said, "same command again"))
        assert "Traceback" not in result.output
        assert not list(Path(stack.plan.locations.neuroglancer_uri).rglob("*.shard"))
        assert records.read_record(stack.process, "pyramid/0", "0") is None

    def test_a_missing_slab_is_named(self, stack: AlignedStack) -> None:
        stack.tile_path(1).unlink()
        self.check(stack, "slab 1")

    def test_a_slab_of_other_transforms_is_named(self, stack: AlignedStack) -> None:
        stack.process.delete(records.record_key("tile", "2"))
        self.check(stack, "slab 2")

    @pytest.mark.parametrize("position", [500, -30])
    def test_a_damaged_slab_is_named(self, stack: AlignedStack, position: int) -> None:
        data = bytearray(stack.tile_path(2).read_bytes())
        data[position] ^= 1
        rot(stack.tile_path(2), data, Path(stack.process.uri))
        self.check(stack, "slab 2", "damaged", "records/tile/2.json")
        assert slabs_to_do(stack.run, [0]) == [2]

    @pytest.mark.parametrize("position", [500, -30])
    def test_a_damaged_slab_whose_time_was_put_back_is_made_again(
        self, stack: AlignedStack, position: int
    ) -> None:
        data = bytearray(stack.tile_path(2).read_bytes())
        data[position] ^= 1
        change_with_time_put_back(stack.tile_path(2), data)
        assert slabs_to_do(stack.run, [0]) == [2]
        self.check(stack, "no such slab 2")

    def test_slabs_that_have_changed_places_are_made_again(self, stack: AlignedStack) -> None:
        first, second = stack.tile_path(0), stack.tile_path(1)
        size = max(path.stat().st_size for path in (first, second))
        for path, slab in ((first, "0"), (second, "1")):  # of one size, so that only their bytes tell
            path.write_bytes(path.read_bytes().ljust(size, bytes(1)))
            record = records.read_record(stack.process, "tile", slab)
            output = records.write_output(open_store(str(path.parent)), path.name, path.read_bytes())
            outputs = tuple(
                known.model_copy(update={"size_bytes": size, "crc32c": output.crc32c})
                if str(path) == join_uri(known.uri, known.key)
                else known
                for known in record.outputs
            )
            records.commit(stack.process, record.model_copy(update={"outputs": outputs}))
        assert slabs_to_do(stack.run, [0]) == []
        change_places(first, second)
        assert slabs_to_do(stack.run, [0]) == [0, 1]

    def test_a_slab_that_was_written_over_is_named(self, stack: AlignedStack) -> None:
        stack.tile_path(2).write_bytes(bytes(stack.tile_path(2).stat().st_size))
        self.check(stack, "no such slab 2")

    def test_a_slab_that_goes_after_the_look_at_its_record_is_not_black(self, stack: AlignedStack) -> None:
        stack.tile_path(1).unlink()
        run = stack.run
        record = records.read_record(stack.process, "tile", "1")
        records.commit(stack.process, record.model_copy(update={"outputs": ()}))
        with ThreadPoolExecutor(1) as pool, pytest.raises(TransientError, match=r"slab 1 .* missing"):
            write_block(run, 0, 0, pool, 1)

    def test_a_missing_array_is_named(self, stack: AlignedStack) -> None:
        Path(stack.plan.locations.tmp_uri, "aligned", "zarr.json").unlink()
        self.check(stack, "aligned stack")

    def test_an_array_of_another_size_is_refused(self, stack: AlignedStack) -> None:
        metadata = Path(stack.plan.locations.tmp_uri, "aligned", "zarr.json")
        data = metadata.read_bytes().replace(b"[40,30,50]", b"[40,31,50]")
        rot(metadata, data, Path(stack.process.uri))
        self.check(stack, "aligned stack", "31")
        assert slabs_to_do(stack.run, [0]) != []

    @pytest.mark.parametrize("metadata", [b"", b"{", b"{}"])
    def test_an_array_whose_metadata_are_damaged_is_made_again(
        self, stack: AlignedStack, metadata: bytes
    ) -> None:
        rot(Path(stack.plan.locations.tmp_uri, "aligned", "zarr.json"), metadata, Path(stack.process.uri))
        self.check(stack, "aligned stack")
        assert slabs_to_do(stack.run, [0]) == [0]

    @pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNKNOWN"])
    def test_a_failure_that_passes_while_the_array_is_opened_leaves_the_records(
        self, stack: AlignedStack, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        def fail(*_: object) -> None:
            raise ValueError(f"{code}: Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(sources, "finish", fail)
            with pytest.raises(TransientError, match="Try again"):
                stack.run.finest(stack.volume.arrays[0], 0, 1)
        assert slabs_to_do(stack.run, [0]) == []
        assert run_step(stack, 0, "0-0").exit_code == 0

    def test_too_many_open_files_leave_the_records(self, stack: AlignedStack) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        run = stack.run
        run.slabs_in_place.update(range(stack.volume.n_slabs))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(TransientError, match="too many files"):
                run.finest(stack.volume.arrays[0], 0, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert slabs_to_do(stack.run, [0]) == []


@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "rotten", "stale"])
def test_a_coarse_block_names_the_fine_block_that_it_lacks(tmp_path: Path, damage: str) -> None:
    stack = AlignedStack(tmp_path, textured((3, 4, 1100)))
    assert run_step(stack, 0, "0-1").exit_code == 0
    exact = Path(stack.plan.locations.process_uri, "pyramid/level-4/1.raw")
    data = exact.read_bytes()
    if damage == "gone":
        exact.unlink()
    elif damage == "stale":
        record = records.read_record(stack.process, "pyramid/0", "1")
        records.commit(stack.process, record.model_copy(update={"input_hash": "of another run"}))
    elif damage == "rotten":
        rot(exact, bytes([data[0] ^ 1]) + data[1:], Path(stack.process.uri))
    else:
        exact.write_bytes(data[:-1] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    result = run_step(stack, 5, "0-0")
    assert result.exit_code == TransientError.exit_code
    assert "block 1 of level 0" in result.output
    assert damage != "stale" or records.read_record(stack.process, "pyramid/0", "1") is not None
    assert blocks_to_do(stack.run, stack.volume.passes[0]) == [1]


@quiet_cloudvolume
def test_black_is_left_out_and_reads_as_zero(tmp_path: Path) -> None:
    voxels = textured((20, 20, 40))
    voxels[:, :, 16:] = 0
    stack = AlignedStack(tmp_path, voxels, small=(8, 2), raw_pyramid=False)
    stack.write_blocks()
    stack.write_info()
    for output in stack.volume.outputs:
        predicted = predicted_shards(stack.volume, output)
        n_predicted = sum(len(names) for names in predicted.values())
        assert 0 < len(files_below(output.uri)) < n_predicted
    check_volume(stack, jpeg_error=12)
    black_block = 2  # of 3 x 2 x 2, sides of 16 voxels
    record = records.read_record(stack.process, "pyramid/0", str(black_block))
    assert {output.key for output in record.outputs} == {f"pyramid/level-1/{black_block}.raw"}


def test_a_shard_of_an_earlier_run_goes_where_the_volume_is_black(tmp_path: Path) -> None:
    stack = AlignedStack(tmp_path, textured((9, 9, 9)))
    stack.write_blocks()
    assert all(files_below(output.uri) for output in stack.volume.outputs)
    stack.voxels[:] = 0
    stack.write_tiles()
    stack.write_blocks()
    assert not any(files_below(output.uri) for output in stack.volume.outputs)


@pytest.mark.parametrize(
    ("level", "blocks", "said"),
    [(1, "0-0", "(0)"), (0, "0-1", "below 1"), (0, "x", "8-15"), (5, "0-0", "(0)")],
)
def test_units_that_do_not_exist_are_refused(tmp_path: Path, level: int, blocks: str, said: str) -> None:
    stack = AlignedStack(tmp_path, textured((4, 4, 4)))
    result = run_step(stack, level, blocks)
    assert result.exit_code == 78
    assert said in result.output


def test_a_document_of_another_version_is_refused(tmp_path: Path) -> None:
    stack = AlignedStack(tmp_path, textured((4, 4, 4)))
    stack.process.write("plan.json", b'{"schema_version": 2}')
    result = run_step(stack, 0, "0-0")
    assert result.exit_code == 65
    assert "plan.json" in result.output
