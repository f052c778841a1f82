"""Buckets that fail: of each kind, and of Google's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from components.shared.storage import gcs, pace, s3
from components.shared.storage.gcs import GcsStore
from components.shared.storage.s3 import S3Store
from components.shared.storage.store import Store
from tests.components.shared.storage.faults import FaultyGoogle, FaultyS3, FaultyStorage, serving
from tests.s3_server import environment_of


@dataclass(frozen=True)
class Service:
    """A kind of bucket whose server fails as its script says."""

    scheme: str
    module: ModuleType
    faulty: Any
    url: str
    opened: Callable[[str], Store]
    environment: Callable[[str], dict[str, str]]
    """What leads the libraries to a server."""
    monkeypatch: pytest.MonkeyPatch

    @property
    def root(self) -> str:
        return f"{self.scheme}://bucket/run"

    def store(self) -> Store:
        return self.opened(self.root)

    def lead_to(self, url: str) -> None:
        for name, value in self.environment(url).items():
            self.monkeypatch.setenv(name, value)

    def allow_retries(self, timeout_s: float) -> None:
        self.monkeypatch.setattr(self.module, "RETRY", self.module.RETRY.with_timeout(timeout_s))

    def look_every(self, patience_s: float) -> None:
        """Give up a request that has moved too little in so many seconds."""
        self.monkeypatch.setattr(self.module, "TIMEOUT_S", patience_s)
        self.monkeypatch.setenv(pace.STALLED, str(patience_s))


def _environment_of_google(url: str) -> dict[str, str]:
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "emulator",
    }


@pytest.fixture(scope="session")
def faulty_servers() -> Iterator[dict[str, str]]:
    """One server of each kind for all tests, so that they share a client."""
    with serving(FaultyGoogle) as google, serving(FaultyS3) as of_s3:
        yield {"gs": google, "s3": of_s3}


def _service(kind: str, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Service:
    if kind == "gs":
        service = Service(kind, gcs, FaultyGoogle, urls[kind], GcsStore, _environment_of_google, monkeypatch)
    else:
        service = Service(kind, s3, FaultyS3, urls[kind], S3Store, environment_of, monkeypatch)
    service.faulty.begin()
    service.lead_to(service.url)
    short = service.module.RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(0.5)
    monkeypatch.setattr(service.module, "RETRY", short)
    tries = {"max_retries": 3, "initial_delay": "10ms", "max_delay": "50ms"}
    monkeypatch.setattr(service.module, "_READ_RETRIES", tries)
    return service


@pytest.fixture(params=["gs", "s3"])
def service(
    request: pytest.FixtureRequest, faulty_servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """A bucket of each kind, whose retries do not wait long."""
    service = _service(request.param, faulty_servers, monkeypatch)
    yield service
    service.faulty.released.set()


@pytest.fixture
def faulty(faulty_servers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyStorage]]:
    """The server of Google's kind, whose retries do not wait long."""
    service = _service("gs", faulty_servers, monkeypatch)
    yield service.faulty
    service.faulty.released.set()


@pytest.fixture
def faulty_s3(faulty_servers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A bucket of S3 alone, whose retries do not wait long."""
    service = _service("s3", faulty_servers, monkeypatch)
    yield service
    service.faulty.released.set()
