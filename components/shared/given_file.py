"""Reads files and texts of configuration that a person gives: YAML of the core schema of YAML 1.2, and JSON.

The numbers are those of YAML 1.2 (https://yaml.org/spec/1.2.2/, section 10.3.2): 00015 is 15, 1:30 and
2024-02-21 are text, and of words only true and false are booleans. A key counts as it is written. Whatever is
given, the result is a value or a `ConfigError`, soon and in little memory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from components.shared.errors import ConfigError
from components.shared.regular_file import read_regular

if TYPE_CHECKING:  # imported where a text is read: most programs read no YAML
    import yaml

MAX_BYTES = 2**20
"""Longest text that is read: it holds all decisions that `_MAX_NODES` allows."""
_MAX_DEPTH = 16
"""Most lists and mappings inside each other; a matrix in a list of overrides needs four."""
_MAX_NODES = 60_000
"""Most values in one text: 20,000 decisions about slices, and a second of parsing."""
_MAX_DIGITS = 100
"""Longest number; Python refuses to read whole numbers of more than 4,300 digits."""
_SHOWN_LENGTH = 60
"""Characters of a refused value that are shown."""

STORED = {"stored": True}
"""Context in which pydantic reads a configuration of a document, which an earlier release may have taken."""

_CORE = "tag:yaml.org,2002:"
_KINDS: Mapping[type, str] = MappingProxyType(
    {str: "str", int: "int", float: "float", bool: "bool", type(None): "null"}
)
"""Tag of each type of a scalar."""
_NOTHING = ("", "~", "null", "Null", "NULL")
_CONSTANTS: Mapping[str, bool | None] = MappingProxyType(
    dict.fromkeys(_NOTHING, None)
    | dict.fromkeys(("true", "True", "TRUE"), True)
    | dict.fromkeys(("false", "False", "FALSE"), False)
)
_GROUPED = re.compile(r"[-+0-9.eE]*[0-9]_[-+0-9.eE_]*")
"""A number of Python with groups of digits: text in YAML 1.2, which pydantic would read as a number."""
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def read_given_file(path: Path, what: str) -> str:
    """The text of a file that the command line names.

    Args:
        path: The file.
        what: Name of its content for a sentence, such as "the configuration".

    Raises:
        ConfigError: it is no regular file, cannot be read, is longer than `MAX_BYTES`, or is not UTF-8.
    """
    try:
        return read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        reason = str(error.strerror or error)
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except ValueError:  # a null character in the path
        reason = "no file has such a name"
    raise ConfigError(f"cannot read {what} {path}: {reason}. Check the path.")


class CheckedModel(BaseModel):
    """A frozen object whose copies are checked as it was itself; pydantic's own take any value.

    Example:
        >>> class Stack(CheckedModel):
        ...     n_slices: int = 1
        >>> Stack().model_copy(update={"n_slices": "many"})
        Traceback (most recent call last):
        pydantic_core._pydantic_core.ValidationError: 1 validation error for Stack
        n_slices
          Input should be a valid integer, unable ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, refused where a new object of them would be.

        Raises:
            ValidationError: a value is refused.
        """
        if update is None:
            return super().model_copy(deep=deep)
        # What it holds was taken when it was read, maybe by an earlier release.
        return type(self).model_validate({**dict(self), **update}, context=STORED)


class GivenModel(CheckedModel):
    """Values that a person gives: all keys are known, and a boolean is no number.

    Example:
        >>> class Stack(GivenModel):
        ...     n_slices: int
        >>> Stack(n_slices="0012").n_slices
        12
        >>> Stack(n_slices=True)
        Traceback (most recent call last):
        pydantic_core._pydantic_core.ValidationError: 1 validation error for Stack
        n_slices
          Value error, must not be true or false ...
    """

    @field_validator("*", mode="before")
    @classmethod
    def _has_its_kind(cls, value: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if annotation is not bool:  # pydantic takes true for 1
            is_text = _holds_text(annotation)
            if isinstance(value, dict) and get_origin(annotation) is dict:
                _refuse_no_number([*value.values()], is_text=is_text)
            else:
                _refuse_no_number(value, is_text=is_text)
        return value


def _holds_text(annotation: object) -> bool:
    """Whether any text may be a value of a field, or in one."""
    return annotation is str or any(map(_holds_text, get_args(annotation)))


def _refuse_no_number(value: object, *, is_text: bool) -> None:
    if isinstance(value, bool):
        raise ValueError("must not be true or false")
    if isinstance(value, str) and not is_text and _GROUPED.fullmatch(value):
        raise ValueError("must be a number without '_' between its digits")
    if isinstance(value, list | tuple):
        for one in value:
            _refuse_no_number(one, is_text=is_text)


def parse_yaml(text: str | bytes, where: str, text_keys: Collection[str] = ()) -> Any:  # noqa: ANN401 - any value
    """The value of a text of YAML or JSON: mappings, lists, texts, numbers, booleans, None.

    Args:
        text: The text; bytes are UTF-8.
        where: Name of the text for a sentence, such as its file's.
        text_keys: Keys of the outermost mapping whose values are texts as they are written: with `id` among
            them, the value of `id: 007` is "007".

    Raises:
        ConfigError: the text is not one document of YAML, gives a key twice, has tags or aliases that
            configurations do without, or is too long.

    Example:
        >>> parse_yaml("{minz: 00015, day: 2024-02-21, on: yes, id: 007}", "run.yaml", {"id"})
        {'minz': 15, 'day': '2024-02-21', 'on': 'yes', 'id': '007'}
    """
    import yaml

    try:
        return _Document(_decoded(text), text_keys).value()
    except _RefusedError as refused:
        reason = refused.reason
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        reason = f"{problem}{line}. Put quotes around values with special characters, such as '%05d.png'."
    except Exception as error:  # the parser's own exceptions are not complete: "\UFFFFFFFF" is a ValueError
        reason = f"it cannot be parsed ({type(error).__name__}). Mend the text."
    raise ConfigError(f"{where} must be YAML: {reason}") from None


class _RefusedError(Exception):
    """A text that is refused, with the reason and the remedy as the end of a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _refuse(problem: str, event: yaml.Event, remedy: str) -> NoReturn:
    line = f" in line {event.start_mark.line + 1}" if event.start_mark else ""
    raise _RefusedError(f"{problem}{line}. {remedy}")


