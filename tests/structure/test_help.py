"""Every `--help` ends with an example that the program takes, and says the default of each option once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from commands.main import main
from tests.structure.test_commands_in_docs import parse

Words = tuple[str, ...]


def commands(
    words: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and those below it, each with the words that call it."""
    command = command.load() if hasattr(command, "load") else command
    yield words, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands((*words, name), below)


ALL = list(commands((), main))


def examples(command: click.Command) -> list[list[str]]:
    """The words of the examples in a help text, without `fibstack`."""
    _, _, shown = (command.epilog or "").rpartition("Example")
    lines = [line.strip() for line in shown.splitlines()[1:]]
    return [shlex.split(line)[1:] for line in lines if line.startswith("fibstack ")]


def test_every_help_ends_with_an_example_of_the_command() -> None:
    wrong = []
    for words, command in ALL:
        found = examples(command)
        if not found or any(tuple(example[: len(words)]) != words for example in found):
            wrong.append(words)
        for example in found:
            parse(example)
    assert len(ALL) > 25
    assert wrong == []


def test_every_option_says_its_default_once() -> None:
    wrong = []
    for words, command in ALL:
        context = click.Context(command, info_name=words[-1] if words else "fibstack")
        for option in command.params:
            if not isinstance(option, click.Option):
                continue
            _, said = option.get_help_record(context) or ("", "")
            given = option.get_default(context)
            has_default = not option.is_flag and isinstance(given, str | int | float) and given != ""
            n_said = said.count("default: ")
            if n_said > 1 or n_said < has_default:
                wrong.append(f"{' '.join(words)} --{option.name}: {said}")
    assert wrong == []
