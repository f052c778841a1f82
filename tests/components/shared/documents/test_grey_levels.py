"""What the numbers of the lossless volume are is said, with the settings that give raw ones."""

from typing import Any

import pytest

from components.shared.documents.plan import Plan
from tests.builders import plan_of


def told(pixel_type: Any, **settings: Any) -> str:
    plan: Plan = plan_of(0, 1, size_px=(8, 8), pixel_type=pixel_type, **settings)
    return plan.lossless_grey_levels


@pytest.mark.parametrize(
    ("pixel_type", "settings", "said"),
    [
        ("uint8", {}, "have raw ones: --set clip_limit=0 --set intensity=none."),
        ("uint8", {"clip_limit": 0}, "have raw ones: --set intensity=none."),
        ("uint8", {"clip_limit": 0, "intensity": "none"}, "has the raw grey levels of the slices, interp"),
        ("uint16", {}, "not raw: mapped from 16 bit to 8, local contrast evened (clip_limit 0.02)"),
        ("uint16", {}, "have raw ones: --set keep_bits=true."),
        ("uint16", {"keep_bits": True}, "the raw grey levels of the slices, at 16 bit"),
    ],
)
def test_it_follows_from_the_settings(pixel_type: str, settings: dict[str, Any], said: str) -> None:
    assert said in told(pixel_type, **settings)


def test_the_settings_that_it_names_give_raw_grey_levels() -> None:
    assert "not raw" not in told("uint8", clip_limit=0, intensity="none", streaks="report")
    assert "not raw" not in told("uint16", keep_bits=True)
    assert "streaks=report" in told("uint8", streaks="filter")
