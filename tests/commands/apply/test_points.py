"""`fibstack apply` on points: what it reads, writes, says and refuses."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from components.shared.geometry import translation
from tests.builders import cli, plan_of, transforms_of, with_slice
from tests.components.shared.pictures.test_slice_map import random_rows, random_warp

SIZE = (170, 140)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Slices 17 to 22, slice z shifted by (z, 5) px; 20 is replaced by 19. Voxels of 8 x 8 x 20 nm."""
    plan = plan_of(17, 22, size_px=SIZE, resolution=(8, 8, 20), output=str(tmp_path / "aligned"))
    matrices = [translation(19 if z == 20 else z, 5) for z in range(17, 23)]
    write_documents(
        tmp_path / "aligned", plan, transforms_of(plan, matrices, size_px=(200, 150), replaced={20: 19})
    )
    return tmp_path / "aligned"


def write_documents(output: Path, plan, transforms) -> None:
    (output / "process").mkdir(parents=True, exist_ok=True)
    (output / "process/plan.json").write_bytes(plan.to_json())
    (output / "process/transforms.json").write_bytes(transforms.to_json())


def apply(output: Path, points: str, *flags: object, name: str = "points.csv") -> Result:
    """The answer of `apply` to points with this text; the moved ones go to new.csv or new.swc beside them."""
    given = output.parent / name
    given.write_bytes(points.encode())
    result = cli("apply", output, given, given.with_stem("new"), *flags)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def new(output: Path, suffix: str = ".csv") -> str:
    return (output.parent / f"new{suffix}").read_bytes().decode()


def test_a_table_keeps_all_but_the_places(output: Path) -> None:
    result = apply(output, 'id,X,label,y,Slice\n7,1.5,"a, b",2,17\n8,3,,4.25,18\n', "--unit", "px")
    assert result.exit_code == 0, result.output
    assert new(output) == 'id,X,label,y,Slice,fibstack_note\n7,18.5,"a, b",7,17,\n8,21,,9.25,18,\n'
    assert result.stdout == (
        f"2 points moved from the raw slices to the volume: {output.parent}/new.csv\n"
        "Places are in px; the middle of the first pixel lies at 0.\n"
    )


def test_points_without_an_ordinary_place_are_named_and_counted(output: Path) -> None:
    rows = ["10,10,19", "10,10,20", "11,11,20.3", "-9,0,17", "10,10,30"]
    result = apply(output, "\n".join(["x,y,z", *rows]), "--unit", "px")
    assert result.exit_code == 0, result.output
    table = list(csv.DictReader(new(output).splitlines()))
    assert [(row["x"], row["y"], row["z"], row["fibstack_note"]) for row in table] == [
        ("29", "15", "19", ""),
        ("29", "15", "20", "slice 20 is not shown: replaced by 19"),
        ("30", "16", "20.3", "slice 20 is not shown: replaced by 19"),
        ("8", "5", "17", "outside of slice 17"),
        ("32", "15", "30", "behind the last slice, 22; placed as that is"),
    ]
    assert "note: 2 points: slice 20 is not shown: replaced by 19\n" in result.stderr
    assert "note: 1 point: outside of slice 17\n" in result.stderr


def test_there_and_back_is_the_same_and_the_notes_are_those_of_the_last_way(output: Path) -> None:
    given = "x,y,z,name\n10.5,20.25,18.25,a\n10,10,20,b\n"
    assert apply(output, given, "--unit", "px").exit_code == 0
    back = apply(output, new(output), "--unit", "px", "--to", "slices", name="back.csv")
    assert back.exit_code != 0  # new.csv is there
    (output.parent / "new.csv").rename(output.parent / "there.csv")
    there = (output.parent / "there.csv").read_text()
    assert apply(output, there, "--unit", "px", "--to", "slices").exit_code == 0
    assert new(output) == (
        "x,y,z,name,fibstack_note\n10.5,20.25,18.25,a,\n10,10,19,b,plane 20 shows slice 19; placed in 19\n"
    )