def _decoded(text: str | bytes) -> str:
    if len(text) > MAX_BYTES:
        raise _RefusedError(f"it is longer than {MAX_BYTES:,} bytes. Shorten it.")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise _RefusedError("it is not UTF-8 text. Save it as UTF-8.") from None
    text = text.removeprefix("\ufeff")
    # JSON may have tabs between its values, where YAML has none.
    return text.replace("\t", " ") if text.lstrip().startswith(("{", "[")) else text


class _Document:
    """Makes the value of a text out of the parser's events; the depth of the recursion is bounded."""

    def __init__(self, text: str, text_keys: Collection[str]) -> None:
        import yaml

        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._text_keys = text_keys
        self._n_nodes = 0

    def value(self) -> Any:  # noqa: ANN401 - any value
        """The value of the only document; None where there is none."""
        import yaml

        found = None
        n_documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents > 1:
                    _refuse("a second document begins", event, "Remove the line '---' and what follows.")
            elif isinstance(event, yaml.NodeEvent):
                found = self._node(event, depth=0)
        return found

    def _node(self, event: yaml.Event, depth: int, *, as_text: bool = False) -> Any:  # noqa: ANN401 - any value
        import yaml

        self._n_nodes += 1
        if self._n_nodes > _MAX_NODES:
            _refuse(f"it has more than {_MAX_NODES:,} values", event, "Shorten it.")
        if depth > _MAX_DEPTH:
            _refuse(f"more than {_MAX_DEPTH} levels stand inside each other", event, "Remove brackets.")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event, as_text=as_text)
        if isinstance(event, yaml.AliasEvent):
            _refuse(f"an alias, '*{shown(str(event.anchor))}', stands", event, "Write the value itself.")
        if isinstance(event, yaml.MappingStartEvent):
            _check_tag(event, f"{_CORE}map")
            return self._mapping(depth)
        assert isinstance(event, yaml.SequenceStartEvent)  # the last kind of node
        _check_tag(event, f"{_CORE}seq")
        return self._list(depth)

    def _list(self, depth: int) -> list[Any]:
        import yaml

        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, depth + 1))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        import yaml

        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                _refuse("a key that is no word stands", event, "Write 'key: value'.")
            key = _text(event)
            if key in values:
                _refuse(f"the key '{shown(key)}' is given twice, again", event, "Remove one of them.")
            as_text = depth == 0 and key in self._text_keys
            values[key] = self._node(next(self._events), depth + 1, as_text=as_text)
        return values


def _check_tag(event: yaml.CollectionStartEvent, core: str) -> None:
    if event.tag not in (None, "!", core):
        _refuse(f"the tag '{shown(event.tag)}' is unknown", event, "Remove the tag.")


def _scalar(event: yaml.ScalarEvent, *, as_text: bool) -> str | int | float | bool | None:
    text = _text(event)
    if event.tag is None:
        if not event.implicit[0]:  # in quotes, or a block of text
            return text
        value = None if as_text else _plain(text, event)
        return text if as_text and text not in _NOTHING else value
    kind = event.tag.removeprefix(_CORE)
    if event.tag == "!" or kind == "str":
        return text
    value = _plain(text, event)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind not in ("int", "float", "bool", "null"):
        _refuse(f"the tag '{shown(event.tag)}' is unknown", event, "Remove the tag.")
    if _KINDS[type(value)] != kind:
        _refuse(f"'{shown(text)}' is no !!{kind}", event, "Mend the value, or remove the tag.")
    return value


def _text(event: yaml.ScalarEvent) -> str:
    text = str(event.value)
    if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        _refuse("a character that no text may have, a null or half a pair, stands", event, "Remove it.")
    return text


def _plain(text: str, event: yaml.ScalarEvent) -> str | int | float | bool | None:
    """The value of a scalar without quotes, by the core schema of YAML 1.2."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    whole = _INTEGER.fullmatch(text)
    if not whole and not _FLOAT.fullmatch(text):
        return text
    if len(text) > _MAX_DIGITS:
        _refuse(f"a number of {len(text):,} characters stands", event, f"Write at most {_MAX_DIGITS}.")
    if not whole:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def shown(text: str) -> str:
    """A text for a sentence: printable, and cut."""
    cut = text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
    return cut if cut.isprintable() else ascii(cut)[1:-1]
