"""What a run has left is found, priced, cooled and removed; nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.buckets import RUN_LABEL
from commands.data.costs import StoredObject, costs_of
from commands.data.main import main
from components.shared.documents.cost import read_prices
from components.shared.storage import gcs
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, checksum
from components.shared.work.records import Output, Record
from tests.builders import invoke
from tests.commands.data.fake_buckets import FakeBuckets, serve_buckets


def sealed(step: str, *outputs: tuple[str, str]) -> bytes:
    """The record of unit 0 of a step, which has written objects at these roots under these keys."""
    written = (Output(uri=uri, key=key, size_bytes=5, crc32c="00000000") for uri, key in outputs)
    body = Record(step=step, unit="0", input_hash="", outputs=tuple(written)).model_dump_json().encode()
    return body + b"\n" + checksum(body).encode() + b"\n"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeBuckets]]:
    """A cloud with the buckets of two runs on the bucket 'em-raw'."""
    with serve_buckets() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")
        monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(0.5))
        FakeBuckets.buckets = {"em-raw": {}, "em-raw_process": {"labels": {RUN_LABEL: "any"}}}
        FakeBuckets.objects = {
            "em-raw": {"img.1.png": b"1"},
            "em-raw_process": {
                "run1/plan.json": b"{}",
                "run1/run.json": b"{}",
                "run1/records/pyramid/0/0.json": sealed(
                    "pyramid/0",
                    *(("gs://em-raw_ng_run1/jpeg", "0.shard"), ("gs://em-raw_chunk_run1/jpeg", "0.shard")),
                    ("gs://em-raw_tmp_run1/jpeg", "0.shard"),
                ),
                "run2/plan.json": b"{}",
            },
        }
        for run in ("run1", "run2"):
            for kind in ("ng", "chunk", "tmp"):
                name = f"em-raw_{kind}_{run}"
                FakeBuckets.buckets[name] = {"labels": {RUN_LABEL: run}}
                FakeBuckets.objects[name] = {"jpeg/info": b"{}", "jpeg/0.shard": b"12345"}
        yield FakeBuckets


@pytest.fixture
def output(store_uri: str) -> str:
    """An output below one URI, beside the slices and a file of somebody."""
    store = open_store(store_uri)
    source = open_store(store_uri).uri + "/raw"
    store.write("out/process/plan.json", json.dumps({"locations": {"source_uri": source}}).encode())
    store.write("out/process/run.json", b"{}")
    pyramid = sealed("pyramid/0", (f"{store.uri}/out/neuroglancer/jpeg", "0.shard"))
    store.write("out/process/records/pyramid/0/0.json", pyramid)
    store.write(
        "out/process/records/tile/0.json", sealed("tile", (f"{store.uri}/out/tmp/aligned", "c/0/0/0"))
    )
    store.write("out/neuroglancer/jpeg/info", b"{}")
    store.write("out/neuroglancer/jpeg/0.shard", b"12345")
    store.write("out/thesis.tex", b"precious")
    store.write("raw/img.1.png", b"1")
    return f"{store.uri}/out"


def keys(uri: str) -> list[str]:
    return [stat.key for stat in open_store(uri).list()]


def test_delete_lists_asks_and_removes_what_the_run_has_left(output: str) -> None:
    said_no = invoke(main, "delete", output, answer="n\n")
    assert "2 objects       7 B" in said_no.output
    assert "6 objects" in said_no.output
    assert "Nothing was removed." in said_no.output
    assert len(keys(output)) == 7
    result = invoke(main, "delete", output, answer="y\n")
    assert result.exit_code == 0, result.output
    assert "Removed 6 objects" in result.output
    assert keys(output.removesuffix("/out")) == ["out/thesis.tex", "raw/img.1.png"]
    if "://" not in output:
        assert [path.name for path in Path(output).iterdir()] == ["thesis.tex"]


def test_no_empty_folder_of_a_run_stays(output: str) -> None:
    if "://" in output:
        return
    Path(output, "tmp/aligned/c").mkdir(parents=True)
    Path(output, "thesis.tex").unlink()
    assert invoke(main, "delete", output, "--yes").exit_code == 0
    assert not Path(output).exists()


def test_delete_refuses_what_holds_no_record(output: str) -> None:
    for place in (output.removesuffix("/out"), f"{output}/process"):
        result = invoke(main, "delete", place, "--yes")
        assert result.exit_code == 65
        assert "must hold the record of its run; got no plan.json" in result.output
    assert len(keys(output)) == 7


def test_delete_never_takes_the_slices(output: str) -> None:
    record = {"locations": {"source_uri": f"{output}/chunk/slices"}}
    open_store(output).write("process/plan.json", json.dumps(record).encode())
    result = invoke(main, "delete", output, "--yes")
    assert result.exit_code == 65
    assert "the slices must not lie in what is removed" in result.output
    assert len(keys(output)) == 7


def test_delete_goes_on_after_a_stop(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers lose the volume first; the record, by which the run is known, goes last."""
    from commands.data import removal

    removed: list[str] = []

    def stopping_store(uri: str) -> Store:
        store = open_store(uri)
        delete = store.delete

        def stop_after_one(key: str) -> None:
            if removed:
                raise KeyboardInterrupt
            removed.append(key)
            delete(key)

        monkeypatch.setattr(store, "delete", stop_after_one)
        return store

    with monkeypatch.context() as patched:
        patched.setattr(removal, "open_store", stopping_store)
        assert invoke(main, "delete", output, "--yes").exit_code == 1
    assert removed == ["jpeg/info"]
    assert invoke(main, "delete", output, "--yes").exit_code == 0
    assert keys(output) == ["thesis.tex"]


