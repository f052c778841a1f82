"""Files and texts that a person gives: whatever they hold becomes a value or one sentence, soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.plan.overrides import parse_overrides
from components.shared.documents.cost import LISTED, read_prices
from components.shared.errors import ConfigError, FibstackError
from components.shared.given_file import MAX_BYTES, parse_yaml, read_given_file
from pipeline.configuration import read_config
from pipeline.settings import read_settings

GIVEN = {"source": "/in", "image": "img.%05d.png", "minz": 0, "maxz": 5, "output": "/out"}


def refusal(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "run.yaml")
    said = str(caught.value)
    assert said.startswith("run.yaml must be YAML: ")
    assert "\n" not in said
    assert len(said) < 300
    return said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00015", 15),
        ("00512", 512),
        ("-007", -7),
        ("08", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("0.5", 0.5),
        (".inf", float("inf")),
        ("1:30", "1:30"),
        ("2024-02-21", "2024-02-21"),
        ("2024-02-31", "2024-02-31"),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("TRUE", True),
        ("~", None),
        ("'15'", "15"),
        ("!!str 15", "15"),
        ("!!float 3", 3.0),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}", "run.yaml")["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_texts_as_they_are_written() -> None:
    assert parse_yaml("{512: 1, no: 2, 007: 3, ~: 4}", "run.yaml") == {"512": 1, "no": 2, "007": 3, "~": 4}


def test_what_names_something_is_a_text_as_it_is_written() -> None:
    text = "id: 2024-02-21\nsource: 007\nimage: true\noutput:\nminz: 007\n"
    assert parse_yaml(text, "run.yaml", {"id", "source", "image", "output"}) == {
        "id": "2024-02-21",
        "source": "007",
        "image": "true",
        "output": None,
        "minz": 7,
    }


def test_json_is_yaml_with_tabs() -> None:
    assert parse_yaml('\ufeff{\n\t"a":\t[1, "x", null, true]}', "run.json") == {"a": [1, "x", None, True]}


DEEP = 3000
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a key twice": ("minz: 1\nmaxz: 2\nminz: 3", "'minz' is given twice, again in line 3"),
    "a key twice further in": ("- {z: 1,\n z: 2}", "'z' is given twice, again in line 2"),
    "one key, quoted once": ("{a: 1, 'a': 2}", "'a' is given twice"),
    "several documents": ("a: 1\n---\na: 2", "second document begins in line 2"),
    "an alias": ("a: &x 1\nb: *x", "alias, '*x', stands in line 2"),
    "a list in itself": ("&a [*a]", "alias"),
    "a bomb of aliases": (
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)),
        "alias",
    ),
    "a word as an integer": ("maxz: !!int abc", "'abc' is no !!int in line 1"),
    "a word as a boolean": ("a: !!bool yes", "no !!bool"),
    "an object": ("a: !!python/object/apply:os.system [ls]", "python/object/apply:os.system' is unknown"),
    "bytes": ("a: !!binary aGk=", "unknown"),
    "a tag of one's own": ("a: !mine {b: 1}", "'!mine' is unknown"),
    "lists in lists": ("[" * DEEP + "]" * DEEP, "levels"),
    "lists in lists in lines": ("- " * DEEP, "levels"),
    "mappings in mappings": ("{a: " * DEEP, "levels"),
    "a list as a key": ("? [1]\n: 2", "key that is no word"),
    "5,000 digits": ("maxz: " + "1" * 5000, "number of 5,000 characters"),
    "5,000 digits of a fraction": ("maxz: 0." + "1" * 5000, "number of 5,002 characters"),
    "5,000 digits of a version": ("%YAML 1." + "9" * 5000 + "\n--- 1", "cannot be parsed"),
    "a null character": ("a: \0", "special characters are not allowed"),
    "an escaped null character": ('a: "\\0"', "character that no text may have"),
    "half a pair of characters": ('a: "\\ud800"', "character that no text may have"),
    "no such character": ('a: "\\UFFFFFFFF"', "cannot be parsed"),
    "no UTF-8": (b"a: \xff", "not UTF-8"),
    "UTF-16": ("a: 1".encode("utf-16"), "not UTF-8"),
    "a tab": ("a: 1\n\tb: 2", "line 2"),
    "an open bracket": ("a: [", "line 1"),
    "too long": ("#" * (MAX_BYTES + 1), "longer than 1,048,576 bytes"),
    "too many values": ("[" + "0," * 250_000 + "]", "more than 60,000 values"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_configuration_ends_in_one_sentence_soon(what: str) -> None:
    text, part = REFUSED[what]
    before = time.process_time()
    assert part in refusal(text)
    assert time.process_time() - before < 5


@pytest.mark.parametrize("what", ["a bomb of aliases", "lists in lists", "too many values", "too long"])
def test_hostile_text_takes_little_memory(what: str) -> None:
    program = (
        "import sys; from components.shared.given_file import parse_yaml\n"
        "try: parse_yaml(sys.stdin.buffer.read(), 'x')\n"
        "except Exception as error: print(type(error).__name__)\n"
        # Of this program alone: getrusage counts what it was forked from, too.
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    text = REFUSED[what][0]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=text if isinstance(text, bytes) else text.encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    name, peak = done.stdout.decode().split()
    assert name == "ConfigError"
    assert int(peak) < 300_000  # KiB, as Linux counts


class TestFiles:
    """What a path on the command line may name."""

    @pytest.mark.parametrize("read", [lambda p: read_config(p, {}, []), read_prices, read_settings])
    def test_what_is_no_regular_file_is_refused_at_once(self, read: Any, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "long").write_bytes(b"#" * (MAX_BYTES + 1))
        (tmp_path / "latin").write_bytes("a: \u00e9".encode("latin-1"))
        for name, part in (
            ("pipe", "got a pipe"),
            ("/dev/zero", "got a device"),
            ("", "directory"),
            ("absent", "No such file"),
            ("a\0b", "no file has such a name"),
            ("n" * 300, "File name too long"),
            ("long", "at most 1,048,576 bytes"),
            ("latin", "not UTF-8"),
        ):
            before = time.monotonic()
            with pytest.raises(ConfigError, match=part):
                read(tmp_path / name)
            assert time.monotonic() - before < 5

    def test_a_link_to_a_file_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "run.yaml").write_text("a: 1")
        (tmp_path / "link").symlink_to(tmp_path / "run.yaml")
        assert read_given_file(tmp_path / "link", "the configuration") == "a: 1"


def test_settings_end_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    for text in ("fan = true", "a = " + "[" * DEEP, "fan = " + "1" * 5000, "[tile]\nretries = false"):
        path.write_text(text)
        with pytest.raises(ConfigError):
            read_settings(path)


def test_prices_are_numbers_given_once(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    listed = LISTED.read_text()
    for text in (
        listed + "\nclass_a_per_1000: 0.1\n",
        json.dumps(yaml.safe_load(listed) | {"class_a_per_1000": True}, default=str),
        json.dumps(yaml.safe_load(listed) | {"colder_gib_month": {"nearline": True}}, default=str),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"prices\.yaml"):
            read_prices(path)


SEEDS = [
    "- {z: 00512, skip: true}\n- {z: 513, pin: [120.0, 80.5]}\n",
    "- {z: 900, matrix: [[1, 0, 3.5], [0, 1, -2], [0, 0, 1]]}\n",
    "id: 2024-02-21\nimage: 'img.%05d.png'\nminz: 00000\nmaxz: 00015\nsource: /raw\noutput: /out\n",
    '{"image": "iso.%05d.png",\t"minz": "3493", "maxz": 3494, "mail": ["a@b.org"], "skip_align": "true"}',
    *(text for text, _ in REFUSED.values() if isinstance(text, str) and len(text) < 500),
]
PIECES = [
    *(
        "&a ",
        "*a",
        "!!int ",
        "!!",
        "? ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "\\U",
        "%",
        "|",
        ">",
        "---",
    ),
    *(
        "\t",
        "\n",
        "#",
        "<<",
        "1" * 400,
        "~",
        "\x85",
        "\ufeff",
        "\u2028",
        ".inf",
        "true",
        "0x",
        "...",
        ",",
        "\r",
    ),
    *("\0", "@", "`", "---", "\r"),
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A text that configurations begin with, with a few of YAML's signs put in, cut out and doubled."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(text)))
        stop = start + draw(st.integers(0, 8))
        between = draw(st.one_of(st.sampled_from(PIECES), st.just(text[start:stop] * 2), st.text(max_size=4)))
        text = text[:start] + between + text[stop:]
    return text


@given(mutated())
@settings(
    max_examples=200,
    derandomize=True,
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_text_is_a_value_or_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "given"
    path.write_bytes(data := text.encode("utf-8", "surrogatepass"))
    codes: set[int] = set()
    for read in (
        lambda: parse_yaml(data, "run.yaml", {"id"}),
        lambda: read_config(path, {}, []),
        lambda: read_config(None, GIVEN, [text]),
        lambda: read_config(None, GIVEN, [f"crop={text}"]),
        lambda: parse_overrides(data, "decisions.yaml"),
        lambda: read_prices(path),
        lambda: read_settings(path),
    ):
        try:
            read()
        except FibstackError as error:
            codes.add(error.exit_code)
    assert codes <= {78}


def test_a_text_may_have_as_many_bytes_as_the_limit_says() -> None:
    longest = "#" * (2**20 - 1) + "\n"
    assert parse_yaml(longest, "the text") is None
    with pytest.raises(ConfigError, match="longer than 1,048,576 bytes"):
        parse_yaml(longest + "\n", "the text")
