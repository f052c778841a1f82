"""A cluster for tests with a volume in it that holds slices and results.

The images of this version must be in the cluster: docs/gke.md, "On a cluster of your own".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import OVERLAY, SAMPLE, Cluster, local_run, make_sample, why_not


@pytest.fixture(scope="session")
def cluster(sample: Path) -> Iterator[Cluster]:
    """The cluster, with the overlay of the guide applied and the sample on its volume."""
    found = Cluster()
    found.kubectl("apply", "-k", str(OVERLAY))
    # Of an earlier session: a pod that is on its way out would be taken for the new one.
    found.kubectl("delete", "workflows", "--all")
    found.kubectl("delete", "pod", "fibstack-loader", "--ignore-not-found", "--grace-period", "1")
    found.kubectl("apply", "-f", str(OVERLAY / "loader.yaml"))
    found.kubectl("wait", "--for", "condition=Ready", "pod/fibstack-loader", "--timeout", "120s")
    found.in_volume("sh", "-c", "rm -rf /data/*")
    found.kubectl("cp", str(sample), f"fibstack-loader:{SAMPLE['source']}")
    yield found
    found.kubectl("delete", "workflows", "--all", "--wait=false")
    found.kubectl("delete", "-f", str(OVERLAY / "loader.yaml"), "--wait=false")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = why_not()
    if reason:
        pytest.skip(f"needs {reason}")
    return make_sample(tmp_path_factory.mktemp("sample") / "raw", "512x512", 12)


@pytest.fixture(scope="session")
def local_volume(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the volume that `fibstack run` writes of the sample on this machine."""
    return local_run(tmp_path_factory.mktemp("local") / "volume", source=str(sample))


@pytest.fixture(scope="session")
def finished_run(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a run that has written the sample's volume to /data/finished."""
    run = cluster.submit(tmp_path_factory.mktemp("submitted"), output="/data/finished")
    cluster.succeeds(run)
    return run
