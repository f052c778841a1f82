"""What only a bucket of Google Cloud Storage does: metadata, refusals, answers in JSON that are none."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.storage import gcs
from components.shared.storage.gcs import GcsStore
from components.shared.storage.gcs_failures import failures
from components.shared.storage.pace import JoinedParts
from components.shared.storage.store import checksum
from tests.components.shared.storage.faults import CALLS, STALL, FaultyStorage


def blob_of(bucket: str, name: str) -> Any:
    from google.cloud import storage

    return storage.Client(project="test").bucket(bucket).get_blob(name)


@pytest.mark.parametrize(
    ("key", "content_type"),
    [
        ("info", "application/json"),
        ("process/plan.json", "application/json"),
        ("report/index.html", "text/html; charset=utf-8"),
        ("slices.jsonl", "application/jsonl"),
        ("preview.png", "image/png"),
        ("8_8_8/0.shard", "application/octet-stream"),
        ("8_8_8/info/0", "application/octet-stream"),
    ],
)
def test_viewers_get_the_right_type_and_no_transcoding(bucket: str, key: str, content_type: str) -> None:
    GcsStore(f"gs://{bucket}/run").write(key, b"{}")
    blob = blob_of(bucket, f"run/{key}")
    assert blob.content_type == content_type
    assert blob.content_encoding is None
    assert blob.cache_control == ("no-cache" if content_type != "application/octet-stream" else None)


def test_a_shard_larger_than_one_request_is_whole(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent at a time is held twice, so it is little."""
    sent_bytes = []
    read = JoinedParts.readinto

    def note(parts: JoinedParts, buffer: bytearray) -> int:
        sent_bytes.append(len(buffer))
        return read(parts, buffer)

    monkeypatch.setattr(JoinedParts, "readinto", note)
    data = os.urandom(1 << 20) * 37  # above 8 MiB the upload is resumable
    store = GcsStore(f"gs://{bucket}")
    store.write("0.shard", data[:5], data[5:])
    found = store.stat("0.shard")
    assert found is not None
    assert (found.size_bytes, found.crc32c) == (len(data), checksum(data))
    assert store.read_range("0.shard", len(data) - 5, len(data)) == data[-5:]
    assert max(sent_bytes) == 16 << 20


def test_the_root_is_the_prefix(bucket: str) -> None:
    whole = GcsStore(f"gs://{bucket}/")
    part = GcsStore(f"gs://{bucket}/run/one/")
    assert (whole.uri, part.uri) == (f"gs://{bucket}", f"gs://{bucket}/run/one")
    part.write("a", b"x")
    whole.write("run/one.more", b"y")
    assert [found.key for found in whole.list()] == ["run/one.more", "run/one/a"]
    assert [found.key for found in part.list()] == ["a"]


def test_folder_placeholders_are_no_objects(bucket: str) -> None:
    from google.cloud import storage

    storage.Client(project="test").bucket(bucket).blob("run/sub/").upload_from_string(b"")
    assert list(GcsStore(f"gs://{bucket}/run").list()) == []


def test_a_missing_bucket_is_named(gcs_emulator: str) -> None:
    store = GcsStore("gs://no-such-bucket/run")
    assert not store.exists()
    assert store.stat("a") is None
    for call in (lambda: store.write("a", b"x"), lambda: list(store.list()), lambda: store.read("a")):
        with pytest.raises(UserError, match=r"no-such-bucket.*Check"):
            call()


@pytest.mark.parametrize(
    "uri",
    ["gs://", "gs://UPPER/x", "gs://ab", "gs://a b c/x", "gs://-abc", "gs://bucket/../x", "gs://bucket//x"],
)
def test_bad_names_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match="must"):
        GcsStore(uri)


def test_an_emulator_of_one_library_is_that_of_both(
    gcs_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENSORSTORE_GCS_HTTP_URL")
    monkeypatch.delenv("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", raising=False)
    GcsStore("gs://any-bucket")
    assert os.environ["TENSORSTORE_GCS_HTTP_URL"] == gcs_emulator
    assert int(os.environ["TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS"]) > 0


# Faults


NO_JSON = {
    "empty": b"",
    "a page": b"<!doctype html><title>Log in</title>",
    "half": b'{"items": [{"name": "run/a", "si',
    "a list": b"[]",
    "null": b"null",
    "too deep": b"[" * 100_000,
    "items of another kind": b'{"items": 7, "size": {}}',
    "an item of another kind": b'{"items": [7], "size": []}',
    "no size": b'{"items": [{"name": "run/a"}], "name": "run/a"}',
    "no name": b'{"items": [{"size": "6"}]}',
    "a name elsewhere": b'{"items": [{"name": "other/a", "size": "6"}]}',
    "a size that is none": b'{"items": [{"name": "run/a", "size": "many"}], "size": "many"}',
    "a negative size": b'{"items": [{"name": "run/a", "size": "-6"}], "size": "-6"}',
    "short checksum": b'{"items": [{"name": "run/a", "size": 6, "crc32c": "AA=="}], "size": ""}',
    "no checksum": b'{"items": [{"name": "run/a", "size": 6, "crc32c": "A"}], "size": 6, "crc32c": "A"}',
    "no time": b'{"items": [{"name": "run/a", "size": 6, "updated": "now"}], "size": 6, "updated": "now"}',
    "pages without an end": b'{"items": [], "nextPageToken": "again"}',
}
ONLY_IN_LISTS = (NO_JSON["no name"], NO_JSON["a name elsewhere"])


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
def test_an_answer_that_is_none_is_one_sentence(faulty: type[FaultyStorage], body: bytes) -> None:
    """Not an empty list, nor a record without a size: a proxy, or a page to log in, has answered."""
    faulty.script = [body]
    told_by = ["list"] if body in ONLY_IN_LISTS else ["list", "stat"]
    for name in (
        told_by if body.startswith(b"{") and body != NO_JSON["half"] else [*told_by, "write", "exists"]
    ):
        faulty.requests.clear()
        with pytest.raises(TransientError, match="storage must answer as its interface says; got ") as caught:
            CALLS[name](GcsStore("gs://bucket/run"))
        assert "Try again" in str(caught.value)
        assert len(str(caught.value)) < 700
        assert len(faulty.requests) <= 3


@pytest.mark.parametrize(
    "address", ["127.0.0.1:4443", "ftp://127.0.0.1", "http://", "http://[", "http://a b"]
)
def test_an_address_that_is_none_is_a_matter_of_configuration(
    faulty: type[FaultyStorage], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    for call in CALLS.values():
        with pytest.raises(ConfigError, match="STORAGE_EMULATOR_HOST"):
            call(GcsStore("gs://bucket/run"))


def test_a_login_that_expires_in_the_middle_is_named(faulty: type[FaultyStorage]) -> None:
    store = GcsStore("gs://bucket/run")
    assert store.read("a") == b"stored"
    faulty.script = [401]
    for call in CALLS.values():
        with pytest.raises(UserError, match=r"login is not accepted, or has expired.*Log in with 'gcloud"):
            call(store)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (auth.RefreshError(auth.TransportError("metadata server unavailable")), TransientError),
        (auth.RefreshError("invalid_grant: Bad Request"), UserError),
    ],
)
def test_a_login_that_nobody_could_be_asked_for_may_pass(error: Exception, expected: type[Exception]) -> None:
    with (
        pytest.raises(expected, match=r"unavailable|invalid_grant"),
        failures("cannot read gs://b/a", "b", "x"),
    ):
        raise error


