"""The benchmark of the whole pipeline runs it, on slices like real ones, and tells its growths right."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import numpy as np
import simplejpeg
from isal import igzip

from benchmarks.end_to_end.__main__ import QUICK, main
from benchmarks.end_to_end.measure import Measured, StepUse
from benchmarks.end_to_end.sampling.sitecustomize import LIBRARIES, LOADING, place_of
from benchmarks.end_to_end.table import as_markdown
from benchmarks.end_to_end.texture import microscope
from commands.sample.walk import make_truth
from components.shared.steps import STEPS
from tests.builders import invoke


def test_whole_pipeline_is_measured_once(tmp_path: Path) -> None:
    done = invoke(main, "--quick", "--out", tmp_path)
    found = Measured.model_validate_json((tmp_path / f"{QUICK[0]}.json").read_bytes())
    assert tuple(found.steps) == tuple(STEPS)
    for use in found.steps.values():
        assert use.n_tasks == 1
        assert use.cpu_s > 0.1
        assert use.peak_mib > 50
        assert 0.1 < use.start_cpu_s < use.cpu_s + 0.3
    assert found.error_px < 0.5
    assert f"| **all** | {found.cpu_s:.1f} |  |  |" in done.stdout

    again = invoke(main, "--quick", "--out", tmp_path)
    assert again.stdout == done.stdout
    assert "running" not in again.stderr


def test_parts_of_steps_are_sampled(tmp_path: Path) -> None:
    done = invoke(main, "--quick", "--parts", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    found = Measured.model_validate_json((tmp_path / f"{QUICK[0]}.json").read_bytes())
    for step, use in found.steps.items():
        assert 0.6 * use.cpu_s < sum(use.parts_s.values()) <= use.cpu_s, step  # without Python's own end
        assert 0.2 < use.parts_s["start"] < use.cpu_s
    # Of so small a stack the parts of tile and pyramid may last less than a sample; align's do not.
    assert {"features", "matching", "refinement"} & found.steps["align"].parts_s.keys()
    assert "### Parts of 6 x 128^2" in done.stdout
    assert "| align |" in done.stdout.partition("### Parts")[2]


def test_time_counts_for_the_module_that_a_thread_is_at() -> None:
    here = "tests/benchmarks/test_end_to_end_benchmark.py"
    assert place_of(sys._getframe()) == here
    assert place_of(next(filter(lambda _: True, map(sys._getframe, [0])))) == here  # in a library
    with ThreadPoolExecutor(1) as pool:
        assert place_of(pool.submit(sys._getframe).result()) == LIBRARIES
    assert place_of(None) == LOADING
    code = compile("import sys; frame = sys._getframe()", "<frozen importlib._bootstrap>", "exec")
    names: dict[str, FrameType] = {}
    exec(code, names)
    assert place_of(names["frame"]) == LOADING


def test_stacks_are_named_by_slices_and_side() -> None:
    done = invoke(main, "--stack", "16")
    assert done.exit_code == 2
    assert "must be SLICESxSIDE, such as 16x2048; got '16'" in done.output


def test_texture_is_as_hard_as_real_slices_and_changes_slowly() -> None:
    matrices = [np.array(entry.matrix) for entry in make_truth(0, (256, 256), range(64), {}).slices]
    looking = microscope(256, matrices)
    still = matrices[0]
    slices = np.stack([looking.picture(z, still) for z in range(64)])
    chunk = np.ascontiguousarray(slices[:, :64, :64])
    jpeg = simplejpeg.encode_jpeg(chunk.reshape(-1, 64, 1), 80, "GRAY", "Gray")
    assert 0.18 <= len(jpeg) / chunk.size <= 0.24
    assert 0.76 <= len(igzip.compress(chunk.tobytes(), 1)) / chunk.size <= 0.86
    near, far = (np.corrcoef(slices[0].ravel(), slices[z].ravel())[0, 1] for z in (1, 20))
    assert far + 0.3 < near < 0.9


def stack(n_slices: int, side_px: int, cpu_s: float) -> Measured:
    uses = {
        "plan": StepUse(n_tasks=1, cpu_s=1.5, peak_mib=100, start_cpu_s=1.2),
        "tile": StepUse(n_tasks=n_slices // 8, cpu_s=cpu_s, peak_mib=200 + side_px / 10, start_cpu_s=0.25),
    }
    return Measured(n_slices=n_slices, side_px=side_px, steps=uses, wall_s=60, error_px=0.25)


def test_growth_and_cost() -> None:
    text = as_markdown([stack(16, 8000, 40.5), stack(64, 2000, 12.0), stack(16, 2000, 3)])
    rows = [line for line in text.splitlines() if line.startswith("| tile")]
    assert rows[0] == "| tile | 3.0 | 12.0 | 40.5 | 1.00 | 1.00 |"
    assert rows[1] == "| tile | 47 | 47 | 40 |"
    assert rows[2] == "| tile | 400 (2) | 400 (8) | 1000 (2) |"
    assert "| plan | 1.5 | 1.5 | 1.5 |  |  |" in text
    assert "- 64 x 2000^2: 15 core hours a TB, 0.3 dollars on spot machines" in text


def test_one_stack_has_no_growth() -> None:
    assert "| tile | 10.0 |  |  |" in as_markdown([stack(16, 2000, 10)])
