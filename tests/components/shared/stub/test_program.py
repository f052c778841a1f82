"""A step's program in a stub: it uses what its step uses, in folders of its own, and does nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from components.plan.main import main as plan
from components.pyramid.main import main as pyramid
from components.report.main import main as report
from components.shared.steps import MEMORY_OUTPUTS
from components.shared.stub.scratch import scratch_uris
from components.shared.work import records
from components.tile.main import main as tile
from pipeline.settings import Settings
from tests.builders import invoke

STUB = "1f00"


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """The folder of a stub that has been planned: source, output, and what plan has handed out."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/img.00003.png").write_bytes(b"a slice")
    assert planned(tmp_path).exit_code == 0
    return tmp_path


def planned(folder: Path, **more: Any) -> Result:
    config = {"source": folder / "source", "image": "img.%05d.png", "minz": 3, "maxz": 9}
    files = {"process_uri_out": folder / "process_uri", "chunks_out": folder / "chunks"}
    return invoke(plan, **{**config, "output": folder / "out", "stub": STUB, **files, **more})


def process_uri(folder: Path) -> str:
    return (folder / "process_uri").read_text()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_plan_hands_out_a_scratch_folder_and_two_items(stub: Path) -> None:
    assert process_uri(stub) == f"{stub}/out/process/stub.1f00"
    assert json.loads((stub / "chunks").read_text()) == ["0-0", "1-1"]
    assert {name.split("/")[1] for name in files(stub / "out")} == {"stub.1f00"}


def test_pods_of_a_stub_ask_for_all_that_the_settings_say(tmp_path: Path, stub: Path) -> None:
    settings = Settings(tile={"memory": "7G"})
    memory = {f"{output}_out": tmp_path / output for output in MEMORY_OUTPUTS.values()}
    assert planned(stub, pods=settings.pods, **memory).exit_code == 0
    for step, output in MEMORY_OUTPUTS.items():
        assert (tmp_path / output).read_text() == settings.step(step).memory


def test_a_program_writes_an_empty_object_in_each_part_and_a_record_that_vouches_for_them(stub: Path) -> None:
    given = {"process_uri": process_uri(stub), "level": 5, "blocks": "1-1"}
    assert invoke(pyramid, **given).exit_code == 0
    empty = {f"{part}/stub.1f00/pyramid-5-1-1" for part in ("neuroglancer", "chunk")}
    assert {name for name in files(stub / "out") if not name.startswith("process/")} == empty
    record = json.loads(
        (stub / "out/process/stub.1f00/records/pyramid/5-1-1.json").read_text().split("\n")[0]
    )
    assert [output["size_bytes"] for output in record["outputs"]] == [0, 0]


def test_ome_zarr_is_used_where_the_run_writes_it(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/img.3.png").write_bytes(b"a slice")
    assert planned(tmp_path, ome_zarr=True).exit_code == 0
    assert invoke(pyramid, process_uri=process_uri(tmp_path), level=0, blocks="0-0").exit_code == 0
    assert (tmp_path / "out/ome-zarr/stub.1f00/pyramid-0-0-0").exists()


def test_a_record_that_is_read_otherwise_is_an_error(stub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "read_record", lambda *_: None)
    result = invoke(tile, process_uri=process_uri(stub), slabs="0-0")
    assert result.exit_code == 75
    assert "a record must be read as it was written" in result.output


def test_a_slice_that_is_gone_is_an_error(stub: Path) -> None:
    (stub / "source/img.00003.png").unlink()
    assert invoke(tile, process_uri=process_uri(stub), slabs="0-0").exit_code == 65


def test_a_program_without_the_plan_of_the_stub_is_refused(stub: Path) -> None:
    (stub / "out/process/stub.1f00/stub.json").unlink()
    assert invoke(tile, process_uri=process_uri(stub), slabs="0-0").exit_code == 65


def test_the_report_clears_a_volume_also_where_it_fails(stub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "read_record", lambda *_: None)
    result = invoke(report, output=stub / "out", status="Failed", stub=STUB)
    assert result.exit_code == 75
    assert not files(stub / "out")


def test_slices_in_the_folder_of_the_older_workflow_are_found(tmp_path: Path) -> None:
    (tmp_path / "source/raw").mkdir(parents=True)
    (tmp_path / "source/raw/img.00003.png").write_bytes(b"a slice")
    assert planned(tmp_path).exit_code == 0


def test_a_configuration_that_is_refused_is_refused(tmp_path: Path) -> None:
    result = planned(tmp_path, jpeg_quality=101)
    assert result.exit_code == 78
    assert "'jpeg_quality'" in result.output


@pytest.mark.parametrize("name", ["../out", "a/b", "A", ""])
def test_the_name_of_a_stub_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="the name of a stub must be"):
        scratch_uris(str(tmp_path), name, ome_zarr=False)
