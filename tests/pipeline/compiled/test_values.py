"""Values as the pod's program sees them."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.compiled.values import fill, from_text, to_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e21, "1" + "0" * 21),
        (-3, "-3"),
        (0, "0"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ("é {x}", "é {x}"),
        ([8.0, 4.5, "ä", True], '[8,4.5,"ä",true]'),
        ({"b": 1.0, "a": []}, '{"a":[],"b":1}'),
    ],
)
def test_text_is_what_kfp_writes(value, text):
    assert to_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back_the_same_without_exponent(value):
    text = to_text(value)
    assert float(text) == value
    assert "e" not in text.lower()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="finite"):
        to_text(value)


@given(st.lists(st.text()))
def test_lists_come_back(value):
    assert from_text(to_text(value), "LIST") == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5.0", "NUMBER_INTEGER"),
        ("x", "NUMBER_DOUBLE"),
        ("{}", "LIST"),
        ("[]", "STRUCT"),
        ("1", "BOOLEAN"),
        ("[", "LIST"),
    ],
)
def test_output_of_the_wrong_type_is_refused(text, kind):
    with pytest.raises(ValueError):  # noqa: PT011 - the message is Python's own
        from_text(text, kind)


def test_text_keeps_its_final_newline():
    assert from_text("a\n", "STRING") == "a\n"


@given(st.text())
def test_values_are_not_looked_at_again(text):
    hostile = "{{$.inputs.parameters['b']}}" + text
    template = "{{$.inputs.parameters['a']}}|{{$.inputs.parameters[\"b\"]}}"
    assert fill(template, {"a": hostile, "b": 1}) == f"{hostile}|1"


def test_output_file():
    assert fill("{{$.outputs.parameters['x'].output_file}}", {}, {"x": "/o/x"}) == "/o/x"


def test_unknown_input():
    with pytest.raises(KeyError):
        fill("{{$.inputs.parameters['a']}}", {})


def test_items_are_strings_after_json():
    assert json.loads(to_text(["0-15"])) == ["0-15"]
