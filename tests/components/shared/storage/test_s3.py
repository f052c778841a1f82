"""What only a bucket of S3 does: the login, what browsers are told, checksums that a server keeps or not."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.storage.s3 import S3Store, client
from components.shared.storage.s3_failures import failures
from tests.components.shared.storage.conftest import Service
from tests.components.shared.storage.faults import CALLS, FaultyS3
from tests.s3_server import CREDENTIALS, KIND

PRIVATE = "https://bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com"
"""A private endpoint of a network in AWS."""
READ_ARRAY = """
import sys
import tensorstore as ts
from components.shared.storage.s3 import S3Store
kvstore = S3Store(sys.argv[1]).kvstore()
assert "a-secret" not in repr(kvstore)
print(ts.KvStore.open(kvstore).result().read("a").result().value.decode())
"""


def head_of(bucket: str, key: str) -> dict[str, Any]:
    return client().ask("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")


@pytest.mark.parametrize(
    ("key", "content_type"),
    [
        ("info", "application/json"),
        ("report/index.html", "text/html; charset=utf-8"),
        ("8_8_8/0.shard", "application/octet-stream"),
    ],
)
def test_viewers_get_the_right_type(s3_bucket: str, key: str, content_type: str) -> None:
    S3Store(f"s3://{s3_bucket}/run").write(key, b"{}")
    head = head_of(s3_bucket, f"run/{key}")
    assert head["ContentType"] == content_type
    assert head.get("CacheControl") == ("no-cache" if content_type != "application/octet-stream" else None)


def test_an_upload_declares_its_checksum_and_the_server_keeps_it(s3_bucket: str) -> None:
    S3Store(f"s3://{s3_bucket}").write("a", b"1234", memoryview(b"56789"))
    assert head_of(s3_bucket, "a")["ChecksumCRC32C"] == "4waSgw=="


def test_an_object_of_another_program_is_told_apart_by_its_time(s3_bucket: str) -> None:
    """It has no crc32c: who compares it has to read it, and a plan goes by size and time."""
    client().ask("put_object", Bucket=s3_bucket, Key="a", Body=lambda: b"123456789")
    found = S3Store(f"s3://{s3_bucket}").stat("a")
    assert found is not None
    assert (found.size_bytes, found.crc32c) == (9, None)
    assert found.modified_ns is not None
    assert found.changed_ns is None  # a second is too coarse for records to go by
    assert S3Store(f"s3://{s3_bucket}").read("a", "e3069283") == b"123456789"


def test_the_root_is_the_prefix(s3_bucket: str) -> None:
    whole, part = S3Store(f"s3://{s3_bucket}/"), S3Store(f"s3://{s3_bucket}/run/one/")
    assert (whole.uri, part.uri) == (f"s3://{s3_bucket}", f"s3://{s3_bucket}/run/one")
    part.write("a", b"x")
    whole.write("run/one.more", b"y")
    assert [found.key for found in whole.list()] == ["run/one.more", "run/one/a"]
    assert [found.key for found in part.list()] == ["a"]


def test_folder_placeholders_are_no_objects(s3_bucket: str) -> None:
    client().ask("put_object", Bucket=s3_bucket, Key="run/sub/")
    assert list(S3Store(f"s3://{s3_bucket}/run").list()) == []


def test_a_listing_has_many_pages(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(f"s3://{s3_bucket}")
    asked = client()._client.list_objects_v2
    monkeypatch.setattr(client()._client, "list_objects_v2", lambda **given: asked(MaxKeys=2, **given))
    for name in "abcde":
        store.write(name, b"x")
    assert [found.key for found in store.list()] == list("abcde")


def test_a_missing_bucket_is_named(s3_server: str) -> None:
    store = S3Store("s3://no-such-bucket/run")
    assert not store.exists()
    assert store.stat("a") is None
    for call in (lambda: store.write("a", b"x"), lambda: list(store.list()), lambda: store.read("a")):
        with pytest.raises(UserError, match=r"there is no bucket 'no-such-bucket'. Check its name or create"):
            call()


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3://UPPER/x", "s3://ab", "s3://a b c/x", "s3://-abc", "s3://bucket/../x", "s3://bucket//x"],
)
def test_bad_names_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match="must"):
        S3Store(uri)


def test_what_one_request_cannot_put_is_refused(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.shared.storage.s3.MOST_BYTES", 8)
    store = S3Store(f"s3://{s3_bucket}")
    store.write("a", b"12345678")
    with pytest.raises(UserError, match=r"at most 8 bytes; got 9 for s3://\S+/b\."):
        store.write("b", b"12345678", b"9")


# The login


def read_array(uri: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Read an object through tensorstore, in a process with a login of its own."""
    for name in CREDENTIALS:
        environment.setdefault(name, "")
    return subprocess.run(
        [sys.executable, "-c", READ_ARRAY, uri],
        env={**{name: value for name, value in (os.environ | environment).items() if value}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_arrays_are_read_with_any_login_and_nothing_on_the_terminal(s3_bucket: str, tmp_path: Path) -> None:
    S3Store(f"s3://{s3_bucket}").write("a", b"voxels")
    opening = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [opening | {"Resource": f"arn:aws:s3:::{s3_bucket}/*"}]}
    client().ask("put_bucket_policy", Bucket=s3_bucket, Policy=json.dumps(policy))  # for no login at all
    key, secret = CREDENTIALS.values()
    token = "aws_session_token = t\n" if KIND == "moto" else ""  # a real server knows none of its own
    file = tmp_path / "credentials"
    file.write_text(f"[lab]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n{token}")
    program = tmp_path / "login.sh"
    told = json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret})
    program.write_text(f"#!/bin/sh\necho '{told}'\n")
    program.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"[profile sso]\ncredential_process = {program}\n")
    for login in (
        CREDENTIALS,
        {"AWS_PROFILE": "lab", "AWS_SHARED_CREDENTIALS_FILE": str(file)},
        {"AWS_PROFILE": "sso", "AWS_CONFIG_FILE": str(config)},
        {},
    ):
        read = read_array(f"s3://{s3_bucket}", **login)
        assert (read.stdout, read.stderr) == ("voxels\n", ""), login


