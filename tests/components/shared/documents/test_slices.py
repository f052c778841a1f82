"""The lines of `slices.jsonl`."""

import math

import pytest

from components.shared.documents.slices import SliceRow, read_rows


def test_absent_null_and_unknown_keys_are_tolerated() -> None:
    lines = ['{"z": 0}', '{"z": 1, "dx_px": 2, "ncc_after": null, "uri": "u", "other": [1]}', ""]
    first, second = read_rows(lines)
    assert (first.z, first.n_edges, first.replaced_from, first.verdict) == (0, 0, None, "")
    assert (second.dx_px, second.uri) == (2, "u")
    assert math.isnan(second.sigma_px)
    assert second.ncc_after is not None
    assert math.isnan(second.ncc_after)


@pytest.mark.parametrize(
    "line", ["[]", "{}", '{"z": "0"}', '{"z": 0, "dx_px": "x"}', '{"z": 0, "dx_px": []}']
)
def test_what_is_no_line_of_a_table_is_refused(line: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_rows([line])


def test_what_is_written_is_read() -> None:
    row = SliceRow(
        z=3, uri="source/img.00003.png", matrix=((1, 0, 0.5), (0, 1, 0), (0, 0, 1)), verdict="blank",
        action="replace", replaced_from=2, n_edges=7, edge_weight=0.5, residual_px=0.25, dx_px=1.5, dy_px=0,
        rotation_deg=0.125, scale_ppm=3, shear_ppm=2, step_px=None, n_features=None, content_fraction=1,
        ncc_before=None, streak_gain=1.5, streak_damage=1.0,
        ncc_after=0.5, z_position=3.25, z_step=1.25, z_step_sigma=None,
    )  # fmt: skip
    (read,) = read_rows([row.model_dump_json()])
    unknown = {"step_px", "ncc_before", "z_step_sigma"}
    assert read.model_dump(exclude=unknown | {"matrix"}) == row.model_dump(exclude=unknown | {"matrix"})
    assert all(math.isnan(getattr(read, name)) for name in unknown)
