"""Laws of lifetimes: against SciPy, against quadrature, and where a mode owns next to nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from cem.errors import FitError, OptionError
from cem.lifetimes.lifetimes import (
    Empirical,
    LifetimeLaw,
    Lifetimes,
    LinkedLognormal,
    Lognormal,
    Weibull,
    lifetime_law_from_dict,
)

LAWS: list[LifetimeLaw] = [
    Lognormal(5.3, 0.25),
    Lognormal(0.1, 1.4),
    Weibull(4.2, 230.0),
    Weibull(0.6, 12.0),
    Empirical(np.array([128.0, 190.0, 200.0, 362.0]), np.array([1.0, 2.0, 0.5, 1.0]), 0.15),
]
LAWS_BY_NAME = pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.family}-{law.median():.3g}")


def oracle(law: LifetimeLaw):  # type: ignore[no-untyped-def]
    if isinstance(law, Lognormal):
        return stats.lognorm(law.scale, scale=math.exp(law.location))
    assert isinstance(law, Weibull)
    return stats.weibull_min(law.shape, scale=law.scale)


@pytest.mark.parametrize("law", LAWS[:4], ids=lambda law: f"{law.family}-{law.median():.3g}")
def test_parametric_laws_agree_with_scipy(law: LifetimeLaw) -> None:
    """Density, survival and quantiles, from the first per mille to the last."""
    frozen, q = oracle(law), np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    t = frozen.ppf(q)
    np.testing.assert_allclose(law.quantile(q), t, rtol=1e-12)
    np.testing.assert_allclose(law.log_density(t), frozen.logpdf(t), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(law.survival(t), frozen.sf(t), rtol=1e-12)
    np.testing.assert_allclose(law.cdf(t), frozen.cdf(t), rtol=1e-11)
    np.testing.assert_allclose(law.mean(), frozen.mean(), rtol=1e-12)


@LAWS_BY_NAME
def test_every_law_is_one_law(law: LifetimeLaw) -> None:
    """Density integrates to the cdf, the survival to the mean and to the mean residual life, quantiles invert it."""
    for q in (0.05, 0.5, 0.95):
        age = float(law.quantile(q))
        assert float(law.cdf(age)) == pytest.approx(q, rel=1e-10)
        logs = math.log(float(law.quantile(1e-9))), math.log(age)
        mass = integrate.quad(lambda u: math.exp(u) * float(law.density(math.exp(u))), *logs, limit=200)[0]
        assert mass == pytest.approx(q, abs=1e-7)
        end = math.log(float(law.residual_quantile(age, 1 - 1e-13)) + age)
        rest = integrate.quad(lambda u: math.exp(u) * float(law.survival(math.exp(u))), math.log(age), end, limit=400)[
            0
        ]
        assert float(law.mean_residual_life(age)) == pytest.approx(rest / (1 - q), rel=1e-6)
        left = law.residual_quantile(age, np.array([0.25, 0.999]))
        np.testing.assert_allclose(law.survival(age + left) / law.survival(age), [0.75, 0.001], rtol=1e-8)
    assert float(law.mean_residual_life(0.0)) == pytest.approx(law.mean(), rel=1e-12)


@LAWS_BY_NAME
def test_a_unit_older_than_every_other_has_a_future(law: LifetimeLaw) -> None:
    """Far beyond the last training life the survival underflows; what is left stays finite and above 0."""
    ages = float(law.quantile(0.999999)) * np.array([1.0, 2.0, 5.0])
    assert np.all(np.isfinite(law.log_survival(ages))) and np.all(np.diff(law.log_survival(ages)) < 0)
    left = law.mean_residual_life(ages)
    assert np.all(np.isfinite(left)) and np.all(left > 0)
    assert np.all(law.residual_quantile(ages, 0.9) > law.residual_quantile(ages, 0.1))


@LAWS_BY_NAME
def test_nobody_fails_before_the_start(law: LifetimeLaw) -> None:
    """Ages at and below 0 have no density and full survival, in the array's shape."""
    ages = np.array([[-3.0, 0.0], [0.0, 10.0]])
    log_f = law.log_density(ages)
    assert log_f.shape == (2, 2) and np.all(np.isneginf(log_f.ravel()[:3])) and np.isfinite(log_f[1, 1])
    np.testing.assert_array_equal(law.log_survival(ages).ravel()[:3], 0.0)


@LAWS_BY_NAME
def test_saved_and_read_back_through_json(law: LifetimeLaw) -> None:
    """A model file must give back the very same law."""
    again = lifetime_law_from_dict(json.loads(json.dumps(law.to_dict())))
    assert again == law and type(again) is type(law)


@LAWS_BY_NAME
def test_draws_follow_the_law(law: LifetimeLaw) -> None:
    """Kolmogorov–Smirnov on 2,000 draws, and the same seed gives the same draws."""
    draws = law.sample(2000, random_state=1)
    assert stats.kstest(draws, lambda t: law.cdf(t)).pvalue > 1e-3
    np.testing.assert_array_equal(draws, law.sample(2000, random_state=1))


