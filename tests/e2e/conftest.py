"""Runs of the compiled pipeline, as a user starts them, shared by the end-to-end tests."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from components.sample.truth import Truth
from components.shared.accuracy import Accuracy, compare
from components.shared.documents import Transforms

FIBSTACK = Path(sys.executable).with_name("fibstack")
FIGURES: list[str] = []


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture
def figure():
    """Call it with a line that the end of the test run prints."""
    return FIGURES.append


def fibstack(*args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the installed command; its output is shown when a test fails."""
    done = subprocess.run([FIBSTACK, *map(str, args)], capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="\n")
    if check:
        assert done.returncode == 0, (
            f"fibstack {args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


def said(accuracy: Accuracy) -> str:
    """The figures of an alignment in one line."""
    return (
        f"neighbour error mean {accuracy.mean_px:.3f}, p95 {accuracy.p95_px:.3f}, "
        f"max {accuracy.max_px:.3f} px; drift {accuracy.drift_px:.2f} px; {accuracy.n_slices} slices"
    )


@dataclass(frozen=True)
class Stack:
    """A folder of slices with its truth, and what a run made of it."""

    source: Path
    output: Path
    minz: int
    maxz: int

    @property
    def truth(self) -> Path:
        return self.source / "truth.json"

    def run(self, *args: object, output: Path | None = None, check: bool = True):
        return fibstack(
            "run",
            *("--source", self.source, "--image", "img.%05d.png", "--minz", self.minz, "--maxz", self.maxz),
            *("--output", output or self.output),
            *args,
            check=check,
        )

    def accuracy(self) -> Accuracy:
        """The alignment against the truth, every slice of it."""
        transforms = Transforms.model_validate_json((self.output / "process/transforms.json").read_bytes())
        truth = Truth.model_validate_json(self.truth.read_bytes())
        recovered = {s.z: np.array(s.matrix) for s in transforms.slices}
        true = {s.z: np.array(s.matrix) for s in truth.slices}
        return compare(recovered, true, truth.width_px, truth.height_px)

    def document(self, name: str) -> dict:
        return json.loads((self.output / "process" / name).read_text())


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def sample(run_folder) -> Stack:
    """The sample as `fibstack sample` makes it by default, aligned with every output."""
    source = run_folder / "sample"
    fibstack("sample", source)
    numbers = sorted(int(path.stem.split(".")[1]) for path in source.glob("img.*.png"))
    stack = Stack(source, run_folder / "sample-volume", numbers[0], numbers[-1])
    stack.run("--set", "raw_pyramid=true", "--set", "keep_tiles=true", "--jobs", 2)
    return stack


@pytest.fixture(scope="session")
def small_sample(run_folder) -> Stack:
    """A few small slices, for tests that run the pipeline several times; slice numbers start at 8."""
    source = run_folder / "small"
    fibstack("sample", source, "--size", "203x170", "--slices", 18, "--first", 8, "--seed", 5)
    return Stack(source, run_folder / "small-volume", 8, 25)
