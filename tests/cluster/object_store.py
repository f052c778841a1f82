"""An S3 server that pods of a cluster and this machine reach at one address."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moto.server import ThreadedMotoServer

from components.shared.storage.registry import open_store
from tests.cluster.cluster import Cluster, Object
from tests.s3_server import CREDENTIALS

GIVEN = "FIBSTACK_TEST_S3"
"""Variable with the address of a server to use, with the login in AWS's own; without it moto's is started."""
SECRET = "fibstack-s3"


class ObjectStore:
    """A server that speaks S3's protocol, with a login that pods read from a Secret."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.login = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}

    @property
    def secret(self) -> Object:
        """The Secret with the login, as docs/aws.md makes it."""
        keys = dict(zip(("access-key", "secret-key"), self.login.values(), strict=True))
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": keys}

    def settings(self, others: Path) -> str:
        """A settings file for the server, like manifests/aws/own-server/settings.toml.

        Args:
            others: Settings for volumes, of which all else is taken over.
        """
        replaced = ("#", "volume", "environment", "secrets")
        kept = [line for line in others.read_text().splitlines() if not line.startswith(replaced)]
        login = 'AWS_ACCESS_KEY_ID = "access-key", AWS_SECRET_ACCESS_KEY = "secret-key"'
        lines = [
            f'environment = {{ AWS_ENDPOINT_URL = "{self.url}", AWS_REGION = "us-east-1" }}',
            f"secrets = {{ {SECRET} = {{ {login} }} }}",
        ]
        return "\n".join(lines + kept)

    def put(self, uri: str, folder: Path) -> None:
        """Copy the files of a folder to the server."""
        store = open_store(uri)
        for path in sorted(folder.iterdir()):
            store.write(path.name, path.read_bytes())

    def volume(self, output: str) -> dict[str, str]:
        """Digests of all files of the volumes by key, but for `provenance`, which tells their source."""
        store = open_store(output)
        return {
            found.key: hashlib.sha256(store.read(found.key)).hexdigest()
            for part in ("neuroglancer/", "chunk/")
            for found in store.list(part)
            if not found.key.endswith("/provenance")
        }


@contextmanager
def reached_by_pods(cluster: Cluster) -> Iterator[ObjectStore]:
    """The given server, or moto's on this machine; this process is led to it."""
    before = dict(os.environ)
    given, server = os.environ.get(GIVEN, "").rstrip("/"), None
    if not given:
        server = ThreadedMotoServer(ip_address="0.0.0.0", port=0, verbose=False)
        server.start()
        given = f"http://{_address_for(cluster)}:{server.get_host_and_port()[1]}"
        os.environ.update(CREDENTIALS)
    os.environ.update({"AWS_ENDPOINT_URL": given, "AWS_REGION": "us-east-1"})
    try:
        yield ObjectStore(given)
    finally:
        os.environ.clear()
        os.environ.update(before)
        if server:
            server.stop()


def _address_for(cluster: Cluster) -> str:
    """The address by which nodes of the cluster reach this machine: that of its way to the first of them."""
    query = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((cluster.kubectl("get", "nodes", "-o", query), 9))
        return str(way.getsockname()[0])
