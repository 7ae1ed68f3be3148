"""Streaming scoring: the same answers as a batch evaluation of all data at once, whatever order they come in."""

from __future__ import annotations

import copy
import hashlib
import math
import os
import pickle
import struct
import subprocess
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import DATA
from problems import statistics_bundle
from scorer_cases import BASES, HORIZON, draw, make_model

from cem.errors import OptionError, ScorerError
from cem.mixture import _prediction
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel
from cem.scoring import _scorer
from cem.scoring.scorer import Scorer, Unit
from cem.statistics import _blocks

LEVELS = _blocks.instruction_levels()


@pytest.fixture(autouse=True)
def _restore_level():
    level = _blocks.instruction_level()
    yield
    _blocks.use_instruction_level(level)


def dense(model, times, values, weights=None):
    """model.md (2) with dense V, in the panel's own units: log-densities (K,), misfits (K,), joint probabilities (K,).

    A weight v on a row raises its conditional likelihood to the power v, which turns the noise into σ²/v and leaves
    (1 − v) log 2πσ² and log v of the normalising constants to be put back.
    """
    parameters, coordinates = model.parameters, model.coordinates
    weights = np.ones(len(times)) if weights is None else weights
    density, misfit = np.zeros(parameters.n_modes), np.zeros(parameters.n_modes)
    for k in range(parameters.n_modes):
        for c, basis in enumerate(model.bases):
            seen = ~np.isnan(values[:, c])
            if not seen.any():
                continue
            phi = basis(times[seen])
            mean = coordinates.coefficients(parameters.mean(k, c), c)
            root = coordinates.covariance_factor(parameters.factor(k, c), c)
            noise = parameters.noise_variances[k, c] * coordinates.scales[c] ** 2
            v = weights[seen]
            V = (phi @ root) @ (phi @ root).T + np.diag(noise / v)
            rest = values[seen, c] - phi @ mean
            quadratic = rest @ np.linalg.solve(V, rest)
            misfit[k] += quadratic
            density[k] -= 0.5 * (seen.sum() * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + quadratic)
            density[k] += 0.5 * np.sum((1 - v) * np.log(2 * np.pi * noise) - np.log(v))
    joint = density + np.log(parameters.weights)
    probabilities = np.exp(joint - joint.max())
    return density, misfit, probabilities / probabilities.sum()


def log_sum(joint):
    return joint.max() + np.log(np.sum(np.exp(joint - joint.max())))


# --------------------------------------------------------------------------------------------- equality with batch


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=50, derandomize=True, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(BASES)), min_size=1, max_size=9),
    n_modes=st.integers(1, 4),
    n=st.integers(0, 14),
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.2, 0.7]),
)
def test_streaming_is_bayes_rule_on_all_readings(level, kinds, n_modes, n, seed, missing):
    """Any mixture of bases, fewer readings than coefficients, missing cells, any order of time."""
    _blocks.use_instruction_level(level)
    model = make_model(kinds, n_modes, seed, same_noise=False)
    times = np.random.default_rng(seed).uniform(0, HORIZON, n)
    values = draw(model, times, seed, missing)
    unit = Scorer(model).unit()
    for t, x in zip(times, values, strict=True):
        unit.update(t, x)
    density, misfit, probabilities = dense(model, times, values)
    np.testing.assert_allclose(unit.mode_probabilities(), probabilities, atol=1e-7)
    np.testing.assert_allclose(unit.log_likelihood(), log_sum(density + np.log(model.parameters.weights)), atol=1e-7)
    np.testing.assert_allclose(unit._log_densities()[1], misfit, atol=1e-7)
    assert unit.n_observations == np.sum(~np.isnan(values))


