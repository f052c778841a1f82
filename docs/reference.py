"""Writes the pages that say what the code says: docs/configuration.md and docs/commands.md.

Usage: python docs/reference.py docs
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from click.testing import CliRunner
from pydantic.fields import FieldInfo

from components.shared.config import ALIASES, RunConfig
from pipeline.cli import main as fibstack
from pipeline.command import LazyCommand

GENERATED = "<!-- `make manifests` writes this page. -->"
WIDTH = 100


def configuration_page() -> str:
    """Every key of a run's configuration with its values, its default and what it does."""
    rows = [
        f"| `{key}` | {_values(field)} | {_default(field)} | {field.description} |"
        for key, field in RunConfig.model_fields.items()
    ]
    aliases = [f"| `{old}` | `{key}` |" for old, key in ALIASES.items()]
    return "\n".join(
        [
            "# Configuration",
            "",
            GENERATED,
            "",
            "`fibstack run CONFIG.yaml` reads these keys as `key: value` lines, YAML or JSON; `--set`",
            "overrules them. `manifests/schemas/run-config.schema.json` is the same for editors.",
            "",
            "| key | values | default | what it does |",
            "|---|---|---|---|",
            *rows,
            "",
            "A configuration of the older workflow runs as it is; these of its keys have another name here:",
            "",
            "| there | here |",
            "|---|---|",
            *aliases,
            "",
        ]
    )


def commands_page() -> str:
    """The help of every command."""
    parts = ["# Commands", "", GENERATED, ""]
    for words in _commands((), fibstack):
        shown = CliRunner().invoke(
            fibstack, [*words, "--help"], prog_name="fibstack", terminal_width=WIDTH, max_content_width=WIDTH
        )
        if shown.exit_code:
            raise RuntimeError(f"fibstack {' '.join(words)} --help: {shown.output}") from shown.exception
        parts += [f"## {' '.join(['fibstack', *words])}", "", "```", shown.output.rstrip(), "```", ""]
    return "\n".join(parts)


PAGES = {"configuration.md": configuration_page, "commands.md": commands_page}


def _commands(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, LazyCommand):
        command = command.load()
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands((*words, name), command.commands[name])


def _values(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    kind = field.annotation if get_origin(field.annotation) is None else get_origin(field.annotation)
    named = {bool: "`true`, `false`", int: "integer", float: "number", str: "text", tuple: "list"}
    bounds = [
        f"{sign} {getattr(rule, name):,}"
        for rule in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if hasattr(rule, name)
    ]
    return " ".join([named[kind], ", ".join(bounds)]).strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*must be given*"
    return "" if field.default in ("", ()) else f"`{json.dumps(field.default)}`"


def main(folder: Path) -> None:
    """Write the pages into a folder."""
    for name, page in PAGES.items():
        (folder / name).write_text(page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