def test_delete_removes_the_buckets_of_the_run_alone(cloud: type[FakeBuckets]) -> None:
    result = invoke(main, "delete", "gs://em-raw_*_run1", "--yes")
    assert result.exit_code == 0, result.output
    assert "gs://em-raw_ng_run1 and the bucket itself" in result.output
    assert sorted(cloud.buckets) == [
        "em-raw", "em-raw_chunk_run2", "em-raw_ng_run2", "em-raw_process", "em-raw_tmp_run2",
    ]  # fmt: skip
    assert list(cloud.objects["em-raw_process"]) == ["run2/plan.json"]
    assert cloud.objects["em-raw"]
    assert "nothing to remove" in invoke(main, "delete", "gs://em-raw_*_run1", "--yes").output


def test_a_bucket_with_objects_of_others_stays_with_them(cloud: type[FakeBuckets]) -> None:
    cloud.objects["em-raw_ng_run1"] |= {"thesis.tex": b"precious", "folder/": b""}
    cloud.objects["em-raw_process"]["run1/notes.txt"] = b"mine"
    listed = invoke(main, "delete", "gs://em-raw_*_run1", "--dry-run").output
    assert "remove  gs://em-raw_chunk_run1\n" in listed
    assert "remove  gs://em-raw_ng_run1\n" not in listed
    result = invoke(main, "delete", "gs://em-raw_*_run1", "--yes")
    assert result.exit_code == 0, result.output
    summary = result.output.partition("Removed ")[2]
    for name in ("ng_run1/folder/", "ng_run1/thesis.tex", "process/run1/notes.txt"):
        assert f"  gs://em-raw_{name}\n" in summary
    assert cloud.objects["em-raw_ng_run1"] == {"thesis.tex": b"precious", "folder/": b""}
    assert {name for name in cloud.buckets if "run1" in name} == {"em-raw_ng_run1"}


@pytest.mark.parametrize("labels", [{}, {RUN_LABEL: "run2"}], ids=str)
def test_delete_refuses_a_bucket_without_the_label(cloud: type[FakeBuckets], labels: dict[str, str]) -> None:
    cloud.buckets["em-raw_chunk_run1"]["labels"] = labels
    result = invoke(main, "delete", "gs://em-raw_*_run1", "--yes")
    assert result.exit_code == 65
    assert "must carry the label fibstack-run=run1; got" in result.output
    assert len(cloud.buckets) == 8
    assert cloud.objects["em-raw_ng_run1"]


def test_costs_are_bytes_times_prices_of_their_class() -> None:
    prices = read_prices().model_copy(
        update={"storage_gib_month": 0.02, "colder_gib_month": {"coldline": 0.004}}
    )
    gib = 2**30
    objects = [
        StoredObject(place="a/", storage_class="STANDARD", size_bytes=gib),
        StoredObject(place="a/", storage_class="STANDARD", size_bytes=2 * gib),
        StoredObject(place="a/", storage_class="COLDLINE", size_bytes=10 * gib),
        StoredObject(place="b/", storage_class="MULTI_REGIONAL", size_bytes=gib),
    ]
    found = {(c.place, c.storage_class): (c.n_objects, c.dollars_a_month) for c in costs_of(objects, prices)}
    assert found == {
        ("a/", "STANDARD"): (2, pytest.approx(0.06)),
        ("a/", "COLDLINE"): (1, pytest.approx(0.04)),
        ("b/", "MULTI_REGIONAL"): (1, None),
    }


