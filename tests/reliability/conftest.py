"""Storage behind a proxy that injects faults."""

import json
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.shared.storage import s3
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri, run_buckets_of
from components.shared.storage.store import Store, checksum
from tests.reliability import tiny_stack
from tests.reliability.extent import FULL
from tests.reliability.programs import STEPS, Driver
from tests.s3_server import environment_of

LOW_SPEED_S = 1
PARTS = ("neuroglancer", "chunk", "process", "tmp")


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900 if FULL else 240))


@dataclass(frozen=True)
class Proxy:
    """The running proxy."""

    scheme: str
    """Of the URIs of what is behind it, gs or s3."""
    ports: dict[str, int]
    log_file: Path

    def set_rules(self, **rules: object) -> None:
        """Forget what was, and begin a new log."""
        self.log_file.write_text("")
        url = f"http://127.0.0.1:{self.ports['anyone']}/_rules"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(rules).encode(), method="POST")):
            pass

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def faults(self) -> Counter:
        return Counter(entry["fault"] for entry in self.log() if entry["fault"])

    def environment(self, who: str = "anyone") -> dict[str, str]:
        """What points a program's two libraries at the proxy, as somebody."""
        url = f"http://127.0.0.1:{self.ports[who]}"
        of_google = {
            "STORAGE_EMULATOR_HOST": url,
            "TENSORSTORE_GCS_HTTP_URL": url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "emulator",
        }
        return {
            **(of_google if self.scheme == "gs" else environment_of(url)),
            "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": str(LOW_SPEED_S),
            "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1",
        }


@pytest.fixture(scope="session")
def scheme(request: pytest.FixtureRequest) -> str:
    """The kind of buckets that a test is about, for which it is parametrized (`extent`): gs otherwise."""
    return getattr(request, "param", "gs")


@pytest.fixture(scope="session")
def running_proxy(scheme: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    server = request.getfixturevalue({"gs": "gcs_emulator", "s3": "s3_server"}[scheme])
    with proxy_of(server, scheme, tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@contextmanager
def proxy_of(server: str, scheme: str, folder: Path) -> Iterator[Proxy]:
    """A proxy in front of a server, which keeps its log in a folder."""
    log = folder / "log.jsonl"
    log.touch()
    program = Path(__file__).with_name("fault_proxy.py")
    arguments = ["--upstream", server.removeprefix("http://"), "--scheme", scheme, "--log", log]
    arguments += ["--identities", ",".join(("anyone", *STEPS, "viewer"))]
    process = subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield Proxy(scheme, json.loads(process.stdout.readline()), log)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def proxy(running_proxy: Proxy, tmp_path: Path):
    """The proxy without any rules; the log of the test's last requests stays in its folder."""
    running_proxy.set_rules()
    yield running_proxy
    shutil.copy(running_proxy.log_file, tmp_path / "requests.jsonl")


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes."""

    source: str
    output: str
    environment: dict[str, str]

    @property
    def stores(self) -> list[Store]:
        """All that a run writes to."""
        named = run_buckets_of(self.output)
        if named is None:
            return [open_store(self.output)]
        return [open_store(part_uri(self.output, part)) for part in PARTS]

    def write_slices(self) -> None:
        tiny_stack.write_slices(self.source)

    def driver(self, folder: Path, **options: object) -> Driver:
        return Driver(folder, lambda _: self.environment, **options)

    def run(self, driver: Driver, **config: object) -> dict[str, str]:
        """A run of the tiny stack; returns what it leaves, by key."""
        driver.run(self.output, source=self.source, **tiny_stack.CONFIG | config)
        return self.state()

    def state(self) -> dict[str, str]:
        """The checksum of every object below the output, by its URI; of the page, only that it is there."""
        return {
            f"{store.uri}/{found.key}": "tells how long steps took"
            if found.key.endswith("report/index.html")
            else found.crc32c or checksum(store.read(found.key))
            for store in self.stores
            for found in store.list()
        }

    def clear(self) -> None:
        for store in self.stores:
            for found in list(store.list()):
                store.delete(found.key)


def volume_in(state: dict[str, str], output: str) -> dict[str, str]:
    """The part of a state that is the volume, by key: it depends on the slices and the settings alone."""
    keys = {uri.removeprefix(f"{output}/"): value for uri, value in state.items()}
    return {key: value for key, value in keys.items() if key.startswith(("neuroglancer/", "chunk/"))}


@dataclass(frozen=True)
class Clean:
    """A place and what a run leaves there that meets no fault."""

    place: Place
    state: dict[str, str]

    def check(self, state: dict[str, str], folder: Path) -> None:
        """Compare what another run has left there; what differs is kept in a folder, beside what was said."""
        differing = [uri for uri in sorted(state | self.state) if state.get(uri) != self.state.get(uri)]
        for uri in filter(state.get, differing):
            parent, _, name = uri.rpartition("/")
            (folder / uri.replace("/", "_")).write_bytes(open_store(parent).read(name))
        assert differing == [], f"these differ from the clean run's; see {folder}"


@pytest.fixture(scope="session")
def clean_file(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("file")
    return _clean_run(Place(str(folder / "source"), str(folder / "output"), {}), folder / "driver")


def new_bucket(name: str = "", scheme: str = "gs") -> str:
    """The name of a new, empty bucket."""
    from google.cloud import storage

    name = name or f"run-{secrets.token_hex(4)}"
    if scheme == "gs":
        storage.Client(project="test").create_bucket(name)
    else:
        s3.client().ask("create_bucket", Bucket=name)
    return name


@pytest.fixture(scope="session")
def clean_bucket(running_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory):
    scheme = running_proxy.scheme
    # Its name is part of what decides which request meets a fault.
    uri = f"{scheme}://run-among-faults"
    if not open_store(uri).exists():
        new_bucket("run-among-faults", scheme)
    place = Place(f"{uri}/source", f"{uri}/output", running_proxy.environment())
    place.clear()
    running_proxy.set_rules()
    return _clean_run(place, tmp_path_factory.mktemp(scheme) / "driver")


def _clean_run(place: Place, folder: Path) -> Clean:
    place.write_slices()
    driver = place.driver(folder)
    state = place.run(driver)
    assert not driver.failed
    return Clean(place, state)
