"""What a model says of conditions is what was put into the data, in units that a plant engineer reads."""

import numpy as np
import pytest
from conditioned_fleets import conditioned_estimator, conditioned_fleet, fitted, still_model

import cem
from cem import FailureModeEM, Panel
from cem.basis.families import Constant, Polynomial
from cem.covariates import Category, Linear, Power, Regimes, Spline
from cem.errors import NotFittedError, OptionError
from cem.mixture.column_kinds import checked_kinds


@pytest.fixture(scope="module")
def everything():
    return conditioned_estimator()


def one_channel(effect, seed=0, n_units=30, **columns):
    """Units of a level each, a reading of which is moved by an effect of its covariates."""
    rng = np.random.default_rng(seed)
    n = 20
    load = [rng.normal(60.0, 15.0, n) for _ in range(n_units)]
    stage = [rng.choice(["idle", "run", "start"], n) for _ in range(n_units)]
    values = [
        effect(w, s)[:, None] + rng.normal(0, 1.0) + 0.01 * rng.normal(size=(n, 1))
        for w, s in zip(load, stage, strict=True)
    ]
    times = [np.arange(float(n))] * n_units
    return Panel.from_arrays(times, values, channels=("x",), covariates={"load": load, "stage": stage})


def effects(panel, terms):
    return fitted(panel, 1, basis=Constant(), covariates=terms).model_.covariate_effects_["x"]


def test_an_effect_counts_per_unit_of_the_covariate_as_it_was_read():
    """0.3 mm/s per kW, whatever the mean and spread of the load were."""
    panel = one_channel(lambda load, stage: 0.3 * load + np.where(stage == "run", 2.0, 0.0) - 1.5 * (stage == "start"))
    found = effects(panel, ["load", "stage"])
    assert found["load"] == pytest.approx(0.3, abs=1e-4)
    assert found["stage=run"] == pytest.approx(2.0, abs=5e-3)
    assert found["stage=start"] == pytest.approx(-1.5, abs=5e-3)
    against = effects(panel, ["load", Category("stage", reference="start")])
    assert against["stage=idle"] == pytest.approx(1.5, abs=5e-3)


def test_powers_count_about_the_training_mean():
    panel = one_channel(lambda load, stage: 0.02 * (load - 60.0) ** 2)
    mean = panel.covariate("load").mean()
    found = effects(panel, [Power("load", 2)])
    assert found["load^2"] == pytest.approx(0.02, abs=1e-4)
    assert found["load"] == pytest.approx(0.04 * (mean - 60.0), abs=1e-3)


def test_the_first_column_of_a_spline_counts_per_unit():
    panel = one_channel(lambda load, stage: 0.3 * load)
    found = effects(panel, [Spline("load", 4)])
    assert list(found) == ["load", "load spline 2", "load spline 3"]
    assert found["load"] == pytest.approx(0.3, abs=2e-3)


def test_an_effect_by_mode_has_a_number_for_each_mode(everything):
    found = everything.covariate_effects_["b"]["speed x basis function 0"]
    assert found.shape == (2,) and not found.flags.writeable
    assert sorted(found) == pytest.approx([0.2, 0.4], abs=0.1)  # the modes have one weight, so either may come first
    assert "a" not in everything.covariate_effects_


def test_regimes_have_an_offset_and_a_scale_for_each_channel(everything):
    """Their differences are those of the generator: 3 and -5 units about a scale of 1, 1.5 and 0.7."""
    found = everything.regimes_
    assert found.offsets.shape == found.scales.shape == (3, 3) and found.labels == everything.model_.regimes_.labels
    np.testing.assert_allclose(found.scales[1] / found.scales[0], 1.5, rtol=0.1)
    np.testing.assert_allclose(found.scales[2] / found.scales[0], 0.7, rtol=0.1)
    assert (found.counts @ found.offsets == pytest.approx(0.0, abs=1e-6)) and "discrete" in str(found)


def test_membership_counts_in_log_odds(everything):
    found = everything.membership_
    assert list(found) == ["intercept", "site=B"]
    np.testing.assert_allclose([values.sum() for values in found.values()], 0.0, atol=1e-12)
    panel = conditioned_fleet()
    shares = everything.model_._mode_weights(panel)
    at_b = shares[panel.covariate("site") == "B"][0]
    odds = found["intercept"] + found["site=B"]
    assert np.log(at_b[1] / at_b[0]) == pytest.approx(odds[1] - odds[0])


def test_membership_of_a_number_counts_per_unit_of_it():
    em = fitted(conditioned_fleet(), basis=Polynomial(1), membership=["rate"])
    panel = conditioned_fleet()
    weights, rate = em.model_._mode_weights(panel), panel.covariate("rate")
    slope = np.diff(np.log(weights), axis=1)[:, 0]
    by_hand = (slope[1] - slope[0]) / (rate[1] - rate[0])
    assert by_hand == pytest.approx(np.diff(em.membership_["rate"])[0])


