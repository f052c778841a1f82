"""`fibstack resolve`: a run that goes on from the matching of an earlier one, with other decisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from commands.options import help_of
from commands.run.main import Extent, run_as_asked, run_options
from components.shared.documents.config import NAMING_KEYS, RunConfig, parse_config
from components.shared.errors import ConfigError, UserError
from components.shared.steps import MATCHING_KEYS
from components.shared.storage.run_buckets import part_uri
from pipeline.configuration import absolute, parse_settings, with_absolute_locations


@click.command(epilog="\b\nExample:\n  fibstack resolve aligned --set replace_with=blend")
@click.argument("output")
@click.option(
    "--overrides",
    metavar="FILE",
    help=f"{help_of('overrides')} '' takes the decisions of an earlier file back.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key to change, such as trend=keep or force=true; repeatable.",
)
@run_options
def resolve(
    output: str,
    overrides: str | None,
    changes: tuple[str, ...],
    until: str,
    runner: str,
    jobs: int | None,
    settings_path: Path | None,
    log_dir: Path | None,
    dry_run: bool,
) -> None:
    """Solve a run anew without matching again.

    OUTPUT is the output of an earlier run, whose configuration is taken from its records. Overrides and other
    keys may change, but not those that say what is matched and how. Only the parts of the volume that come
    out differently are written again; with --until compose, none of them yet.

    OUTPUT may have been moved or copied since. Where the slices were moved, --set source=FOLDER says where
    they are now: they must be the same.
    """
    config = resolved_config(output, overrides, changes)
    run_as_asked(config, Extent(until), runner, jobs, settings_path, log_dir, dry_run)


def resolved_config(output: str, overrides: str | None, settings: Sequence[str]) -> RunConfig:
    """The configuration of the run below `output`, with another overrides file or other settings.

    Args:
        output: Folder or URI of the run.
        overrides: The overrides file, "" for none, None to leave it as it was.
        settings: `key=value` texts; values are YAML.

    Raises:
        UserError: there is no run in `output`.
        ConfigError: a key would change the matching, or a value is refused.
    """
    changes = parse_settings(settings)
    for key in changes:
        if key in MATCHING_KEYS:
            raise ConfigError(
                f"'{key}' must stay as it is, since resolve matches nothing again; got --set {key}. "
                f"Use 'fibstack run' with another output."
            )
    if overrides is not None:
        if "overrides" in changes:
            raise ConfigError("the overrides must be given once; got --overrides and --set. Remove one.")
        changes["overrides"] = overrides
    location = absolute(output)
    decided = sorted(changes.keys() - NAMING_KEYS - {"source"})  # which changes nothing that is computed
    config = parse_config({**_config_of(location), **changes, "decided": decided})
    if _uri(config.output) != _uri(location):  # it was moved, or is a copy
        config = config.model_copy(update={"output": location})
    return with_absolute_locations(config)


def _config_of(output: str) -> dict[str, Any]:
    """The configuration in the plan of a run."""
    from components.shared.storage.registry import open_store

    plan_uri = f"{part_uri(output, 'process')}/plan.json"
    store = open_store(part_uri(output, "process"))
    if store.stat("export.json") is not None:
        try:
            source = json.loads(store.read("export.json"))["source"]
        except (ValueError, KeyError, TypeError, RecursionError):
            source = "another output"
        raise UserError(
            f"a run must be resolved, not an export of its volume; got {output}, made from {source}. "
            f"Resolve {source} and export it again."
        )
    text = store.read("plan.json")
    try:
        config = json.loads(text)["config"]
    except (ValueError, KeyError, TypeError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UserError(f"{plan_uri} must be the plan of a run; got something else. Name a run's output.")
    return config


def _uri(location: str) -> str:
    """The URI of the records of a run, by which two spellings of one place are equal."""
    from components.shared.storage.registry import open_store

    return str(open_store(part_uri(location, "process")).uri)
