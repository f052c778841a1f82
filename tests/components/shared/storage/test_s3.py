"""What only a bucket of S3 does: the login, what browsers are told, checksums that a server keeps or not."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import UserError
from components.shared.storage.s3 import S3Store, client
from tests.s3_server import CREDENTIALS

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
    client().ask("put_object_acl", Bucket=s3_bucket, Key="a", ACL="public-read")  # for no login at all
    file = tmp_path / "credentials"
    file.write_text("[lab]\naws_access_key_id = A\naws_secret_access_key = a-secret\naws_session_token = t\n")
    program = tmp_path / "login.sh"
    program.write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "a-secret"}\'\n'
    )
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
