"""A small run against the real service: `make live BUCKET=gs://...` or `s3://...`, with your own login."""

from collections.abc import Callable
from pathlib import Path

from tests.reliability.conftest import Clean, Place, volume_in


def test_a_live_run_writes_what_a_run_in_a_folder_writes(
    live_uri: str, clean_file: Clean, tmp_path: Path, figure: Callable[..., None]
) -> None:
    place = Place(f"{live_uri}/source", f"{live_uri}/output", {})
    place.write_slices()
    driver = place.driver(tmp_path / "first", hurry=False)
    state = place.run(driver)
    assert not driver.failed
    assert volume_in(state, place.output) == volume_in(clean_file.state, clean_file.place.output)
    again = place.driver(tmp_path / "second", hurry=False)
    assert place.run(again) == state
    assert {name.split()[0] for name in again.ran} == {"plan", "compose", "report"}
    figure("a run against the real service", f"{len(state)} objects, the same volume as in a folder")
