"""Makes a `RunConfig` of a configuration file and the flags of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.shared.documents.config import ALIASES, RunConfig, parse_config
from components.shared.errors import ConfigError


def read_config(path: Path | None, flags: Mapping[str, Any], settings: Sequence[str]) -> RunConfig:
    """The configuration of a run: the file's values, overruled by `key=value` settings, overruled by flags.

    Args:
        path: YAML or JSON file, in the keys of `RunConfig` or of the older workflow.
        flags: Values by key.
        settings: `key=value` texts; values are YAML.

    Raises:
        ConfigError: the file or a text cannot be read, or `RunConfig` refuses the result.
    """
    given = {**parse_settings(settings), **flags}
    from_file = {} if path is None else _read_file(path)
    kept = {key: value for key, value in from_file.items() if ALIASES.get(key, key) not in given}
    config = parse_config({**kept, **given})
    return with_absolute_locations(config)


def with_absolute_locations(config: RunConfig) -> RunConfig:
    """The configuration as tasks need it, which run elsewhere."""
    locations = {name: absolute(getattr(config, name)) for name in ("source", "output")}
    overrides = absolute(config.overrides) if config.overrides else ""
    return config.model_copy(update={**locations, "overrides": overrides})


def absolute(location: str) -> str:
    """A folder as an absolute path, since tasks run elsewhere; a URI as it is.

    One folder has one name, whichever way it was given: under another, all slices would be matched again.

    Example:
        >>> absolute("gs://em/raw"), absolute("/data/em"), absolute("/data/./em/../em")
        ('gs://em/raw', '/data/em', '/data/em')
    """
    if "://" in location:
        return location
    path = Path(location).expanduser().absolute()
    return str(path.resolve() if ".." in path.parts else path)


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
                f"--set must look like key=value; got '{setting}'. Write --set clip_limit=0.01."
            )
        name = ALIASES.get(key, key)
        if name in values:
            raise ConfigError(f"'{name}' must be set once; got a second --set {setting}. Remove one of them.")
        values[name] = text if _is_text(name) else _yaml(text, f"--set {setting}")
    return values


def _is_text(name: str) -> bool:
    """True of a key that takes text, so that `--set id=001` stays '001'."""
    return name in RunConfig.model_fields and RunConfig.model_fields[name].annotation is str


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the configuration {path}: {reason}. Check the path.") from None
    if text.lstrip().startswith("{"):  # JSON may have tabs, where YAML has none
        text = text.replace("\t", " ")
    values = _yaml(text, str(path))
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(
            f"the configuration must be 'key: value' lines; got other content in {path}. Correct it."
        )
    return values


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(problem=f"the key '{twice}' is given twice")
        return super().construct_mapping(node, deep)


def _yaml(text: str, where: str) -> Any:  # noqa: ANN401 - YAML holds anything
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError(
            f"{where} must be YAML: {problem}{line}. "
            "Put quotes around values with special characters, such as '%05d.png'."
        ) from None
