"""What a person decides about single slices: the overrides file.

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

import yaml
from pydantic import TypeAdapter, ValidationError

from components.shared.documents import Override
from components.shared.errors import ConfigError


def parse_overrides(text: bytes, uri: str) -> tuple[Override, ...]:
    """Read an overrides file.

    Raises:
        ConfigError: the file is no such list; the sentence names the line's slice and the rule.
    """
    try:
        found = yaml.safe_load(text) or []
        return TypeAdapter(tuple[Override, ...]).validate_python(found)
    except yaml.YAMLError as error:
        raise ConfigError(f"the overrides in {uri} must be YAML; got: {error}. Mend the file.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = " ".join(str(part) for part in first["loc"]) or "the list"
        rule = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"the overrides in {uri} are wrong at {where}: {rule}. Mend the file.") from None