def test_the_login_is_told_to_nobody_else(s3_bucket: str) -> None:
    url = S3Store(f"s3://{s3_bucket}").kvstore()["aws_credentials"]["endpoint"]
    address = url.rpartition("/")[0]
    for path in ("", "/", "/latest/meta-data", "/é"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}{urllib.parse.quote(path)}", timeout=5)
    assert address.startswith("http://127.0.0.1:")
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5) as line:
        line.sendall(b"GET /\xe9 HTTP/1.0\r\n\r\n")  # no text that a client would send
        assert b"404" in line.recv(100)


def test_a_profile_that_is_not_there_is_named(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match=r"the login cannot be used \(The config profile \(nobody\)"):
        S3Store("s3://bucket")


@pytest.mark.parametrize("address", ["127.0.0.1:9000", "http://", "http://[", "http://a b"])
def test_an_address_that_is_none_is_a_matter_of_configuration(
    s3_server: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL"):
        S3Store("s3://bucket")


def test_who_has_no_login_is_told_so(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    S3Store(f"s3://{s3_bucket}").write("a", b"x")
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match=r"permission denied, and there are no credentials. Log in with"):
        S3Store(f"s3://{s3_bucket}").read("a")


# Refusals


def answered(status: int, code: str, operation: str = "GetObject", **more: str) -> ClientError:
    said = {"Code": code, "Message": "The words of storage.", **more}
    return ClientError({"Error": said, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


USERS = [
    (answered(403, "AccessDenied"), "permission denied, or there is no such object. Grant s3:GetObject"),
    (answered(400, "ExpiredToken"), r"has expired \(The words of storage\). Log in with 'aws sso login'"),
    (answered(403, "InvalidAccessKeyId"), "login is not accepted"),
    (answered(403, "SignatureDoesNotMatch"), "login is not accepted"),
    (
        answered(403, "AccessDenied", "AssumeRoleWithWebIdentity"),
        r"login is not accepted.*\(The words of storage\).* mend its Secret or the role",
    ),
    (answered(403, "RequestTimeTooSkewed"), "this machine's clock is wrong"),
    (answered(400, "AuthorizationHeaderMalformed", Region="eu-west-1"), "Set AWS_REGION=eu-west-1"),
    (answered(301, "PermanentRedirect"), "lies in another region.*Set AWS_REGION to the region"),
    (answered(404, "NoSuchBucket"), "there is no bucket 'b'"),
    (
        answered(501, "NotImplemented"),
        "storage answered 501 Not Implemented.*Use the server's own tools",
    ),
]
PASSING = [
    (answered(503, "SlowDown"), r"503 Service Unavailable \(SlowDown: The words of storage\)"),
    (answered(400, "RequestTimeout"), "Try again"),
    (answered(400, "BadDigest"), "Try again"),
    (ResponseParserError("Unable to parse"), "answer as its interface says.*login page"),
    (KeyError("x"), "try again"),
    (RuntimeError(), "try again"),
]


@pytest.mark.parametrize(
    ("error", "says", "kind"),
    [*((*case, UserError) for case in USERS), *((*case, TransientError) for case in PASSING)],
    ids=repr,
)
def test_what_fails_is_one_sentence(error: Exception, says: str, kind: type[Exception]) -> None:
    with (
        pytest.raises(kind, match=f"^cannot read s3://b/a: .*{says}"),
        failures("cannot read s3://b/a", "b", "s3:GetObject on the bucket 'b'"),
    ):
        raise error


LISTED = "<ListBucketResult>{}<IsTruncated>{}</IsTruncated></ListBucketResult>"
NO_LISTS = {
    "empty": "",
    "a page": "<!doctype html><title>Log in</title>",
    "half": "<ListBucketResult><Contents><Key>run/a</K",
    "a name elsewhere": LISTED.format("<Contents><Key>other/a</Key><Size>6</Size></Contents>", "false"),
    "no name": LISTED.format("<Contents><Size>6</Size></Contents>", "false"),
    "no size": LISTED.format("<Contents><Key>run/a</Key></Contents>", "false"),
    "a size that is none": LISTED.format("<Contents><Key>run/a</Key><Size>many</Size></Contents>", "false"),
    "a negative size": LISTED.format("<Contents><Key>run/a</Key><Size>-6</Size></Contents>", "false"),
    "no next page": LISTED.format("", "true"),
    "pages without an end": LISTED.format("<NextContinuationToken>again</NextContinuationToken>", "true"),
}


@pytest.mark.parametrize("body", NO_LISTS.values(), ids=NO_LISTS.keys())
def test_an_answer_that_is_none_is_one_sentence(faulty_s3: Service, body: str) -> None:
    """Not an empty list, nor an object without a size: a proxy, or a page to log in, has answered."""
    faulty_s3.faulty.script = [body.encode()]
    calls = ["list"] if body.startswith("<ListBucketResult>") else ["list", "stat"]
    for name in calls:
        told = "storage must answer as its interface says; got |storage answered 500"  # as botocore takes it
        with pytest.raises(TransientError, match=told) as caught:
            CALLS[name](faulty_s3.store())
        assert len(str(caught.value)) < 700


# Answers that are of no object, and settings that lead elsewhere


def test_what_arrives_damaged_is_asked_for_again_by_any_checksum(
    faulty_s3: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 uploads with a CRC32, which botocore compares by itself."""
    crc32 = base64.b64encode(zlib.crc32(b"stored").to_bytes(4, "big")).decode()
    headers = {"ETag": '"of-parts-2"', "x-amz-checksum-crc32": crc32}
    monkeypatch.setattr(FaultyS3, "usual", lambda _: (headers, b""))
    faulty_s3.faulty.arriving = [b"stoRed", b"stoRed"]
    assert faulty_s3.store().read("a") == b"stored"
    faulty_s3.faulty.arriving = [b"stoRed"] * 1000
    with pytest.raises(TransientError, match=r"must arrive as it is stored; got other bytes. Try again"):
        faulty_s3.store().read("a")


@pytest.mark.parametrize("call", ["read", "read_range", "write", "stat"])
def test_a_page_to_log_in_is_no_object(
    faulty_s3: Service, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy answers 200 to everything: nothing was written, and what was read is not the object."""
    monkeypatch.setattr(FaultyS3, "usual", lambda _: ({"Content-Type": "text/html"}, b""))
    faulty_s3.faulty.stored = b"<html>Log in</html>"
    with pytest.raises(TransientError, match="must answer as its interface says; got a page that is no obj"):
        CALLS[call](faulty_s3.store())


def test_certificates_that_are_not_there_are_named_at_once(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/lab.pem")
    with pytest.raises(ConfigError, match=r"got '/no/such/lab\.pem', which is not there. Change AWS_CA_BUN"):
        S3Store("s3://bucket")


def test_the_region_is_named_as_other_programs_of_aws_name_it(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert S3Store("s3://bucket").kvstore()["aws_region"] == "eu-west-1"
    monkeypatch.delenv("AWS_REGION")
    assert S3Store("s3://bucket").kvstore()["aws_region"] == "us-west-2"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://s3.eu-west-1.amazonaws.com", None),  # tensorstore finds the region of a bucket by itself
        (PRIVATE, PRIVATE),
        ("https://s3.lab.org/store", "https://s3.lab.org/store"),
        ("https://s3.lab.org:9000/", "https://s3.lab.org:9000"),
    ],
)
def test_tensorstore_goes_by_the_same_endpoint(
    s3_server: str, address: str, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert S3Store("s3://bucket").kvstore().get("endpoint") == told
