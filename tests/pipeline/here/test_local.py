"""The runner of the compiled IR, on pipelines small enough to know the answer."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.shared.errors import ConfigError
from pipeline.compiled.ir import step_names
from pipeline.here import local
from tests.pipeline.toys import compiled, fail, items, note, notes, remember, run, say, times, uncached


@dsl.pipeline(name="loop")
def loop(folder: str, n: int, seconds: float = 0.0, greeting: str = "hello") -> None:
    said = uncached(say(text=greeting))
    listed = uncached(items(n=n))
    with dsl.ParallelFor(listed.outputs["out"], parallelism=3) as item:
        noted = uncached(note(folder=folder, name=item, text=said.outputs["out"], seconds=seconds))
    uncached(note(folder=f"{folder}/after", name="end", text="x", seconds=0.0)).after(noted)


def test_loop_over_a_runtime_list_uses_another_tasks_output(tmp_path: Path) -> None:
    failure, memory = run(loop, tmp_path, folder=str(tmp_path / "out"), n=4, greeting="a b {{$.inputs}}")
    assert failure is None
    after = tmp_path / "out/after"
    assert notes(after) == {"end": "x"}
    barrier = times(after)["end"][0]
    (after / "end").unlink()
    after.rmdir()
    assert notes(tmp_path / "out") == {f"{i}-{i}": "a b {{$.inputs}}" for i in range(4)}
    assert all(end <= barrier for _, end in times(tmp_path / "out").values())
    assert ("note", 4) in memory.expected


def test_empty_list_runs_nothing_and_goes_on(tmp_path: Path) -> None:
    failure, memory = run(loop, tmp_path, folder=str(tmp_path / "out"), n=0)
    assert failure is None
    assert notes(tmp_path / "out/after") == {"end": "x"}
    assert ("note", 0) in memory.expected
    assert [step for step, _ in memory.done if step == "note"] == []


def test_parallelism_is_exactly_that_of_the_loop(tmp_path: Path) -> None:
    failure, memory = run(loop, tmp_path, jobs=8, folder=str(tmp_path / "out"), n=7, seconds=0.4)
    assert failure is None
    assert memory.most_running == 3


def test_jobs_limit_everything(tmp_path: Path) -> None:
    failure, memory = run(loop, tmp_path, jobs=2, folder=str(tmp_path / "out"), n=5, seconds=0.2)
    assert failure is None
    assert memory.most_running == 2


def test_a_watcher_hears_that_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TOLD_EVERY_S", 0.2)
    failure, memory = run(loop, tmp_path, folder=str(tmp_path / "out"), n=1, seconds=1.0)
    assert failure is None
    assert memory.n_told >= 4


def test_steps_come_in_the_order_of_the_data(tmp_path: Path) -> None:
    assert step_names(compiled(loop)) == ["items", "say", "note", "note-2"]


def test_task_folder_holds_argv_log_and_outputs(tmp_path: Path) -> None:
    run(loop, tmp_path, folder=str(tmp_path / "out"), n=2)
    folder = tmp_path / "logs/note/0001"
    argv = json.loads((folder / "argv.json").read_text())
    assert argv[0] == sys.executable
    assert argv[-4:] == [str(tmp_path / "out"), "1-1", "hello", "0"]
    assert (folder / "log.txt").exists()
    assert (tmp_path / "logs/items/outputs/out").read_text() == '["0-0", "1-1"]'


def test_argv_json_runs_by_hand(tmp_path: Path) -> None:
    run(loop, tmp_path, folder=str(tmp_path / "out"), n=1)
    (tmp_path / "out/0-0").unlink()
    subprocess.run(json.loads((tmp_path / "logs/note/0000/argv.json").read_text()), check=True)
    assert (tmp_path / "out/0-0").exists()


@dsl.pipeline(name="inner")
def inner(folder: str, outer: str) -> None:
    with dsl.ParallelFor(["x", "y"]) as item:
        uncached(note(folder=f"{folder}/{outer}", name=item, text=f"{outer}+{item}", seconds=0.5))


@dsl.pipeline(name="nested")
def nested(folder: str, n: int = 2) -> None:
    listed = uncached(items(n=n))
    with dsl.ParallelFor(listed.outputs["out"]) as item:
        uncached(inner(folder=folder, outer=item))


def test_nested_loops_in_a_nested_pipeline(tmp_path: Path) -> None:
    failure, memory = run(nested, tmp_path, jobs=4, folder=str(tmp_path / "out"))
    assert failure is None
    assert notes(tmp_path / "out/1-1") == {"x": "1-1+x", "y": "1-1+y"}
    assert notes(tmp_path / "out/0-0") == {"x": "0-0+x", "y": "0-0+y"}
    assert [n for step, n in memory.expected if step == "inner/note"] == [2, 2]
    assert (tmp_path / "logs/inner/note/0001/0000/argv.json").exists()


@dsl.pipeline(name="guarded")
def guarded(folder: str, code: int, times: int, n: int = 1) -> None:
    with dsl.ExitHandler(uncached(remember(folder=folder))):
        listed = uncached(items(n=n))
        with dsl.ParallelFor(listed.outputs["out"]) as item:
            failing = uncached(fail(folder=f"{folder}/{item}", code=code, times=times))
            failing.set_retry(2, backoff_duration="0s", backoff_factor=2.0, backoff_max_duration="0s")
        uncached(note(folder=folder, name="dependent", text="x", seconds=0.0)).after(failing)


def status_in(folder):
    return json.loads((folder / "status").read_text().rpartition("|")[0].rpartition("|")[0])


def test_retries_then_success(tmp_path: Path) -> None:
    out = tmp_path / "out"
    failure, memory = run(guarded, tmp_path, folder=str(out), code=1, times=2)
    assert failure is None
    assert memory.retries == [("fail", 0.0), ("fail", 0.0)]
    assert status_in(out)["state"] == "SUCCEEDED"
    assert (out / "dependent").exists()


def test_transient_failure_is_given_up_in_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    failure, memory = run(guarded, tmp_path, folder=str(out), code=75, times=9)
    assert failure is not None
    assert failure.exit_code == 75
    assert len(list((out / "0-0").glob("try-*"))) == 3
    assert (tmp_path / "logs/fail/0000/log.txt").read_text().count("error:") == 3
    assert [f.step for f in memory.failures] == ["fail"]


@pytest.mark.parametrize("code", [65, 78])
def test_final_exit_codes_are_not_retried(tmp_path: Path, code: int) -> None:
    out = tmp_path / "out"
    failure, memory = run(guarded, tmp_path, folder=str(out), code=code, times=9)
    assert failure is not None
    assert (failure.step, failure.item, failure.exit_code) == ("fail", "0-0", code)
    assert failure.message == "the moon must be full; got half. Wait."
    assert failure.log == tmp_path / "logs/fail/0000/log.txt"
    assert memory.retries == []


def test_exit_task_hears_of_the_failure_and_dependents_do_not_start(tmp_path: Path) -> None:
    out = tmp_path / "out"
    failure, _ = run(guarded, tmp_path, folder=str(out), code=65, times=9)
    assert failure is not None
    status = status_in(out)
    assert status["state"] == "FAILED"
    assert status["pipelineTaskName"] == "exit-handler-1"
    assert status["error"] == {"code": 65, "message": failure.message}
    assert not (out / "dependent").exists()


def test_after_a_failure_running_tasks_finish_and_queued_ones_do_not_start(tmp_path: Path) -> None:
    @dsl.pipeline(name="mixed")
    def mixed(folder: str) -> None:
        with dsl.ExitHandler(uncached(remember(folder=folder))):
            uncached(fail(folder=f"{folder}-failing", code=65, times=1))
            with dsl.ParallelFor(["a", "b", "c", "d"], parallelism=1) as item:
                uncached(note(folder=folder, name=item, text=item, seconds=1.0))

    failure, memory = run(mixed, tmp_path, jobs=2, folder=str(tmp_path / "out"))
    assert failure is not None
    assert memory.done.count(("note", "a")) == 1
    assert notes(tmp_path / "out")["a"] == "a"
    assert ("note", "c") not in memory.done
    assert status_in(tmp_path / "out")["state"] == "FAILED"


@dsl.pipeline(name="three")
def three(folder: str) -> None:
    with dsl.ExitHandler(uncached(remember(folder=folder))):
        listed = uncached(items(n=2))
        slow = uncached(note(folder=folder, name="slow", text="x", seconds=0.3))
        with dsl.ParallelFor(listed.outputs["out"]) as item:
            uncached(say(text=item)).after(slow)


def test_iterations_are_expected_as_soon_as_they_are_listed(tmp_path: Path) -> None:
    _, memory = run(three, tmp_path, folder=str(tmp_path / "out"))
    assert ("say", 2) in memory.expected
    assert memory.events.index(("expect", "say")) < memory.events.index(("end", "note"))


def test_missing_output_is_the_steps_failure(tmp_path: Path) -> None:
    @dsl.container_component
    def forgetful(out: dsl.OutputPath(list)):
        return dsl.ContainerSpec(image="toy", command=["python", "-c", "pass"], args=[out])

    @dsl.pipeline(name="forget")
    def forget() -> None:
        listed = uncached(forgetful())
        with dsl.ParallelFor(listed.outputs["out"]) as item:
            uncached(note(folder="never", name=item, text="", seconds=0.0))

    failure, _ = run(forget, tmp_path)
    assert failure is not None
    assert "forgetful must write its outputs" in failure.message


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("SIGKILL", "often for want of memory; lower --jobs."),
        ("SIGABRT", "often for want of memory; lower --jobs."),
        ("SIGXFSZ", "ulimit -f unlimited"),
        ("SIGSEGV", "the task was ended by SIGSEGV."),
    ],
)
def test_signalled_task_says_so(tmp_path: Path, name: str, says: str) -> None:
    @dsl.container_component
    def killed():
        program = f"import os, signal; signal.signal(25, signal.SIG_DFL); os.kill(os.getpid(), signal.{name})"
        return dsl.ContainerSpec(image="toy", command=["python", "-c", program])

    @dsl.pipeline(name="kill")
    def kill() -> None:
        uncached(killed())

    failure, _ = run(kill, tmp_path)
    assert failure is not None
    assert failure.exit_code == -signal.Signals[name]
    assert name in failure.message
    assert says in failure.message


def test_command_that_does_not_exist(tmp_path: Path) -> None:
    @dsl.container_component
    def absent():
        return dsl.ContainerSpec(image="toy", command=["no-such-program-here"])

    @dsl.pipeline(name="lost")
    def lost() -> None:
        uncached(absent())

    failure, _ = run(lost, tmp_path)
    assert failure is not None
    assert failure.message == "cannot start 'no-such-program-here': No such file or directory."


def test_what_a_task_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    @dsl.container_component
    def litter(pid_file: str):
        program = (
            "import subprocess, sys; "
            "child = subprocess.Popen(['sleep', '60']); open(sys.argv[1], 'w').write(str(child.pid))"
        )
        return dsl.ContainerSpec(
            image="toy", command=["python", "-W", "ignore", "-c", program], args=[pid_file]
        )

    @dsl.pipeline(name="leave")
    def leave(pid_file: str) -> None:
        uncached(litter(pid_file=pid_file))

    failure, _ = run(leave, tmp_path, pid_file=str(tmp_path / "pid"))
    assert failure is None
    assert _gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("parameters", [{"folder": "x"}, {"folder": "x", "n": 1, "colour": "red"}])
def test_parameters_must_be_known_and_complete(tmp_path: Path, parameters: Any) -> None:
    with pytest.raises(ConfigError):
        run(loop, tmp_path, **parameters)
    assert not (tmp_path / "logs").exists()


STUBBORN = """
import os, signal, sys, time
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"{sys.argv[1]}/{sys.argv[2]}", "w").write(str(os.getpid()))
time.sleep(60)
"""


@dsl.container_component
def sleeper(folder: str, kind: str):
    return dsl.ContainerSpec(image="toy", command=["python", "-c", STUBBORN], args=[folder, kind])


@dsl.pipeline(name="sleepers")
def sleepers(folder: str) -> None:
    with dsl.ExitHandler(uncached(remember(folder=folder))), dsl.ParallelFor(["polite", "stubborn"]) as kind:
        uncached(sleeper(folder=folder, kind=kind)).set_retry(3)


RUN_SLEEPERS = """
import sys
from pathlib import Path
from pipeline.here import local
from pipeline.compiled.ir import read_pipeline
from tests.pipeline.toys import Memory
local.KILL_AFTER_S = 1.0
folder = Path(sys.argv[1])
pipeline = read_pipeline((folder / "pipeline.yaml").read_text())
try:
    local.run_pipeline(pipeline, {"folder": str(folder)}, folder / "logs", 2, Memory())
except local.RunInterruptedError as error:
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_every_child(tmp_path: Path, number: int, code: int) -> None:
    from pipeline.compiled.compile import compile_pipeline

    (tmp_path / "pipeline.yaml").write_text(compile_pipeline(sleepers))
    runner = subprocess.Popen(
        [sys.executable, "-c", RUN_SLEEPERS, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        start_new_session=True,
    )
    try:
        pids = [_wait_for_pid(tmp_path / kind) for kind in ("polite", "stubborn")]
        started = time.monotonic()
        runner.send_signal(number)
        assert runner.wait(timeout=20) == code
        assert time.monotonic() - started > 0.9, "the stubborn child has its grace"
        assert all(_gone(pid) for pid in pids)
        assert not (tmp_path / "status").exists(), "a stopped run reports nothing"
    finally:
        runner.kill()
        runner.wait()


def _wait_for_pid(path, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path.name} did not start")


def _gone(pid: int) -> bool:
    """Whether a process has ended; who adopts it may not have reaped it yet."""
    for _ in range(40):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
