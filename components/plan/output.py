"""Checks, before anything is written, that the output is this run's to write to."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Sequence

from pydantic import JsonValue

from components.shared.documents.config import RunConfig, differing_keys
from components.shared.documents.config_flags import command_of, setting_of
from components.shared.documents.locations import Locations
from components.shared.documents.plan import PLAN_KEY, Override, Plan, plan_in
from components.shared.errors import ConfigError, UserError
from components.shared.steps import MATCHING_KEYS
from components.shared.storage.registry import open_store, place_of
from components.shared.storage.store import Store, join_uri
from components.shared.stub.scratch import is_in_scratch
from components.shared.text import listed
from components.shared.work.export import EXPORT_KEY
from components.shared.work.refusal import REFUSED_KEY

_SHOWN = 3
"""Overrides that a sentence names."""


class ForeignOutputError(UserError):
    """The output is not this run's to write to, not even why it was refused."""


def written_uris(locations: Locations) -> tuple[str, ...]:
    """Places that a run writes to."""
    return (
        locations.neuroglancer_uri,
        locations.chunk_uri,
        locations.ome_zarr_uri,
        locations.process_uri,
        locations.tmp_uri,
    )


def check_source_apart(config: RunConfig, locations: Locations) -> None:
    """Refuse slices that lie where a run writes and cleans up.

    Raises:
        ForeignOutputError: they do.
    """
    for pattern in (config.image, *config.more_channels):
        folder = join_uri(locations.source_uri, *pattern.split("/")[:-1])
        slices_uri = open_store(folder).uri + "/"
        for uri in written_uris(locations):
            if slices_uri.startswith(open_store(uri).uri + "/"):
                raise ForeignOutputError(
                    f"the slices must lie outside of what a run writes; got {folder}, where {uri} is "
                    f"written. Choose another output."
                )


def check_no_export(config: RunConfig, locations: Locations) -> None:
    """Refuse an output that `fibstack export` has written: its volume is not this run's to change.

    Raises:
        ForeignOutputError: the output holds an exported volume.
    """
    if open_store(locations.process_uri).stat(EXPORT_KEY) is not None:
        raise ForeignOutputError(
            f"the output must not hold an exported volume; got {config.output}. Choose another output, or "
            f"delete that volume."
        )


def may_hold_a_run(process: Store) -> bool:
    """True where nothing but a stub lies among the documents of a run, or a run has begun there.

    So it can be asked before the configuration is known to be one: slices may lie there, or an export.
    """
    if process.stat(EXPORT_KEY) is not None:
        return False
    began = any(process.stat(key) is not None for key in (PLAN_KEY, REFUSED_KEY))
    return began or all(is_in_scratch(found.key) for found in process.list())


def earlier_plan(locations: Locations) -> Plan | None:
    """The plan that an earlier run has left in the output; None where there is none that can be read."""
    try:
        return plan_in(open_store(locations.process_uri))
    except UserError:  # there is none, or it is of another version
        return None


def check_earlier_run(process: Store, plan: Plan, decided: Collection[str]) -> None:
    """Refuse to mix two stacks in one output, and to undo what was decided about the one that is there.

    Args:
        process: Where the plan of an earlier run lies.
        plan: The plan of this run.
        decided: Keys that are set on purpose.

    Raises:
        UserError: the earlier plan is of another stack, or cannot be read.
        ConfigError: decisions of the earlier plan are missing.
    """
    earlier = plan_in(process)
    if _place_of(earlier) != _place_of(plan):
        difference = first_difference(earlier, plan)
        raise UserError(
            f"an output must hold one stack; got {_stack_of(plan)} where there is {_stack_of(earlier)} "
            f"in {process.uri}{difference and f', and {difference}'}. Choose another output."
        )
    lost = undone_keys(earlier, plan, decided)
    if lost:
        raise ConfigError(_undone(earlier, plan, lost))
    fewer = [name for name in earlier.config.more_channels if name not in plan.config.more_channels]
    if fewer and "more_channels" not in decided:
        keep = shlex.join(["--set", setting_of(earlier.config, "more_channels")])
        take_away = _resolve_command(plan.config, ["more_channels"])
        raise UserError(
            f"a run must name every channel of the volume in {plan.config.output}; got none of "
            f'{", ".join(fewer)}. Add {keep}, or take the channel away: "{take_away}".'
        )


def _place_of(plan: Plan) -> tuple[str, str, int]:
    """Source, name pattern and first slice of a stack; its last slice and its channels may change."""
    return place_of(plan.first_source), plan.config.image, plan.config.minz


