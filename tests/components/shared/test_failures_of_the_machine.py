"""What the machine refuses is a sentence with its remedy, and an exit code of failure."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click
import pytest

from commands.main import main
from components.shared.errors import TransientError, UserError, failure_of_files, failure_of_machine
from components.shared.storage.folder import FolderStore

FIBSTACK = [sys.executable, "-c", "from commands.main import main; main()"]
FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.ENOSPC, TransientError, "free space"),
        (errno.EDQUOT, TransientError, "quota"),
        (errno.EFBIG, UserError, "ulimit -f unlimited"),
        (errno.EMFILE, TransientError, "ulimit -n"),
        (errno.ENFILE, TransientError, "open files"),
        (errno.ENOMEM, TransientError, "memory"),
        (errno.EROFS, UserError, "read-only"),
        (errno.EACCES, UserError, "permission denied"),
    ],
    ids=errno.errorcode.get,
)
def test_what_the_system_refuses_has_its_own_remedy(number: int, kind: type[Exception], says: str) -> None:
    failure = failure_of_files("cannot write a/b", OSError(number, os.strerror(number)))
    assert type(failure) is kind
    assert str(failure).startswith("cannot write a/b: ")
    assert says in str(failure)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 8.00 GiB for an array with shape (32768, 32768)"),
        BrokenProcessPool("A process in the process pool was terminated abruptly"),
        RuntimeError("OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
    ],
    ids=str,
)
def test_want_of_memory_is_no_bug(error: Exception) -> None:
    failure = failure_of_machine(error)
    assert isinstance(failure, TransientError)
    assert "memory" in str(failure)
    assert "--jobs" in str(failure)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), FileNotFoundError(2, "x"), BrokenPipeError()]
)
def test_a_bug_stays_one(error: Exception) -> None:
    assert failure_of_machine(error) is None


def test_too_large_a_file_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    code = (
        "import resource, pathlib, sys\n"
        "from components.shared.storage.folder import FolderStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: FolderStore(pathlib.Path(sys.argv[1])).write('a', bytes(9999))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        f"UserError cannot write {tmp_path}/a: the file would be larger than may be."
    )
    assert list(FolderStore(tmp_path).list()) == []


def commands(group: click.Group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command and group of commands."""
    found = [words]
    for name, command in group.commands.items():
        real = command.load() if hasattr(command, "load") else command
        found += commands(real, (*words, name)) if isinstance(real, click.Group) else [(*words, name)]
    return found


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_output_that_does_not_arrive_is_a_failure(words: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [*FIBSTACK, *words, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 75
    assert done.stderr == "error: cannot write: the disk is full. Make free space and try again.\n"


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_errors_that_do_not_arrive_keep_their_exit_code() -> None:
    with FULL.open("w") as full:
        done = subprocess.run([*FIBSTACK, "verify", "/nowhere"], stdout=full, stderr=full, check=False)
    assert done.returncode == 65


PRINTING = """
import sys, click
from components.shared.command import StepCommand

@click.command(cls=StepCommand)
def main():
    print("not flushed until the end")
main()
"""


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_step_whose_output_does_not_arrive_is_no_success() -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert "the disk is full" in done.stderr
