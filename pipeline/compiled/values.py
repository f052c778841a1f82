"""Parameter values as text: what a program gets in its arguments and what it writes to its output files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from pipeline.compiled.ir import PLACEHOLDER, Value

_NO_FILES: Mapping[str, str] = MappingProxyType({})


def to_text(value: Value) -> str:
    """A value as KFP writes it into an argument.

    Example:
        >>> [to_text(v) for v in ("a b", 2.0, 0.02, 1e-7, True, [8.0, 8.5], "")]
        ['a b', '2', '0.02', '0.0000001', 'true', '[8,8.5]', '']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(value)
    return json.dumps(_whole_numbers(value), separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _number_text(value: float) -> str:
    """The shortest decimal that reads back as the same number, as Go's `FormatFloat(v, 'f', -1)`."""
    if not math.isfinite(value):
        raise ValueError(f"a parameter must be finite; got {value}")
    whole = int(value)
    return str(whole) if value == whole else format(Decimal(repr(value)), "f")


def _whole_numbers(value: Value) -> Value:
    """JSON numbers carry no type: 8.0 is written as 8."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return value


def from_text(text: str, parameter_type: str) -> Value:
    """Read an output file as KFP does.

    Raises:
        ValueError: the text is not of the type.

    Example:
        >>> from_text('["0-15"]', "LIST"), from_text("5", "NUMBER_INTEGER"), from_text("x ", "STRING")
        (['0-15'], 5, 'x ')
    """
    if parameter_type == "STRING":
        return text
    if parameter_type == "NUMBER_INTEGER":
        return int(text)
    if parameter_type == "NUMBER_DOUBLE":
        return float(text)
    expected = {"BOOLEAN": bool, "LIST": list, "STRUCT": dict}[parameter_type]
    value: Value = json.loads(text)
    if not isinstance(value, expected):
        raise ValueError(f"must be {parameter_type}; got {text[:100]!r}")
    return value


def fill(text: str, inputs: Mapping[str, Value], output_files: Mapping[str, str] = _NO_FILES) -> str:
    """Replace the placeholders of a text; the text of a value is never looked at again.

    Raises:
        KeyError: a placeholder names no input or output.

    Example:
        >>> fill("{{$.inputs.parameters['uri']}}/x", {"uri": "gs://b"})
        'gs://b/x'
    """
    return PLACEHOLDER.sub(
        lambda found: output_files[found["name"]] if found["file"] else to_text(inputs[found["name"]]), text
    )