def first_difference(earlier: Plan, plan: Plan) -> str:
    """A clause on the first file that is not known to be that of an earlier plan; empty of other names."""
    if (plan.config.image, plan.config.minz) != (earlier.config.image, earlier.config.minz):
        return ""
    there = {file.key: file for entry in plan.slices for file in entry.files}
    for file in (file for entry in earlier.slices for file in entry.files):
        found = there.get(file.key)
        if found is None:
            return f"{file.key} is not there"
        if found.size_bytes != file.size_bytes:
            return f"{file.key} has {found.size_bytes:,} bytes for {file.size_bytes:,}"
        if (found.crc32c, found.modified_ns) != (file.crc32c, file.modified_ns):
            if found.crc32c and file.crc32c:
                return f"{file.key} has another content"
            return (
                f"{file.key} has another time of writing and is not known to be the same: copy slices with "
                f"their times (cp -a, rsync -a)"
            )
    return ""


def _stack_of(plan: Plan) -> str:
    """A stack in words: source, name patterns and range."""
    config = plan.config
    patterns = " with ".join((config.image, *config.more_channels))
    return f"{join_uri(open_store(config.source).uri, patterns)} {config.minz} to {config.maxz}"


def resolved_from(config: RunConfig, earlier: Plan | None) -> dict[str, JsonValue]:
    """The value of each resolved key before `fibstack resolve` first set it; none of a key that has it again.

    Args:
        config: The configuration of this run; its `decided` names what a resolve sets.
        earlier: The plan that is there.
    """
    if earlier is None:
        return {}
    before, now = earlier.config.model_dump(mode="json"), config.model_dump(mode="json")
    values = {key: before[key] for key in config.decided} | earlier.resolved_from
    return {key: values[key] for key in sorted(values) if values[key] != now.get(key)}


def undone_keys(earlier: Plan, plan: Plan, decided: Collection[str]) -> list[str]:
    """Keys by which a plan would undo decisions of an earlier one, which nobody asks it to.

    Args:
        earlier: The plan that is there.
        plan: The plan that is to take its place.
        decided: Keys that are set on purpose.
    """
    before, now = earlier.config.model_dump(mode="json"), plan.config.model_dump(mode="json")
    lost = [key for key in earlier.resolved_from if key != "overrides" and before.get(key) != now.get(key)]
    same_file = before["overrides"] == now["overrides"] != ""  # its new content is the person's wish
    # Another file that keeps all decisions adds to them; one in place of none, or the first, undoes.
    undoes = not earlier.overrides or now["overrides"] == earlier.resolved_from.get("overrides")
    brought_back = "overrides" in earlier.resolved_from and earlier.overrides != plan.overrides and undoes
    if not same_file and (brought_back or _lost_overrides(earlier, plan)):
        lost.append("overrides")
    return [key for key in lost if key not in decided]


def _lost_overrides(earlier: Plan, plan: Plan) -> list[Override]:
    return [override for override in earlier.overrides if override not in plan.overrides]


def _undone(earlier: Plan, plan: Plan, lost: Sequence[str]) -> str:
    """The sentence on what a run would undo, with the commands that keep it and take it back."""
    before, now = earlier.config.model_dump(mode="json"), plan.config.model_dump(mode="json")
    settings = [key for key in lost if key != "overrides"]
    found = [f"{key} {json.dumps(now[key])} for {json.dumps(before[key])}" for key in settings]
    if "overrides" in lost:
        gone = [override.as_written for override in _lost_overrides(earlier, plan)]
        found.append(f"no override {listed(gone, _SHOWN)}" if gone else "overrides that were taken away")
    differing = differing_keys(earlier.config, plan.config)
    if MATCHING_KEYS.isdisjoint(differing):
        others = [key for key in differing if key not in lost]
        keep = _resolve_command(plan.config, others)
        take_back = _resolve_command(plan.config, [*others, *lost])
    else:
        kept = plan.config.model_copy(update={key: getattr(earlier.config, key) for key in lost})
        keep = command_of(kept)
        take_back = command_of(plan.config.model_copy(update={"decided": tuple(lost)}))
    return (
        f"a run must keep what was decided on the volume in {plan.config.output}; got {'; '.join(found)}. "
        f'Keep it with "{keep}", or take it back with "{take_back}".'
    )


def _resolve_command(config: RunConfig, keys: Iterable[str]) -> str:
    """The command that sets keys of the run in an output to the values of a configuration."""
    words = ["fibstack", "resolve", config.output]
    for key in keys:
        words += (
            ["--overrides", config.overrides] if key == "overrides" else ["--set", setting_of(config, key)]
        )
    return shlex.join(words)
