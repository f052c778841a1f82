"""What every store promises, and what a folder promises besides."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import example, given
from hypothesis import strategies as st

from components.shared.errors import TransientError, UserError
from components.shared.storage.folder import FolderStore, remove_abandoned
from components.shared.storage.registry import open_store
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import (
    ObjectChangedError,
    ObjectMissingError,
    Store,
    Vouches,
    check_key,
    checksum,
    join_uri,
    with_checksums,
)
from tests.components.shared.storage.memory_store import CONTEXT

BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a\\b",
    "a\nb",
    "a\0",
    "é" * 513,
]


# Every kind of store


@pytest.mark.parametrize(
    "data", [b"", b"some bytes", bytes(range(256)) * 4096], ids=["empty", "few", "1 MiB"]
)
def test_an_object_is_read_as_it_was_written(store: Store, data: bytes) -> None:
    store.write("deep/folder/name.bin", data)
    assert store.read("deep/folder/name.bin") == data


def test_a_read_can_ask_for_a_checksum(store: Store) -> None:
    store.write("a", b"123456789")
    assert store.read("a", "e3069283") == b"123456789"
    with pytest.raises(ObjectChangedError, match="keep its crc32c 00000000; got e3069283") as caught:
        store.read("a", "00000000")
    assert caught.value.found_crc32c == "e3069283"
    with pytest.raises(ObjectMissingError):
        store.read("b", "e3069283")


def test_a_memoryview_is_written_without_a_copy_by_the_caller(store: Store) -> None:
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    store.write("pixels", memoryview(pixels))
    assert store.read("pixels") == pixels.tobytes()


def test_keys_may_hold_what_file_names_hold(store: Store) -> None:
    keys = ["img 00001+a=b@c,d.png", "ünïcode", "100%", "a#b?c", "..a", "a..", "info"]
    for key in keys:
        store.write(key, key.encode())
    assert {key: store.read(key) for key in keys} == {key: key.encode() for key in keys}
    assert {found.key for found in store.list()} == set(keys)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        *((0, 10), (3, 5), (0, 1), (9, 10), (4, 4), (0, 0), (8, 99), (10, 12), (50, 60)),
        *((8, 100_000_000_000_000), (2**63 - 2, 2**63 - 1)),
    ],
)
def test_a_range_is_a_slice_of_the_object(store: Store, start: int, stop: int) -> None:
    data = b"0123456789"
    store.write("digits", data)
    assert store.read_range("digits", start, stop) == data[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4)])
def test_a_backward_range_is_a_mistake_of_the_caller(store: Store, start: int, stop: int) -> None:
    store.write("digits", b"0123456789")
    with pytest.raises(ValueError, match="byte range"):
        store.read_range("digits", start, stop)


def test_a_write_replaces_the_object(store: Store) -> None:
    store.write("a", b"a long first value")
    store.write("a", b"short")
    assert store.read("a") == b"short"
    assert store.read_range("a", 0, 100) == b"short"
    found = store.stat("a")
    assert found is not None
    assert found.size_bytes == 5


def test_stat_tells_size_and_checksum_or_none(store: Store, store_uri: str) -> None:
    store.write("folder/a", b"123456789")
    found = store.stat("folder/a")
    assert found is not None
    assert (found.key, found.size_bytes) == ("folder/a", 9)
    vouched = {
        Vouches.CHECKSUM: ("e3069283", False),
        Vouches.WHEN_ASKED: ("e3069283", False),
        Vouches.TIMES: (None, True),
        Vouches.NOTHING: (None, False),
    }
    assert (found.crc32c, found.modified_ns is not None) == vouched[store.vouches]
    if store.vouches is Vouches.TIMES:
        assert found.modified_ns == Path(store_uri, "folder/a").stat().st_mtime_ns
    listed = list(store.list())
    if store.vouches is Vouches.WHEN_ASKED:
        assert [stat.crc32c for stat in listed] == [None]
        listed = with_checksums(store, listed)
    assert listed == [found]
    assert store.stat("folder/b") is None
    assert store.stat("folder") is None  # a folder is no object
    assert store.stat("folder/a/b") is None


def test_listing_is_in_the_order_of_the_keys_and_honours_the_prefix(store: Store) -> None:
    keys = ["a", "a.b", "a-b", "ab/c", "a0", "b/a/x", "b/a.x", "b/z", "img.2.png", "img.10.png", "é"]
    for key in keys:
        store.write(key, b"x" * len(key))
    assert [found.key for found in store.list()] == sorted(keys)
    assert [found.size_bytes for found in store.list()] == [len(key) for key in sorted(keys)]
    for prefix in ["a", "b", "b/", "b/a", "b/a/", "img.", "nothing", "nothing/at/all", "a/"]:
        assert [f.key for f in store.list(prefix)] == [k for k in sorted(keys) if k.startswith(prefix)]


def test_an_absent_object_is_named_in_the_error(store: Store, store_uri: str) -> None:
    for read in (lambda: store.read("not/there"), lambda: store.read_range("not/there", 0, 4)):
        with pytest.raises(ObjectMissingError) as caught:
            read()
        assert f"{store_uri}/not/there" in str(caught.value)
        assert caught.value.exit_code == 65


def test_delete_removes_and_forgives(store: Store) -> None:
    store.write("a/b", b"x")
    store.write("a/c", b"y")
    for _ in range(2):
        store.delete("a/b")
    store.delete("never/there")
    assert [found.key for found in store.list()] == ["a/c"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_every_method_refuses_keys_that_leave_the_root(store: Store, key: str) -> None:
    calls = [
        store.read,
        store.stat,
        store.delete,
        lambda k: store.read_range(k, 0, 1),
        lambda k: store.write(k, b"x"),
    ]
    for call in calls:
        with pytest.raises(UserError, match="name must stay inside"):
            call(key)
    if key not in ("", "a/"):  # fine as a prefix
        for call in [store.list, store.kvstore]:
            with pytest.raises(UserError, match="name must stay inside"):
                call(key)


def test_a_root_is_there_or_not(store: Store, store_uri: str) -> None:
    assert store.exists()
    assert list(store.list()) == []
    scheme = scheme_of(store_uri)
    absent = f"{store_uri}/nowhere" if scheme.is_folder else f"{scheme.name}://bucket-that-is-not-there"
    assert not open_store(absent).exists()


def test_tensorstore_writes_and_reads_arrays_below_the_root(store: Store) -> None:
    spec = {"driver": "zarr3", "kvstore": store.kvstore("tiles")}
    values = np.arange(6 * 8, dtype=np.uint16).reshape(6, 8)
    array = ts.open(
        spec,
        create=True,
        dtype=ts.uint16,
        shape=[6, 8],
        chunk_layout=ts.ChunkLayout(chunk_shape=[3, 4]),
        context=CONTEXT,
    ).result()
    array.write(values).result()
    again = ts.open(spec, open=True, context=CONTEXT).result()
    np.testing.assert_array_equal(again.read().result(), values)
    keys = {found.key for found in store.list()}
    assert "tiles/zarr.json" in keys
    assert all(key.startswith("tiles/") for key in keys)
    assert store.kvstore("tiles/") == store.kvstore("tiles")


def test_two_stores_of_one_uri_see_the_same_objects(store: Store, store_uri: str) -> None:
    assert store.uri == store_uri
    store.write("process/plan.json", b"{}")
    assert open_store(join_uri(store.uri, "process")).read("plan.json") == b"{}"


# URIs and keys


@pytest.mark.parametrize(
    "uri", ["az://bucket/x", "http://host/x", "file://host/x", "file://relative", "://", "GS://b"]
)
def test_other_locations_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match="a location must be"):
        open_store(uri)


def test_file_uris_are_folders(tmp_path: Path) -> None:
    folder = tmp_path / "with blank#and?marks"
    FolderStore(folder).write("a", b"x")
    assert open_store(folder.as_uri()).read("a") == b"x"
    assert open_store(f"file://localhost{tmp_path}").uri == str(tmp_path)


@pytest.mark.parametrize("path", ["~nobody-has-this-name/x", "a\0b"])
def test_unusable_paths_are_refused(path: str) -> None:
    with pytest.raises(UserError, match="usable path"):
        open_store(path)


@given(st.text(st.characters(codec=None), max_size=30) | st.text("./\\a\n", max_size=12))
@example("a/\ud800")
def test_an_accepted_key_names_something_below_the_root(key: str) -> None:
    with contextlib.suppress(UserError):
        check_key(key)
        root = Path("/root-of-store")
        below = Path(os.path.normpath(root / key))
        assert below.is_relative_to(root)
        assert below != root
        assert below.relative_to(root).as_posix() == key


# Folders


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = FolderStore(tmp_path / "outside")
    outside.write("secret", b"x")
    store = FolderStore(tmp_path / "store")
    store.write("own", b"y")
    (tmp_path / "store" / "file").symlink_to(tmp_path / "outside" / "secret")
    (tmp_path / "store" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "store" / "loop").symlink_to("loop")
    for key in ("file", "folder/secret", "folder/new", "loop"):
        for call in (store.read, store.stat, store.delete, lambda k: store.write(k, b"z")):
            with pytest.raises(UserError, match="link that leaves it"):
                call(key)
    for call in (store.kvstore, lambda p: list(store.list(p))):
        with pytest.raises(UserError, match="link that leaves it"):
            call("folder/")
    with pytest.raises(UserError, match="link that leaves it"):
        list(store.list())  # a slice that is such a link is reported, not skipped
    assert [found.key for found in store.list("o")] == ["own"]
    assert outside.read("secret") == b"x"
    assert [found.key for found in outside.list()] == ["secret"]


def test_links_within_the_folder_are_objects(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("a", b"12345")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "self").symlink_to(".")
    assert store.read("b") == b"12345"
    assert [(found.key, found.size_bytes) for found in store.list()] == [("a", 5), ("b", 5)]


def test_a_root_that_is_a_link_is_fine(tmp_path: Path) -> None:
    FolderStore(tmp_path / "real").write("a", b"x")
    (tmp_path / "link").symlink_to("real")
    store = FolderStore(tmp_path / "link")
    assert store.read("a") == b"x"
    assert [found.key for found in store.list()] == ["a"]


def test_listing_enters_only_folders_that_can_hold_the_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    for key in ("img.1.png", "process/records/0.json", "process/report/index.html", "unrelated/deep/x"):
        store.write(key, b"x")
    entered = []
    scandir = os.scandir

    def note(path: Path) -> object:
        entered.append(path.relative_to(tmp_path).as_posix())
        return scandir(path)

    monkeypatch.setattr(os, "scandir", note)
    assert [found.key for found in store.list("img.")] == ["img.1.png"]
    assert [found.key for found in store.list("process/rec")] == ["process/records/0.json"]
    assert entered == [".", "process", "process/records"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_missing_permission_is_a_sentence(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    store.write("a/b", b"x")
    folder = tmp_path / "store" / "a"
    folder.chmod(0o000)
    try:
        for call in (store.read, store.delete, lambda k: store.write(k, b"y"), lambda k: list(store.list())):
            with pytest.raises(UserError, match="permission denied"):
                call("a/b")
    finally:
        folder.chmod(0o700)
    assert store.read("a/b") == b"x"


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (13, UserError, "permission"),
        (30, UserError, "permission"),
        (28, TransientError, "free space"),
        (5, TransientError, "try again"),
    ],
    ids=["EACCES", "EROFS", "ENOSPC", "EIO"],
)
def test_a_failed_write_leaves_the_old_object_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], says: str
) -> None:
    store = FolderStore(tmp_path)
    store.write("a", b"old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=says):
        store.write("a", b"new")
    assert store.read("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_in_the_place_of_a_folder_is_the_users_mistake(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("a", b"x")
    store.write("folder/b", b"x")
    for key in ("a/b", "a/b/c", "folder"):
        with pytest.raises(UserError, match="same name"):
            store.write(key, b"y")
    with pytest.raises(UserError, match="too long"):
        store.write("n" * 300, b"y")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "folder"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    values = [bytes([digit]) * 300_000 for digit in (1, 2)]
    store = FolderStore(tmp_path)
    store.write("a", values[0])
    stop = threading.Event()

    def rewrite() -> None:
        for turn in range(10_000):
            if stop.is_set():
                return
            store.write("a", values[turn % 2])

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        seen = {store.read("a") for _ in range(300)}
    finally:
        stop.set()
        writer.join()
    assert seen <= set(values)


KILLED = """
import sys
from pathlib import Path
from components.shared.storage.folder import FolderStore
store = FolderStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for digit in (1, 2):
        store.write("a", bytes([digit]) * 4_000_000)