def test_coefficients_that_do_not_vary_have_no_variance_at_all(everything):
    """Rounding left variances of 1e-34, and correlations made of them."""
    assert everything.random_columns_ == {"a": (1, 2), "b": (0, 1), "c": (0, 1, 2)}
    model = everything.model_
    assert (model.covariances_[:, 0, 0] == 0).all() and (model.covariances_[:, 0, :, 0] == 0).all()
    assert (model.covariance_factors_[:, 0, 0] == 0).all()
    assert (model.covariances_[:, 1, 2] == 0).all() and (model.covariances_[:, 0, 1, 1] > 0).all()
    assert (model.parameters(0, "a").covariance[0] == 0).all()
    np.testing.assert_allclose(model.means_[0, 0, 0], model.means_[1, 0, 0], rtol=1e-12)


def test_a_linked_model_keeps_its_curves_where_a_function_does_not_vary():
    """Rounding in place of zeros made whitened loadings of 1e15."""
    em = fitted(conditioned_fleet(), basis=Polynomial(2), linking_rank=1, random_columns={None: [1, 2]})
    loadings = em.model_.loadings_
    assert np.abs(np.nan_to_num(loadings)).max() < 1e3 and (loadings[:, :, 0] == 0).all()


def test_a_model_without_conditions_says_so():
    model = fitted(conditioned_fleet(), basis=Polynomial(1)).model_
    assert model.covariate_effects_ == {} and model.regimes_ is None and model.membership_ is None
    assert model.random_columns_ == {"a": (0, 1), "b": (0, 1), "c": (0, 1)}
    assert model.column_kinds is None and not {"effects", "regimes"} & set(model.summary().frames)


@pytest.mark.parametrize("name", ["covariate_effects_", "regimes_", "membership_", "random_columns_"])
def test_attributes_wait_for_the_fit_and_are_read_only(name, everything):
    with pytest.raises(NotFittedError):
        getattr(FailureModeEM(2), name)
    with pytest.raises(AttributeError):
        setattr(everything, name, {})


def test_kinds_of_columns_must_fit_the_bases():
    assert checked_kinds([["random", "random"]], (2,)) is None
    for wrong in ([["random"]], [["random", "fixed"]], []):
        with pytest.raises(OptionError, match="column_kinds"):
            checked_kinds(wrong, (2,))


# -- summary ----------------------------------------------------------------------------------------------------------


def test_summary_shows_all_that_was_learned(everything):
    text = str(everything.model_.summary())
    for line in (
        "noise             pooled",
        "regimes           3 by 'load'",
        "load       reading  number    19.2 to 90.63    regimes",
        "site       unit     category  'A', 'B'         membership",
        "mm/s  per speed",
        "per speed^2",
        "against reference",
        "log-odds(0)",
        "a        1, 2              0",
    ):
        assert line in text, line


def test_tables_of_a_summary_have_the_numbers_of_the_attributes(everything):
    frames = everything.model_.summary().frames
    effects = frames["effects"]
    chosen = [i for i, name in enumerate(effects["column"]) if name == "speed^2"]
    assert [effects["effect"][i] for i in chosen] == [everything.covariate_effects_["c"]["speed^2"]]
    assert [effects["mode"][i] for i in chosen] == ["all"]
    assert frames["regimes"]["readings"][0] == everything.regimes_.counts[0]
    assert frames["regimes"]["offset"] == everything.regimes_.offsets.ravel().tolist()
    assert frames["columns"]["by mode"] == ["", "2", ""]
    assert frames["membership"]["log-odds(1)"][1] == everything.membership_["site=B"][1]


def test_curves_of_a_summary_are_of_the_basis_alone(everything):
    """Columns of covariates stand behind the basis; taken with it they end in an error, or in other curves."""
    curves = everything.model_.summary().frames["curves"]
    model = everything.model_
    rows = model.bases[1](np.array([model.bases[1].domain[0]]))
    assert curves["start"][2] == pytest.approx(float((rows @ model.means_[0, 1])[0]))


def test_regimes_that_are_not_discrete_are_marked():
    panel = conditioned_fleet()
    load = np.random.default_rng(0).uniform(20, 90, len(panel.times))
    em = fitted(panel.with_covariates({"load": load}), basis=Polynomial(1), regimes=Regimes("load", n=3))
    assert "not well separated" in str(em.model_.summary())


def test_summary_of_a_model_of_still_columns_alone():
    frames = still_model().summary().frames
    assert frames["columns"]["by mode"] == ["2", "2", "2"]
    assert not any(frames["covariates"].values())


def test_hostile_names_are_escaped_in_a_summary():
    panel = one_channel(lambda load, stage: 0.3 * load)
    stage = np.where(panel.covariate("stage") == "run", "\x1b[31mrun", "idle\u202e")
    named = panel.with_covariates({"st\x1bage": stage, "stage": None})
    em = fitted(named, 1, basis=Constant(), covariates=["st\x1bage", Linear("load")])
    assert "\x1b" not in str(em.model_.summary()) and "\u202e" not in str(em.model_.summary())


def test_info_shows_conditions(capsys):
    from golden_cases import DATA

    from cem.cli.commands import main

    path = str(DATA / "golden-3-conditions.cem")
    assert main(["info", path]) == 0
    assert "Effects of covariates" in capsys.readouterr().out
    import json

    assert main(["info", "--json", path]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [part["name"] for part in shown["covariates"]] == ["load", "speed", "stage", "rate", "site"]
    assert len(shown["regimes"]) == 3 and len(shown["regime_maps"]) == 9
    assert shown["membership"][1]["column"] == "site=B"
    assert cem.load(path).training["noise"] == "pooled"
