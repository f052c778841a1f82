"""Options that several commands share: the configuration of a run, and the settings of the compiler."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError
from pipeline.configuration import read_config
from pipeline.settings import Settings, read_settings

_FILE = click.Path(path_type=Path)
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
            click.argument("config_path", metavar="[CONFIG.yaml]", required=False, type=_FILE),
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


def given_config(path: Path | None, flags: Mapping[str, str | None], changes: Sequence[str]) -> RunConfig:
    """The configuration of the command line.

    Raises:
        ConfigError: none is given, or it is refused.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    if path is None and not given and not changes:
        raise ConfigError(
            "a configuration must be given. "
            "Name a CONFIG.yaml, or give --source, --image, --minz, --maxz and --output."
        )
    return read_config(path, given, changes)


def settings_of(path: Path | None) -> Settings:
    """The settings of a file; the defaults without one."""
    return Settings() if path is None else read_settings(path)


def called_as() -> str:
    """The word that calls this program: its path where a shell would not find it, as after `make run`."""
    by = sys.argv[0]
    return by if Path(by).name == "fibstack" and shutil.which("fibstack") is None else "fibstack"


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
