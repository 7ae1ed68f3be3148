"""The special functions against SciPy's: a wrong tail here is a false alarm, or a missed one, in the field."""

import numpy as np
import pytest
from scipy import special

from cem.numerics.special import chi_square_survival, regularised_upper_gamma


@pytest.mark.parametrize("shape", [0.5, 1, 1.5, 3, 7.5, 9.5, 10, 33.5, 400, 4000.5])
def test_upper_gamma_agrees_with_scipy_from_the_body_to_the_far_tail(shape):
    x = shape * np.concatenate([np.linspace(0.01, 3, 300), [0.999, 1.0, 1.001, 5.0, 20.0]]) + 1e-3
    expected = special.gammaincc(shape, x)
    found = regularised_upper_gamma(shape, x)
    body = expected > 1e-6
    np.testing.assert_allclose(found[body], expected[body], rtol=1e-12)
    # in the far tail log Q is large, and exp passes its rounding on (ours and SciPy's)
    tail = ~body & (expected > 1e-250)
    np.testing.assert_allclose(found[tail], expected[tail], rtol=3e-11)


def test_upper_gamma_of_a_million_readings_keeps_its_digits():
    shape = 500_000.0
    x = shape + np.array([-3000.0, -800.0, 0.0, 0.5, 800.0, 3000.0])
    np.testing.assert_allclose(regularised_upper_gamma(shape, x), special.gammaincc(shape, x), rtol=1e-10)


def test_upper_gamma_at_and_beyond_the_ends():
    np.testing.assert_array_equal(regularised_upper_gamma(2.0, [0.0, np.inf]), [1.0, 0.0])
    assert np.isnan(regularised_upper_gamma([0.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, np.nan])).all()


def test_chi_square_survival_of_nothing_observed_is_one():
    np.testing.assert_allclose(chi_square_survival([0.0, 3.84], [0, 1]), [1.0, special.chdtrc(1, 3.84)], rtol=1e-13)
