"""Laws of lifetimes of components: remaining lives carry that medians and spreads of lives are not known."""

from __future__ import annotations

import numpy as np
import pytest

from cem.lifetimes.laws import Empirical, LinkedLognormal, Lognormal, Weibull
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.component_lives import laws_of_components

ALL = [(np.arange(2), np.array([0.5, 0.5]))]


def of(law, draws, **options):
    one = [Lifetimes((draw,)) for draw in draws]
    found = laws_of_components(
        Lifetimes((law,)), one, np.zeros(1, dtype=np.int64), ALL, **{"reflect": False, "spread": 1.0, **options}
    )
    return found.laws[0]


def test_the_scatter_of_locations_widens_the_law():
    found = of(Lognormal(3.0, 0.2), [Lognormal(2.9, 0.2), Lognormal(3.1, 0.2)])
    assert found.location == pytest.approx(3.0) and found.scale**2 == pytest.approx(0.2**2 + 0.1**2)


@pytest.mark.parametrize("law", [Lognormal(3.0, 0.2), Weibull(5.0, 20.0), LinkedLognormal(3.0, 0.3, (0.1, 0.2))])
def test_laws_that_equal_the_fits_stay(law):
    for reflect in (False, True):
        found = of(law, [law, law], reflect=reflect)
        np.testing.assert_allclose(found.quantile(0.3), law.quantile(0.3), rtol=1e-12)
        assert type(found) is type(law)


def test_refits_with_too_little_spread_make_lives_less_sure():
    """A bootstrap that underestimates the spread of lives would make intervals shorter, not longer."""
    found = of(Lognormal(3.0, 0.2), [Lognormal(3.0, 0.1)] * 2, reflect=True)
    assert found.scale == pytest.approx(0.4)
    wear = of(Weibull(5.0, 20.0), [Weibull(10.0, 20.0)] * 2, reflect=True)
    assert wear.shape == pytest.approx(2.5)


def test_empirical_laws_have_no_parameters_to_be_uncertain_of():
    law = Empirical((10.0, 12.0), (0.5, 0.5), 0.1)
    assert laws_of_components(Lifetimes((law,)), [Lifetimes((law,))] * 2, np.zeros(1, dtype=np.int64), ALL,
                              reflect=True, spread=1.0) is None  # fmt: skip
