from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.compose.judge.classify import SliceVerdict
from components.compose.judge.intensity import intensity_range
from components.compose.judge.replacement import SliceAction, actions_of
from components.compose.solve.pairs import PairSupport
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Override, Replacement
from components.shared.documents.transforms import Action, Verdict
from components.shared.errors import UserError
from tests.components.compose.planted_stack import plant


def judged(
    first: int,
    last: int,
    bad: Mapping[int, str],
    overrides: Sequence[Override] = (),
    not_held: Collection[int] = (),
    **settings: Any,
) -> tuple[NDArray[np.int64], list[SliceAction]]:
    """Actions of a run; `bad` gives the verdicts by z, "missing" ones have no slot."""
    config = RunConfig(source="in", image="%d.png", minz=first, maxz=last, output="out", **settings)
    z = np.array([n for n in range(first, last + 1) if bad.get(n) != "missing"])
    verdicts = [SliceVerdict(bad.get(int(n), "good"), "why") for n in z]
    held = np.array([int(n) not in not_held for n in z])
    return z, actions_of(config, z, verdicts, held, overrides)


def shown(
    first: int, last: int, bad: Mapping[int, str], overrides: Sequence[Override] = (), **settings: Any
) -> dict[int, tuple[str | int, ...]]:
    """By z: the action with the z of the slices that are shown instead."""
    z, judgements = judged(first, last, bad, overrides, **settings)
    others = {}
    for j in judgements:
        sources = [int(z[j.shown_slot])] * j.is_replaced
        sources += [] if j.blended_slot is None else [int(z[j.blended_slot])]
        others[j.z] = (j.action, *sources)
    return others


def test_each_z_has_one_judgement_and_bad_ones_the_nearest_good_slice() -> None:
    bad = {2: "missing", 3: "isolated", 6: "missing", 7: "blank", 8: "missing"}
    assert shown(2, 9, bad, allow_gaps=True) == {
        2: ("replace", 4),
        3: ("replace", 4),
        4: ("keep",),
        5: ("keep",),
        6: ("replace", 5),
        7: ("replace", 5),  # 5 and 9 are as near: the lower
        8: ("replace", 9),
        9: ("keep",),
    }


@pytest.mark.parametrize(
    ("verdict", "held", "action"),
    [
        ("duplicate", True, "keep"),
        ("step", True, "keep"),
        ("slip", True, "keep"),
        ("slip", False, "replace"),
        ("inverted", True, "invert"),
        ("inverted", False, "replace"),
        ("partial", True, "replace"),
        ("defocused", True, "replace"),
        ("charged", True, "replace"),
        ("saturated", True, "replace"),
        ("isolated", False, "replace"),
    ],
)
def test_the_default_action_of_each_verdict(verdict: Verdict, held: bool, action: Action) -> None:
    _, judgements = judged(0, 4, {2: verdict}, not_held=() if held else (2,))
    assert (judgements[2].verdict, judgements[2].action, judgements[2].evidence) == (verdict, action, "why")


@pytest.mark.parametrize(
    ("policy", "first", "middle", "last"),
    [
        ("nearest", ("replace", 1), ("replace", 4), ("replace", 8)),
        ("previous", ("replace", 1), ("replace", 4), ("replace", 8)),
        ("next", ("replace", 1), ("replace", 7), ("replace", 8)),
        ("blend", ("replace", 1), ("blend", 4, 7), ("replace", 8)),
        ("blank", ("blank",), ("blank",), ("blank",)),
    ],
)
def test_policies_of_replacement(policy: Replacement, first: object, middle: object, last: object) -> None:
    found = shown(0, 9, {0: "blank", 5: "blank", 6: "blank", 9: "blank"}, replace_with=policy)
    assert (found[0], found[5], found[9]) == (first, middle, last)


def test_a_slice_that_is_turned_round_stands_in_for_none() -> None:
    assert shown(0, 5, {2: "inverted", 3: "blank"})[3] == ("replace", 4)


