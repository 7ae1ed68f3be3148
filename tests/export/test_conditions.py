"""The exported C header of models with covariates, regimes, fixed columns and membership, against the model in Python.

Models are random: all kinds of features, of regimes and of columns, units with covariates of their own, basis functions
and channels without variance between units. One C program holds them all, and each toolchain compiles it once.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from c_toolchains import STRICT, TOOLCHAINS, compiled
from covariate_cases import CHANNELS, COLUMNS, SIZES, random_conditions, rows_of

from cem.basis.families import Constant, Polynomial
from cem.covariates import Category, Linear, Power, Regimes, Spline
from cem.covariates.columns import Column
from cem.covariates.learning import learned_conditions
from cem.covariates.regimes import CENTRES, CUTS, LEVELS
from cem.errors import PredictionError
from cem.export.codegen import export_c
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel
from cem.statistics.coordinates import Coordinates, Layout

DOMAIN = np.linspace(0.0, 100.0, 201)
N_MODES, N_UNITS, N_READINGS = 3, 6, 25
UNIT_COLUMNS = (Column("age", of_unit=True), Column("site", ("A", "B", "C"), of_unit=True))


# ---------------------------------------------------------------------------------------------------------- the models


def random_membership(rng):
    """Features of units' covariates and γ."""
    w = np.column_stack([rng.gamma(3.0, 2.0, 60), rng.integers(0, 3, 60)])
    terms = [Power("age", 2), Category("site")] if rng.uniform() < 0.5 else [Spline("age", 4)]
    chosen = UNIT_COLUMNS if len(terms) == 2 else UNIT_COLUMNS[:1]
    learned = learned_conditions(chosen, w[:, : len(chosen)], unit_terms=terms)
    gamma = rng.normal(0, 1, (N_MODES, 1 + len(learned.features)))
    return learned, gamma - gamma.mean(axis=0)


def narrow_conditions(rng, seed):
    """Conditions of few columns: a regime alone, a covariate alone, one of units alone."""
    w = rows_of(rng, 400)
    column, terms, regimes = {
        1: (0, [], Regimes("load", cuts=[20.0, 60.0])),
        3: (1, [Category("site", by_mode=True)], None),
        5: (0, [Linear("load", basis_functions=(0,)), Spline("load", 4, by_mode=True)], None),
        7: (2, [], Regimes("speed", n=3, unknown="nearest")),
        8: (2, [], Regimes("speed", cuts=[20.0, 25.0, 35.0, 70.0], unknown="nearest")),
    }[seed]
    w[:, 2] = np.where((w[:, 2] > 20.0) & (w[:, 2] < 35.0), 10.0, w[:, 2])  # two regimes without readings
    learned = learned_conditions(
        COLUMNS[column : column + 1], w[:, column : column + 1], channels=CHANNELS, sizes=SIZES, terms=[terms] * 3,
        regimes=regimes,
    )  # fmt: skip
    if learned.regimes is not None:
        shape = learned.offsets.shape
        learned = learned.with_maps(rng.normal(0, 3, shape), np.exp(rng.normal(0, 1, shape)))
    return learned.with_coefficients([rng.normal(size=len(entries)) for entries in learned.common])


