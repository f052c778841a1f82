"""A run's own buckets on S3: made where the source lies, tagged, expiring, and removed by their tag alone."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from botocore.exceptions import ClientError

from commands.buckets import RUN_LABEL, TMP_DAYS, create_buckets, remove_temporary_bucket
from components.shared.documents.config import RunConfig, parse_config
from components.shared.errors import UserError
from components.shared.storage.s3 import S3Store, client
from tests.s3_server import KIND

PLACE = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}} if KIND == "moto" else {}
"""Of a bucket, in another region than the server's first; a real server here has one."""


@pytest.fixture
def source(s3_server: str) -> str:
    """The name of a bucket of slices."""
    name = f"em-{secrets.token_hex(4)}"
    client().ask("create_bucket", Bucket=name, **PLACE)
    return name


def region_of(name: str) -> str:
    return client().ask("get_bucket_location", Bucket=name).get("LocationConstraint") or "us-east-1"


def config_of(source: str, run_id: str = "run1") -> RunConfig:
    given = {"image": "%d.png", "minz": 0, "maxz": 1, "source": f"s3://{source}/raw", "id": run_id}
    return parse_config(given)


def tags_of(name: str) -> dict[str, str]:
    found = client().ask("get_bucket_tagging", Bucket=name)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def put_tag(name: str, key: str, value: str) -> None:
    tags: dict[str, Any] = {"TagSet": [{"Key": key, "Value": value}]}
    client().ask("put_bucket_tagging", Bucket=name, Tagging=tags)


def test_buckets_are_made_beside_the_source_with_a_tag(source: str) -> None:
    made = create_buckets(config_of(source))
    assert made == [f"{source}-ng-run1", f"{source}-chunk-run1", f"{source}-tmp-run1", f"{source}-process"]
    for name in made:
        assert tags_of(name) == {RUN_LABEL: "any" if name.endswith("-process") else "run1"}
        assert region_of(name) == region_of(source)
    assert region_of(source) == ("eu-west-1" if KIND == "moto" else "us-east-1")
    if KIND == "versitygw":
        return  # it removes nothing by itself
    rules = client().ask("get_bucket_lifecycle_configuration", Bucket=made[2])["Rules"]
    assert [(rule["Expiration"]["Days"], rule["Status"]) for rule in rules] == [(TMP_DAYS, "Enabled")]


def test_a_second_start_makes_nothing_and_another_run_shares_the_records(source: str) -> None:
    create_buckets(config_of(source))
    assert create_buckets(config_of(source)) == []
    assert create_buckets(config_of(source, "run2")) == [
        f"{source}-ng-run2",
        f"{source}-chunk-run2",
        f"{source}-tmp-run2",
    ]


def test_a_bucket_of_somebody_else_is_refused(source: str) -> None:
    name = f"{source}-ng-run1"
    client().ask("create_bucket", Bucket=name)
    put_tag(name, RUN_LABEL, "run2")
    with pytest.raises(UserError, match=rf"must carry the tag {RUN_LABEL}=run1; got s3://{name}"):
        create_buckets(config_of(source))


def test_a_bucket_without_a_tag_is_taken_only_while_it_is_empty(source: str) -> None:
    """The start of a run was cut off between making the bucket and giving it its tag."""
    name = f"{source}-ng-run1"
    client().ask("create_bucket", Bucket=name)
    S3Store(f"s3://{name}").write("a", b"x")
    with pytest.raises(UserError, match="must carry the tag"):
        create_buckets(config_of(source))
    S3Store(f"s3://{name}").delete("a")
    assert name in create_buckets(config_of(source))
    assert tags_of(name) == {RUN_LABEL: "run1"}


def test_the_temporary_bucket_is_removed_with_what_is_in_it(source: str) -> None:
    create_buckets(config_of(source))
    store = S3Store(f"s3://{source}-tmp-run1")
    for n in range(5):
        store.write(f"aligned/c/{n}", b"x")
    assert remove_temporary_bucket(config_of(source))
    assert not store.exists()
    assert not remove_temporary_bucket(config_of(source))


def test_a_bucket_without_the_tag_of_the_run_stays(source: str) -> None:
    create_buckets(config_of(source))
    put_tag(f"{source}-tmp-run1", RUN_LABEL, "run2")
    assert not remove_temporary_bucket(config_of(source))
    assert S3Store(f"s3://{source}-tmp-run1").exists()


def test_a_source_that_is_not_there_is_named(s3_server: str) -> None:
    with pytest.raises(UserError, match=r"there is no bucket 'em-nowhere'\. Check its name"):
        create_buckets(config_of("em-nowhere"))


@pytest.mark.parametrize("operation", ["create_bucket", "delete_bucket"])
def test_a_request_whose_answer_was_lost_is_made_again(
    source: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other try finds the bucket made, or removed, which is what was wanted."""
    if operation == "delete_bucket":
        create_buckets(config_of(source))
    asked = getattr(client()._client, operation)
    lost: set[str] = set()

    def answered(**given: Any) -> Any:
        answer = asked(**given)
        if given["Bucket"] not in lost:
            lost.add(given["Bucket"])
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(client()._client, operation, answered)
    if operation == "create_bucket":
        assert len(create_buckets(config_of(source))) == 4
    assert remove_temporary_bucket(config_of(source))
    assert lost
    assert not S3Store(f"s3://{source}-tmp-run1").exists()


def test_a_name_that_somebody_else_has_is_told(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = client()._client.head_bucket

    def refused(**given: Any) -> Any:
        if given["Bucket"] == source:
            return head(**given)
        answer = {"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "HeadBucket")

    monkeypatch.setattr(client()._client, "head_bucket", refused)
    with pytest.raises(
        UserError, match=rf"must be yours; got s3://{source}-ng-run1, .* --set id=NAME, or gr"
    ):
        create_buckets(config_of(source))
