"""The exported C header of models with covariates, regimes, fixed columns and membership, against the model in Python.

Models are random: all kinds of features, of regimes and of columns, units with covariates of their own, basis functions
and channels without variance between units. One C program holds them all, and each toolchain compiles it once.
"""

from __future__ import annotations

import contextlib
import subprocess
import warnings
from functools import cache

import numpy as np
import pytest
from c_condition_cases import (
    N_MODES,
    N_READINGS,
    N_UNITS,
    NAMES,
    Case,
    answers,
    cases,
    design_of,
    model_of,
    narrow_conditions,
    random_membership,
    rows_for,
    write_program,
)
from c_toolchains import STRICT, TOOLCHAINS, compiled
from covariate_cases import CHANNELS, COLUMNS, SIZES

import cem
from cem.basis.families import Polynomial
from cem.covariates import Category, Linear, Power, Regimes
from cem.covariates.columns import Column
from cem.covariates.learning import learned_conditions
from cem.covariates.regimes import CENTRES, CUTS, LEVELS
from cem.errors import PredictionError, RegimeWarning
from cem.export.codegen import export_c
from cem.panel.panel import Panel


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The program of all cases."""
    return write_program(tmp_path_factory.mktemp("given"), {c.name: (c.model, c.scalar) for c in cases().values()})


@pytest.fixture(scope="module")
def gcc_program(source):
    return TOOLCHAINS["gcc"](source)


def test_the_cases_have_every_kind_of_regime_of_column_and_of_feature():
    """A kind that no case has would be exported untested."""
    given = [case.model.conditions for case in cases().values() if case.model.conditions is not None]
    assert {None if x.regimes is None else x.regimes.kind for x in given} == {None, CENTRES, CUTS, LEVELS}
    assert {feature.kind for x in given for feature in x.features} == {0, 1, 2}
    for entries in ("common", "by_mode"):
        assert {j >= 0 for x in given for own in getattr(x, entries) for _, j in own} == {False, True}
    models = [case.model for case in cases().values()]
    kinds = {(model.conditions is None, model.of_units is None) for model in models}
    assert kinds == {(False, False), (False, True), (True, False)}
    assert {(bool(model.covariates), bool(model.unit_covariates)) for model in models} == {
        (True, True), (True, False), (False, True),
    }  # fmt: skip
    assert any(not model.internal_parameters.factor(0, c).any() for model in models for c in range(3))


# -------------------------------------------------------------------------------------------------------------- numbers


def conditions_of(case):
    """Rows of the model's conditions for the panel."""
    given = case.model.conditions
    return np.zeros((len(case.panel.times), 0)) if given is None else case.panel.conditions(given.names, given.levels)


def dense_forecast(case, unit, row, channel):
    """Mean and variance of a reading 7 later by the dense normal distribution of the unit's readings up to a row."""
    model, panel, w = case.model, case.panel, conditions_of(case)
    given, own = model.conditions, panel[unit].until(panel.times[row])
    ahead = np.roll(w, -1, axis=0)[row : row + 1].copy()
    if given is not None:
        for j, column in enumerate(given.columns):  # those of the unit stay
            ahead[0, j] = w[row, j] if column.of_unit else ahead[0, j]
    rows = slice(panel.offsets[unit], row + 1)
    times, later = panel.times[rows], np.array([panel.times[row] + 7.0])
    whole, inner, basis_rows = design_of(model, channel, times, w[rows])
    next_whole, next_inner, next_rows = design_of(model, channel, later, ahead)
    values = panel.values[rows] if given is None else given.adjusted(panel.values[rows], w[rows], basis_rows)
    seen = ~np.isnan(values[:, channel])
    scale, centre = model.coordinates.scales[channel], model.coordinates.centre(channel)
    x, inner = (values[seen, channel] - whole[seen] @ centre) / scale, inner[seen]
    shares, means, variances = model.predict_proba(own)[0], [], []
    for k in range(N_MODES):
        mean, factor = model.internal_parameters.mean(k, channel), model.internal_parameters.factor(k, channel)
        noise = model.internal_parameters.noise_variances[k, channel]
        half, next_half = inner @ factor, next_inner @ factor
        gain = np.linalg.solve(half @ half.T + noise * np.eye(len(x)), half @ next_half.T).T
        means.append((next_inner @ mean + gain @ (x - inner @ mean)).item())
        variances.append((next_half @ next_half.T - gain @ half @ next_half.T).item() + noise)
    average = shares @ means
    spread = shares @ (np.array(variances) + (np.array(means) - average) ** 2)
    found, scale = (next_whole @ centre).item() + scale * average, np.array(scale)
    if given is not None:
        row_of = np.zeros((1, 3))
        row_of[0, channel] = found
        found = given.restored(row_of, ahead, next_rows)[0, channel]
        if given.regimes is not None:
            scale = scale * given.scales[given.regimes_at(ahead)[0], channel]
    return found, scale**2 * spread


