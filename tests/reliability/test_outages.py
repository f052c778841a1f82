"""What passes is waited for, what hangs is given up and asked for again, what is refused fails at once."""

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from components.shared.storage import gcs, s3
from components.shared.storage.registry import open_store
from components.shared.storage.store import checksum
from tests.reliability import tiny_stack
from tests.reliability.conftest import Clean, Proxy
from tests.reliability.extent import FULL, IN_BUCKETS, IN_BUCKETS_OF_GS_FIRST, SEEDS
from tests.reliability.programs import RECORDS_OF_UNITS, Call, call_of_unit, run_program, start

LOW_SPEED_S = 30 if FULL else 4
"""The product's limit below which a body counts as stalled; shorter in the usual run of the tests."""
OUTAGE_S = 60 if FULL else 3
TIMEOUT_S = 2


def read_objects(call, uri, keys, told) -> None:
    """Read some objects, in a program's place; how long it took is written to a file."""
    started = time.monotonic()
    store = open_store(uri)
    for key in keys:
        assert store.read(key) == b"stored"
    told.write_text(str(time.monotonic() - started))


def look_at_objects(call, uri, keys, told) -> None:
    gcs.TIMEOUT_S = s3.TIMEOUT_S = TIMEOUT_S
    started = time.monotonic()
    store = open_store(uri)
    for key in keys:
        store.write(f"{key}-copy", b"stored")
        assert store.stat(key).size_bytes == len(b"stored")
    told.write_text(str(time.monotonic() - started))


def run_in_program(body, environment, folder, **arguments):
    """Run a function in a process of its own; returns the seconds that it took."""
    told, log = folder / "told", folder / "log.txt"
    program = start(
        Call("plan", {}), environment, log, hurry=not FULL, run=partial(body, told=told, **arguments)
    )
    program.join()
    assert program.exitcode == 0, log.read_text()
    return float(told.read_text())


@pytest.fixture
def stored(clean_bucket: Clean):
    uri = f"{clean_bucket.place.output.rpartition('/')[0]}/probes"
    store = open_store(uri)
    for key in ("a", "b"):
        store.write(key, b"stored")
    return uri


@IN_BUCKETS_OF_GS_FIRST
def test_a_stalled_body_is_asked_for_again(
    proxy: Proxy, stored, tmp_path: Path, figure: Callable[..., None]
) -> None:
    proxy.set_rules(share=1.0, kinds=["stalled"], most_in_a_row=1, stall_s=600)
    environment = proxy.environment() | {"TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": str(LOW_SPEED_S)}
    took_s = run_in_program(read_objects, environment, tmp_path, uri=stored, keys=["a"])
    assert proxy.faults()["stalled"] == 1
    assert took_s < 3 * LOW_SPEED_S
    figure(
        f"{proxy.scheme}://, a body that stalls, with a limit of {LOW_SPEED_S} s: recovered after",
        f"{took_s:.0f} s",
    )


@IN_BUCKETS_OF_GS_FIRST
def test_an_answer_that_never_comes_is_asked_for_again(
    proxy: Proxy, stored, tmp_path: Path, figure: Callable[..., None]
) -> None:
    proxy.set_rules(share=1.0, kinds=["hung"], most_in_a_row=1, stall_s=600)
    took_s = run_in_program(look_at_objects, proxy.environment(), tmp_path, uri=stored, keys=["a"])
    assert proxy.faults()["hung"] == 2
    assert took_s < 3 * 2 * TIMEOUT_S
    figure(
        f"{proxy.scheme}://, two answers that never come, with a timeout of {TIMEOUT_S} s: recovered after",
        f"{took_s:.0f} s",
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_large_object_is_whole_whatever_its_parts_meet(
    proxy: Proxy, stored, monkeypatch: pytest.MonkeyPatch, seed
) -> None:
    """No answer of a part is lost here: storage would go on after that, but the emulator forgets it all."""
    for name, value in proxy.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_delay(initial=0.025, maximum=1.5, multiplier=2))
    data = random.Random(seed).randbytes(37 << 20)
    proxy.set_rules(seed=seed, share=1.0, kinds=["408", "429", "500", "503", "reset"])
    open_store(stored).write(f"large-{seed}", data)
    assert proxy.faults().total() >= 4
    proxy.set_rules()
    assert open_store(stored).stat(f"large-{seed}").crc32c == checksum(data)


@IN_BUCKETS
def test_an_outage_is_ridden_out(
    clean_bucket: Clean, proxy: Proxy, tmp_path: Path, figure: Callable[..., None]
) -> None:
    """Every program waits, none fails: no retry of the scheduler is used up."""
    place = clean_bucket.place
    place.clear()
    driver = place.driver(tmp_path, hurry=not FULL)
    proxy.set_rules(outage_s=OUTAGE_S)
    started = time.monotonic()
    assert place.run(driver) == clean_bucket.state
    assert not driver.failed
    assert time.monotonic() - started > OUTAGE_S
    pause = "" if FULL else " (pauses of a twentieth)"
    figure(f"{proxy.scheme}://, an outage of {OUTAGE_S} s{pause}: programs that failed", len(driver.failed))


