"""A file that somebody else put there is a regular one, or is refused; nothing waits for ever."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.regular_file import FileInFluxError, read_regular
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store

pytestmark = pytest.mark.timeout(20)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def closed_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("nothing")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def unlisted(path: Path) -> None:
    path.symlink_to("/proc/self/status")


IRREGULAR = [
    (pipe, "must be a regular file; got a pipe"),
    (closed_socket, "must be a regular file; got a socket"),
    (endless, "must be a regular file; got a device"),
    (folder, "directory"),
    (dangling, "No such file"),
    (loop, "symbolic links"),
    (sparse, "at most"),
    (unlisted, "must not change while it is read"),
]
by_kind = pytest.mark.parametrize(("put", "says"), IRREGULAR, ids=[put.__name__ for put, _ in IRREGULAR])


@by_kind
def test_what_is_no_regular_file_is_refused_with_its_kind(
    tmp_path: Path, put: Callable[[Path], None], says: str
) -> None:
    put(tmp_path / "a")
    with pytest.raises(OSError, match="(?i)" + says):
        read_regular(tmp_path / "a", 1000)


@pytest.mark.parametrize("change", [10, -10])
def test_a_file_that_grows_or_shrinks_while_it_is_read_is_never_half_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1000))
    look = os.fstat

    def look_and_change(descriptor: int) -> os.stat_result:
        found = look(descriptor)
        if found.st_size > 500:  # not the streams of pytest
            os.truncate(path, found.st_size + change)
        return found

    monkeypatch.setattr(os, "fstat", look_and_change)
    store = FolderStore(tmp_path)
    path.write_bytes(bytes(1000))
    with pytest.raises(TransientError, match=r"must not change while it is read; got \S+ of [0-9,]+ bytes"):
        store.read("a")
    path.write_bytes(bytes(1000))
    with pytest.raises(FileInFluxError):
        read_regular(path)


# Files that a user names


def read_configuration(path: Path) -> None:
    from pipeline.configuration import read_config

    read_config(path, {}, ())


def read_settings_file(path: Path) -> None:
    from pipeline.settings import read_settings

    read_settings(path)


def read_prices_file(path: Path) -> None:
    from components.shared.documents.cost import read_prices

    read_prices(path)


def read_overrides_file(path: Path) -> None:
    from components.plan.overrides import read_overrides
    from components.shared.documents.config import RunConfig

    read_overrides(RunConfig(source="in", image="%d.png", minz=0, maxz=1, output="out", overrides=str(path)))


@pytest.mark.parametrize(
    "read", [read_configuration, read_settings_file, read_prices_file, read_overrides_file]
)
@by_kind
def test_a_file_that_a_user_names_is_refused_in_one_sentence(
    tmp_path: Path, read: Callable[[Path], None], put: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "file.yaml"
    put(path)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "read", [read_configuration, read_settings_file, read_prices_file, read_overrides_file]
)
def test_a_device_that_never_ends_is_refused_at_its_own_name(read: Callable[[Path], None]) -> None:
    with pytest.raises(ConfigError, match="must be a regular file; got a device"):
        read(Path("/dev/zero"))


# Objects of a folder

NOT_WAITED_FOR = [
    (pipe, "got a pipe"),
    (closed_socket, "got a socket"),
    (endless, "link that leaves it"),
]


@pytest.mark.parametrize(("put", "says"), NOT_WAITED_FOR, ids=["pipe", "socket", "link to a device"])
def test_no_call_of_a_folder_waits_for_what_is_no_file(
    tmp_path: Path, put: Callable[[Path], None], says: str
) -> None:
    store = FolderStore(tmp_path)
    store.write("tiles/c/0", b"x")
    put(tmp_path / "tiles/c/1")
    for call in (
        lambda: store.read("tiles/c/1"),
        lambda: store.read_range("tiles/c/1", 0, 9),
        lambda: store.stat("tiles/c/1"),
        lambda: list(store.list("tiles/")),
    ):
        with pytest.raises(UserError, match=says) as caught:
            call()
        assert "tiles/c/1" in str(caught.value)
    with pytest.raises(UserError, match="tiles/c/1: it must be a regular file"):
        store.kvstore("tiles")  # tensorstore would wait in C++, where no signal reaches it
    assert store.kvstore("other")["path"].endswith("/other/")
    if put is not endless:  # a link is not written through
        store.write("tiles/c/1", b"y")
        assert store.read("tiles/c/1") == b"y"


def test_files_that_tensorstore_cannot_wait_for_are_no_fault(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("tiles/a", b"x")
    dangling(tmp_path / "tiles/b")
    loop(tmp_path / "tiles/c")
    (tmp_path / "tiles/d").symlink_to("a")
    (tmp_path / "tiles/e").symlink_to(".")
    assert store.kvstore("tiles")["driver"] == "file"


def test_a_document_has_an_end(tmp_path: Path) -> None:
    from components.shared.documents.plan import Plan
    from components.shared.documents.read_document import read_document

    sparse(tmp_path / "plan.json")
    with pytest.raises(
        UserError, match=r"at most 1,073,741,824 bytes; got 1,099,511,627,776 in .*plan\.json"
    ):
        read_document(FolderStore(tmp_path), "plan.json", Plan)
    with pytest.raises(UserError, match=r"plan\.json: it must fit into memory"):
        FolderStore(tmp_path).read("plan.json")


@by_kind
def test_a_slice_a_record_and_thumbnails_are_refused_in_one_sentence(
    tmp_path: Path, put: Callable[[Path], None], says: str
) -> None:
    from components.shared.pictures.slice_files import read_header, read_slice
    from components.shared.work.records import read_record
    from components.shared.work.thumbnails import Thumbnails
    from tests.builders import plan_of

    plan, store = plan_of(0, 3, chunk_length=4), FolderStore(tmp_path)
    for key in ("0.png", "align/0-3.npz", "records/align/0-3.json"):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / key)
    for read in (
        lambda: read_header(store, "0.png", 10),
        lambda: read_slice(store, plan.slices[0], plan.pixel_type),
    ):
        with pytest.raises((UserError, TransientError), match=r"0\.png"):
            read()
    for read_own in (lambda: read_record(store, "align", "0-3"), lambda: Thumbnails(plan, store).picture(0)):
        if put is dangling:
            assert read_own() is None  # it is missing, and made anew
            continue
        with pytest.raises((UserError, TransientError), match="0-3"):
            read_own()


# Names of folders


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\x1b[31m", "a\x7f", "\udcff"])
def test_a_root_that_tensorstore_reads_as_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no backslash and no control character"):
        open_store(f"{tmp_path}/{name}/out")


@pytest.mark.parametrize("coded", ["a%5Cb", "a%5cb", "a%0Ab", "a\\b"])
def test_a_file_uri_does_not_hide_such_a_root(tmp_path: Path, coded: str) -> None:
    with pytest.raises(UserError, match="no backslash and no control character"):
        open_store(f"file://{tmp_path}/{coded}/out")


def test_neither_does_a_link(tmp_path: Path) -> None:
    (tmp_path / "a\\b").mkdir()
    (tmp_path / "link").symlink_to("a\\b")
    with pytest.raises(UserError, match="no backslash"):
        open_store(f"{tmp_path}/link/out")


@pytest.mark.parametrize("key", ["source", "output"])
@pytest.mark.parametrize("place", ["D/a\\b/out", "file:///D/a%5Cb/out", "D/a\tb"])
def test_a_configuration_names_no_such_root(key: str, place: str) -> None:
    from components.shared.documents.config import parse_config

    given = {"source": "in", "image": "%d.png", "minz": 0, "maxz": 1, "output": "out"}
    with pytest.raises(ConfigError, match=f"'{key}'.*no backslash and no control character"):
        parse_config(given | {key: place})


@pytest.mark.parametrize(
    "name", ["a b", "a#b?c", "a%41", "ü", "a\u3000b", "..a", "-a", "a:b", "a*b", "a;b|c"]
)
def test_other_roots_are_read_alike_by_python_and_by_tensorstore(tmp_path: Path, name: str) -> None:
    import tensorstore as ts

    store = open_store(f"{tmp_path}/{name}")
    store.write("k", b"x")
    assert ts.KvStore.open(store.kvstore()).result().read("k").result().value == b"x"
