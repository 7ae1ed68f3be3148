"""Channels that a basis reproduces, or whose times do not determine it, must not make up a likelihood of rounding."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from places import BENCHMARKS

from cem import BSpline, FailureModeEM, Panel, Polynomial
from cem.errors import (
    ConstantChannelWarning,
    ExactChannelWarning,
    OptionError,
    PanelError,
    UndeterminedBasisWarning,
)
from cem.fitting.screening import decimal_step

N_UNITS, N = 30, 20


def fleet(counter, *, n_channels=2, seed=0):
    """Two modes in 'sensor', and a 'counter' of the times."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.5, 1.5, size=(N_UNITS, N)), axis=1)
    modes = rng.integers(0, 2, N_UNITS)
    sensor = modes[:, None] * 0.3 * times + 0.3 * rng.normal(size=times.shape)
    values = np.stack([sensor, counter(times)], axis=2)
    return Panel.from_arrays(list(times), list(values), channels=["sensor", "counter"])


def fitted(panel, n_modes=2, **options):
    """A quick fit, and the messages of its warnings by type."""
    options = {"n_init": 2, "max_iter": 60, "random_state": 0, **options}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        em = FailureModeEM(n_modes, **options).fit(panel)
    return em, {w.category: str(w.message) for w in caught}


@pytest.mark.parametrize(
    "counter",
    [
        lambda t: t,
        lambda t: t / 10,
        lambda t: 2 * t + 3,
        lambda t: 1e9 + 1e3 * t,
        lambda t: 1e-12 * t**2,
        lambda t: t - 1.7e9,
    ],
    ids=["t", "t/10", "2t+3", "level 1e9", "tiny", "epoch"],
)
def test_an_hour_counter_is_left_out_by_name(counter):
    """Its scale would be learned from rounding: the same counter, read to six digits, was 1e19 nats away."""
    panel = fleet(counter)
    em, said = fitted(panel)
    assert em.channels_ == ("sensor",)
    assert "'counter': its basis reproduces it exactly" in said[ExactChannelWarning]
    assert em.model_.training["left_out_channels"] == ["counter"]
    assert em.log_likelihood_ == pytest.approx(em.model_.score_samples(panel).sum(), rel=1e-10)
    rounded = panel.values.copy()
    rounded[:, 1] = np.round(rounded[:, 1], 6)
    again = Panel.from_arrays(
        [panel.times[a:b] for a, b in zip(panel.offsets[:-1], panel.offsets[1:], strict=True)],
        np.split(rounded, panel.offsets[1:-1]),
        channels=panel.channels,
    )
    np.testing.assert_array_equal(em.model_.score_samples(again), em.model_.score_samples(panel))


@pytest.mark.parametrize(
    "counter",
    [
        lambda t: t + 1e-6 * np.random.default_rng(1).normal(size=t.shape),
        lambda t: np.round(t, 1),
        lambda t: 1.7e9 + 1e-2 * np.random.default_rng(1).normal(size=t.shape),
        lambda t: 1e-12 * np.random.default_rng(1).normal(size=t.shape),
        lambda t: t + np.arange(len(t))[:, None],
    ],
    ids=["noise 1e-6", "rounded", "noise on an epoch", "tiny", "another origin on each unit"],
)
def test_a_channel_with_anything_of_its_own_is_kept(counter):
    """A sensor that is precise, or units that differ: leaving it out would lose what it says of modes."""
    panel = fleet(counter)
    em, said = fitted(panel)
    assert em.channels_ == ("sensor", "counter")
    assert ExactChannelWarning not in said
    assert em.log_likelihood_ == pytest.approx(em.model_.score_samples(panel).sum(), rel=1e-6)


def test_a_smaller_basis_sees_what_a_larger_one_reproduces():
    em, said = fitted(fleet(lambda t: 2 * t), basis={"counter": Polynomial(0), None: Polynomial(2)})
    assert em.channels_ == ("sensor", "counter")
    assert ExactChannelWarning not in said


def test_nothing_but_exact_channels_is_refused_by_name():
    panel = fleet(lambda t: 2 * t)
    with pytest.raises(
        PanelError, match="no channel is left to fit: channel 'counter': its basis reproduces it exactly"
    ):
        fitted(panel.select_channels(["counter"]))


@pytest.mark.parametrize("basis", [Polynomial(2), Polynomial(5), BSpline(n_basis=6)], ids=repr)
@pytest.mark.parametrize("m", [2, 3])
def test_a_hardly_ever_read_channel_is_left_out(basis, m):
    """Fewer times than coefficients: the fit said -553, the score of its own panel -1e36."""
    rng = np.random.default_rng(0)
    times = np.arange(20.0)
    values = rng.normal(size=(N_UNITS, 20, 2))
    values[:, :, 1] = np.nan
    for j in range(m):
        values[j, 3 + 2 * j, 1] = values[10 + j, 3 + 2 * j, 1] = 50 + rng.normal()
    em, said = fitted(Panel.from_arrays(times, values), 1, basis=basis)
    assert em.channels_ == ("x1",)
    assert "'x2'" in said.get(UndeterminedBasisWarning, "") + said.get(ExactChannelWarning, "")


