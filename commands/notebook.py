"""`fibstack notebook`: a Jupyter notebook that opens the tables and the volume of a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from components.report.run_document import RUN_KEY, RunDocument
from components.shared.command import StepCommand
from components.shared.documents.read_document import read_document
from components.shared.documents.slices import SLICES_KEY
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import join_uri

_OF_S3 = ("driver", "bucket", "path", "endpoint", "aws_region")
"""Members of tensorstore's specification of a bucket of S3 that do not depend on who asks."""
_CELL = "# %%"
"""Line that begins a cell of the template, as editors know it."""
_MARKDOWN = "[markdown]"
"""Mark, behind that, of a cell that holds text."""


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack notebook aligned")
@click.argument("output")
@click.argument("file", required=False)
def main(output: str, file: str | None) -> None:
    """Write FILE.ipynb, a notebook on the finished run in OUTPUT: its tables, its tracks, its volume.

    Without FILE it is named after the run's 'id' and lies where you are. A file that is there is left alone.
    """
    process = open_store(part_uri(output, "process"))
    if process.stat(RUN_KEY) is None or process.stat(SLICES_KEY) is None:
        raise UserError(
            f"a notebook must be on a run that has aligned its slices; got no {RUN_KEY} and {SLICES_KEY} in "
            f"{process.uri}. Check the path, or let the run end."
        )
    run = read_document(process, RUN_KEY, RunDocument)
    path = Path(file or f"{run.config.id or 'fibstack'}.ipynb")
    folder = open_store(str(path.parent))
    if folder.stat(path.name) is not None:
        raise UserError(
            f"the notebook must be a new file; got {path}, which is there. Give another name, or remove it."
        )
    folder.write(path.name, json.dumps(notebook(run, output), indent=1).encode() + b"\n")
    click.echo(f"Wrote {path}. It needs: pip install jupyterlab pandas matplotlib tensorstore")


def notebook(run: RunDocument, output: str) -> dict[str, Any]:
    """A notebook on a run, in Jupyter's format 4.5."""
    import jinja2  # here, since the help needs none of it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("commands", "."),
        autoescape=False,  # noqa: S701 - the result is Python, not HTML
        undefined=jinja2.StrictUndefined,
    )
    source = environment.get_template("notebook.py.j2").render(
        title=run.config.id or "A stack, aligned",
        verdict=run.summary[0],
        process_url=address_of(part_uri(output, "process")),
        volume_url=address_of(join_uri(part_uri(output, "neuroglancer"), "jpeg")),
        view_command=shlex.join(["fibstack", "view", output]),
    )
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": python, "language_info": {"name": "python"}},
        "cells": cells_of(source),
    }


def address_of(uri: str) -> str | dict[str, str]:
    """Address by which tensorstore opens a folder or a part of a bucket, with its own login.

    A bucket of S3 has more of it: the server.

    Example:
        >>> address_of("gs://em/out/process"), address_of("/data/my stack")
        ('gs://em/out/process/', 'file:///data/my%20stack/')
    """
    if scheme_of(uri).cloud == "aws":
        whole = open_store(uri).kvstore()
        return {name: whole[name] for name in _OF_S3 if name in whole}
    return f"{uri if '://' in uri else Path(open_store(uri).uri).as_uri()}/"


def cells_of(source: str) -> list[dict[str, Any]]:
    r"""The cells of a script whose cells begin with `# %%`.

    Example:
        >>> [(c["cell_type"], c["source"]) for c in cells_of("# %% [markdown]\n# Some text\n\n# %%\nx = 1\n")]
        [('markdown', ['Some text']), ('code', ['x = 1'])]
    """
    cells = []
    for number, text in enumerate(source.split(_CELL)[1:]):
        head, _, body = text.partition("\n")
        lines = body.strip().splitlines(keepends=True)
        cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}}
        if head.strip() == _MARKDOWN:
            cell |= {
                "cell_type": "markdown",
                "source": [line.removeprefix("#").removeprefix(" ") for line in lines],
            }
        else:
            cell |= {"cell_type": "code", "source": lines, "execution_count": None, "outputs": []}
        cells.append(cell)
    return cells


if __name__ == "__main__":
    main()
