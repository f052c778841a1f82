"""Contracts of the steps, `components/<step>/contract.yaml`, shown in the README beside each.

`python -m docs.contracts` writes the section of every README anew. `tests/reliability/test_contracts.py`
compares the contracts with the requests of a run.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from components.shared.steps import STEPS

COMPONENTS = Path(__file__).parents[1] / "components"
BEGIN = "<!-- `make manifests` writes this table from contract.yaml. -->"
END = "<!-- end of the table -->"
Keys = dict[str, tuple[str, ...]]
"""Patterns of keys by root: `source`, or a part of the output. `<name>` stands for a part of a key."""


class Hash(BaseModel):
    """Contents of the input hash of a step's unit of work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[str, ...]
    """Keys of the configuration."""
    holds: str
    """All else, in words."""


class Contract(BaseModel):
    """Contract of a step: what it promises to read, to write and to depend on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    loop: str
    """Work of one task of the step."""
    reads: Keys
    """Objects that the step reads, lists or asks the size of."""
    writes: Keys
    deletes: Keys = {}
    hash: Hash
    sources: tuple[str, ...] = Field(min_length=1)
    """Papers and specifications that its methods and formats are from."""


def contract_of(step: str) -> Contract:
    """The contract of a step."""
    return Contract.model_validate(yaml.safe_load((COMPONENTS / step / "contract.yaml").read_text()))


def pattern_of(key: str) -> str:
    """A regular expression for the keys that a pattern names.

    Example:
        >>> bool(re.fullmatch(pattern_of("align/<chunk>.json"), "align/0-15.json"))
        True
    """
    return re.sub(r"<[\w-]+>", "[^/]+", re.escape(key))


def with_table(readme: str, contract: Contract) -> str:
    """A README with the table of its contract in place of the one that it holds.

    Raises:
        ValueError: the README has no place for it.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"components/{contract.step}/README.md must hold the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table(contract)}\n\n{END}{after}"


def table(contract: Contract) -> str:
    """A contract as a table of Markdown."""
    keys = ", ".join(f"`{key}`" for key in contract.hash.keys)
    rows = [
        ("works on", contract.loop),
        ("reads", _listed(contract.reads)),
        ("writes", _listed(contract.writes)),
        ("deletes", _listed(contract.deletes)),
        ("its hash holds", "; ".join(filter(None, (keys, contract.hash.holds)))),
        ("built on", "; ".join(contract.sources)),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows if text)])


def _listed(keys: Keys) -> str:
    return ", ".join(f"`{root}/{key}`" for root, patterns in keys.items() for key in patterns)


def main() -> None:
    """Write the table of every README anew."""
    for step in STEPS:
        path = COMPONENTS / step / "README.md"
        path.write_text(with_table(path.read_text(), contract_of(step)))


if __name__ == "__main__":
    main()
