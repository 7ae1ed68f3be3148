"""Compiled conditions equal the formulas, come back from files as they were, and refuse what they do not know."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from covariate_cases import CHANNELS, COLUMNS, SIZES, basis_rows_of, random_conditions, rows_of

from cem.covariates import Linear, Regimes
from cem.covariates._conditions import CAPSULE
from cem.covariates.columns import Column
from cem.covariates.conditions import Conditions
from cem.covariates.features import values_of
from cem.covariates.learning import learned_conditions
from cem.covariates.regimes import CENTRES, CUTS
from cem.errors import OptionError, PredictionError, ScorerError

SEEDS = range(60)


def plain_regimes(regimes, w):
    if regimes is None:
        return np.zeros(len(w), int)
    settings = w[:, regimes.columns]
    if regimes.kind == CENTRES:
        squares = (((settings - regimes.origin) / regimes.spread)[:, None, :] - regimes.places) ** 2
        return squares.sum(axis=2).argmin(axis=1)
    if regimes.kind == CUTS:
        return np.searchsorted(regimes.specification.cuts, settings[:, 0], side="right")
    return settings[:, 0].astype(int)


def plain_design(entries, features, rows):
    columns = [features[:, f] * (1.0 if j < 0 else rows[:, j]) for f, j in entries]
    return np.stack(columns, axis=1) if columns else np.empty((len(features), 0))


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_conditions_equal_the_formulas(seed):
    """x' = (x - a) / s - psi' beta, every kind of column and of regimes; a missing value stays missing."""
    rng = np.random.default_rng(seed)
    conditions, train = random_conditions(rng)
    w = train[rng.choice(len(train), 50)]
    rows = basis_rows_of(rng, 50)
    x = rng.normal(0, 5, (50, 3))
    x[rng.uniform(size=x.shape) < 0.2] = np.nan
    features, g = values_of(conditions.features, w), plain_regimes(conditions.regimes, w)
    assert np.array_equal(conditions.features_at(w), features)
    assert np.array_equal(conditions.regimes_at(w), g)
    expected = x.copy() if conditions.regimes is None else (x - conditions.offsets[g]) / conditions.scales[g]
    for c in range(3):
        psi = plain_design(conditions.common[c], features, rows[c])
        assert conditions.common_design(w, rows, c) == pytest.approx(psi, rel=1e-14, abs=1e-14)
        expected[:, c] -= psi @ conditions.coefficients[c]
        by_mode = plain_design(conditions.by_mode[c], features, rows[c])
        assert np.array_equal(conditions.design(w, rows, c), by_mode)
        assert len(conditions.column_names(c)) == psi.shape[1]
        assert len(conditions.column_names(c, by_mode=True)) == by_mode.shape[1]
    size = np.abs(np.nan_to_num(expected)).max() + 10
    adjusted = conditions.adjusted(x, w, rows)
    assert adjusted == pytest.approx(expected, abs=1e-14 * size, nan_ok=True)
    assert conditions.restored(adjusted, w, rows) == pytest.approx(x, rel=1e-12, abs=1e-12 * size, nan_ok=True)
    logs = np.zeros((50, 3)) if conditions.regimes is None else -np.log(conditions.scales[g])
    assert conditions.log_jacobian(x, w) == pytest.approx(np.nansum(np.where(np.isnan(x), np.nan, logs), axis=1))


@pytest.mark.parametrize("seed", SEEDS)
def test_conditions_come_back_as_they_were(seed):
    """From a model file, a pickle and a copy, to the bit."""
    rng = np.random.default_rng(seed)
    conditions, w = random_conditions(rng)
    text = json.dumps(conditions.to_dict(), allow_nan=False)
    rows, x = basis_rows_of(rng, 400), rng.normal(size=(400, 3))
    for again in (
        Conditions.from_dict(json.loads(text), CHANNELS, SIZES),
        pickle.loads(pickle.dumps(conditions)),
        copy.deepcopy(conditions),
    ):
        assert again == conditions
        assert np.array_equal(again.adjusted(x, w, rows), conditions.adjusted(x, w, rows))
    assert conditions != conditions.with_coefficients([beta + 1 for beta in conditions.coefficients]) or not any(
        conditions.common
    )


def damaged(value, rng):
    return rng.choice(
        np.array([None, -1, 10**9, 1.5, float("nan"), float("inf"), "x", [], {}, True, [[[]]], 10**400], dtype=object)
    ) if not isinstance(value, list) or rng.uniform() < 0.5 else value[:-1]  # fmt: skip


def places_in(part, path=()):
    yield path
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        yield from places_in(value, (*path, key))


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_conditions_are_refused_or_harmless(seed):
    """A model file is untrusted: no crash, no reading beyond an array, no untyped error, no NaN."""
    rng = np.random.default_rng(seed)
    conditions, w = random_conditions(rng)
    saved = conditions.to_dict()
    places = list(places_in(saved))
    rows, x = basis_rows_of(rng, 400), rng.normal(size=(400, 3))
    refused = 0
    for _ in range(60):
        broken = json.loads(json.dumps(saved))
        path = places[rng.integers(1, len(places))]
        part = broken
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = damaged(part[path[-1]], rng)
        try:
            again = Conditions.from_dict(broken, CHANNELS, SIZES)
            again.adjusted(x, w, rows)
            again.features_at(w)
        except OptionError as error:
            refused += 1
            assert len(str(error)) < 500
        except PredictionError:
            pass  # another valid model, which does not know these readings
    assert refused > 20


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("features", 0, "column"), 4, "the column of"),
        (("features", 0, "numbers", 3), 1e9, "the degree of"),
        (("features", 0, "numbers"), [1.0], "numbers of"),
        (("features", 0, "kind"), "eval", "the kind of"),
        (("common", 0, 0, 0), 99, "a feature"),
        (("common", 0, 0, 1), 3, "a function"),
        (("common", 0), [[0, -1], [0, -1]], "each column once"),
        (("coefficients", 0, 0), None, "coefficients"),
        (("columns", 1, "levels"), ["A", "A", "B"], "ascending order"),
        (("columns", 0, "name"), "speed", "each covariate once"),
        (("scales", 0, 0), 0.0, "positive number"),
        (("offsets", 0), [1.0], "a list of 3"),
        (("regimes", "n"), 50, "a list of 50|counts|labels"),
        (("regimes", "columns", 0), 1, "columns of regimes"),
        (("regimes", "counts"), [0, 0, 0], "a regime with readings"),
        (("regimes", "spread", 0), 0.0, "positive number"),
        (("regimes", "reaches", 0), -1.0, "a distance"),
        (("regimes", "kind"), "cuts", "the kind of regimes"),
        (("regimes",), 3, "regimes is 3"),
        (("columns",), "load", "columns"),
    ],
)
def test_each_kind_of_damage_is_named(path, value, message):
    """The message says which part of the file is wrong."""
    rng = np.random.default_rng(0)
    terms = [[Linear("load"), Linear("load", basis_functions=(1,))], [], []]
    w = rows_of(rng, 100)
    conditions = learned_conditions(
        COLUMNS, w, channels=CHANNELS, sizes=SIZES, terms=terms, regimes=Regimes("speed", n=3)
    )
    saved = json.loads(json.dumps(conditions.to_dict()))
    part = saved
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(OptionError, match=message):
        Conditions.from_dict(saved, CHANNELS, SIZES)
    with pytest.raises(OptionError, match="the whole"):
        Conditions.from_dict({"columns": []}, CHANNELS, SIZES)


def load_and_site(regimes=None):
    rng = np.random.default_rng(1)
    return learned_conditions(
        COLUMNS, rows_of(rng, 100), channels=("x",), sizes=(2,), terms=[[Linear("load")]], regimes=regimes
    )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, np.nan, "'load' is missing at row 2"),
        (2, np.inf, "'speed' is inf at row 2"),
        (1, 3.0, "'site' has no level 3 at row 2.*'A', 'B', 'C'"),
        (1, 0.5, "'site' has no level 0.5 at row 2"),
        (1, -1.0, "'site' has no level -1 at row 2"),
        (0, 1e308, "row 2 are too far"),
    ],
)
def test_a_row_that_the_model_cannot_use_is_refused_by_name(column, value, message):
    """Covariate and row are named, and nothing is guessed."""
    conditions = load_and_site() if value != 1e308 else load_and_site().with_coefficients([np.ones(1)])
    w = rows_of(np.random.default_rng(2), 5)
    w[2, column] = value
    x = np.zeros((5, 1))
    if value == 1e308:
        w[2, column] = np.finfo(float).max
        conditions = Conditions.from_dict(
            {**conditions.to_dict(), "features": [
                {"name": "load", "kind": "power", "column": 0, "numbers": [0.0, 1.0, 0.0, 3.0]}
            ]}, ("x",), (2,),
        )  # fmt: skip
    with pytest.raises(PredictionError, match=message):
        conditions.adjusted(x, w)
    with pytest.raises(ScorerError, match=message.replace("row 2", "reading 2 of unit 'A7'")):
        conditions.adjusted(x, w, None, lambda row: f"reading {row} of unit 'A7'", ScorerError)
    if value != 1e308:
        with pytest.raises(PredictionError, match=message):
            conditions.check(w)


def test_a_number_of_covariates_that_differs_is_refused():
    """A column too few would shift all that follow."""
    conditions = load_and_site()
    with pytest.raises(PredictionError, match=r"\(n, 4\) was expected, one column for each of 'load', 'site'"):
        conditions.features_at(np.zeros((5, 3)))
    with pytest.raises(PredictionError, match=r"readings have shape \(4, 1\)"):
        conditions.adjusted(np.zeros((4, 1)), rows_of(np.random.default_rng(0), 5))


def test_a_reading_is_given_by_position_or_by_name():
    """`unit.update(t, x, covariates=...)` takes labels, not positions of levels."""
    conditions = load_and_site()
    by_name = {"speed": 50, "site": "B", "mode": True, "load": np.float32(7)}
    assert conditions.row(by_name).tolist() == [7.0, 1.0, 50.0, 1.0]
    assert conditions.row((7, "B", 50.0, np.bool_(True))).tolist() == [7.0, 1.0, 50.0, 1.0]
    one = learned_conditions([Column("load")], np.arange(5.0)[:, None])
    assert one.row(3).tolist() == [3.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, "A", 50), "there are 3 covariates; the model needs 4"),
        ({"load": 1, "site": "A", "speed": 50}, "'mode' is missing"),
        ({"load": 1, "site": "A", "speed": 50, "mode": True, "x": 1}, "no covariate 'x'"),
        ((None, "A", 50, True), "'load' is missing"),
        ((float("nan"), "A", 50, True), "'load' is missing"),
        (("1", "A", 50, True), "'load' is '1'; a finite number"),
        ((1e400, "A", 50, True), "'load' is inf"),
        ((10**400, "A", 50, True), "'load' is 1000"),
        ((1, "Z", 50, True), "'site' is 'Z', a level that no training reading had"),
        ((1, np.zeros(3), 50, True), "'site' is array"),
        ((np.zeros(3), "A", 50, True), "'load' is array"),
        ((1, "A", 50, 1), "'mode' is 1, a level"),
        ("load", "covariates are 'load'"),
        (3, "covariates are 3"),
    ],
)
def test_a_reading_whose_covariates_are_wrong_is_refused(given, message):
    """By name, before anything of a running unit changes."""
    with pytest.raises(ScorerError, match=message):
        load_and_site().row(given)


def test_basis_rows_that_are_missing_are_an_error():
    """Not a read of memory that is not there."""
    w = rows_of(np.random.default_rng(0), 50)
    terms = [[Linear("load", basis_functions="all")]]
    conditions = learned_conditions(COLUMNS, w, channels=("x",), sizes=(2,), terms=terms)
    with pytest.raises(ValueError, match="basis rows were expected"):
        conditions.adjusted(np.zeros((50, 1)), w)
    with pytest.raises(ValueError, match="rows of bases"):
        conditions.packed().adjust(w, 50, None, np.zeros((50, 1)))


def test_kernels_find_the_struct_under_the_name_of_its_layout():
    """A module compiled against another layout is refused, never misread."""
    assert CAPSULE in repr(load_and_site().packed().capsule())


def test_conditions_of_units_alone_have_features_and_no_channels():
    """What membership by unit covariates needs."""
    w = np.array([[0.0], [1.0], [2.0], [1.0]])
    from cem.covariates import Category

    conditions = learned_conditions([Column("site", ("A", "B", "C"), True)], w, unit_terms=[Category("site")])
    assert conditions.features_at(w).tolist() == [[0, 0], [1, 0], [0, 1], [1, 0]]
    assert Conditions.from_dict(json.loads(json.dumps(conditions.to_dict())), (), ()) == conditions
    assert not conditions.maps_readings


def test_a_model_with_conditions_scores_without_scipy():
    """Loading and evaluating need NumPy alone, as on small devices."""
    saved = json.dumps(load_and_site(Regimes("speed", n=3)).to_dict())
    code = (
        "import sys, json, numpy as np; from cem.covariates.conditions import Conditions; "
        f"c = Conditions.from_dict(json.loads({saved!r}), ('x',), (2,)); "
        "c.adjusted(np.zeros((1, 1)), c.row((30, 'A', 50, True))[None]); "
        "print(*{'scipy', 'numpy.ma', 'cem.panel', 'cem.covariates.recognition'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
