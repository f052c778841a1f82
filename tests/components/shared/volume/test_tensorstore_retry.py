"""What arrives damaged is read again; what is damaged where it lies is an error."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts

from components.shared.storage.store import READS
from components.shared.volume.tensorstore_retry import finish


class Answer:
    """What a future of tensorstore does when it is done."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def exception(self) -> Exception | None:
        return self._error

    def result(self) -> str:
        if self._error is not None:
            raise self._error
        return "voxels"


def started(*answers: Exception | None) -> tuple[list[Answer], Any]:
    left = [Answer(error) for error in answers]
    return left, lambda: left.pop(0)


DAMAGED = ValueError("DATA_LOSS: Error reading shard entry")


def test_damage_on_the_way_passes() -> None:
    left, start = started(*[DAMAGED] * (READS - 1), None)
    assert finish(start(), start) == "voxels"
    assert left == []


def test_lasting_damage_is_an_error_in_the_end() -> None:
    left, start = started(*[DAMAGED] * READS, None)
    with pytest.raises(ValueError, match="DATA_LOSS"):
        finish(start(), start)
    assert len(left) == 1


@pytest.mark.parametrize("code", ["NOT_FOUND", "UNAVAILABLE", "PERMISSION_DENIED"])
def test_what_another_look_would_not_change_is_not_looked_at_again(code: str) -> None:
    left, start = started(ValueError(f"{code}: no"), None)
    with pytest.raises(ValueError, match=code):
        finish(start(), start)
    assert len(left) == 1


METADATA = {
    "shape": [4, 64, 64],
    "data_type": "uint8",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 64, 64]}},
    "codecs": [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [4, 32, 32],
                "codecs": [{"name": "bytes"}, {"name": "zstd"}, {"name": "crc32c"}],
                "index_codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
            },
        }
    ],
}


def test_every_flipped_byte_of_a_shard_is_noticed(tmp_path: Path) -> None:
    """The tiles' codecs: crc32c over each chunk and over the index. So a read that ends is right."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/"}, "metadata": METADATA}
    array = ts.open(spec, create=True).result()
    array.write(np.random.default_rng(2).integers(0, 9, (4, 64, 64), dtype=np.uint8)).result()
    file = next(path for path in (tmp_path / "c").rglob("*") if path.is_file())
    whole = file.read_bytes()
    context = {"cache_pool": {"total_bytes_limit": 0}}
    for position in range(0, len(whole), 13):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        read = partial(ts.open(spec, open=True, context=ts.Context(context)).result().read)
        with pytest.raises(ValueError, match=r"DATA_LOSS|FAILED_PRECONDITION|OUT_OF_RANGE"):
            finish(read(), read)
