"""Points of a stack land where the volume shows what was there, and what lies nowhere is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from commands.export.exported import transforms_of_export
from components.shared.documents.plan import Plan, Reading, SourceSlice
from components.shared.documents.transforms import Transforms
from components.shared.geometry import rotation_about, translation
from components.shared.pictures.stack_map import MovedPoints, StackMap
from components.shared.volume.volume import GREY_TILES, volume_of
from components.shared.work.export import ShownPart
from components.tile.slab import make_slab
from tests.builders import plan_of, transforms_of, with_slice
from tests.components.shared.pictures.test_slice_map import random_rows, random_warp

FIRST, LAST = 17, 36
SIZE = (170, 140)
DOTS = np.array([[40.0, 30.0], [120.5, 45.25], [80.0, 70.0], [35.75, 110.5], [130.0, 105.0]])
"""Places of bright dots in each raw slice."""


def moved_stack() -> tuple[Plan, Transforms]:
    """Slices that are all shown, each shifted, turned, with its rows shifted and softly warped."""
    plan = plan_of(FIRST, LAST, size_px=SIZE, clip_limit=0)
    random = np.random.default_rng(8)
    matrices = [
        translation(*random.uniform(5, 15, 2)) @ rotation_about((85, 70), math.radians(random.uniform(-2, 2)))
        for _ in plan.slices
    ]
    transforms = transforms_of(plan, matrices, size_px=(195, 165))
    for z in range(FIRST, LAST + 1):
        transforms = with_slice(
            transforms, z, rows=random_rows(z, SIZE[1], 1.5), warp=random_warp(z, SIZE, 3.0)
        )
    return plan, transforms


def evened(transforms: Transforms) -> Transforms:
    """Two planes show slice 22, which is thick, and none 23; planes 26 to 29 show the slice that follows."""
    for plane, shown in {23: 22, 26: 27, 27: 28, 28: 29, 29: 30}.items():
        transforms = with_slice(transforms, plane, shown_z=shown)
    return transforms


def with_dots() -> NDArray[np.uint8]:
    """A raw slice, dark but for `DOTS`."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    picture = np.zeros(x.shape)
    for dot_x, dot_y in DOTS:
        picture += 250 * np.exp(-((x - dot_x) ** 2 + (y - dot_y) ** 2) / (2 * 2.0**2))
    return np.rint(picture).astype(np.uint8)


def volume_with(
    pictures: dict[int, NDArray[np.uint8]], plan: Plan, transforms: Transforms
) -> NDArray[np.uint8]:
    """`[z, y, x]`, the volume of raw slices."""
    volume = volume_of(plan, transforms)

    def read(entry: SourceSlice) -> list[NDArray[np.uint8]]:
        return [pictures.get(entry.z, np.zeros(SIZE[::-1], np.uint8))]

    slabs = [make_slab(plan, transforms, volume, slab, read) for slab in range(volume.n_slabs)]
    return np.concatenate([slab[GREY_TILES][0] for slab in slabs])


def center_of_light(plane: NDArray[np.uint8], near: NDArray[np.float64]) -> NDArray[np.float64]:
    """The centre of the dot that a plane shows near a place."""
    column, row = np.rint(near).astype(int)
    left, top = column - 9, row - 9
    window = plane[top : top + 19, left : left + 19].astype(np.float64)
    y, x = np.mgrid[: window.shape[0], : window.shape[1]]
    return np.array([(window * x).sum(), (window * y).sum()]) / window.sum() + (left, top)


def move(stack: tuple[Plan, Transforms], points: object, to: str) -> MovedPoints:
    return StackMap.of(*stack).moved(np.atleast_2d(np.array(points, np.float64)), to)  # type: ignore[arg-type]


def notes(moved: MovedPoints) -> list[str]:
    return [moved.notes[number] for number in moved.note]


