"""Random models with conditions, readings for them, and the C program that gives these to their headers."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
from covariate_cases import CHANNELS, COLUMNS, SIZES, random_conditions, rows_of

from cem.basis.families import Constant, Polynomial
from cem.covariates import Category, Linear, Power, Regimes, Spline
from cem.covariates.columns import Column
from cem.covariates.learning import learned_conditions
from cem.covariates.regimes import CENTRES
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
        5: (0, [Linear("load"), Spline("load", 4, by_mode=True, basis_functions="all")], None),
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
    weights, noise = rng.dirichlet(np.full(N_MODES, 5.0)), rng.uniform(0.5, 0.9, (N_MODES, 3))
    parameters = Parameters(weights, means, factors, noise, sizes, membership=gamma)
    coordinates = Coordinates(centres, rng.uniform(0.5, 3.0, 3), transforms, sizes)
    return FailureModeModel(
        parameters=parameters, coordinates=coordinates, bases=bases, channels=CHANNELS,
        mode_labels=("wear", 7, "crack"), conditions=conditions, of_units=of_units,
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
    names = [column.name for column in COLUMNS]
    places = [] if conditions is None else [names.index(name) for name in conditions.names]
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
