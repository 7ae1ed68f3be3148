"""Model files of version 3: conditions come back as they were, and a damaged one is refused with a type."""

import copy
import json
import pickle
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conditioned_fleets import MODELS, conditioned_fleet, conditioned_lives
from golden_cases import DATA
from places import FUZZ

import cem
from cem.errors import ModelFileError
from cem.mixture.parameters import Parameters
from cem.model.file import encode
from cem.model.loading import decode

sys.path.insert(0, str(FUZZ))

from sealing import sealed, taken_apart

CONTENT = (DATA / "golden-3-conditions.cem").read_bytes()


@pytest.fixture(scope="module")
def models():
    return {name: make() for name, make in MODELS.items()}


def failed_fleet():
    return conditioned_fleet(5, 6, failing=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_conditions_comes_back_to_the_bit(name, models, tmp_path):
    model = models[name]
    model.save(tmp_path / "m.cem")
    content = (tmp_path / "m.cem").read_bytes()
    assert struct.unpack_from("<I", content, 8) == (3,)
    for found in (cem.load(tmp_path / "m.cem"), pickle.loads(pickle.dumps(model))):
        assert (found.conditions, found.of_units, found.column_kinds) == (
            model.conditions, model.of_units, model.column_kinds,
        )  # fmt: skip
        for part in ("weights", "means", "factors", "noise_variances", "loadings", "membership"):
            held, expected = getattr(found.internal_parameters, part), getattr(model.internal_parameters, part)
            assert (held is None) == (expected is None) and (held is None or (held == expected).all()), part
        panel = failed_fleet()
        np.testing.assert_array_equal(found.score_samples(panel), model.score_samples(panel))
        assert encode(found) == content


def test_a_prognosis_under_conditions_predicts_the_same_after_loading(tmp_path):
    prognosis = conditioned_lives()
    prognosis.save(tmp_path / "m.cem")
    panel = conditioned_fleet(5, 6)
    expected = prognosis.predict(panel)
    for found in (cem.RemainingLife.load(tmp_path / "m.cem"), pickle.loads(pickle.dumps(prognosis))):
        np.testing.assert_array_equal(found.predict(panel).pmf, expected.pmf)


def test_models_without_conditions_stay_in_the_versions_that_older_releases_read():
    for path in sorted(DATA.glob("golden-[12]*.cem")):
        if "custom" not in path.name:
            assert struct.unpack_from("<I", encode(cem.load(path)), 8) == (int(path.name[7]),)


def test_the_file_has_no_covariate_of_the_training_units():
    """Files leave the house; covariates of customers' units must not."""
    arrays = taken_apart(CONTENT).arrays
    assert arrays["check_covariates"].shape == (108, 4)
    panel = conditioned_fleet()
    assert not np.isin(arrays["check_covariates"][:, :2], panel.conditions(["load", "speed"], {})).any()


def test_every_regime_and_level_is_in_the_check_panel():
    """An installation that computes a regime otherwise must notice when it loads."""
    model = decode(CONTENT)
    w = taken_apart(CONTENT).arrays["check_covariates"]
    assert set(model.conditions.regimes_at(w)) == {0, 1, 2}
    assert set(w[:, 2]) == {0.0, 1.0}


def changed(change, content=CONTENT):
    parts = taken_apart(content)
    change(parts.header["model"], parts.arrays, parts)
    return sealed(parts)


def set_at(*path):
    """A change that sets one place of the header's model."""
    *places, value = path

    def change(model, arrays, parts):
        target = model
        for place in places[:-1]:
            target = target[place]
        target[places[-1]] = value

    return change


def set_number(name, at, value):
    def change(model, arrays, parts):
        arrays[name] = arrays[name].copy()
        arrays[name][at] = value

    return change


def without(name):
    return lambda model, arrays, parts: arrays.pop(name)


def with_variance(model, arrays, parts):
    """A coefficient of channel b that belongs to the mode gets a variance."""
    arrays["factors"] = arrays["factors"].copy()
    arrays["factors"][:, 9 + 12] = 0.5


HOSTILE = {
    "as it was": (lambda model, arrays, parts: None, None),
    "older version": (lambda m, a, p: setattr(p, "version", 2), "keys"),
    "no conditions": (set_at("conditions", None), "make a model|shape"),
    "conditions are a list": (set_at("conditions", []), "the whole is"),
    "conditions lack a key": (lambda m, a, p: m["conditions"].pop("scales"), "the whole is"),
    "unknown key": (set_at("conditions", "extra", 1), "the whole is"),
    "unknown feature kind": (set_at("conditions", "features", 0, "kind", "eval"), "kind of"),
    "position beyond": (set_at("conditions", "features", 0, "column", 9), "column of"),
    "position is true": (set_at("conditions", "features", 0, "column", True), "column of"),
    "function beyond the basis": (set_at("conditions", "by_mode", 1, 0, 1, 5), "by_mode: a function"),
    "scale of 0": (set_at("conditions", "scales", 0, 0, 0.0), "scales"),
    "offset of text": (set_at("conditions", "offsets", 0, 0, "x"), "offsets"),
    "offset too large": (set_at("conditions", "offsets", 0, 0, 10**400), "offsets"),
    "another offset": (set_at("conditions", "offsets", 0, 0, 77.0), "check panel"),
    "another coefficient": (set_at("conditions", "coefficients", 2, 0, 77.0), "check panel"),
    "regime counts below 0": (set_at("conditions", "regimes", "counts", [-1, 1, 1]), "count"),
    "regimes of nothing": (set_at("conditions", "regimes", "names", ["x"]), "columns of regimes"),
    "centre at infinity": (set_at("conditions", "regimes", "places", [[1e300]] * 3), "centres"),
    "levels of every kind": (set_at("conditions", "columns", 2, "levels", ["high", 1]), "level of"),
    "level too large": (set_at("conditions", "columns", 2, "levels", [1, 2**61 - 1]), "too large"),
    "levels in disorder": (set_at("conditions", "columns", 2, "levels", ["low", "high"]), "ascending"),
    "name of a channel": (set_at("conditions", "columns", 2, "name", "a"), "name of a channel"),
    "covariate of two kinds": (set_at("of_units", "columns", 0, "name", "stage"), "another one"),
    "membership of readings": (set_at("of_units", "columns", 0, "of_unit", False), "not of units"),
    "membership without features": (set_at("of_units", "features", []), "no features"),
    "no of_units": (set_at("of_units", None), "go together"),
    "no membership": (without("membership"), "go together"),
    "membership not finite": (set_number("membership", (0, 1), np.nan), "not finite"),
    "membership of other numbers": (set_number("membership", (0, 1), 7.0), "check panel"),
    "membership of integers": (lambda m, a, p: a.update(membership=np.array([[-1, 1], [1, -1]])), "type int64"),
    "membership too wide": (lambda m, a, p: a.update(membership=np.zeros((2, 3))), "membership has shape"),
    "kinds of another length": (set_at("column_kinds", 0, ["random"]), "column_kinds holds"),
    "unknown kind": (set_at("column_kinds", 0, ["random", "random", "fixed"]), "column_kinds holds"),
    "kind is a list": (set_at("column_kinds", 0, [["random"], "random", "random"]), "column_kinds holds"),
    "kinds all random": (set_at("column_kinds", [["random"] * 3] * 3), "random columns alone"),
    "kinds contradict factors": (set_at("column_kinds", 2, ["random", "random", "by mode"]), "not random"),
    "covariate with variance": (with_variance, "not random"),
    "diagonal below 0": (set_number("factors", (0, 0), -1.0), "positive diagonal"),
    "no covariates to check": (without("check_covariates"), "check_covariates is absent"),
    "covariate to check missing": (set_number("check_covariates", (0, 0), np.nan), "finite numbers"),
    "no such level to check": (set_number("check_covariates", (0, 2), 2.0), "no positions"),
    "unknown regime to check": (set_number("check_covariates", (0, 0), 1e6), "beyond the reach"),
    "unit's covariate varies": (lambda m, a, p: with_varying(m, a), "vary within a unit"),
    "unknown array": (lambda m, a, p: a.update(extra=np.zeros(2)), "unknown"),
}


def with_varying(model, arrays):
    model["conditions"]["columns"][1]["of_unit"] = True
    model["of_units"]["columns"][0]["name"] = "station"


@pytest.mark.parametrize("case", HOSTILE)
def test_damaged_conditions_are_refused_by_name(case):
    """A wrong offset, taken as it is, would shift every life that is predicted."""
    change, message = HOSTILE[case]
    content = changed(change)
    if message is None:
        assert encode(decode(content)) == encode(decode(CONTENT))
        return
    with pytest.raises(ModelFileError, match=message):
        decode(content)


def test_a_level_without_training_readings_is_not_in_the_check_panel():
    """A model of units of one stage alone could not be saved."""
    model = cem.load(DATA / "golden-3-levels.cem")
    regimes = replace(model.conditions.regimes, counts=np.array([0, 5]))
    one = type(model)(**{**model._arguments(), "conditions": replace(model.conditions, regimes=regimes)})
    assert set(taken_apart(encode(one)).arrays["check_covariates"][:, 1]) == {1.0}


def test_version_3_without_anything_new_is_refused():
    """One model has one version: its bytes say which release can read it."""
    parts = taken_apart((DATA / "golden-1.cem").read_bytes())
    parts.version = 3
    parts.header["model"].update(conditions=None, of_units=None, column_kinds=None)
    with pytest.raises(ModelFileError, match="earlier format version"):
        decode(sealed(parts))


def test_versions_1_and_2_still_refuse_a_coefficient_without_variance():
    for name in ("golden-1.cem", "golden-2-linked.cem"):
        parts = taken_apart((DATA / name).read_bytes())
        parts.arrays["factors"][0, 0] = 0.0
        with pytest.raises(ModelFileError, match="positive diagonal"):
            decode(sealed(parts))


def test_a_model_whose_conditions_would_not_load_is_not_saved(models, tmp_path):
    model = models["membership"]
    old = model.internal_parameters
    parameters = Parameters(
        old.weights, old.means, old.factors, old.noise_variances, old.sizes, membership=np.zeros((2, 2))
    )
    unsound = type(model)(**{**model._arguments(), "parameters": parameters})
    with pytest.raises(ModelFileError, match="membership has shape"):
        unsound.save(tmp_path / "m.cem")


def test_levels_and_names_in_any_writing_come_back(models):
    content = changed(
        lambda m, a, p: [
            set_at("conditions", "columns", 2, "levels", ["höch", "низкий \x1b"])(m, a, p),
            set_at("conditions", "columns", 2, "name", "Stufe\u202e")(m, a, p),
        ]
    )
    model = decode(content)
    assert model.covariates == ("load", "speed", "Stufe\u202e")
    assert model.conditions.levels["Stufe\u202e"] == ("höch", "низкий \x1b")
    assert encode(decode(encode(model))) == encode(model)


@pytest.mark.parametrize("name", ["golden-3-conditions.cem", "golden-3-life-linked.cem", "golden-3-levels.cem"])
def test_loading_and_scoring_need_no_scipy(name):
    """Small devices have NumPy alone."""
    code = (
        "import sys\nfor name in ('scipy', 'pandas'): sys.modules[name] = None\n"
        "import numpy as np, cem\n"
        f"model = cem.load({str(DATA / name)!r})\n"
        "panel = cem.Panel.from_arrays([np.linspace(0, 5, 4)], [np.zeros((4, 3))], channels=('a', 'b', 'c'), "
        "failure_times=[8.0], covariates={'load': [np.array([20.0, 50.0, 90.0, 20.0])], 'speed': [np.full(4, 9.0)], "
        "'stage': [np.array(['low', 'high', 'low', 'low'])]}, unit_covariates={'site': ['A'], 'rate': [0.2]})\n"
        "print(np.isfinite(model.score_samples(panel)).all())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_a_plain_model_is_loaded_without_the_code_of_conditions():
    """It would make every start of a process that scores slower."""
    code = (
        "import sys, cem\n"
        f"cem.load({str(DATA / 'golden-1.cem')!r})\n"
        "print([name for name in sys.modules if name.startswith('cem.covariates') or name == 'cem.panel.panel' "
        "or name == 'cem.model.condition_parts'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_conditions_survive_json_of_the_header():
    """`to_dict` of the loaded model is what the file holds."""
    model, header = decode(CONTENT), taken_apart(CONTENT).header["model"]
    assert json.loads(json.dumps(model.conditions.to_dict())) == header["conditions"]
    assert copy.deepcopy(model.of_units.to_dict()) == header["of_units"]
