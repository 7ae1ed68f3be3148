"""Codes for missing (-999, 32767, 1e20) do not pass for readings, and honest readings do not pass for codes."""

import warnings

import numpy as np
import pytest

import cem
from cem import OptionError, Panel, PanelError
from cem.errors import FarValuesWarning, HugeValuesWarning
from cem.panel.missing_codes import extremes

CODES = [-9, -99, -999, -9999, -999.25, 9999, 32767, -32768, 65535, 2147483647, 1e20, np.float32(1e20), -1e30, 1e300]


def fleet(n_units=20, n_times=30, n_channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (n_units, n_times, n_channels)) + [3.0, 50.0][:n_channels]


def with_code(code, count=6, channel=0):
    values = fleet()
    where = np.random.default_rng(1).choice(600, count, replace=False)
    values.reshape(-1, 2)[where, channel] = code
    return values


def quietly(values, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Panel.from_arrays(None, values, channels=["a", "b"][: values.shape[-1]], **options)


@pytest.mark.parametrize("code", CODES)
def test_a_code_for_missing_is_refused_with_the_call_that_declares_it_and_read_once_declared(code):
    values = with_code(code)
    with pytest.raises(PanelError, match=r"channel 'a' holds .* 6 times.*missing=") as caught:
        Panel.from_arrays(None, values, channels=["a", "b"])
    call = str(caught.value).split("missing=")[1].split(" to read")[0]
    panel = quietly(values, missing=float(call))
    assert int(np.isnan(panel.values).sum()) == 6
    assert not np.isnan(values).any()  # the user's own array is left alone


def test_codes_of_several_channels_come_as_one_message():
    values = with_code(-999)
    values.reshape(-1, 2)[100:120, 1] = 32767
    with pytest.raises(PanelError, match=r"-999 6 times.*32767 in 'b' \(20 times\).*missing=\[-999, 32767\]"):
        Panel.from_arrays(None, values, channels=["a", "b"])
    assert np.isnan(quietly(values, missing=[-999, 32767]).values).sum() == 26
    assert np.isnan(quietly(values, missing={"a": -999, "b": [32767]}).values).sum() == 26


def test_codes_that_are_most_of_a_channel_are_found():
    with pytest.raises(PanelError, match=r"holds -999 400 times"):
        Panel.from_arrays(None, with_code(-999, 400), channels=["a", "b"])


def test_codes_beside_a_constant_or_quantised_channel_are_found():
    values = fleet()
    values[..., 0] = 21.61
    values[::3, ::4, 0] = 21.60
    values[::5, 3, 1] = 0.0
    values[::4, 7, 0] = -9999
    with pytest.raises(PanelError, match=r"'a' holds -9999 5 times"):
        quietly(np.where(values == 0, 50.0, values))


def test_an_owner_can_say_that_every_number_is_a_reading():
    assert np.isnan(quietly(with_code(-999), missing=()).values).sum() == 0


def test_four_repeats_are_no_code():
    quietly(with_code(-999, 4))


def test_other_values_far_out_that_repeat_give_one_warning_for_all_channels():
    values = with_code(-40.5)
    values.reshape(-1, 2)[100:110, 1] = 123.25
    with pytest.warns(
        FarValuesWarning, match=r"-40.5 6 times in channel 'a'; 123.25 10 times in channel 'b'"
    ) as caught:
        Panel.from_arrays(None, values, channels=["a", "b"])
    assert len(caught) == 1


def test_readings_beyond_1e300_give_one_warning():
    with pytest.warns(HugeValuesWarning, match=r"channels 'a', 'b' hold") as caught:
        values = with_code(2e301, 2)
        values[3, 4, 1] = -3e302
        Panel.from_arrays(None, values, channels=["a", "b"])
    assert len(caught) == 1


def test_a_fit_to_readings_whose_squares_overflow_is_refused_by_name_alone():
    """NumPy's RuntimeWarning beside the error, or its FloatingPointError in place of it, names no channel."""
    values = fleet()
    values[3, 4, 1] = -3e302
    with pytest.warns(HugeValuesWarning):
        panel = Panel.from_arrays(None, values, channels=["a", "b"])
    with np.errstate(all="raise"), pytest.raises(cem.FitError, match="channel 'b'"):
        cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=1, random_state=0).fit(panel)


@pytest.mark.parametrize(
    "column",
    {
        "rare flags": lambda rng: (rng.random(600) < 0.02).astype(float),
        "a step": lambda rng: np.where(np.arange(600) < 590, 1.0, 2.0),
        "counts with a long tail": lambda rng: np.floor(np.exp(rng.exponential(1.5, 600))),
        "levels near a code": lambda rng: rng.integers(97, 102, 600).astype(float),
        "growth by orders": lambda rng: (
            np.round(np.exp(np.tile(np.linspace(0, 9, 30), 20)), 1) + rng.normal(0, 0.1, 600)
        ),
        "constant": lambda rng: np.full(600, 518.67),
        "a constant code": lambda rng: np.full(600, 9999.0),
        "mostly one value": lambda rng: np.where(rng.random(600) < 0.8, 100.0, rng.integers(60, 100, 600)),
        "six regimes": lambda rng: rng.choice([518.67, 445.0, 462.54, 491.19, 449.44, 489.05], 600),
        "heavy tails": lambda rng: rng.standard_cauchy(600),
        "zeros and readings": lambda rng: np.where(rng.random(600) < 0.4, 0.0, 1500 + rng.normal(0, 2, 600)),
    }.items(),
    ids=lambda item: item[0],
)
def test_honest_channels_are_left_in_peace(column):
    values = fleet()
    values[..., 0] = column[1](np.random.default_rng(5)).reshape(20, 30)
    quietly(values)


@pytest.mark.parametrize("missing", ["-999", True, ["a"], {"c": -999}, {"a": "x"}, object()])
def test_what_is_no_code_is_refused(missing):
    with pytest.raises(OptionError, match=r"missing"):
        Panel.from_arrays(None, fleet(), channels=["a", "b"], missing=missing)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (5000, 1), (9000, 7), (300_000, 3)])
def test_extremes_are_those_of_each_channel(shape):
    """In blocks of rows: the remainder of the last block and missing cells count as well."""
    values = np.random.default_rng(2).normal(size=shape)
    values[::3, 0] = np.nan
    values[-1, -1] = 50.0
    low, high = extremes(values)
    np.testing.assert_array_equal(low, np.fmin.reduce(values))
    np.testing.assert_array_equal(high, np.fmax.reduce(values))


def test_what_a_model_draws_is_not_questioned():
    """Simulated readings may share a time or have any value; only users' data are checked."""
    values = np.random.default_rng(0).normal(0, 1, (12, 8, 1)) * 1e-3 - 999
    panel = Panel.from_arrays(None, values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cem.FailureModeEM(1, basis=cem.Polynomial(0), n_init=1, random_state=0).fit(panel).model_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.sample(4, np.zeros(12), random_state=0).n_readings == 48
