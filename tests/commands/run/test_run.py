"""`fibstack run`, `resolve` and `compile`: what they print, and with which code they end.

The programs of the steps are fakes in the real pipeline.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

import pipeline.compiled.compile
from components.shared.errors import install_command
from components.shared.steps import steps_until
from pipeline.settings import Settings
from tests.builders import cli

Call = Callable[..., Result]
"""Calls `fibstack` with words."""

FAKE = """
import json, os, pathlib, sys
step, words = sys.argv[1], sys.argv[2:]
flags = dict(zip(words[::2], words[1::2]))
if os.environ.get("FAIL") == step:
    print("error: slice 7 must be readable; got zeros. Remove it.", file=sys.stderr)
    sys.exit(int(os.environ["FAIL_CODE"]))
for flag, path in flags.items():
    if flag.endswith("-out"):
        pathlib.Path(path).write_text("URI" if flag == "--process-uri-out" else '["0-3", "4-5"]')
if step == "report":
    process = pathlib.Path(flags["--output"], "process")
    process.mkdir(parents=True, exist_ok=True)
    status = json.loads(flags["--status"])
    (process / "run.json").write_text(json.dumps({"summary": ["2 of 2 blocks", status["state"]]}))
    if "NO_PAGE" not in os.environ:
        (process / "report").mkdir(exist_ok=True)
        (process / "report/index.html").write_text("how it went")
"""


@pytest.fixture
def fake_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pipeline, with a fake in place of every step's program and no pauses."""
    settings = Settings()
    ir = next(yaml.safe_load_all(pipeline.compiled.compile.compile_ir(settings)))
    for executor in ir["deploymentSpec"]["executors"].values():
        step = executor["container"]["command"][-1].split(".")[1]
        executor["container"]["command"] = ["python", "-c", FAKE, step]
    text = yaml.safe_dump(ir).replace("backoffDuration: 10s", "backoffDuration: 0s")
    monkeypatch.setattr(pipeline.compiled.compile, "compile_ir", lambda _: text)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls `fibstack` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return cli


RUN = ["run", "--source", "in", "--image", "img.%05d.png", "--minz", 0, "--maxz", 5, "--output", "out"]


def test_a_good_run(call: Call, tmp_path: Path, fake_programs: None) -> None:
    result = call(*RUN, "--jobs", 2)
    assert result.exit_code == 0, result.output
    volume = tmp_path / "out"
    assert result.stdout.splitlines() == [
        f"Volume: {volume}/neuroglancer/jpeg",
        "  2 of 2 blocks",
        "  SUCCEEDED",
        f"Report: {volume}/process/report/index.html",
        f"Look at it: fibstack view {volume}",
    ]
    for step in [*steps_until("tile"), "pyramid-3"]:
        assert any(line.startswith(f"{step} ") for line in result.stderr.splitlines()), step
    assert "peak MiB" in result.stderr


def test_logs_lie_in_the_state_folder(call: Call, tmp_path: Path, fake_programs: None) -> None:
    call(*RUN, "--set", "id=fib1", "--set", "clip_limit=0.5")
    (folder,) = (tmp_path / "state/fibstack/runs").iterdir()
    assert folder.name.endswith("-fib1")
    argv = json.loads((folder / "plan/argv.json").read_text())
    assert argv[argv.index("--clip-limit") + 1] == "0.5"
    assert argv[argv.index("--source") + 1] == str(tmp_path / "in")
    assert json.loads((folder / "tile/0001/argv.json").read_text())[-1] == "4-5"
    assert json.loads((folder / "config.json").read_text())["id"] == "fib1"


def test_log_dir(call: Call, tmp_path: Path, fake_programs: None) -> None:
    call(*RUN, "--log-dir", "logs")
    call(*RUN, "--log-dir", "logs")
    assert len(list((tmp_path / "logs").iterdir())) == 2
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("code", "expected"), [(65, 65), (78, 78), (75, 75), (3, 1)])
def test_a_failure_ends_with_its_sentence_log_and_code(
    call: Call, tmp_path: Path, fake_programs: None, monkeypatch: pytest.MonkeyPatch, code: int, expected: int
) -> None:
    monkeypatch.setenv("FAIL", "compose")
    monkeypatch.setenv("FAIL_CODE", str(code))
    result = call(*RUN)
    assert result.exit_code == expected
    last = result.stderr.splitlines()[-3:]
    assert last[0] == "error: slice 7 must be readable; got zeros. Remove it."
    assert last[1].endswith("/compose/log.txt")
    assert Path(last[1].removeprefix("Log: ")).exists()
    assert last[2] == f"Report: {tmp_path}/out/process/report/index.html"
    n_said = result.stderr.count("slice 7 must be readable")
    assert n_said == (1 if code in (65, 78) else 4), "each try that is repeated says why"
    assert "compose failed.\n" in result.stderr
    assert "Volume" not in result.stdout
    assert json.loads((tmp_path / "out/process/run.json").read_text())["summary"][1] == "FAILED"


