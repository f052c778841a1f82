"""`fibstack view` without a browser: its state, its server, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from commands.view import main as view
from commands.view.notes import Note, Shift, largest_shifts, notes_of
from commands.view.published import find_volumes
from commands.view.viewer import LayerSource, first_view, viewer_state
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.geometry import rotation_about, translation
from components.shared.storage.registry import open_store
from components.shared.volume.precomputed import info
from components.shared.volume.slice_numbers import SliceNumbers
from components.shared.volume.volume import volume_of
from tests.builders import invoke
from tests.components.report.finished_run import make_plan, make_transforms, np, preview_of

SIZE_XYZ = (1100, 70, 200)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder that looks finished: `info` and a file to read parts of."""
    folder = tmp_path / "out"
    plan = make_plan(folder, 200, resolution=(8, 8, 16))
    transforms = make_transforms(plan, [np.eye(3)] * 200, SIZE_XYZ)
    for written in volume_of(plan, transforms).outputs:
        open_store(written.uri).write("info", json.dumps(info(volume_of(plan, transforms), written)).encode())
    open_store(str(folder)).write("neuroglancer/jpeg/8x8x16/0.shard", bytes(range(100)))
    return folder


def test_the_state_shows_the_whole_volume() -> None:
    scale = {"size": [1000, 500, 200], "voxel_offset": [0, 0, 104], "resolution": [8, 8, 40]}
    layers = [LayerSource("jpeg", "http://here/jpeg", True), LayerSource("chunk", "http://here/chunk", False)]
    state = viewer_state(scale, SliceNumbers.of(None, scale), layers).to_json()
    assert state["dimensions"] == {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [4e-8, "m"]}
    assert state["position"] == [500, 250, 204]
    extent_voxels = 1000
    assert 300 <= extent_voxels / state["crossSectionScale"] <= 800
    assert [(layer["name"], layer.get("visible", True)) for layer in state["layers"]] == [
        ("jpeg", True),
        ("chunk", False),
    ]
    assert state["layers"][0]["source"] == [{"url": "precomputed://http://here/jpeg"}]


