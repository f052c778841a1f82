"""The whole pipeline on real FIB-SEM slices, as they are and with a planted motion."""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.planted import plant
from tests.e2e.stack import Stack, said
from tests.real_slices import real_stack


def _aligned(run_folder: Path, name: str, n_slices: int, moving: bool):
    source = run_folder / name
    first, last = plant(real_stack("fibsem_medulla"), source, seed=11, n_slices=n_slices, moving=moving)
    stack = Stack(source, run_folder / f"{name}-volume", first, last)
    stack.run_here(resolution=[10, 10, 10])
    return stack.accuracy()


def test_planted_motion_is_recovered(run_folder: Path, figure: Callable[..., None]) -> None:
    accuracy = _aligned(run_folder, "medulla-planted", n_slices=60, moving=True)
    figure(f"real slices, planted motion: {said(accuracy)}")
    assert accuracy.mean_px <= 0.35
    assert accuracy.p95_px <= 0.7
    assert accuracy.max_px <= 2.0


def test_aligned_slices_stay_where_they_are(run_folder: Path, figure: Callable[..., None]) -> None:
    accuracy = _aligned(run_folder, "medulla-still", n_slices=30, moving=False)
    figure(f"real slices, unmoved: {said(accuracy)}")
    assert accuracy.mean_px <= 0.3
