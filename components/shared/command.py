"""What the click programs of all steps share: errors as one sentence, logs, and KFP's output files."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from components.shared.errors import FibstackError


class StepCommand(click.Command):
    """A click command that answers a `FibstackError` with its sentence and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            return super().invoke(ctx)
        except FibstackError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


def write_parameter(path: str, value: str | Sequence[str]) -> None:
    """Write an output parameter where KFP collects it: text without a final newline, lists as JSON.

    The path is local to the container, chosen by KFP; it is not a data path.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value if isinstance(value, str) else json.dumps(list(value), separators=(",", ":")))