def test_the_volume_is_served_with_ranges_on_this_machine_alone(output: Path) -> None:
    viewer = view.serve(str(output))
    layers = viewer.state.to_json()["layers"]
    assert [layer["name"] for layer in layers] == ["jpeg", "chunk"]
    url = layers[0]["source"][0]["url"].removeprefix("precomputed://")
    assert url.startswith("http://127.0.0.1:")
    assert viewer.get_viewer_url().startswith("http://127.0.0.1:")
    request = urllib.request.Request(f"{url}/8x8x16/0.shard", headers={"Range": "bytes=10-19"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 206
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.read() == bytes(range(10, 20))


@pytest.mark.parametrize("no_browser", [True, False])
def test_the_address_is_printed_and_opened(
    output: Path, monkeypatch: pytest.MonkeyPatch, no_browser: bool
) -> None:
    opened = []
    monkeypatch.setattr(view.webbrowser, "open", opened.append)
    monkeypatch.setattr(view, "wait_for_interrupt", lambda: None)
    result = invoke(view.main, output, *(["--no-browser"] if no_browser else []))
    assert result.exit_code == 0, result.output
    address = result.output.split()[0]
    assert address.startswith("http://127.0.0.1:")
    assert opened == ([] if no_browser else [address])


def test_several_outputs_lie_side_by_side(output: Path, tmp_path: Path) -> None:
    shutil.copytree(output, tmp_path / "other")
    state = view.serve(str(output), str(tmp_path / "other")).state.to_json()
    assert state["layout"]["type"] == "row"
    panels = [panel["layers"] for panel in state["layout"]["children"]]
    assert panels == [[f"{o}: jpeg", f"{o}: chunk"] for o in (output, tmp_path / "other")]
    assert [layer["name"] for layer in state["layers"]] == [name for names in panels for name in names]
    for layer in state["layers"]:
        url = layer["source"][0]["url"].removeprefix("precomputed://")
        with urllib.request.urlopen(f"{url}/info", timeout=10) as answer:
            assert answer.status == 200


def free_ports() -> int:
    """The first of two ports that nobody listens at."""
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        return int(first.getsockname()[1])


def address_said(output: Path, *flags: str, home: Path) -> tuple[str, str]:
    """The address that `fibstack view` prints before it is ended, and what it says beside."""
    command = [sys.executable, "-m", "commands.view.main", str(output), "--no-browser", *flags]
    environment = {**os.environ, "XDG_STATE_HOME": str(home)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as view_process:
        assert view_process.stdout is not None
        assert view_process.stderr is not None
        address = view_process.stdout.readline().strip()
        view_process.send_signal(signal.SIGINT)
        return address, view_process.stderr.read()


def test_the_address_is_the_same_each_time_where_the_port_is_given(output: Path, tmp_path: Path) -> None:
    port = str(free_ports())
    first, said = address_said(output, "--port", port, home=tmp_path)
    again, _ = address_said(output, "--port", port, home=tmp_path)
    of_another_user, _ = address_said(output, "--port", port, home=tmp_path / "other")
    assert first == again
    assert first.startswith(f"http://127.0.0.1:{port}/v/")
    assert first != of_another_user, "nobody can guess it"
    assert (tmp_path / "fibstack/view").stat().st_mode & 0o077 == 0
    assert "Everybody" not in said


def test_who_is_answered_beyond_this_machine_is_told(output: Path, tmp_path: Path) -> None:
    address, said = address_said(output, "--host", "0.0.0.0", home=tmp_path)
    assert address.startswith("http://")
    assert "Everybody who reaches this machine" in said


def test_an_address_of_another_machine_is_refused(output: Path) -> None:
    result = invoke(view.main, output, "--host", "192.0.2.1", "--no-browser")
    assert result.exit_code == 78
    assert "--host must be an address of this machine" in result.output


def test_ctrl_c_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Event, "wait", interrupt)
    view.wait_for_interrupt()


@pytest.mark.parametrize(
    ("make_output", "exit_code", "said"),
    [
        (
            lambda folder: "https://host/out",
            78,
            "the address that this prints: fibstack link https://host/out",
        ),
        (str, 65, "a finished volume must be there"),
        (lambda folder: str(folder / "none"), 65, "a finished volume must be there"),
    ],
)
def test_what_cannot_be_viewed_is_refused_in_a_sentence(
    tmp_path: Path, make_output: Any, exit_code: int, said: str
) -> None:
    result = invoke(view.main, make_output(tmp_path))
    assert result.exit_code == exit_code
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_the_lossless_pyramid_is_preferred_to_its_finest_level(output: Path) -> None:
    open_store(str(output)).write("neuroglancer/raw/info", b"{}")
    assert [volume.name for volume in find_volumes(str(output))] == ["jpeg", "raw"]


def noted(plan: Plan, **changes: Any) -> list[Note]:
    """Transforms with slice 150 changed."""
    transforms = make_transforms(plan, [np.eye(3)] * 200, SIZE_XYZ)
    slices = [s.model_copy(update=changes) if s.z == 150 else s for s in transforms.slices]
    return transforms.model_copy(update={"slices": tuple(slices)})


def test_a_box_frames_each_slice_that_stands_out() -> None:
    scale = {"size": [1100, 70, 200], "voxel_offset": [0, 0, 0], "resolution": [8, 8, 16]}
    blank = noted(
        make_plan("out", 200), verdict="blank", action="replace", replaced_from=149, evidence="dark"
    )
    numbers = SliceNumbers.of(blank, scale)
    layers = [LayerSource("jpeg", "http://here/jpeg", True)]
    state = viewer_state(scale, numbers, layers, notes_of(blank)).to_json()
    (layer,) = [layer for layer in state["layers"] if layer["type"] == "annotation"]
    assert layer["source"][0]["url"] == "local://annotations"
    assert layer["annotations"] == [
        {
            "type": "axis_aligned_bounding_box",
            "id": "slice-150",
            "pointA": [0, 0, 150],
            "pointB": [1100, 70, 151],
            "description": "slice 150: blank, replaced by 149 (dark)",
        }
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"verdict": "step"}, "slice 150: step, kept"),
        ({"action": "blank"}, "slice 150: good, left black"),
        ({"verdict": "inverted", "action": "invert"}, "slice 150: inverted, turned round"),
    ],
)
def test_steps_and_decisions_are_noted_too(changes: Any, text: str) -> None:
    (note,) = notes_of(noted(make_plan("out", 200), **changes))
    assert (note.text, note.slice_z) == (text, 150)


def moved(shifts_px: Any, n_slices: int = 200, **changes: Any) -> Transforms:
    """Transforms where the slices from each z on lie so far along x."""
    matrices = [translation(sum(px for at, px in shifts_px.items() if at <= z), 0) for z in range(n_slices)]
    transforms = make_transforms(make_plan("out", n_slices), matrices, SIZE_XYZ)
    slices = [s.model_copy(update=changes.get(f"z{s.z}", {})) for s in transforms.slices]
    return transforms.model_copy(update={"slices": tuple(slices)})


