"""The overrides file: decisions of a person about single slices.

A YAML list, one line a decision, each naming a slice by its number::

    - {z: 512, skip: true}                  # do not use it: another slice is shown in its place
    - {z: 513, replace: previous}           # nearest, previous, next, blend, blank or a slice number
    - {z: 514, keep: true}                  # the verdict is wrong: show the slice as it is
    - {z: 600, pin: [120.0, 80.5]}          # its centre lies here, in px of the frame of the solve
    - {z: 800, cut: true}                   # a true step between 799 and 800
    - {z: 900, matrix: [[1, 0, 3.5], [0, 1, -2], [0, 0, 1]]}   # 900 from 899, given by hand

`plan` checks the file and keeps it in plan.json, so a solve is a function of the documents alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Override, Plan
from components.shared.documents.transforms import Matrix3
from components.shared.errors import ConfigError, UserError
from components.shared.given_file import MAX_BYTES, parse_yaml, shown
from components.shared.storage.registry import open_store
from components.shared.storage.store import ObjectMissingError, read_bounded

_RIVALS = ({"skip", "keep", "replace"}, {"skip", "pin"}, {"skip", "matrix"}, {"cut", "matrix"})
"""Decisions about one slice that contradict each other."""


def read_overrides(config: RunConfig, earlier: Plan | None = None) -> tuple[Override, ...]:
    """The decisions of the overrides file; none where no file is named.

    Args:
        config: The configuration of the run.
        earlier: The plan that is there; where its file has gone since, its decisions stay.

    Raises:
        ConfigError: the file is not there, or is not a list of overrides.
    """
    uri = config.overrides
    if not uri:
        return ()
    folder, slash, name = uri.rpartition("/")
    try:
        store = open_store(folder or slash or ".")
        text = read_bounded(store, name, MAX_BYTES) if store.stat(name) else None  # a folder is no object
    except ObjectMissingError:
        text = None
    except UserError as error:
        raise ConfigError(str(error)) from None
    if text is None and earlier is not None and earlier.overrides and earlier.config.overrides == uri:
        return earlier.overrides
    if text is None:
        raise ConfigError(
            f"'overrides' must name a file that the run can read; got {uri}, which does not exist or is no "
            "regular file. Give --set overrides=FILE; a run in a cluster reads it from a bucket."
        )
    return parse_overrides(text, uri)


def parse_overrides(text: bytes, uri: str) -> tuple[Override, ...]:
    """Read an overrides file.

    Raises:
        ConfigError: the file is not a list of overrides; the sentence names the place and the rule.
    """
    found = parse_yaml(text, f"the overrides in {uri}")
    try:
        return TypeAdapter(tuple[Override, ...]).validate_python([] if found is None else found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = shown(" ".join(str(part) for part in first["loc"])) or "the list"
        rule = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"the overrides in {uri} are wrong at {where}: {rule}. Mend the file.") from None


def check_overrides(config: RunConfig, overrides: Sequence[Override]) -> None:
    """Refuse overrides that do not fit the run, or each other.

    Raises:
        ConfigError: a decision names a slice outside of the run, is made twice, or cannot be followed.
    """
    seen: set[tuple[int, str]] = set()
    for override in overrides:
        (decision,) = override.decisions
        what = f"the override '{decision}' of slice {override.z}"
        if not config.minz <= override.z <= config.maxz:
            raise ConfigError(
                f"{what} must name a slice from {config.minz} to {config.maxz}; got {override.z} in "
                f"{config.overrides}. Remove the line, or change minz and maxz."
            )
        if (override.z, decision) in seen:
            raise ConfigError(
                f"{what} must be given once; got it twice in {config.overrides}. Remove one line."
            )
        seen.add((override.z, decision))
        if decision in ("cut", "matrix") and override.z == config.minz:
            raise ConfigError(
                f"{what} must have a slice before it; got the first slice of the run in {config.overrides}. "
                "Remove the line."
            )
        if override.matrix is not None and not _is_orientation_preserving(override.matrix):
            raise ConfigError(
                f"{what} must be an affine matrix of positive determinant with the last row [0, 0, 1]; got "
                f"{[list(row) for row in override.matrix]} in {config.overrides}. Mend the line."
            )
    _check_together(config, overrides)
    _check_pins(config, n_pins=sum(decision == "pin" for _, decision in seen))


def _check_pins(config: RunConfig, n_pins: int) -> None:
    """Refuse pins that cannot hold, and a trend that needs a pin and has none."""
    solved = config.solver == "robust" and not config.skip_align
    if config.trend == "anchor" and not n_pins:
        raise ConfigError(
            "'trend: anchor' must have a pinned slice to hold to; got no 'pin' in the overrides. Add "
            "'- {z: ..., pin: [x, y]}', or choose another: --set trend=hybrid."
        )
    if n_pins and config.trend in ("detrend", "straighten"):
        raise ConfigError(
            f"a pinned slice must stay where it is, which 'trend: {config.trend}' cannot promise; got "
            f"{n_pins} in {config.overrides}. Give --set trend=hybrid, or anchor or keep, or "
            "remove the pins."
        )
    if n_pins and not solved:
        raise ConfigError(
            f"pins must have the robust solve to act in; got {n_pins} in {config.overrides}. Add "
            "--set solver=robust --set skip_align=false, or remove the pins."
        )


def _is_orientation_preserving(matrix: Matrix3) -> bool:
    """True of a matrix that is affine and neither mirrors nor flattens the plane."""
    (a, b, _), (c, d, _), last = matrix
    return last == (0.0, 0.0, 1.0) and a * d - b * c > 0


def _check_together(config: RunConfig, overrides: Sequence[Override]) -> None:
    """Refuse two lines about one slice that contradict each other, and a stand-in that cannot be shown."""
    skipped = {o.z for o in overrides if o.skip}
    decisions: dict[int, set[str]] = {}
    for override in overrides:
        decisions.setdefault(override.z, set()).update(override.decisions)
        shown = override.replace
        if not isinstance(shown, int):
            continue
        if not config.minz <= shown <= config.maxz or shown == override.z or shown in skipped:
            raise ConfigError(
                f"the override 'replace' of slice {override.z} must name another slice from {config.minz} to "
                f"{config.maxz} that is not skipped; got {shown} in {config.overrides}. Name another slice."
            )
    for z, given in decisions.items():
        for rivals in _RIVALS:
            if len(both := sorted(given & rivals)) > 1:
                raise ConfigError(
                    f"the overrides of slice {z} must not contradict each other; got '{both[0]}' and "
                    f"'{both[1]}' in {config.overrides}. Remove one line."
                )
