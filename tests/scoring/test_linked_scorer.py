"""Streaming with linked channels: after every reading what the batch says, and nothing less checked than without."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

import cem
from cem.errors import ScorerError
from cem.mixture import _linked
from cem.scoring.linked_scorer import LinkedScorer, LinkedUnit
from cem.scoring.scorer import Scorer, Unit

CHANNELS = ("a", "b", "c")


def fleet(n_units=40, seed=0):
    """Two modes whose channels share a factor; gaps, and a channel that some units do not have."""
    rng = np.random.default_rng(seed)
    times, values = [], []
    for l in range(n_units):
        t = np.sort(rng.uniform(0.0, 10.0, rng.integers(6, 15)))
        shared, sign = rng.normal(), 1.0 if l % 2 else -1.0
        x = np.stack([(sign + 0.6 * shared + 0.1 * rng.normal()) * t + 9000.0 for _ in CHANNELS], axis=1)
        x += 0.5 * rng.normal(size=x.shape)
        x[rng.random(x.shape) < 0.15] = np.nan
        if l % 5 == 0:
            x[:, 2] = np.nan
        x[0, 0] = 9000.0
        times.append(t)
        values.append(x)
    return cem.Panel.from_arrays(times, values, channels=CHANNELS)


@pytest.fixture(scope="module")
def model():
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=4, random_state=0, linking_rank=1, linking_penalty=10.0)
    return em.fit(fleet()).model_


def test_after_every_reading_the_unit_says_what_the_batch_says(model):
    """Probabilities, log-likelihood, novelty, posteriors and forecasts, also of a channel that was never read."""
    new = fleet(6, seed=5)
    scorer = model.scorer()
    assert isinstance(scorer, LinkedScorer)
    for l in range(new.n_units):
        unit = scorer.unit()
        np.testing.assert_allclose(unit.mode_probabilities(), model.weights_)
        rows = slice(new.offsets[l], new.offsets[l + 1])
        for t, x in zip(new.times[rows], new.values[rows], strict=True):
            unit.update(float(t), x)
            seen = new[[l]].until(float(t))
            np.testing.assert_allclose(unit.mode_probabilities(), model.predict_proba(seen)[0], rtol=1e-7, atol=1e-10)
            assert unit.log_likelihood() == pytest.approx(model.score_samples(seen)[0], rel=1e-9)
            assert unit.novelty() == pytest.approx(model.novelty(seen)[0], rel=1e-6, abs=1e-9)
        posterior = model.posterior(new[[l]])
        for k in range(2):
            for c in range(3):
                mean, covariance = unit.posterior(k, c)
                np.testing.assert_allclose(mean, posterior.means[0, k, c], rtol=1e-8, atol=1e-8)
                np.testing.assert_allclose(covariance, posterior.covariances[0, k, c], rtol=1e-6, atol=1e-9)
        forecast = unit.forecast([11.0, 12.0], "c")
        wanted = model.forecast(new[[l]], np.array([11.0, 12.0]), channel="c")
        np.testing.assert_allclose(forecast.mean, wanted.mean[0], rtol=1e-9)
        np.testing.assert_allclose(forecast.variance, wanted.variance[0], rtol=1e-7)


def test_a_panel_is_scored_as_its_units_are(model):
    new = fleet(12, seed=6)
    np.testing.assert_allclose(model.scorer().score(new), model.predict_proba(new), rtol=1e-7, atol=1e-10)
    with pytest.raises(ScorerError, match="does not know"):
        model.scorer().score(new._replace(channels=("a", "b", "z")))
    values = new.values.copy()
    values[new.offsets[3], 0] = 1e300
    with pytest.raises(ScorerError, match=f"unit {new.units[3]!r}"):
        model.scorer().score(new._replace(values=values))


def test_no_loadings_are_independent_channels_with_forgetting_too(model):
    """The two scorers share the statistics and nothing of what reads them; old readings fade in both."""
    parameters = model.internal_parameters
    arguments = model._arguments()
    none = type(model)(**{**arguments, "parameters": replace(parameters, loadings=np.zeros_like(parameters.loadings))})
    plain = type(model)(**{**arguments, "parameters": replace(parameters, loadings=None)})
    ours, theirs = LinkedScorer(none, forgetting=0.8).unit(), Scorer(plain, forgetting=0.8).unit()
    rng = np.random.default_rng(3)
    for t in np.arange(0.0, 8.0, 0.5):
        x = 9000.0 + 5.0 * rng.normal(size=3)
        ours.update(t, x)
        theirs.update(t, x)
        np.testing.assert_allclose(ours.mode_probabilities(), theirs.mode_probabilities(), rtol=1e-9, atol=1e-12)
        assert ours.log_likelihood() == pytest.approx(theirs.log_likelihood(), rel=1e-10)
    assert ours.novelty() == pytest.approx(theirs.novelty(), rel=1e-8)


def test_units_are_copied_saved_and_told_from_those_of_other_models(model):
    unit = model.scorer().unit()
    unit.update(1.0, [9001.0, np.nan, 9000.0])
    for twin in (unit.copy(), pickle.loads(pickle.dumps(unit)), LinkedUnit.from_bytes(model.scorer(), unit.to_bytes())):
        assert isinstance(twin, LinkedUnit)
        np.testing.assert_array_equal(twin.mode_probabilities(), unit.mode_probabilities())
    parameters = model.internal_parameters
    other = type(model)(
        **{**model._arguments(), "parameters": replace(parameters, loadings=2.0 * np.asarray(parameters.loadings))}
    )
    with pytest.raises(ScorerError, match="another model"):
        LinkedUnit.from_bytes(other.scorer(), unit.to_bytes())


def test_probabilities_are_written_where_they_are_wanted(model):
    unit = model.scorer().unit()
    unit.update(1.0, [9001.0, 9002.0, 9000.0])
    place = np.zeros(2)
    assert unit.mode_probabilities(place) is place
    np.testing.assert_array_equal(place, unit.mode_probabilities())
    with pytest.raises(ScorerError, match="shape"):
        unit.mode_probabilities(np.zeros(3))


def test_what_weighs_channels_one_by_one_refuses(model):
    """A plain scorer, or compiled code through its pointer, would be over-confident without a warning."""
    with pytest.raises(ScorerError, match=r"linking_rank=1.*model\.scorer\(\)"):
        Scorer(model)
    assert type(model.scorer().unit()) is LinkedUnit and issubclass(LinkedUnit, Unit)


@pytest.mark.parametrize(("basis", "rank"), [(1, 1), (2, 4), (3, 2)])
def test_units_asked_in_turn_say_what_the_kernel_of_the_batch_says(basis, rank):
    """Units of one scorer share its work space: an answer must owe nothing to the unit asked before."""
    rng = np.random.default_rng(basis)
    K, C, p = 3, 5, basis + 1
    panel = cem.Panel.from_arrays(
        [np.sort(rng.uniform(0, 1, 8)) for _ in range(30)], [rng.normal(size=(8, C)) for _ in range(30)]
    )
    model = cem.FailureModeEM(K, basis=cem.Polynomial(basis), n_init=1, max_iter=3, random_state=0).fit(panel).model_
    linked = replace(model.internal_parameters, loadings=rng.normal(size=(K, C * p, rank)))
    model = type(model)(**{**model._arguments(), "parameters": linked})
    units = [model.scorer().unit() for _ in range(2)]
    units[1] = units[0].scorer.unit()
    for _ in range(12):
        for unit in units:
            x = 3.0 * rng.normal(size=C)
            x[rng.random(C) < 0.4] = np.nan
            unit.update(rng.uniform(), x)
        for unit in units:
            weights = unit._channel_weights()
            densities, misfits = np.empty((1, K)), np.empty((1, K))
            _linked.log_densities(*unit._arguments(weights), 0, 1, densities, misfits)
            joint = densities[0] + np.log(linked.weights)
            total = np.logaddexp.reduce(joint)
            jacobian = -weights @ np.log(model.coordinates.scales)
            np.testing.assert_allclose(unit.mode_probabilities(), np.exp(joint - total), rtol=1e-12, atol=1e-300)
            assert unit.log_likelihood() == pytest.approx(total + jacobian, rel=1e-12)
            ours = unit._log_densities()
            np.testing.assert_allclose(ours[0], densities[0] + jacobian, rtol=1e-12)
            np.testing.assert_allclose(ours[1], misfits[0], rtol=1e-12)


def test_a_unit_whose_answer_is_not_finite_is_refused_in_the_words_of_its_kind(model):
    """A parameter that is not finite must not become a probability."""
    parameters = model.internal_parameters
    spoiled = replace(parameters, loadings=np.full_like(parameters.loadings, 1e200))
    unit = LinkedScorer(type(model)(**{**model._arguments(), "parameters": spoiled})).unit()
    unit.update(1.0, [9001.0, 9002.0, 9000.0])
    for ask in (unit.mode_probabilities, unit.log_likelihood, unit.novelty):
        with pytest.raises(ScorerError, match=r"not finite.*too far from those"):
            ask()
