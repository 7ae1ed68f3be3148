"""Laws averaged over models: weights of least CRPS, and one law that answers as every law."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize

import cem
from cem.errors import OptionError
from cem.passage.first_passage import first_passage
from cem.prognosis.pooled_life import PooledLife, PooledPassage, _weights
from cem.prognosis.threshold_life import ThresholdLife

LINE, PARABOLA = cem.Polynomial(1).bind([0.0, 4.0]), cem.Polynomial(2).bind([0.0, 4.0])


def passage(basis: cem.Basis, slope: float, horizon: float | None = None):
    """Two units whose level is known to be 1 and 2 now, and whose slope is not; the limit is 5."""
    p = basis.size
    mean = np.zeros((2, 1, p))
    mean[:, 0, 0], mean[:, 0, 1] = (1.0, 2.0), slope
    covariance = np.zeros((2, 1, p, p))
    covariance[..., 1, 1] = 0.04
    return first_passage(basis, np.ones((2, 1)), mean, covariance, 0.0, 0.5, 5.0, horizon=horizon, n_draws=512)


def worn(n_units: int, seed: int) -> cem.Panel:
    """Lines that wander; they reach 10 after some 13 hours."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, 24.0)
    wander = np.cumsum(rng.normal(0.0, 0.4, (n_units, len(t))), axis=1)
    values = 0.8 * rng.lognormal(0.0, 0.15, n_units)[:, None] * t + wander + rng.normal(0.0, 0.1, (n_units, len(t)))
    return cem.Panel.from_arrays(t, values[:, :, None], channels=["wear"], response="wear")


@pytest.fixture(scope="module")
def pool() -> PooledLife:
    candidates = [
        cem.FailureModeEM(1, basis=cem.Polynomial(1), process=process, random_state=0, n_init=1)
        for process in (None, "wiener")
    ]
    return PooledLife.stacked(worn(24, 0), candidates, 10.0, ages=2, n_folds=3, options={"n_draws": 64})


def test_weights_are_those_of_least_crps() -> None:
    """Against a general minimiser: other weights would predict worse where it was measured."""
    rng = np.random.default_rng(1)
    errors = rng.normal(size=(4, 6, 20)) * np.array([0.5, 1.0, 1.0, 3.0])[:, None, None] + rng.normal(size=(6, 20))
    found = _weights(errors)

    def loss(weights):
        return np.square(np.tensordot(weights, errors, 1)).mean()

    other = minimize(
        loss, np.full(4, 0.25), bounds=[(0, 1)] * 4, constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    assert found.sum() == pytest.approx(1.0) and found.min() >= 0.0
    np.testing.assert_allclose(found, other.x, atol=1e-4)
    assert _weights(np.zeros((2, 3, 4))).sum() == 1.0  # as good as one another


@pytest.mark.parametrize("horizon", [None, 30.0])
def test_an_average_answers_as_every_law(horizon) -> None:
    """cdf, quantiles, density and means agree with one another; for lines alone, too, and at any level."""
    laws = [passage(LINE, 0.4), passage(LINE if horizon is None else PARABOLA, 0.7, horizon)]
    law, weights = PooledPassage(laws, np.array([0.25, 0.75])), (0.25, 0.75)
    assert isinstance(law, cem.RemainingLifeLaw) and law.horizon == (np.inf if horizon is None else 30.0)
    times = np.linspace(0.0, 30.0, 3001)
    cdf = law.cdf(times)
    np.testing.assert_allclose(cdf, sum(w * own.cdf(times) for w, own in zip(weights, laws, strict=True)))
    for level in (0.05, 0.5, 0.9):
        np.testing.assert_allclose(np.diag(law.cdf(law.quantile(level))), level, atol=3e-3)  # draws: steps of the cdf
    np.testing.assert_allclose(np.trapezoid(1.0 - cdf, times, axis=1), law.mean(30.0), rtol=2e-3)
    np.testing.assert_allclose(np.trapezoid(law.pdf(times), times, axis=1), cdf[:, -1], atol=0.02)
    assert np.all(law.mean(50.0) > law.mean(30.0))
    if horizon is not None:
        np.testing.assert_allclose(law.probability_never, 1.0 - cdf[:, -1])
        assert law.quantile(1.0 - 1e-9)[0] == np.inf
        with pytest.warns(cem.errors.ConditionalMeanWarning):
            mean = law.mean()
        ended = (np.trapezoid(1.0 - cdf, times, axis=1) - 30.0 * law.probability_never) / cdf[:, -1]
        np.testing.assert_allclose(mean, ended, rtol=2e-3)
    np.testing.assert_array_equal(law[1:].cdf(times), cdf[1:])
    assert np.all(law.standard_error([5.0, 9.0]) >= 0.0) and len(law.summary()) == 2


def test_one_law_alone_is_itself() -> None:
    """An average of one would differ from what the model says; a law without a weight plays no part."""
    lone, other = passage(PARABOLA, 0.5, 30.0), passage(LINE, -9.0)
    law = PooledPassage([lone, other], np.array([1.0, 0.0]))
    times = [2.0, 6.0, 29.0]
    np.testing.assert_allclose(law.cdf(times), lone.cdf(times))
    np.testing.assert_allclose(law.quantile([0.1, 0.5, 0.9]), lone.quantile([0.1, 0.5, 0.9]), rtol=1e-9)
    np.testing.assert_allclose(law.mean(20.0), lone.mean(20.0))


def test_stacked_takes_the_model_that_predicts_best(pool) -> None:
    """Lines that wander need the process; what the average holds was measured on units left out of everything."""
    assert pool.weights[1] > 0.6 and pool.held_out_crps[1] < pool.held_out_crps[0]
    assert pool.report.crps < pool.held_out_crps[0]
    seen = worn(5, 9).until(np.full(5, 6.0))
    law = pool.predict(seen)
    members = [life.predict(seen) for life in pool.lives]
    wanted = sum(w * own.cdf([3.0, 8.0]) for w, own in zip(pool.weights, members, strict=True))
    np.testing.assert_allclose(law.cdf([3.0, 8.0]), wanted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pool)).predict(seen).cdf([3.0]), law.cdf([3.0]))
    assert "weights" in repr(pool)
    assert repr(law).startswith("PooledPassage(5 units, 2 models, ")  # "2 modes" would be failure modes