@pytest.mark.parametrize("level", [0.0, 100.0])
@pytest.mark.parametrize(
    ("n", "basis", "message"),
    [
        (5, Polynomial(5), r"5 of the 6 coefficients .*use at most Polynomial\(degree=4\)"),
        (3, Polynomial(3), r"3 of the 4 coefficients .*use at most Polynomial\(degree=2\)"),
        (10, BSpline(n_basis=12), r"10 of the 12 coefficients"),
    ],
)
def test_fewer_distinct_times_than_coefficients_are_refused(n, basis, message, level):
    """Between the times such a model is 3e5 nats off; what to do must be said."""
    values = level + np.random.default_rng(0).normal(size=(12, n))
    with pytest.raises(PanelError, match=message):
        fitted(Panel.from_arrays(np.arange(float(n)), values), basis=basis)


def test_left_out_channels_of_a_kind_come_in_one_warning():
    rng = np.random.default_rng(0)
    times = np.arange(10.0)
    values = np.stack([rng.normal(size=(9, 10)), *(np.tile(a * times, (9, 1)) for a in (1.0, 2.0, 3.0))], axis=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FailureModeEM(1, random_state=0).fit(Panel.from_arrays(times, values))
    exact = [str(w.message) for w in caught if w.category is ExactChannelWarning]
    assert len(exact) == 1
    assert "'x2', 'x3', 'x4'" in exact[0]


def test_stuck_channels_come_in_one_warning():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, 10, 3))
    values[2, :, 0] = values[4, :, 2] = 1.5
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FailureModeEM(1, random_state=0).fit(Panel.from_arrays(np.arange(10.0), values))
    stuck = [str(w.message) for w in caught if w.category is ConstantChannelWarning]
    assert len(stuck) == 1
    assert "'x1' never changes on 1 of 9 units (2)" in stuck[0]
    assert "'x3' never changes on 1 of 9 units (4)" in stuck[0]


def test_units_read_in_exact_channels_alone_are_named_with_the_reason():
    """The user sees why a channel that the unit does have is not among those fitted."""
    panel = fleet(lambda t: t)
    values = [panel.values[a:b].copy() for a, b in zip(panel.offsets[:-1], panel.offsets[1:], strict=True)]
    values[7][:, 0] = np.nan
    times = np.split(panel.times, panel.offsets[1:-1])
    with pytest.raises(PanelError, match=r"unit 7 .*'counter': its basis reproduces it exactly"):
        fitted(Panel.from_arrays(times, values, channels=panel.channels))


def test_a_warm_start_says_which_channel_its_model_has_and_the_fit_has_not():
    model = fitted(fleet(lambda t: t + np.arange(len(t))[:, None]))[0].model_
    with pytest.raises(OptionError, match="warm start"):
        FailureModeEM(2, random_state=0).fit(fleet(lambda t: t), init=model)


@pytest.mark.filterwarnings("ignore::cem.errors.FloorWarning", "ignore::cem.errors.ConvergenceWarning")
def test_lives_linked_to_channels_are_not_a_fit_by_themselves():
    """With every sensor left out there would be only the lives, and a model without channels."""
    panel = fleet(lambda t: t)
    ends = panel.times[panel.offsets[1:] - 1] + np.random.default_rng(2).uniform(1, 9, N_UNITS)
    # On the time to failure a counter of that time is exact.
    left = np.repeat(ends, N) - panel.times
    values = np.split(left[:, None], panel.offsets[1:-1])
    times = np.split(panel.times, panel.offsets[1:-1])
    alone = Panel.from_arrays(times, values, channels=["left"], failure_times=ends)
    with pytest.raises(PanelError, match="no channel is left to fit: channel 'left'"):
        fitted(alone, 1, time_axis="to_failure", linking_rank=1)


def test_the_step_of_readings_is_not_above_their_range():
    """1 ± 1e-12 are no multiples of 1: the noise floor would be 1e23 times the channel's variance."""
    assert decimal_step(1.0 + 1e-12 * np.arange(5.0)) < 1e-6
    assert decimal_step(np.array([1.0, 2.0, 2.0])) == 1.0
    assert decimal_step(np.array([3.0, 3.0])) == 1.0


@pytest.mark.slow
def test_small_fits_drawn_at_random_agree_with_their_scores(tmp_path):
    """`log_likelihood_`, `score_samples`, the scorer reading by reading and the model loaded: one number."""
    benchmarks = BENCHMARKS
    sys.path.insert(0, str(benchmarks))
    try:
        import small_fits
    finally:
        sys.path.remove(str(benchmarks))
    outcomes = {seed: small_fits.checked(small_fits.drawn(seed), tmp_path) for seed in range(100)}
    assert {seed: o.message for seed, o in outcomes.items() if o.fate == "disagrees"} == {}
    fates = [outcome.fate for outcome in outcomes.values()]
    assert fates.count("fitted") > 50
    assert any(outcome.left_out for outcome in outcomes.values())
