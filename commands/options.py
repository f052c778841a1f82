"""Options that several commands share: the configuration of a run, and the settings of the compiler."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from commands.program import called_as
from components.shared.documents.config import RunConfig, parse_config
from components.shared.documents.config_flags import command_of
from components.shared.errors import ConfigError
from pipeline.configuration import given_values, with_absolute_locations
from pipeline.settings import Settings, read_settings

_FILE = click.Path(path_type=Path)
_KEYS_OF_PLACE = frozenset({"source", "image", "minz", "maxz", "output"})
"""Keys that a run must have, which the source may tell."""
STACKS = (".tif", ".tiff", ".mrc", ".mrcs", ".rec", ".st")
"""Suffixes of files that may hold a whole stack."""
_Function = TypeVar("_Function", bound=Callable[..., Any])

SETTINGS = click.option(
    "--settings",
    "settings_path",
    type=_FILE,
    help="TOML file of compile-time settings: images, machines, retries.",
)


def help_of(key: str) -> str:
    """The description of a key of the configuration, for a help text."""
    return RunConfig.model_fields[key].description or ""


def config_options(function: _Function) -> _Function:
    """The argument and the flags that `given_config` makes a configuration of."""
    for decorate in reversed(
        (
            click.argument("what", metavar="[CONFIG.yaml|FOLDER|URI]", required=False),
            click.option("--source", help=help_of("source")),
            click.option("--image", help=help_of("image")),
            click.option("--minz", metavar="INTEGER", help=help_of("minz")),
            click.option("--maxz", metavar="INTEGER", help=help_of("maxz")),
            click.option("--output", help=help_of("output")),
            click.option(
                "--set",
                "changes",
                multiple=True,
                metavar="KEY=VALUE",
                help="Any other key, such as clip_limit=0.01; repeatable.",
            ),
        )
    ):
        function = decorate(function)
    return function


def given_config(
    what: str | None, flags: Mapping[str, str | None], changes: Sequence[str], *, to_stdout: bool = False
) -> RunConfig:
    """The configuration of the command line; of what a folder of slices tells, it need say nothing.

    Args:
        what: A configuration file, or the folder or URI of the slices.
        flags: Values by key; None of a flag that is not given.
        changes: `key=value` texts.
        to_stdout: Say what the folder tells on the standard output, not beside it.

    Raises:
        ConfigError: nothing is given, or it is refused.
        UserError: the folder of the slices is not there, or does not tell which series is meant.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    if what is None and not given and not changes:
        raise ConfigError(
            "the slices must be given. Name their folder, or a CONFIG.yaml, or give --source, --image, "
            "--minz, --maxz and --output."
        )
    path = None if what is None or _is_place(what) else Path(what)
    if what is not None and path is None:
        if "source" in given:
            raise ConfigError(f"the source must be given once; got {what} and --source. Remove one of them.")
        given["source"] = what
    if path is not None:
        _check_is_configuration(path)
    values = given_values(path, given, changes)
    if not {key for key, value in values.items() if value not in (None, "")} >= _KEYS_OF_PLACE:
        # Imported when it is needed: whoever names all may have no storage libraries.
        from commands.design.discovery import completed

        values, said = completed(values)
        for sentence in said:
            click.echo(sentence, err=not to_stdout)
    return with_absolute_locations(parse_config(values))


def _check_is_configuration(path: Path) -> None:
    """Refuse a path where nothing is, and a stack in one file, in words for who meant a folder of slices.

    Raises:
        ConfigError: it can be no configuration.
    """
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml", ".json"):
        return
    if not path.exists():
        raise ConfigError(f"the slices must lie in a folder that exists; got {path}. Check the path.")
    if suffix in STACKS:
        words = ["fibstack", "data", "split", str(path), f"{path.with_suffix('')}-slices"]
        raise ConfigError(
            f"the slices must be files in a folder; got the one file {path}. Make slices of it: "
            f"{shlex.join(words)}."
        )


def _is_place(what: str) -> bool:
    """Whether an argument is the place of slices, not a configuration file."""
    return "://" in what or Path(what).expanduser().is_dir()


def settings_of(path: Path | None) -> Settings:
    """The settings of a file; the defaults without one."""
    return Settings() if path is None else read_settings(path)


def run_command(config: RunConfig) -> str:
    """The command that runs a configuration, whole, to be pasted."""
    return f"{shlex.quote(called_as())}{command_of(config).removeprefix('fibstack')}"


def same_command(*without: str) -> str:
    """The command that was given, to be given again.

    Args:
        without: Parameters that are left out.
    """
    context = click.get_current_context()
    words = [called_as(), str(context.info_name)]
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in without or context.get_parameter_source(name) != ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        flag = [] if isinstance(parameter, click.Argument) else [parameter.opts[0]]
        for one in value if isinstance(value, tuple) else [value]:
            words += [*flag, str(one)]
    return shlex.join(words)
