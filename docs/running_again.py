"""The keys of the configuration by the first step whose work another value makes anew.

`python -m docs.running_again` writes the table of `docs/running-again.md`.
"""

from __future__ import annotations

from pathlib import Path

from components.shared.documents.config import RunConfig
from components.shared.steps import MATCHING_KEYS, STEPS

PAGE = Path(__file__).parent / "running-again.md"
BEGIN = "<!-- `make manifests` writes this table from components/shared/steps.py. -->"
END = "<!-- end of the table -->"
OF_THE_STACK = frozenset({"source", "image", "minz"})
"""Keys that say which stack it is; an output holds one."""
_BY_THE_PLAN = {"overrides": "compose", "force": "compose", "more_channels": "tile", "keep_bits": "tile"}
"""First step that depends on what `plan` makes of a key, which is no setting in the step's hash."""
_MATCHED_AGAIN = "every slice is matched again, all else is made anew"
_DONE_AGAIN = {
    "align": _MATCHED_AGAIN,
    "compose": "the slices are placed anew; the slabs and blocks that come out otherwise",
    "tile": "all slabs and blocks",
    "pyramid": "all blocks, and the slabs that they are made of, which a finished run has cleared away",
    "report": "nothing of the volume",
}


def first_step(key: str) -> str:
    """Name of the first step whose work another value of a key makes anew; `report` where nothing is."""
    if key in MATCHING_KEYS:
        return "align"
    hashing = (step.name for step in STEPS.values() if key in step.hashed_keys)
    return next(hashing, _BY_THE_PLAN.get(key, "report"))


def table() -> str:
    """The keys as a table of Markdown."""
    steps = {key: first_step(key) for key in RunConfig.model_fields}
    apart = OF_THE_STACK | {"maxz", "output", "placed_as"}
    rows = [
        (OF_THE_STACK - {"source"}, "refused: an output holds one stack", "refused", "–"),
        ({"source"}, "done where the slices are the same, else refused", "the same", "nothing"),
        ({"output"}, "a run of its own", "refused", "everything, there"),
        ({"maxz"}, "slices are added or left out at the end", "refused", "as the first table says"),
        ({"placed_as"}, "refused: `fibstack apply` alone sets it", "refused", "–"),
        *(
            (
                {key for key, first in steps.items() if first == step} - apart,
                "done" if step == "report" else "said, and done",
                {"align": "refused", "report": "done"}.get(step, "said, done, and kept from then on"),
                again,
            )
            for step, again in _DONE_AGAIN.items()
        ),
    ]
    lines = ["| keys | another value for `run` | for `resolve --set` | done again |", "|---|---|---|---|"]
    for keys, run, resolve, again in rows:
        named = ", ".join(f"`{key}`" for key in steps if key in keys)
        lines.append(f"| {named} | {run} | {resolve} | {again} |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """A page with the table in place of the one that it holds."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
