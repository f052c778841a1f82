"""What is rehearsed in front of a store: it is read as if it were there, and nothing of it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.shared.storage.folder import FolderStore
from components.shared.storage.overlay import OverlayStore
from components.shared.storage.store import ObjectChangedError, ObjectMissingError, checksum


@pytest.fixture
def below(tmp_path: Path) -> FolderStore:
    """A store of two objects."""
    store = FolderStore(tmp_path)
    store.write("kept/a", b"0123456789")
    store.write("kept/b", b"below")
    return store


@pytest.fixture
def above(below: FolderStore) -> OverlayStore:
    return OverlayStore(below)


def keys(store: OverlayStore | FolderStore, prefix: str = "") -> list[str]:
    return [stat.key for stat in store.list(prefix)]


def test_what_was_not_touched_is_that_below(above: OverlayStore, below: FolderStore) -> None:
    assert above.read("kept/a") == b"0123456789"
    assert above.read_range("kept/a", 2, 5) == b"234"
    assert above.stat("kept/a") == below.stat("kept/a")
    assert keys(above) == ["kept/a", "kept/b"]
    assert (above.uri, above.vouches, above.exists()) == (below.uri, below.vouches, True)
    with pytest.raises(ObjectChangedError):
        above.read("kept/a", "00000000")
    with pytest.raises(ObjectMissingError):
        above.read("kept/c")


def test_what_is_written_is_read_here_alone(above: OverlayStore, below: FolderStore) -> None:
    above.write("kept/b", b"ab", memoryview(b"ove"))
    above.write("new", b"")
    assert above.read("kept/b") == b"above"
    assert above.read("kept/b", checksum(b"above")) == b"above"
    assert above.read_range("kept/b", 1, 4) == b"bov"
    assert above.written == {"kept/b", "new"}
    assert {stat.key: stat.size_bytes for stat in above.list()} == {"kept/a": 10, "kept/b": 5, "new": 0}
    assert keys(above, "kept/") == ["kept/a", "kept/b"]
    with pytest.raises(ObjectChangedError):
        above.read("kept/b", checksum(b"below"))
    assert (below.read("kept/b"), keys(below)) == (b"below", ["kept/a", "kept/b"])


def test_what_is_removed_is_gone_here_alone(above: OverlayStore, below: FolderStore) -> None:
    above.delete("kept/a")
    assert above.removed == {"kept/a"}
    assert above.stat("kept/a") is None
    assert keys(above) == ["kept/b"]
    for read in (lambda: above.read("kept/a"), lambda: above.read_range("kept/a", 0, 1)):
        with pytest.raises(ObjectMissingError, match="it was removed"):
            read()
    assert below.read("kept/a") == b"0123456789"
    above.write("kept/a", b"again")
    assert (above.removed, above.read("kept/a")) == (set(), b"again")


def test_a_store_that_does_not_exist_lists_what_was_written_here(tmp_path: Path) -> None:
    above = OverlayStore(FolderStore(tmp_path / "none"))
    assert (above.exists(), keys(above)) == (False, [])
    above.write("a", b"1")
    assert keys(above) == ["a"]