@pytest.mark.usefixtures("cloud")
def test_costs_are_told_by_place(tmp_path: Path) -> None:
    (tmp_path / "chunk").mkdir()
    (tmp_path / "chunk/info").write_text("1234567")
    (tmp_path / "thesis.tex").touch()
    said = invoke(main, "costs", tmp_path, "gs://em-raw_*_run1").output
    assert "1 objects       7 B        $0.00  standard  chunk/" in said
    assert "1 objects       0 B        $0.00  standard  (files)" in said
    assert "gs://em-raw_chunk_run1" in said
    assert "A month of all: $0.00, at prices of us-central1" in said


def test_archive_adds_a_rule_once_and_keeps_others(cloud: type[FakeBuckets]) -> None:
    other = {"action": {"type": "Delete"}, "condition": {"age": 14}}
    cloud.buckets["em-raw"] = {"lifecycle": {"rule": [other]}}
    result = invoke(main, "archive", "gs://em-raw/2024", "--class", "archive", "--after", 7)
    assert "Set: objects below gs://em-raw/2024 go to archive" in result.output
    assert "bills each for at least 365 days" in result.output
    rules = cloud.buckets["em-raw"]["lifecycle"]["rule"]
    assert rules == [
        other,
        {
            "action": {"type": "SetStorageClass", "storageClass": "ARCHIVE"},
            "condition": {"age": 7, "matchesPrefix": ["2024/"]},
        },
    ]
    again = invoke(main, "archive", "gs://em-raw/2024", "--class", "archive", "--after", 7)
    assert again.output.startswith("There already")
    assert cloud.buckets["em-raw"]["lifecycle"]["rule"] == rules
    assert "A month of a GiB: $0.0012 in place of $0.0200, at prices of us-central1" in result.output
    assert invoke(main, "archive", "/data").exit_code == 78
    of_s3 = invoke(main, "archive", "gs://em-raw", "--class", "glacier_ir")
    assert of_s3.exit_code == 78
    assert "--class must be coldline or nearline or archive for gs://; got glacier_ir" in of_s3.output


def test_costs_of_nothing_are_not_told_as_zero_dollars(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'}: no objects" in invoke(main, "costs", tmp_path / "empty").output
    result = invoke(main, "costs", tmp_path / "nothing")
    assert (result.exit_code, "must be a folder, gs:// or s3:// URI that exists" in result.output) == (
        65,
        True,
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("cors", "the target must be a gs:// or s3:// URI"),
        ("archive", "the target must be a gs:// or s3:// URI"),
    ],
)
def test_what_buckets_alone_have_needs_a_bucket(command: str, said: str, tmp_path: Path) -> None:
    result = invoke(main, command, tmp_path)
    assert (result.exit_code, said in result.output) == (78, True)


def test_cors_lets_pages_read_and_gives_no_rights(cloud: type[FakeBuckets]) -> None:
    assert invoke(main, "cors", "gs://em-raw_*_run1", "--origin", "https://ng.org").exit_code == 0
    (rule,) = cloud.buckets["em-raw_ng_run1"]["cors"]
    assert (rule["origin"], rule["method"]) == (["https://ng.org"], ["GET", "HEAD"])
    assert "Content-Range" in rule["responseHeader"]
    invoke(main, "cors", "gs://em-raw_ng_run1")
    assert cloud.buckets["em-raw_ng_run1"]["cors"][0]["origin"] == ["*"]
    invoke(main, "cors", "gs://em-raw_ng_run1", "--off")
    assert cloud.buckets["em-raw_ng_run1"]["cors"] == []
    assert not any("iam" in path for _, path in cloud.requests)


@pytest.mark.parametrize("words", [("cors", "gs://em-raw"), ("archive", "gs://em-raw")])
def test_a_missing_right_or_bucket_is_a_sentence(cloud: type[FakeBuckets], words: tuple[str, str]) -> None:
    cloud.refused = {"storage.buckets.get"}
    result = invoke(main, *words)
    assert result.exit_code == 65
    assert "permission denied. Grant storage.buckets." in result.output
    assert "no bucket 'em-nowhere'" in invoke(main, words[0], "gs://em-nowhere").output
    cloud.refused = set()


@pytest.mark.parametrize(("command", "undo"), [("public", False), ("private", True)])
def test_public_and_private_are_share(command: str, undo: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    for name in ("make_public", "make_private"):
        monkeypatch.setattr(f"commands.share.access.{name}", lambda bucket, n=name: made.append((n, bucket)))
    assert "Nothing was changed" in invoke(main, command, "gs://em_*_run1", answer="n\n").output
    assert made == []
    assert invoke(main, command, "gs://em_*_run1", "--yes").exit_code == 0
    assert made == [("make_private" if undo else "make_public", "em_ng_run1")]
