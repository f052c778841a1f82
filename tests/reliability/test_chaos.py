"""The whole pipeline among faults and kills: the end is the same, byte for byte."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import Clean, Proxy, volume_in
from tests.reliability.extent import FULL, IN_BUCKETS, SEEDS, in_buckets_with_seeds

KINDS = ("408", "429", "500", "503", "reset", "truncated", "slow", "flipped", "lost 503", "lost reset")
if FULL:
    KINDS += ("stalled",)  # each costs the limit for slow bodies and six seconds of curl's
SHARE = 0.30
LEAST_KILLS = 10


def programs_of_units(driver):
    return [name for name in driver.ran if name.split()[0] in ("align", "tile", "pyramid")]


@in_buckets_with_seeds(len(SEEDS))
def test_a_bucket_run_survives_faults_and_kills(
    clean_bucket: Clean, proxy: Proxy, tmp_path: Path, figure: Callable[..., None], seed
) -> None:
    place = clean_bucket.place
    place.clear()
    proxy.set_rules(seed=seed, share=SHARE, kinds=KINDS, stall_s=600)
    driver = place.driver(tmp_path, kills_each=1, seed=seed)
    started = time.monotonic()

    state = place.run(driver)

    took_s = time.monotonic() - started
    n_requests, faults = len(proxy.log()), proxy.faults()
    n_killed, n_gave_up = len(driver.killed), len(driver.failed)
    clean_bucket.check(state, tmp_path)
    assert n_killed >= LEAST_KILLS
    assert faults.total() > 0.2 * n_requests
    proxy.set_rules()
    again = place.driver(tmp_path / "again")
    clean_bucket.check(place.run(again), tmp_path / "again")
    assert programs_of_units(again) == []
    figure(
        f"{proxy.scheme}://, seed {seed}: faults of requests, kills, programs that gave up",
        f"{faults.total()} of {n_requests}, {n_killed}, {n_gave_up}; equal; {took_s:.0f} s",
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_in_a_folder_survives_kills(
    clean_file: Clean, tmp_path: Path, figure: Callable[..., None], seed
) -> None:
    place = clean_file.place
    place.clear()
    driver = place.driver(tmp_path, kills_each=1, seed=seed)

    state = place.run(driver)

    clean_file.check(state, tmp_path)
    assert len(driver.killed) >= LEAST_KILLS
    assert not driver.failed
    again = place.driver(tmp_path / "again")
    clean_file.check(place.run(again), tmp_path / "again")
    assert programs_of_units(again) == []
    figure(f"file://, seed {seed}: kills", f"{len(driver.killed)}; equal")


@IN_BUCKETS
def test_a_bucket_and_a_folder_hold_the_same_volume(clean_file: Clean, clean_bucket: Clean) -> None:
    in_folder, in_bucket = (
        {
            key: crc
            for key, crc in volume_in(clean.state, clean.place.output).items()
            if not is_provenance(key)
        }
        for clean in (clean_file, clean_bucket)
    )
    assert len(in_folder) > 40
    assert in_bucket == in_folder


def is_provenance(key: str) -> bool:
    """Whether a file tells where the slices came from."""
    return key.endswith("/provenance")