def batch(model, times, values):
    """The same quantities from statistics compressed by Householder QR in internal coordinates, all data at once."""
    parameters, coordinates = model.parameters, model.coordinates
    n_modes, n_channels = parameters.n_modes, parameters.n_channels
    blocks, projections, norms, counts = [], [], np.zeros((1, n_channels)), np.zeros((1, n_channels), dtype=np.int32)
    for c, basis in enumerate(model.bases):
        seen = ~np.isnan(values[:, c])
        phi = basis(times[seen])
        x = (values[seen, c] - phi @ coordinates.centre(c)) / coordinates.scales[c]
        phi = np.linalg.solve(coordinates.transform(c).T, phi.T).T
        q, r = np.linalg.qr(phi)
        w = q.T @ x
        rest = (x - q @ w).astype(np.longdouble)
        blocks.append(r.ravel())
        projections.append(w)
        norms[0, c], counts[0, c] = float(rest @ rest), seen.sum()
    offsets = np.concatenate([[0], np.cumsum(np.square(parameters.sizes))])[:-1].astype(np.int64)[None]
    out, misfit, common = np.empty((1, n_modes)), np.empty((1, n_modes)), np.empty(1)
    _prediction.log_densities(
        statistics_bundle((np.concatenate(blocks), offsets, np.concatenate(projections)[None], norms, counts),
                          parameters.sizes),
        parameters.bundle,
        out, misfit, common,
    )  # fmt: skip
    joint = out[0] + np.log(parameters.weights)
    probabilities = np.exp(joint - joint.max())
    log_likelihood = common[0] + log_sum(joint) - counts[0] @ np.log(coordinates.scales)
    return probabilities / probabilities.sum(), log_likelihood


def whole_model(model):
    """The FailureModeModel of a test's model."""
    return FailureModeModel(
        parameters=model.parameters, coordinates=model.coordinates, bases=model.bases, channels=model.channels
    )


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [200, 20_000, 1_000_000])
def test_a_million_updates_at_9062_lose_no_digit(level, n):
    """Streaming equals the batch to 1e-10 on units whose mode is open, where the test says something."""
    _blocks.use_instruction_level(level)
    model = make_model(["polynomial", "polynomial", "line"], n_modes=3, seed=4, apart=0.2)
    rng = np.random.default_rng(n)
    times = rng.uniform(0, HORIZON, n)
    scorer = Scorer(model)
    open_units = 0
    for seed in {200: range(40), 20_000: range(3), 1_000_000: [0]}[n]:
        values = draw(model, times, seed)
        unit = scorer.unit()
        unit.update_many(times, values)
        expected, log_likelihood = batch(model, times, values)
        found = unit.mode_probabilities()
        assert n < 1_000_000 or found.max() < 0.9
        open_units += found.max() < 0.9
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(unit.log_likelihood(), log_likelihood, rtol=1e-12, atol=1e-10)
        if n == 1_000_000:
            whole, panel = whole_model(model), Panel.from_arrays([times], [values], channels=model.channels)
            np.testing.assert_allclose(found, whole.predict_proba(panel)[0], rtol=0, atol=1e-10)
            np.testing.assert_allclose(unit.log_likelihood(), whole.score_samples(panel)[0], rtol=1e-12)
    assert open_units > 0


@pytest.mark.parametrize("kinds", [["polynomial"], ["spline", "custom", "line", "fourier", "polynomial"]])
def test_forgetting_is_the_weighted_batch_in_any_order_of_time(kinds):
    model = make_model(kinds, 3, same_noise=False)
    rng = np.random.default_rng(5)
    times = rng.permutation(np.linspace(10, HORIZON, 25))
    values = draw(model, times)
    rate = 0.985
    unit = Scorer(model, forgetting=rate).unit()
    for i, (t, x) in enumerate(zip(times, values, strict=True)):
        unit.update(t, x)
        seen = ~np.isnan(values[: i + 1]).all(axis=1)
        last = times[: i + 1][seen].max() if seen.any() else t
        weights = rate ** (last - times[: i + 1])
        density, misfit, probabilities = dense(model, times[: i + 1], values[: i + 1], weights)
        np.testing.assert_allclose(unit.mode_probabilities(), probabilities, atol=1e-8)
        np.testing.assert_allclose(
            unit.log_likelihood(), log_sum(density + np.log(model.parameters.weights)), rtol=1e-8, atol=1e-8
        )
        np.testing.assert_allclose(unit._log_densities()[1], misfit, rtol=1e-7, atol=1e-8)