@cache
def expected(name):
    """Python's answers after some readings: (row, shares, log-likelihood, mean and variance of a channel ahead)."""
    case = cases()[name]
    found = []
    for unit in range(N_UNITS):
        for age in (1, 2, 7, N_READINGS - 1, N_READINGS):
            row = unit * N_READINGS + age - 1
            own = case.panel[unit].until(case.panel.times[row])
            ahead = dense_forecast(case, unit, row, row % 3)
            found.append((row, case.model.predict_proba(own)[0], case.model.score_samples(own)[0], *ahead))
    return found


@pytest.mark.parametrize("toolchain", ["gcc", *(pytest.param(x, marks=pytest.mark.slow) for x in [*TOOLCHAINS][1:])])
@pytest.mark.parametrize("name", NAMES)
def test_the_header_scores_as_the_model_does(source, toolchain, name):
    """A controller would rank the modes differently from the model that was validated, or forecast another load."""
    case = cases()[name]
    got = answers(TOOLCHAINS[toolchain](source), name, rows_for(case))
    assert not got.status.any() and not got.forecast_status.any()
    for row, shares, total, mean, variance in expected(name):
        size = max(1.0, abs(total))
        tolerance = 1e-12 * size if case.scalar == "double" else 1e-4
        assert abs(got.log_likelihood[row] - total) <= (1e-12 if case.scalar == "double" else 1e-4) * size
        np.testing.assert_allclose(got.probabilities[row], shares, rtol=0, atol=tolerance)
        deviation = np.sqrt(variance)
        assert abs(got.mean[row] - mean) <= 10 * tolerance * deviation + 4 * np.spacing(abs(mean) + 1e4)
        assert got.variance[row] == pytest.approx(variance, rel=10 * tolerance)


def test_the_readings_leave_the_mode_open_for_a_while():
    """Probabilities of 0 and 1 always agree: the comparison above would be uninformative."""
    for name in NAMES:
        assert min(shares.max() for _, shares, *_ in expected(name)) < 0.95, name


def test_a_fit_with_covariates_is_scored_as_in_python(tmp_path):
    """What `fit` makes of options, the cases of this file being made by hand."""
    fleet = cem.datasets.load_compressor_fleet()[:40].select_channels(["vibration", "power", "flow"])
    em = cem.FailureModeEM(
        N_MODES, basis=Polynomial(2, random_degree=1), covariance="pooled", noise="pooled", n_init=1, random_state=0,
        covariates={"vibration": Power("speed", 2), "power": [Linear("valve", by_mode=True), Category("site")]},
        regimes=Regimes(["speed", "valve"], n=3), membership=["site"], random_columns={"flow": "none"},
    )  # fmt: skip
    model = em.fit(fleet).model_
    program = TOOLCHAINS["gcc"](write_program(tmp_path, {"fitted": (model, "double")}))
    sites = fleet.covariate("site")
    u = np.array([[model.of_units.columns[0].levels.index(site)] for site in sites], dtype=float)
    w = np.column_stack([fleet.covariate(name) for name in model.covariates])
    got = answers(program, "fitted", rows_for(Case("fitted", "double", model, fleet, w, u)))
    last = fleet.offsets[1:] - 1
    assert not got.status.any() and not got.forecast_status.any()
    np.testing.assert_allclose(got.probabilities[last], model.predict_proba(fleet), rtol=0, atol=1e-9)
    np.testing.assert_allclose(got.log_likelihood[last], model.score_samples(fleet), rtol=1e-12, atol=1e-10)


REGIMES = [
    Regimes(["load", "speed"], n=4), Regimes(["load", "speed"], n=4, unknown="nearest"), Regimes("load", n=2),
    Regimes("load", cuts=[10.0, 20.0, 30.0, 60.0, 70.0]),
    Regimes("load", cuts=[10.0, 20.0, 30.0, 60.0, 70.0], unknown="nearest"), Regimes("site"),
]  # fmt: skip


