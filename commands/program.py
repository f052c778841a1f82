"""The group of `fibstack`, which answers errors, and its commands, which are imported when called."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from components.shared.command import EndingCommand
from components.shared.errors import ConfigError, FibstackError, install_command

_EXTRAS = {"kfp": "submit", "kubernetes": "submit", "neuroglancer": "view"}
"""Extra of `pip install fibstack[EXTRA]` that installs a module; every other module comes with `step`."""


_TOLD_CODES = frozenset({error.exit_code for error in FibstackError.__subclasses__()})
"""Exit codes of failures that are told with a remedy."""


class Program(EndingCommand, click.Group):
    """A group of commands that answers errors with one sentence and an exit code."""

    def main(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().main(*args, **settings)
        except SystemExit as ending:
            if ending.code in _TOLD_CODES and called_as() != "fibstack":
                with suppress(OSError):
                    click.echo(_how_it_is_called(), err=True)
            raise

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module in ("", "commands", "pipeline", "components"):
                raise
            extra = _EXTRAS.get(module, "step")
            click.echo(
                f"error: 'fibstack {ctx.invoked_subcommand}' needs the package {module}. "
                f"Install it with: {install_command(extra)}",
                err=True,
            )
            ctx.exit(ConfigError.exit_code)
        except KeyboardInterrupt:
            ctx.exit(128 + signal.SIGINT)
        except FibstackError as error:
            with suppress(OSError):
                click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


def called_as() -> str:
    """The word that calls this program: its path where a shell would not find it, as after `make run`."""
    by = sys.argv[0]
    return by if Path(by).name == "fibstack" and shutil.which("fibstack") is None else "fibstack"


def _how_it_is_called() -> str:
    """How to follow a remedy from where one is: by the path of the program, or through make."""
    said = f"(fibstack is called {shlex.quote(called_as())} here"
    if "MAKELEVEL" in os.environ:  # GNU make sets it for what it starts
        said += "; with make, flags go into ARGS, as ARGS='--set allow_gaps=true'"
    return f"{said})"


class LazyCommand(click.Command):
    """A command that is imported when it is called, so that the others start without its libraries."""

    def __init__(self, name: str, load: Callable[[], click.Command], short_help: str) -> None:
        super().__init__(name, short_help=short_help, help=short_help)
        self.load = load
        """Imports the real command and returns it."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> click.Context:
        """Hand over to the real command."""
        return self.load().make_context(info_name, args, parent=parent, **extra)