# ---- fitting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [Lognormal, Weibull])
def test_fit_maximises_the_penalised_likelihood_that_it_says(family) -> None:  # type: ignore[no-untyped-def]
    """A general optimiser, given the formula of the docstring, finds nothing better."""
    rng = np.random.default_rng(3)
    lives, weights, nu, s0 = rng.gamma(6.0, 30.0, 25), rng.uniform(0, 1, 25), 2.5, 0.3
    law = family.fit(lives, weights, prior_weight=nu, prior_spread=s0)

    def objective(law: LifetimeLaw) -> float:
        s = law.scale if isinstance(law, Lognormal) else math.pi / math.sqrt(6) / law.shape  # type: ignore[attr-defined]
        return float(weights @ law.log_density(lives)) - 0.5 * nu * (math.log(s * s) + (s0 / s) ** 2)

    def negative(x: np.ndarray) -> float:
        return -objective(Lognormal(x[0], math.exp(x[1])) if family is Lognormal else Weibull(*np.exp(x)))

    start = np.array([5.0, -1.0]) if family is Lognormal else np.array([0.5, 5.0])
    best = optimize.minimize(negative, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert objective(law) == pytest.approx(-best.fun, abs=1e-9)
    assert objective(law) >= -best.fun - 1e-9


def test_without_a_prior_the_fit_is_scipys() -> None:
    """Plain maximum likelihood as anyone else computes it."""
    lives = stats.weibull_min.rvs(3.0, scale=200.0, size=60, random_state=4)
    shape, _, scale = stats.weibull_min.fit(lives, floc=0)
    law = Weibull.fit(lives, prior_weight=0.0)
    assert (law.shape, law.scale) == (pytest.approx(shape, rel=1e-4), pytest.approx(scale, rel=1e-4))
    plain = Lognormal.fit(lives, prior_weight=0.0)
    assert (plain.location, plain.scale) == (pytest.approx(np.log(lives).mean()), pytest.approx(np.log(lives).std()))


@pytest.mark.parametrize("family", [Lognormal, Weibull, Empirical])
def test_candidates_of_running_units_are_lives_with_weights(family) -> None:  # type: ignore[no-untyped-def]
    """(19): splitting one life's weight over copies of it changes nothing, and censored weight pulls lives up."""
    failed = np.array([100.0, 120.0, 140.0, 160.0])
    whole = family.fit(failed, np.ones(4), prior_spread=0.3)
    split = family.fit(np.repeat(failed, 5), np.full(20, 0.2), prior_spread=0.3)
    t = np.linspace(50, 400, 8)
    np.testing.assert_allclose(split.log_density(t), whole.log_density(t), rtol=0.05 if family is Empirical else 1e-9)
    grid = 150.0 + np.arange(1.0, 101.0)  # alive at 150
    censored = family.fit(np.r_[failed, grid], np.r_[np.ones(4), np.full(100, 0.01)], prior_spread=0.3)
    assert censored.median() > whole.median()


@pytest.mark.slow
@pytest.mark.parametrize("family", [Lognormal, Weibull, Empirical])
def test_a_mode_of_one_unit_is_not_sure_of_itself(family) -> None:  # type: ignore[no-untyped-def]
    """One life has no spread; without shrinkage σ → 0 and every other unit would be impossible in this mode."""
    law = family.fit([200.0], prior_spread=0.4)
    spread = math.log(float(law.quantile(0.84)) / float(law.quantile(0.16))) / 2
    assert 0.2 < spread < 0.4
    alone = family.fit([200.0])
    assert 0.25 < math.log(float(alone.quantile(0.84)) / float(alone.quantile(0.16))) / 2 < 0.5
    twins = family.fit([200.0] * 50, prior_weight=0.0, minimum_spread=0.05)
    # The floor is on the standard deviation of the log life.
    assert np.log(twins.sample(4000, 0)).std() == pytest.approx(0.05, rel=0.06)


def test_modes_share_the_spread_of_all_when_they_have_little() -> None:
    """A 3 % mode: 2 lives in 60 get a spread between theirs (1 %) and the fleet's."""
    rng = np.random.default_rng(0)
    lives = np.r_[rng.lognormal(5.0, 0.3, 58), 300.0, 303.0]
    weights = np.column_stack([np.r_[np.ones(58), 0, 0], np.r_[np.zeros(58), 1, 1]])
    laws = Lifetimes.fit(lives, weights)
    rare = laws.laws[1]
    assert isinstance(rare, Lognormal)
    assert rare.location == pytest.approx(np.log([300.0, 303.0]).mean())
    assert 0.1 < rare.scale < 0.35
    assert laws.log_density([[100.0, 300.0]]).shape == (1, 2, 2)
    np.testing.assert_allclose(laws.quantile(0.5), [law.median() for law in laws.laws])
    assert Lifetimes.from_dict(json.loads(json.dumps(laws.to_dict()))) == laws
    assert laws.ordered([1, 0]).laws[0] == rare


def test_empirical_law_recovers_two_humps() -> None:
    """Lives around 150 and 300: the density at 210 is far below both, which no parametric law here can say."""
    rng = np.random.default_rng(6)
    lives = np.r_[rng.lognormal(np.log(150), 0.06, 300), rng.lognormal(np.log(300), 0.06, 300)]
    law = Empirical.fit(lives)
    low, dip, high = law.density([150.0, 210.0, 300.0])
    assert dip < 0.35 * high < low
    assert len(law.lives) <= 512
    assert law.mean() == pytest.approx(lives.mean(), rel=0.02)


def test_huge_times_do_not_overflow() -> None:
    """Lives in nanoseconds: 1e18 to the power of a shape of 30 is beyond float64, its logarithm is not."""
    lives = 1e18 * np.random.default_rng(1).lognormal(0, 0.04, 40)
    for family in (Lognormal, Weibull, Empirical):
        law = family.fit(lives)
        assert law.median() == pytest.approx(np.median(lives), rel=0.03)
        assert np.isfinite(law.mean_residual_life(lives[:3])).all()


SAVED = {"family": "empirical", "lives": [1.0, 2.0], "weights": [0.5, 0.5], "bandwidth": 0.1}


def test_old_machine_of_a_narrow_weibull_law_has_a_little_left_and_no_overflow() -> None:
    """At a thousand scales the hazard overflows a float; the remaining life is still a number."""
    left = Weibull(25.0, 1.0).mean_residual_life([1.0, 1e3, 1e20])
    assert np.isfinite(left).all() and (np.diff(left) < 0).all() and (left >= 0).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Lognormal.fit([100.0, -5.0]), OptionError, "life 1 is -5.0"),
        (lambda: Weibull.fit([100.0, np.nan]), OptionError, "life 1 is nan"),
        (lambda: Weibull.fit([100.0], [-1.0]), OptionError, "weight 0 is -1.0"),
        (lambda: Empirical.fit([100.0], [0.0]), FitError, "no life of weight above 0"),
        (lambda: Lifetimes.fit([100.0], [[1.0, 0.0]]), FitError, "mode 1"),
        (lambda: Lifetimes.fit([100.0], [[1.0]], family="gamma"), OptionError, "'gamma'"),
        (lambda: Lifetimes.fit([100.0, 90.0], [[1.0]]), OptionError, r"\(2, n_modes\)"),
        (lambda: Lognormal.fit([100.0], prior_weight=-1), OptionError, "prior_weight is -1"),
        (lambda: Lognormal(5.0, 0.0), OptionError, "scale above 0"),
        (lambda: Lognormal(5.0, 1.0).quantile(1.0), OptionError, "between 0 and 1"),
        (lambda: lifetime_law_from_dict({"family": "cauchy"}), OptionError, "'cauchy'"),
        (lambda: lifetime_law_from_dict({"family": "weibull", "size": 3}), OptionError, "do not fit"),
        (lambda: lifetime_law_from_dict([1]), OptionError, "family"),  # type: ignore[arg-type]
        (lambda: lifetime_law_from_dict({"family": ["weibull"]}), OptionError, "family"),
        (lambda: lifetime_law_from_dict({"family": "lognormal", "location": "4", "scale": 1.0}), OptionError, "fit"),
        (lambda: lifetime_law_from_dict({"family": "weibull", "shape": True, "scale": 1.0}), OptionError, "fit"),
        (lambda: lifetime_law_from_dict({"family": "weibull", "shape": 10**400, "scale": 1.0}), OptionError, "fit"),
        (lambda: lifetime_law_from_dict({**SAVED, "lives": 3}), OptionError, "fit"),
        (lambda: lifetime_law_from_dict({**SAVED, "lives": [2.0, 1.0]}), OptionError, "ascend"),
        (lambda: lifetime_law_from_dict({**SAVED, "weights": [0.5, 0.1]}), OptionError, "sum 1"),
        (lambda: lifetime_law_from_dict({**SAVED, "weights": [1.0]}), OptionError, "share a life"),
        (lambda: Lifetimes.from_dict({}), OptionError, "no list of laws"),
        (lambda: Lifetimes.from_dict({"laws": "lognormal"}), OptionError, "no list of laws"),
        (lambda: Lognormal(800.0, 1.0), OptionError, "another time unit"),
        (lambda: Weibull(2.0, 1e300), OptionError, "another time unit"),
        (lambda: Empirical(np.array([1.0, 1e200]), np.array([0.5, 0.5]), 0.1), OptionError, "lives from"),
        (lambda: Empirical(np.ones(70_000), np.ones(70_000), 0.1), OptionError, "70,000 lives"),
        (lambda: LinkedLognormal(4.0, 0.3, (1e200,)), OptionError, "sum of squares"),
    ],
)
def test_what_is_wrong_is_said(call, error, message: str) -> None:  # type: ignore[no-untyped-def]
    """A panel where no unit failed, a life of −5: named, not turned into NaN."""
    with pytest.raises(error, match=message):
        call()
