"""S3 servers without a cloud: moto's in a thread of this process, or a real one that `make s3-server` builds.

Tests that take the fixture `s3_server` run on moto's, and on the real one where S3_SERVER names it:
`make test-s3` runs them all there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import urllib3
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}
REAL = os.environ.get("S3_SERVER", "")
"""The program of a real server; empty for moto's."""
KIND = Path(REAL).name or "moto"
"""Of the server: versitygw, weed (SeaweedFS) or moto."""
_START_TIMEOUT_S = 120


def environment_of(url: str) -> dict[str, str]:
    """What sends botocore and tensorstore to a server, and to nothing else."""
    nowhere = os.devnull
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
    }


@contextmanager
def running_s3_server(folder: Path) -> Iterator[str]:
    """The URL of a server for a while; this process and its children are led to it.

    Args:
        folder: Gets the objects and the log of a real server.
    """
    with _real_server(folder) if REAL else _moto() as url:
        before = dict(os.environ)
        os.environ.update(environment_of(url))
        try:
            yield url
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _moto() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def _real_server(folder: Path) -> Iterator[str]:
    ports = _free_ports()
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [REAL, *_ARGUMENTS[KIND](folder, ports)],
            env={**os.environ, **CREDENTIALS, **_LOGIN_OF_VERSITYGW},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(server, f"http://127.0.0.1:{ports[0]}")
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        server.terminate()
        server.wait(60)


def _versitygw(folder: Path, ports: list[int]) -> list[str]:
    objects, versions = folder / "objects", folder / "versions"
    objects.mkdir()
    versions.mkdir()
    listens = ["--port", f"127.0.0.1:{ports[0]}", "--keep-alive"]
    return [*listens, "posix", "--versioning-dir", str(versions), str(objects)]


def _seaweedfs(folder: Path, ports: list[int]) -> list[str]:
    names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    names += ("filer.port", "filer.port.grpc")
    listens = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}"]
    # Each bucket has seven volumes of its own, which are small, as the disk of a machine that runs tests.
    volumes = ["-master.volumeSizeLimitMB=256", "-volume.max=10000"]
    api = ["-s3", "-s3.autoCreateBucket=false", "-s3.iam.readOnly=false"]
    return ["server", *api, *here, *listens, *volumes]


_ARGUMENTS = {"versitygw": _versitygw, "weed": _seaweedfs}
"""Of the program of each real server, given a folder for its objects and ports."""
_LOGIN_OF_VERSITYGW = {
    "ROOT_ACCESS_KEY": CREDENTIALS["AWS_ACCESS_KEY_ID"],
    "ROOT_SECRET_KEY": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
}


def _free_ports(n: int = 8) -> list[int]:
    with contextlib.ExitStack() as open_sockets:
        found = [open_sockets.enter_context(socket.socket()) for _ in range(n)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in found]


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Wait until a server answers, and answers no longer that it is not ready."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            if (
                urllib3.request("GET", url, retries=False, timeout=5).status
                < HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                return
        time.sleep(0.05)
    raise TimeoutError(f"{REAL} did not answer within {_START_TIMEOUT_S} s")