"""


def test_a_killed_writer_leaves_the_old_or_the_new_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    whole = [bytes([digit]) * 4_000_000 for digit in (0, 1, 2)]
    store.write("a", whole[0])
    for turn in range(6):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.003 * turn)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert store.read("a") in whole
        assert [found.key for found in store.list()] == ["a"]  # what it left half-written is no object


def test_only_what_killed_writers_left_long_ago_is_removed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("deep/folder/a", b"x")
    store.write("b", b"y")
    day_ago = time.time() - 25 * 3600
    old, young = (tmp_path / folder / ".fibstack-tmp-1-abcd" for folder in ("deep/folder", ""))
    for file in (old, young):
        file.write_bytes(b"half a sh")
    for file in (old, tmp_path / "b"):
        os.utime(file, (day_ago, day_ago))
    assert remove_abandoned(str(tmp_path)) == 1
    assert (young.exists(), old.exists()) == (True, False)
    assert [found.key for found in store.list()] == ["b", "deep/folder/a"]


def test_nothing_abandoned_is_looked_for_where_there_is_no_folder(bucket: str, tmp_path: Path) -> None:
    assert remove_abandoned(f"gs://{bucket}/run") == 0
    assert remove_abandoned(str(tmp_path / "nowhere")) == 0


def test_checksum_is_crc32c() -> None:
    assert checksum(b"123456789") == "e3069283"  # the check value of CRC-32C, RFC 3720 B.4
    assert checksum(memoryview(b"123456789")) == "e3069283"
    assert checksum(b"") == "00000000"
