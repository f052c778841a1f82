"""A bit is flipped in 15% of the bodies that are read: nothing wrong is ever written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import Clean, Proxy
from tests.reliability.extent import FULL, SEEDS

SHARE = 0.15


@pytest.mark.parametrize("seed", SEEDS if FULL else SEEDS[:2])
def test_a_flipped_byte_never_reaches_an_output(
    clean_gs: Clean, proxy: Proxy, tmp_path: Path, figure: Callable[..., None], seed
) -> None:
    place = clean_gs.place
    place.clear()
    proxy.set_rules(seed=seed, share=SHARE, kinds=["flipped"])
    driver = place.driver(tmp_path)

    state = place.run(driver)

    n_reads = sum(entry["operation"] == "get" for entry in proxy.log())
    n_flipped = proxy.faults()["flipped"]
    assert n_flipped >= 10
    clean_gs.check(state, tmp_path)
    figure(
        f"gs://, seed {seed}: bodies of reads with a flipped byte",
        f"{n_flipped} of {n_reads}; 0 wrong outputs; {len(driver.failed)} programs started again",
    )
