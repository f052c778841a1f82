"""What all tests share: buckets without a cloud, each kind of store, and what the end of a run prints."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from benchmarks.scale.emulator import running_emulator
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from tests.hard_cases import figures_of_cases
from tests.s3_server import running_s3_server

LIVE = os.environ.get("FIBSTACK_LIVE", "").rstrip("/")
"""A bucket of the real service, or a folder in one, that `make live` names."""
if not LIVE:
    # No test may look for credentials or a metadata server of its surroundings.
    os.environ["NO_GCE_CHECK"] = "true"
    os.environ["GCE_METADATA_HOST"] = "127.0.0.1:1"
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

# The same examples each time, and no time limit for one: machines that run tests are slow now and then.
settings.register_profile("fibstack", deadline=None, derandomize=True)
settings.load_profile("fibstack")

FIGURES: list[tuple[str, str]] = []
"""What tests measured, and its value; of all processes that run tests, in the one that prints."""
SAMPLE_RUN = ("tests/e2e/test_sample_run.py", "tests/e2e/test_browser.py")
"""The files whose tests look at one run of the whole sample, which takes half a minute."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of single modules first, then the whole pipeline, then the pipeline among faults."""
    slow = ("e2e", "reliability")
    items.sort(key=lambda item: max(slow.index(name) + 1 if name in slow else 0 for name in item.path.parts))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Call it with what was measured and its value: the end of the run prints them."""

    def note(what: str, value: object = "") -> None:
        request.node.user_properties.append(("figure", (what, str(value))))

    return note


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        FIGURES.extend(tuple(value) for name, value in report.user_properties if name == "figure")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures, and in one line what was skipped and how to get it."""
    passed, failed, broken = (
        [report.nodeid for report in terminalreporter.getreports(outcome)]
        for outcome in ("passed", "failed", "error")
    )
    FIGURES.extend(figures_of_cases(passed, failed + broken))
    if FIGURES:
        terminalreporter.section("figures")
        for what, value in FIGURES:
            terminalreporter.write_line(f"{what:<68} {value}".rstrip())
    reasons = (
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.getreports("skipped")
    )
    skipped = Counter(reason for reason in reasons if reason != "root may do everything")
    if skipped:
        terminalreporter.section("skipped")
        terminalreporter.write_line("; ".join(f"{n} of {reason}" for reason, n in skipped.most_common()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, one process runs all tests of a file, and of the files that share a run."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFixture(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return SAMPLE_RUN[0] if file in SAMPLE_RUN else file

    return ByFixture(config, log)


@pytest.fixture(scope="session")
def gcs_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an emulator of Google Cloud Storage in memory; both libraries are pointed at it."""
    folder = tmp_path_factory.mktemp("gcs")
    with ExitStack() as running:
        try:
            emulator = running.enter_context(running_emulator(folder))
        except FileNotFoundError as error:
            pytest.skip(str(error))
        yield emulator.url


@pytest.fixture
def bucket(gcs_emulator: str) -> str:
    """The name of a new, empty bucket."""
    from google.cloud import storage

    name = f"test-{secrets.token_hex(6)}"
    storage.Client(project="test").create_bucket(name)
    return name


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server; both libraries are pointed at it."""
    with running_s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def s3_bucket(s3_server: str) -> str:
    """The name of a new, empty bucket of S3."""
    from components.shared.storage.s3 import client

    name = f"test-{secrets.token_hex(6)}"
    client().ask("create_bucket", Bucket=name)
    return name


STORES = ["file", "gs", "s3", *(["live"] if LIVE else [])]
"""The kinds of stores that fibstack has."""


def empty_root(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty root of a kind of store."""
    if kind == "file":
        (tmp_path / "store").mkdir()
        return str(tmp_path / "store")
    if kind == "live":
        return str(request.getfixturevalue("live_uri"))
    return f"{kind}://{request.getfixturevalue({'gs': 'bucket', 's3': 's3_bucket'}[kind])}/some/run"


@pytest.fixture(params=STORES)
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty root in each kind of store."""
    return empty_root(request.param, request, tmp_path)


@pytest.fixture
def live_uri() -> Iterator[str]:
    """An empty folder in the bucket of `make live`; what a test leaves there is removed."""
    if not LIVE:
        pytest.skip("needs a bucket of your own: make live BUCKET=gs://... or s3://...")
    uri = f"{LIVE}/fibstack-live-{secrets.token_hex(6)}"
    yield uri
    store = open_store(uri)
    for found in list(store.list()):
        store.delete(found.key)


@pytest.fixture
def store(store_uri: str) -> Store:
    """An empty store of each kind."""
    return open_store(store_uri)
