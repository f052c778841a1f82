"""Slices and results on an S3 server, on a real Argo: docs/aws.md, "A server of your own"."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.storage.s3 import client
from tests.cluster.cluster import OVERLAY, SAMPLE, Cluster
from tests.cluster.object_store import SECRET, ObjectStore, reached_by_pods

pytestmark = pytest.mark.timeout(1800)
SETTINGS = OVERLAY / "settings.toml"


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[ObjectStore]:
    """A server, and the Secret with its login in the namespace of the runs."""
    with reached_by_pods(cluster) as found:
        made = cluster.tried("apply", "-f", "-", text=yaml.safe_dump(found.secret))
        assert made.returncode == 0, made.stderr
        yield found
        cluster.kubectl("delete", "secret", SECRET)


@pytest.fixture(scope="module")
def source(server: ObjectStore, sample: Path) -> str:
    """A bucket with the slices of the sample."""
    bucket = f"fibstack-tests-{uuid.uuid4().hex[:8]}"
    client().ask("create_bucket", Bucket=bucket)
    server.put(f"s3://{bucket}/stack", sample)
    return f"s3://{bucket}/stack"


def test_a_run_from_bucket_to_bucket_writes_the_volume_of_a_local_run(
    cluster: Cluster, server: ObjectStore, source: str, local_volume: dict[str, str], tmp_path: Path
) -> None:
    output = f"{source.rpartition('/')[0]}/volume"
    given: dict[str, Any] = {"source": source, "output": output}
    run = cluster.submit(tmp_path, server.settings(SETTINGS), **given)
    cluster.succeeds(run)
    assert server.volume(output) == local_volume
    units = cluster.fibstack("status", run, "--units")
    assert units.stdout.count("100%") >= 4, units.stdout + units.stderr
    assert cluster.fibstack("verify", output).returncode == 0
    # The login is in the pods' environment alone.
    seen = json.dumps([cluster.workflow(run), *cluster.pods(run)]) + cluster.fibstack("logs", run).stdout
    assert server.login["AWS_SECRET_ACCESS_KEY"] not in seen


def test_the_buckets_of_a_run_are_made_and_filled(
    cluster: Cluster, server: ObjectStore, source: str, local_volume: dict[str, str], tmp_path: Path
) -> None:
    name = f"r{uuid.uuid4().hex[:6]}"
    run = cluster.submit(tmp_path, server.settings(SETTINGS), source=source, id=name)
    cluster.succeeds(run)
    bucket = source.split("/")[2]
    volumes = server.volume(f"s3://{bucket}-ng-{name}")
    assert set(volumes.values()) <= set(local_volume.values())


def test_a_folder_that_is_empty_is_said_where_a_user_looks(
    cluster: Cluster, server: ObjectStore, source: str, tmp_path: Path
) -> None:
    given = {"source": f"{source}-of-nobody", "output": f"{source}/nowhere"}
    run = cluster.submit(tmp_path, server.settings(SETTINGS), **given)
    assert cluster.phase_at_end(run) == "Failed"
    assert "the source must hold slices" in cluster.fibstack("status", run).stdout


def test_the_stub_proves_the_buckets(
    cluster: Cluster, server: ObjectStore, source: str, tmp_path: Path
) -> None:
    output = f"{source.rpartition('/')[0]}/tried"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**SAMPLE, "source": source, "output": output}))
    (tmp_path / "settings.toml").write_text(server.settings(SETTINGS))
    said = cluster.fibstack(
        "submit", str(tmp_path / "run.yaml"), "--target", "argo", "--namespace", "fibstack",
        "--settings", str(tmp_path / "settings.toml"), "--stub",
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    assert server.volume(output) == {}