REFUSALS = [
    ("plan", "list .*/source/", 403, "permission denied"),
    ("plan", "get .*/source/img.00003.png", 404, "img.00003.png"),
    ("align", "get .*/source/", 403, "permission denied"),
    ("align", "get .*/source/img.00003.png", 404, "img.00003.png"),
    ("compose", "create ", 403, "permission denied"),
    ("tile", "create .*/output/tmp/", 404, "there is no bucket"),
    ("pyramid", "create .*/output/", 403, "permission denied"),
    ("report", "list .*/output/chunk/", 403, "permission denied"),
]


@pytest.fixture(scope="module")
def run_with_tiles(clean_bucket: Clean, running_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory):
    place = clean_bucket.place
    place.clear()
    running_proxy.set_rules()
    place.run(place.driver(tmp_path_factory.mktemp("with-tiles")), keep_tiles=True)
    return place


@IN_BUCKETS_OF_GS_FIRST
@pytest.mark.parametrize(("step", "what", "status", "says"), REFUSALS)
def test_what_is_refused_for_good_fails_at_once(
    run_with_tiles, proxy: Proxy, tmp_path: Path, step, what, status, says
) -> None:
    """With the pauses that a run has; a storm of repetitions would show in the log."""
    place = run_with_tiles
    process = open_store(f"{place.output}/process")
    done = (RECORDS_OF_UNITS | {"plan": "plan.json", "compose": "slices.jsonl", "report": "run.json"})[step]
    kept = process.read(done)
    process.delete(done)  # so that there is something to do
    call = call_of_unit(step, place.source, place.output, process.uri, tmp_path, **tiny_stack.CONFIG)
    proxy.set_rules(always=[(what, status)])
    started = time.monotonic()

    program = start(call, proxy.environment(), tmp_path / "log.txt", hurry=False)
    program.join()

    took_s = time.monotonic() - started
    process.write(done, kept)
    said = (tmp_path / "log.txt").read_text()
    assert program.exitcode == 65, said
    assert says in said
    assert "Traceback" not in said
    assert took_s < 5
    asked = Counter((e["operation"], e["key"], e["range"]) for e in proxy.log() if e["status"] == status)
    assert max(asked.values()) <= 2


LASTING = ["429", "504", "reset", "dribbled", *(["408", "500", "502", "503", "hung"] if FULL else [])]
"""Some of the failures that `test_bucket_faults.py` tries all with every call; all in `make reliability`."""
CALLS_OF_STEPS = {
    "list": ("plan", "list .*/source/"),
    "look": ("plan", "stat .*/process/"),
    "read a range": ("plan", "get .*/source/"),
    "read": ("align", "get .*/source/"),
    "read records": ("compose", "get .*/process/align/"),
    "read tiles": ("pyramid", "get .*/output/tmp/"),
    "write": ("tile", "(create|part) .*/output/tmp/"),
    "publish": ("pyramid", "(create|part) .*/output/"),
}


def run_impatiently(call: Call) -> None:
    """Run a program whose requests and tries end after moments."""
    for module in (gcs, s3):
        module.TIMEOUT_S = 0.5
        module.RETRY = module.RETRY.with_timeout(1)
        module._READ_RETRIES = module._READ_RETRIES | {"max_retries": 2}
    run_program(call)


@IN_BUCKETS_OF_GS_FIRST
@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("name", CALLS_OF_STEPS)
def test_what_fails_for_minutes_may_pass_at_another_time(
    run_with_tiles, proxy: Proxy, tmp_path: Path, name: str, fault: str
) -> None:
    """Exit code 75, never 65 or 1: the scheduler tries again, and nothing is taken for damaged."""
    step, what = CALLS_OF_STEPS[name]
    place = run_with_tiles
    process = open_store(f"{place.output}/process")
    done = (RECORDS_OF_UNITS | {"plan": "plan.json", "compose": "slices.jsonl"})[step]
    kept = process.read(done)
    process.delete(done)  # so that there is something to do
    call = call_of_unit(step, place.source, place.output, process.uri, tmp_path, **tiny_stack.CONFIG)
    proxy.set_rules(share=1.0, kinds=[fault], only=what, most_in_a_row=10**6, stall_s=60)
    started = time.monotonic()

    program = start(call, proxy.environment(), tmp_path / "log.txt", run=run_impatiently)
    program.join(60)

    took_s = time.monotonic() - started
    program.kill()
    proxy.set_rules()
    process.write(done, kept)
    said = (tmp_path / "log.txt").read_text()
    assert program.exitcode == 75, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: ")
    assert f"{proxy.scheme}://" in said.splitlines()[-1]
    assert took_s < 30
