"""Runs a case of bad input below the command line, in this process, up to the solve."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.align.main import main as align
from components.compose.main import main as compose
from components.plan.main import main as plan
from tests.builders import invoke
from tests.e2e import bad_input_cases as cases
from tests.e2e.bad_input_cases import Case


@dataclass(frozen=True)
class Answer:
    """What a user gets."""

    exit_code: int
    errors: tuple[str, ...]
    """Sentences after `error: `; the folder of the test is called /em."""
    output: Path


class _RefusedError(Exception):
    pass


def answer_to(case: Case, folder: Path) -> Answer:
    """Make the mistake in a new stack in `folder`, and run plan, align and compose on it."""
    cases.write_stack(folder)
    config = {
        "source": folder / "stack",
        "image": cases.NAME,
        "minz": cases.FIRST,
        "maxz": cases.LAST,
        "output": folder / "volume",
        **(case.spoil(folder) or {}),
    }
    output = Path(str(config["output"]))
    try:
        _run(config, case, folder)
    except _RefusedError as error:
        exit_code, said = error.args
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        errors = tuple(line.removeprefix("error: ").replace(str(folder), "/em") for line in lines)
        return Answer(exit_code, errors, output)
    return Answer(0, (), output)


def _run(config: dict[str, object], case: Case, folder: Path) -> None:
    def out(name: str) -> str:
        return str(folder / "parameters" / name)

    _call(plan, **config, process_uri_out=out("process"), chunks_out=out("chunks"))
    case.after_plan(folder)
    process_uri = f"{config['output']}/process"
    for chunk in json.loads(Path(out("chunks")).read_text()):
        _call(align, process_uri=process_uri, chunk=chunk)
    names = ("slabs", "blocks", "coarse_blocks", "top_blocks")
    _call(compose, process_uri=process_uri, **{f"{name}_out": out(name) for name in names})


def _call(program: Any, **flags: object) -> None:
    result = invoke(program, **flags)
    if result.exit_code != 0:
        raise _RefusedError(result.exit_code, result.output)
