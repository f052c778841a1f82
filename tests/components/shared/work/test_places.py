"""Names of the places of an output: the same wherever it lies."""

from pathlib import Path

import pytest

from components.shared.storage.registry import open_store
from components.shared.work.places import VOLUMES, place_at, place_name
from components.shared.work.records import Record, commit, read_record, write_output

PROCESSES = ["/data/out/process", "gs://em/out/process", "gs://em_process/run1", "s3://em-process/run1"]
"""Where the records of outputs of each kind lie."""


@pytest.mark.parametrize("process_uri", PROCESSES)
@pytest.mark.parametrize("name", [*VOLUMES, "process"])
def test_a_name_is_of_one_place(process_uri: str, name: str) -> None:
    uri = place_at(name, process_uri)
    assert uri != name
    assert place_name(uri, process_uri) == name
    assert place_at(uri, process_uri) == uri


@pytest.mark.parametrize("there", PROCESSES)
@pytest.mark.parametrize("written", PROCESSES)
@pytest.mark.parametrize("name", [*VOLUMES, "process"])
def test_a_recorded_uri_is_taken_for_the_same_place_of_the_output_that_has_it(
    written: str, there: str, name: str
) -> None:
    assert place_at(place_at(name, written), there) == place_at(name, there)


@pytest.mark.parametrize("uri", ["/data/raw", "gs://em/raw", "gs://chunk", "gs://em_raw_run1", ""])
def test_what_is_no_place_of_an_output_stays_as_it_is(uri: str) -> None:
    for process_uri in PROCESSES:
        assert place_at(uri, process_uri) == place_name(uri, process_uri) == uri


@pytest.mark.parametrize(
    "uri", ["gs://em_ng_process/ome-zarr", "gs://em_chunk_process", "gs://em_process/chunk"]
)
def test_where_records_may_be_of_two_outputs_names_are_whole(uri: str) -> None:
    """Of the run `process` on gs://em, and of a run with the output gs://em_process."""
    assert place_at(uri, "gs://em_process/process") == place_name(uri, "gs://em_process/process") == uri


def test_a_part_on_another_disk_is_known_by_its_place_in_the_output(tmp_path: Path) -> None:
    disk = tmp_path / "disk/of-cell-7"
    disk.mkdir(parents=True)
    output = tmp_path / "out"
    output.mkdir()
    (output / "chunk").symlink_to(disk)
    process = open_store(str(output / "process"))
    assert place_name(str(disk), process.uri) == "chunk"
    assert place_at("chunk", process.uri) == place_at(str(disk), process.uri) == str(disk)


def test_a_record_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = open_store(str(output / "process"))
    written = (
        write_output(open_store(str(output / "chunk")), "8x8x8/0.shard", b"shard"),
        write_output(process, "pyramid/level-5/0.raw", b"exact"),
    )
    commit(process, Record(step="pyramid/0", unit="0", input_hash="h", outputs=written))
    assert str(tmp_path) not in (output / "process/records/pyramid/0/0.json").read_text()
    moved = output.rename(tmp_path / "moved")
    record = read_record(open_store(str(moved / "process")), "pyramid/0", "0")
    assert record is not None
    assert [found.uri for found in record.outputs] == [f"{moved}/chunk", f"{moved}/process"]
