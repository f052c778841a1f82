"""What `fibstack status OUTPUT` counts, in folders and in buckets."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from commands.main import main
from components.report.component import UNIT_COUNTS
from components.report.unit_counts import UnitCount, read_status, status_lines
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.errors import UserError
from components.shared.grid import Span
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, join_uri
from components.shared.volume.volume import volume_of
from components.shared.work.export import Export, export_hash
from components.shared.work.publication import publish
from components.shared.work.records import Record, commit
from components.shared.work.refusal import leave_refusal
from components.shared.work.units import block_hash, chunk_hash, slab_hashes
from tests.builders import invoke, plan_of, transforms_of

N_SLICES = 40
CHUNKS = ("0-15", "16-31", "32-39")


def plan_in(output: object, **config: Any) -> Plan:
    """40 slices of 1100 x 70: three chunks, three slabs, two blocks and one of the next pass."""
    return plan_of(0, N_SLICES - 1, size_px=(1100, 70), chunk_length=16, output=str(output), **config)


def transforms() -> Transforms:
    return transforms_of(plan_in("out"))


def seal(process: Store, step: str, unit: str, input_hash: str) -> None:
    commit(process, Record(step=step, unit=str(unit), input_hash=input_hash, outputs=()))


def align(process: Store, plan: Plan, names: Sequence[str]) -> None:
    for name in names:
        seal(process, "align", name, chunk_hash(plan, Span.parse(name)))


def test_a_run_from_its_beginning_to_its_end(store_uri: str) -> None:
    process = open_store(join_uri(store_uri, "process"))
    with pytest.raises(UserError, match=r"got no process/plan.json in .* wait until the plan is made"):
        read_status(store_uri)

    plan = plan_in(store_uri, raw_pyramid=True)
    process.write("plan.json", plan.to_json())
    align(process, plan, CHUNKS[1:2])
    process.write("records/align/0-15.json.part", b"")  # whatever else may lie there
    seal(process, "align", "0-99", "of another plan")
    assert list(status_lines(store_uri)) == [
        "plan            1 of 1        100%",
        "align           1 of 3         33%",
        "compose         0 of 1          0%",
        "tile              not known before compose",
        "pyramid           not known before compose",
    ]

    align(process, plan, CHUNKS)
    process.write("transforms.json", transforms().to_json())
    volume = volume_of(plan, transforms())
    slabs = slab_hashes(plan, transforms(), volume)
    for slab in (0, 2):
        seal(process, "tile", slab, slabs[slab])
    assert list(status_lines(store_uri)) == [
        "plan            1 of 1        100%",
        "align           3 of 3        100%",
        "compose         1 of 1        100%",
        "tile            2 of 3         66%",
        "pyramid         0 of 3          0%",
        f"not published: {store_uri}/neuroglancer/jpeg",
        f"not published: {store_uri}/chunk",
        f"not published: {store_uri}/neuroglancer/raw",
    ]

    seal(process, "tile", 1, slabs[1])
    for level, block in ((0, 0), (0, 1), (5, 0)):
        seal(process, f"pyramid/{level}", block, block_hash(plan, volume, level, block, slabs))
    publish(volume)
    status = read_status(store_uri)
    assert status.counts[-2:] == (UnitCount("tile", 3, 3), UnitCount("pyramid", 3, 3))
    assert len(status.published) == 3
    assert not status.unpublished


def test_why_a_run_was_refused_is_told(tmp_path: Path) -> None:
    process = open_store(str(tmp_path / "process"))
    leave_refusal(
        process, "plan", UserError("the source must hold slices 'wrong'; got none. Change 'image'.")
    )
    assert list(status_lines(str(tmp_path))) == [
        "refused by plan: the source must hold slices 'wrong'; got none. Change 'image'."
    ]
    process.write("plan.json", plan_in(tmp_path).to_json())
    assert not any("refused" in line for line in status_lines(str(tmp_path)))
    leave_refusal(process, "compose", UserError("matched pairs must connect the slices"))
    assert (
        list(status_lines(str(tmp_path)))[-1] == "refused by compose: matched pairs must connect the slices"
    )


def test_a_copy_is_looked_at_where_it_lies(tmp_path: Path) -> None:
    plan = plan_in(tmp_path / "written")
    process = open_store(str(tmp_path / "written/process"))
    process.write("plan.json", plan.to_json())
    process.write("transforms.json", transforms().to_json())
    publish(volume_of(plan, transforms()))
    (tmp_path / "written").rename(tmp_path / "copy")
    published = [f"published: {tmp_path}/copy/neuroglancer/jpeg", f"published: {tmp_path}/copy/chunk"]
    assert list(status_lines(str(tmp_path / "copy")))[-2:] == published
    publish(volume_of(plan, transforms()))
    (tmp_path / "copy/chunk/info").unlink()
    assert list(status_lines(str(tmp_path / "copy")))[-1] == f"not published: {tmp_path}/copy/chunk"


def test_records_of_an_earlier_run_with_other_settings_are_told(tmp_path: Path) -> None:
    process = open_store(str(tmp_path / "process"))
    align(process, plan_in(tmp_path), CHUNKS)
    plan = plan_in(tmp_path, neighbours=2)
    process.write("plan.json", plan.to_json())
    line = list(status_lines(str(tmp_path)))[1]
    assert line == "align           3 of 3        100%  some by an earlier run with other settings"
    align(process, plan, CHUNKS)
    assert read_status(str(tmp_path)).counts[1] == UnitCount("align", 3, 3)


def test_an_export(tmp_path: Path) -> None:
    process = open_store(str(tmp_path / "process"))
    export = Export(
        source="elsewhere", source_hash="x", contrast=None, crop_xyz=((0, 1100), (0, 70), (0, N_SLICES)),
        left_out=(), jpeg_quality=90, lossless=False,
    )  # fmt: skip
    for key, document in (("plan", plan_in(tmp_path)), ("transforms", transforms()), ("export", export)):
        process.write(f"{key}.json", document.to_json())
    seal(process, "pyramid/0", 1, export_hash(export, 0, 1))
    assert list(status_lines(str(tmp_path))) == [
        "pyramid         1 of 3         33%",
        f"not published: {tmp_path}/neuroglancer/jpeg",
    ]


def test_the_command(tmp_path: Path) -> None:
    process = open_store(str(tmp_path / "process"))
    process.write("plan.json", plan_in(tmp_path).to_json())
    result = invoke(main, "status", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(
        "plan            1 of 1        100%\nalign           0 of 3          0%\n"
    )
    result = invoke(main, "status", tmp_path / "nothing")
    assert result.exit_code == 65
    assert result.output.startswith("error: status must be given the output of a run")


def test_the_program_of_a_pod_prints_what_status_prints(tmp_path: Path) -> None:
    def call(output: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *UNIT_COUNTS[1:], str(output)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    ended = call(tmp_path)
    assert (ended.returncode, ended.stdout) == (65, "")
    assert ended.stderr.startswith("error: status must be given the output of a run that has begun")
    open_store(str(tmp_path / "process")).write("plan.json", plan_in(tmp_path).to_json())
    ended = call(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == invoke(main, "status", tmp_path).output
    assert "align           0 of 3" in ended.stdout
