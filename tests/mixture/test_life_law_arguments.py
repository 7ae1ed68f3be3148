"""Laws of remaining lives refuse what is no number by name, iterate, and integrate where they rise."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.errors import OptionError
from cem.passage.first_passage import first_passage
from cem.prognosis.calibration import Calibration
from cem.prognosis.corrected_passage import CorrectedPassage


def line(n_units: int = 2, spread: float = 1e-3, monotone: bool = False):
    """Lines of slope 1 from 0 at time 0, read until 4; they cross 8 at 8, that is in 4."""
    basis = cem.Polynomial(1).bind((0.0, 20.0))
    to_coefficients = np.linalg.inv(basis(np.array([0.0, 20.0])))
    mean = to_coefficients @ np.array([0.0, 20.0])
    covariance = to_coefficients @ np.diag([spread**2, (20 * spread) ** 2]) @ to_coefficients.T
    return first_passage(
        basis, np.ones((n_units, 1)), np.tile(mean, (n_units, 1, 1)), np.tile(covariance, (n_units, 1, 1, 1)),
        0.0, 4.0, 8.0, monotone=monotone,
    )  # fmt: skip


@pytest.mark.parametrize("cap", [5.0, 125.0, 1e4])
@pytest.mark.parametrize("corrected", [False, True])
def test_a_capped_mean_lies_where_a_narrow_law_lies(cap: float, corrected: bool) -> None:
    """The integral once stepped over a law much narrower than the cap, and gave a mean outside the 99 % interval."""
    law = line()
    if corrected:
        law = CorrectedPassage(law, Calibration(knots=(-1.0, 1.0), images=(-1.0, 1.0)))
    low, high = law.interval(0.999)
    assert np.all((low < law.mean(cap=cap)) & (law.mean(cap=cap) < high))
    np.testing.assert_allclose(law.mean(cap=cap), 4.0, rtol=1e-3)


def test_a_capped_mean_is_the_integral_of_survival() -> None:
    """A wide law, against a plain sum over a fine grid."""
    law = line(spread=0.1)
    times = np.linspace(0.0, 50.0, 20_001)
    alive = 1.0 - law.cdf(times)
    plain = (0.5 * (alive[:, 1:] + alive[:, :-1]) * np.diff(times)).sum(axis=1)
    np.testing.assert_allclose(law.mean(cap=50.0), plain, rtol=1e-5)
    np.testing.assert_array_equal(law[[]].mean(cap=50.0), np.empty(0))


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda law: law.cdf("soon"), "times is 'soon'"),
        (lambda law: law.cdf([[1.0], [1.0, 2.0]]), "times is "),
        (lambda law: law.pdf(1j), "times is 1j"),
        (lambda law: law.failure_probability(np.timedelta64(7, "D")), "h is .*in the panel's unit"),
        (lambda law: law.pit(["a", "b"]), "truth is "),
        (lambda law: law.quantile("half"), "q is 'half'"),
        (lambda law: law.interval("0.9"), "level is '0.9'"),
        (lambda law: law.interval([0.5, 0.9]), "level is "),
        (lambda law: law.mean(cap="125"), "cap is '125'"),
        (lambda law: law.mean(cap=[1.0, 2.0]), "cap is "),
        (lambda law: law.mean(cap=True), "cap is True"),
        (lambda law: law.sample(2.5), "n is 2.5"),
        (lambda law: law.sample(2, "seed"), "random_state is 'seed'"),
        (lambda law: law.sample(2, -1), "random_state is -1"),
        (lambda law: law[None], "units cannot be chosen by None"),
        (lambda law: law[[[0, 1]]], "units cannot be chosen by"),
        (lambda law: law[True], "units cannot be chosen by True"),
    ],
)
def test_what_is_no_number_is_refused_by_name(ask, named: str) -> None:
    """A NumPy error names no argument; a span of time in days was read as so many of the panel's units."""
    learned = cem.RemainingLifeDistribution([10.0, 20.0, 30.0], np.full((2, 3, 1), 1 / 3))
    for law in (line(), learned):
        with pytest.raises(OptionError, match=named):
            ask(law)


def test_laws_are_walked_through_unit_by_unit() -> None:
    """A loop over a law ended in an error after the last unit."""
    assert [one.units for one in line(3)] == [(0,), (1,), (2,)]


def test_no_horizon_is_proposed_that_cannot_be() -> None:
    """Asked for the probability to fail ever, a simulated law said: take horizon=inf, which is refused."""
    basis = cem.Polynomial(2).bind((0.0, 20.0))
    law = first_passage(basis, [[1.0]], np.zeros((1, 1, 3)), np.eye(3)[None, None], 0.0, 4.0, 8.0, horizon=9.0)
    with pytest.raises(OptionError, match=r"horizon of 9 from now; ask for less$"):
        law.failure_probability(np.inf)
