"""A user's mistake is one sentence and an exit code."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from components.shared import command
from components.shared.command import REASON_BYTES, StepCommand, write_parameter
from components.shared.errors import MORE_MEMORY, UserError

PROGRAM = """
import sys
import time

import click

from components.shared.command import StepCommand
from components.shared.errors import ConfigError, TransientError, UserError

FAILURES = {"user": UserError, "transient": TransientError, "config": ConfigError, "bug": RuntimeError}


@click.command(cls=StepCommand)
@click.option("--mode", required=True)
def main(mode: str) -> None:
    if mode == "wait":
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("cleaned", flush=True)
    if mode in FAILURES:
        raise FAILURES[mode]("z must be at most 5; got 7 in stack. Change maxz.")
    click.echo("done")


main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_success_is_zero() -> None:
    result = run("--mode", "fine")
    assert (result.returncode, result.stdout) == (0, "done\n")


@pytest.mark.parametrize(("mode", "code"), [("user", 65), ("transient", 75), ("config", 78)])
def test_an_error_for_the_user_is_a_sentence_with_its_code(mode: str, code: int) -> None:
    result = run("--mode", mode)
    assert result.returncode == code
    assert result.stderr == "error: z must be at most 5; got 7 in stack. Change maxz.\n"
    assert result.stdout == ""


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    result = run("--mode", "bug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_a_wrong_flag_is_no_traceback() -> None:
    result = run("--mod", "x")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "--mode" in result.stderr


@pytest.fixture
def termination_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that Kubernetes mounts into a pod; it is there, with what an earlier program left."""
    file = tmp_path / "termination-log"
    file.write_text("what was there before")
    monkeypatch.setattr(command, "TERMINATION_LOG", file)
    return file


def fail_with(error: BaseException | None) -> int:
    """The exit code of a step whose program raises an error."""

    @click.command(cls=StepCommand)
    @click.option("--level", type=int)
    def step(level: int | None) -> None:
        if error is not None:
            raise error

    return CliRunner().invoke(step, []).exit_code


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (
            UserError("no slice matches 'i.%05d.png'.\nChange it."),
            65,
            "no slice matches 'i.%05d.png'. Change it.",
        ),
        (OSError(errno.ENOSPC, "full"), 75, "cannot write: the disk is full. Make free space and try again."),
        (
            KeyError("z"),
            1,
            "a mistake of the program, KeyError: 'z'. Its log tells where.",
        ),
        (click.UsageError("no such option"), 2, "no such option"),
    ],
    ids=["bad input", "machine", "bug", "usage"],
)
def test_the_reason_of_a_failure_is_the_pods_termination_message(
    termination_log: Path, error: Exception, code: int, reason: str
) -> None:
    assert fail_with(error) == code
    assert termination_log.read_text() == reason


def test_a_wrong_argument_is_a_termination_message_too(termination_log: Path) -> None:
    @click.command(cls=StepCommand)
    @click.option("--level", type=int)
    def step(level: int) -> None:
        pass

    assert CliRunner().invoke(step, ["--level", "x"]).exit_code == 2
    assert "'x' is not a valid integer" in termination_log.read_text()


def test_a_name_that_is_no_text_is_escaped(termination_log: Path) -> None:
    assert fail_with(UserError("no slice \udcff.png")) == 65
    assert termination_log.read_text() == "no slice \\udcff.png"


def test_success_leaves_the_termination_message_alone(termination_log: Path) -> None:
    assert fail_with(None) == 0
    assert termination_log.read_text() == "what was there before"


def test_a_termination_message_is_bounded_and_whole_characters(termination_log: Path) -> None:
    assert fail_with(UserError("é" * 5000)) == 65
    written = termination_log.read_bytes()
    assert REASON_BYTES - 2 <= len(written) <= REASON_BYTES
    begin, end = written.decode().split(" ... ")
    assert set(begin + end) == {"é"}


@pytest.mark.parametrize("n", [REASON_BYTES, 5000])
def test_a_termination_message_is_cut_in_its_value_and_not_in_its_remedy(
    termination_log: Path, n: int
) -> None:
    """Argo gives a retry more memory by the words of the remedy."""
    remedy = f". {MORE_MEMORY}."
    assert fail_with(UserError(f"there must be more memory; got: {'v' * n}{remedy}")) == 65
    written = termination_log.read_text()
    assert len(written) == REASON_BYTES
    assert written.startswith("there must be more memory; got: vvv")
    assert written.endswith(f"vvv{remedy}")


def test_a_termination_message_of_just_the_limit_is_whole(termination_log: Path) -> None:
    assert fail_with(UserError("v" * REASON_BYTES)) == 65
    assert termination_log.read_text() == "v" * REASON_BYTES


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/dev/full"), lambda path: None])
def test_a_termination_message_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    place = tmp_path / "elsewhere"
    make(place)
    monkeypatch.setattr(command, "TERMINATION_LOG", place)
    there = place.exists()
    assert fail_with(UserError("bad")) == 65
    assert place.exists() == there


NATIVE = """
import ctypes
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import click

from components.shared.command import StepCommand


def busy() -> None:
    os.write(1, b"ready\\n")  # in one piece, whatever the other thread writes
    ctypes.CDLL(None).usleep(60_000_000)  # as a decoder, a solver or a storage library: deaf to signals


@click.command(cls=StepCommand)
@click.option("--where", required=True)
def main(where: str) -> None:
    if where == "main":
        busy()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: busy(), range(8)))