def test_units_and_centers_are_what_is_said(output: Path) -> None:
    """Slice 18 lies at 18 x 20 nm; with centres at halves its picture reaches from there to 19 x 20 nm."""
    expected = {
        ("nm", "integers"): ("x,y,z\n80,160,360\n", "224,200,360"),
        ("um", "integers"): ("x,y,z\n0.08,0.16,0.36\n", "0.224,0.2,0.36"),
        ("px", "halves"): ("x,y,z\n10,20,18.9\n", "28,25,18.9"),
        ("nm", "halves"): ("x,y,z\n80,160,360\n", "224,200,360"),
        ("px", "integers"): ("x,y,z\n10,20,18.9\n", "29,25,18.9"),
    }
    for (unit, centers), (given, moved) in expected.items():
        result = apply(output, given, "--unit", unit, "--pixel-centers", centers)
        assert result.exit_code == 0, result.output
        assert new(output).splitlines()[1] == f"{moved},", (unit, centers)
        assert f"Places are in {unit}" in result.stdout
        assert (", 8 x 8 x 20 nm a voxel (as configured)" in result.stdout) == (unit != "px")
        (output.parent / "new.csv").unlink()


def test_a_column_of_slices_has_their_numbers_in_every_unit(output: Path) -> None:
    result = apply(output, "x,y,slice\n80,160,18\n", "--unit", "nm", "--pixel-centers", "halves")
    assert result.exit_code == 0, result.output
    assert new(output).splitlines()[1] == "224,200,18,"


def test_a_neuron_keeps_its_tree_and_its_radii_grow_as_the_slices_do(tmp_path: Path) -> None:
    output = tmp_path / "aligned"
    plan = plan_of(0, 3, size_px=SIZE, resolution=(8, 8, 8), output=str(output))
    grown = translation(2, 0) @ np.diag([1.5, 1.5, 1.0])
    write_documents(output, plan, transforms_of(plan, [np.eye(3), grown, grown, grown], size_px=(300, 300)))
    given = "# traced by hand\n1 1 80 80 0 40 -1\n\n 2 3 80 80 8 40.5 1\n3 3 80 80 80 40 2 more\n"
    result = apply(output, given, "--unit", "nm", name="cell.swc")
    assert result.exit_code == 0, result.output
    assert new(output, ".swc") == (
        "# traced by hand\n1 1 80 80 0 40 -1\n\n2 3 136 120 8 60.75 1\n3 3 136 120 80 60 2 more\n"
        "# fibstack: behind the last slice, 3; placed as that is: 3\n"
    )
    assert "note: 1 point: behind the last slice, 3; placed as that is\n" in result.stderr


def test_rows_and_soft_warps_come_back_within_a_hundredth_of_a_pixel(tmp_path: Path) -> None:
    output = tmp_path / "aligned"
    plan = plan_of(0, 3, size_px=SIZE, output=str(output))
    transforms = transforms_of(plan, [translation(3.5, 1.25)] * 4, size_px=(190, 160))
    for z in range(4):
        transforms = with_slice(transforms, z, rows=random_rows(z, 140, 1.5), warp=random_warp(z, SIZE, 3))
    write_documents(output, plan, transforms)
    points = np.random.default_rng(0).uniform(10, 130, (400, 2)).round(3)
    given = ["x,y,z", *(f"{x},{y},{number % 4}" for number, (x, y) in enumerate(points))]
    assert apply(output, "\n".join(given), "--unit", "px").exit_code == 0
    there = new(output)
    (output.parent / "new.csv").unlink()
    assert apply(output, there, "--unit", "px", "--to", "slices").exit_code == 0
    back = np.loadtxt(new(output).splitlines()[1:], delimiter=",", usecols=(0, 1))
    np.testing.assert_allclose(back, points, atol=0.01)
    moved = np.loadtxt(there.splitlines()[1:], delimiter=",", usecols=(0, 1))
    assert np.abs(moved - points - (3.5, 1.25)).max() > 1


def test_other_marks_line_ends_and_letters_stay(output: Path) -> None:
    given = "\ufeffx;y;z;name\r\n1;2;17;Häutchen\r\n"
    assert apply(output, given, "--unit", "px").exit_code == 0
    assert new(output) == "\ufeffx;y;z;name;fibstack_note\r\n18;7;17;Häutchen;\r\n"