def refusal(reason: str, message: str) -> bytes:
    return json.dumps({"error": {"code": 403, "message": message, "errors": [{"reason": reason}]}}).encode()


@pytest.mark.parametrize(
    ("reason", "error", "says"),
    [
        ("forbidden", UserError, "permission denied. Grant storage"),
        ("accountDisabled", UserError, r"permission denied \(The billing account is closed\)"),
        ("rateLimitExceeded", TransientError, r"403 Forbidden \(The billing account is closed\). Try again"),
        ("userRateLimitExceeded", TransientError, "Try again"),
    ],
)
def test_what_storage_says_of_a_refusal_is_told(reason: str, error: type[Exception], says: str) -> None:
    answer = requests.Response()
    answer.status_code = 403
    answer._content = refusal(reason, "The billing account is closed.")
    answer.request = requests.Request("GET", "http://storage").prepare()
    grant = "storage.objects.get"
    with pytest.raises(error, match=says), failures("cannot read gs://b/a", "b", grant):
        raise api.from_http_response(answer)


@pytest.mark.parametrize(
    "error", [AttributeError("x"), KeyError("x"), TypeError("x"), RuntimeError(), OSError()]
)
def test_whatever_a_library_raises_is_one_sentence(error: Exception) -> None:
    sentence = r"^cannot read gs://b/a: .+\. Try again\.$"
    with pytest.raises(TransientError, match=sentence), failures("cannot read gs://b/a", "b", "x"):
        raise error


@pytest.mark.parametrize("stored", [b"data", b"other"])
def test_a_repeated_write_that_may_not_replace_is_done_if_its_bytes_are_there(
    faulty: type[FaultyStorage], stored: bytes
) -> None:
    """The first answer is lost, although the object is written; then the repetition is refused."""
    faulty.script = [503, 403, 200]
    faulty.stored = stored
    expected = contextlib.nullcontext() if stored == b"data" else pytest.raises(UserError, match="Grant")
    with expected:
        GcsStore("gs://bucket/run").write("a", b"data")
    assert [request.split()[0] for request in faulty.requests] == ["POST", "POST", "GET"]


@pytest.mark.parametrize("call", [lambda store: store.read("a"), lambda store: store.read_range("a", 2, 4)])
def test_an_object_that_storage_unpacks_is_refused(
    faulty: type[FaultyStorage], call: Callable[[GcsStore], bytes]
) -> None:
    """An object of `gsutil cp -Z` is sent unpacked by storage, and whole where a range was asked for."""
    packed = {"name": "a", "size": 4, "crc32c": "4waSgw==", "contentEncoding": "gzip"}
    faulty.script = [json.dumps(packed).encode()]
    with pytest.raises(
        UserError, match=r"gs://bucket/run/a must be stored without Content-Encoding; got 'gzip'"
    ):
        call(GcsStore("gs://bucket/run"))
    assert faulty.n_reads() == 1


def test_an_upload_declares_its_checksum(faulty: type[FaultyStorage]) -> None:
    """Storage refuses an upload that was damaged on its way; the emulator does not look."""
    GcsStore("gs://bucket/run").write("a", b"123456789")
    assert b'"crc32c": "4waSgw=="' in faulty.bodies[0]


STALLED = """
from components.shared.storage import gcs
gcs._ENVIRONMENT["TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS"] = "1"
print(gcs.GcsStore("gs://bucket").read("a").decode())
"""


def test_a_body_that_stops_arriving_is_asked_for_again(
    faulty: type[FaultyStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, since tensorstore looks at the limit once."""
    for name in gcs._ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    faulty.script = [STALL, 200]
    reader = subprocess.run(
        [sys.executable, "-c", STALLED], capture_output=True, text=True, timeout=50, check=False
    )
    assert reader.stdout == "stored\n", reader.stderr
    assert len(faulty.requests) == 2  # the one that was answered in full, and one for the checksum
