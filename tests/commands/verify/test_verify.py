"""`fibstack verify`: what is whole passes; every damage that can happen to a file or a voxel is named."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import simplejpeg
import tensorstore as ts
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from commands.verify.comparison import psnr_db, sampled, worst_jpeg_error
from commands.verify.files import checksum_of
from commands.verify.mending import export_command, joined
from components.report.run_document import RunDocument
from components.shared.errors import UserError
from components.shared.grid import SizeXyz
from components.shared.steps import RESULT_VERSIONS
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, checksum, join_uri
from components.shared.volume import tiles
from components.shared.volume.volume import volume_of
from components.shared.work import units
from components.shared.work.export import Export, LeftOut
from components.shared.work.publication import publish
from components.shared.work.records import Record, commit, write_output
from components.shared.work.refusal import leave_refusal
from components.shared.work.superseded import Place, note_superseded
from tests.builders import cli, plan_of, transforms_of
from tests.components.report.finished_run import (
    SIZE_XYZ,
    make_plan,
    make_transforms,
    seal_blocks,
    write_plan,
    write_volume,
)
from tests.components.report.report_step import report
from tests.components.shared.work.earlier_records import name_places_as_before
from tests.components.shared.work.rot import change_with_time_put_back


def textured(size_xyz: SizeXyz = SIZE_XYZ) -> NDArray[np.uint8]:
    x, y, z = np.indices(size_xyz)
    noise = np.random.default_rng(0).normal(0, 5, size_xyz)
    return np.clip(120 + 60 * np.sin(x / 9) * np.cos(y / 7 + z / 5) + noise, 1, 255).astype(np.uint8)


VOXELS = textured()


class WholeRun:
    """A published volume without tiles, written by tensorstore; two blocks of level 0, one of level 5."""

    def __init__(self, output: Any, voxels: NDArray[Any] = VOXELS, **config: Any) -> None:
        self.output = str(output)
        self.plan = make_plan(output, raw_pyramid=True, **config)
        self.process = open_store(self.plan.locations.process_uri)
        self.transforms = make_transforms(self.plan, [np.eye(3)] * SIZE_XYZ[2], SIZE_XYZ)
        write_plan(self.process, self.plan)
        self.process.write("transforms.json", self.transforms.to_json())
        self.volume = write_volume(self.plan, self.transforms, self.process, voxels)
        publish(self.volume)

    def verify(self, *flags: Any) -> Result:
        return cli("verify", self.output, *flags)

    def store(self, name: str) -> Store:
        return open_store(join_uri(self.output, name))

    def rewrite(self, name: str, scale_index: int, change: Callable[[NDArray[Any]], None]) -> None:
        """Change the voxels [x, y, z] of a level, and make the records agree with it."""
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": self.store(name).kvstore(""),
            "scale_index": scale_index,
        }
        array = ts.open(spec).result()
        voxels = np.array(array[..., 0])
        change(voxels)
        with ts.Transaction() as transaction:
            array.with_transaction(transaction)[...] = voxels[..., None]
        seal_blocks(self.plan, self.transforms, self.process)

    def write_tiles(self, voxels: NDArray[Any]) -> None:
        (array,) = self.volume.arrays
        store = open_store(join_uri(self.plan.locations.tmp_uri, array.key))
        spec = tiles.tile_array_spec(self.volume, array, store.kvstore(""))
        ts.open(spec, create=True, delete_existing=True).result().write(voxels.T).result()
        for slab in range(self.volume.n_slabs):
            key = tiles.shard_key(slab, array)
            output = write_output(store, key, store.read(key))
            wanted = units.slab_hash(self.plan, self.transforms, self.volume, slab)
            record = Record(step="tile", unit=str(slab), input_hash=wanted, outputs=(output,))
            commit(self.process, record)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[WholeRun, Path]:
    """A run, and a copy of its files to put back."""
    run = WholeRun(tmp_path_factory.mktemp("run") / "out")
    copy = tmp_path_factory.mktemp("copy") / "out"
    shutil.copytree(run.output, copy)
    return run, copy


@pytest.fixture
def run(pristine: tuple[WholeRun, Path]) -> WholeRun:
    run, copy = pristine
    shutil.rmtree(run.output, ignore_errors=True)  # a test may have damaged it
    shutil.copytree(copy, run.output)
    return run


def rows(result: Result) -> dict[tuple[str, str], Any]:
    """The rows of the tables of levels by volume and level."""
    found, volume = {}, ""
    for line in result.stdout.splitlines():
        title = re.fullmatch(r"(\S+) \(\S+\)", line)
        volume = title[1] if title else volume
        cells = line.split()
        if volume and cells and cells[0].isdigit():
            found[volume, int(cells[0])] = cells
    return found


def test_a_whole_volume(store_uri: str) -> None:
    run = WholeRun(store_uri)
    result = run.verify()
    assert result.exit_code == 0, result.output
    table = rows(result)
    assert len(table) == 2 * len(run.volume.outputs[0].levels) + 1
    assert table["neuroglancer/raw", 3][-1] == "equal"
    assert table["neuroglancer/raw", 0][-1] == "equal"  # to chunk
    assert table["chunk", 0][-2:] == ["nothing", "decoded"]
    for level in run.volume.outputs[0].levels:
        assert 25 < float(table["neuroglancer/jpeg", level][-2]) < 60
    assert result.stdout.endswith("Every file is there and whole.\n")


def test_the_table_without_a_lossless_pyramid(tmp_path: Path) -> None:
    plain = WholeRun(tmp_path)
    config = plain.plan.config.model_copy(update={"raw_pyramid": False})
    plain.plan = plain.plan.model_copy(update={"config": config})
    write_plan(plain.process, plain.plan)
    seal_blocks(plain.plan, plain.transforms, plain.process)
    publish(volume_of(plain.plan, plain.transforms))
    whole = rows(plain.verify("--full"))
    assert len(whole) == len(plain.volume.outputs[0].levels) + 1
    for level in plain.volume.outputs[0].levels:
        assert whole["neuroglancer/jpeg", level][-1] == "dB", level


def test_tables_are_whole_in_a_narrow_terminal(run: WholeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands.verify.table.PIPED_WIDTH", 80)
    result = run.verify()
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout
    assert len(rows(result)) == 2 * len(run.volume.outputs[0].levels) + 1


def test_psnr_is_that_of_the_voxels(run: WholeRun) -> None:
    spec = {"driver": "neuroglancer_precomputed", "kvstore": run.store("neuroglancer/jpeg").kvstore("")}
    shown = np.array(ts.open(spec).result()[..., 0], dtype=float)
    expected = 10 * math.log10(255**2 / np.mean((shown - VOXELS) ** 2))
    assert float(rows(run.verify("--full"))["neuroglancer/jpeg", 0][-2]) == pytest.approx(expected, abs=0.06)


DAMAGES = {
    "deleted": lambda data: None,
    "truncated": lambda data: data[:-1],
    "empty": lambda data: b"",
    "flipped in the index": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "flipped in the data": lambda data: flipped(data, len(data) // 3),
    "flipped at the end": lambda data: flipped(data, len(data) - 3),
}


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["neuroglancer/jpeg/8x8x8/1.shard", "neuroglancer/raw/16x16x16/0.shard", "chunk/8x8x8/2.shard"]
)
def test_a_damaged_shard_is_named(run: WholeRun, name: str, damage: str) -> None:
    path = Path(run.output, name)
    data = DAMAGES[damage](path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    result = run.verify("--sample", "0")
    assert result.exit_code == 65
    assert "/".join(path.parts[-2:]) in result.stderr
    assert "Traceback" not in result.output


def test_a_shard_that_looks_untouched_is_named(run: WholeRun) -> None:
    path = Path(run.output, "chunk/8x8x8/2.shard")
    before = path.stat()
    path.write_bytes(DAMAGES["flipped in the data"](path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = run.verify("--sample", "0")
    assert result.exit_code == 65
    assert "8x8x8/2.shard" in result.stderr
    assert "Remove the files that are named" in result.stderr


@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped in the data"])
def test_a_damaged_shard_in_a_bucket_is_named(bucket: str, damage: str) -> None:
    run = WholeRun(f"gs://{bucket}/run")
    key = "32x32x32/1.shard"
    store = run.store("neuroglancer/jpeg")
    data = DAMAGES[damage](store.read(key))
    store.delete(key) if data is None else store.write(key, data)
    result = run.verify()
    assert result.exit_code == 65
    assert key in result.stderr


def test_a_damaged_exact_block_is_named(run: WholeRun) -> None:
    run.process.write("pyramid/exact/0-1.raw", b"exacT")
    result = run.verify("--sample", "0")
    assert result.exit_code == 65
    assert "pyramid/exact/0-1.raw" in result.stderr


def test_a_file_too_many_is_named(run: WholeRun) -> None:
    run.store("chunk").write("8x8x8/ff.shard", b"?")
    result = run.verify()
    assert result.exit_code == 65
    assert "8x8x8/ff.shard" in result.stderr


def test_voxels_that_are_not_the_mean_are_found(run: WholeRun) -> None:
    def change(voxels: NDArray[Any]) -> None:
        voxels[300, 20, 5] ^= 1

    run.rewrite("neuroglancer/raw", 1, change)
    result = run.verify("--full")
    assert result.exit_code == 65
    assert "x 256, y 0, slices 0 to 19 of level 1 must be equal to level 0; got 1 other" in result.stderr
    assert "neuroglancer/raw/16x16x16/0.shard" in result.stderr


def test_a_lossless_pyramid_that_is_not_the_lossless_volume_is_found(run: WholeRun) -> None:
    def change(voxels: NDArray[Any]) -> None:
        voxels[0, 0, 0] ^= 2

    run.rewrite("neuroglancer/raw", 0, change)
    result = run.verify("--full")
    assert result.exit_code == 65
    assert "level 0 must be equal to chunk, level 0; got 1 other" in result.stderr


@pytest.mark.parametrize(("scale_index", "name"), [(0, "chunk"), (3, "raw")])
def test_jpeg_of_another_picture_is_found(run: WholeRun, scale_index: int, name: str) -> None:
    def change(voxels: NDArray[Any]) -> None:
        voxels //= 2

    run.rewrite("neuroglancer/jpeg", scale_index, change)
    result = run.verify()
    assert result.exit_code == 65
    assert f"of level {scale_index} must look like {name}, level {scale_index}; got " in result.stderr


def test_tiles_that_are_kept_are_compared(run: WholeRun) -> None:
    run.write_tiles(VOXELS)
    result = run.verify("--full")
    assert result.exit_code == 0, result.output
    assert rows(result)["chunk", 0][-2:] == ["tiles", "equal"]
    other = VOXELS.copy()
    other[1050, 3, 2] ^= 1
    run.write_tiles(other)
    result = run.verify("--full")
    assert result.exit_code == 65
    assert "x 1024, y 0, slices 0 to 19 of level 0 must be equal to tiles; got 1 other" in result.stderr


@pytest.mark.parametrize("text", [None, "{}", "broken"])
def test_info_must_be_that_of_the_volume(run: WholeRun, text: str) -> None:
    info = Path(run.output, "chunk/info")
    info.unlink() if text is None else info.write_text(text)
    result = run.verify()
    assert result.exit_code == 65
    assert "chunk/info" in result.stderr


def test_a_block_without_a_record_is_named(run: WholeRun) -> None:
    run.process.delete("records/pyramid/0/1.json")
    result = run.verify()
    assert result.exit_code == 65
    assert "1 of level 0" in result.stderr


def test_what_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    result = cli("verify", tmp_path)
    assert result.exit_code == 65
    assert result.stderr.count("\n") == 1
    assert "process/plan.json" in result.stderr


def test_a_run_that_has_not_ended_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "process").mkdir()
    (tmp_path / "process/plan.json").write_text("{}")
    result = cli("verify", tmp_path)
    assert result.exit_code == 65
    assert result.stderr == (
        f"error: verify must be given the output of a finished run; got no process/transforms.json in "
        f"{tmp_path}. Check the path, or let the run end.\n"
    )


def moved(run: WholeRun, folder: Path) -> Path:
    """The only copy of a run, in another place and with the times of the copying."""
    shutil.copytree(run.output, folder / "moved", copy_function=shutil.copyfile)
    shutil.rmtree(run.output)
    return folder / "moved"


def test_a_moved_run_is_verified_where_it_lies(run: WholeRun, tmp_path: Path) -> None:
    result = cli("verify", moved(run, tmp_path), "--full")
    assert result.exit_code == 0, result.output
    assert "Every file is there and whole." in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("output", ["gs://em/out", "gs://em_*_run1", "s3://em-*-run1"])
def test_a_copy_of_what_lay_in_a_bucket_needs_no_login(
    run: WholeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.setattr("components.shared.storage.gcs.client_of", _no_client)
    copy = moved(run, tmp_path)
    name_places_as_before(open_store(str(copy / "process")), output)
    result = cli("verify", copy, "--full")
    assert result.exit_code == 0, result.output
    assert cli("status", copy).exit_code == 0


def _no_client() -> NoReturn:
    raise UserError("buckets must be opened with credentials")


@pytest.mark.parametrize("damage", ["flipped", "missing", "foreign", "unpublished"])
def test_what_is_wrong_with_a_copy_is_named_and_mended_in_the_copy(
    run: WholeRun, tmp_path: Path, damage: str
) -> None:
    copy = moved(run, tmp_path)
    shard = next((copy / "neuroglancer/jpeg").rglob("*.shard"))
    named = shard
    if damage == "flipped":
        data = shard.read_bytes()
        shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "missing":
        shard.unlink()
    elif damage == "foreign":
        named = shard.with_name("foreign.shard")
        named.write_bytes(b"?")
    else:
        named = copy / "neuroglancer/jpeg/info"
        named.unlink()
    result = cli("verify", copy)
    assert result.exit_code == 65
    assert str(named) in result.stderr
    assert f"fibstack resolve {copy}" in result.stderr
    assert run.output not in result.stderr


def test_sampling_is_bounded_and_repeats_itself() -> None:
    assert sampled((10**5, 10**5, 10), 5, seed=1) == sampled((10**5, 10**5, 10), 5, seed=1)
    assert len(set(sampled((9, 8, 7), 100, seed=1))) == 100
    assert sampled((9, 8, 7), None, seed=1) == sampled((9, 8, 7), 504, seed=1)
    assert max(sampled((9, 8, 7), None, seed=1)) == (8, 7, 6)


def test_a_file_is_summed_piece_by_piece(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands.verify.files.PIECE_BYTES", 3)
    data = bytes(range(10))
    store.write("x", data)
    assert checksum_of(store, "x", 10) == checksum(data)
    store.write("empty", b"")
    assert checksum_of(store, "empty", 0) == checksum(b"")


@settings(max_examples=40)
@given(st.integers(1, 100), st.integers(0, 2**32), st.sampled_from(["noise", "extremes", "texture"]))
def test_no_jpeg_is_worse_than_the_worst(quality: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    picture = {
        "noise": lambda: rng.integers(0, 256, (64, 64)),
        "extremes": lambda: 255 * rng.integers(0, 2, (64, 64)),
        "texture": lambda: VOXELS[seed % 1000 : seed % 1000 + 64, :64, 0],
    }[kind]().astype(np.uint8)[..., None]
    encoded = simplejpeg.encode_jpeg(
        np.ascontiguousarray(picture), quality=quality, colorspace="GRAY", colorsubsampling="Gray"
    )
    shown = simplejpeg.decode_jpeg(encoded, colorspace="GRAY")
    assert np.mean((shown.astype(float) - picture) ** 2) <= worst_jpeg_error(quality)


def test_psnr_of_equal_pictures_is_infinite() -> None:
    assert psnr_db(0) == math.inf
    assert json.dumps(round(psnr_db(1), 2)) == "48.13"


def test_the_volume_of_the_records_is_the_one_that_is_verified(run: WholeRun) -> None:
    assert volume_of(run.plan, run.transforms) == run.volume


def test_a_seal_of_any_kind_is_looked_at(run: WholeRun) -> None:
    """A flip in a record, a document or evidence is named with its unit and the command that mends it."""
    (chunk, *_) = units.chunks(run.plan)
    evidence = write_output(run.process, f"align/{chunk}.json", b"evidence")
    for each in units.chunks(run.plan):
        wanted = units.chunk_hash(run.plan, each)
        outputs = (evidence,) if each == chunk else ()
        commit(run.process, Record(step="align", unit=str(each), input_hash=wanted, outputs=outputs))
    leave_refusal(run.process, "compose", UserError("no"))
    note_superseded(run.process, [Place(run.process.uri, "pyramid/level-4/0.raw")])
    assert run.verify("--sample", "0").exit_code == 0
    for key, named in (
        ("refused.json", "process/refused.json must be a Refusal document"),
        ("superseded.json", "process/superseded.json must be a Superseded document"),
        (f"align/{chunk}.json", f"a file of slices {chunk} of align must have the checksum of its record"),
        (f"records/align/{chunk}.json", f"the record of slices {chunk} of align"),
        ("records/pyramid/5/0.json", "the record of block 0 of level 5"),
    ):
        path = Path(run.process.uri, key)
        data = path.read_bytes()
        change_with_time_put_back(path, flipped(data, 5))
        result = run.verify("--sample", "0")
        assert result.exit_code == 65, key
        assert named in result.stderr
        assert f"To mend it: rm {path} && fibstack resolve {run.output}" in result.stderr
        path.write_bytes(data)


def test_evidence_that_is_missing_is_named(run: WholeRun) -> None:
    for each in units.chunks(run.plan):
        outputs = (write_output(run.process, f"align/{each}.json", b"evidence"),)
        wanted = units.chunk_hash(run.plan, each)
        commit(run.process, Record(step="align", unit=str(each), input_hash=wanted, outputs=outputs))
    (chunk, *_) = units.chunks(run.plan)
    for key in (f"align/{chunk}.json", f"records/align/{chunk}.json"):
        data = run.process.read(key)
        run.process.delete(key)
        result = run.verify("--sample", "0")
        assert result.exit_code == 65
        assert f"slices {chunk} of align must" in result.stderr
        assert f"To mend it: fibstack resolve {run.output}" in result.stderr
        run.process.write(key, data)


def test_a_foreign_file_is_a_note_and_no_fault(run: WholeRun) -> None:
    run.process.write("my notes.txt", b"?")
    result = run.verify("--sample", "0")
    assert result.exit_code == 0
    assert result.stderr == (
        f"note: 1 file belongs to nothing of this volume and was not looked at; no command reads it: "
        f"{run.process.uri}/my notes.txt.\n"
    )


def test_full_compares_the_whole_of_a_coarse_chunk_of_jpeg(run: WholeRun) -> None:
    """Its last corner, too, which a sample leaves out; it is compared with the level below."""

    def change(voxels: NDArray[Any]) -> None:
        voxels[-100:] = 255 - voxels[-100:]

    run.rewrite("neuroglancer/jpeg", 3, change)
    # Without a lossless pyramid, so that no lossless level is near.
    shutil.rmtree(Path(run.output, "neuroglancer/raw"))
    config = run.plan.config.model_copy(update={"raw_pyramid": False})
    run.plan = run.plan.model_copy(update={"config": config})
    write_plan(run.process, run.plan)
    seal_blocks(run.plan, run.transforms, run.process)
    publish(volume_of(run.plan, run.transforms))
    result = run.verify("--full")
    assert result.exit_code == 65
    assert "of level 3 must look like level 2; got " in result.stderr


def test_provenance_of_another_release_is_no_damage_and_a_missing_one_is_noted(run: WholeRun) -> None:
    path = Path(run.output, "chunk/provenance")
    written = path.read_bytes()
    path.write_bytes(written.replace(b'"fibstack_version": "', b'"fibstack_version": "0.0.'))
    assert run.verify().exit_code == 0
    path.write_bytes(written.replace(b"Slices", b"slices"))
    assert "the metadata must be those of the volume" in run.verify().stderr
    path.unlink()
    result = run.verify()
    assert result.exit_code == 0
    assert f"there is no {path}, which an older version has not written" in result.output


def test_the_command_that_mends_can_be_pasted(tmp_path: Path) -> None:
    export = Export(
        source=str(tmp_path / "a run"),
        source_hash="",
        contrast=(30.0, 220.0),
        crop_xyz=((8, 1100), (0, 70), (2, 20)),
        left_out=(LeftOut(z=4, shown_z=3), LeftOut(z=9, shown_z=8)),
        jpeg_quality=70,
        lossless=True,
    )
    WholeRun(tmp_path / "a run")
    assert export_command(export, "new") == (
        f"fibstack export '{tmp_path}/a run' new --contrast 30-220 --jpeg-quality 70 "
        f"--crop 8:1100,0:70,2:20 --without-slices 4,9 --lossless"
    )


def test_the_command_of_an_export_crops_by_slice_numbers(tmp_path: Path) -> None:
    """Also where the voxels of the source are counted from 0, since its first slice lies between voxels."""
    plan = plan_of(7, 26, output=str(tmp_path), size_px=SIZE_XYZ[:2])
    transforms = transforms_of(plan)
    process = open_store(plan.locations.process_uri)
    write_plan(process, plan)
    process.write("transforms.json", transforms.to_json())
    assert volume_of(plan, transforms).voxel_offset_xyz == (0, 0, 0)
    crop = ((8, 1000), (0, 70), (2, 20))
    export = Export(
        source=str(tmp_path), source_hash="", contrast=None, crop_xyz=crop, left_out=(), jpeg_quality=70,
        lossless=False,
    )  # fmt: skip
    assert "--crop 8:1000,0:70,9:27" in export_command(export, "new")


def test_mending_a_damaged_export_leaves_files_of_the_user(run: WholeRun, tmp_path: Path) -> None:
    export = ("export", run.output, tmp_path / "new", "--jobs", "1")
    assert cli(*export).exit_code == 0
    notes = tmp_path / "new/process/my notes.txt"
    notes.write_text("mine")
    path = tmp_path / "new/process/export.json"
    change_with_time_put_back(path, flipped(path.read_bytes(), 40))
    result = cli("verify", tmp_path / "new")
    command, _, rest = result.stderr.rstrip().partition("To mend it: ")[2].partition(", ")
    assert rest == "and give the command of the export again"
    subprocess.run(command, shell=True, check=True)
    assert cli(*export).exit_code == 0
    assert cli("verify", tmp_path / "new").exit_code == 0
    assert notes.read_text() == "mine"


def test_the_command_that_mends_removes_all_of_many_files(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.shard" for number in range(250)]
    for file in files:
        file.touch()
    subprocess.run(joined([str(file) for file in files], "true"), shell=True, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_report", [True, False])
def test_a_damaged_plan_is_mended_by_the_command_of_the_run(run: WholeRun, has_report: bool) -> None:
    if has_report:
        assert report(run.output).exit_code == 0
    path = Path(run.process.uri, "plan.json")
    change_with_time_put_back(path, flipped(path.read_bytes(), 300))
    result = run.verify()
    assert result.exit_code == 65
    mending = result.stderr.rstrip().partition("To mend it: ")[2]
    again = " && fibstack run --source " if has_report else ", and give the command of the run again"
    assert mending.startswith(f"rm {path}{again}")


def test_a_damaged_page_of_the_report_is_named(run: WholeRun) -> None:
    assert report(run.output).exit_code == 0
    assert run.verify("--sample", "0").exit_code == 0
    page = Path(run.process.uri, "report/index.html")
    whole = page.read_bytes()
    for data in (flipped(whole, 3), flipped(whole, 30), flipped(whole, len(whole) // 2), whole[:-1], b""):
        page.write_bytes(data)
        result = run.verify("--sample", "0")
        assert result.exit_code == 65
        assert "report/index.html" in result.stderr
    page.unlink()
    assert run.verify("--sample", "0").exit_code == 65


def test_the_page_of_an_older_version_is_a_note(run: WholeRun) -> None:
    assert report(run.output).exit_code == 0
    document = RunDocument.model_validate_json(run.process.read("run.json"))
    run.process.write("run.json", document.model_copy(update={"page_is_sealed": False}).to_json())
    run.process.write("report/index.html", b"<!DOCTYPE html>")
    result = run.verify("--sample", "0")
    assert result.exit_code == 0
    assert "nothing vouches for" in result.stderr


def test_a_volume_of_an_earlier_release_is_whole_and_can_be_exported(
    run: WholeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RESULT_VERSIONS, "tile", RESULT_VERSIONS["tile"] + 1)
    result = run.verify("--sample", "0")
    assert result.exit_code == 0, result.output
    result = cli("export", run.output, tmp_path / "new", "--jobs", "1")
    assert result.exit_code == 0, result.output
    record = Record(step="pyramid/0", unit="0", input_hash="of another plan", outputs=())
    commit(run.process, record)
    result = run.verify("--sample", "0")
    assert result.exit_code == 65
    assert "block 0 of level 0 must be of the current plan" in result.stderr