def test_the_page_of_an_earlier_run_is_not_that_of_a_failure(
    call: Call, fake_programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*RUN).exit_code == 0
    monkeypatch.setenv("FAIL", "plan")
    monkeypatch.setenv("FAIL_CODE", "65")
    assert "Report: " in call(*RUN).stderr
    monkeypatch.setenv("NO_PAGE", "1")
    assert "Report: " not in call(*RUN).stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--set", "clip_limit=7"], "'clip_limit'"),
        (["--set", "clip=1"], "unknown key 'clip'"),
        (["--minz", 9], "minz must not exceed maxz"),
        (["--maxz", "many"], "'maxz': input should be a valid integer"),
        (["--image", "../%d.png"], "'image'"),
        (["--settings", "absent.toml"], "settings"),
    ],
)
def test_bad_configuration_is_one_sentence_and_writes_nothing(
    call: Call, tmp_path: Path, words: list[str], part: str
) -> None:
    result = call(*RUN, *words)
    assert result.exit_code == 78
    assert result.stderr.startswith("error: ")
    assert part in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_run_json_may_be_missing_or_odd(call: Call, tmp_path: Path, fake_programs: None) -> None:
    from commands.run.main import _report_lines

    assert _report_lines(str(tmp_path)) == []
    (tmp_path / "process").mkdir()
    for text in ("[]", "{}", "not json", '{"summary": "x"}'):
        (tmp_path / "process/run.json").write_text(text)
        assert _report_lines(str(tmp_path)) == []


def test_run_without_anything_says_what_it_needs(call: Call) -> None:
    result = call("run")
    assert result.exit_code == 78
    assert "CONFIG.yaml" in result.stderr


def test_compile_to_stdout_and_file(call: Call, tmp_path: Path) -> None:
    printed = call("compile")
    assert printed.stdout.startswith("# PIPELINE DEFINITION\n# Name: align-stack")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "s.toml").write_text('registry = "gcr.io/em"\n')
    call("compile", "--settings", "s.toml", "--output", "p.yaml")
    assert "image: gcr.io/em/tile:" in (tmp_path / "p.yaml").read_text()