def test_all_that_was_forgotten_leaves_the_prior_and_no_nan():
    """A channel that stays silent for 1e5 time constants must not divide by zero when it comes back."""
    model = make_model(["polynomial", "line"], 2)
    scorer = Scorer(model, forgetting=0.5)
    unit = scorer.unit()
    unit.update_many(np.arange(5.0), draw(model, np.arange(5.0), missing=0.0))
    for t in range(1, 60):
        unit.update_channel(5.0 + 2000.0 * t, "s0", 9062.0)
    fresh = scorer.unit()
    last = 5.0 + 2000.0 * 59
    fresh.update_channel(last, 0, 9062.0)
    np.testing.assert_allclose(unit.mode_probabilities(), fresh.mode_probabilities(), atol=1e-12)
    for u in (unit, fresh):
        u.update_channel(last, 1, 9062.5)
    np.testing.assert_allclose(unit.mode_probabilities(), fresh.mode_probabilities(), atol=1e-12)


# -------------------------------------------------------------------------------------------------- ways to update


def test_update_many_and_update_channel_are_update():
    """Row by row, cell by cell or all at once: the same state; to the bit for whole rows."""
    model = make_model(["polynomial", "spline", "polynomial", "custom", "constant", "line"], 2)
    times = np.linspace(0, HORIZON, 30)
    values = draw(model, times)
    one, many, cells = (Scorer(model).unit() for _ in range(3))
    for i in range(30):
        one.update(times[i], values[i])
        for c in range(6):
            cells.update_channel(times[i], c if i % 2 else model.channels[c], values[i, c])
    many.update_many(times, values)
    np.testing.assert_array_equal(one._get_state(), many._get_state())
    np.testing.assert_allclose(one._get_state(), cells._get_state(), rtol=1e-13, atol=1e-13)
    assert one.n_observations == many.n_observations == cells.n_observations
    assert one.last_time == HORIZON


