"""The configuration as words of a command: flags of the programs of steps, and commands to paste."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from components.shared.documents.config import RunConfig, parameters, parse_config
from components.shared.errors import ConfigError
from components.shared.given_file import shown
from components.shared.text import listed

if TYPE_CHECKING:  # its libraries are those of steps, which a laptop that submits has not
    from components.shared.documents.plan import Plan

_Function = TypeVar("_Function", bound=Callable[..., None])
_ALWAYS_GIVEN = ("source", "image", "minz", "maxz", "output")
_LISTS = {
    "resolution": ("a number or a list [x, y, z] of nm", "8 or [8,8,8]"),
    "more_channels": ("a list of name patterns", '["esb.%05d.png"]'),
    "crop": ("a list [x, y, width, height] of px", "[0,0,4096,3800]"),
    "match_region": ("a list [x, y, width, height] of px", "[500,500,3000,2800]"),
    "decided": ("a list of keys", '["clip_limit"]'),
}
"""Rule and example of each key that takes a list."""
_SHOWN = 3
"""Overrides that a sentence names."""


def config_flags(*, required: bool, without: Collection[str] = ()) -> Callable[[_Function], _Function]:
    """Decorator that gives a program one flag for each key; its text is read by `parse_flags` alone.

    Args:
        required: The program asks for the keys that have no default.
        without: Keys whose flags the program declares itself.
    """

    def decorate(function: _Function) -> _Function:
        for name, field in reversed(RunConfig.model_fields.items()):
            if name in without:
                continue
            flag, needed = f"--{name.replace('_', '-')}", required and field.is_required()
            function = click.option(flag, name, required=needed, help=field.description)(function)
        return function

    return decorate


def parse_flags(fields: Mapping[str, str | None]) -> RunConfig:
    """The configuration that the flags hold; a list is written as JSON.

    Raises:
        ConfigError: a text is not of its key's kind, or `RunConfig` refuses the result.
    """
    values: dict[str, Any] = {name: text for name, text in fields.items() if text is not None}
    for name in [key.name for key in parameters() if key.annotation is list and key.name in values]:
        try:
            values[name] = json.loads(values[name])
        except (ValueError, RecursionError):
            rule, example = _LISTS.get(name, ("a list", "[]"))
            got = f"'{shown(values[name])}'"
            raise ConfigError(f"'{name}' must be {rule}; got {got}. Write {example}.") from None
    return parse_config(values)


def command_of(config: RunConfig) -> str:
    """The command that repeats a run.

    Example:
        >>> config = RunConfig(source="my stack", image="%d.png", minz=0, maxz=1, output="out", neighbours=2)
        >>> command_of(config)
        "fibstack run --source 'my stack' --image %d.png --minz 0 --maxz 1 --output out --set neighbours=2"
    """
    values = config.model_dump(mode="json")
    words = ["fibstack", "run"]
    for key in _ALWAYS_GIVEN:
        words += [f"--{key}", str(values.pop(key))]
    defaults = {name: field.get_default() for name, field in RunConfig.model_fields.items()}
    for key in values:
        if getattr(config, key) != defaults[key]:
            words += ["--set", setting_of(config, key)]
    return shlex.join(words)


def setting_of(config: RunConfig, key: str) -> str:
    """The value of a key as `--set` takes it: text as it is, all else as YAML on one line.

    Example:
        >>> config = RunConfig(source="s", image="%d.png", minz=0, maxz=1, output="o", crop=(0, 0, 8, 8))
        >>> setting_of(config, "crop"), setting_of(config, "trend"), setting_of(config, "force")
        ('crop=[0, 0, 8, 8]', 'trend=hybrid', 'force=false')
    """
    return f"{key}={_as_text(config.model_dump(mode='json')[key])}"


def _as_text(value: object) -> str:
    """A value as `--set` takes it: text as it is, all else as YAML on one line."""
    return value if isinstance(value, str) else json.dumps(value)


def decisions_sentence(plan: Plan, output: str = "") -> str:
    """The sentences on what resolve and overrides have decided and how to undo it; empty for nothing.

    Args:
        plan: The plan of a run.
        output: Where the output lies now; empty for where it was written.
    """
    now = plan.config.model_dump(mode="json")
    lines = listed([override.as_written for override in plan.overrides], _SHOWN)
    told, back = [], ["fibstack", "resolve", output or plan.config.output]
    for key, before in plan.resolved_from.items():
        if key == "overrides":
            told.append(f"{lines or 'no overrides'} (before: {f'those of {before}' if before else 'none'})")
            back += ["--overrides", _as_text(before)]
        else:
            told.append(f"{key}={_as_text(now.get(key))} (before: {_as_text(before)})")
            back += ["--set", f"{key}={_as_text(before)}"]
    found = [("resolve", told, back)] if told else []
    if lines and "overrides" not in plan.resolved_from:
        undo = [*back[:3], "--overrides", ""]
        found.append(("overrides", [lines], undo))
    return " ".join(
        f'Decided by {how}: {", ".join(what)}; take it back with "{shlex.join(words)}".'
        for how, what, words in found
    )