def model_of(rng, conditions, of_units=None, gamma=None):
    """A model with these conditions, at random parameters; some functions and one channel do not vary between units."""
    bases = (Polynomial(2).bind(DOMAIN), Constant().bind(DOMAIN), Polynomial(3).bind(DOMAIN))
    by_mode = [()] * 3 if conditions is None else conditions.by_mode
    sizes = tuple(basis.size + len(own) for basis, own in zip(bases, by_mode, strict=True))
    layout = Layout(sizes)
    centres, transforms = np.zeros(int(layout.mean_offsets[-1])), np.zeros(int(layout.factor_offsets[-1]))
    means, factors = np.zeros((N_MODES, len(centres))), np.zeros((N_MODES, len(transforms)))
    still = rng.integers(0, 4)  # this channel has no random column; 3: all have
    for c, p in enumerate(sizes):
        layout.vector(centres, c)[:] = rng.normal(0, 0.5, p)
        layout.vector(centres, c)[0] += (9062.0, 3.0, -40.0)[c]
        layout.matrix(transforms, c)[:] = np.triu(rng.normal(0, 0.2, (p, p)), 1) + np.diag(rng.uniform(0.5, 2.0, p))
        n_random = 0 if c == still else bases[c].size - int(rng.integers(0, bases[c].size))
        shared = rng.normal(size=p)
        for k in range(N_MODES):
            layout.vector(means[k], c)[:] = shared + 0.2 * rng.normal(size=p)
            root = np.zeros((p, p))
            root[:, :n_random] = np.tril(rng.normal(0, 0.2, (p, n_random))) + 0.3 * np.eye(p, n_random)
            layout.matrix(factors[k], c)[:] = root
    parameters = Parameters(
        rng.dirichlet(np.full(N_MODES, 5.0)),
        means,
        factors,
        rng.uniform(0.5, 0.9, (N_MODES, 3)),
        sizes,
        membership=gamma,
    )
    return FailureModeModel(
        parameters=parameters, coordinates=Coordinates(centres, rng.uniform(0.5, 3.0, 3), transforms, sizes), bases=bases,
        channels=CHANNELS, mode_labels=("wear", 7, "crack"), conditions=conditions, of_units=of_units,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model in the test program, and the readings it is given."""

    name: str
    scalar: str
    model: FailureModeModel
    panel: Panel
    w: np.ndarray
    """Covariates of the readings as C takes them, (N, number of covariates)."""
    u: np.ndarray
    """Covariates of the units as C takes them, (L, number of unit covariates)."""


def case_of(name, seed, scalar):
    rng = np.random.default_rng(seed)
    conditions = None
    if seed in (1, 3, 5, 7, 8):
        conditions = narrow_conditions(rng, seed)
    elif seed != 6:  # that one has only membership
        conditions, _ = random_conditions(rng, Regimes(["load", "speed"], n=3) if seed == 2 else "random")
    of_units, gamma = random_membership(rng) if seed in (0, 2, 3, 6, 9) else (None, None)
    model = model_of(rng, conditions, of_units, gamma)

    n = N_UNITS * N_READINGS
    unit_of = np.repeat(np.arange(N_UNITS), N_READINGS)
    drawn = rows_of(rng, n)
    age, site = rng.gamma(3.0, 2.0, N_UNITS), rng.integers(0, 3, N_UNITS)
    drawn[:, 1] = site[unit_of]
    if conditions is not None and conditions.regimes is not None and conditions.regimes.kind == CENTRES:
        # Farther out there is no regime.
        for j, column in enumerate(COLUMNS):
            for known in conditions.columns:
                if known.name == column.name and known.levels is None:
                    drawn[:, j] = np.clip(drawn[:, j], known.low, known.high)
    if scalar == "float":
        drawn, age = drawn.astype(np.float32).astype(np.float64), age.astype(np.float32).astype(np.float64)
    times = np.sort(rng.uniform(-5.0, 110.0, (N_UNITS, N_READINGS)), axis=1).ravel()
    places = (
        [] if conditions is None else [COLUMNS.index(Column(x.name, x.levels, x.of_unit)) for x in conditions.columns]
    )
    values = drawn_values(rng, model, times, drawn[:, places])
    blank = rng.random(values.shape) < 0.2
    blank[blank.all(axis=1), 0] = False  # a panel would drop that row
    values[blank] = np.nan
    if scalar == "float":
        values = values.astype(np.float32).astype(np.float64)
    columns = {"load": drawn[:, 0], "speed": drawn[:, 2], "mode": drawn[:, 3].astype(bool)}
    panel = Panel(
        [f"unit {i}" for i in range(N_UNITS)], np.arange(N_UNITS + 1) * N_READINGS, times, values, CHANNELS,
        covariates={key: column for key, column in columns.items() if key in model.covariates},
        unit_covariates={
            key: column for key, column in {"site": np.array(["A", "B", "C"])[site], "age": age}.items()
            if key in model.unit_covariates
        },
    )  # fmt: skip
    numbers = {"load": drawn[:, 0], "speed": drawn[:, 2], "mode": drawn[:, 3], "site": site, "age": age}
    w = np.array([numbers[name] for name in model.covariates]).reshape(-1, n).T
    u = np.array([numbers[name] for name in model.unit_covariates], dtype=float).reshape(-1, N_UNITS).T
    return Case(name, scalar, model, panel, w, u)


def design_of(model, c, times, w):
    """Rows of a channel's design in internal coordinates, and the basis rows of all channels."""
    rows = [basis(times) for basis in model.bases]
    whole = rows[c]
    if model.conditions is not None and model.conditions.by_mode[c]:
        whole = np.concatenate([whole, model.conditions.design(w, rows, c)], axis=1)
    return whole, np.linalg.solve(model.coordinates.transform(c).T, whole.T).T, rows


def drawn_values(rng, model, times, w):
    """Readings about the curves of the modes, one mode after another, in channels' units."""
    values = np.empty((len(times), 3))
    for c in range(3):
        whole, inner, rows = design_of(model, c, times, w)
        mean = model.internal_parameters.mean(int(rng.integers(N_MODES)), c)
        noise = 0.8 * rng.normal(size=len(times))
        values[:, c] = whole @ model.coordinates.centre(c) + model.coordinates.scales[c] * (inner @ mean + noise)
    return values if model.conditions is None else model.conditions.restored(values, w, rows)


@cache
def cases():
    doubles = [case_of(f"d{seed}", seed, "double") for seed in range(14)]
    return {case.name: case for case in (*doubles, *(case_of(f"f{seed}", seed, "float") for seed in (0, 1, 2, 3, 4)))}


NAMES = [*(f"d{seed}" for seed in range(14)), *(f"f{seed}" for seed in range(5))]


def test_the_cases_have_every_kind_of_regime_of_column_and_of_feature():
    """A kind that no case has would be exported untested."""
    given = [case.model.conditions for case in cases().values() if case.model.conditions is not None]
    assert {None if x.regimes is None else x.regimes.kind for x in given} == {None, CENTRES, CUTS, LEVELS}
    assert {feature.kind for x in given for feature in x.features} == {0, 1, 2}
    for entries in ("common", "by_mode"):
        assert {j >= 0 for x in given for own in getattr(x, entries) for _, j in own} >= {False}
    assert any(j >= 0 for x in given for own in x.common for _, j in own)
    models = [case.model for case in cases().values()]
    kinds = {(model.conditions is None, model.of_units is None) for model in models}
    assert kinds == {(False, False), (False, True), (True, False)}
    assert {(bool(model.covariates), bool(model.unit_covariates)) for model in models} == {
        (True, True), (True, False), (False, True),
    }  # fmt: skip
    assert any(not model.internal_parameters.factor(0, c).any() for model in models for c in range(3))


# ------------------------------------------------------------------------------------------------- the program in C

RUN = """
#include "@.h"
/* Rows in: restart, t, x, w, u, w of the forecast.
 * Rows out: status, changed, probabilities, log-likelihood, status of the forecast, mean, variance. */
static int run_@(void)
{
    @_unit unit, before;
    double in[2 + %_N_CHANNELS + 2 * %_N_COVARIATES + %_N_UNIT_COVARIATES], out[6 + %_N_MODES];
    @_scalar x[%_N_CHANNELS], probabilities[%_N_MODES], w[%_N_COVARIATES + 1], u[%_N_UNIT_COVARIATES + 1];
    int i, channel = 0;
    memset(&unit, 0, sizeof unit);
    while (fread(in, sizeof in, 1, stdin) == 1) {
        const double *given = in + 2 + %_N_CHANNELS;
        for (i = 0; i < %_N_UNIT_COVARIATES; ++i) {
            u[i] = (@_scalar)given[%_N_COVARIATES + i];
        }
        for (i = 0; i < %_N_COVARIATES; ++i) {
            w[i] = (@_scalar)given[i];
        }
        u[%_N_UNIT_COVARIATES] = 0;
        w[%_N_COVARIATES] = 0;
        for (i = 0; i < %_N_CHANNELS; ++i) {
            x[i] = (@_scalar)in[2 + i];
        }
        out[0] = 0.0;
        memcpy(&before, &unit, sizeof unit);
        if (in[0] != 0.0) {
            INIT
            if (in[0] == 2.0) {
                const @_scalar weights[%_N_MODES] = { (@_scalar)0.25, (@_scalar)0.0, (@_scalar)0.75 };
                out[0] = @_init_weights(&unit, weights);
            }
        }
        if (out[0] == 0.0) {
            memcpy(&before, &unit, sizeof unit);
            out[0] = UPDATE;
        }
        out[1] = memcmp(&before, &unit, sizeof unit) != 0;
        @_probabilities(&unit, probabilities);
        for (i = 0; i < %_N_MODES; ++i) {
            out[2 + i] = (double)probabilities[i];
        }
        out[2 + %_N_MODES] = @_log_likelihood(&unit);
        out[4 + %_N_MODES] = out[5 + %_N_MODES] = -1.0;
        for (i = 0; i < %_N_COVARIATES; ++i) {
            w[i] = (@_scalar)given[%_N_COVARIATES + %_N_UNIT_COVARIATES + i];
        }
        out[3 + %_N_MODES] = FORECAST channel, out + 4 + %_N_MODES, out + 5 + %_N_MODES);
        channel = (channel + 1) % %_N_CHANNELS;
        fwrite(out, sizeof out, 1, stdout);
    }
    (void)w;
    (void)u;
    return 0;
}
"""


def run_function(name, model):
    """The C function that drives a header."""
    at = "_at(&unit, in[1], x, w)" if model.covariates else "(&unit, in[1], x)"
    ahead = "_at(&unit, in[1] + 7.0, w," if model.covariates else "(&unit, in[1] + 7.0,"
    words = {
        "INIT": "out[0] = @_init_at(&unit, u);" if model.unit_covariates else "@_init(&unit);",
        "UPDATE": f"@_update{at}",
        "FORECAST": f"@_forecast{ahead}",
    }
    text = RUN
    for word, replacement in words.items():
        text = text.replace(word, replacement)
    return text.replace("channel + 1) % %_", "channel + 1) ?? %_").replace("%_", f"{name.upper()}_").replace(
        "@", name
    ).replace("??", "%")  # fmt: skip


def write_program(folder, models):
    """The program's source beside the headers; models by name, with their scalars."""
    pieces = ["#include <stdio.h>\n"]
    for name, (model, scalar) in models.items():
        export_c(model, folder / f"{name}.h", name=name, scalar=scalar)
        pieces.append(run_function(name, model))
    choices = "\n".join(f'    if (strcmp(argv[1], "{name}") == 0) {{ return run_{name}(); }}' for name in models)
    main = f"int main(int argc, char **argv)\n{{\n    if (argc != 2) {{ return 2; }}\n{choices}\n    return 3;\n}}\n"
    (folder / "main.c").write_text("".join([*pieces, main]))
    return folder / "main.c"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The program of all cases."""
    return write_program(tmp_path_factory.mktemp("given"), {c.name: (c.model, c.scalar) for c in cases().values()})


@pytest.fixture(scope="module")
def gcc_program(source):
    return TOOLCHAINS["gcc"](source)


def rows_for(case, restart=1.0):
    """What the program reads: each row's forecast is under the covariates of the row after it."""
    panel = case.panel
    n_readings = np.diff(panel.offsets)
    first = np.where(np.isin(np.arange(len(panel.times)), panel.offsets[:-1]), restart, 0.0)
    later = np.roll(case.w, -1, axis=0)
    return np.column_stack([first, panel.times, panel.values, case.w, np.repeat(case.u, n_readings, axis=0), later])


def answers(program, name, rows):
    """Columns of the program's answers to the rows."""
    run = subprocess.run([*program, name], input=np.ascontiguousarray(rows).tobytes(), capture_output=True)
    assert run.returncode == 0, run.stderr.decode()[:4000]
    table = np.frombuffer(run.stdout).reshape(len(rows), 6 + N_MODES)
    return SimpleNamespace(
        status=table[:, 0].astype(int),
        changed=table[:, 1].astype(bool),
        probabilities=table[:, 2 : 2 + N_MODES],
        log_likelihood=table[:, 2 + N_MODES],
        forecast_status=table[:, 3 + N_MODES].astype(int),
        mean=table[:, 4 + N_MODES],
        variance=table[:, 5 + N_MODES],
    )


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
        (load, np.nan, 5), (load, np.inf, 5), (mode, 2.0, 6), (mode, 0.5, 6), (mode, -1.0, 6), (load, 25.0, 7), (load, 1e99, 8),
        (1, np.nan, 1), (2, np.inf, 2), (mode, 1e300, 6),
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
        "             && refused(&u, 0, 0, 0) && refused(&u, HUGE_VALF, 0, 0) && fleet_init_weights(&u, p) == FLEET_OK);\n}\n"
    )
    assert subprocess.run(TOOLCHAINS["gcc-sanitizers"](tmp_path / "main.c")).returncode == 0


