"""Covariates and columns of three kinds: the maximum likelihoods of lme4, nlme, lcmm and statsmodels.

Orthodont is R's (nlme::Orthodont: Potthoff & Roy 1964, Biometrika 51, 313-326); children of one sex share the first
letter of their names.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from places import DATA
from r_packages import fitted_by_r

import cem
from cem.covariates import Category

KERNELS = ("auto", "lapack")
# distance ~ age * Sex, random intercept and slope, without and with a noise variance for each sex (nlme's varIdent).
BY_SEX, BY_SEX_WITH_OWN_NOISE = -213.902975, -203.021194
# lcmm 2.2.2: hlme(distance ~ age + female, mixture = ~age, random = ~1, ng = 2), tight tolerances; its π is single
# precision, which costs 1.39e-8 for each of the 108 readings.
HLME = -212.038363551 + 108 * 1.39e-8


def orthodont() -> pd.DataFrame:
    frame = pd.read_csv(DATA / "orthodont.csv")
    frame["sex"] = np.where(frame.Subject.str.startswith("M"), "male", "female")
    frame["female"] = (frame.sex == "female") * 1.0
    frame["id"] = pd.factorize(frame.Subject)[0] + 1
    return frame


def fleet(seed: int, n_units: int = 80) -> pd.DataFrame:
    """A quadratic mean, random lines, a load and three sites."""
    rng = np.random.default_rng(seed)
    parts = []
    for unit in range(1, n_units + 1):
        n = int(rng.integers(4, 15))
        t, load, site = np.sort(rng.uniform(0.0, 10.0, n)), rng.normal() + rng.normal(size=n), int(rng.integers(3))
        line = rng.normal(0.0, 1.0) + rng.normal(0.0, 0.2) * t
        y = 3.0 + 0.5 * t - 0.03 * t**2 + line + 0.8 * load + (0.0, 1.5, -0.7)[site] + 0.5 * rng.normal(size=n)
        parts.append(pd.DataFrame({"unit": unit, "t": t, "y": y, "load": load, "site": f"s{site}"}))
    return pd.concat(parts, ignore_index=True)


def of_load_and_site(frame: pd.DataFrame, **options: object) -> cem.FailureModeEM:
    """y ~ load + site + t + t² + (1 + t | unit)."""
    panel = cem.Panel.from_frame(
        frame, unit="unit", time="t", channels=["y"], covariates=["load"], unit_covariates=["site"]
    )
    em = cem.FailureModeEM(
        1,
        basis=cem.Polynomial(2, random_degree=1),
        common_columns=[2],
        covariates=["load", "site"],
        tol=1e-12,
        **options,
    )
    return em.fit(panel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("functions", ["all", (0, 1)])
def test_age_by_sex_is_the_published_maximum(kernel, functions):
    """A covariate of a unit, alone and times age."""
    panel = cem.Panel.from_frame(
        orthodont(), unit="Subject", time="age", channels=["distance"], unit_covariates=["sex"]
    )
    terms = [Category("sex", basis_functions=functions)]
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), covariates={"distance": terms}, kernel=kernel).fit(panel)
    assert em.converged_
    assert abs(em.log_likelihood_ - BY_SEX) < 1e-5
    assert abs(em.score_samples(panel).sum() - BY_SEX) < 1e-5


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("noise", "published"), [("own", BY_SEX_WITH_OWN_NOISE), ("pooled", BY_SEX)])
def test_modes_labelled_by_sex_are_the_same_models(kernel, noise, published):
    """One covariance for both modes; a noise for each is nlme's varIdent, one for both the plain model."""
    frame = orthodont()
    panel = cem.Panel.from_frame(frame, unit="Subject", time="age", channels=["distance"])
    sexes = frame.groupby("Subject", sort=False).sex.first().loc[list(panel.units)]
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), covariance="pooled", noise=noise, kernel=kernel)
    em.fit(panel, modes=list(sexes))
    counts = sexes.value_counts().to_numpy()
    of_labels = float((counts * np.log(counts / counts.sum())).sum())
    assert abs(em.log_likelihood_ - of_labels - published) < 1e-5


