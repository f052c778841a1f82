"""Writes the pages that say what the code says: configuration, commands, messages, limits and correctness.

Usage: python docs/reference.py docs
"""

import ast
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from click.testing import CliRunner
from pydantic.fields import FieldInfo

from commands.main import main as fibstack
from commands.program import LazyCommand
from commands.verify.wrong_results import WrongResult, wrong_results
from components.plan.output import ForeignOutputError
from components.shared.documents.config import ALIASES, RunConfig
from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.limits import has_reasons, reasons_of
from components.shared.steps import STEPS

GENERATED = "<!-- `make manifests` writes this page. -->"
WIDTH = 100
ROOT = Path(__file__).parents[1]
ERRORS = {
    error.__name__: error.exit_code for error in (UserError, ForeignOutputError, TransientError, ConfigError)
}


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
            "Values are those of YAML 1.2: `00015` is 15, and `1:30` and `2024-02-21` are text. `yes`, `no`,",
            "`on` and `off` are taken for booleans where a key takes one. A boolean is no number, no key is",
            "given twice, and text needs no quotes unless it has signs such as `%` at its beginning, `: ` or",
            "` #` in it. YAML's aliases are refused, and files longer than 1 MiB.",
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


def messages_page() -> str:
    """Every sentence that an error is told in, by the part of the code that says it."""
    parts = [
        "# Messages",
        "",
        GENERATED,
        "",
        "The sentences of all errors as they stand in the code, each with its remedy and its exit code:",
        "65 bad input, 75 try again, 78 bad configuration. `…` stands for a name or a value.",
        "[bad-input.md](bad-input.md) shows what usual mistakes are told, such as those in a slice's file.",
        "",
    ]
    for part, folder in _parts_of_the_code():
        found = sorted({row for path in folder.rglob("*.py") for row in _messages(path.read_text())})
        rows = [f"| {code} | {text} |" for code, text in found]
        parts += [f"## {part}", "", "| exit code | sentence |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(parts)


def limits_page() -> str:
    """Every number that decides, with its reason, by the step or command that it decides in."""
    parts = [
        "# Limits",
        "",
        GENERATED,
        "",
        "The numbers that decide, as they stand in the code: fields of a frozen object for each stage, so",
        "that a stack of another kind gets another object and no other code. *Too small* and *too large*",
        "say what goes wrong on either side. Where nothing was measured, *measured on* says so.",
        "",
    ]
    for title, package in LIMITED_PACKAGES.items():
        found = limits_in(package)
        parts += [f"## `{title}`", ""] if found else []
        for limits in found:
            parts += [f"### {limits.__name__}", "", inspect.cleandoc(limits.__doc__ or ""), ""]
            parts += [f"`{limits.__module__.replace('.', '/')}.py`", ""]
            parts += ["| limit | value | unit | why | measured on | too small | too large |"]
            parts += ["|---|---|---|---|---|---|---|"]
            for name, value, reason in reasons_of(limits()):
                columns = (reason.unit, reason.why, reason.measured_on, reason.too_small, reason.too_large)
                cells = (f"`{name}`", _value(value), *columns)
                parts.append(f"| {' | '.join(cells)} |".replace("\n", " "))
            parts.append("")
    return "\n".join(parts)


def limits_in(name: str) -> list[type[Any]]:
    """The classes of a package whose fields are limits, by module and by their place in it."""
    package = importlib.import_module(name)
    found = []
    for module in sorted(
        pkgutil.walk_packages(package.__path__, f"{package.__name__}."), key=lambda m: m.name
    ):
        if module.name.endswith(".component"):  # for kfp alone
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and kind.__module__ == module.name and is_dataclass(kind):
                found += [kind] if has_reasons(kind) else []
    return found


def _value(value: object) -> str:
    """A limit's value as a reader writes it.

    Example:
        >>> _value(8_000_000.0), _value((0.97, 1.03)), _value(20000)
        ('8,000,000', '0.97, 1.03', '20,000')
    """
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        texts = [_value(part) for part in value]
        return ", ".join(map(" ".join, zip(names, texts, strict=True)) if names else texts)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"
    return str(value)


def correctness_page() -> str:
    """Every result that is known to be wrong: who has it, how it is noticed and mended."""
    header = [
        "| name | wrong | who has it | how to notice | how to mend a volume | written by |",
        6 * "|---" + "|",
    ]
    mended = [_correctness_row(result) for result in wrong_results() if result.is_mended]
    not_mended = [_correctness_row(result) for result in wrong_results() if not result.is_mended]
    return "\n".join(
        [
            "# Correctness",
            "",
            GENERATED,
            "",
            "The results that fibstack has written and that are wrong, from",
            "`commands/verify/wrong_results.yaml`. Each step has a result version, which rises when a",
            "change of the code changes what the step writes (`components/shared/steps.py`). From",
            "the records of a volume `fibstack verify OUTPUT` finds the versions that wrote it, and names",
            "the mended results below that concern it. `fibstack run` makes anew what an older version",
            "wrote. Where no version tells, since the configuration was misread or a command outside of the",
            "steps was wrong, the sign in the table does.",
            "",
            "## Mended",
            "",
            *([*header, *mended] if mended else ["None yet: every step has its first result version."]),
            "",
            "## Not mended yet",
            "",
            *([*header, *not_mended] if not_mended else ["None that is known."]),
            "",
        ]
    )


def _correctness_row(result: WrongResult) -> str:
    until = [f"{step} before version {version}" for step, version in result.right_from.items()]
    written_by = ", ".join(until or result.made_by)
    cells = (f"`{result.id}`", result.wrong, result.affected, result.notice, result.mend, written_by)
    return f"| {' | '.join(cells)} |"


LIMITED_PACKAGES = {
    **{step: f"components.{step}" for step in STEPS},
    **{part: f"components.{part}" for part in ("shared.pictures", "shared.along_z", "shared.storage")},
    **{f"fibstack {name}": f"commands.{name}" for name in ("design", "export", "run")},
}
PAGES = {
    "configuration.md": configuration_page,
    "commands.md": commands_page,
    "messages.md": messages_page,
    "limits.md": limits_page,
    "correctness.md": correctness_page,
}


def _parts_of_the_code() -> Iterator[tuple[str, Path]]:
    yield "The command line", ROOT / "commands"
    yield "Compiling, running here and submitting", ROOT / "pipeline"
    yield "Every step", ROOT / "components" / "shared"
    for folder in sorted((ROOT / "components").iterdir()):
        if folder.name != "shared" and (folder / "__init__.py").exists():
            yield f"`{folder.name}`", folder


def _messages(code: str) -> Iterator[tuple[int, str]]:
    """Exit code and sentence of each error that a module makes of a text."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            sentence = "".join(_texts(node.args[0])) if node.args else ""
            if sentence.strip("…:. "):
                yield ERRORS[node.func.id], sentence.replace("|", "\\|").replace("\n", " ")


def _texts(node: ast.expr) -> Iterator[str]:
    """The pieces of a text, with `…` for what is filled in."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for piece in node.values:
            yield from _texts(piece)
    elif isinstance(node, ast.BinOp):
        yield from (*_texts(node.left), *_texts(node.right))
    else:
        yield "…"


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
