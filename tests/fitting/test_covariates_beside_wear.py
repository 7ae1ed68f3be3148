"""Fits with covariates and regimes where units differ by far more than the noise, and far from 0."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cem import FailureModeEM, Panel, Regimes
from cem.basis.families import Polynomial
from cem.covariates import Category
from cem.covariates.within_units import WithinUnits
from cem.errors import CommonCauseWarning, OptionError, PanelError

LOADS = {"low": (0.0, 20.0), "mid": (5.0, 50.0), "high": (-3.0, 90.0)}


def worn_fleet(seed=0, n_units=24, n_readings=20, *, level=0.0, unit=1.0, failing=False):
    """Wear of two modes, ten times the noise, read at three loads and an ambient temperature."""
    rng = np.random.default_rng(seed)
    n = n_units * n_readings
    owner, time = np.repeat(np.arange(n_units), n_readings), np.tile(np.arange(float(n_readings)), n_units)
    load = rng.choice(list(LOADS), n, p=[0.6, 0.37, 0.03])
    power = np.array([LOADS[one][1] for one in load]) + rng.normal(size=n)
    temperature = rng.normal(20.0, 5.0, n)
    wear = 0.05 * np.where(owner % 2, 1.0, -1.0) * time + (0.3 * rng.normal(size=n_units))[owner]
    shift = np.array([LOADS[one][0] for one in load]) + 0.02 * (temperature - 20.0)
    values = np.stack([shift + wear, 2.0 * shift - wear], axis=1) + 0.1 * rng.normal(size=(n, 2))
    more = {}
    if failing:
        running = np.arange(n_units) % 3 == 0
        lives = n_readings + rng.uniform(0.5, 4.0, n_units)
        more = {"failure_times": np.where(running, np.nan, lives)}
    return Panel(
        [f"u{i}" for i in range(n_units)], np.arange(n_units + 1) * n_readings, time, level + unit * values,
        ("s1", "s2"), covariates={"load": load, "power": power, "temperature": temperature}, **more,
    )  # fmt: skip


def fitted(panel, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FailureModeEM(2, basis=Polynomial(1), n_init=3, random_state=0, **options).fit(panel)


@pytest.mark.parametrize(("level", "unit"), [(1e6, 1.0), (1e6, 0.01), (-1e-3, 1e-9)])
def test_regimes_do_not_depend_on_where_a_channel_has_its_zero(level, unit):
    """A pressure in pascals read at three loads would lose its modes, or the fit would crash."""
    near, far = worn_fleet(), worn_fleet(level=level, unit=unit)
    expected = fitted(near, regimes=Regimes("load"))
    found = fitted(far, regimes=Regimes("load"))
    shift = near.values.size * np.log(unit)
    assert found.log_likelihood_ + shift == pytest.approx(expected.log_likelihood_, abs=0.01)
    assert found.responsibilities_ == pytest.approx(expected.responsibilities_, abs=1e-3)
    assert found.regimes_.scales == pytest.approx(expected.regimes_.scales, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_covariate_that_varies_little_within_regimes_gets_no_effect_of_the_units_wear(seed):
    """The power explains nothing beside the regimes; it would get an effect of five standard errors."""
    panel = worn_fleet(seed, n_units=12)
    alone, beside = (
        fitted(panel, regimes=Regimes("load"), covariates=terms) for terms in ("temperature", ["temperature", "power"])
    )
    standard_error = 0.1 / np.sqrt(len(panel.times))
    for effects in beside.covariate_effects_.values():
        assert abs(effects["power"]) < 3.5 * standard_error
    assert beside.log_likelihood_ > alone.log_likelihood_ - 0.5


@pytest.mark.parametrize("options", [{"covariates": ["load", "temperature"]},
                                     {"covariates": "temperature", "regimes": Regimes("load")}])  # fmt: skip
def test_no_common_cause_is_left_where_it_is_named(options):
    """The warning would send a user after a cause that the fit already knows, since wear hides its coefficient."""
    for seed in range(5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", CommonCauseWarning)
            FailureModeEM(2, basis=Polynomial(1), n_init=2, max_iter=5, random_state=0, **options).fit(worn_fleet(seed))


def test_a_common_cause_beside_the_named_one_is_found():
    """The temperature alone does not explain what the loads do."""
    with pytest.warns(CommonCauseWarning, match="move together"):
        FailureModeEM(2, basis=Polynomial(1), n_init=2, random_state=0, covariates="temperature").fit(worn_fleet())


def test_running_units_take_part_in_a_linked_fit_with_random_and_common_columns():
    """A channel with other columns beside one without would end the fit with an untyped error."""
    em = fitted(
        worn_fleet(failing=True), time_axis="to_failure", linking_rank=1,
        random_columns={"s1": "all", "s2": [0]}, common_columns={"s2": [1]},
    )  # fmt: skip
    assert np.isfinite(em.log_likelihood_)


def test_within_units_recovers_coefficients_that_a_common_curve_cannot():
    """Columns that vary within units are judged there, and a column of the unit between units."""
    rng = np.random.default_rng(0)
    n_units, n = 60, 12
    units = np.repeat(np.arange(n_units), n)
    regimes = np.tile([0, 1], n_units * n // 2)
    columns = np.stack([30.0 * regimes + rng.normal(size=n_units * n), rng.normal(size=n_units)[units]], axis=1)
    rows = np.stack([np.ones(n_units * n), np.tile(np.arange(float(n)), n_units)], axis=1)
    values = columns @ [0.2, 0.0] + 3.0 * regimes + (5.0 * rng.normal(size=n_units))[units]
    found = WithinUnits(columns, np.eye(2)[regimes], rows, units).coefficients(values)
    assert found[0] == pytest.approx(0.2, abs=1e-9)
    of_unit = np.linalg.lstsq(
        np.stack([columns[::n, 1], np.ones(n_units)], axis=1), (values - columns @ [0.2, 0.0] - 3.0 * regimes)[::n]
    )[0][0]
    assert found[1] == pytest.approx(of_unit, abs=1e-9)


@pytest.mark.parametrize(
    ("load", "reference", "column", "how"),
    [("high", "high", "load=mid", "a combination of 'the basis'"), ("high", "low", "load=high", "zero at all")],
)
def test_a_level_at_which_a_channel_was_never_read_is_refused(load, reference, column, how):
    """Its effect would be made up, or the channel left out with the advice to take a larger basis."""
    panel = worn_fleet()
    values = np.array(panel.values)
    values[panel.covariate("load") == load, 0] = np.nan
    gaps = Panel(
        panel.units, panel.offsets, panel.times, values, panel.channels, covariates={"load": panel.covariate("load")}
    )
    with pytest.raises(PanelError, match=f"'s1': covariate column '{column}' is {how}"):
        fitted(gaps, covariates=Category("load", reference=reference))
    effects = fitted(gaps, covariates={"s2": "load"}).covariate_effects_
    assert list(effects) == ["s2"] and effects["s2"]["load=mid"] == pytest.approx(16.0, abs=0.1)


def test_columns_of_one_name_are_refused():
    """The effect of one covariate would be reported as that of another."""
    panel = worn_fleet().with_covariates(covariates={"load=low": np.random.default_rng(0).normal(size=480)})
    with pytest.raises(OptionError, match="'s1' has two columns of the name 'load=low', of different covariates"):
        fitted(panel, covariates=["load", "load=low"])


def test_columns_of_membership_that_say_the_same_are_refused():
    """Each would get half of the effect, and the criteria would count both."""
    panel = worn_fleet()
    sites = [("A", "B", "C")[i % 3] for i in range(panel.n_units)]
    panel = panel.with_covariates(unit_covariates={"site": sites, "plant": [site.lower() for site in sites]})
    with pytest.raises(PanelError, match="membership: column 'plant=b' is a combination of 'site=B'"):
        fitted(panel, covariates="load", membership=["site", "plant"])
