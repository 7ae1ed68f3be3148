"""Streaming under reading conditions: the same answers as the batch, and nothing guessed where covariates are wrong."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
from condition_cases import conditioned_model, panel_for, with_random
from conditioned_fleets import conditioned_fleet, fitted
from scorer_cases import make_model

import cem
from cem.basis.families import Polynomial
from cem.covariates import Linear, Regimes
from cem.covariates.conditions import Conditions
from cem.errors import ScorerError
from cem.scoring.scorer import Scorer

CASES = [(seed, rank) for seed in range(8) for rank in (0, 2)]


def own_covariates(model, panel, unit):
    return {name: panel.covariate(name)[unit] for name in model.unit_covariates} or None


def read_covariates(model, panel, row):
    return {name: panel.covariate(name)[row] for name in model.covariates} or None


def fed(scorer, panel, unit):
    """A running unit that has the readings of one unit of a panel."""
    model = scorer.model
    running = scorer.unit(own_covariates(model, panel, unit))
    for row in range(*panel.offsets[unit : unit + 2]):
        running.update(panel.times[row], panel.values[row], read_covariates(model, panel, row))
    return running


@pytest.fixture(scope="module")
def model():
    """Regimes by load, a common and a by-mode column, and membership by site."""
    return fitted(
        conditioned_fleet(), basis=Polynomial(1), regimes=Regimes("load", n=3), membership=["site"],
        covariates={"b": ["stage"], "c": [Linear("speed", by_mode=True)]},
    ).model_  # fmt: skip


@pytest.fixture
def unit(model):
    """After two readings; its covariates are load, speed, stage."""
    running = model.scorer().unit({"site": "A"})
    running.update(1.0, [0.1, 2.0, 3.0], (20.0, 9.0, "low"))
    running.update(2.0, [4.0, np.nan, 3.0], {"speed": 8.0, "stage": "high", "load": 50.1})
    return running


# ---------------------------------------------------------------------------------------------- the same as the batch


@pytest.mark.parametrize(("seed", "rank"), CASES)
def test_a_unit_that_is_read_one_by_one_is_the_unit_of_the_batch(seed, rank):
    model = conditioned_model(seed, rank=rank)
    panel = panel_for(model, seed + 50)
    scorer = model.scorer()
    probabilities, logs, novelty = model.predict_proba(panel), model.score_samples(panel), model.novelty(panel)
    np.testing.assert_allclose(scorer.score(panel), probabilities, rtol=0, atol=1e-12)
    posterior = model.posterior(panel)
    for l in range(panel.n_units):
        running = fed(scorer, panel, l)
        np.testing.assert_allclose(running.mode_probabilities(), probabilities[l], rtol=0, atol=1e-12)
        np.testing.assert_allclose(running.log_likelihood(), logs[l], rtol=1e-12)
        np.testing.assert_allclose(running.novelty(), novelty[l], rtol=0, atol=1e-12)
        for c, size in enumerate(model.basis_sizes_):
            mean, covariance = running.posterior(1, c)
            np.testing.assert_allclose(mean, posterior.means[l, 1, c, :size], rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(covariance, posterior.covariances[l, 1, c, :size, :size], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("functions", [(), (0,), (1, 2)])
def test_functions_whose_coefficients_do_not_vary_score_as_in_the_batch(functions):
    model = with_random(conditioned_model(3), functions)
    panel = panel_for(model, 11)
    for l in range(panel.n_units):
        running = fed(model.scorer(), panel, l)
        np.testing.assert_allclose(running.mode_probabilities(), model.predict_proba(panel)[l], rtol=0, atol=1e-12)
        np.testing.assert_allclose(running.log_likelihood(), model.score_samples(panel)[l], rtol=1e-12)


@pytest.mark.parametrize(("seed", "rank"), CASES)
def test_forecasts_are_those_of_the_batch(seed, rank):
    """At covariates other than those read, in every channel; a report and the gateway would disagree."""
    model = conditioned_model(seed, rank=rank)
    panel = panel_for(model, seed + 50, n_units=2)
    times = np.array([3.0, 8.5])
    rows = {"load": np.array([22.0, 41.0]), "speed": np.array([10.2, 89.0]), "mode": np.array([True, False])}
    given = {name: rows[name] for name in model.covariates}
    for l in range(panel.n_units):
        running = fed(model.scorer(), panel, l)
        for channel in model.channels:
            batch = model.forecast(panel, times, channel, covariates=given or None)
            found = running.forecast(times, channel, covariates=given or None)
            np.testing.assert_allclose(found.mean, batch.mean[l], rtol=1e-9)
            np.testing.assert_allclose(found.variance, batch.variance[l], rtol=1e-9)
            np.testing.assert_allclose(found.mode_means, batch.mode_means[l], rtol=1e-9)
            if given:
                last = running.forecast(times, channel, covariates="last")
                np.testing.assert_allclose(
                    last.mean, model.forecast(panel, times, channel, covariates="last").mean[l], rtol=1e-9
                )


@pytest.mark.parametrize("seed", range(4))
def test_fading_readings_take_their_part_of_the_map_along(seed):
    """With forgetting, ln |dx'/dx| of a reading has to fade as its row does, be it on time or late."""
    model = conditioned_model(seed, membership=False)
    panel = panel_for(model, seed + 50, n_units=1)
    rows = np.arange(len(panel.times))[::-1] if seed % 2 else np.arange(len(panel.times))
    running = Scorer(model, forgetting=0.9).unit(own_covariates(model, panel, 0))
    for row in rows:
        running.update(panel.times[row], panel.values[row], read_covariates(model, panel, row))
    log_jacobian = 0.0
    if model.conditions.regimes is not None:
        w = panel.conditions(model.conditions.names, model.conditions.levels)
        each = model.conditions.log_jacobian(panel.values, w)
        log_jacobian = float((0.9 ** (panel.times.max() - panel.times)) @ each)
    internal, _ = running._log_densities()
    state = running._get_state()
    state[2] = 0.0  # the same unit, its sum of logarithms taken off
    twin = running.copy()
    twin._set_state(state)
    np.testing.assert_allclose(running.log_likelihood() - twin.log_likelihood(), log_jacobian, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(internal - twin._log_densities()[0], log_jacobian, rtol=1e-10, atol=1e-12)


def test_one_channel_at_a_time_is_the_whole_reading(model):
    panel = conditioned_fleet(7, n_units=1)
    scorer = model.scorer()
    own = own_covariates(model, panel, 0)
    whole, single = scorer.unit(own), scorer.unit(own)
    for row in range(len(panel.times)):
        whole.update(panel.times[row], panel.values[row], read_covariates(model, panel, row))
        for channel in ("c", "a", "b"):
            value = panel.values[row, model.channels.index(channel)]
            single.update_channel(panel.times[row], channel, value, read_covariates(model, panel, row))
    np.testing.assert_array_equal(single.mode_probabilities(), whole.mode_probabilities())
    np.testing.assert_allclose(single.log_likelihood(), whole.log_likelihood(), rtol=1e-13)


def test_many_readings_at_once_are_the_same_bits(model):
    panel = conditioned_fleet(7, n_units=1)
    own = own_covariates(model, panel, 0)
    one_by_one = fed(model.scorer(), panel, 0)
    columns = {name: panel.covariate(name) for name in model.covariates}
    for given in (
        columns,
        pd.DataFrame(columns),
        np.array([list(row) for row in zip(*columns.values(), strict=True)], object),
    ):
        many = model.scorer().unit(own)
        many.update_many(panel.times, panel.values, given)
        assert many.to_bytes() == one_by_one.to_bytes()


# ----------------------------------------------------------------------------------------------- forms of covariates


def test_covariates_by_name_and_by_position_are_the_same_bits(model, unit):
    assert model.covariates == ("load", "speed", "stage")
    row = namedtuple("Row", "stage load speed")("low", 50, np.float32(9.5))
    forms = [
        (50.0, 9.5, "low"), [50, 9.5, "low"], np.array([50.0, 9.5, "low"], dtype=object),
        {"stage": "low", "load": 50.0, "speed": 9.5}, pd.Series({"load": 50.0, "speed": 9.5, "stage": "low"}), row,
        pd.DataFrame({"load": [50.0], "speed": [9.5], "stage": ["low"]}),
    ]  # fmt: skip
    found = set()
    for form in forms:
        twin = unit.copy()
        twin.update(3.0, [1.0, 2.0, 3.0], form)
        found.add(twin.to_bytes())
    assert len(found) == 1


def test_arrays_of_any_kind_are_read_alike():
    """The head of a float64 array is read directly; anything else that holds the numbers must mean the same."""
    model = fitted(conditioned_fleet(), basis=Polynomial(1), covariates=["speed", "load"]).model_
    assert model.covariates == ("load", "speed")
    w = np.array([50.0, 9.5])
    forms = [
        w, np.array([50.0, 0.0, 9.5, 0.0])[::2], w.astype(">f8"), w.astype(np.float32), [50, 9.5], w.tolist(),
        np.ma.masked_array(w, [False, False]), w[::-1].copy()[::-1],
    ]  # fmt: skip
    found = set()
    for form in forms:
        running = model.scorer().unit()
        running.update(3.0, [1.0, 2.0, 3.0], form)
        found.add(running.to_bytes())
    assert len(found) == 1
    many = model.scorer().unit()
    masked = np.ma.masked_array([w], [[True, False]])
    for wrong in (masked, {"load": masked[:, 0], "speed": masked[:, 1]}):
        with pytest.raises(ScorerError, match="'load' is missing"):
            many.update_many([3.0], [[1.0, 2.0, 3.0]], wrong)
    running = model.scorer().unit()
    for wrong in (w[:1], w[None], np.ma.masked_array(w, [True, False]), np.array(["a", "b"]), np.array([1j, 2.0])):
        with pytest.raises(ScorerError):
            running.update(3.0, [1.0, 2.0, 3.0], wrong)
    assert running.n_observations == 0


# ------------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        (None, "'load', 'speed', 'stage'"),
        ((20.0, 9.0), "2 covariates"),
        ({"load": 20.0, "speed": 9.0}, "'stage' is missing"),
        ({"load": 20.0, "speed": 9.0, "stage": "low", "sped": 1.0}, "no covariate 'sped'"),
        ({"load": 20.0, "speed": 9.0, "stage": "low", "site": "A"}, "no covariate 'site'"),
        ({"load": 20.0, "speed": 9.0, "stage": "middle"}, "'middle'"),
        ({"load": 20.0, "speed": None, "stage": "low"}, "'speed' is missing"),
        ((20.0, np.nan, "low"), "'speed' is missing"),
        ((20.0, np.inf, "low"), "'speed' is inf"),
        ((20.0, 9.0, 1.0), "stage"),
        ((20.0, "fast", "low"), "'fast'"),
        ((1e6, 9.0, "low"), "regime"),
        ("low", "'low'"),
        (np.array([[20.0, 9.0, 1.0]]), "shape"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_covariates_is_named_and_the_unit_is_as_it_was(unit, covariates, message):
    before = unit.to_bytes()
    for call in (
        lambda: unit.update(3.0, [1.0, 2.0, 3.0], covariates),
        lambda: unit.update_channel(3.0, "a", 1.0, covariates),
    ):
        with pytest.raises(ScorerError, match=message):
            call()
    assert unit.to_bytes() == before


def test_a_wrong_row_among_many_leaves_the_unit_as_it_was(unit):
    before = unit.to_bytes()
    times, values = np.array([3.0, 4.0]), np.ones((2, 3))
    rows = {"load": [20.0, 1e6], "speed": [9.0, 9.0], "stage": ["low", "low"]}
    with pytest.raises(ScorerError, match=r"row 1: .*regime"):
        unit.update_many(times, values, rows)
    with pytest.raises(ScorerError, match="row 0: covariate 'stage' is missing"):
        unit.update_many(times, values, {**rows, "stage": [None, "low"]})
    with pytest.raises(ScorerError, match="3 values; 2"):
        unit.update_many(times, values, {**rows, "speed": [1.0, 2.0, 3.0]})
    with pytest.raises(ScorerError, match="shape"):
        unit.update_many(times, values, np.ones((2, 2)))
    with pytest.raises(ScorerError, match="needs the covariates"):
        unit.update_many(times, values)
    assert unit.to_bytes() == before


def test_covariates_for_a_model_that_has_none_are_refused():
    """Taken in silence, they would seem to count."""
    unit = Scorer(make_model(["line"], 2)).unit()
    for call in (
        lambda: unit.update(1.0, [9062.0], [20.0]),
        lambda: unit.update_channel(1.0, 0, 9062.0, [20.0]),
        lambda: unit.update_many([1.0], [[9062.0]], [[20.0]]),
        lambda: unit.forecast([1.0], 0, covariates=[[20.0]]),
        lambda: unit.forecast([1.0], 0, covariates="last"),
    ):
        with pytest.raises(ScorerError, match="no covariates"):
            call()
    with pytest.raises(ScorerError, match="no covariates of units"):
        unit.scorer.unit(covariates={"site": "A"})
    assert unit.n_observations == 0


def test_a_unit_needs_its_own_covariates(model):
    scorer = model.scorer()
    for wrong, message in [(None, "'site'"), ({"site": "C"}, "'C'"), ({"load": 20.0}, "'load'"), ((), "0 covariates")]:
        with pytest.raises(ScorerError, match=message):
            scorer.unit(wrong)
    bare = cem.scoring.Unit(scorer)
    for call in (bare.mode_probabilities, bare.log_likelihood):
        with pytest.raises(ScorerError, match=r"scorer\.unit\(covariates="):
            call()
    np.testing.assert_allclose(scorer.unit(["A"]).mode_probabilities().sum(), 1.0)


def test_forecasts_guess_no_covariates(model, unit):
    with pytest.raises(ScorerError, match="'last'"):
        unit.forecast([5.0], "c")
    with pytest.raises(ScorerError, match="'speed' is missing"):
        unit.forecast([5.0], "c", covariates={"load": 20.0})
    with pytest.raises(ScorerError, match="regime"):
        unit.forecast([5.0, 6.0], "c", covariates={"load": [20.0, 1e6], "speed": 9.0})
    with pytest.raises(ScorerError, match="no covariate 'sped'"):
        unit.forecast([5.0], "c", covariates={"load": 20.0, "speed": 9.0, "sped": 1.0})
    with pytest.raises(ScorerError, match="no reading yet"):
        model.scorer().unit({"site": "A"}).forecast([5.0], "c", covariates="last")
    whole = unit.forecast([5.0], "c", covariates=np.array([[50.0, 9.0, "low"]], dtype=object))
    named = unit.forecast([5.0], "c", covariates={"load": 50.0, "speed": 9.0})
    np.testing.assert_array_equal(whole.mean, named.mean)


def test_last_are_the_covariates_at_the_latest_time(unit):
    """A late reading, or one without values, must not become what the future is said to be like."""
    expected = unit.forecast([5.0], "c", covariates="last").mean
    late = unit.copy()
    late.update(0.5, [np.nan, np.nan, 3.0], (90.0, 12.0, "low"))
    changed = late.forecast([5.0], "c", covariates={"load": 50.1, "speed": 8.0})
    np.testing.assert_array_equal(late.forecast([5.0], "c", covariates="last").mean, changed.mean)
    unit.update(9.0, [np.nan] * 3, (90.0, 12.0, "low"))
    np.testing.assert_array_equal(unit.forecast([5.0], "c", covariates="last").mean, expected)


def test_a_panel_without_the_covariates_is_refused(model):
    panel = conditioned_fleet(7, n_units=2)
    for scorer in (model.scorer(),):
        with pytest.raises(ScorerError, match="speed"):
            scorer.score(panel.with_covariates({"speed": None}))
        with pytest.raises(ScorerError, match="regime"):
            scorer.score(panel.with_covariates({"load": np.full(len(panel.times), 1e6)}))
        with pytest.raises(ScorerError, match="mode probabilities"):
            scorer.score(panel.with_mode_probabilities(np.full((2, 2), 0.5), labels=[0, 1]))


# -------------------------------------------------------------------------------------------------------- saved units


@pytest.mark.parametrize(("seed", "rank"), CASES)
def test_a_restored_unit_goes_on_to_the_bit(seed, rank):
    model = conditioned_model(seed, rank=rank)
    panel = panel_for(model, seed + 50, n_units=1)
    scorer = Scorer(model, forgetting=0.95) if not rank else model.scorer()
    running = fed(scorer, panel, 0)
    twins = [type(running).from_bytes(scorer, running.to_bytes()), running.copy(), pickle.loads(pickle.dumps(running))]
    times = np.array([9.0, 3.0])
    for twin in twins:
        assert twin.to_bytes() == running.to_bytes()
    for each in (running, *twins):
        for t in times:
            each.update(t, panel.values[0], read_covariates(model, panel, 0))
    for twin in twins:
        assert twin.to_bytes() == running.to_bytes()
        np.testing.assert_array_equal(twin.mode_probabilities(), running.mode_probabilities())
        assert twin.log_likelihood() == running.log_likelihood()


def test_bytes_are_of_one_models_conditions(model, unit):
    """Other offsets make other readings: the state would go on under the wrong map."""
    moved = model.conditions.with_maps(model.conditions.offsets + 1.0, model.conditions.scales)
    other = type(model)(**{**model._arguments(), "conditions": moved}).scorer()
    with pytest.raises(ScorerError, match="another model"):
        type(unit).from_bytes(other, unit.to_bytes())
    plain = Scorer(make_model(["line"], 2))
    with pytest.raises(ScorerError, match="format version 2; this release reads 1"):
        type(unit).from_bytes(plain, unit.to_bytes())


def test_altered_covariates_in_saved_bytes_are_refused(unit):
    from cem.files.digest import sha256

    raw = unit.to_bytes()
    n_memory = len(unit._get_memory())
    for place, value in [(-1, 7.0), (-n_memory, np.nan), (-n_memory, 5.0), (-3, 1e9), (-2, np.inf)]:
        numbers = np.frombuffer(raw[32:-16], "<f8").copy()
        numbers[place] = value
        body = raw[:32] + numbers.tobytes()
        with pytest.raises(ScorerError, match="no readings lead to"):
            type(unit).from_bytes(unit.scorer, body + sha256(body)[:16])


def test_a_reset_unit_keeps_its_own_covariates(model, unit):
    unit.reset()
    fresh = model.scorer().unit({"site": "A"})
    assert unit.to_bytes() == fresh.to_bytes()


def test_models_without_conditions_load_nothing_for_them():
    """A gateway with a plain model would start more slowly."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from scorer_cases import make_model\n"
        "from cem.scoring.scorer import Scorer\n"
        "unit = Scorer(make_model(['line'], 2)).unit(); unit.update(1.0, [9062.0])\n"
        "type(unit).from_bytes(unit.scorer, unit.to_bytes()).mode_probabilities()\n"
        "assert not [n for n in sys.modules if n.startswith(('cem.covariates', 'cem.scoring.under', 'scipy', "
        "'cem.scoring.condition', 'cem.scoring._linked'))], sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *sys.path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_nearest_centre_is_found_with_and_without_the_core():
    """A reading well inside a regime stops the search; it must be the regime that the whole search finds."""
    rng = np.random.default_rng(0)
    for seed in range(20):
        model = conditioned_model(seed)
        conditions: Conditions = model.conditions
        if conditions.regimes is None or not len(conditions.regimes.places):
            continue
        regimes = conditions.regimes
        w = np.zeros((500, len(conditions.columns)))
        spread = regimes.origin + regimes.spread * regimes.places[rng.integers(regimes.n_regimes, size=500)]
        w[:, list(regimes.columns)] = spread + rng.normal(0, 0.3, spread.shape) * regimes.spread
        squares = (((w[:, None, list(regimes.columns)] - regimes.origin) / regimes.spread - regimes.places) ** 2).sum(2)
        found = np.full(500, -1)
        for i, row in enumerate(w):
            try:
                found[i] = conditions.regimes_at(row[None])[0]
            except cem.CemError:
                continue
        known = found >= 0
        assert known.sum() > 100
        np.testing.assert_array_equal(found[known], squares[known].argmin(axis=1))