def test_bytes_of_other_encodings_stay(output: Path) -> None:
    (output.parent / "points.csv").write_bytes(b"x,y,z,name\n1,2,17,H\xe4utchen\n")
    result = cli("apply", output, output.parent / "points.csv", output.parent / "new.csv", "--unit", "px")
    assert result.exit_code == 0, result.output
    assert (output.parent / "new.csv").read_bytes().endswith(b"18,7,17,H\xe4utchen,\n")


def test_a_table_without_points_has_none(output: Path) -> None:
    result = apply(output, "x,y,z\n", "--unit", "px")
    assert result.exit_code == 0, result.output
    assert new(output) == "x,y,z,fibstack_note\n"
    assert "0 points moved" in result.stdout


@pytest.mark.parametrize(
    ("text", "name", "code", "said"),
    [
        (
            "x,y,z\n1,2,17\n1,b,17\n",
            "p.csv",
            65,
            r"must be numbers.*; got 1, b, 17 in line 3 of p\.csv\. Mend",
        ),
        ("x,y,z\n1,nan,17\n", "p.csv", 65, r"must be numbers.*in line 2"),
        ("x,y,z\n1,1_000,17\n", "p.csv", 65, r"must be numbers.*; got 1, 1_000, 17 in line 2"),
        ('x;y;z\n"1,5";2;17\n', "p.csv", 65, r"with a point for decimals; got 1,5, 2, 17 in line 2"),
        ("x,y,z\n1,2\n", "p.csv", 65, r"must have the 3 columns that the first names; got 2 in line 2"),
        ("a,b\n1,2\n", "p.csv", 65, r"must name x, y, and either z or slice, each once; got 'a,b' in p\.csv"),
        ("x,y,z,slice\n1,2,3,4\n", "p.csv", 65, r"either z or slice, each once"),
        ("x,y,z,X\n1,2,3,4\n", "p.csv", 65, r"each once"),
        ("", "p.csv", 65, r"got 'nothing'"),
        ("1 1 80 80\n", "p.swc", 65, r"must have 7 columns.*; got 4 in line 1"),
        ("1 1 a 80 0 40 -1\n", "p.swc", 65, r"must be numbers.*; got a, 80, 0, 40 in line 1 of p\.swc"),
        ("x,y,z\n", "p.txt", 78, r"must lie in a file that ends in \.csv or \.swc; got p\.txt"),
    ],
)
def test_what_are_no_points_is_refused_and_nothing_is_written(
    output: Path, text: str, name: str, code: int, said: str
) -> None:
    result = apply(output, text, "--unit", "px", name=name)
    assert result.exit_code == code, result.output
    assert re.search(said, result.stderr), result.stderr
    assert result.stderr.splitlines()[-1].endswith(".")
    assert not list(output.parent.glob("new.*"))


def test_the_unit_must_be_given(output: Path) -> None:
    result = apply(output, "x,y,z\n1,2,17\n")
    assert result.exit_code == 78
    assert result.stderr == (
        "error: the unit of the points must be given, since their file tells none; got no --unit. Add "
        "--unit px, --unit nm or --unit um.\n"
    )


def test_a_file_that_is_there_stays(output: Path) -> None:
    (output.parent / "new.csv").write_text("mine")
    result = apply(output, "x,y,z\n1,2,17\n", "--unit", "px")
    assert result.exit_code == 65
    assert "must go to a new file; got" in result.stderr
    assert new(output) == "mine"
    into_itself = cli(
        "apply", output, output.parent / "points.csv", output.parent / "points.csv", "--unit", "px"
    )
    assert into_itself.exit_code == 65


def test_a_file_of_another_kind_is_refused(output: Path) -> None:
    (output.parent / "points.csv").write_text("x,y,z\n")
    result = cli("apply", output, output.parent / "points.csv", output.parent / "new.swc", "--unit", "px")
    assert result.exit_code == 78
    assert "a file of the same kind; got" in result.stderr


def test_an_output_whose_volume_is_not_what_its_transforms_say_is_told(output: Path) -> None:
    result = apply(output, "x,y,z\n1,2,17\n", "--unit", "px")
    assert f"note: the volume in {output} is not complete; points move as its transforms have it now." in (
        result.stderr
    )
