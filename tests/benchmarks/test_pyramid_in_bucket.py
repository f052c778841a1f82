"""What is measured in a bucket is what is measured in a folder: the same shards, there."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.cloud import storage

from benchmarks.pyramid import in_bucket
from benchmarks.pyramid.measure import Measured
from benchmarks.pyramid.stack import make_block
from benchmarks.pyramid.writers import WRITERS, clear
from benchmarks.scale.emulator import running_emulator
from components.shared.storage.registry import open_store


@pytest.mark.usefixtures("gcs_emulator")  # skips where there is none
def test_the_bucket_receives_the_shards_of_the_folder(tmp_path: Path) -> None:
    stack = make_block(tmp_path / "block", 128)
    _, write = WRITERS["fibstack, JPEG + chunk/ + raw"]
    write(stack, 2)
    outputs = ("neuroglancer", "chunk")
    stores = {name: open_store(str(stack.output / name)) for name in outputs}
    in_folder = {(name, s.key): store.read(s.key) for name, store in stores.items() for s in store.list()}
    clear(stack)

    with running_emulator(tmp_path, on_disk=True):
        storage.Client(project="test").create_bucket("block")
        in_bucket.move_to_bucket(stack, in_bucket.OF_EMULATOR)
        write(stack, 2)
        stores = {name: open_store(f"gs://block/{name}") for name in outputs}
        found = {(name, s.key): store.read(s.key) for name, store in stores.items() for s in store.list()}

    assert found == in_folder
    assert len(found) >= 4
    assert not any((stack.output / name).exists() for name in outputs)


def test_the_table_holds_peaks_against_goals() -> None:
    measured = {
        (name, place): Measured(name=name, wall_s=1, cpu_s=1, peak_mib=mib, n_bytes=0)
        for name in in_bucket.GOALS_MIB
        for place, mib in (("file://", 500.4), (in_bucket.OF_EMULATOR, 600.6))
    }
    table = in_bucket.as_markdown(1024, measured, ["file://", in_bucket.OF_EMULATOR])
    assert "| 1024^3 | JPEG | 500 | 601 | 819 |" in table
    assert "| 1024^3 | JPEG + chunk/ + raw | 500 | 601 | 1229 |" in table