def test_the_largest_shifts_are_noted_with_how_far() -> None:
    notes = notes_of(moved({30: 14.2, 90: -3.0, 120: 0.4}))
    assert [(n.layer, n.slice_z, n.text) for n in notes] == [
        ("largest shifts", 30, "slice 30: shift 14.2 px against 29"),
        ("largest shifts", 90, "slice 90: shift 3.0 px against 89"),
    ]


def test_a_shift_over_a_slice_that_is_not_shown_is_not_lost() -> None:
    """Where the bad slice lies is not known: what counts is how the slice after it lies to the one before."""
    shifted = moved({30: 500.0, 31: -493.0}, z30={"action": "replace", "replaced_from": 29})
    assert largest_shifts(shifted) == [Shift(31, 29, pytest.approx(7))]


def test_only_the_twenty_largest_shifts_are_noted() -> None:
    shifts = largest_shifts(moved({z: 1.0 + z for z in range(1, 31)}))
    assert [shift.z for shift in shifts] == list(range(11, 31))
    assert [shift.px for shift in shifts] == pytest.approx([12.0 + n for n in range(20)])


def test_a_rotation_shifts_nothing_in_the_middle() -> None:
    about_middle = rotation_about(((SIZE_XYZ[0] - 1) / 2, (SIZE_XYZ[1] - 1) / 2), 0.2)
    transforms = make_transforms(make_plan("out", 2), [np.eye(3), about_middle], SIZE_XYZ)
    assert largest_shifts(transforms) == []
    assert largest_shifts(make_transforms(make_plan("out", 1), [np.eye(3)], SIZE_XYZ)) == []


def test_each_kind_of_note_has_a_layer_of_its_own_colour() -> None:
    scale = {"size": [1100, 70, 200], "voxel_offset": [0, 0, 0], "resolution": [8, 8, 16]}
    transforms = moved({30: 14.2}, z30={"verdict": "step"}, z50={"verdict": "blank", "action": "blank"})
    state = viewer_state(scale, SliceNumbers.of(transforms, scale), [], notes_of(transforms))
    layers = state.to_json()["layers"]
    found = {layer["name"]: [note["id"] for note in layer["annotations"]] for layer in layers}
    assert found == {
        "bad and replaced slices": ["slice-50"],
        "steps": ["slice-30"],
        "largest shifts": ["slice-30"],
    }
    assert len({layer["annotationColor"] for layer in layers}) == 3
    (point,) = layers[-1]["annotations"]  # boxes around many slices would hide a thin stack
    assert (point["type"], point["point"]) == ("point", [550, 35, 30.5])


def test_the_first_view_is_the_worst_slice_and_may_leave_out_notes(output: Path) -> None:
    blanks = {f"z{z}": {"verdict": "blank", "action": "blank"} for z in range(10, 70)}
    transforms = moved({150: 9.0}, **blanks)
    store = open_store(str(output))
    store.write("process/transforms.json", transforms.to_json())
    store.write("process/preview.json", preview_of(n=200).to_json())
    volumes = find_volumes(str(output))
    addresses = {volume.name: "http://here" for volume in volumes}
    for most, n_marked in ((None, 60), (50, 50)):
        state, n_left_out = first_view(str(output), addresses, volumes, most)
        assert state.position[2] == preview_of().worst[0].z + 0.5
        *_, bad, shifts = state.to_json()["layers"]
        assert (len(bad["annotations"]), len(shifts["annotations"]), n_left_out) == (
            n_marked,
            1,
            60 - n_marked,
        )


def test_a_good_volume_has_no_notes(output: Path) -> None:
    good = make_transforms(make_plan(output, 200), [np.eye(3)] * 200, SIZE_XYZ)
    assert notes_of(good) == []


def test_a_plane_that_shows_another_slice_is_noted_by_both_numbers() -> None:
    evened = moved({}, z50={"shown_z": 51})
    (note,) = notes_of(evened)
    assert (note.slice_z, note.text) == (50, "plane 50 shows slice 51, which lies nearer")
    scale = {"size": [1100, 70, 200], "voxel_offset": [0, 0, 0], "resolution": [8, 8, 16]}
    (layer,) = viewer_state(scale, SliceNumbers.of(evened, scale), [], [note]).to_json()["layers"]
    assert layer["annotations"][0]["point"] == [550, 35, 50.5]


