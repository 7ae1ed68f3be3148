"""Input that no training unit resembles: what leaves the evidence, what is flagged, and what stays as it is."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from life_cases import fitted, fleet

import cem
from cem.errors import CemWarning, ClockWarning, OptionError
from cem.model.fit_reference import FIT_REFERENCE, ChannelMisfits, FitReference, fit_score
from cem.model.training_record import require_sound
from cem.prognosis.gate import EPSILON, Gate
from cem.prognosis.remaining_life import RemainingLife
from cem.statistics.anchored import anchored_statistics

N_CHANNELS = 6
NOISE = 0.3


def engines(n_units, seed, share=None):
    """Six channels whose wear shows in the last third of a life, and drifts apart from unit to unit."""
    rng = np.random.default_rng(seed)
    lives = rng.lognormal(np.log(120.0), 0.2, n_units)
    ends = lives if share is None else lives * share
    times = [np.arange(0.0, end, 2.0) for end in ends]
    values = []
    for t, life in zip(times, lives, strict=True):
        curve = np.exp((t - life) / 25.0)[:, None]
        size = np.linspace(3.0, 6.0, N_CHANNELS) * rng.lognormal(0.0, 0.1, N_CHANNELS)
        values.append(10.0 + size * curve + rng.normal(0.0, NOISE, (t.size, N_CHANNELS)))
    return cem.Panel.from_arrays(times, values, failure_times=lives if share is None else None), lives - ends


def model_of(rank=0):
    em = cem.FailureModeEM(
        1, basis=cem.Exponential([25.0]), time_axis="to_failure", linking_rank=rank, n_init=1, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return em.fit(engines(60, 0)[0]).model_


@pytest.fixture(scope="module", params=[0, 2], ids=["independent", "linked"])
def prognosis(request):
    return RemainingLife(model_of(request.param), n_points=152)


@pytest.fixture(scope="module")
def running():
    return engines(20, 1, share=0.7)[0]


def changed(panel, channel, change):
    """The panel whose channel is changed from the middle of each record on."""
    values = np.array(panel.values)
    for first, end in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        middle = first + (end - first) // 2
        values[middle:end, channel] = change(values[middle:end, channel])
    return panel._replace(values=values)


def test_units_like_those_in_training_get_the_same_laws(prognosis, running):
    """A gate would cost accuracy where nothing is wrong."""
    plain, law = prognosis.replaced(gate=None).predict(running), prognosis.predict(running)
    same = np.array([not own for own in law.flags])
    assert same.mean() >= 0.9
    np.testing.assert_array_equal(law.pmf[same], plain.pmf[same])
    assert plain.fit is None and plain.channels_left_out is None and plain.flags == ((),) * 20
    assert 0.2 < np.median(law.fit) < 0.8


def test_a_reading_far_out_is_not_entered_and_is_counted(prognosis, running):
    """One typing error would decide the life of a unit."""
    values = np.array(running.values)
    rows = np.asarray(running.offsets[1:]) - 3
    values[rows, 2] *= 10.0
    law, missing = prognosis.predict(running._replace(values=values)), np.array(running.values)
    missing[rows, 2] = np.nan
    np.testing.assert_array_equal(law.pmf, prognosis.predict(running._replace(values=missing)).pmf)
    assert (law.readings_left_out[:, 2] == 1).all() and law.readings_left_out.sum() == 20
    assert all("1 reading of x3 left out" in own for own in law.flags)


def test_a_channel_that_jumps_leaves_the_law(prognosis, running):
    """A sensor that was moved would pull the life of its unit wherever it likes."""
    plain = prognosis.replaced(gate=None)
    broken = changed(running, 1, lambda x: x + 4.0 * NOISE)
    law, clean = prognosis.predict(broken), plain.predict(running)
    assert law.channels_left_out[:, 1].mean() >= 0.9 and law.channels_left_out[:, [0, 2, 3, 4, 5]].mean() <= 0.02
    near = np.abs(law.median() - clean.median()).mean()
    assert near < 0.5 * np.abs(plain.predict(broken).median() - clean.median()).mean()
    left = law.channels_left_out[:, 1]
    assert (law.channel_fit[left, 1] < 0.01).all()
    # The same as if the channel had not been read at all.
    alone = left & (law.channels_left_out.sum(axis=1) == 1)
    values = np.array(broken.values)
    values[:, 1] = np.nan
    without = plain.predict(broken._replace(values=values))
    np.testing.assert_allclose(law.pmf[alone], without.pmf[alone], atol=1e-13)


def test_streaming_is_batch(prognosis, running):
    """A unit would be flagged on the line and not in the report, or have another life there."""
    values = np.array(changed(running, 1, lambda x: x + 4.0 * NOISE).values)
    values[running.offsets[3] + 5, 4] = 1e4
    panel = running._replace(values=values)
    for l in (0, 3, 7):
        unit = prognosis.unit()
        one = panel[l : l + 1]
        for t, x in zip(one.times, one.values, strict=True):
            unit.update(t, x)
        law = pickle.loads(pickle.dumps(unit)).distribution()
        batch = prognosis.predict(one, grid=law.grid)
        np.testing.assert_allclose(law.pmf, batch.pmf, atol=1e-6 if prognosis.model.linking_rank == 0 else 1e-12)
        assert law.flags == batch.flags
        np.testing.assert_allclose(law.channel_fit, batch.channel_fit, rtol=1e-6)
        np.testing.assert_array_equal(law.readings_left_out, batch.readings_left_out)


def test_streaming_judges_at_the_candidates_of_a_batch(prognosis, running):
    """Where the number of candidates does not fill the kernel's width, the fit differed in its third digit."""
    odd = prognosis.replaced(n_points=97)
    panel = changed(running, 1, lambda x: x + 4.0 * NOISE)[:1]
    unit = odd.unit()
    for t, x in zip(panel.times, panel.values, strict=True):
        unit.update(t, x)
    law, batch = unit.distribution(), odd.predict(panel)
    np.testing.assert_allclose(law.fit, batch.fit, rtol=1e-6)
    np.testing.assert_allclose(law.channel_fit, batch.channel_fit, rtol=1e-6)


