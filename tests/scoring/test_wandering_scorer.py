"""Streaming of units that wander: it must say what a batch says, and refuse readings that come too late."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from wandering_fleets import four_channels, model_of, wandering_fleet

import cem
from cem.basis.families import Custom, Polynomial
from cem.errors import OptionError, ScorerError, SnapshotError
from cem.process.channel_process import ChannelProcess
from cem.scoring import _scorer
from cem.scoring.fleet import Fleet, NoveltyAlarm
from cem.scoring.scorer import Scorer


def wave(times):
    return np.stack([np.ones_like(times), times / 10.0, np.tanh(times / 10.0)], axis=1)


@pytest.fixture(scope="module")
def panel():
    return four_channels()


@pytest.fixture(scope="module", params=["one basis", "several bases"])
def model(request, panel):
    model = model_of(panel)
    if request.param == "one basis":
        return model
    mine, other = Custom(wave).bind(panel.times), Polynomial(2).bind(np.array([0.0, 300.0]))
    parts = {**model._arguments(), "bases": (mine, other, other, mine)}  # a Custom one with a process, one without
    return cem.FailureModeModel(**parts)


def rows_of(panel, l):
    rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
    return panel.times[rows], panel.values[rows]


def streamed(scorer, panel, l):
    unit = scorer.unit()
    for t, x in zip(*rows_of(panel, l), strict=True):
        unit.update(t, x)
    return unit


def test_streaming_is_batch(model, panel):
    scorer = model.scorer()
    units = [streamed(scorer, panel, l) for l in range(panel.n_units)]
    found = np.array([unit.mode_probabilities() for unit in units])
    np.testing.assert_allclose(found, model.predict_proba(panel), atol=1e-12)
    np.testing.assert_allclose(scorer.score(panel), model.predict_proba(panel), atol=1e-12)
    np.testing.assert_allclose([unit.log_likelihood() for unit in units], model.score_samples(panel), rtol=1e-12)
    np.testing.assert_allclose([unit.novelty() for unit in units], model.novelty(panel), atol=1e-12)
    posterior = model.posterior(panel)
    for c in range(4):
        mean, covariance = units[3].posterior(1, c)
        np.testing.assert_allclose(mean, posterior.means[3, 1, c], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(covariance, posterior.covariances[3, 1, c], rtol=1e-8, atol=1e-10)


def test_readings_may_come_in_any_form_and_units_keep_apart(model, panel):
    """A row of a table would be scored otherwise than the same array, or a unit as the one read before it."""
    scorer = model.scorer()
    plain, listed, named, other = (scorer.unit() for _ in range(4))
    for t, x in zip(*rows_of(panel, 3), strict=True):
        kept = x.copy()
        plain.update(t, x)
        listed.update(t, x.tolist())
        other.update(t, 2.0 * x)
        named.update(t, dict(zip(panel.channels, x.tolist(), strict=True)))
        np.testing.assert_array_equal(x, kept)
    assert plain.to_bytes() == listed.to_bytes() == named.to_bytes() != other.to_bytes()
    twin = plain.copy()
    twin.update(1e3, rows_of(panel, 3)[1][-1])
    assert plain.to_bytes() == named.to_bytes() != twin.to_bytes()


def test_many_at_once_and_channel_by_channel_have_the_same_bits(model, panel):
    scorer = model.scorer()
    for l in range(panel.n_units):
        one, many, apart = streamed(scorer, panel, l), scorer.unit(), scorer.unit()
        many.update_many(*rows_of(panel, l))
        for t, x in zip(*rows_of(panel, l), strict=True):
            for name, value in zip(scorer.channels, x, strict=True):
                apart.update_channel(t, name, value)
        np.testing.assert_array_equal(one._get_state(), many._get_state())
        np.testing.assert_allclose(one._get_state(), apart._get_state(), rtol=1e-12, atol=1e-12)


def test_forecasts_start_where_the_unit_is(model, panel):
    scorer = model.scorer()
    ends = np.array([rows_of(panel, l)[0][-1] for l in range(panel.n_units)])
    asked = ends[:, None] + np.array([0.0, 0.5, 3.0, 40.0])
    for c in range(4):
        batch = model.forecast(panel, asked, c)
        for l in range(panel.n_units):
            if not np.isnan(rows_of(panel, l)[1][:, c]).all():
                found = streamed(scorer, panel, l).forecast(asked[l], c)
                np.testing.assert_allclose(found.mode_means, batch.mode_means[l], rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(found.mode_variances, batch.mode_variances[l], rtol=1e-8, atol=1e-10)


def test_a_forecast_of_the_past_is_refused(model, panel):
    unit = streamed(model.scorer(), panel, 3)
    with pytest.raises(ScorerError, match=r"is before its last reading, at .*; call model\.forecast\(panel, times\)"):
        unit.forecast([0.0, 1e3], "x1")
    assert np.isfinite(model.scorer().unit().forecast([3.0], "x1").mean).all()  # never read: it has no past


def test_an_earlier_reading_is_refused_and_leaves_the_state(model, panel):
    unit = streamed(model.scorer(), panel, 3)
    before, now = unit._get_state(), unit.last_time
    with pytest.raises(ScorerError, match=r"channel 'x1' at time .* is before the one at .*process='wiener'"):
        unit.update(now - 1.0, [1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ScorerError, match="row 1: the reading of channel 'x1'"):
        unit.update_many([now + 1.0, now], np.ones((2, 4)))
    with pytest.raises(ScorerError, match="'x1' is infinite"):
        unit.update(now + 1.0, [np.inf, 1.0, 1.0, 1.0])
    with pytest.raises(ScorerError, match="time of a reading is nan"):
        unit.update(np.nan, [1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ScorerError, match="time of a reading is 'noon'"):
        unit.update("noon", [1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ScorerError, match="no covariates"):
        unit.update(now + 1.0, [1.0, 1.0, 1.0, 1.0], {"load": 1.0})
    np.testing.assert_array_equal(unit._get_state(), before)
    unit.update(now, {"x1": 1.0})  # at the same time
    unit.update(now - 1.0, {"x4": 1.0})  # in this channel units do not wander, so any order will do
    unit.update(now - 1.0, [np.nan] * 4)


def test_a_restored_unit_goes_on(model, panel):
    scorer = model.scorer()
    times, values = rows_of(panel, 7)
    unit = scorer.unit()
    unit.update_many(times[:9], values[:9])
    back = type(unit).from_bytes(scorer, unit.to_bytes())
    for other in (back, unit.copy(), copy.deepcopy(unit), pickle.loads(pickle.dumps(unit))):
        other.update_many(times[9:], values[9:])
        np.testing.assert_array_equal(other._get_state(), streamed(scorer, panel, 7)._get_state())
    unit.reset()
    np.testing.assert_array_equal(unit._get_state(), scorer.unit()._get_state())


def test_the_documented_class_restores_a_unit_of_any_scorer(model, panel):
    """docs/scoring.md says Unit.from_bytes; of units that wander it said that the bytes were too many."""
    scorer = model.scorer()
    unit = streamed(scorer, panel, 1)
    back = cem.scoring.Unit.from_bytes(scorer, unit.to_bytes())
    assert type(back) is type(unit) and back.to_bytes() == unit.to_bytes()
    plain = cem.FailureModeEM(1, n_init=1, random_state=0).fit(panel).model_.scorer()
    for kind in (cem.scoring.Unit, type(unit)):
        with pytest.raises(ScorerError, match="format version"):
            kind.from_bytes(plain, unit.to_bytes())


def test_bytes_of_another_process_or_altered_ones_are_refused(model, panel):
    """A filter that goes on from numbers of another model would give wrong answers."""
    unit = streamed(model.scorer(), panel, 3)
    data = unit.to_bytes()
    assert data[8] == 3
    other = cem.FailureModeModel(
        **{**model._arguments(), "processes": (ChannelProcess("wiener", 3.0), None, None, None)}
    )
    with pytest.raises(ScorerError, match="another model"):
        type(unit).from_bytes(other.scorer(), data)
    for at, wrong in ((0, 0.5), (2, -1.0), (3, -1.0), (0, 0.0)):
        altered = unit.copy()
        altered._filters[0, at] = wrong
        with pytest.raises(ScorerError, match="no readings lead to"):
            type(unit).from_bytes(model.scorer(), altered.to_bytes())


def test_a_fleet_is_its_units(model, panel, tmp_path):
    """Batches that are cut anywhere, with alarms; a snapshot in between has a version of its own."""
    scorer = model.scorer()
    fleet = scorer.fleet(alarms=[NoveltyAlarm(below=0.5, readings=1)])
    plain = scorer.fleet()
    ids = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    order = np.argsort(panel.times, kind="stable")
    for part in np.array_split(order, 4):
        found = fleet.update_many((ids[part].tolist(), panel.times[part], panel.values[part]))
        plain.update_many((ids[part].tolist(), panel.times[part], panel.values[part]))
        fleet.save(tmp_path / "fleet.snapshot")
        assert (tmp_path / "fleet.snapshot").read_bytes()[8] == 2
        fleet = Fleet.load(tmp_path / "fleet.snapshot", model)
    assert found.mode_probabilities.shape[1] == 2
    for l in range(panel.n_units):
        own = streamed(scorer, panel, l)
        for other in (fleet, plain):
            np.testing.assert_allclose(other.unit(l)._get_state(), own._get_state(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(fleet.probabilities([l]).mode_probabilities[0], own.mode_probabilities(), atol=1e-12)
    assert {alarm.id for alarm in fleet.alarms()} == {
        l for l in range(panel.n_units) if streamed(scorer, panel, l).novelty() < 0.5
    }
    state = fleet.unit(3)._get_state()
    with pytest.raises(ScorerError, match=r"unit 3: the reading of channel 'x1' .* in order of time"):
        fleet.update(3, -100.0, [1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ScorerError, match=r"row 1, unit 3: the reading of channel 'x1'.*no unit has changed"):
        fleet.update_many(([3, 3], [1e3, 0.0], np.ones((2, 4))))
    with pytest.raises(ScorerError, match="time"):
        fleet.update_many(([3], [np.nan], np.ones((1, 4))))
    with pytest.raises(ScorerError, match="infinite"):
        fleet.update_many(([3], [1e3], np.full((1, 4), np.inf)))
    np.testing.assert_array_equal(fleet.unit(3)._get_state(), state)
    with pytest.raises(SnapshotError, match="another model"):
        Fleet.load(tmp_path / "fleet.snapshot", model_of(panel, seed=3))


def test_membership_goes_along():
    """Covariates of units lie behind the filters in a unit's state."""
    panel = wandering_fleet(ChannelProcess("wiener", 1.0), modes=2, n_units=40)
    panel = panel.with_covariates(unit_covariates={"site": np.arange(40) % 2})
    model = cem.FailureModeEM(
        2, basis=Polynomial(1), process="wiener", membership=["site"], random_state=0
    ).fit(panel).model_  # fmt: skip
    scorer = model.scorer()
    np.testing.assert_allclose(scorer.score(panel), model.predict_proba(panel), atol=1e-12)
    unit, fleet = scorer.unit({"site": 1}), scorer.fleet()
    unit.update_many(*rows_of(panel, 1))
    np.testing.assert_allclose(unit.mode_probabilities(), model.predict_proba(panel)[1], atol=1e-12)
    fleet.begin("a", {"site": 1})
    times, values = rows_of(panel, 1)
    fleet.update_many((["a"] * len(times), times, values))
    np.testing.assert_array_equal(fleet.unit("a").to_bytes(), unit.to_bytes())
    assert type(unit).from_bytes(scorer, unit.to_bytes()).to_bytes() == unit.to_bytes()