@pytest.mark.parametrize("kernel", KERNELS)
def test_two_modes_of_one_covariance_and_noise_are_those_of_hlme(kernel):
    """Random intercepts, slopes of the modes, and a covariate of the fleet."""
    panel = cem.Panel.from_frame(
        orthodont(), unit="Subject", time="age", channels=["distance"], unit_covariates=["female"]
    )
    em = cem.FailureModeEM(
        2, basis=cem.Polynomial(1, random_degree=0), covariance="pooled", noise="pooled", covariates="female",
        tol=1e-13, n_init=20, random_state=0, kernel=kernel,
    ).fit(panel)  # fmt: skip
    assert abs(em.log_likelihood_ - HLME) < 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_a_quadratic_mean_with_random_lines_is_statsmodels_mixedlm(seed):
    from statsmodels.regression.mixed_linear_model import MixedLM

    frame = fleet(seed)
    em, by_lapack = of_load_and_site(frame), of_load_and_site(frame, kernel="lapack")
    assert by_lapack.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=1e-7)
    sites = pd.get_dummies(frame.site, drop_first=True, dtype=float).to_numpy()
    lines = np.column_stack([np.ones(len(frame)), frame.t])
    design = np.column_stack([lines, frame.t**2, frame.load, sites])
    peer = MixedLM(frame.y, design, frame.unit, exog_re=lines).fit(reml=False, method=["bfgs", "lbfgs"])
    # The peer stops at a gradient, not at a gain: it may be a little lower, never higher.
    assert peer.llf - 1e-5 < em.log_likelihood_ < peer.llf + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("within", [1.0, 0.01])
def test_a_quadratic_mean_with_random_lines_is_lme4(within, tmp_path):
    """Also where the load is nearly constant within units, and plain EM would crawl."""
    frame = fleet(2)
    of_unit = frame.groupby("unit").load.transform("mean")
    frame["load"] = of_unit + within * (frame.load - of_unit)
    (peer,) = fitted_by_r(
        "lme4", frame,
        "m <- lmer(y ~ load + site + t + I(t^2) + (1 + t | unit), data = d, REML = FALSE, "
        "control = lmerControl(optimizer = 'bobyqa', optCtrl = list(rhoend = 1e-11, maxfun = 1e5))); "
        "cat(sprintf('%.9f', as.numeric(logLik(m))))",
        tmp_path,
    )  # fmt: skip
    em = of_load_and_site(frame)
    assert em.converged_ and em.n_iter_ < 60
    assert abs(em.log_likelihood_ - peer) < 1e-5


@pytest.mark.slow
def test_two_modes_with_a_covariate_are_those_of_hlme_from_the_same_start(tmp_path):
    """Random lines; the log-likelihood that lcmm's own program reaches."""
    rng = np.random.default_rng(0)
    parts = []
    for unit in range(1, 151):
        n, mode = int(rng.integers(4, 10)), unit % 2
        t, x = np.sort(rng.uniform(0.0, 10.0, n)), rng.normal(size=n)
        line = 1.0 + 3.0 * mode + rng.normal(0.0, 0.7) + (0.3 + 0.5 * mode + rng.normal(0.0, 0.15)) * t
        parts.append(pd.DataFrame({"unit": unit, "t": t, "y": line + 0.8 * x + 0.5 * rng.normal(size=n), "x": x}))
    frame = pd.concat(parts, ignore_index=True)
    (peer,) = fitted_by_r(
        "lcmm", frame,
        "m <- hlme(y ~ t + x, mixture = ~t, random = ~t, subject = 'unit', ng = 2, data = d, verbose = FALSE, "
        "B = c(0, 1, 4, .3, .8, .8, .5, 0, .02, .5), convB = 1e-9, convL = 1e-10, convG = 1e-12); "
        "cat(sprintf('%.9f', m$loglik))",
        tmp_path,
    )  # fmt: skip
    panel = cem.Panel.from_frame(frame, unit="unit", time="t", channels=["y"], covariates=["x"])
    em = cem.FailureModeEM(
        2, basis=cem.Polynomial(1), covariance="pooled", noise="pooled", covariates="x", tol=1e-12, random_state=0
    ).fit(panel)
    assert abs(em.log_likelihood_ - peer - 1.39e-8 * len(frame)) < 1e-6
