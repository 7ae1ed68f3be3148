"""The picture of stability shows the numbers of the result."""

from __future__ import annotations

import numpy as np

from cem.plot import StabilityDisplay


def test_points_are_optima_and_units(estimator, fleet):
    result = estimator.stability(fleet, n_starts=4, n_replicates=3)
    display = StabilityDisplay.from_result(result)
    display.figure_.canvas.draw()
    np.testing.assert_array_equal(display.differences, [one.difference for one in result.optima])
    drawn = np.concatenate([line.get_ydata() for line in display.lines_])
    np.testing.assert_allclose(np.sort(drawn), np.sort(result.share_of_replicates))
    assert display.share_of_replicates[display.order][0] == result.share_of_replicates.min()
    assert len(display.axes_) == 2


def test_without_replicates_the_optima_are_drawn(estimator, fleet):
    display = StabilityDisplay.from_result(estimator.stability(fleet, n_starts=2, n_replicates=0))
    display.figure_.canvas.draw()
    assert not display.lines_
