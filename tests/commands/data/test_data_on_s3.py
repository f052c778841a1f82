"""`fibstack data` on s3://: what it does in a bucket of Google's, it does there."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import Result

from commands.buckets import RUN_LABEL
from components.shared.documents.cost import listed_prices
from components.shared.errors import UserError
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.s3 import Client, S3Store, client
from components.shared.storage.schemes import bucket_of
from components.shared.storage.store import checksum
from tests.builders import cli
from tests.s3_server import KIND

ON_MOTO = pytest.mark.skipif(KIND != "moto", reason="servers of one's own move nothing")


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


def rules_of(bucket: str) -> list[dict[str, Any]]:
    found = client().ask("get_bucket_lifecycle_configuration", Bucket=bucket)["Rules"]
    return [{key: value for key, value in rule.items() if key != "ID"} for rule in found]


def put_rules(bucket: str, *rules: dict[str, Any]) -> None:
    client().ask(
        "put_bucket_lifecycle_configuration", Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}
    )


def moves_to(storage_class: str, days: int, prefix: str) -> dict[str, Any]:
    moves = [{"Days": days, "StorageClass": storage_class}]
    return {"Status": "Enabled", "Filter": {"Prefix": prefix}, "Transitions": moves}


EXPIRES = {"Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 14}}


@ON_MOTO
def test_archive_adds_a_rule_once_and_keeps_others(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_rules(s3_bucket, EXPIRES)
    uri = f"s3://{s3_bucket}/2024"
    done = data("archive", uri, "--after", 7)
    assert done.exit_code == 0, done.output
    assert f"Set: objects below {uri} go to glacier_ir when they are 7 days old." in done.output
    assert "bills each for at least 90 days" in done.output
    assert "$" not in done.output  # a server of one's own has no prices
    assert rules_of(s3_bucket) == [EXPIRES, moves_to("GLACIER_IR", 7, "2024/")]
    again = data("archive", uri, "--after", 7)
    assert again.output.startswith("There already")
    data("archive", f"s3://{s3_bucket}", "--class", "standard_ia")
    assert rules_of(s3_bucket)[1:] == [moves_to("GLACIER_IR", 7, "2024/"), moves_to("STANDARD_IA", 30, "")]
    monkeypatch.setattr(Client, "is_of_amazon", True)
    of_amazon = data("archive", uri, "--after", 7)
    assert "A month of a GiB: $0.0040 in place of $0.0230, at prices of us-east-1, 2026-" in of_amazon.output


@ON_MOTO
def test_archive_keeps_rules_of_the_older_form_and_the_least_size(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_rules(s3_bucket, {"Status": "Enabled", "Prefix": "tmp/", "Expiration": {"Days": 14}})
    good, written = Client.ask_once, []

    def ask_once(self: Client, operation: str, **given: Any) -> dict[str, Any]:
        least_size = {"TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
        if operation.startswith("put_bucket_lifecycle"):
            written.append(given)
        return good(self, operation, **given) | (least_size if operation.startswith("get") else {})

    monkeypatch.setattr(Client, "ask_once", ask_once)
    assert data("archive", f"s3://{s3_bucket}").exit_code == 0
    assert [given["TransitionDefaultMinimumObjectSize"] for given in written] == ["varies_by_storage_class"]
    assert rules_of(s3_bucket) == [EXPIRES, moves_to("GLACIER_IR", 30, "")]


@ON_MOTO
@pytest.mark.parametrize("code", ["NotImplemented", "InvalidStorageClass"])
def test_a_server_without_storage_classes_is_refused(
    s3_bucket: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Client.ask_once

    def ask_once(self: Client, operation: str, **given: Any) -> dict[str, Any]:
        if operation.startswith("put_bucket_lifecycle"):
            status = {"HTTPStatusCode": 501 if code == "NotImplemented" else 400}
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": status}, operation)
        return good(self, operation, **given)

    monkeypatch.setattr(Client, "ask_once", ask_once)
    refused = data("archive", f"s3://{s3_bucket}")
    assert refused.exit_code == 65
    assert f"the server of s3://{s3_bucket} must know the storage class GLACIER_IR; got" in refused.output


@ON_MOTO
@pytest.mark.parametrize("earlier", [[], [EXPIRES]], ids=["no rules", "a rule"])
def test_a_server_that_drops_what_moves_objects_has_its_earlier_rules_again(
    s3_bucket: str, earlier: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if earlier:
        put_rules(s3_bucket, *earlier)
    good = Client.ask_once

    def ask_once(self: Client, operation: str, **given: Any) -> dict[str, Any]:
        if "LifecycleConfiguration" in given:
            asked = given["LifecycleConfiguration"]["Rules"]
            kept = [EXPIRES if "Transitions" in rule else rule for rule in asked]
            given["LifecycleConfiguration"] = {"Rules": kept}
        return good(self, operation, **given)

    monkeypatch.setattr(Client, "ask_once", ask_once)
    refused = data("archive", f"s3://{s3_bucket}")
    assert refused.exit_code == 65
    assert "must know the storage class GLACIER_IR" in refused.output
    if earlier:
        assert rules_of(s3_bucket) == earlier
    else:
        with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
            rules_of(s3_bucket)


@pytest.mark.skipif(KIND == "moto", reason="it knows storage classes")
def test_real_servers_of_ones_own_refuse_to_archive(s3_bucket: str) -> None:
    refused = data("archive", f"s3://{s3_bucket}")
    assert refused.exit_code == 65
    assert "must know the storage class GLACIER_IR" in refused.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--class", "coldline"), "--class must be glacier_ir or standard_ia for s3://; got coldline."),
        (("--class", "standard_ia", "--after", 7), "--after must be at least 30 with --class standard_ia"),
    ],
)
def test_archive_refuses_what_s3_has_not(s3_bucket: str, words: tuple[object, ...], said: str) -> None:
    refused = data("archive", f"s3://{s3_bucket}", *words)
    assert (refused.exit_code, said in refused.output) == (78, True)


def test_archive_needs_a_bucket_that_is_there(s3_server: str) -> None:
    refused = data("archive", "s3://em-nowhere")
    assert refused.exit_code == 65
    assert "there is no bucket 'em-nowhere'" in refused.output


@ON_MOTO
def test_what_must_be_restored_first_says_so(s3_bucket: str) -> None:
    for storage_class in ("GLACIER_IR", "DEEP_ARCHIVE"):
        client().ask(
            "put_object", Bucket=s3_bucket, Key=storage_class, Body=lambda: b"1", StorageClass=storage_class
        )
    assert S3Store(f"s3://{s3_bucket}").read("GLACIER_IR") == b"1"
    with pytest.raises(UserError, match="has to be restored first, in hours"):
        S3Store(f"s3://{s3_bucket}").read("DEEP_ARCHIVE")