def test_a_run_longer_than_allowed_stops_with_the_ways_on() -> None:
    bad = {4: "blank", 5: "defocused", 6: "blank", 7: "isolated"}
    with pytest.raises(
        UserError, match=r"must be 3 at most; got 4 \(4-7: 4 blank, 5 defocused, 6 blank, 7 iso"
    ):
        judged(0, 9, bad)
    assert shown(0, 9, bad, max_replaced=4)[5] == ("replace", 3)
    assert shown(0, 9, bad, allow_gaps=True)[6] == ("replace", 8)


def test_a_decision_about_one_slice_parts_a_long_run() -> None:
    bad = dict.fromkeys((4, 5, 6, 7), "blank")
    assert shown(0, 9, bad, [Override(z=5, replace="previous")])[5] == ("replace", 3)
    assert shown(0, 9, bad, [Override(z=6, keep=True)])[7] == ("replace", 6)


def test_overrides_win_over_verdicts_and_policy() -> None:
    overrides = [
        Override(z=1, skip=True),
        Override(z=3, keep=True),
        Override(z=5, replace=8),
        Override(z=6, replace="blend"),
        Override(z=6, pin=(1.0, 2.0)),
        Override(z=7, cut=True),
    ]
    found = shown(0, 9, {3: "blank"}, overrides)
    assert [found[z] for z in (1, 3, 5, 6, 7)] == [
        ("replace", 0), ("keep",), ("replace", 8), ("blend", 4, 7), ("keep",),
    ]  # fmt: skip
    _, judgements = judged(0, 9, {3: "blank"}, overrides)
    assert judgements[6].override == "{z: 6, replace: blend}; {z: 6, pin: [1.0, 2.0]}"
    assert (judgements[3].verdict, judgements[7].override) == ("blank", "{z: 7, cut: true}")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (Override(z=5, replace=4), "must be shown itself; got slice 4"),
        (Override(z=5, replace=2), "must be shown itself; got slice 2"),
        (Override(z=2, keep=True), "must be there; got slice 2, which is missing"),
    ],
)
def test_overrides_that_cannot_be_followed(override: Override, said: str) -> None:
    with pytest.raises(UserError, match=said):
        judged(0, 9, {2: "missing", 4: "blank"}, [override], allow_gaps=True)


def test_where_nothing_is_good_all_is_shown() -> None:
    assert shown(0, 2, dict.fromkeys(range(3), "blank")) == dict.fromkeys(range(3), ("keep",))


def test_support_counts_accepted_pairs_and_weighs_residuals() -> None:
    planted = plant(12, 2, bad=[5])
    evidence = PairSupport.of(planted.pairs, planted.solve(), 12)
    assert evidence.n_pairs.tolist() == [2, 3, *[4] * 8, 3, 2]
    assert evidence.mean_weight[5] == 0
    assert evidence.residual_px[5] == 0
    assert evidence.mean_weight[4] == pytest.approx(0.75, abs=0.1)
    assert 0 < evidence.residual_px[4] < 0.5


def test_eight_bits_keep_their_range() -> None:
    assert intensity_range("uint8", np.array([7.0]), np.array([99.0])) == (0.0, 255.0)


def test_sixteen_bits_cover_drift_but_not_a_few_bad_slices() -> None:
    low = np.linspace(1000, 2000, 300)
    high = low + 20_000
    low[[0, 100, 101, 102]], high[[50, 51, 299]] = 0, 65535
    bottom, top = intensity_range("uint16", low, high)
    assert 1000 <= bottom <= 1060
    assert 21_940 <= top <= 22_000


def test_at_most_one_slice_in_a_hundred_reaches_beyond_the_range_at_each_end() -> None:
    """27 of 2,651 slices are 1.02%: to leave them all out would be too much, so the range holds them."""
    low, high = np.full(2651, 1000.0), np.full(2651, 9000.0)
    low[:27], high[-27:] = 900.0, 9500.0
    assert intensity_range("uint16", low, high) == (900.0, 9500.0)
    low[26], high[-27] = 1000.0, 9000.0
    assert intensity_range("uint16", low, high) == (1000.0, 9000.0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sixteen_bits_of_short_stacks(n: int) -> None:
    assert intensity_range("uint16", np.full(n, 10.0), np.full(n, 10.0)) == (10.0, 11.0)