def test_ages_beyond_training_do_not_lengthen_lives(prognosis, running):
    """The older a unit, the longer it would live, and nobody would be told."""
    oldest = prognosis.model.training["clock"]["longest"]
    shift = np.repeat([oldest - unit.times[-1] for unit in running], np.diff(running.offsets))
    at_oldest = prognosis.predict(running._replace(times=running.times + shift))
    low, high = at_oldest.interval(0.9)
    found = []
    for later in (300.0, 1000.0, 5000.0):
        with pytest.warns(ClockWarning):
            law = prognosis.predict(running._replace(times=running.times + later))
        assert all("age beyond training" in own for own in law.flags)
        found.append(law.interval(0.9))
        assert (found[-1][1] - found[-1][0] >= (high - low) * (1 - 1e-9)).all()
    np.testing.assert_allclose(found[0], found[2], rtol=1e-9)


def test_a_unit_that_fits_nothing_is_never_sure(prognosis, running):
    """An overhaul in the middle of a record gave a life that was sure and wrong."""
    rng = np.random.default_rng(5)
    strange = running._replace(values=running.values + rng.normal(0.0, 4.0 * NOISE, running.values.shape))
    law = prognosis.predict(strange)
    assert all("no training unit fits like this" in own for own in law.flags)
    ages = np.array([unit.times[-1] for unit in running])
    alone = prognosis.lifetimes.laws[0].residual_quantile(ages, 0.75)
    assert (law.interval(0.9)[1] > alone).all()


def test_flags_stay_with_their_units(prognosis, running):
    """A table or a slice would show the flags of another unit, or none."""
    values = np.array(running.values)
    values[running.offsets[4], 0] = 1e5
    law = prognosis.predict(running._replace(values=values))
    assert law[4].flags == (law.flags[4],) and law[4].flags[0]
    assert law.unit(running.units[4]).readings_left_out.sum() == 1
    assert pickle.loads(pickle.dumps(law)).flags == law.flags
    frame = law.to_frame()
    assert list(frame["flags"])[4] == "; ".join(law.flags[4]) and np.isfinite(frame["fit"]).all()
    assert "flagged" in repr(law) and law.flags[4][0] in repr(law[4]) and "left out" in law._repr_html_()
    calibration = cem.calibration.Calibration(0.7, (-1.0, 0.0, 1.0), (-0.8, 0.0, 0.8))
    assert prognosis.replaced(calibration=calibration).predict(running._replace(values=values)).flags == law.flags


