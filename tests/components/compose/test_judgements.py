import numpy as np
import pytest
from planted_stack import plant

from components.compose.intensity import intensity_range
from components.compose.verdicts import judge, support


def test_each_z_has_one_judgement_and_bad_ones_the_nearest_good_slice():
    z = np.array([3, 4, 5, 7, 9])
    isolated = np.array([True, False, False, True, False])
    found = [(j.z, j.verdict, int(z[j.shown_slot])) for j in judge(2, 9, z, isolated)]
    assert found == [
        (2, "missing", 4),
        (3, "isolated", 4),
        (4, "good", 4),
        (5, "good", 5),
        (6, "missing", 5),
        (7, "isolated", 5),  # 5 and 9 are as near: the lower
        (8, "missing", 9),
        (9, "good", 9),
    ]


def test_support_counts_accepted_pairs_and_weighs_residuals():
    planted = plant(12, 2, bad=[5])
    evidence = support(planted.pairs, planted.solve(), 12)
    assert evidence.n_pairs.tolist() == [2, 3, *[4] * 8, 3, 2]
    assert evidence.mean_weight[5] == 0
    assert evidence.residual_px[5] == 0
    assert evidence.mean_weight[4] == pytest.approx(0.75, abs=0.1)
    assert 0 < evidence.residual_px[4] < 0.5


def test_eight_bits_keep_their_range():
    assert intensity_range("uint8", np.array([7.0]), np.array([99.0])) == (0.0, 255.0)


def test_sixteen_bits_cover_drift_but_not_a_few_bad_slices():
    low = np.linspace(1000, 2000, 300)
    high = low + 20_000
    low[[0, 100, 101, 102]], high[[50, 51, 299]] = 0, 65535
    bottom, top = intensity_range("uint16", low, high)
    assert 1000 <= bottom <= 1060
    assert 21_940 <= top <= 22_000


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sixteen_bits_of_short_stacks(n):
    assert intensity_range("uint16", np.full(n, 10.0), np.full(n, 10.0)) == (10.0, 11.0)
