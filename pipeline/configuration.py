"""Makes a `RunConfig` of a configuration file and the flags of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.shared.documents.config import ALIASES, RunConfig, parse_config
from components.shared.errors import ConfigError
from components.shared.given_file import parse_yaml, read_given_file, shown

_TEXT_KEYS = frozenset(
    key
    for key in (*RunConfig.model_fields, *ALIASES)
    if RunConfig.model_fields[ALIASES.get(key, key)].annotation is str
)
"""Keys that take text, so that `id: 001` and `--set id=001` stay '001'."""


def read_config(path: Path | None, flags: Mapping[str, Any], settings: Sequence[str]) -> RunConfig:
    """The configuration of a run: the file's values, overruled by `key=value` settings, overruled by flags.

    Args:
        path: YAML or JSON file, in the keys of `RunConfig` or of the older workflow.
        flags: Values by key.
        settings: `key=value` texts; values are YAML.

    Raises:
        ConfigError: the file or a text cannot be read, or `RunConfig` refuses the result.
    """
    return with_absolute_locations(parse_config(given_values(path, flags, settings)))


def given_values(path: Path | None, flags: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The values that are given for a configuration, before any is looked at; arguments as of `read_config`.

    Raises:
        ConfigError: the file or a text cannot be read.
    """
    given = {**parse_settings(settings), **flags}
    from_file = {} if path is None else _read_file(path)
    kept = {key: value for key, value in from_file.items() if ALIASES.get(key, key) not in given}
    return {**kept, **given}


def with_absolute_locations(config: RunConfig) -> RunConfig:
    """The configuration as tasks need it, which run elsewhere.

    Raises:
        ConfigError: a location is refused as an absolute path, such as one below a folder with a backslash.
    """
    locations = {name: absolute(getattr(config, name)) for name in ("source", "output")}
    overrides = absolute(config.overrides) if config.overrides else ""
    return parse_config({**config.model_dump(), **locations, "overrides": overrides})


def absolute(location: str) -> str:
    """A folder as an absolute path, since tasks run elsewhere; a URI as it is.

    One folder has one name, whichever way it was given: under another, all slices would be matched again.

    Example:
        >>> absolute("gs://em/raw"), absolute("/data/em"), absolute("/data/./em/../em")
        ('gs://em/raw', '/data/em', '/data/em')

    Raises:
        ConfigError: no folder can have this path.
    """
    if "://" in location:
        return location
    try:
        path = Path(location).expanduser().absolute()
        return str(path.resolve() if ".." in path.parts else path)
    except (OSError, RuntimeError, ValueError) as error:  # no such home, a loop of links, a null character
        raise ConfigError(
            f"a folder must have a usable path; got {shown(location)}: {error}. Change it."
        ) from None


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """The values of `key=value` texts by their key; values are YAML.

    Raises:
        ConfigError: a text is not so, or a key is given twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (key and equals):
            raise ConfigError(
                f"--set must look like key=value; got '{shown(setting)}'. Write --set clip_limit=0.01."
            )
        name = ALIASES.get(key, key)
        if name in values:
            raise ConfigError(
                f"'{name}' must be set once; got a second --set {shown(setting)}. Remove one of them."
            )
        values[name] = text if key in _TEXT_KEYS else parse_yaml(text, f"--set {shown(setting)}")
    return values


def _read_file(path: Path) -> dict[str, Any]:
    text = read_given_file(path, "the configuration")
    values = parse_yaml(text, str(path), _TEXT_KEYS)
    if not isinstance(values, dict):
        raise ConfigError(
            f"the configuration must be 'key: value' lines; got other content in {path}. Correct it."
        )
    return values
