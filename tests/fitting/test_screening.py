"""What a panel is screened for: each finding must name the channel and the units, or a user cannot act on it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.basis.families import Polynomial
from cem.errors import ConstantChannelWarning, PanelError, ShortUnitsWarning
from cem.fitting.screening import decimal_step, varying_channels, warn_of_short_units, warn_of_stuck_channels
from cem.panel.panel import Panel


def panel_of(values, **options):
    return Panel.from_arrays([np.arange(len(x), dtype=float) for x in values], values, **options)


def noise(n_units=4, n=8, n_channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, n_channels)) for _ in range(n_units)]


def test_a_constant_channel_is_left_out_by_name():
    values = noise()
    for x in values:
        x[:, 1] = 21.61
    with pytest.warns(ConstantChannelWarning, match=r"left out.*'s10'"):
        assert varying_channels(panel_of(values, channels=["s2", "s10"])) == ["s2"]


def test_nothing_but_constants_is_an_error():
    with pytest.raises(PanelError, match="no channel varies: 'x1', 'x2'"):
        varying_channels(panel_of([np.full((4, 2), 3.0)] * 3))


def test_a_channel_that_varies_between_units_only_is_kept():
    """Setpoints: constant on every unit, and yet they tell units apart."""
    values = [np.full((3, 1), float(l)) for l in range(4)]
    assert varying_channels(panel_of(values)) == ["x1"]


def test_units_with_a_stuck_sensor_are_named():
    """The likelihood is unbounded there: the user must learn which sensor on which machine."""
    values = noise()
    values[2][:, 1] = 0.5
    values[3][:5, 1] = 0.5
    values[3][5:, 1] = np.nan
    with pytest.warns(ConstantChannelWarning, match=r"'x2' never changes on 2 of 4 units \(2, 3\)"):
        warn_of_stuck_channels(panel_of(values))


def test_fewer_than_five_equal_readings_are_not_called_stuck():
    values = noise()
    values[1][:4, 0] = 1.0
    values[1][4:, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_stuck_channels(panel_of(values))


def test_a_basis_larger_than_any_unit_names_channel_and_numbers():
    values = [x[:3] for x in noise()]
    panel = panel_of(values, channels=["p", "T"])
    small, large = Polynomial(1).bind(panel.times), Polynomial(5).bind(panel.times)
    with pytest.warns(ShortUnitsWarning, match=r"'T'.*longest unit has 3 .*6 coefficients"):
        warn_of_short_units(panel, (small, large))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_short_units(panel, (small, small))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    exponent=st.integers(-6, 5),
    steps=st.lists(st.integers(-9999, 9999), min_size=1, max_size=50),
    odd=st.integers(-999, 999).filter(lambda n: n % 10),
)
def test_the_decimal_step_is_the_one_readings_are_rounded_to(exponent, steps, odd):
    """Its square over twelve is the noise floor: too large a step would smother the sensor."""
    readings = np.array([float(f"{n}e{exponent}") for n in [*steps, odd]] + [np.nan])
    assert decimal_step(readings) == pytest.approx(10.0**exponent, rel=1e-12)


def test_unrounded_or_absent_readings_have_no_step():
    assert decimal_step(np.random.default_rng(0).normal(size=100)) == 0.0
    assert decimal_step(np.full(3, np.nan)) == 0.0
    assert decimal_step(np.zeros(5)) == 0.0


def test_one_finer_reading_among_thousands_is_seen():
    readings = np.full(10_000, 2.5)
    readings[7777] = 2.501
    assert decimal_step(readings) == pytest.approx(1e-3)
