"""Call a step's program as its pod would, in this process."""

from __future__ import annotations

import importlib


def run(step: str, *flags: object) -> None:
    """Run `fibstack-<step>` with flags.

    Raises:
        RuntimeError: the program ended with an error, which it has printed.
    """
    import click

    program = importlib.import_module(f"components.{step}.main").main
    try:
        program.main([str(flag) for flag in flags], standalone_mode=False)
    except click.exceptions.Exit as stop:
        if stop.exit_code:
            raise RuntimeError(f"fibstack-{step} ended with exit code {stop.exit_code}") from None
