"""A bit is flipped in 15% of the bodies that are read: nothing wrong is ever written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import Clean, Proxy
from tests.reliability.extent import in_buckets, in_buckets_with_seeds
from tests.s3_server import KIND

SHARE = 0.15


@in_buckets_with_seeds(2)
def test_a_flipped_byte_never_reaches_an_output(
    clean_bucket: Clean, proxy: Proxy, tmp_path: Path, figure: Callable[..., None], seed
) -> None:
    place = clean_bucket.place
    place.clear()
    proxy.set_rules(seed=seed, share=SHARE, kinds=["flipped"])
    driver = place.driver(tmp_path)

    state = place.run(driver)

    n_reads = sum(entry["operation"] == "get" for entry in proxy.log())
    n_flipped = proxy.faults()["flipped"]
    assert n_flipped >= 10
    clean_bucket.check(state, tmp_path)
    figure(
        f"{proxy.scheme}://, seed {seed}: bodies of reads with a flipped byte",
        f"{n_flipped} of {n_reads}; 0 wrong outputs; {len(driver.failed)} programs started again",
    )


@in_buckets("s3")
@pytest.mark.skipif(KIND == "moto", reason="moto's server keeps an upload as it arrives")
def test_an_upload_that_is_damaged_on_its_way_is_refused_and_sent_again(
    clean_bucket: Clean, proxy: Proxy, tmp_path: Path, figure: Callable[..., None]
) -> None:
    place = clean_bucket.place
    place.clear()
    proxy.set_rules(seed=1, share=SHARE, kinds=["damaged"])
    driver = place.driver(tmp_path)

    state = place.run(driver)

    damaged = [entry for entry in proxy.log() if entry["fault"] == "damaged"]
    assert len(damaged) >= 10
    assert {entry["status"] for entry in damaged} == {400}
    clean_bucket.check(state, tmp_path)
    n_uploads = sum(entry["operation"] == "create" for entry in proxy.log())
    figure(
        "s3://, uploads with a flipped byte", f"{len(damaged)} of {n_uploads}; all refused; 0 wrong outputs"
    )
