"""`fibstack sample`: what is written, and that it says the truth."""

from __future__ import annotations

import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from click.testing import Result

from commands.sample import microscope
from commands.sample.main import main
from commands.sample.slices import slice_picture
from commands.sample.truth import Truth
from commands.sample.walk import SLIP_PX, make_truth
from components.shared.documents.config import parse_config
from components.shared.geometry import rotation_deg
from tests.builders import invoke

DEFECTS = ["blank:1", "missing:2", "defocus:3", "half:4", "duplicate:6", "inverted:7", "slip:8"]
SIZE = (100, 72)


def sample(folder: Path, *arguments: str, slices: int = 2, workers: int = 1) -> Result:
    fixed = ["--size", f"{SIZE[0]}x{SIZE[1]}", "--slices", str(slices), "--workers", str(workers)]
    result = invoke(main, str(folder), *fixed, *arguments)
    assert result.exit_code == 0, result.output
    return result


def read(folder: Path, z: int) -> np.ndarray:
    picture = cv2.imread(str(folder / f"img.{z:05d}.png"), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    sample(folder, slices=10)
    return folder


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoiled")
    sample(folder, *(part for defect in DEFECTS for part in ("--defect", defect)), slices=10)
    return folder


def truth_of(folder: Path) -> Truth:
    return Truth.model_validate_json((folder / "truth.json").read_bytes())


def test_any_number_of_workers_writes_the_same_bytes(clean: Path, tmp_path: Path) -> None:
    sample(tmp_path, slices=10, workers=2)
    names = sorted(path.name for path in clean.iterdir())
    assert names == [*(f"img.{z:05d}.png" for z in range(10)), "run.yaml", "truth.json"]
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in set(names) - {"run.yaml"}:
        assert (clean / name).read_bytes() == (tmp_path / name).read_bytes()


def test_tissue_fills_every_slice(clean: Path) -> None:
    for z in range(10):
        picture = read(clean, z)
        assert (picture.dtype, picture.shape) == (np.uint8, (SIZE[1], SIZE[0]))
        assert picture.min() > 30
        assert 15 < picture.std() < 50


def test_the_line_tells_the_command_that_aligns(tmp_path: Path) -> None:
    folder = tmp_path / "my stack"
    result = sample(folder, "--first", "40")
    assert result.output.count("\n") == 1
    assert "wrote 2 slices of 100 x 72 px" in result.output
    (config_file,) = shlex.split(result.output.partition("fibstack run ")[2])
    config = parse_config(yaml.safe_load(Path(config_file).read_text()))
    assert (config.minz, config.maxz, config.source) == (40, 41, str(folder))
    assert sorted(path.name for path in folder.glob("img.*")) == ["img.00040.png", "img.00041.png"]


def test_16_bits_lie_in_a_narrow_range_and_show_the_same(clean: Path, tmp_path: Path) -> None:
    sample(tmp_path, "--bits", "16")
    picture = read(tmp_path, 1)
    assert picture.dtype == np.uint16
    assert picture.min() > 20_000
    assert int(picture.max()) - int(picture.min()) < 9_000
    assert len(np.unique(picture)) > 1_000
    black, step = microscope.LEVELS_16_BIT
    grey = np.rint((picture.astype(np.float64) - black) / step)
    assert np.abs(grey - read(clean, 1)).max() <= 1


def test_the_seed_decides(clean: Path, tmp_path: Path) -> None:
    sample(tmp_path, "--seed", "5")
    assert not np.array_equal(read(tmp_path, 0), read(clean, 0))
    assert truth_of(tmp_path).slices[1].matrix != truth_of(clean).slices[1].matrix


def test_the_truth_brings_neighbours_together(tmp_path: Path) -> None:
    """The pictures, and not only the document, lie where the truth says."""
    truth = make_truth(0, (256, 200), range(2), {1: "slip"})
    first, second = (slice_picture(truth, index, "uint8") for index in range(2))
    assert first is not None
    assert second is not None
    first_from_second = np.linalg.solve(np.array(truth.slices[0].matrix), np.array(truth.slices[1].matrix))
    moved = cv2.warpAffine(
        first, first_from_second[:2], (256, 200), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    inner = np.s_[50:-50, 50:-50]
    aligned = np.corrcoef(moved[inner].ravel(), second[inner].ravel())[0, 1]
    as_they_lie = np.corrcoef(first[inner].ravel(), second[inner].ravel())[0, 1]
    assert aligned > 0.88
    assert as_they_lie < 0.5


def test_the_walk_is_of_some_px_and_small_turns() -> None:
    truth = make_truth(1, (640, 600), range(400), {})
    matrices = np.array([s.matrix for s in truth.slices])
    center = np.array([319.5, 299.5, 1])
    steps = np.diff((matrices @ center)[:, :2], axis=0)
    assert 1.5 < np.median(np.abs(steps)) / 0.6745 < 2.5
    assert np.linalg.norm(steps, axis=1).max() > 8
    angles = np.array([rotation_deg(m) for m in matrices])
    assert 0.04 < np.diff(angles).std() < 0.1
    assert np.abs(angles).max() < 1.5
    assert np.linalg.det(matrices) == pytest.approx(np.ones(400))


def test_a_longer_sample_begins_like_a_shorter_one() -> None:
    assert make_truth(1, (64, 64), range(9), {}).slices[:3] == make_truth(1, (64, 64), range(3), {}).slices
    assert [s.z for s in make_truth(1, (64, 64), range(7, 9), {}).slices] == [7, 8]


class TestDefects:
    def test_truth_names_them(self, spoiled: Path) -> None:
        found = {f"{s.defect}:{s.z}" for s in truth_of(spoiled).slices if s.defect}
        assert found == set(DEFECTS)

    def test_other_slices_are_untouched(self, clean: Path, spoiled: Path) -> None:
        for z in (0, 5, 9):
            assert np.array_equal(read(spoiled, z), read(clean, z))
            assert truth_of(spoiled).slices[z] == truth_of(clean).slices[z]

    def test_blank(self, spoiled: Path) -> None:
        assert read(spoiled, 1).max() < 25
        assert 0.5 < read(spoiled, 1).std() < 3

    def test_missing(self, spoiled: Path, tmp_path: Path) -> None:
        assert not (spoiled / "img.00002.png").exists()
        sample(tmp_path, "--defect", "missing:0")
        assert yaml.safe_load((tmp_path / "run.yaml").read_text())["allow_gaps"] is True

    def test_defocus_loses_detail_but_not_noise(self, clean: Path, spoiled: Path) -> None:
        def mid_band(picture: np.ndarray) -> float:
            grey = picture.astype(np.float32)
            return float((cv2.GaussianBlur(grey, (0, 0), 1.5) - cv2.GaussianBlur(grey, (0, 0), 4)).std())

        def noise(picture: np.ndarray) -> float:
            return float(np.abs(cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F)).mean())

        assert mid_band(read(spoiled, 3)) < 0.3 * mid_band(read(clean, 3))
        assert noise(read(spoiled, 3)) > 0.5 * noise(read(clean, 3))

    def test_half(self, clean: Path, spoiled: Path) -> None:
        half = SIZE[1] // 2
        assert np.array_equal(read(spoiled, 4)[:half], read(clean, 4)[:half])
        assert not read(spoiled, 4)[half:].any()

    def test_duplicate(self, spoiled: Path) -> None:
        names = [spoiled / f"img.{z:05d}.png" for z in (5, 6)]
        assert names[0].read_bytes() == names[1].read_bytes()
        slices = truth_of(spoiled).slices
        assert slices[6].matrix == slices[5].matrix
        assert slices[7].matrix != slices[6].matrix

    def test_inverted(self, clean: Path, spoiled: Path) -> None:
        assert np.array_equal(read(spoiled, 7), 255 - read(clean, 7))

    def test_slip_and_back(self, clean: Path, spoiled: Path) -> None:
        moved = np.array(truth_of(spoiled).slices[8].matrix) - np.array(truth_of(clean).slices[8].matrix)
        assert moved[:2, 2] == pytest.approx(SLIP_PX)
        assert not np.array_equal(read(spoiled, 8), read(clean, 8))

    def test_inverted_16_bit_stays_in_range(self) -> None:
        truth = make_truth(0, (64, 64), range(1), {})
        inverted = make_truth(0, (64, 64), range(1), {0: "inverted"})
        plain, negative = slice_picture(truth, 0, "uint16"), slice_picture(inverted, 0, "uint16")
        assert plain is not None
        assert negative is not None
        total = plain.astype(np.int64) + negative
        assert total.min() == total.max()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "640"], "--size must be WIDTHxHEIGHT"),
        (["--size", "-5x10"], "--size must be WIDTHxHEIGHT"),
        (
            ["--size", "640x99999"],
            "--size must be WIDTHxHEIGHT, each between 64 and 16384 px; got '640x99999'",
        ),
        (["--slices", "0"], "--slices must be 1 or more"),
        (["--slices", "10", "--first", "99995"], "--slices must be 1 or more and end by slice 99999; got 10"),
        (["--first", "-1"], "--first must lie between"),
        (["--seed", "-1"], "--seed must lie between"),
        (["--seed", "2147483648"], "--seed must lie between 0 and 2147483647; got 2147483648"),
        (["--workers", "0"], "--workers must lie between"),
        (["--defect", "burnt:3"], "--defect must be KIND:Z with a kind of blank"),
        (["--defect", "blank"], "--defect must be KIND:Z"),
        (["--defect", "blank:48"], "--defect must name a slice from 0 to 47"),
        (["--defect", "blank:3", "--defect", "half:3"], "--defect must be the only one of its slice"),
        (["--defect", "duplicate:0"], "--defect must have a slice before it"),
    ],
)
def test_absurd_wishes_are_refused(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    result = invoke(main, str(tmp_path / "stack"), *arguments)
    assert result.exit_code == 78
    assert sentence in result.output
    assert not (tmp_path / "stack").exists()


def test_slices_of_another_sample_are_not_mixed_in(tmp_path: Path) -> None:
    sample(tmp_path, slices=3)
    sample(tmp_path, slices=3)
    result = invoke(main, str(tmp_path), "--size", "64x64", "--slices", "2")
    assert result.exit_code == 78
    assert "must hold no other slices; got 1, such as 'img.00002.png'" in result.output
