"""One type of law: what a law of alignment at failure answers, a law to a threshold answers too, and by the same words.

Each answer is compared with a plain one: numerical integrals of the density, draws, or arithmetic.
"""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from scipy import integrate, stats

import cem
from cem.basis.families import Constant, Polynomial
from cem.errors import CemWarning, ConditionalMeanWarning, OptionError, PredictionError
from cem.panel.frames.out import BACKENDS
from cem.passage.first_passage import FirstPassage, first_passage

LINE, CURVE = Polynomial(1).bind([0.0, 100.0]), Polynomial(2).bind([0.0, 100.0])
KINDS = ("aligned", "own grids", "straight", "simulated")
PASSAGES = ("straight", "simulated")


def coefficients(basis, values: list[float]) -> np.ndarray:
    """Of the straight line with these values at 0 and 100."""
    times = np.linspace(0.0, 100.0, 9)
    return np.linalg.lstsq(basis(times), np.interp(times, [0.0, 100.0], values), rcond=None)[0]


def law_of(kind: str) -> cem.RemainingLifeLaw:
    """Four units and two modes; of a passage, unit "d" has crossed already, and "c" rarely does."""
    if kind in ("aligned", "own grids"):
        rng = np.random.default_rng(0)
        pmf = rng.dirichlet(np.full(24, 0.5), 4).reshape(4, 12, 2)
        grid = np.cumsum(rng.exponential(size=(4, 12)), axis=1) + 0.05
        return cem.RemainingLifeDistribution(
            grid if kind == "own grids" else grid[0], pmf, units=list("abcd"), mode_labels=["wear", "leak"],
            time_unit="h",
        )  # fmt: skip
    basis = LINE if kind == "straight" else CURVE
    ends = [[[4.0, 8.0], [4.0, 7.0]], [[3.0, 8.0], [3.0, 6.0]], [[4.0, 5.0], [4.0, 4.2]], [[9.0, 12.0], [9.0, 11.0]]]
    mean = np.array([[coefficients(basis, values) for values in modes] for modes in ends])
    covariance = np.tile(0.04 * np.eye(basis.size), (4, 2, 1, 1))
    rho = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5], [0.5, 0.5]])
    law = first_passage(basis, rho, mean, covariance, 0.0, 50.0, 7.0, units=list("abcd"), horizon=80.0)
    law.mode_labels, law.time_unit = ("wear", "leak"), "h"
    return law


@pytest.fixture(scope="module", params=KINDS)
def law(request) -> cem.RemainingLifeLaw:
    return law_of(request.param)


def test_every_law_is_of_the_type_and_answers_by_the_same_names(law) -> None:
    """Code that is written for one kind of law must run with the other."""
    assert isinstance(law, cem.RemainingLifeLaw) and len(law) == law.n_units == 4
    assert law.units == ("a", "b", "c", "d") and law.mode_labels == ("wear", "leak") and law.time_unit == "h"
    assert law.mode_probabilities.shape == (4, 2) and law.probability_never.shape == (4,)
    np.testing.assert_array_equal(law.median(), law.quantile(0.5))
    np.testing.assert_array_equal(law.interval(), law.interval(0.9))
    np.testing.assert_allclose(law.mode_probabilities.sum(axis=1), 1.0)


