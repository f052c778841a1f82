"""A unit is ended at every point where it changes storage: nothing partial is visible, a rerun mends it.

And several workers do one at once, as after a pod that was thought dead.
"""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from components.shared.storage.pace import STALLED
from components.shared.storage.registry import open_store
from tests.reliability import tiny_stack
from tests.reliability.conftest import Place, new_bucket, proxy_of
from tests.reliability.crash_points import exploration
from tests.reliability.extent import FULL
from tests.reliability.programs import LEVELS_PER_PASS, Call, start
from tests.s3_server import REAL, environment_of

CONFIG = tiny_stack.CONFIG | {"raw_pyramid": False, "keep_tiles": True}
UNITS = {
    "align": ("records/align/2-3.json", {"chunk": "2-3"}),
    "tile": ("records/tile/1.json", {"slabs": "1-1"}),
    "pyramid": (f"records/pyramid/{LEVELS_PER_PASS}/0.json", {"level": LEVELS_PER_PASS, "blocks": "0-0"}),
}
N_WORKERS = 3
if FULL:
    UNITS["pyramid, level 0"] = ("records/pyramid/0/3.json", {"level": 0, "blocks": "3-3"})


@pytest.fixture(scope="module")
def finished_file(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("crashes")
    return finished(Place(str(folder / "source"), str(folder / "output"), {}), folder / "driver")


@pytest.fixture(scope="module")
def finished_gs(gcs_emulator: str, tmp_path_factory: pytest.TempPathFactory):
    environment = {"STORAGE_EMULATOR_HOST": gcs_emulator, "TENSORSTORE_GCS_HTTP_URL": gcs_emulator}
    return finished_in_bucket("gs", environment, tmp_path_factory.mktemp("crashes-gs"))


@pytest.fixture(scope="module")
def finished_s3(s3_server: str, tmp_path_factory: pytest.TempPathFactory):
    """On moto's server behind the proxy, which hands on whole requests: moto keeps half an upload."""
    folder = tmp_path_factory.mktemp("crashes-s3")
    with nullcontext() if REAL else proxy_of(s3_server, "s3", folder) as proxy:
        # Nothing is too slow where many tests share the machine.
        environment = proxy.environment() | {STALLED: "30"} if proxy else environment_of(s3_server)
        yield finished_in_bucket("s3", environment, folder)


def finished_in_bucket(scheme, environment, folder):
    output = f"{scheme}://{new_bucket(scheme=scheme)}/output"
    return finished(Place(str(folder / "source"), output, environment), folder / "driver")


def finished(place, folder):
    place.write_slices()
    return place, place.run(place.driver(folder), **CONFIG)


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        (kind, unit)
        for kind in ("file", "gs", "s3")
        for unit in UNITS
        if kind != "s3" or unit == "tile" or FULL or REAL  # moto's server is slow
    ],
)
def test_every_crash_point_of_a_unit_is_safe(
    request: pytest.FixtureRequest, kind, unit, tmp_path: Path, figure: Callable[..., None]
) -> None:
    place, state = request.getfixturevalue(f"finished_{kind}")
    record_key, flags = UNITS[unit]
    call = Call(unit.split(",")[0], {"process_uri": f"{place.output}/process", **flags})
    store = open_store(place.output)
    record = f"process/{record_key}"
    own = [record, *keys_of_outputs(store, record)]
    started = time.monotonic()

    def forget() -> None:
        for key in own:
            store.delete(key)

    with exploration(call, place.environment, tmp_path) as run_to:
        for _ in range(2):  # the first run computes what the others remember
            forget()
            n_points = run_to(0)
            assert place.state() == state
        mended = set()
        for point in range(1, n_points + 1):
            forget()
            assert run_to(point) is None
            left = place.state()
            assert left.items() <= state.items(), f"point {point} leaves something partial"
            if f"{store.uri}/{record}" in left:
                assert left.keys() == state.keys(), f"point {point} leaves a record without its outputs"
            if frozenset(left) in mended:
                continue
            mended.add(frozenset(left))
            run_to(0)
            assert place.state() == state, f"after point {point} the rerun ends otherwise"

    assert n_points > 5 * len(own)
    figure(
        f"{kind}://, crash points of a unit of {unit}",
        f"{n_points}: 0 partial objects, 0 wrong end states; {time.monotonic() - started:.1f} s",
    )


@pytest.mark.parametrize("unit", [unit for unit in UNITS if FULL or unit != "align"])  # it takes seconds
@pytest.mark.parametrize("kind", ["file", "gs", "s3"])
def test_workers_at_the_same_unit_leave_what_one_leaves(
    request: pytest.FixtureRequest, kind, unit, tmp_path: Path
) -> None:
    """The tiles' metadata, which the units share, is gone as well: all find none."""
    place, state = request.getfixturevalue(f"finished_{kind}")
    record_key, flags = UNITS[unit]
    call = Call(unit.split(",")[0], {"process_uri": f"{place.output}/process", **flags})
    store = open_store(place.output)
    record = f"process/{record_key}"
    for key in [record, *keys_of_outputs(store, record), "tmp/aligned/zarr.json"]:
        if call.step == "tile" or not key.endswith("zarr.json"):
            store.delete(key)

    workers = [start(call, place.environment, tmp_path / f"{n}.txt") for n in range(N_WORKERS)]
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0] * N_WORKERS
    assert place.state() == state


def keys_of_outputs(store, record):
    """What a unit alone has written, below the output."""
    outputs = json.loads(store.read(record).splitlines()[0])["outputs"]
    keys = [f"{output['uri']}/{output['key']}".removeprefix(f"{store.uri}/") for output in outputs]
    return [key for key in keys if not key.endswith("zarr.json")]