main()
"""


@pytest.mark.parametrize("where", ["main", "threads"])
def test_a_step_in_native_code_ends_in_time(where: str) -> None:
    step = subprocess.Popen([sys.executable, "-c", NATIVE, "--where", where], stdout=subprocess.PIPE)
    assert step.stdout is not None
    assert step.stdout.readline() == b"ready\n"
    told = time.monotonic()
    step.send_signal(signal.SIGTERM)
    step.communicate(timeout=20)
    assert step.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - told < 10


WORKERS = """
import time
from concurrent.futures import ProcessPoolExecutor

import click

from components.shared.command import StepCommand


def busy(_: int) -> None:
    print("ready", flush=True)
    time.sleep(60)


@click.command(cls=StepCommand)
def main() -> None:
    with ProcessPoolExecutor(1) as pool:
        list(pool.map(busy, range(2)))


main()
"""


def test_worker_processes_end_too() -> None:
    step = subprocess.Popen([sys.executable, "-c", WORKERS], stdout=subprocess.PIPE)
    assert step.stdout is not None
    assert step.stdout.readline() == b"ready\n"
    step.send_signal(signal.SIGTERM)
    step.communicate(timeout=30)  # the output ends when the last process that holds it has ended
    assert step.returncode == 128 + signal.SIGTERM


def test_a_step_that_is_told_to_end_cleans_up() -> None:
    step = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--mode", "wait"], stdout=subprocess.PIPE, text=True
    )
    assert step.stdout is not None
    assert step.stdout.readline() == "ready\n"
    step.send_signal(signal.SIGTERM)
    rest, _ = step.communicate(timeout=20)
    assert rest == "cleaned\n"
    assert step.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("value", "text"),
    [("gs://a/b", "gs://a/b"), ("", ""), (["0-3", "4-7"], '["0-3","4-7"]'), ([], "[]"), (("é",), None)],
)
def test_an_output_parameter_is_what_kfp_collects(
    tmp_path: Path, value: str | list[str], text: str | None
) -> None:
    path = tmp_path / "outputs" / "units" / "data"
    write_parameter(str(path), value)
    written = path.read_text()
    assert not written.endswith("\n")
    if text is not None:
        assert written == text
    if not isinstance(value, str):
        assert json.loads(written) == list(value)