def test_compile_writes_the_manifest_in_the_repository(call: Call, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    result = call("compile")
    assert result.stdout == ""
    assert (tmp_path / "manifests/align-stack.kfp.yaml").read_text() == call(
        "compile", "--output", "-"
    ).stdout


def test_compile_as_objects_of_kubernetes(call: Call, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    printed = call("compile", "--as", "manifest").stdout
    assert [o["kind"] for o in yaml.safe_load_all(printed)] == ["Pipeline", "PipelineVersion"]
    assert list((tmp_path / "manifests").iterdir()) == []
    result = call("compile", "--as", "manifest", "--target", "argo")
    assert result.exit_code == 78
    assert "--as manifest must go with --target kfp; got --target argo. Remove it." in result.output


def test_compile_to_a_place_that_cannot_be_written(call: Call) -> None:
    result = call("compile", "--output", "absent/p.yaml")
    assert result.exit_code == 78
    assert "absent/p.yaml" in result.stderr


def test_version_and_help(call: Call) -> None:
    assert "fibstack, version" in call("--version").stdout
    help_page = call("--help").stdout
    assert {"run", "compile", "sample", "score", "view"} <= set(help_page.split())


BARE = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Bare())
from commands.main import main
main(ARGS)
"""


def bare(blocked: set[str], *words: str) -> subprocess.CompletedProcess[str]:
    code = BARE.replace("BLOCKED", repr(set(blocked))).replace("ARGS", repr([str(w) for w in words]))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


STEP_LIBRARIES = {"numpy", "cv2", "scipy", "skimage", "tensorstore", "google", "google_crc32c"}


@pytest.mark.parametrize("command", ["", "compile", "submit", "status", "logs", "run", "resolve", "doctor"])
def test_help_needs_neither_kfp_nor_numpy(command: str) -> None:
    result = bare(STEP_LIBRARIES | {"kfp", "neuroglancer"}, *filter(None, [command]), "--help")
    assert result.returncode == 0, result.stderr


def test_compiling_needs_no_library_of_the_steps() -> None:
    result = bare(STEP_LIBRARIES - {"google"} | {"google_crc32c"}, "compile", "--output", "-")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("# PIPELINE DEFINITION")


@pytest.mark.parametrize(
    ("blocked", "words", "extra"),
    [
        ({"kfp"}, ["compile", "--output", "-"], "submit"),
        ({"numpy", "cv2"}, ["sample", "somewhere"], "step"),
        (
            {"tensorstore"},
            ["run", "--source", "s", "--image", "%d.png", "--minz", "0", "--maxz", "1", "--output", "o"],
            "step",
        ),
    ],
)
def test_missing_library_is_one_sentence(blocked: set[str], words: list[str], extra: str) -> None:
    result = bare(blocked, *words)
    assert result.returncode == 78
    assert f"Install it with: {install_command(extra)}\n" in result.stderr
    assert "Traceback" not in result.stderr


def test_interrupt_says_how_to_go_on(
    call: Call, fake_programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from pipeline.here import local

    def interrupted(*_: object) -> None:
        raise local.RunInterruptedError(signal.SIGINT)

    monkeypatch.setattr(local, "run_pipeline", interrupted)
    result = call(*RUN, "--from", "align", "--set", "id=a", "--set", "email=Ada <a@b>")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        "Stopped. Go on with: fibstack run --source in --image img.%05d.png --minz 0 --maxz 5 --output out "
        "--set id=a --set 'email=Ada <a@b>'"
    )


def test_commands_to_copy_work_where_the_program_is_not_on_the_path(
    call: Call, fake_programs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/fibstack", "run"])
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert call(*RUN).stdout.splitlines()[-1] == f"Look at it: .venv/bin/fibstack view {tmp_path}/out"
    way_on = call(*RUN, "--until", "plan").stdout.splitlines()[-1]
    assert way_on.startswith("Go on with: .venv/bin/fibstack run --source in")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/fibstack")
    assert call(*RUN).stdout.splitlines()[-1] == f"Look at it: fibstack view {tmp_path}/out"


@pytest.mark.parametrize("last", steps_until("pyramid"))
def test_until_stops_before_the_next_step_and_says_so(
    call: Call, fake_programs: None, tmp_path: Path, last: str
) -> None:
    result = call(*RUN, "--until", last, "--log-dir", "logs")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"Stopped after {last}, as --until asks. The volume is NOT complete.",
        f"Go on with: fibstack {' '.join(map(str, RUN))} --log-dir logs",
    ]
    (folder,) = (tmp_path / "logs").iterdir()
    ran = {path.name.partition("-")[0] for path in folder.iterdir() if path.is_dir()}
    assert ran == set(steps_until(last))
    assert not (tmp_path / "out").exists(), "the report was made"


def test_a_failure_before_the_end_of_a_part_is_reported(
    call: Call, fake_programs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAIL", "align")
    monkeypatch.setenv("FAIL_CODE", "65")
    result = call(*RUN, "--until", "compose")
    assert result.exit_code == 65
    assert json.loads((tmp_path / "out/process/run.json").read_text())["summary"][1] == "FAILED"


def test_from_after_until_is_one_sentence(call: Call, tmp_path: Path) -> None:
    result = call(*RUN, "--from", "tile", "--until", "align")
    assert result.exit_code == 78
    assert result.stderr == (
        "error: --from must not name a later step than --until; got --from tile --until align. "
        "Change one of them.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_from_makes_the_records_of_later_steps_absent(
    call: Call, fake_programs: None, tmp_path: Path
) -> None:
    process = tmp_path / "out/process"
    kept, *gone = [process / f"records/{unit}.json" for unit in ("align/0-3", "tile/0", "pyramid/0/1")]
    for record in (kept, *gone):
        record.parent.mkdir(parents=True)
        record.write_text("a record")
    (process / "plan.json").write_text("the plan")
    result = call(*RUN, "--from", "tile")
    assert result.exit_code == 0, result.output
    assert "tile and all later steps are done again: 2 parts." in result.stderr
    assert kept.exists()
    assert not any(record.exists() for record in gone)


def test_a_plan_that_is_refused_costs_no_record(
    call: Call, fake_programs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAIL", "plan")
    monkeypatch.setenv("FAIL_CODE", "65")
    record = tmp_path / "out/process/records/tile/0.json"
    record.parent.mkdir(parents=True)
    record.write_text("a record")
    result = call(*RUN, "--from", "align")
    assert result.exit_code == 65
    assert record.exists()
    assert result.stderr.splitlines()[-1].startswith("Go on with: fibstack run --source in")


def test_resolve_and_run_have_the_same_runners(
    call: Call, fake_programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands import resolve as resolve_cli
    from commands.run import main as run_cli

    used = []
    monkeypatch.setattr(run_cli, "run_here", lambda *given: used.append(type(given[3]).__name__))
    monkeypatch.setattr(run_cli, "_containers", lambda *_: 0)
    monkeypatch.setattr(resolve_cli, "resolved_config", lambda *_: None)
    call(*RUN, "--runner", "docker")
    call("resolve", "out", "--runner", "docker")
    call("resolve", "out", "--until", "compose")
    assert used == ["int", "int", "Processes"]