def test_the_probability_to_fail_within_h_is_the_cdf(law) -> None:
    """One number a unit for one h, a column each for several, and never less for a longer h."""
    times = np.array([0.0, 1.0, 3.0, 10.0])
    several = law.failure_probability(times)
    assert several.shape == (4, 4) and law.failure_probability(3.0).shape == (4,)
    np.testing.assert_array_equal(several[:, 2], law.failure_probability(3))
    np.testing.assert_array_equal(several, law.cdf(times))
    assert (np.diff(several, axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("h", "message"),
    [(-1.0, "h is -1"), (np.nan, "h is nan"), ([3.0, -2.0], "h is -2"), (np.ones((4, 1)), r"\(m,\)"), ("soon", "soon")],
)
def test_wrong_times_are_named(law, h, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        law.failure_probability(h)


def test_beyond_the_horizon_nobody_looked() -> None:
    """At 200 h the cdf of curves that were drawn up to 80 h says nothing; the message says which option widens it."""
    simulated = law_of("simulated")
    assert simulated.failure_probability(80.0).shape == (4,)
    with pytest.raises(OptionError, match=r"horizon of 80 .* remaining_life\(\.\.\., horizon=200\)"):
        simulated.failure_probability([10.0, 200.0])
    straight = law_of("straight")
    np.testing.assert_allclose(straight.failure_probability(np.inf), 1.0 - straight.probability_never, atol=1e-12)
    np.testing.assert_array_equal(law_of("aligned").failure_probability(np.inf), 1.0)


def test_the_density_is_the_slope_of_the_cdf(law) -> None:
    """∫ pdf over any stretch is the cdf's rise; of a simulated law as far as a smoothed density can be."""
    if isinstance(law, FirstPassage) and not law.exact:
        grid = np.linspace(0.0, 80.0, 4001)
        np.testing.assert_allclose(law.pdf(grid).sum(axis=1)[:3] * 0.02, law.cdf([80.0])[:3, 0], rtol=0.03)
        return
    for unit in law.units:
        one = law.unit(unit)
        breaks = None if isinstance(law, FirstPassage) else one.edges[:-1]
        area = integrate.quad(lambda r, one=one: one.pdf([r])[0, 0], 0.0, 7.0, points=breaks, limit=200)[0]
        assert area == pytest.approx(float((one.cdf([7.0]) - one.cdf([0.0]))[0, 0]), abs=1e-6)
    assert (law.pdf([-1.0]) == 0).all()


def test_units_are_chosen_by_position_slice_list_mask_and_name(law) -> None:
    """A part of a law says of its units what the whole says, in every method, also after a second choice."""
    times, q = np.array([0.5, 2.0, 9.0]), [0.2, 0.5]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConditionalMeanWarning)
        for which, kept in (
            (1, [1]), (-1, [3]), (slice(None, 3, 2), [0, 2]), ([2, 0], [2, 0]), ([True, False, False, True], [0, 3]),
            (np.array([], dtype=int), []),
        ):  # fmt: skip
            part = law[which]
            assert type(part) is type(law) and part.units == tuple("abcd"[i] for i in kept)
            assert part.mode_labels == law.mode_labels and part.time_unit == "h"
            for ask in (
                lambda one: one.cdf(times), lambda one: one.pdf(times), lambda one: one.quantile(q),
                lambda one: one.mean(), lambda one: one.mean(cap=5.0), lambda one: one.mode_probabilities,
                lambda one: one.probability_never, lambda one: one.median(),
            ):  # fmt: skip
                np.testing.assert_allclose(ask(part), ask(law)[kept], rtol=1e-11, atol=1e-12)
        assert law[1:][1].units == law.unit("c").units == ("c",)
    if isinstance(law, FirstPassage):
        np.testing.assert_allclose(law[[2]].standard_error(times), law.standard_error(times)[[2]])
        np.testing.assert_array_equal(law[[2]].probability_crossed, law.probability_crossed[[2]])
    with pytest.raises(PredictionError, match="no unit 'z'"):
        law.unit("z")
    for wrong in (9, "a", [True]):
        with pytest.raises(OptionError, match=r"unit\(name\)"):
            law[wrong]


def test_draws_follow_the_law_and_never_is_infinite(law) -> None:
    """As many draws are infinite as the law says; the others follow the cdf. One seed, one sample."""
    draws = law.sample(4000, random_state=0)
    assert draws.shape == (4, 4000) and (draws >= 0).all()
    np.testing.assert_array_equal(draws, law.sample(4000, random_state=0))
    never = law.probability_never
    np.testing.assert_allclose(np.isinf(draws).mean(axis=1), never, atol=0.03)
    finite = draws[0][np.isfinite(draws[0])]
    assert stats.kstest(finite, lambda r: law.cdf(r)[0] / (1.0 - never[0])).pvalue > 1e-3
    with pytest.raises(OptionError, match="n is 0"):
        law.sample(0)


def test_outcomes_of_a_law_are_uniform_in_it(law) -> None:
    """PIT of draws from the law: mean one half and no clump, with the mass at "never" at its middle."""
    draws = law.sample(2000, random_state=1)[:2]
    pit = np.array([law[:2].pit(draw) for draw in draws.T])
    np.testing.assert_allclose(pit.mean(axis=0), 0.5, atol=0.03)
    finite = np.isfinite(draws[0])
    ceiling = 1.0 - law.probability_never[0]
    assert stats.kstest(pit[finite, 0], stats.uniform(0.0, ceiling).cdf).pvalue > 1e-3
    with pytest.raises(OptionError, match=r"\(4,\) was expected"):
        law.pit([1.0])
    with pytest.raises(OptionError, match="NaN"):
        law.pit([1.0, 2.0, np.nan, 1.0])


def test_a_unit_that_never_fails_has_a_pit_only_where_never_is_possible() -> None:
    """An infinite truth of a law that ends for certain is a mistake in the data, and said with the unit's name."""
    for kind in PASSAGES:
        passage = law_of(kind)[:3]
        np.testing.assert_allclose(passage.pit(np.full(3, np.inf)), 1.0 - passage.probability_never / 2)
    simulated = law_of("simulated")[:3]  # an end beyond the horizon was not looked for
    np.testing.assert_allclose(simulated.pit([500.0] * 3), 1.0 - simulated.probability_never / 2)
    with pytest.raises(OptionError, match="truth of unit 'b' is inf"):
        law_of("aligned").pit([1.0, np.inf, 2.0, 3.0])
    with pytest.raises(OptionError, match="truth of unit 'd' is inf"):  # it has crossed already
        law_of("straight").pit([1.0, np.inf, 2.0, np.inf])


# ---- means ------------------------------------------------------------------------------------------------------


def test_the_mean_of_a_simulated_law_is_of_the_lives_that_end() -> None:
    """It was infinite for a unit with one draw in a thousand that did not cross; now it says of which lives it is."""
    simulated = law_of("simulated")
    assert (simulated.probability_never[:3] > 1e-3).all()
    with pytest.warns(ConditionalMeanWarning, match=r"3 of 4 units may never fail within the horizon of 80") as caught:
        mean = simulated.mean()
    assert len(caught) == 1 and caught[0].filename == __file__ and issubclass(ConditionalMeanWarning, CemWarning)
    draws = simulated.sample(20_000, random_state=2)
    expected = [row[np.isfinite(row)].mean() for row in draws]
    np.testing.assert_allclose(mean, expected, rtol=0.02)
    assert mean[3] == 0.0
    np.testing.assert_allclose(simulated.mean(cap=60.0), np.minimum(draws, 60.0).mean(axis=1), rtol=0.02)


def test_a_line_with_a_certain_slope_has_a_conditional_mean_by_hand() -> None:
    """Two modes, rising by .1 a day from 5 towards 8, and falling: 30 days for the half that ever gets there."""
    rows = np.linalg.inv(np.stack([LINE(50.0), LINE(50.0) - LINE(49.0)]))
    mean = np.array([[rows @ [5.0, 0.1], rows @ [5.0, -0.02]], [rows @ [5.0, -0.01], rows @ [5.0, -0.02]]])
    covariance = np.tile(rows @ np.diag([0.01, 0.0]) @ rows.T, (2, 2, 1, 1))
    law = first_passage(LINE, [[0.5, 0.5], [0.5, 0.5]], mean, covariance, 0.0, 50.0, 8.0)
    np.testing.assert_allclose(law.probability_never, [0.5, 1.0], atol=1e-9)
    with pytest.warns(ConditionalMeanWarning, match="2 of 2 units may never fail "):
        np.testing.assert_allclose(law.mean(), [30.0, np.inf], rtol=1e-9)
    np.testing.assert_allclose(law.mean(cap=100.0), [0.5 * 30.0 + 0.5 * 100.0, 100.0], rtol=1e-3)


def test_an_uncertain_slope_has_no_mean_even_if_it_crosses() -> None:
    """The density falls with the square of the time: inf is the honest number, as the docstring says."""
    with pytest.warns(ConditionalMeanWarning):
        assert np.isinf(law_of("straight").mean()[:3]).all()


def test_a_law_that_ends_for_certain_does_not_warn() -> None:
    """Nor does a mean with a cap: the probability of "never" is in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        law_of("aligned").mean()
        law_of("straight")[3].mean()
        law_of("simulated").mean(cap=50.0)


def test_an_infinite_cap_is_no_condition() -> None:
    """E[min(r, inf)] counts the lives that never end; of the aligned law it was NaN."""
    aligned, simulated = law_of("aligned"), law_of("simulated")
    np.testing.assert_array_equal(aligned.mean(cap=np.inf), aligned.mean())
    np.testing.assert_array_equal(simulated.mean(cap=np.inf), [np.inf, np.inf, np.inf, 0.0])


def test_a_constant_below_its_threshold_has_no_mean() -> None:
    """Nothing ends, so there is nothing to take the mean of; no division by zero either."""
    level = first_passage(Constant().bind([0.0, 1.0]), [[1.0]], [[[1.0]]], [[[[0.01]]]], 0.0, 1.0, 9.0, units=["x"])
    with pytest.warns(ConditionalMeanWarning, match="unit 'x'"):
        assert level.mean()[0] == np.inf
    assert np.isinf(level.median()[0]) and np.isinf(level.sample(5, random_state=0)).all()


# ---- tables, pickles, screens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", PASSAGES)
def test_a_passage_is_a_frame_that_says_of_which_lives_the_mean_is(kind: str, backend: str) -> None:
    """The probability of "never" stands beside the mean, and no warning is needed there."""
    pytest.importorskip(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CemWarning)
        frame = law_of(kind).to_frame(backend)
    names = list(frame.column_names if backend == "pyarrow" else frame.columns)
    assert names == [
        "unit", "median", "lower_90", "upper_90", "mean", "probability_crossed", "probability_never", "wear", "leak",
    ]  # fmt: skip
    assert len(frame) == 4 and np.asarray(frame["unit"]).tolist() == list("abcd")


def test_a_law_survives_a_pickle_and_a_copy(law) -> None:
    """Another process gets the same law, and it can still be cut."""
    for again in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law), pickle.loads(pickle.dumps(law[1:]))[:3]):
        if again.n_units == 4:
            np.testing.assert_array_equal(again.cdf([1.0, 5.0]), law.cdf([1.0, 5.0]))
        assert again.unit("c").units == ("c",) and again.time_unit == "h" and repr(again.unit("b"))


def test_an_empty_part_answers_with_empty_arrays(law) -> None:
    """A mask that chooses no unit came out as an error of NumPy."""
    none = law[[False] * 4]
    assert len(none) == 0 and none.median().shape == (0,) and none.interval()[0].shape == (0,)
    assert none.failure_probability(1.0).shape == (0,) and none.sample(3).shape == (0, 3)
    assert none.mean().shape == none.pit([]).shape == (0,) and none._repr_html_()


def test_a_notebook_shows_ten_units(law) -> None:
    many = law[[0, 1, 2] * 5]
    assert "and 5 more units" in many._repr_html_() and "leak" in many._repr_html_()