@pytest.mark.parametrize(
    ("first_z", "slice_nm", "said"),
    [
        (150, 16, ""),
        (200, 16, "has slices 200 to 399 and {first} slices 0 to 199: where one is seen the other is empty"),
        (0, 32, "those of {other} have 32 nm: its slice n is seen at z = n x 2."),
    ],
)
def test_outputs_that_cannot_lie_beside_each_other_are_named(
    output: Path, tmp_path: Path, first_z: int, slice_nm: int, said: str
) -> None:
    other = tmp_path / "other"
    for folder, z, side_nm in ((output, 0, 16), (other, first_z, slice_nm)):
        plan = make_plan(folder, 200, resolution=(8, 8, side_nm))
        transforms = make_transforms(plan, [np.eye(3)] * 200, SIZE_XYZ)
        slices = tuple(s.model_copy(update={"z": s.z + z}) for s in transforms.slices)
        volume = volume_of(plan, transforms)
        store = open_store(str(folder))
        for written in volume.outputs:
            open_store(written.uri).write("info", json.dumps(info(volume, written)).encode())
        store.write("process/transforms.json", transforms.model_copy(update={"slices": slices}).to_json())
    sentences = list(view.numbered_otherwise([str(output), str(other)]))
    assert bool(sentences) == bool(said)
    if said:
        assert said.format(first=output, other=other) in sentences[0]


@pytest.mark.parametrize(
    ("size_z", "offset_z", "resolution_z", "shift"),
    [
        (200, 0, 16, 117),  # info cannot carry the numbers
        (200, 117, 16, None),
        (100, 0, 32, 58.5),  # level 0 is not written
        (100, 58, 32, 0.5),
    ],
)
def test_a_slice_is_shown_at_the_number_of_its_file(
    size_z: int, offset_z: int, resolution_z: int, shift: float | None
) -> None:
    transforms = noted(make_plan("out", 200), verdict="step")
    slices = tuple(s.model_copy(update={"z": s.z + 117}) for s in transforms.slices)
    transforms = transforms.model_copy(update={"slices": slices})
    scale = {"size": [1100, 70, size_z], "voxel_offset": [0, 0, offset_z], "resolution": [8, 8, resolution_z]}
    numbers = SliceNumbers.of(transforms, scale)
    layers = [
        LayerSource("jpeg", "http://here", True),
        LayerSource("chunk", "http://here", False, n_channels=2),
    ]
    state = viewer_state(scale, numbers, layers, notes_of(transforms)).to_json()
    assert state["dimensions"]["z"] == [1.6e-8, "m"]
    assert state["position"][2] == 117 + 100
    *sources, notes = state["layers"]
    assert [notes["annotations"][0][point][2] for point in ("pointA", "pointB")] == [267, 268]
    for layer, channels in zip(sources, ({}, {"c^": [1, ""]}), strict=True):
        transform = layer["source"][0].get("transform")
        assert (transform is None) == (shift is None)
        if transform is not None and shift is not None:
            side_m = resolution_z * 1e-9
            axes = {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [side_m, "m"], **channels}
            assert transform["outputDimensions"] == axes
            expected = np.eye(len(axes), len(axes) + 1)
            expected[2, -1] = shift
            np.testing.assert_array_equal(transform["matrix"], expected)
            # Where the voxels of the middle slice lie, in slices: as many as a voxel holds for each voxel.
            first = (offset_z + transform["matrix"][2][-1]) * resolution_z / 16
            assert first == 117


def test_the_viewer_shows_the_notes_of_a_run(output: Path) -> None:
    blank = noted(make_plan(output, 200), verdict="blank", action="blank")
    open_store(str(output)).write("process/transforms.json", blank.to_json())
    layers = view.serve(str(output)).state.to_json()["layers"]
    assert [layer["name"] for layer in layers] == ["jpeg", "chunk", "bad and replaced slices"]


def test_channels_are_shown_in_colours_and_16_bit_in_the_range_of_the_slices(tmp_path: Path) -> None:
    scale = {"size": [1000, 500, 200], "voxel_offset": [0, 0, 104], "resolution": [8, 8, 40]}
    layers = [
        LayerSource("jpeg", "http://here/jpeg", True, n_channels=3),
        LayerSource("raw", "http://here/raw", False, n_channels=5, grey_range=(900, 30_000)),
        LayerSource("chunk", "http://here/chunk", False, n_channels=1, grey_range=(900, 30_000)),
    ]
    colour, several, grey = viewer_state(scale, SliceNumbers.of(None, scale), layers).to_json()["layers"]
    assert "emitRGB" in colour["shader"]
    assert colour["shaderControls"] == {name: {"range": [0, 255]} for name in ("red", "green", "blue")}
    assert "slider(min=0, max=4, default=0)" in several["shader"]
    assert grey["shaderControls"] == {"normalized": {"range": [900, 30_000]}}
    assert "emitGrayscale(normalized())" in grey["shader"]


def test_what_a_web_server_shows_is_linked_to() -> None:
    done = invoke(view.main, "https://lab.org/aligned")
    assert done.exit_code == 78
    assert "fibstack link https://lab.org/aligned" in done.output