def test_what_streaming_cannot_do_is_refused_by_name(model):
    scorer = model.scorer()
    with pytest.raises(ScorerError, match=r"would ignore that units .* wander .*use model\.scorer\(\)"):
        Scorer(model, forgetting=0.99)
    with pytest.raises(OptionError, match=r"forgetting=0\.99 would ignore that units of this model wander"):
        type(scorer)(model, forgetting=0.99)
    assert isinstance(scorer, _scorer.PackedScorer) and pickle.loads(pickle.dumps(scorer)).channels == scorer.channels


def test_units_average_over_the_law_of_the_parameters(panel):
    """With uncertainty modes have components, which one white state serves."""
    plain = model_of(panel)
    fit = plain.internal_parameters
    draws = [model_of(panel, seed=seed).internal_parameters for seed in (0, 1, 2, 3)]
    model = plain.with_uncertainty([fit, *draws], n_components=2)
    scorer = model.scorer()
    units = [streamed(scorer, panel, l) for l in range(panel.n_units)]
    np.testing.assert_allclose([u.mode_probabilities() for u in units], model.predict_proba(panel), atol=1e-12)
    np.testing.assert_allclose(scorer.score(panel), model.predict_proba(panel), atol=1e-12)
    np.testing.assert_allclose([unit.novelty() for unit in units], model.novelty(panel), atol=1e-11)
    asked = panel.times.max() + np.array([1.0, 9.0])
    found, batch = units[3].forecast(asked, "x2"), model.forecast(panel, asked, "x2")
    np.testing.assert_allclose(found.mean, batch.mean[3], rtol=1e-9)
    np.testing.assert_allclose(found.variance, batch.variance[3], rtol=1e-9)
    back = type(units[3]).from_bytes(scorer, units[3].to_bytes())
    np.testing.assert_array_equal(back.mode_probabilities(), units[3].mode_probabilities())
