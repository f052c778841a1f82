"""Advice after a failure on how `fibstack` is called, and arguments that are given in place of a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.errors import install_command
from tests.builders import cli

FIBSTACK = Path(sys.executable).with_name("fibstack")


def called(*words: str, **more: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"], **more}
    result = subprocess.run([FIBSTACK, *words], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 78, result.stderr
    return result.stderr


def test_a_remedy_can_be_followed_where_the_shell_finds_no_fibstack() -> None:
    said = called("run", "nowhere").splitlines()
    assert said == [
        "error: the slices must lie in a folder that exists; got nowhere. Check the path.",
        f"(fibstack is called {FIBSTACK} here)",
    ]
    by_make = called("run", "nowhere", MAKELEVEL="1")
    assert "flags go into ARGS, as ARGS='--set allow_gaps=true'" in by_make
    found = called("run", "nowhere", PATH=f"{FIBSTACK.parent}:/usr/bin:/bin")
    assert "is called" not in found


def test_a_stack_in_one_file_is_told_how_to_be_split(tmp_path: Path) -> None:
    (tmp_path / "a stack.mrc").write_bytes(b"x")
    result = cli("design", tmp_path / "a stack.mrc")
    assert result.exit_code == 78
    assert f"fibstack data split '{tmp_path}/a stack.mrc' '{tmp_path}/a stack-slices'" in result.stderr


def test_a_library_is_installed_from_the_clone_that_runs() -> None:
    root = Path(__file__).parents[2]
    assert install_command("step") == f"{sys.executable} -m pip install -e '{root}[step]'"


@pytest.mark.parametrize("configuration", ["absent.yaml", "absent.json"])
def test_a_configuration_that_is_not_there_is_named_as_one(configuration: str) -> None:
    assert f"cannot read the configuration {configuration}" in cli("run", configuration).stderr