def test_gate_is_kept_by_files_and_refused_by_name(prognosis, running, tmp_path):
    """A prognosis saved without a gate would have one when it is loaded, or the other way round."""
    for given in ("auto", "on", None):
        own = prognosis.replaced(gate=given)
        own.save(tmp_path / "lives.cem")
        loaded = RemainingLife.load(tmp_path / "lives.cem").replaced(n_points=152)
        assert (loaded.gate, pickle.loads(pickle.dumps(own)).gate) == (given, given)
        np.testing.assert_array_equal(loaded.predict(running).pmf, own.predict(running).pmf)
    with pytest.raises(OptionError, match="gate is 'open'; 'auto', 'on' or None"):
        prognosis.replaced(gate="open")


def test_a_model_without_a_reference_has_a_gate_only_if_asked(prognosis, running):
    """Models of earlier releases would predict other lives after an update."""
    model = prognosis.model
    training = {name: value for name, value in model.training.items() if name != FIT_REFERENCE}
    old = RemainingLife(type(model)(**{**model._arguments(), "training": training}), n_points=152)
    assert old.predict(running).fit is None
    values = np.array(running.values)
    values[running.offsets[4], 0] = 1e5
    law = old.replaced(gate="on").predict(running._replace(values=values))
    assert np.isnan(law.fit).all() and law.readings_left_out.sum() == 1


@pytest.mark.parametrize("damage", [{"scores": [0.0]}, {"knots": []}, {"knots": None}, {"scores": [1.0, 0.0]}])
def test_a_damaged_reference_is_refused(prognosis, damage):
    """It would be found out by a unit in the field."""
    model = prognosis.model
    training = {**model.training, FIT_REFERENCE: {**model.training[FIT_REFERENCE], **damage}}
    with pytest.raises(OptionError, match="fit_reference"):
        require_sound(training, n_modes=1, n_channels=N_CHANNELS, rank=model.linking_rank)


def test_misfits_are_those_of_dense_covariances(prognosis, running):
    """Fits would be compared with other fits than those of the model."""
    model = prognosis.model
    parameters = model.user_parameters().marginal()
    statistics = anchored_statistics(running, model.bases)
    r = np.linspace(5.0, 60.0, running.n_units)
    moves = np.concatenate([basis.shift_matrix(r).reshape(len(r), -1) for basis in model.bases], axis=1)
    packed = statistics.packed(np.ones(N_CHANNELS))[:3]
    found = ChannelMisfits(model.user_parameters())(*packed, moves, np.zeros(len(r), dtype=np.intp))
    for l in (0, 5):
        unit = running[l]
        tau = unit.times - unit.times[-1] - r[l]
        for c, basis in enumerate(model.bases):
            phi = basis(tau)
            root = phi @ parameters.factor(0, c)
            dense = root @ root.T + parameters.noise_variances[0, c] * np.eye(len(tau))
            rest = unit.values[:, c] - phi @ parameters.mean(0, c)
            assert found[l, c] == pytest.approx(rest @ np.linalg.solve(dense, rest), rel=1e-8)


def test_no_map_of_fits_is_steeper_than_1():
    """Few training units would make an ordinary unit look strange."""
    saved = FitReference.from_dict(model_of().training[FIT_REFERENCE])
    assert (np.diff(saved.knots, axis=-1) >= np.diff(saved.scores) - 1e-3).all() and (saved.slopes <= 1.002).all()
    assert np.isnan(fit_score(np.zeros(1), np.zeros(1)))


def test_training_units_fit_as_the_reference_says(prognosis):
    """Everything would be flagged, or nothing."""
    panel, _ = engines(100, 3, share=0.6)
    law = prognosis.predict(panel)
    flagged = np.mean([bool(own) for own in law.flags])
    assert flagged <= 0.05 and 0.25 < np.mean(law.fit < 0.5) < 0.75
    assert isinstance(prognosis.life_evidence.gate, Gate) and EPSILON == 1e-6


def test_two_modes_are_compared_with_units_of_their_own():
    """A mode whose units fit worse would be flagged throughout."""
    em = fitted(fleet(40, 0))
    prognosis = RemainingLife(em.model_, n_points=96)
    assert np.shape(em.model_.training[FIT_REFERENCE]["knots"])[:2] == (2, 3)
    panel = fleet(30, 1)
    law = prognosis.predict(panel.until(0.7 * panel.failure_times))
    assert np.mean([bool(own) for own in law.flags]) <= 0.15
