"""Slices and results on an S3 server that is not Kubeflow's own: docs/aws.md, "A server of your own"."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.shared.storage.s3 import client
from tests.cluster.cluster import SAMPLE
from tests.cluster.kubeflow.installation import HOST, RUN_S, SETTINGS, Kubeflow
from tests.cluster.object_store import SECRET, ObjectStore, reached_by_pods

pytestmark = pytest.mark.timeout(2 * RUN_S)


@pytest.fixture(scope="module")
def server(kubeflow: Kubeflow) -> Iterator[ObjectStore]:
    """A server, and the Secret with its login in the namespace of the runs."""
    with reached_by_pods(kubeflow) as found:
        kubeflow.apply(found.secret)
        yield found
        kubeflow.kubectl("delete", "secret", SECRET)


def test_a_run_from_bucket_to_bucket_writes_the_volume_of_a_local_run(
    kubeflow: Kubeflow, server: ObjectStore, sample: Path, local_volume: dict[str, str], tmp_path: Path
) -> None:
    bucket = f"fibstack-tests-{uuid.uuid4().hex[:8]}"
    client().ask("create_bucket", Bucket=bucket)
    server.put(f"s3://{bucket}/stack", sample)
    run_file, settings_file = tmp_path / "run.yaml", tmp_path / "settings.toml"
    config = {**SAMPLE, "source": f"s3://{bucket}/stack", "output": f"s3://{bucket}/volume"}
    run_file.write_text(yaml.safe_dump(config))
    settings_file.write_text(server.settings(SETTINGS))
    words = ["submit", str(run_file), "--target", "kfp", "--host", HOST, "--settings", str(settings_file)]
    submitted = kubeflow.fibstack(*words)
    assert submitted.returncode == 0, submitted.stderr
    run = next(word for word in submitted.stdout.split() if "/#/runs/details/" in word).strip("'")
    kubeflow.succeeds(run)
    assert server.volume(f"s3://{bucket}/volume") == local_volume
    assert kubeflow.fibstack("verify", f"s3://{bucket}/volume").returncode == 0
