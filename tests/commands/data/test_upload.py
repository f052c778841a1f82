"""A folder arrives in a bucket, whole, once, and with nothing replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from commands.data import upload as uploading
from commands.data.main import main
from components.shared.errors import TransientError
from components.shared.storage import gcs
from components.shared.storage.registry import open_store
from components.shared.storage.store import checksum
from tests.builders import invoke


def call(*words: object) -> Result:
    return invoke(main, "upload", *words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of several sizes: storage takes those above 8 MiB in another way."""
    files = {"a/img.1.png": b"1", "a/img.2.png": b"", "info": b"{}", "large.tif": bytes(range(256)) * 40_000}
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in/linked.png").symlink_to(tmp_path / "in/a/img.1.png")
    return tmp_path / "in"


def test_all_files_arrive_as_they_are(folder: Path, bucket: str) -> None:
    result = call(folder, f"gs://{bucket}/raw")
    assert result.exit_code == 0, result.output
    assert f"Uploaded 5 files, 10.2 MB, to gs://{bucket}/raw." in result.output
    store = open_store(f"gs://{bucket}/raw")
    arrived = {stat.key: stat.crc32c for stat in store.list()}
    assert arrived == {
        str(path.relative_to(folder)): checksum(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }
    blob = gcs.client_of().bucket(bucket).get_blob("raw/info")
    assert (blob.content_type, blob.cache_control) == ("application/json", "no-cache")


def test_links_that_leave_the_folder_are_followed_when_it_is_asked(
    folder: Path, tmp_path: Path, bucket: str
) -> None:
    links, target = tmp_path / "links", f"gs://{bucket}/links"
    links.mkdir()
    (links / "s0.png").symlink_to(folder / "a/img.1.png")
    (links / "more").symlink_to(folder)
    result = call(links, target)
    assert result.exit_code == 65
    assert f"'s0.png' must lie inside {links}; it is a link that leaves it." in result.output
    assert "--follow-links" in result.output
    result = call(links, target, "--follow-links")
    assert result.exit_code == 0, result.output
    assert "Left out: 1 links to folders, such as more." in result.output
    assert [stat.key for stat in open_store(target).list()] == ["s0.png"]
    (links / "s1.png").symlink_to("/proc/version")
    result = call(links, target, "--follow-links")
    assert result.exit_code == 65
    assert f"'s1.png' must lie on the file system of {links}" in result.output


def test_what_is_there_is_left_out(folder: Path, bucket: str) -> None:
    call(folder, f"gs://{bucket}")
    store = open_store(f"gs://{bucket}")
    store.delete("large.tif")
    again = call(folder, f"gs://{bucket}/")
    assert "There already: 4 files" in again.output
    assert "Uploaded 1 files, 10.2 MB" in again.output
    assert "Uploaded 0 files" in call(folder, f"gs://{bucket}").output


def test_another_content_stops_it_before_it_begins(folder: Path, bucket: str) -> None:
    store = open_store(f"gs://{bucket}")
    store.write("a/img.1.png", b"2")
    result = call(folder, f"gs://{bucket}")
    assert result.exit_code == 65
    assert "got 1 that differ (a/img.1.png)" in result.output
    assert [stat.key for stat in store.list()] == ["a/img.1.png"]
    assert store.read("a/img.1.png") == b"2"


def test_a_file_that_changes_on_the_way_is_told(
    folder: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "file_checksum", lambda _: "00000001")
    plan = uploading.plan_uploads(folder, f"gs://{bucket}", 1)
    with pytest.raises(TransientError, match=r"must arrive as the file is; got crc32c 297bd0aa for 00000001"):
        uploading.upload(plan.items[:1], f"gs://{bucket}", 1, lambda _: None)


def test_a_failure_leaves_the_rest_for_later(
    folder: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = uploading._upload

    def fail_at_info(item: uploading.Item, *rest: object) -> None:
        if item.key == "info":
            raise TransientError("storage is tired. Try again.")
        real(item, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(uploading, "_upload", fail_at_info)
    result = call(folder, f"gs://{bucket}", "--jobs", 1)
    assert result.exit_code == 75
    assert "storage is tired" in result.output
    monkeypatch.setattr(uploading, "_upload", real)
    assert call(folder, f"gs://{bucket}").exit_code == 0
    assert len(list(open_store(f"gs://{bucket}").list())) == 5


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("nowhere", "gs://my-em"), 65, "FOLDER must be a folder; got nowhere"),
        (("empty", "gs://BUCKET"), 65, "the folder must hold files"),
        (("dangling", "gs://BUCKET"), 65, "cannot read dangling/x.png: No such file"),
        (("empty", "elsewhere"), 78, "the target must be a gs:// or s3:// URI"),
        (("dangling", "gs://nobody-has-this"), 65, "no bucket 'nobody-has-this'"),
    ],
    ids=str,
)
def test_what_cannot_be_uploaded_is_refused(
    words: tuple[str, str],
    code: int,
    sentence: str,
    tmp_path: Path,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "dangling"):
        (tmp_path / name).mkdir()
    (tmp_path / "dangling/x.png").symlink_to("nowhere.png")
    result = call(words[0], words[1].replace("BUCKET", bucket))
    assert (result.exit_code, sentence in result.output) == (code, True), result.output
