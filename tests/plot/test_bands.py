"""Bands of the modes' mean curves: the numbers of the fit's uncertainty, in the modes' colours."""

import numpy as np
import pytest

import cem
from cem.plot import BandDisplay, mode_colour


@pytest.fixture(scope="module")
def known(fleet):
    panel = fleet.select_channels(["vibration", "wear"])
    return cem.FailureModeEM(3, covariance="pooled", random_state=0, n_init=4).fit(panel).uncertainty(panel)


def test_bands_are_those_of_the_uncertainty(known):
    """The picture would show other bands than the numbers."""
    display = BandDisplay.from_uncertainty(known, "vibration", level=0.8)
    bands = known.bands(channel="vibration", level=0.8)
    np.testing.assert_array_equal(display.lower, bands.lower)
    assert display.level == 0.8 and len(display.lines_) == 3
    for k, line in enumerate(display.lines_):
        np.testing.assert_array_equal(line.get_ydata(), bands.curves[k])
        assert line.get_color() == mode_colour(k)
    assert "80 % bands at each time" in display.ax_.get_title()
    path = display.ax_.collections[0].get_paths()[0].vertices[:, 1]
    assert path.min() == pytest.approx(bands.lower[0].min()) and path.max() == pytest.approx(bands.upper[0].max())


def test_the_short_way_draws_the_response_on_given_axes(known):
    """A figure of several channels could not be put together."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots()
    display = known.plot(simultaneous=True, ax=axes)
    assert display.ax_ is axes and display.channel == known.model.response
    assert "at all times together" in axes.get_title()
    again = BandDisplay.from_bands(known.bands([3.0, 1.0, 2.0], "vibration"))
    np.testing.assert_array_equal(again.lines_[0].get_xdata(), [1.0, 2.0, 3.0])


def test_other_things_are_refused(known):
    with pytest.raises(cem.OptionError, match="bands is of type int; Bands"):
        BandDisplay.from_bands(3)
    with pytest.raises(cem.PredictionError, match="no channel"):
        known.plot("flwo")
