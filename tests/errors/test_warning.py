"""A warning that points into the package tells a user nothing of which of his fits it was."""

from __future__ import annotations

import re

import numpy as np
import pytest

import cem
from cem.errors import CemWarning


@pytest.mark.parametrize("time_axis", ["forward", "to_failure"])
def test_warnings_of_a_fit_point_at_the_line_that_called_it(time_axis):
    rng = np.random.default_rng(0)
    times = [np.arange(1.0, 9.0)] * 12
    values = [np.column_stack([rng.normal(size=8).cumsum(), np.full(8, 3.0)]) for _ in times]
    panel = cem.Panel.from_arrays(times, values, failure_times=rng.uniform(9.0, 12.0, 12))
    with pytest.warns(CemWarning) as caught:
        cem.FailureModeEM(1, max_iter=2, time_axis=time_axis).fit(panel)
    assert {"left out", "not converged"} <= {re.split("[,:]", str(one.message))[0] for one in caught}
    assert {one.filename for one in caught} == {__file__}
