"""The programs of the pipeline one after the other, in this process."""

import json
from pathlib import Path
from typing import Any

from components.align.main import main as align
from components.compose.main import main as compose
from components.plan.main import main as plan
from components.pyramid.main import main as pyramid
from components.report.main import main as report
from components.tile.main import main as tile
from tests.builders import invoke


def call(program: Any, **flags: Any) -> None:
    result = invoke(program, **flags)
    assert result.exit_code == 0, result.output


def run_steps(source: Path, output: Path, **config: Any) -> Path:
    """A whole run; returns its output."""
    parameters = output.parent / f"{output.name}-parameters"

    def files(*names: str) -> dict[str, str]:
        return {f"{name}_out": str(parameters / name) for name in names}

    def items(name: str) -> list[str]:
        return json.loads((parameters / name).read_text())

    process_uri = str(output / "process")
    call(plan, source=str(source), output=str(output), **config, **files("process_uri", "chunks"))
    for chunk in items("chunks"):
        call(align, process_uri=process_uri, chunk=chunk)
    blocks = {0: "blocks", 5: "coarse_blocks", 10: "top_blocks"}
    call(compose, process_uri=process_uri, **files("slabs", *blocks.values()))
    for slabs in items("slabs"):
        call(tile, process_uri=process_uri, slabs=slabs)
    for level, name in blocks.items():
        for span in items(name):
            call(pyramid, process_uri=process_uri, level=level, blocks=span)
    call(report, output=str(output), status="Succeeded")
    return output
