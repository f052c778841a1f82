"""Several workers at the same units, as after a pod that was thought dead: one content, and no error."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from components.shared.storage.registry import open_store
from components.shared.work.records import is_done

N_WORKERS, N_UNITS = 4, 12

WORKER = """
import sys
import time
from components.shared.work.records import Record, commit, is_done, write_output
from components.shared.storage.registry import open_store

uri, begin, n_units = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
store = open_store(uri)
time.sleep(max(0, begin - time.time()))
for unit in range(n_units):
    shard = bytes([unit]) * 400_000
    outputs = (write_output(store, f"{unit}.shard", shard), write_output(store, "zarr.json", b"{}"))
    commit(store, Record(step="tile", unit=str(unit), input_hash="h", outputs=outputs))
    assert is_done(store, "tile", str(unit), "h")
"""


@pytest.mark.parametrize("store_uri", ["file", "gs"], indirect=True)  # memory is seen by one process alone
def test_workers_at_the_same_units_leave_one_content(store_uri: str) -> None:
    begin = time.time() + 3
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, store_uri, str(begin), str(N_UNITS)], stderr=subprocess.PIPE
        )
        for _ in range(N_WORKERS)
    ]
    complaints = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * N_WORKERS, complaints
    store = open_store(store_uri)
    for unit in range(N_UNITS):
        assert is_done(store, "tile", str(unit), "h")
        assert store.read(f"{unit}.shard") == bytes([unit]) * 400_000
    assert len(list(store.list())) == 2 * N_UNITS + 1  # nothing besides is left