@pytest.mark.parametrize(
    "call", ["fleet_update(&unit, 1.0, x)", "fleet_forecast(&unit, 1.0, 0, &m, &v)", "fleet_init(&unit)"]
)
def test_the_functions_without_covariates_do_not_exist_where_the_model_needs_them(tmp_path, call):
    """A program written for a model without covariates would go on to score under none."""
    export_c(careful_model(), tmp_path / "fleet.h")
    (tmp_path / "main.c").write_text(
        f'#include "fleet.h"\nint main(void)\n{{\n    fleet_unit unit;\n    fleet_scalar x[FLEET_N_CHANNELS];\n    double m, v;\n    {call};\n}}\n'
    )
    command = ["gcc", "-std=c99", "-Werror=implicit-function-declaration", "-fsyntax-only", "main.c"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and f"implicit declaration of function ‘{call.split('(')[0]}’" in run.stderr


# ------------------------------------------------------------------------------------------------------------- names


def test_covariates_and_levels_become_distinct_identifiers(tmp_path):
    """Names that differ in case, that statuses, channels or modes have, or that end a comment, must compile."""
    columns = (
        Column("bad", ("channel", "level", "time", "TIME")), Column("n", (-1, 0, 1)), Column("channel", ("T24", "*/ int y; /*")),
        Column("Site B", ("c", "é", "")), Column("site", ("b c", "b C")), Column("mode", (False, True), of_unit=True),
        Column("cem", ("h",)), Column("*/ #error A /*"), Column("covariate", ("n", "bad")), Column("unit", ("covariate mode",)),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    w = np.column_stack([rng.integers(0, len(column.levels or (1, 2)), 400) for column in columns])
    terms = [Category("site"), Category("mode"), Linear("*/ #error A /*")]
    conditions = learned_conditions(columns, w, channels=CHANNELS, sizes=SIZES, terms=[terms] * 3)
    text = export_c(model_of(rng, conditions), tmp_path / "fleet.h")
    assert text.isascii()
    wanted = {
        "FLEET_BAD_CHANNEL_2": 0, "FLEET_BAD_LEVEL_2": 1, "FLEET_BAD_TIME_2": 2, "FLEET_BAD_TIME_3": 3, "FLEET_N_MINUS_1": 0,
        "FLEET_CHANNEL_T24_2": 0, "FLEET_SITE_B_C": 0, "FLEET_SITE_B_NONE": 1, "FLEET_SITE_B_C_2": 0, "FLEET_SITE_B_C_3": 1,
        "FLEET_MODE_FALSE": 0, "FLEET_MODE_TRUE": 1, "FLEET_CEM_H_2": 0, "FLEET_COVARIATE_SITE_B": 3, "FLEET_COVARIATE_SITE": 4,
        "FLEET_COVARIATE_N_2": 0, "FLEET_COVARIATE_BAD_2": 1, "FLEET_UNIT_COVARIATE_MODE": 0, "FLEET_UNIT_COVARIATE_MODE_2": 0,
        "FLEET_N_COVARIATES": 9, "FLEET_N_UNIT_COVARIATES": 1,
    }  # fmt: skip
    checks = " || ".join(f"{name} != {value}" for name, value in wanted.items())
    (tmp_path / "main.c").write_text(
        f'#include "fleet.h"\nint main(void)\n{{\n    return {checks}\n        || strcmp(fleet_covariate_name(3), "Site B")'
        ' || strcmp(fleet_unit_covariate_name(0), "mode") || fleet_covariate_name(9)[0];\n}\n'
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