def test_what_cannot_be_averaged_is_refused(pool) -> None:
    life = pool.lives[0]
    for lives, weights, said in (
        ([], [], "empty"),
        ([life, life.replaced(threshold=5.0)], [1, 1], "thresholds"),
        ([life], [1, 2], "1 numbers"),
        ([life], [-1.0], "0 or more"),
    ):
        with pytest.raises(OptionError, match=said):
            PooledLife(lives, weights)
    with pytest.raises(OptionError, match="estimators is empty"):
        PooledLife.stacked(worn(5, 0), [], 10.0)
    assert isinstance(life, ThresholdLife)


def test_what_is_no_prognosis_is_named(pool) -> None:
    """Models in place of prognoses, one in place of several, words for weights; nothing changes later."""
    life, model = pool.lives[0], pool.lives[0].model
    in_days = ThresholdLife(type(model)(**{**model._arguments(), "time_unit": "d"}), life.threshold)
    in_hours = ThresholdLife(type(model)(**{**model._arguments(), "time_unit": "h"}), life.threshold)
    for lives, weights, said in (
        ([model], [1], r"lives\[0\] is of type FailureModeModel; a ThresholdLife"),
        (life, [1], "lives is of type ThresholdLife; a list"),
        ([life], ["a"], "weights is"),
        ([in_days, in_hours], [1, 1], "units of time, 'd', 'h'"),
    ):
        with pytest.raises(OptionError, match=said):
            PooledLife(lives, weights)
    panel = worn(8, 0)
    estimator = cem.FailureModeEM(1, basis=cem.Polynomial(1), random_state=0)
    for given, options, said in (
        (estimator, {}, "estimators is of type FailureModeEM; a list"),
        (["a"], {}, r"estimators\[0\] is of type str"),
        ([estimator], {"cap": "long"}, "cap is 'long'"),
        ([estimator], {"cap": np.nan}, "cap is nan"),
        ([estimator], {"random_state": "x"}, "random_state is 'x'"),
    ):
        with pytest.raises(OptionError, match=said):
            PooledLife.stacked(panel, given, 10.0, n_folds=2, ages=1, **options)
    with pytest.raises(ValueError, match="read-only"):
        pool.weights[0] = 5.0


def test_the_law_says_what_it_is_and_keeps_the_flags(pool) -> None:
    """Its "modes" are models; a candidate without a gate does not hide what the others left out."""
    seen = worn(3, 9).until(np.full(3, 6.0))
    values = np.array(seen.values)
    values[2] = 1e6
    seen = seen._replace(values=values)
    ungated = pool.lives[0].replaced(options={"gate": None, "n_draws": 64})
    law = PooledLife([ungated, pool.lives[1]], [0.0001, 1.0]).predict(seen)
    assert repr(law).startswith("PooledPassage(3 units, 2 models")
    assert "1 reading of wear left out" in law.flags[0]
