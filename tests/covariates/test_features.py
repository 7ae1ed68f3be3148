"""Features are what their names say, and readings that cannot determine them are refused by name."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cem.covariates import Category, Linear, Power, Spline
from cem.covariates.columns import Column
from cem.covariates.features import values_of
from cem.covariates.learning import learned_conditions
from cem.errors import OptionError, PanelError

LOAD, SITE = Column("load"), Column("site", ("A", "B", "C"))


def learned(columns, w, *terms):
    return learned_conditions(columns, w, channels=["x"], sizes=[2], terms=[terms])


def test_powers_are_of_the_scaled_number_and_centred():
    """Coefficients of a degree 3 in bar^3 would be useless numbers."""
    w = np.random.default_rng(0).gamma(2, 30, (500, 1))
    conditions = learned([LOAD], w, Power("load", 3))
    f = conditions.features_at(w)
    z = (w[:, 0] - w.mean()) / w.std()
    assert conditions.feature_names == ("load", "load^2", "load^3")
    assert f == pytest.approx(np.stack([z, z**2 - 1, z**3 - (z**3).mean()], axis=1), abs=1e-12)


def test_a_natural_spline_is_cubic_within_its_knots_smooth_and_linear_beyond():
    """Extrapolation to a load never seen must not grow with its third power."""
    w = np.random.default_rng(1).normal(50, 20, (400, 1))
    knots = np.array([10.0, 30.0, 60.0, 90.0])
    conditions = learned([LOAD], w, Spline("load", list(knots)))
    assert conditions.feature_names == ("load", "load spline 2", "load spline 3")
    h = 0.01
    grid = np.arange(-100.0, 200.0, h)
    f = conditions.features_at(grid[:, None])
    second = np.diff(f, 2, axis=0) / h**2
    middle = grid[1:-1]
    assert np.abs(second[(middle < 9.9) | (middle > 90.1)]).max() < 1e-8 / h
    assert np.abs(np.diff(second, axis=0)).max() < 1e-2  # continuous
    for low, high in pairwise(knots):
        inside = (middle > low + 2 * h) & (middle < high - 2 * h)
        line = np.polynomial.Polynomial.fit(middle[inside], second[inside, 2], 1)
        assert second[inside, 2] == pytest.approx(line(middle[inside]), abs=1e-6)
    # The space of natural cubic splines with these knots: the same fit as from any other basis of it.
    assert np.linalg.matrix_rank(np.column_stack([np.ones(len(grid)), f])) == 4


def test_knots_are_at_quantiles_of_distinct_values():
    """A load that stands at one value for nine readings of ten must not put all knots there."""
    w = np.concatenate([np.full(900, 50.0), np.linspace(0, 100, 101)])[:, None]
    conditions = learned([LOAD], w, Spline("load", 3))
    mean, inverse = conditions.features[1].numbers[:2]
    first = conditions.features[1].numbers[3] / inverse + mean
    assert first == pytest.approx(5.0)


def test_a_category_has_a_column_a_level_but_for_the_reference():
    """Coefficients are differences from a level that the user can choose."""
    w = np.array([0.0, 1, 2, 1])[:, None]
    assert learned([SITE], w, Category("site")).feature_names == ("site=B", "site=C")
    conditions = learned([SITE], w, Category("site", reference="B"))
    assert conditions.feature_names == ("site=A", "site=C")
    assert conditions.features_at(w).tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]


def test_a_level_without_training_readings_gets_no_column():
    """A coefficient that no reading determines would be singular."""
    assert learned([SITE], np.array([[1.0], [2.0]]), Category("site")).feature_names == ("site=C",)


@pytest.mark.parametrize(
    ("columns", "w", "term", "error", "message"),
    [
        ([LOAD], [[5.0]] * 4, Linear("load"), PanelError, "'load' is 5 at every training reading"),
        ([LOAD], [[0.1 + 0.2], [0.3]], Linear("load"), PanelError, "at every training reading"),
        ([LOAD], [[1.0], [2.0], [2.0]], Power("load", 2), PanelError, "needs 3 distinct values of 'load'"),
        ([LOAD], [[1.0], [2.0], [3.0]], Spline("load", 4), PanelError, "needs 4 distinct values"),
        ([LOAD], [[float(i)] for i in range(20)], Spline("load", [100, 101, 102]), PanelError, "do not determine"),
        ([LOAD], [[1.0], [np.nan]], Linear("load"), PanelError, "'load' is missing at reading 1"),
        ([LOAD], [[1.0], [np.inf]], Linear("load"), PanelError, "'load' is inf at reading 1"),
        ([LOAD], [[1e300], [-1e300]], Linear("load"), PanelError, "another unit"),
        ([SITE], [[1.0], [1.0]], Category("site"), PanelError, "is 'B' at every training reading"),
        ([SITE], [[1.0], [3.0]], Category("site"), PanelError, "'site' is 3 at reading 1"),
        ([SITE], [[1.0], [0.0]], Category("site", "C"), OptionError, "their levels are 'A', 'B'"),
        ([SITE], [[1.0], [0.0]], Category("site", "Z"), OptionError, "reference"),
        ([SITE], [[1.0], [0.0]], Linear("site"), OptionError, "'site', which is a category"),
        ([LOAD], [[1.0], [0.0]], Category("load"), OptionError, "'load', which is a number"),
        ([LOAD], [[1.0], [0.0]], Linear("laod"), OptionError, "did you mean 'load'"),
        ([LOAD], np.empty((0, 1)), Linear("load"), PanelError, "no readings"),
        ([LOAD], [[1.0, 2.0]], Linear("load"), PanelError, "shape"),
        (
            [LOAD],
            [[1.0], [0.0]],
            Linear("load", basis_functions=(2,)),
            OptionError,
            "basis function 2; channel",
        ),
    ],
)
def test_readings_that_cannot_determine_a_term_are_refused_by_name(columns, w, term, error, message):
    """Nothing is left out or guessed in silence."""
    with pytest.raises(error, match=message):
        learned(columns, np.array(w, dtype=float), term)


def test_the_same_column_twice_in_a_channel_is_refused():
    """Two coefficients of one column have no values of their own."""
    w = np.arange(10.0)[:, None]
    with pytest.raises(OptionError, match="channel 'x' has column 'load' twice"):
        learned([LOAD], w, Linear("load"), Power("load", 2, by_mode=True))
    with pytest.raises(OptionError, match="channel 'x' has column 'load' twice"):
        learned([LOAD], w, Spline("load", 3), Power("load", 2))
    both = learned([LOAD], w, Linear("load"), Linear("load", basis_functions=(1,)))
    assert both.column_names(0) == ("load", "load x basis function 1")


def test_channels_share_features():
    """Ten channels with one load evaluate it once a reading."""
    w = np.arange(10.0)[:, None]
    terms = [[Linear("load")], [Power("load", 2)], []]
    conditions = learned_conditions([LOAD], w, channels=["a", "b", "c"], sizes=[1, 1, 1], terms=terms)
    assert conditions.feature_names == ("load", "load^2")
    assert conditions.common == (((0, -1),), ((0, -1), (1, -1)), ())
    assert np.array_equal(values_of(conditions.features, w), conditions.features_at(w))
