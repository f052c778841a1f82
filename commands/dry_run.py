"""`--dry-run`: the list of what a command would write and remove, in one form for all commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from components.shared.text import count

_Function = TypeVar("_Function", bound=Callable[..., Any])


def dry_run_option(function: _Function) -> _Function:
    """Decorator that adds `--dry-run`, the parameter `dry_run`, to a command."""
    return click.option(
        "--dry-run", is_flag=True, help="List what would be written and removed, and change nothing."
    )(function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The objects that a command writes and removes, each by its URI.

    What is written for a time, such as aligned tiles, is among both: all is written before the first is
    removed.
    """

    new: tuple[str, ...] = ()
    """Objects that are written where nothing is."""
    replaced: tuple[str, ...] = ()
    """Objects that are written in the place of what is there."""
    removed: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    """Folders that get objects which nobody can name before the slices are matched."""

    @classmethod
    def of(
        cls, written: Iterable[str], removed: Iterable[str], there: Callable[[str], bool] | Iterable[str]
    ) -> Changes:
        """The changes, told apart by what is there now.

        Args:
            written: URIs that are written, in any order.
            removed: URIs that are removed.
            there: The URIs that exist, or a function that says whether one does.
        """
        exists = there if callable(there) else set(there).__contains__
        places = sorted(set(written))
        replaced = tuple(uri for uri in places if exists(uri))
        return cls(
            new=tuple(sorted(set(places) - set(replaced))),
            replaced=replaced,
            removed=tuple(sorted(set(removed))),
        )

    def lines(self) -> list[str]:
        """A line for each object, a verb and its URI, and a sentence on all of them.

        Example:
            >>> Changes(new=("/out/a",), removed=("/out/b", "/out/c")).lines()[-1]
            '1 object would be written, 0 of them over what is there, and 2 removed. Nothing was changed.'
        """
        verbs = {"write": self.new, "replace": self.replaced, "remove": self.removed}
        lines = [f"{verb:<7} {uri}" for verb, uris in verbs.items() for uri in uris]
        lines += [f"write   {uri}/..." for uri in self.folders]
        n_written = len(self.new) + len(self.replaced)
        and_more = ", and more in each folder that ends in '...'" if self.folders else ""
        return [
            *lines,
            f"{count(n_written, 'object')} would be written{and_more}, {len(self.replaced):,} of them over "
            f"what is there, and {len(self.removed):,} removed. Nothing was changed.",
        ]


def list_changes(changes: Changes) -> None:
    """Print the changes that a command would make."""
    for line in changes.lines():
        click.echo(line)
