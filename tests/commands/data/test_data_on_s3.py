"""`fibstack data` on s3://: what it does in a bucket of Google's, it does there."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from click.testing import Result

from commands.buckets import RUN_LABEL
from components.shared.documents.cost import listed_prices
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.s3 import Client, S3Store, client
from components.shared.storage.schemes import bucket_of
from components.shared.storage.store import checksum
from tests.builders import cli
from tests.s3_server import KIND


def data(*words: object) -> Result:
    return cli("data", *words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "stack"
    (found / "deep").mkdir(parents=True)
    (found / "a.tif").write_bytes(b"first" * 1000)
    (found / "deep/b.tif").write_bytes(b"second")
    return found


def test_an_upload_leaves_out_what_is_there_and_replaces_nothing(s3_bucket: str, folder: Path) -> None:
    target = f"s3://{s3_bucket}/stack"
    done = data("upload", folder, target)
    assert done.exit_code == 0, done.output
    assert "Uploaded 2 files" in done.output
    store = S3Store(target)
    stat = store.stat("a.tif")
    assert stat is not None
    assert stat.crc32c == checksum(b"first" * 1000)
    assert store.read("deep/b.tif") == b"second"
    again = data("upload", folder, target)
    assert "There already: 2 files" in again.output
    (folder / "deep/b.tif").write_bytes(b"SECOND")
    refused = data("upload", folder, target)
    assert refused.exit_code == 65
    assert "got 1 that differ (deep/b.tif)" in refused.output
    assert store.read("deep/b.tif") == b"second"


def test_what_has_no_checksum_is_read_and_compared(s3_bucket: str, folder: Path) -> None:
    client().ask("put_object", Bucket=s3_bucket, Key="deep/b.tif", Body=lambda: b"second")
    done = data("upload", folder, f"s3://{s3_bucket}")
    assert "There already: 1 files" in done.output
    assert "Uploaded 1 files" in done.output


def test_a_server_that_knows_no_conditions_gets_the_files_all_the_same(
    s3_bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Client.ask_once

    def ask_once(self: Client, operation: str, **given: object) -> object:
        if "IfNoneMatch" in given:
            raise ClientError(
                {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}, operation
            )
        return good(self, operation, **given)

    monkeypatch.setattr(Client, "ask_once", ask_once)
    assert data("upload", folder, f"s3://{s3_bucket}").exit_code == 0
    assert S3Store(f"s3://{s3_bucket}").read("deep/b.tif") == b"second"


def test_images_get_numbers(s3_bucket: str) -> None:
    source, target = S3Store(f"s3://{s3_bucket}/raw"), S3Store(f"s3://{s3_bucket}/slices")
    for n in (1, 2, 10):
        source.write(f"scan_{n}.tif", b"%d" % n)
    for _ in range(2):
        done = data("renumber", source.uri, target.uri, "--yes")
        assert done.exit_code == 0, done.output
    found = [(stat.key, target.read(stat.key)) for stat in target.list() if stat.key.endswith(".tif")]
    assert [content for _, content in found] == [b"1", b"2", b"10"]
    assert len(list(source.list())) == 3


@pytest.mark.skipif(KIND == "versitygw", reason="its objects are of one class")
def test_stored_bytes_are_counted_by_class(s3_bucket: str) -> None:
    client().ask(
        "put_object", Bucket=s3_bucket, Key="old/a", Body=lambda: b"12345", StorageClass="GLACIER_IR"
    )
    client().ask("put_object", Bucket=s3_bucket, Key="new/b", Body=lambda: b"123")
    done = data("costs", f"s3://{s3_bucket}")
    assert done.exit_code == 0, done.output
    assert "glacier_ir old/" in done.output
    assert "standard  new/" in done.output
    assert "A month of all: $0.00, at prices of http://127.0.0.1:" in done.output  # of one's own


def test_amazon_bills_and_a_server_of_ones_own_does_not(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = listed_prices("s3://em/out")
    assert (own.class_a_per_1000, own.storage_gib_month, own.on_demand.core_hour) == (0, 0, 0)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert listed_prices("s3://em/out").storage_gib_month == 0.023
    assert listed_prices("gs://em/out").region == "us-central1"


def test_a_bucket_of_another_run_is_not_removed(s3_server: str) -> None:
    source = f"em{secrets.token_hex(4)}"
    bucket = bucket_of(part_uri(f"s3://{source}-*-run1", "neuroglancer"))
    client().ask("create_bucket", Bucket=bucket)
    tag = {"Key": RUN_LABEL, "Value": "run2"}
    client().ask("put_bucket_tagging", Bucket=bucket, Tagging={"TagSet": [tag]})
    done = data("delete", f"s3://{source}-*-run1", "--yes")
    assert done.exit_code == 65
    assert f"must carry the label {RUN_LABEL}=run1; got run2 at s3://{bucket}. Nothing was" in done.output
    client().ask(
        "put_bucket_tagging", Bucket=bucket, Tagging={"TagSet": [{"Key": RUN_LABEL, "Value": "run1"}]}
    )
    done = data("delete", f"s3://{source}-*-run1", "--yes")
    assert done.exit_code == 0, done.output
    with pytest.raises(ClientError, match="Not Found"):
        client().ask("head_bucket", Bucket=bucket)
