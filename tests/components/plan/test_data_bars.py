"""`plan` finds the data bars of a stack once, names them, and says the `crop` that removes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from components.plan.fitness import data_bar_findings
from components.plan.main import make_plan
from components.plan.source import SAMPLING
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import DataBar, Plan, Reading
from components.shared.storage.folder import FolderStore
from components.shared.work.units import chunk_hash, chunks
from tests.components.plan.test_fitness import slices_of
from tests.components.shared.pictures.planted_bar import BAR_PX, SIDE_PX, bar, soft_tissue, with_bar

N = 12
SEEN_PX = SIDE_PX - BAR_PX
SENTENCE = (
    f"a data bar ({SIDE_PX} x {BAR_PX} px at the bottom) takes no part in alignment and is shown in the "
    f"volume; --set 'crop=[0, 0, {SIDE_PX}, {SEEN_PX}]' leaves it out of both"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    for z, picture in enumerate(soft_tissue(N)[0]):
        assert cv2.imwrite(str(tmp_path / f"raw/{z}.png"), with_bar(picture, bar(SIDE_PX, z)))
    return tmp_path


def planned(folder: Path, **keys: object) -> Plan:
    given = {"source": str(folder / "raw"), "image": "%d.png", "minz": 0, "maxz": N - 1, **keys}
    return make_plan(RunConfig.model_validate({"output": str(folder / "out"), **given}), 200)


def test_the_plan_holds_the_bar_and_names_the_crop_that_removes_it(folder: Path) -> None:
    plan = planned(folder)
    assert plan.data_bars == (
        DataBar(x=0, y=SEEN_PX, width_px=SIDE_PX, height_px=BAR_PX, picture_size_px=(SIDE_PX, SIDE_PX)),
    )
    assert plan.findings == (SENTENCE,)


def test_what_the_sentence_says_removes_the_bar(folder: Path) -> None:
    plan = planned(folder, crop=[0, 0, SIDE_PX, SEEN_PX])
    assert (plan.data_bars, plan.findings) == ((), ())


def test_a_crop_that_is_set_already_counts_in_the_sentence(folder: Path) -> None:
    (sentence,) = planned(folder, crop=[10, 20, 200, SIDE_PX - 20]).findings
    assert f"--set 'crop=[10, 20, 200, {SEEN_PX - 20}]'" in sentence


def test_a_few_pictures_are_read_and_none_by_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    whole = FolderStore.read

    def counted(store: FolderStore, key: str, crc32c: str | None = None) -> bytes:
        read.append(key)
        return whole(store, key, crc32c)

    monkeypatch.setattr(FolderStore, "read", counted)
    plan = planned(folder)
    assert len([key for key in read if key.endswith(".png")]) == SAMPLING.n_slices
    (folder / "out/process").mkdir(parents=True)
    (folder / "out/process/plan.json").write_bytes(plan.to_json())
    read.clear()
    assert planned(folder) == plan
    assert [key for key in read if key.endswith(".png")] == []


def test_a_damaged_slice_among_the_samples_is_left_to_align(folder: Path) -> None:
    damaged = folder / "raw/0.png"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    assert planned(folder).findings == (SENTENCE,)


def test_only_stacks_with_a_bar_have_other_hashes(folder: Path) -> None:
    plan = planned(folder)
    (first, *_) = chunks(plan)
    without, unlooked = (plan.model_copy(update={"data_bars": bars}) for bars in ((), None))
    assert chunk_hash(plan, first) != chunk_hash(without, first) == chunk_hash(unlooked, first)


def test_a_region_is_matched_without_the_bar_as_finely_as_a_picture_of_its_size(folder: Path) -> None:
    plan = planned(folder, match_region=[20, 60, 200, SIDE_PX - 60], match_size=100)
    assert plan.matched_part((SIDE_PX, SIDE_PX)) == (20, 60, 200, SEEN_PX - 60)
    assert plan.match_scale == 0.5
    cropped = planned(folder, crop=[10, 0, 240, SIDE_PX], match_region=[20, 60, 200, SIDE_PX - 60])
    assert cropped.matched_part((240, SIDE_PX)) == (10, 60, 200, SEEN_PX - 60)


def test_slices_of_two_sizes_get_a_crop_that_lies_in_both() -> None:
    below = DataBar(x=0, y=80, width_px=100, height_px=20, picture_size_px=(100, 100))
    label = DataBar(x=5, y=5, width_px=30, height_px=10, picture_size_px=(100, 100))
    (one,) = data_bar_findings([below], slices_of((100, 100), (90, 70)), Reading())
    assert "--set 'crop=[0, 0, 90, 50]'" in one
    (two,) = data_bar_findings([below, label], slices_of((100, 100)), Reading())
    assert two == (
        "2 data bars (100 x 20 px at the bottom; 30 x 10 px from x 5, y 5) take no part in alignment and are "
        "shown in the volume; --set 'crop=[0, 15, 100, 65]' leaves them out of both"
    )
    assert list(data_bar_findings([], slices_of((100, 100)), Reading())) == []
