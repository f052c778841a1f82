"""The notebook that `fibstack notebook` writes: its form, and what its cells find in a run."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorstore as ts
from click.testing import Result

from commands import notebook
from components.report import main as report
from components.report.run_document import RunDocument
from components.shared.storage.registry import open_store
from tests.builders import invoke
from tests.components.pyramid.pyramid_builders import AlignedStack, textured
from tests.components.report.finished_run import SIZE_XYZ, finished_run


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, module_patch: pytest.MonkeyPatch) -> str:
    plan, _, _ = finished_run(tmp_path_factory.mktemp("a run"))
    done = invoke(report.main, "--output", plan.config.output, "--status", "Succeeded")
    assert done.exit_code == 0, done.output
    return plan.config.output


@pytest.fixture(scope="module")
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.report.page.figures.curves_svg", lambda z, panels, marked: "<svg ></svg>")
        yield patch


def write(*args: object) -> Result:
    return invoke(notebook.main, *args)


@pytest.fixture
def written(output: str, tmp_path: Path) -> Path:
    file = tmp_path / "run.ipynb"
    done = write(output, file)
    assert done.exit_code == 0, done.output
    return file


def code_of(file: Path) -> str:
    cells = json.loads(file.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def run_python(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script],
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_has_the_form_of_a_notebook(written: Path) -> None:
    document = json.loads(written.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in document["cells"]]
    assert len(ids) == len(set(ids)) > 8
    assert {cell["cell_type"] for cell in document["cells"]} == {"markdown", "code"}
    for cell in document["cells"]:
        assert ("outputs" in cell) == (cell["cell_type"] == "code")
    ast.parse(code_of(written))
    (title, _, verdict, *_) = document["cells"][0]["source"]
    assert title == "# A stack, aligned\n"
    assert verdict.startswith("The volume is complete")


def test_a_notebook_needs_no_fibstack(written: Path) -> None:
    imported = {
        name.name
        for node in ast.walk(ast.parse(code_of(written)))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported == {"io", "json", "matplotlib.pyplot", "numpy", "pandas", "tensorstore"}


def test_the_cells_run_and_find_the_slices_and_the_volume(written: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="the notebook's tables need pandas")
    script = tmp_path / "cells.py"
    script.write_text(code_of(written) + "\nprint(len(slices), volume.shape, level)\n")
    done = run_python(script)
    assert done.returncode == 0, done.stderr
    half = tuple(n // 2 for n in SIZE_XYZ)
    assert done.stdout.splitlines()[-1] == f"{SIZE_XYZ[2]} {(*half, 1)} 1"


@pytest.mark.parametrize(
    ("width_px", "shown_z", "title"),
    [
        (100, None, "XY, slice 20"),
        (100, 21, "XY, slice 20, which shows 21"),
        (2500, None, "XY, slices 21 to 22"),
    ],
    ids=["fine", "another is shown", "coarse"],
)
def test_it_speaks_of_the_numbers_of_the_files(
    tmp_path: Path, width_px: int, shown_z: int | None, title: str
) -> None:
    """Slices 17 to 22: info cannot carry their numbers, and a wide volume is shown at a coarse level."""
    stack = AlignedStack(tmp_path / "out", textured((6, 40, width_px)), minz=17, raw_pyramid=False)
    assert stack.volume.voxel_offset_xyz == (0, 0, 0)
    stack.write_blocks()
    stack.write_info()
    process = open_store(str(tmp_path / "out/process"))
    slices = list(stack.transforms.slices)
    slices[3] = slices[3].model_copy(update={"shown_z": shown_z})
    evened = stack.transforms.model_copy(update={"slices": tuple(slices)})
    process.write("transforms.json", evened.to_json())
    run = RunDocument.model_construct(config=stack.config, summary=("The volume is complete.",))
    cells = notebook.notebook(run, str(tmp_path / "out"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    wanted = [text for text in code if "slices[" not in text and "pd.read_json" not in text]
    told = "axes[0].get_title(), slice_of(volume.domain.origin[2]), index_of(22)"
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join([*wanted, f"print(*map(str, [{told}]), sep=' | ')"]))
    done = run_python(script)
    assert done.returncode == 0, done.stderr
    last = 5 if width_px == 100 else 1
    assert done.stdout.splitlines()[-1] == f"{title} | 17 | {last}"


def test_jupyter_runs_it(written: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="to run a notebook as Jupyter does takes nbclient")
    pytest.importorskip("ipykernel", reason="to run a notebook as Jupyter does takes ipykernel")
    pytest.importorskip("pandas", reason="the notebook's tables need pandas")
    import nbformat

    document = nbformat.read(written, as_version=4)
    nbformat.validate(document)
    nbclient.NotebookClient(document, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [kind for cell in document.cells for o in cell.get("outputs", ()) for kind in o.get("data", ())]
    assert shown.count("image/png") == 2


def test_a_file_that_is_there_is_left_alone(output: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.ipynb"
    file.write_text("mine")
    done = write(output, file)
    assert done.exit_code == 65
    assert "Give another name" in done.output
    assert file.read_text() == "mine"


def test_it_is_named_after_the_run_where_no_name_is_given(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert write(output).exit_code == 0
    assert (tmp_path / "fibstack.ipynb").is_file()


def test_a_run_that_has_not_ended_has_no_notebook(tmp_path: Path) -> None:
    done = write(tmp_path / "none", tmp_path / "new.ipynb")
    assert done.exit_code == 65
    assert "run.json" in done.output
    assert not (tmp_path / "new.ipynb").exists()


def test_a_bucket_is_named_by_its_own_address() -> None:
    assert notebook.address_of("gs://em_process/run1") == "gs://em_process/run1/"


def test_a_bucket_of_s3_is_opened_on_its_server_and_no_login_is_written(
    s3_server: str, s3_bucket: str
) -> None:
    open_store(f"s3://{s3_bucket}/out").write("process/a", b"x")
    address = notebook.address_of(f"s3://{s3_bucket}/out/process")
    assert address == {
        "driver": "s3",
        "bucket": s3_bucket,
        "path": "out/process/",
        "endpoint": s3_server,
        "aws_region": "us-east-1",
    }
    login = {"aws_credentials": {"type": "environment"}}
    assert ts.KvStore.open({**address, **login}).result()["a"] == b"x"
