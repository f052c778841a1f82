"""The group of `fibstack`, which answers errors, and its commands, which are imported when called."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from components.shared.command import EndingCommand
from components.shared.errors import ConfigError, FibstackError

_EXTRAS = {"kfp": "submit", "kubernetes": "submit", "neuroglancer": "view"}
"""Extra of `pip install fibstack[EXTRA]` that installs a module; every other module comes with `step`."""


class Program(EndingCommand, click.Group):
    """A group of commands that answers errors with one sentence and an exit code."""

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
                f"Install it with: pip install 'fibstack[{extra}]'",
                err=True,
            )
            ctx.exit(ConfigError.exit_code)
        except KeyboardInterrupt:
            ctx.exit(128 + signal.SIGINT)
        except FibstackError as error:
            with suppress(OSError):
                click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


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
