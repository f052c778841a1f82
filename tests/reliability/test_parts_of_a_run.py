"""`fibstack run` in parts: Ctrl-C in each step, `--until` and `--from`; the end is always the same."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.reliability import tiny_stack
from tests.reliability.conftest import Place
from tests.reliability.programs import STEPS
from tests.reliability.terminal import fibstack


@dataclass(frozen=True)
class Finished:
    """A run that was left alone."""

    place: Place
    folder: Path
    state: dict[str, str]

    def run(self, *words: str, held: str = "") -> tuple[int, str]:
        return _run(self.folder, *words, held=held)


def _run(folder: Path, *words: str, held: str = "") -> tuple[int, str]:
    logs = str(folder / "logs")
    return fibstack(["run", str(folder / "run.yaml"), "--log-dir", logs, "--jobs", "2", *words], held, folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("parts")
    place = Place(str(folder / "source"), str(folder / "output"), {})
    place.write_slices()
    keys = ("image", "minz", "maxz", "neighbours")
    config = {"source": place.source, "output": place.output, **{key: tiny_stack.CONFIG[key] for key in keys}}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    exit_code, shown = _run(folder)
    assert exit_code == 0, shown
    return Finished(place, folder, place.state())


def test_ctrl_c_in_each_step_and_the_same_command_again(finished) -> None:
    finished.place.clear()
    for step in STEPS:
        exit_code, shown = finished.run(held=step)
        assert exit_code == 128 + signal.SIGINT, shown
        assert f"Stopped. Go on with: fibstack run {finished.folder}/run.yaml" in shown
        assert "Traceback" not in shown
    exit_code, shown = finished.run()
    assert exit_code == 0, shown
    assert finished.place.state() == finished.state


def test_later_steps_again_in_two_parts(finished) -> None:
    matched = _when_written(finished.place, "process/records/align")
    written = _when_written(finished.place, "process/records/pyramid")

    exit_code, shown = finished.run("--from", "tile", "--until", "tile")
    assert exit_code == 0, shown
    (way_on,) = re.findall("Go on with: (.*?)\r", shown)
    assert "--from" not in way_on
    assert "--until" not in way_on
    assert re.search(r"tile +2 of 2 +100%  \S+/output/tmp\r", shown)
    assert re.search(r"pyramid +0 of 1 +0%\r", shown)
    assert "published by an earlier run: " in shown
    assert "tile and all later steps are done again: 3 parts." in shown
    left = finished.place.state()
    assert not _when_written(finished.place, "process/records/pyramid")
    assert {key: left[key] for key in finished.state if "/records/pyramid/" not in key} == {
        key: value for key, value in finished.state.items() if "/records/pyramid/" not in key
    }, "what was published stays"
    assert any("/tmp/aligned/" in key for key in left)

    exit_code, shown = finished.run()
    assert exit_code == 0, shown
    assert finished.place.state() == finished.state
    assert _when_written(finished.place, "process/records/align") == matched
    assert _when_written(finished.place, "process/records/pyramid").keys() == written.keys()


def test_another_stack_costs_no_record(finished) -> None:
    exit_code, shown = finished.run("--from", "align", "--minz", "1")
    assert exit_code == 65, shown
    assert "an output must hold one stack" in shown
    left = {key for key in finished.place.state() if not key.endswith("/process/refused.json")}
    assert left == finished.state.keys()


def _when_written(place: Place, folder: str) -> dict[str, int]:
    files = Path(place.output, folder).rglob("*.json")
    return {str(file): file.stat().st_mtime_ns for file in files}