@pytest.mark.parametrize("is_evened", [False, True])
def test_a_dot_of_a_raw_slice_lands_where_it_is_said_to(is_evened: bool) -> None:
    plan, transforms = moved_stack()
    transforms = evened(transforms) if is_evened else transforms
    n_seen = 0
    for z in (FIRST, 22, 24, 27, 28, LAST):
        volume = volume_with({z: with_dots()}, plan, transforms)
        moved = move((plan, transforms), [(x, y, z) for x, y in DOTS], "volume")
        assert set(notes(moved)) == {""}
        for x, y, plane in moved.xyz:
            place = np.array([x, y])
            found = center_of_light(volume[int(plane) - FIRST], place)
            assert np.abs(found - place).max() < 0.1  # the slice itself is bent within a dot
            n_seen += 1
        back = move((plan, transforms), moved.xyz, "slices")
        np.testing.assert_allclose(back.xyz, [(x, y, z) for x, y in DOTS], atol=0.01)
    assert n_seen == 30


def test_a_slice_that_evened_steps_leave_out_goes_beside_its_neighbour_and_is_named() -> None:
    plan, transforms = moved_stack()
    stack = plan, evened(transforms)
    moved = move(stack, [(80, 70, 23), (80, 70, 26.25)], "volume")
    assert notes(moved) == [
        "slice 23 is left out where steps along z are evened; placed beside 22",
        "slice 26 is left out where steps along z are evened; placed beside 25",
    ]
    assert moved.xyz[:, 2].tolist() == [22, 25.25]
    # Both planes of the thick slice lead back to it.
    back = move(stack, [(80, 70, 22), (80, 70, 23)], "slices")
    assert back.xyz[0].tolist() == back.xyz[1].tolist()
    assert notes(back) == ["", ""]


def test_the_fraction_of_z_stays_and_the_nearest_slice_tells_the_place() -> None:
    stack = moved_stack()
    moved = move(
        stack, [(80, 70, 20), (80, 70, 20.4), (80, 70, 19.5), (80, 70, 20.5), (80, 70, 21)], "volume"
    )
    assert moved.xyz[:, 2].tolist() == [20, 20.4, 19.5, 20.5, 21]
    same = [tuple(xy) for xy in moved.xyz[:, :2].tolist()]
    assert same[0] == same[1] == same[2]
    assert same[3] == same[4] != same[0]


def test_x_and_y_of_a_raw_slice_count_from_the_corner_of_the_whole_picture() -> None:
    plan = plan_of(0, 3, size_px=SIZE).model_copy(update={"reading": Reading(crop=(30, 20, *SIZE))})
    transforms = transforms_of(plan, [translation(5, 6)] * 4, size_px=(200, 200))
    stack = plan, transforms.model_copy(update={"slice_origin_xy_px": (30, 20)})
    moved = move(stack, [(30, 20, 2), (29, 20, 2)], "volume")
    assert moved.xyz.tolist() == [[5, 6, 2], [4, 6, 2]]
    assert notes(moved) == ["", "outside of slice 2"]
    assert move(stack, moved.xyz, "slices").xyz.tolist() == [[30, 20, 2], [29, 20, 2]]


def test_points_where_the_volume_shows_something_else_are_named_and_placed() -> None:
    plan = plan_of(0, 9, missing=[3], size_px=SIZE)
    matrices = [translation(z, 0) for z in range(10)]
    matrices[3], matrices[5], matrices[7] = matrices[2], matrices[4], matrices[8]  # as compose writes them
    transforms = transforms_of(plan, matrices, size_px=(190, 140), replaced={3: 2, 5: 4})
    transforms = with_slice(transforms, 7, action="blend", replaced_from=8, blended_with=6, verdict="blank")
    stack = plan, with_slice(transforms, 9, action="blank")
    moved = move(stack, [(10, 10, z) for z in (3, 5, 7, 9, 2)], "volume")
    assert notes(moved) == [
        "slice 3 is missing: replaced by 2",
        "slice 5 is not shown: replaced by 4",
        "slice 7 is not shown: replaced by the mean of 8 and 6",
        "slice 9 is not shown: left black",
        "",
    ]
    assert moved.xyz.tolist() == [[12, 10, 3], [14, 10, 5], [18, 10, 7], [19, 10, 9], [12, 10, 2]]
    back = move(stack, moved.xyz, "slices")
    assert notes(back) == [
        "plane 3 shows slice 2; placed in 2",
        "plane 5 shows slice 4; placed in 4",
        "plane 7 shows slices 8 and 6; placed in 8",
        "plane 9 is black",
        "",
    ]
    assert back.xyz.tolist() == [[10, 10, 2], [10, 10, 4], [10, 10, 8], [10, 10, 9], [10, 10, 2]]


