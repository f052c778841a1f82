"""Planes that show the slice nearest to them."""

from __future__ import annotations

from components.compose.thickness.evening import evened
from components.shared.documents.thickness import Thickness, UnevenStep
from tests.builders import plan_of, transforms_of, with_slice

N = 8


def places(*positions: float | None, uneven: tuple[UnevenStep, ...] = ()) -> Thickness:
    return Thickness(first_z=0, positions=positions, uneven=uneven)


def test_each_plane_shows_the_slice_whose_place_is_nearest() -> None:
    transforms = transforms_of(plan_of(0, N - 1))
    after = evened(transforms, places(0, 0.6, 1.8, 3.4, 4.4, 5, 6, 7))
    assert [s.source_z for s in after.slices] == [0, 1, 2, 3, 4, 5, 6, 7]
    after = evened(transforms, places(0, 0.3, 0.7, 1.9, 3.1, 4.2, 5.6, 7))
    assert [s.source_z for s in after.slices] == [0, 2, 3, 4, 5, 6, 6, 7]
    assert [s.shown_z for s in after.slices] == [None, 2, 3, 4, 5, 6, None, None]
    assert after.slices[1].shown == "kept; its plane shows 2"
    assert [s.matrix for s in after.slices] == [s.matrix for s in transforms.slices]
    assert [after.plane(z).z for z in range(N)] == [0, 2, 3, 4, 5, 6, 6, 7]
    assert [after.plane(z, evened=False).z for z in range(N)] == list(range(N))


def test_bad_slices_give_way_and_decisions_stay() -> None:
    transforms = transforms_of(plan_of(0, N - 1), replaced={3: 2})
    transforms = with_slice(transforms, 5, override="{z: 5, keep: true}")
    transforms = with_slice(transforms, 6, action="blank")
    after = evened(transforms, places(0, 1, 1.5, None, 3.2, 4, 5, 6))
    assert [s.source_z for s in after.slices] == [0, 1, 2, 4, 5, 5, 6, 7]
    assert [s.shown_z for s in after.slices] == [None, None, None, 4, 5, None, None, None]


def test_lost_material_is_not_made_up() -> None:
    gap = UnevenStep(z=4, previous_z=3, kind="gap", step=4.0, sigma=0.2)
    transforms = transforms_of(plan_of(0, N - 1))
    assert evened(transforms, places(0, 1, 2, 3, 7, 8, 9, 10, uneven=(gap,))) == transforms


def test_where_nothing_is_known_nothing_changes_and_no_byte_is_added() -> None:
    transforms = transforms_of(plan_of(0, N - 1))
    assert evened(transforms, Thickness(first_z=0, unknown="few slices")) == transforms
    assert b"shown_z" not in transforms.to_json()
    assert b'"shown_z": 0' in with_slice(transforms, 1, shown_z=0).to_json()
