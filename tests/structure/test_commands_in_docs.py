"""Every `fibstack ...` command that the guide shows is one that the program has, with options that it has."""

import re
import shlex
from pathlib import Path

import click
import pytest

from commands.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]
PAGES += [*ROOT.glob("images/*.md"), *ROOT.glob("benchmarks/*/*.md"), *ROOT.glob("components/*/*.md")]


def lines_of(text):
    """Lines of code blocks, continued ones as one, and the pieces of code between backquotes."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(
        r"`(fibstack [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )


def commands_of(text):
    """The words of each command, without what a reader leaves out: `...` and what is in brackets."""
    for line in lines_of(text):
        if not re.match(r"(\$ )?([A-Z_]+=\S.*)?fibstack ", line):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>")
        lexer.whitespace_split = True
        command = None
        for word in [*lexer, ";"]:
            if word == "fibstack" and command is None:
                command = []
            elif set(word) <= set(";&|()<>"):
                if command:
                    yield command
                command = None
            elif command is not None and word not in ("...", "..") and not word.startswith("["):
                command.append(word)


def parse(words) -> None:
    """Find the command and read its options as click does; raises click's errors."""
    command, context = main, click.Context(main, info_name="fibstack", **main.context_settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.get_command(context, words[0])
        assert command is not None, f"there is no command {words[0]}"
        command = command.load() if hasattr(command, "load") else command
        context, words = click.Context(command, info_name=words[0], parent=context), words[1:]
    _, extra, _ = command.make_parser(context).parse_args(list(words))
    assert not extra, f"too many words: {extra}"


def test_commands_exist_with_their_options() -> None:
    wrong = []
    for page in PAGES:
        for words in commands_of(page.read_text()):
            try:
                parse(words)
            except (click.UsageError, AssertionError) as error:
                wrong.append(f"{page.relative_to(ROOT)}: fibstack {shlex.join(words)}: {error}")
    assert wrong == []


def test_commands_are_found_and_mistakes_noticed() -> None:
    found = [command for page in PAGES for command in commands_of(page.read_text())]
    assert len(found) > 60
    assert ["status", "OUTPUT_OR_RUN"] in found
    with pytest.raises(click.NoSuchOption):
        parse(["run", "--no-such-option"])
    with pytest.raises(AssertionError, match="no command"):
        parse(["nothing"])
