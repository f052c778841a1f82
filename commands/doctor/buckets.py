"""Checks of places: may a run read or write a bucket, and can neuroglancer read a volume on a web server?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from google.auth import exceptions as auth

from commands.buckets import RUN_LABEL
from commands.doctor.findings import VIEWER, Finding, Use
from components.shared.errors import FibstackError
from components.shared.storage import gcs
from components.shared.storage.gcs_failures import failures
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import Part, part_uri, run_buckets_of
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import join_uri
from components.shared.web import Answer, ask, reason_of

_READ = ("storage.objects.get", "storage.objects.list")
_WRITE = ("storage.objects.create", "storage.objects.delete")
_ROLES = {"read": "roles/storage.objectViewer", "write": "roles/storage.objectUser"}
_OWN_PARTS: tuple[Part, ...] = ("neuroglancer", "chunk", "tmp", "process")
_VOLUMES = ("", "neuroglancer/jpeg")
_DEADLINE_S = 20
_PARTIAL_CONTENT = 206


def check_place(uri: str, use: Use, project: str = "") -> Iterator[Finding]:
    """Check a bucket, the buckets of a run, or the address of a volume on the web.

    Args:
        uri: `gs://...`, `s3://...` or `http(s)://...`.
        use: What it is for.
        project: Google Cloud project in which a run's buckets are made.
    """
    named = run_buckets_of(uri)
    try:
        if uri.startswith(("http://", "https://")):
            yield from check_web(uri)
        elif scheme_of(uri).cloud == "aws":
            from commands.doctor import s3

            for place in [part_uri(uri, part) for part in _OWN_PARTS] if named else [uri]:
                yield from s3.check_own_bucket(place, named[1]) if named else s3.check_bucket(place, use)
        elif named:
            for part in _OWN_PARTS:
                yield from _check_own_bucket(part_uri(uri, part), named[1], project)
        else:
            yield from _check_bucket(uri, use)
    except FibstackError as error:
        yield Finding("wrong", str(error))


def check_login() -> Finding:
    """Check that there are Google credentials."""
    import google.auth

    try:
        _, project = google.auth.default()
    except auth.DefaultCredentialsError:
        return Finding(
            "wrong",
            "there are no Google credentials on this machine",
            "gcloud auth application-default login",
        )
    return Finding("ok", f"there are Google credentials{f', of the project {project}' if project else ''}")


def check_web(url: str) -> Iterator[Finding]:
    """Check that neuroglancer can read a volume on a web server: ranges of files, from pages elsewhere."""
    for folder in _VOLUMES:
        address = join_uri(url, *filter(None, (folder, "info")))
        try:
            answer = ask(
                "GET",
                address,
                deadline_s=_DEADLINE_S,
                most_bytes=0,
                headers={"Range": "bytes=0-0", "Origin": VIEWER},
            )
        except Exception as error:
            # Also what a library raises about an address or an answer that no standard allows.
            yield Finding("wrong", f"{url} cannot be reached ({reason_of(error)})")
            return
        if answer.status < 400:
            yield from _web_findings(address, answer)
            return
    yield Finding(
        "wrong", f"{url} shows no volume: no 'info' there nor in {_VOLUMES[1]} (HTTP {answer.status})"
    )


def _web_findings(address: str, answer: Answer) -> Iterator[Finding]:
    yield Finding("ok", f"{address} is there")
    if answer.status == _PARTIAL_CONTENT:
        yield Finding("ok", "its server gives ranges of a file")
    else:
        yield Finding(
            "wrong",
            "its server gives no ranges of a file, so no sharded volume opens there",
            "serve it with nginx or a bucket, or look at it with: fibstack view FOLDER",
        )
    if answer.headers.get("Access-Control-Allow-Origin") in ("*", VIEWER):
        yield Finding("ok", "its server lets pages of other origins read (CORS)")
    else:
        parts = urlsplit(address)
        bucket = parts.path.split("/")[1] if parts.hostname == "storage.googleapis.com" else ""
        yield Finding(
            "wrong",
            "its server lets no pages of other origins read (CORS), so neuroglancer cannot",
            f"fibstack data cors gs://{bucket}" if bucket else "let it answer Access-Control-Allow-Origin: *",
        )


def _check_bucket(uri: str, use: Use) -> Iterator[Finding]:
    name, _ = gcs.bucket_and_prefix(uri)
    bucket = gcs.client_of().bucket(name)
    wanted = _READ if use == "read" else (*_READ, *_WRITE)
    with failures(f"cannot ask for rights on gs://{name}", name, "any right on it"):
        granted = set(bucket.test_iam_permissions(list(wanted), timeout=gcs.TIMEOUT_S, retry=gcs.RETRY))
    yield from _rights(name, granted, use)
    if set(_READ) <= granted:
        yield from _check_reading(uri)
    if use != "read":
        yield from _check_cors(bucket, name)


def _rights(name: str, granted: set[str], use: Use) -> Iterator[Finding]:
    for verb, wanted in (("read", _READ), ("write", _WRITE)):
        if verb == "write" and use == "read":
            continue
        missing = [permission for permission in wanted if permission not in granted]
        if not missing:
            yield Finding("ok", f"you may {verb} gs://{name}")
            continue
        needed = verb == "read" or use == "write"
        yield Finding(
            "wrong" if needed else "note",
            f"you may not {verb} gs://{name}: {' and '.join(missing)} is missing",
            f"gcloud storage buckets add-iam-policy-binding gs://{name} --role {_ROLES[verb]} "
            '--member "user:$(gcloud config get account)"',
        )


def _check_reading(uri: str) -> Iterator[Finding]:
    """Read a byte of the first object, which takes ranges."""
    store = open_store(uri)
    first = next((stat for stat in store.list() if stat.size_bytes > 1), None)
    if first is None:
        yield Finding("note", f"there is nothing in {uri} yet")
    elif len(store.read_range(first.key, 1, 2)) == 1:
        yield Finding("ok", f"ranges of {join_uri(uri, first.key)} can be read")
    else:
        yield Finding("wrong", f"ranges of {join_uri(uri, first.key)} cannot be read")


def _check_cors(bucket: Any, name: str) -> Iterator[Finding]:  # noqa: ANN401 - untyped library
    try:
        with failures(f"cannot look at gs://{name}", name, f"storage.buckets.get on the bucket '{name}'"):
            bucket.reload(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    except FibstackError:
        yield Finding("note", f"you may not look at the settings of gs://{name}, which no run needs")
        return
    if _lets_read(bucket.cors):
        yield Finding("ok", f"gs://{name} lets pages of other origins read (CORS)")
    else:
        yield Finding(
            "note",
            f"gs://{name} lets no pages of other origins read (CORS); neuroglancer needs it for https:// "
            "addresses alone, not for gs://",
            f"fibstack data cors gs://{name}",
        )


def _lets_read(rules: Sequence[dict[str, Any]]) -> bool:
    return any("GET" in rule.get("method", ()) and rule.get("origin") for rule in rules)


def _check_own_bucket(uri: str, run_id: str, project: str) -> Iterator[Finding]:
    name, prefix = gcs.bucket_and_prefix(uri)
    with failures(f"cannot look at gs://{name}", name, f"storage.buckets.get on the bucket '{name}'"):
        bucket = gcs.client_of(project or None).lookup_bucket(name, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    if bucket is None:
        where = f"the project {project}" if project else "your project"
        yield Finding(
            "note", f"gs://{name} is made when the run starts; that takes storage.buckets.create in {where}"
        )
        return
    label = bucket.labels.get(RUN_LABEL)
    expected = "any" if prefix else run_id  # all runs share the bucket of the records
    if label != expected:
        yield Finding(
            "wrong",
            f"gs://{name} is there and not of this run: its label {RUN_LABEL} is {label or 'not set'}",
            f"gcloud storage buckets update gs://{name} --update-labels {RUN_LABEL}={expected}",
        )
        return
    yield from _check_bucket(uri, "write")