@pytest.mark.parametrize("regimes", REGIMES, ids=repr)
def test_a_reading_between_or_beyond_regimes_gets_the_regime_that_python_gives_it(tmp_path, regimes):
    """A load between two regimes would be scored in another one, or one far from all of them be scored at all."""
    rng = np.random.default_rng(2)
    centres = np.array([(15.0, 100.0), (25.0, 100.0), (65.0, 100.0), (65.0, 400.0)])
    train = np.column_stack([centres[rng.integers(0, 4, 400)] + rng.normal(0, 0.5, (400, 2)), rng.integers(0, 2, 400)])
    columns = (Column("load"), Column("speed"), Column("site", ("A", "B", "C")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RegimeWarning)
        given = learned_conditions(columns, train, channels=CHANNELS, sizes=SIZES, regimes=regimes)
    export_c(model_of(rng, given), tmp_path / "fleet.h")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "fleet.h"\nint main(void)\n{\n    double row[3];\n'
        "    while (fread(row, sizeof row, 1, stdin) == 1) { double g = fleet_regime_(row);"
        " fwrite(&g, sizeof g, 1, stdout); }\n    return 0;\n}\n"
    )
    w = np.column_stack([rng.uniform(-60, 200, 3000), rng.uniform(-500, 1000, 3000), rng.integers(0, 3, 3000)])
    w[:1500, :2] = centres[rng.integers(0, 4, 1500)] + rng.normal(0, 6.0, (1500, 2))
    program = TOOLCHAINS["gcc-sanitizers"](tmp_path / "main.c")
    run = subprocess.run(program, input=w.tobytes(), capture_output=True, check=True)
    found, expected = np.frombuffer(run.stdout), np.full(len(w), -1.0)
    for i in range(len(w)):
        with contextlib.suppress(PredictionError):
            expected[i] = given.regimes_at(w[i : i + 1])[0]
    np.testing.assert_array_equal(found, expected)
    known = {regime for regime, n in enumerate(given.regimes.counts) if n}
    assert set(found) == known | (set() if regimes.unknown == "nearest" else {-1.0})


# ---------------------------------------------------------------------------------------------------- what is refused


def careful_model():
    """Two covariates of readings and one of units; loads from 20 to 30 have no regime, and a power of the load."""
    rng = np.random.default_rng(4)
    w = np.column_stack(
        [rng.choice([5.0, 10.0, 40.0, 45.0, 50.0], 400), rng.integers(0, 3, 400), rng.integers(0, 2, 400)]
    )
    columns = (COLUMNS[0], COLUMNS[1], COLUMNS[3])
    terms = [Power("load", 4, by_mode=True), Category("site"), Category("mode")]
    conditions = learned_conditions(
        columns, w, channels=CHANNELS, sizes=SIZES, terms=[terms] * 3, regimes=Regimes("load", cuts=[20.0, 30.0])
    )
    return model_of(rng, conditions, *random_membership(rng))


def case_of_careful(model, n=9):
    """One unit under sound covariates."""
    rng = np.random.default_rng(5)
    w = np.column_stack([rng.choice([5.0, 10.0, 40.0], n), rng.integers(0, 2, n)])
    values = rng.normal([9062.0, 3.0, -40.0], 1.0, (n, 3))
    panel = Panel(["u"], [0, n], np.arange(1.0, n + 1), values, CHANNELS)
    u = np.array([[1.0, 7.0][: len(model.unit_covariates)]])
    return Case("careful", "double", model, panel, w, u)


def test_a_wrong_covariate_has_a_status_and_leaves_the_unit_alone(tmp_path):
    """One broken telegram would poison a unit for the rest of its life, or be scored under another condition."""
    model = careful_model()
    assert model.covariates == ("load", "mode") and model.unit_covariates[0] == "site"
    program = TOOLCHAINS["gcc-sanitizers"](write_program(tmp_path, {"careful": (model, "double")}))
    case = case_of_careful(model)
    sound = rows_for(case)
    load, mode, load_ahead = 5, 6, 7 + len(model.unit_covariates)
    wrong = [
        (load, np.nan, 5), (load, np.inf, 5), (mode, 2.0, 6), (mode, 0.5, 6), (mode, -1.0, 6), (mode, 1e300, 6),
        (load, 25.0, 7), (load, 1e99, 8), (1, np.nan, 1), (2, np.inf, 2),
    ]  # fmt: skip
    for column, value, status in wrong:
        rows = sound.copy()
        rows[4, column] = value
        got = answers(program, "careful", rows)
        np.testing.assert_array_equal(got.status, [0, 0, 0, 0, status, 0, 0, 0, 0], str((column, value)))
        assert not got.changed[4] and got.changed[[0, 1, 2, 3, 5, 6, 7, 8]].all()
        assert got.log_likelihood[4] == got.log_likelihood[3]
        without = answers(program, "careful", np.delete(sound, 4, axis=0))
        assert got.log_likelihood[-1] == without.log_likelihood[-1]
    for value, status in [(np.nan, 5), (25.0, 7), (1e99, 8)]:
        rows = sound.copy()
        rows[4, load_ahead] = value
        got = answers(program, "careful", rows)
        np.testing.assert_array_equal(got.forecast_status, [0, 0, 0, 0, status, 0, 0, 0, 0])
        assert got.mean[4] == got.variance[4] == -1.0 and not got.status.any()


def test_a_load_whose_powers_a_float_cannot_square_is_refused(tmp_path):
    """Infinity would enter the state, and NaN every score after it."""
    model = careful_model()
    program = TOOLCHAINS["gcc-sanitizers"](write_program(tmp_path, {"careful": (model, "float")}))
    rows = rows_for(case_of_careful(model))
    rows[4, 5] = 1e4
    got = answers(program, "careful", rows)
    np.testing.assert_array_equal(got.status, [0, 0, 0, 0, 3, 0, 0, 0, 0])
    assert not got.changed[4] and np.isfinite(got.log_likelihood).all()


def test_a_wrong_covariate_of_a_unit_has_a_status_and_leaves_the_unit_alone(tmp_path):
    """A machine of an unknown site would be scored as if it were of another one."""
    model = careful_model()
    program = TOOLCHAINS["gcc-sanitizers"](write_program(tmp_path, {"careful": (model, "double")}))
    sound = rows_for(case_of_careful(model))
    for value, status in [(np.nan, 5), (-np.inf, 5), (3.0, 6), (1.5, 6)]:
        rows = sound.copy()
        rows[4, 0], rows[4, 7] = 1.0, value  # a new unit that cannot be made: the old one stays
        got = answers(program, "careful", rows)
        np.testing.assert_array_equal(got.status, [0, 0, 0, 0, status, 0, 0, 0, 0])
        assert not got.changed[4] and got.log_likelihood[4] == got.log_likelihood[3]


def test_an_experts_weights_are_the_mode_probabilities_before_all_readings(tmp_path):
    """An inspection would be ignored, or be counted besides the fleet's shares."""
    case = cases()["d0"]
    program = TOOLCHAINS["gcc"](write_program(tmp_path, {"d0": (case.model, "double")}))
    got = answers(program, "d0", rows_for(case, restart=2.0))
    told = case.panel.with_mode_probabilities([[0.25, 0.0, 0.75]] * N_UNITS, case.model.mode_labels)
    last = case.panel.offsets[1:] - 1
    assert not got.status.any()
    np.testing.assert_allclose(got.probabilities[last], case.model.predict_proba(told), rtol=0, atol=1e-10)
    np.testing.assert_allclose(got.log_likelihood[last], case.model.score_samples(told), rtol=1e-12)


def test_weights_that_are_no_probabilities_are_refused(tmp_path):
    """A percentage would be taken for a probability, and NaN spoil every score."""
    export_c(cases()["f0"].model, tmp_path / "fleet.h", scalar="float")
    (tmp_path / "main.c").write_text(
        '#include "fleet.h"\nstatic int refused(fleet_unit *u, fleet_scalar a, fleet_scalar b, fleet_scalar c)\n'
        "{\n    const fleet_scalar p[3] = { a, b, c };\n    fleet_unit before = *u;\n"
        "    return fleet_init_weights(u, p) == FLEET_BAD_WEIGHTS && memcmp(&before, u, sizeof before) == 0;\n}\n"
        "int main(void)\n{\n    fleet_unit u;\n    const fleet_scalar p[3] = { 0.7f, 0.2f, 0.1f };\n"
        "    memset(&u, 0, sizeof u);\n"
        "    return !(refused(&u, 70, 20, 10) && refused(&u, -0.5f, 1, 0.5f) && refused(&u, NAN, 0.5f, 0.5f)\n"
        "             && refused(&u, 0, 0, 0) && refused(&u, HUGE_VALF, 0, 0)\n"
        "             && fleet_init_weights(&u, p) == FLEET_OK);\n}\n"
    )
    assert subprocess.run(TOOLCHAINS["gcc-sanitizers"](tmp_path / "main.c")).returncode == 0


@pytest.mark.parametrize("call", ["update(&unit, 1.0, x)", "forecast(&unit, 1.0, 0, &m, &v)", "init(&unit)"])
def test_the_functions_without_covariates_do_not_exist_where_the_model_needs_them(tmp_path, call):
    """A program written for a model without covariates would go on to score under none."""
    export_c(careful_model(), tmp_path / "fleet.h")
    (tmp_path / "main.c").write_text(
        '#include "fleet.h"\nint main(void)\n{\n    fleet_unit unit;\n    fleet_scalar x[FLEET_N_CHANNELS];\n'
        f"    double m, v;\n    fleet_{call};\n}}\n"
    )
    command = ["gcc", "-std=c99", "-Werror=implicit-function-declaration", "-fsyntax-only", "main.c"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and f"fleet_{call.split('(')[0]}" in run.stderr and "implicit" in run.stderr


# ------------------------------------------------------------------------------------------------------------- names


def test_covariates_and_levels_become_distinct_identifiers(tmp_path):
    """Names that differ in case, that statuses, channels or modes have, or that end a comment, must compile."""
    columns = (
        Column("bad", ("channel", "level", "time", "TIME")), Column("n", (-1, 0, 1)),
        Column("channel", ("T24", "*/ int y; /*")), Column("Site B", ("c", "é", "")), Column("site", ("b c", "b C")),
        Column("mode", (False, True), of_unit=True), Column("cem", ("h",)), Column("*/ #error A /*"),
        Column("covariate", ("n", "bad")), Column("unit", ("covariate mode",)),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    w = np.column_stack([rng.integers(0, len(column.levels or (1, 2)), 400) for column in columns])
    terms = [Category("site"), Category("mode"), Linear("*/ #error A /*")]
    conditions = learned_conditions(columns, w, channels=CHANNELS, sizes=SIZES, terms=[terms] * 3)
    text = export_c(model_of(rng, conditions), tmp_path / "fleet.h")
    assert text.isascii()
    wanted = {
        "BAD_CHANNEL_2": 0, "BAD_LEVEL_2": 1, "BAD_TIME_2": 2, "BAD_TIME_3": 3, "N_MINUS_1": 0, "CHANNEL_T24_2": 0,
        "SITE_B_C": 0, "SITE_B_NONE": 1, "SITE_B_NONE_2": 2, "SITE_B_C_2": 0, "SITE_B_C_3": 1, "MODE_FALSE": 0,
        "MODE_TRUE": 1, "CEM_H_2": 0, "COVARIATE_SITE_B": 3, "COVARIATE_SITE": 4, "COVARIATE_N_2": 0,
        "COVARIATE_BAD_2": 1, "UNIT_COVARIATE_MODE": 0, "UNIT_COVARIATE_MODE_2": 0, "N_COVARIATES": 9,
        "N_UNIT_COVARIATES": 1,
    }  # fmt: skip
    checks = " || ".join(f"FLEET_{name} != {value}" for name, value in wanted.items())
    (tmp_path / "main.c").write_text(
        f'#include "fleet.h"\nint main(void)\n{{\n    return {checks}\n'
        '        || strcmp(fleet_covariate_name(3), "Site B") || strcmp(fleet_unit_covariate_name(0), "mode")'
        " || fleet_covariate_name(9)[0];\n}\n"
    )
    for extra in ([], ["-trigraphs"]):
        program = compiled(tmp_path / "main.c", f"names{len(extra)}", ["gcc", "-std=c99", *STRICT, *extra])
        assert subprocess.run(program).returncode == 0


def test_levels_that_readings_and_membership_number_differently_are_refused():
    """One number would mean two sites."""
    rng = np.random.default_rng(1)
    conditions = narrow_conditions(rng, 3)
    column = Column("site", ("B", "A", "C"), of_unit=True)
    of_units = learned_conditions([column], rng.integers(0, 3, (60, 1)), unit_terms=[Category("site")])
    model = model_of(rng, conditions, of_units, rng.normal(size=(N_MODES, 3)))
    with pytest.raises(PredictionError, match="covariate 'site' has levels"):
        export_c(model)


def test_a_membership_of_no_covariates_is_that_of_the_fleet():
    """The header would name a table that it does not have."""
    rng = np.random.default_rng(3)
    nothing = learned_conditions([], np.zeros((60, 0)), unit_terms=[])
    assert export_c(model_of(rng, None, nothing)) == export_c(model_of(np.random.default_rng(3), None))
