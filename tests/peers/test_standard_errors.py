"""One mode: the standard errors are those of lme4 and statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from places import DATA

from cem.basis.families import Polynomial
from cem.fitting.estimator import FailureModeEM
from cem.panel.panel import Panel

# sqrt(diag(vcov(lmer(Reaction ~ Days + (Days | Subject), REML = FALSE)))) and the covariance of the two; the same of
# distance ~ age + (age | Subject). By lme4 1.1.31, which holds the covariance of the random effects; in balanced data
# the information by the means does not depend on it.
LME4 = {
    "sleepstudy": ("Days", "Reaction", (6.6321227, 1.5022302), -1.3705105),
    "orthodont": ("age", "distance", (0.76075550, 0.06992089), None),
}


def in_columns(basis, times=(0.0, 1.0)):
    """What turns coefficients of a basis of lines into intercept and slope."""
    return np.array([[1.0, 0.0], [-1.0, 1.0]]) @ basis(np.array(times))


@pytest.mark.parametrize("name", LME4)
def test_standard_errors_of_fixed_effects_are_those_of_lme4(name):
    """A user who moves from lme4 would report other significances."""
    time, response, published, covariance = LME4[name]
    frame = pd.read_csv(DATA / f"{name}.csv")
    panel = Panel.from_frame(frame, unit="Subject", time=time, channels=[response])
    em = FailureModeEM(1, basis=Polynomial(1), tol=1e-13).fit(panel)
    known = em.uncertainty(panel)
    change = in_columns(em.model_.bases[0])
    means = [known.names.index(f"mean[0, {response}, {j}]") for j in range(2)]
    found = change @ known.covariance[np.ix_(means, means)] @ change.T
    np.testing.assert_allclose(np.sqrt(np.diagonal(found)), published, rtol=2e-3)
    if covariance is not None:
        assert found[0, 1] == pytest.approx(covariance, rel=2e-3)
    # The same as a test of a hypothesis: the slope is 0.
    slope = dict(zip(("mean[0, {}, 0]", "mean[0, {}, 1]"), change[1], strict=True))
    test = known.wald({key.format(response): float(factor) for key, factor in slope.items()})
    estimate = float(change[1] @ em.means_[0, 0])
    assert test.statistic == pytest.approx((estimate / published[1]) ** 2, rel=5e-3)


def test_all_standard_errors_of_sleepstudy_are_those_of_a_dense_hessian():
    """lme4 and statsmodels give none of variances on this scale: a dense numerical Hessian of the likelihood does.

    θ = (intercept, slope, their covariance, residual variance): 6.6323, 1.5022, 265.27, 42.876, 13.573, 77.185, by
    NumPy's float64 from differences of a thousandth.
    """
    frame = pd.read_csv(DATA / "sleepstudy.csv")
    panel = Panel.from_frame(frame, unit="Subject", time="Days", channels=["Reaction"])
    em = FailureModeEM(1, basis=Polynomial(1), tol=1e-13).fit(panel)
    known = em.uncertainty(panel)
    change = in_columns(em.model_.bases[0])
    kinds = ["variance[0, Reaction, 0]", "covariance[0, Reaction, 0, 1]", "variance[0, Reaction, 1]"]
    at = [known.names.index(name) for name in kinds]
    # vech of change Σ changeᵀ, as a matrix on vech Σ
    (a, b), (c, d) = change
    moved = np.array([[a * a, 2 * a * b, b * b], [a * c, a * d + b * c, b * d], [c * c, 2 * c * d, d * d]])
    errors = np.sqrt(np.diagonal(moved @ known.covariance[np.ix_(at, at)] @ moved.T))
    np.testing.assert_allclose(errors, [265.26593, 42.875733, 13.572567], rtol=1e-3)
    noise = known.names.index("noise[0, Reaction]")
    assert known.standard_errors[noise] == pytest.approx(77.185317, rel=1e-3)


def test_standard_errors_of_a_ragged_panel_are_those_of_statsmodels():
    """Units of unequal histories, some shorter than the basis: what balanced data do not show."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(3)
    times, values = [], []
    for _ in range(120):
        t = np.sort(rng.uniform(0.0, 10.0, int(rng.integers(1, 12))))
        T = np.array([5.0, 1.0]) + np.array([[1.0, 0.0], [0.3, 0.4]]) @ rng.normal(size=2)
        times.append(t)
        values.append(np.column_stack([np.ones_like(t), t]) @ T + 0.7 * rng.normal(size=len(t)))
    panel = Panel.from_arrays(times, values)
    em = FailureModeEM(1, basis=Polynomial(1), tol=1e-12).fit(panel)
    t, unit = panel.times, np.repeat(np.arange(120), np.diff(panel.offsets))
    design = np.column_stack([np.ones_like(t), t])
    peer = MixedLM(panel.values[:, 0], design, unit, exog_re=design).fit(reml=False, method=["bfgs", "lbfgs"])
    known = em.uncertainty(panel)
    change = in_columns(em.model_.bases[0])
    means = [known.names.index(f"mean[0, x1, {j}]") for j in range(2)]
    found = change @ known.covariance[np.ix_(means, means)] @ change.T
    np.testing.assert_allclose(np.sqrt(np.diagonal(found)), peer.bse_fe, rtol=1e-2)