def test_points_outside_are_named_and_placed() -> None:
    plan = plan_of(5, 9, size_px=SIZE)
    stack = plan, transforms_of(plan, [translation(-20, 0)] * 5, size_px=(100, 140))
    given = [(-0.5, 0, 5), (-0.6, 0, 5), (25, 139.5, 5), (50, 140, 5), (50, 50, 4.4), (50, 50, 1e300)]
    moved = move(stack, given, "volume")
    assert notes(moved) == [
        "outside of the volume",
        "outside of slice 5; outside of the volume",
        "",
        "outside of slice 5; outside of the volume",
        "before the first slice, 5; placed as that is",
        "behind the last slice, 9; placed as that is",
    ]
    np.testing.assert_allclose(moved.xyz, np.array(given) - (20, 0, 0))
    back = move(stack, [(-1, 0, 6), (90, 0, 6), (0, 0, 30)], "slices")
    assert notes(back) == ["outside of the volume", "", "behind the last slice, 9; placed as that is"]


def test_where_a_slice_is_folded_over_is_named() -> None:
    plan = plan_of(0, 1, size_px=SIZE)
    stack = plan, with_slice(transforms_of(plan), 1, warp=random_warp(1, SIZE, 100))
    points = np.column_stack([np.random.default_rng(0).uniform(20, 120, (300, 2)), np.ones(300)])
    assert any("slice 1 is folded over here" in note for note in notes(move(stack, points, "volume")))


def test_lengths_grow_as_the_slice_does() -> None:
    plan = plan_of(0, 1, size_px=SIZE)
    stack = plan, transforms_of(plan, [np.eye(3), np.diag([2.0, 0.5, 1.0]) @ np.diag([1.1, 1.1, 1.0])])
    assert move(stack, [(1, 1, 0), (1, 1, 1)], "volume").magnified.tolist() == [1, pytest.approx(1.1)]
    assert move(stack, [(1, 1, 1)], "slices").magnified.tolist() == [pytest.approx(1 / 1.1)]


def test_an_export_that_is_cut_along_z_tells_what_it_shows() -> None:
    plan, transforms = moved_stack()
    transforms = with_slice(transforms, 25, action="replace", replaced_from=24)
    transforms = with_slice(transforms, 30, shown_z=31)
    cut = transforms.model_copy(update={"slices": transforms.slices[25 - FIRST : 31 - FIRST]})
    moved = move((plan, cut), [(80, 70, 25), (80, 70, 30)], "slices")
    assert notes(moved) == [
        "plane 25 shows slice 24; placed in 24",
        "plane 30 shows slice 31, which is cut off; placed as 30 lies",
    ]
    assert moved.xyz[:, 2].tolist() == [24, 31]


def test_a_point_has_the_same_place_in_a_part_that_was_cut_out() -> None:
    plan, transforms = moved_stack()
    cut = ShownPart(
        source="", source_hash="", contrast=None, crop_xyz=((30, 90), (20, 80), (2, 15)), left_out=()
    )
    part, points = transforms_of_export(transforms, cut), [(60, 50, 25), (70.25, 41, 27)]
    np.testing.assert_allclose(
        move((plan, part), points, "volume").xyz, move((plan, transforms), points, "volume").xyz
    )
    there = move((plan, part), points, "slices").xyz
    np.testing.assert_allclose(move((plan, part), there, "volume").xyz, points, atol=1e-3)


def test_no_points_are_no_points() -> None:
    assert move(moved_stack(), np.empty((0, 3)), "volume").xyz.shape == (0, 3)