def test_a_missing_channel_keeps_its_state_to_the_bit():
    """A silent sensor must not drift through a million readings of its neighbours."""
    model = make_model(["polynomial", "polynomial"], 2)
    unit = Scorer(model).unit()
    unit.update_many(np.arange(7.0), draw(model, np.arange(7.0), missing=0.0))
    before = unit._channel_statistics(0)
    later = np.linspace(7, HORIZON, 2000)
    values = draw(model, later, missing=0.0)
    values[:, 0] = np.nan
    unit.update_many(later, values)
    for first, second in zip(before, unit._channel_statistics(0), strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_update_with_everything_missing_changes_nothing():
    model = make_model(["polynomial", "custom"], 2)
    for rate in (None, 0.9):
        unit = Scorer(model, forgetting=rate).unit()
        np.testing.assert_allclose(unit.mode_probabilities(), model.parameters.weights, rtol=1e-14)
        assert unit.log_likelihood() == pytest.approx(0.0, abs=1e-12) and math.isnan(unit.last_time)
        unit.update(3.0, draw(model, np.array([3.0]), missing=0.0)[0])
        before = unit._get_state()
        unit.update(50.0, [math.nan, math.nan])
        unit.update_channel(60.0, 1, math.nan)
        unit.update_many([70.0, 80.0], np.full((2, 2), np.nan))
        np.testing.assert_array_equal(unit._get_state(), before)
        assert unit.n_observations == 2 and unit.last_time == 3.0


def test_readings_come_as_arrays_strided_views_lists_and_tuples():
    model = make_model(["polynomial", "line"], 2)
    values = draw(model, np.array([8.0]), missing=0.0)[0]
    states = []
    wide = np.zeros((2, 3))
    wide[:, 1] = values
    for x in (values, wide[:, 1], values.tolist(), tuple(values), memoryview(values)):
        unit = Scorer(model).unit()
        unit.update(8, x)
        states.append(unit._get_state())
    for state in states[1:]:
        np.testing.assert_array_equal(state, states[0])


def test_mode_probabilities_fill_the_callers_buffer():
    model = make_model(["polynomial"], 3)
    unit = Scorer(model).unit()
    unit.update(4.0, [9062.3])
    out, wide = np.empty(3), np.zeros((3, 2))
    assert unit.mode_probabilities(out) is out
    unit.mode_probabilities(wide[:, 1])
    np.testing.assert_array_equal(out, unit.mode_probabilities())
    np.testing.assert_array_equal(wide[:, 1], out)
    assert np.all(wide[:, 0] == 0) and out.sum() == pytest.approx(1.0, abs=1e-15)


def test_score_of_a_panel_is_streaming_of_its_units():
    model = make_model(["polynomial", "custom", "line"], 2, response="s2")
    rng = np.random.default_rng(3)
    times = [np.sort(rng.uniform(0, HORIZON, n)) for n in (1, 7, 30, 2)]
    values = [draw(model, t, i) for i, t in enumerate(times)]
    values[0][0, 0] = 9062.0
    values[3][0, 1] = 9062.0
    panel = Panel.from_arrays(times, values, channels=model.channels)
    scorer = Scorer(model)
    expected = []
    for t, x in zip(times, values, strict=True):
        unit = scorer.unit()
        unit.update_many(t, x)
        expected.append(unit.mode_probabilities())
    np.testing.assert_array_equal(scorer.score(panel), expected)
    np.testing.assert_array_equal(scorer.score(panel, n_threads=3), expected)
    field = Panel.from_arrays(times, [x[:, [1, 0]] for x in values], channels=["s1", "s0"])
    found = scorer.score(field)
    for row, t, x in zip(found, times, values, strict=True):
        unit = scorer.unit()
        unit.update_many(t, np.where([True, True, False], x, np.nan))
        np.testing.assert_array_equal(row, unit.mode_probabilities())
    stuck = Panel.from_arrays(times, [np.hstack([x[:, [0, 1]], np.ones((len(x), 1))]) for x in values],
                              channels=["s0", "s1", "s7"], allow_empty_channels=True)  # fmt: skip
    with pytest.raises(ScorerError, match=r"channels \['s7'\]"):
        scorer.score(stuck)
    left_out = Scorer(types.SimpleNamespace(**vars(model), training={"left_out_channels": ["s7"]}))
    np.testing.assert_array_equal(left_out.score(stuck), found)
    in_hours = Scorer(types.SimpleNamespace(**vars(model), time_unit="h"))
    np.testing.assert_array_equal(in_hours.score(panel), expected)
    with pytest.raises(ScorerError, match=r"'d'.*'h'"):
        in_hours.score(Panel.from_arrays(times, values, channels=model.channels, time_unit="d"))
    with pytest.raises(ScorerError, match=r"channels \['s9'\]"):
        scorer.score(Panel.from_arrays(times, [x[:, [0]] for x in values], channels=["s9"]))


# ------------------------------------------------------------------------------------------ posterior and forecast


def direct_posterior(model, times, x, k, c):
    """(4) in the user's terms with explicit inverses."""
    coordinates, parameters = model.coordinates, model.parameters
    seen = ~np.isnan(x)
    phi = model.bases[c](times[seen])
    mean = coordinates.coefficients(parameters.mean(k, c), c)
    root = coordinates.covariance_factor(parameters.factor(k, c), c)
    noise = parameters.noise_variances[k, c] * coordinates.scales[c] ** 2
    V = phi @ root @ root.T @ phi.T + noise * np.eye(seen.sum())
    gain = root @ root.T @ phi.T @ np.linalg.inv(V)
    return mean + gain @ (x[seen] - phi @ mean), root @ root.T - gain @ phi @ root @ root.T, noise


@pytest.mark.parametrize("n", [0, 1, 12])
def test_posterior_and_forecast_are_bayes_rule_in_the_users_terms(n):
    model = make_model(["polynomial", "custom", "spline"], 3, response="s1", same_noise=False, level=50.0)
    times = np.linspace(5, 200, n)
    values = draw(model, times)
    unit = Scorer(model).unit()
    unit.update_many(times, values)
    ahead = np.array([210.0, 250.0, 299.0])
    for c, name in enumerate(model.channels):
        forecast = unit.forecast(ahead, None if name == "s1" else name)
        phi = model.bases[c](ahead)
        for k in range(3):
            mean, covariance, noise = direct_posterior(model, times, values[:, c], k, c)
            found_mean, found_covariance = unit.posterior(k, name)
            scale = np.abs(covariance).max()
            np.testing.assert_allclose(found_mean, mean, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(found_covariance, covariance, atol=1e-9 * scale)
            np.testing.assert_allclose(forecast.mode_means[k], phi @ mean, rtol=1e-9)
            expected = np.einsum("mi,ij,mj->m", phi, covariance, phi) + noise
            np.testing.assert_allclose(forecast.mode_variances[k], expected, rtol=1e-7)
        weights = unit.mode_probabilities()
        np.testing.assert_allclose(forecast.mean, weights @ forecast.mode_means)
        second = weights @ (forecast.mode_variances + forecast.mode_means**2)
        np.testing.assert_allclose(forecast.variance, second - forecast.mean**2, rtol=1e-7)
        np.testing.assert_array_equal(forecast.mode_probabilities, weights)


def test_forecast_refuses_what_it_cannot_give():
    unit = Scorer(make_model(["polynomial"], 2)).unit()
    with pytest.raises(ScorerError, match="no response to forecast; name a channel"):
        unit.forecast([1.0])
    with pytest.raises(ScorerError, match="must be finite"):
        unit.forecast([np.nan], "s0")
    with pytest.raises(ScorerError, match="no channel 's7'"):
        unit.forecast([1.0], "s7")
    with pytest.raises(ScorerError, match="no mode 2"):
        unit.posterior(2, 0)


# ---------------------------------------------------------------------------------------------------------- novelty


def test_chi_square_tail_is_that_of_scipy():
    from scipy import stats

    for degrees in (0.3, 1, 2, 7, 20, 45, 1000, 31_415, 1e6, 1.5e7):
        spread = np.sqrt(2 * degrees)
        for x in (0.0, 1e-3, 0.5 * degrees, degrees - spread, degrees, degrees + 3 * spread, degrees + 12 * spread):
            expected = stats.chi2.sf(x, degrees)
            found = _scorer.chi_square_tail(float(x), float(degrees))
            assert found == pytest.approx(expected, rel=1e-8, abs=1e-280), (x, degrees)
    assert _scorer.chi_square_tail(3.0, 0.0) == 1.0
    assert _scorer.chi_square_tail(np.inf, 3.0) == 0.0
    with pytest.raises(ValueError, match="degrees of freedom"):
        _scorer.chi_square_tail(1.0, -1.0)


def test_novelty_is_uniform_on_known_units_and_small_on_strange_ones():
    from scipy import stats

    model = make_model(["polynomial", "line"], 1)
    times = np.linspace(0, HORIZON, 12)
    scorer, found = Scorer(model), []
    assert scorer.unit().novelty() == 1.0
    for seed in range(300):
        unit = scorer.unit()
        unit.update_many(times, draw(model, times, seed))
        found.append(unit.novelty())
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    unit.update_many(times, draw(model, times, 0) + 3 * np.sin(times)[:, None])
    assert unit.novelty() < 1e-6


# ------------------------------------------------------------------------------------------------------ state saved


def test_a_unit_survives_a_restart_and_a_copy_is_its_own():
    model = make_model(["polynomial", "custom", "line"], 2)
    times = np.linspace(0, HORIZON, 20)
    values = draw(model, times)
    scorer = Scorer(model, forgetting=0.99)
    unit = scorer.unit()
    unit.update_many(times[:12], values[:12])
    twins = [unit.copy(), copy.deepcopy(unit), Unit.from_bytes(Scorer(model, forgetting=0.99), unit.to_bytes())]
    twins.append(pickle.loads(pickle.dumps(unit)))
    unit.update_many(times[12:], values[12:])
    for twin in twins:
        assert twin.n_observations == np.sum(~np.isnan(values[:12]))
        twin.update_many(times[12:], values[12:])
        np.testing.assert_array_equal(twin.mode_probabilities(), unit.mode_probabilities())
    unit.reset()
    np.testing.assert_array_equal(unit._get_state(), scorer.unit()._get_state())
    assert twins[0].n_observations > 0


def test_memory_of_a_unit_does_not_grow():
    model = make_model(["polynomial"] * 3, 2)
    unit = Scorer(model).unit()
    before = len(unit.to_bytes())
    unit.update_many(np.zeros(10_000), np.full((10_000, 3), 9062.0))
    assert len(unit.to_bytes()) == before and unit.n_observations == 30_000


def test_every_flipped_bit_and_every_truncation_of_a_saved_unit_is_refused():
    model = make_model(["line"], 2)
    scorer = Scorer(model)
    unit = scorer.unit()
    unit.update(1.0, [9062.0])
    data = unit.to_bytes()
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(ScorerError):
                Unit.from_bytes(scorer, bytes(changed))
        with pytest.raises(ScorerError):
            Unit.from_bytes(scorer, data[:position])
    with pytest.raises(ScorerError):
        Unit.from_bytes(scorer, data + b"\x00")


def test_a_saved_unit_of_another_model_version_or_forgetting_is_refused():
    model = make_model(["line"], 2)
    data = Scorer(model).unit().to_bytes()
    for other in (Scorer(make_model(["line"], 2, seed=1)), Scorer(model, forgetting=0.9)):
        with pytest.raises(ScorerError, match="another model or another forgetting"):
            Unit.from_bytes(other, data)
    newer = bytearray(data[:-16])
    newer[8:12] = struct.pack("<I", 2)
    newer += hashlib.sha256(newer).digest()[:16]
    with pytest.raises(ScorerError, match="format version 2; this release reads 1"):
        Unit.from_bytes(Scorer(model), bytes(newer))
    with pytest.raises(ScorerError, match="str was found"):
        Unit.from_bytes(Scorer(model), "CEMUNIT")


# -------------------------------------------------------------------------------------------------------- bad input

BAD_READINGS = {
    "too few": (1.0, [9062.0], "1 values; 2 were expected"),
    "too many in a buffer": (1.0, np.zeros(3), r"shape \(3,\)"),
    "two dimensions": (1.0, np.zeros((1, 2)), r"shape \(1, 2\)"),
    "complex": (1.0, np.zeros(2, dtype=complex), "sequence of 2 numbers"),
    "dates": (1.0, np.zeros(2, dtype="M8[s]"), "sequence of 2 numbers"),
    "bytes": (1.0, b"ab", "sequence of 2 numbers"),
    "float32 of the wrong length": (1.0, np.zeros(3, dtype=np.float32), r"shape \(3,\)"),
    "text": (1.0, ["a", "b"], "sequence of 2 numbers"),
    "None": (1.0, None, "sequence of 2 numbers"),
    "a number": (1.0, 3.0, "sequence of 2 numbers"),
    "infinite": (1.0, np.array([9062.0, np.inf]), "channel 's1' is infinite at time 1.0"),
    "minus infinite": (1.0, [-np.inf, np.nan], "channel 's0' is infinite at time 1.0"),
    "absurd": (1.0, [9062.0, 1e200], "channel 's1' has the value 1e.200 at time 1.0, which is too far"),
    "absurd time": (1e100, [9062.0, 9062.0], "is too far"),
    "NaN time": (np.nan, np.zeros(2), "time of a reading is nan"),
    "infinite time": (np.inf, np.zeros(2), "time of a reading is inf"),
    "time as text": ("noon", np.zeros(2), "time of a reading is 'noon'"),
    "no time": (None, np.zeros(2), "time of a reading is None"),
}


@pytest.mark.parametrize("kinds", [["polynomial", "line"], ["custom", "line"]])
@pytest.mark.parametrize("case", BAD_READINGS)
def test_a_bad_reading_is_refused_and_changes_nothing(case, kinds):
    t, x, message = BAD_READINGS[case]
    if case == "absurd time" and kinds[0] == "custom":
        message = "channel 's1'"  # tanh and sin stay finite; the line does not
    unit = Scorer(make_model(kinds, 2)).unit()
    unit.update(2.0, [9062.0, 9063.0])
    before = unit._get_state()
    with pytest.raises(ScorerError, match=message):
        unit.update(t, x)
    np.testing.assert_array_equal(unit._get_state(), before)
    unit.update(3.0, [9062.0, np.nan])
    assert unit.n_observations == 3


def test_update_channel_and_update_many_refuse_and_change_nothing():
    unit = Scorer(make_model(["polynomial", "custom"], 2)).unit()
    unit.update(2.0, [9062.0, 9063.0])
    before = unit._get_state()
    for t, c, value, message in [
        (1.0, 2, 1.0, "no channel 2"),
        (1.0, -1, 1.0, "no channel -1"),
        (1.0, "x", 1.0, "no channel 'x'"),
        (1.0, 0.0, 1.0, "no channel 0.0"),
        (np.inf, 0, 1.0, "time of a reading is inf"),
        (1.0, 0, np.inf, "'s0' is infinite"),
        (1.0, 0, "a", "value of channel 's0' is 'a'"),
    ]:
        with pytest.raises(ScorerError, match=message):
            unit.update_channel(t, c, value)
    good = np.full((3, 2), 9062.0)
    bad = good.copy()
    bad[2, 1] = np.inf
    for times, values, message in [
        ([1.0, 2.0, 3.0], bad, "row 2: channel 's1' is infinite at time 3.0"),
        ([1.0, np.nan, 3.0], good, "nan"),
        ([1.0, 2.0], good, r"shape \(3, 2\); \(2, 2\)"),
        ([1.0, 2.0, 3.0], good.astype(complex), "sequence of numbers was expected"),
        ([[1.0]], good, "2 dimensions; 1 were"),
        (["a", "b", "c"], good, "a float64 array or a sequence of numbers was expected"),
    ]:
        with pytest.raises((ScorerError, ValueError), match=message):
            unit.update_many(times, values)
        np.testing.assert_array_equal(unit._get_state(), before)


def test_a_wrong_buffer_for_probabilities_is_refused():
    unit = Scorer(make_model(["line"], 3)).unit()
    read_only = np.zeros(3)
    read_only.setflags(write=False)
    for out in (np.zeros(2), np.zeros((3, 1)), np.zeros(3, dtype=np.float32), read_only, [0.0, 0.0, 0.0], b"abc"):
        with pytest.raises(ScorerError, match="was expected"):
            unit.mode_probabilities(out)


def test_a_scorer_is_immutable_and_refuses_what_it_cannot_score():
    model = make_model(["line", "polynomial"], 2)
    scorer = Scorer(model)
    with pytest.raises(AttributeError):
        scorer.channels = ("a",)
    with pytest.raises(ScorerError, match="cannot be changed"):
        scorer.__init__(model)
    for rate in (0.0, -1.0, 1.5, np.nan, "a", True):
        with pytest.raises(OptionError, match="forgetting is"):
            Scorer(model, forgetting=rate)
    for change in ({"bases": model.bases[:1]}, {"channels": ("a",)}, {"bases": model.bases[::-1]}):
        with pytest.raises(ScorerError):
            Scorer(types.SimpleNamespace(**{**vars(model), **change}))
    with pytest.raises(ScorerError, match="to_failure"):
        Scorer(types.SimpleNamespace(**vars(model), time_axis="to_failure"))
    with pytest.raises(TypeError):
        Unit(None)
    with pytest.raises(ScorerError, match="not initialised"):
        Unit(Scorer.__new__(Scorer))


def run_alone(code, **variables):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    return subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)


def test_scoring_imports_no_scipy():
    """An edge box has only numpy."""
    run_alone(
        "import sys; sys.modules['scipy'] = None\n"
        "import cem.scoring.scorer, cem.scoring._scorer, cem.mixture._prediction, cem.statistics._blocks\n"
        "assert not [name for name in sys.modules if name.startswith('scipy.')]"
    )


def test_everything_but_fitting_runs_without_scipy():
    """Every basis, compression, probabilities, posteriors, forecasts, a file written and read, an exported header."""
    found = run_alone(
        "import sys; sys.modules['scipy'] = None\n"
        "import numpy as np, scorer_cases as cases, cem\n"
        "from cem.model import FailureModeModel\n"
        "drawn = cases.make_model(sorted(cases.BASES), 2)\n"
        "model = FailureModeModel(parameters=drawn.parameters, coordinates=drawn.coordinates, bases=drawn.bases,\n"
        "                         channels=drawn.channels, response='s2')\n"
        "times = np.linspace(0, 300, 12)\n"
        "panel = cem.Panel.from_arrays([times, times], [cases.draw(drawn, times, seed) for seed in (1, 2)],\n"
        "                              channels=model.channels)\n"
        "parts = [model.predict_proba(panel), model.score_samples(panel), model.posterior(panel).means,\n"
        "         model.forecast(panel, [310.0]).mean, model.novelty(panel), model.scorer().score(panel),\n"
        "         model.sample(3, times, random_state=0).values]\n"
        "from cem.model.file import encode\nfrom cem.model.loading import decode\n"
        "assert (decode(encode(model)).predict_proba(panel) == parts[0]).all()\n"
        "print(all(np.isfinite(part[~np.isnan(part)]).all() for part in parts))\n"
        "print([name for name in sys.modules if name.startswith('scipy.')])"
    ).stdout.split()
    assert found == ["True", "[]"]


def test_a_process_that_streams_loads_nothing_that_only_fits_and_batches_need():
    """From the start to the first score: what costs a gateway milliseconds at each restart stays out."""
    golden = DATA / "golden-1.cem"
    found = run_alone(
        "import sys, cem\n"
        f"unit = cem.load({str(golden)!r}).scorer().unit()\n"
        "unit.update(1.0, [9062.0, -7.0]); unit.mode_probabilities()\n"
        "print(*sys.modules)"
    ).stdout.split()
    heavy = {"cem.panel.panel", "cem.statistics.sufficient", "cem.mixture.prediction"}
    heavy |= {"hashlib", "pathlib", "difflib", "fractions"}
    assert "cem.scoring.scorer" in found and not heavy & set(found)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_chooses_the_instruction_level(level):
    code = "from cem.statistics import _blocks; print(_blocks.instruction_level())"
    assert run_alone(code, CEM_INSTRUCTION_LEVEL=level).stdout.strip() == level
    assert run_alone(code, CEM_INSTRUCTION_LEVEL="").stdout.strip() == LEVELS[-1]


def test_an_instruction_level_that_cannot_run_is_refused():
    with pytest.raises(OptionError, match="'sse9' cannot run here"):
        _blocks.use_instruction_level("sse9")
    code = (
        "import cem\nfrom cem.statistics import _blocks, block_layout\n"
        "try:\n    _blocks.Blocks(block_layout.block_layout([1], [0]))\n"
        "except cem.errors.OptionError as error:\n    print(error)"
    )
    assert "'sse9' cannot run here" in run_alone(code, CEM_INSTRUCTION_LEVEL="sse9").stdout


@pytest.mark.skipif("avx512" not in LEVELS, reason="this processor has no AVX-512")
def test_avx512_gives_the_bits_of_avx2():
    model = make_model(["polynomial", "spline", "line", "constant", "polynomial", "polynomial"], 3)
    times = np.linspace(0, HORIZON, 50)
    values = draw(model, times)
    states, probabilities = [], []
    for level in ("avx2", "avx512"):
        _blocks.use_instruction_level(level)
        unit = Scorer(model).unit()
        unit.update_many(times, values)
        states.append(unit._get_state())
        probabilities.append(unit.mode_probabilities())
    np.testing.assert_array_equal(*states)
    np.testing.assert_array_equal(*probabilities)
