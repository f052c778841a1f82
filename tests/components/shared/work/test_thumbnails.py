"""Thumbnails at any z, with few reads and little memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.shared.documents.plan import Plan
from components.shared.errors import UserError
from components.shared.storage.folder import FolderStore
from components.shared.work.thumbnails import Thumbnails
from components.shared.work.units import chunks
from tests.builders import plan_of


class CountingStore(FolderStore):
    """Counts what is read."""

    reads = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        return super().read(key)


@pytest.fixture
def process(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path)


def write(process: CountingStore, plan: Plan, save: Callable[..., None] = np.savez) -> None:
    for chunk in chunks(plan):
        archive = io.BytesIO()
        pictures = {f"z{s.z}": np.full((4, 5), s.z, np.uint8) for s in plan.slices if s.z in chunk}
        save(archive, **pictures)
        process.write(f"align/{chunk}.npz", archive.getvalue())


def test_each_archive_is_read_once_where_z_ascends_and_looks_around(process: CountingStore) -> None:
    plan = plan_of(3, 42, missing=[7], chunk_length=8)
    write(process, plan)
    thumbnails = Thumbnails(plan, process)
    for z in range(3, 43):
        for shown in (z, max(z - 5, 3), min(z + 5, 42)):
            picture = thumbnails.picture(shown)
            assert (picture is None) if shown == 7 else (picture == shown).all()
    assert process.reads == 5
    assert thumbnails.picture(99) is None


def test_what_is_not_there_and_what_is_damaged(process: CountingStore) -> None:
    plan = plan_of(0, 15, chunk_length=8)
    write(process, plan)
    process.delete("align/0-7.npz")
    process.write("align/8-15.npz", process.read("align/8-15.npz")[:200])
    thumbnails = Thumbnails(plan, process)
    assert thumbnails.picture(3) is None
    with pytest.raises(UserError, match=r"align/8-15\.npz must hold the thumbnails"):
        thumbnails.picture(9)


@pytest.mark.parametrize(
    ("save", "says"),
    [
        (
            lambda file: np.savez(file, z3=np.zeros((4, 5))),
            "must be 8 bit, row by row; got float64",
        ),
        (
            lambda file: np.savez(file, z3=np.zeros((4, 5), np.uint8, "F")),
            "must be 8 bit, row by row",
        ),
        (lambda file: np.savez(file, z4=np.zeros((4, 5), np.uint8)), r"z3\.npy"),
    ],
    ids=["floats", "by columns", "another slice"],
)
def test_an_archive_that_align_does_not_write_is_refused(
    process: CountingStore, save: Callable[[io.BytesIO], None], says: str
) -> None:
    archive = io.BytesIO()
    save(archive)
    process.write("align/0-7.npz", archive.getvalue())
    with pytest.raises(UserError, match=rf"align/0-7\.npz must hold the thumbnails .*{says}"):
        Thumbnails(plan_of(0, 7, chunk_length=8), process).picture(3)


def test_archives_of_earlier_releases_are_deflated(process: CountingStore) -> None:
    plan = plan_of(0, 7, chunk_length=8)
    write(process, plan, np.savez_compressed)
    picture = Thumbnails(plan, process).picture(3)
    assert picture is not None
    assert picture.tolist() == [[3] * 5] * 4


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("at", [0.3, 0.5, 0.7])
def test_a_flipped_bit_in_a_picture_is_refused(
    process: CountingStore, at: float, save: Callable[..., None]
) -> None:
    picture, archive = np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8), io.BytesIO()
    save(archive, z3=picture)
    damaged = bytearray(archive.getvalue())
    damaged[int(at * len(damaged))] ^= 16
    process.write("align/0-7.npz", bytes(damaged))
    with pytest.raises(UserError, match=r"align/0-7\.npz must hold the thumbnails"):
        Thumbnails(plan_of(0, 7, chunk_length=8), process).picture(3)
