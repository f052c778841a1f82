"""Fixtures of the report's tests."""

import pytest


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time; only the tests that ask for them draw them."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(
            "components.report.page.figures.curves_svg", lambda z, panels, marked: "<svg ></svg>"
        )


@pytest.fixture
def drawn() -> None:
    """Draw the figures."""
