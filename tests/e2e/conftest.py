"""Stacks that the end-to-end tests share."""

from pathlib import Path

import pytest

from tests.e2e.stack import Stack, fibstack


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def sample(run_folder: Path) -> Stack:
    """The sample as `fibstack sample` makes it by default, aligned with every output."""
    source = run_folder / "sample"
    fibstack("sample", source)
    numbers = sorted(int(path.stem.split(".")[1]) for path in source.glob("img.*.png"))
    stack = Stack(source, run_folder / "sample-volume", numbers[0], numbers[-1])
    stack.run("--set", "raw_pyramid=true", "--set", "keep_tiles=true", "--jobs", 2)
    return stack


@pytest.fixture(scope="session")
def small_sample(run_folder: Path) -> Stack:
    """A few small slices, for tests that run the pipeline several times; slice numbers start at 8."""
    source = run_folder / "small"
    fibstack("sample", source, "--size", "203x170", "--slices", 18, "--first", 8, "--seed", 5)
    return Stack(source, run_folder / "small-volume", 8, 25)
