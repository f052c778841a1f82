"""Kubeflow with a volume in it that holds slices and results; the images of this version must be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import why_not
from tests.cluster.kubeflow.installation import HOST, Kubeflow


@pytest.fixture(scope="session", autouse=True)
def needs_kubeflow() -> None:
    """Skip all tests of this folder where there is no Kubeflow for tests."""
    reason = why_not() if HOST else "a Kubeflow Pipelines for tests: set KFP_HOST to the address of its API"
    if reason:
        pytest.skip(f"needs {reason}")


@pytest.fixture(scope="session")
def kubeflow(sample: Path) -> Iterator[Kubeflow]:
    """Kubeflow, with the sample in the folder `sample` of the volume, and the Secrets of the settings."""
    found = Kubeflow()
    for name, keys in found.settings.secrets.items():
        data = dict.fromkeys(keys.values(), "tested")
        found.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
    found.kubectl("delete", "pod", "fibstack-loader", "--ignore-not-found", "--grace-period", "1")
    found.make_loader()
    found.in_volume("sh", "-c", f"rm -rf {found.volume.path}/*")
    found.kubectl("cp", str(sample), f"fibstack-loader:{found.in_data('sample')}")
    yield found
    found.kubectl("delete", "pod", "fibstack-loader", "--wait=false")


@pytest.fixture(scope="session")
def finished_run(kubeflow: Kubeflow, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of a run that has written the sample's volume to the folder `finished`."""
    run = kubeflow.submit(tmp_path_factory.mktemp("submitted"), output=kubeflow.in_data("finished"))
    kubeflow.succeeds(run)
    return run
