"""The exported C header: what it computes, on which compilers and processors, and what it refuses.

One C program holds every model of `CASES`; each toolchain compiles it once, and its answers are held against (10)–(12)
of model.md written out in NumPy. The first cross-compilation on a machine fills zig's cache, which takes a minute.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from c_model_cases import MAIN, MIXED, RUN, Case, answers, make_model, orthonormal
from c_toolchains import C99, STRICT, TOOLCHAINS, compiled
from model_cases import example_model, ragged_panel

from cem.basis.families import BSpline, Constant, Custom, Polynomial
from cem.errors import BasisError, CemError, ModelFileError, OptionError, PredictionError
from cem.export.codegen import export_c


@cache
def cases():
    turbofan = make_model([Polynomial(2)] * 15, 3)
    # Channel 6 has the basis of channel 0 and nearly its orthonormalisation; channel 7 a very different one.
    mixed = make_model(MIXED, 2, spoil={6: 1.0, 7: 60.0}, seed=1)
    many = make_model([Polynomial(1), BSpline(6), Constant()], 4, level=-3.0, seed=2)
    single = make_model([Polynomial(1), BSpline(2, degree=1)], 1, seed=3)
    twins = make_model([Polynomial(1), Polynomial(2)], 2, apart=0.0, seed=4)
    same_noise = np.repeat(twins.internal_parameters.noise_variances[:1], 2, axis=0)
    twins.internal_parameters = replace(twins.internal_parameters, noise_variances=same_noise)
    return {
        case.name: case
        for case in [
            Case("turbofan", "double", turbofan, n_units=12),
            Case("turbofan_f", "float", turbofan, n_units=12),
            Case("mixed", "double", mixed),
            Case("mixed_f", "float", mixed),
            Case("many", "double", many),
            Case("deep", "double", make_model([Polynomial(5)] * 10, 2, seed=5), n_units=2, n_readings=60),
            Case("single", "double", single, n_units=3),
            Case("long", "double", twins, n_units=1, n_readings=5_000),
        ]
    }


@cache
def years():
    """One channel with 200,000 readings in two modes that differ in noise: log-odds are a small difference of sums."""
    return Case("years", "double", make_model([Constant()], 2, apart=0.0, seed=6), n_units=1, n_readings=200_000)


NAMES = ["turbofan", "turbofan_f", "mixed", "mixed_f", "many", "deep", "single", "long"]


# --------------------------------------------------------------------------------------------- the reference, in NumPy


def compressed(model, channel, times, values):
    """(R, w, rss) of (9), padded to p rows; the centre is taken away in extended precision."""
    p, raw = model.bases[channel].size, model.bases[channel](times).astype(np.longdouble)
    centre, scale = model.coordinates.centre(channel), model.coordinates.scales[channel]
    centred = ((values - raw @ centre) / scale).astype(np.float64)
    rotation, triangle = np.linalg.qr(orthonormal(model, channel, times))
    R, w = np.zeros((p, p)), np.zeros(p)
    R[: len(triangle)], w[: len(triangle)] = triangle, rotation.T @ centred
    return R, w, np.sum((centred - rotation @ (rotation.T @ centred)) ** 2) if len(times) > p else 0.0


def posterior(model, channel, mode, n, R, w, rss):
    """(log density by (11), Ed, triangle G' of A = GG') of one channel with n readings; A itself is never formed."""
    parameters, scale = model.internal_parameters, model.coordinates.scales[channel]
    mean, factor = parameters.mean(mode, channel), parameters.factor(mode, channel)
    sigma = np.sqrt(parameters.noise_variances[mode, channel])
    B, e = R @ factor / sigma, (w - R @ mean) / sigma
    rotation, root = np.linalg.qr(np.vstack([np.eye(len(w)), B]))
    whitened = np.linalg.solve(root, rotation[len(w) :].T @ e)
    misfit = rss / sigma**2 + np.sum((e - B @ whitened) ** 2) + np.sum(whitened**2)
    density = -0.5 * (n * np.log(2 * np.pi * sigma**2 * scale**2) + misfit)
    return density - log_determinant(root) / 2, whitened, root


def log_determinant(root):
    """log |A|."""
    return 2.0 * np.sum(np.log(np.abs(np.diagonal(root))))


def reference(model, readings, when, channel):
    """(log joint by mode, forecast mean, forecast variance) after the readings (t, x) of one unit."""
    parameters, coordinates = model.internal_parameters, model.coordinates
    times, values = readings[:, 0], readings[:, 1:]
    joint = np.log(parameters.weights)
    parts = []
    for c in range(len(model.bases)):
        seen = ~np.isnan(values[:, c])
        statistics = compressed(model, c, times[seen], values[seen, c])
        for mode in range(parameters.n_modes):
            density, whitened, root = posterior(model, c, mode, np.sum(seen), *statistics)
            joint[mode] += density
            if c == channel:
                parts.append((whitened, root))
    shares = np.exp(joint - np.max(joint))
    shares /= shares.sum()
    row = orthonormal(model, channel, np.array([when]))[0]
    curves, variances = [], []
    for mode, (whitened, root) in enumerate(parts):
        factor = parameters.factor(mode, channel)
        direction = np.linalg.solve(root.T, factor.T @ row)
        curves.append(row @ (parameters.mean(mode, channel) + factor @ whitened))
        variances.append(direction @ direction + parameters.noise_variances[mode, channel])
    mean = shares @ curves
    variance = shares @ (np.array(variances) + (curves - mean) ** 2)
    scale = coordinates.scales[channel]
    centre = float(model.bases[channel](np.array([when]))[0].astype(np.longdouble) @ coordinates.centre(channel))
    return joint, centre + scale * mean, scale**2 * variance


def dense_density(model, channel, mode, times, values):
    """log N(x | Φμ, V), (2), literally: what the reference itself is held against."""
    parameters, coordinates = model.internal_parameters, model.coordinates
    scale, design = coordinates.scales[channel], orthonormal(model, channel, times)
    half = design @ parameters.factor(mode, channel)
    V = scale**2 * (half @ half.T + parameters.noise_variances[mode, channel] * np.eye(len(times)))
    centre = model.bases[channel](times) @ coordinates.centre(channel)
    residual = values - centre - scale * (design @ parameters.mean(mode, channel))
    return -0.5 * (np.linalg.slogdet(2 * np.pi * V)[1] + residual @ np.linalg.solve(V, residual))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The program's source, beside the headers of all cases."""
    folder = tmp_path_factory.mktemp("export")
    pieces = ["#include <stdio.h>\n"]
    members = {**cases(), "years": years()}
    for name, case in members.items():
        export_c(case.model, folder / f"{name}.h", name=name, scalar=case.scalar)
        pieces.append(RUN.format(name=name, upper=name.upper()))
    choices = "\n    ".join(f'if (strcmp(argv[1], "{name}") == 0) {{ return run_{name}(); }}' for name in members)
    (folder / "main.c").write_text("".join(pieces) + MAIN.format(choices=choices))
    return folder / "main.c"


@pytest.fixture(scope="module", params=TOOLCHAINS)
def program(request, source):
    return TOOLCHAINS[request.param](source)


@pytest.fixture(scope="module")
def gcc_program(source):
    return TOOLCHAINS["gcc"](source)


@cache
def expected(name):
    """The reference after some of the readings: (row, log joint, mean, variance); computed once for all toolchains."""
    case = cases()[name]
    rows, found = case.readings(), []
    ages = [1, 2, 3, 5, 12, 60, case.n_readings]
    for unit in range(case.n_units):
        start = unit * case.n_readings
        for age in ages if case.n_readings <= 1000 else ages[-1:]:
            row = start + age - 1
            when, channel = rows[row, 1] + 7.0, row % len(case.model.bases)
            found.append((row, *reference(case.model, rows[start : row + 1, 1:], when, channel)))
    return rows, found


# -------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_header_scores_as_the_equations_do(program, name):
    """A controller would rank the modes differently from the model that was validated."""
    case = cases()[name]
    rows, found = expected(name)
    got = answers(program, case, rows)
    tolerance = 1e-12 if case.scalar == "double" else 1e-4
    assert not got.status.any() and not got.forecast_status.any()
    for row, joint, mean, variance in found:
        total = np.logaddexp.reduce(joint)
        # The logarithms are sums over all readings: their last digit is what a probability is made of.
        size = max(1.0, np.max(np.abs(joint)))
        shares = np.exp(joint - total)
        allowed = tolerance * size if case.scalar == "double" else tolerance
        assert abs(got.log_likelihood[row] - total) <= tolerance * size
        np.testing.assert_allclose(got.probabilities[row], shares, rtol=0, atol=allowed)
        # Forecasts weigh the modes' curves by those probabilities.
        ulp = np.spacing(abs(mean))
        assert abs(got.mean[row] - mean) <= 10 * allowed * np.sqrt(variance) + 2 * ulp
        assert got.variance[row] == pytest.approx(variance, rel=10 * allowed)


@pytest.mark.parametrize("name", ["turbofan", "mixed", "many", "long"])
def test_the_readings_leave_the_mode_open_for_a_while(name):
    """Probabilities of 0 and 1 always agree: the comparison above would be uninformative."""
    _, found = expected(name)
    largest = [np.exp(np.max(joint) - np.logaddexp.reduce(joint)) for _, joint, _, _ in found]
    assert min(largest) < 0.9


def test_the_reference_is_the_dense_normal_density():
    """The reference of this file would share a mistake of (10) and (11) with the header."""
    case = cases()["mixed"]
    rows = case.readings()[:20, 1:]
    for c in range(len(case.model.bases)):
        seen = ~np.isnan(rows[:, 1 + c])
        times, values = rows[seen, 0], rows[seen, 1 + c]
        for mode in range(2):
            found = posterior(case.model, c, mode, len(times), *compressed(case.model, c, times, values))[0]
            assert found == pytest.approx(dense_density(case.model, c, mode, times, values), rel=1e-8)


@pytest.mark.slow
def test_a_new_unit_has_the_weights_of_the_fleet_and_all_missing_changes_nothing(gcc_program):
    """A silent gateway would move the probabilities of a machine that sent nothing."""
    case = cases()["mixed"]
    n_channels = len(case.model.bases)
    rows = np.array([[1.0, 3.0, *[np.nan] * n_channels], [0.0, 90.0, *[np.nan] * n_channels]])
    got = answers(gcc_program, case, rows)
    assert not got.status.any() and not got.changed.any()
    np.testing.assert_allclose(got.probabilities, [case.model.internal_parameters.weights] * 2, rtol=1e-14)
    np.testing.assert_allclose(got.log_likelihood, 0.0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed", "mixed_f"])
def test_bad_input_has_a_status_and_leaves_the_unit_alone(gcc_program, name):
    """One broken telegram would poison a unit for the rest of its life."""
    case = cases()[name]
    rows = case.readings()[:6].copy()
    rows[1, 1] = np.nan
    rows[2, 1] = -np.inf
    rows[3, 4] = np.inf
    rows[4, 3] = -1e30 if name == "mixed_f" else -1e200
    rows[5, 1] = 1e200
    got = answers(gcc_program, case, rows)
    np.testing.assert_array_equal(got.status, [0, 1, 1, 2, 2, 3])
    np.testing.assert_array_equal(got.changed, [True, False, False, False, False, False])
    assert np.ptp(got.log_likelihood) == 0.0
    np.testing.assert_array_equal(got.forecast_status, [0, 1, 1, 0, 0, 3])
    refused = got.forecast_status != 0
    np.testing.assert_array_equal(got.mean[refused], -1.0)


def test_the_header_agrees_with_the_model_in_python(tmp_path):
    """What the office computes in batches and the controller in C would be two different verdicts."""
    model = example_model()
    panel = ragged_panel(model).select_channels(list(model.channels))
    model.export_c(tmp_path / "fitted.h", name="fitted")
    choices = 'if (strcmp(argv[1], "fitted") == 0) { return run_fitted(); }'
    text = "#include <stdio.h>\n" + RUN.format(name="fitted", upper="FITTED") + MAIN.format(choices=choices)
    (tmp_path / "main.c").write_text(text)
    first = np.isin(np.arange(len(panel.times)), panel.offsets[:-1])
    rows = np.column_stack([first, panel.times, panel.values])
    got = answers(
        TOOLCHAINS["gcc"](tmp_path / "main.c"), SimpleNamespace(name="fitted", scalar="double", model=model), rows
    )
    last = panel.offsets[1:] - 1
    np.testing.assert_allclose(got.probabilities[last], model.predict_proba(panel), rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.log_likelihood[last], model.score_samples(panel), rtol=1e-12)
    for row, unit in zip(last, range(panel.n_units), strict=True):
        # The program forecasts its channels in turn, 7 after each reading.
        forecast = model.forecast(panel[unit], [panel.times[row] + 7.0], channel=int(row) % 3)
        assert got.mean[row] == pytest.approx(np.ravel(forecast.mean)[0], rel=1e-11)
        assert got.variance[row] == pytest.approx(np.ravel(forecast.variance)[0], rel=1e-11)


@pytest.mark.slow
def test_nothing_is_lost_over_years_of_readings(gcc_program):
    """A unit's verdict would drift with its age: sums without carry are off by 5e-15, other rotations by 2e-14."""
    case = years()
    rows = case.readings()
    got = answers(gcc_program, case, rows)
    joint, _, _ = reference(case.model, rows[:, 1:], 0.0, 0)
    assert got.log_likelihood[-1] == pytest.approx(np.logaddexp.reduce(joint), rel=2e-15)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["turbofan", "deep"])
def test_determinants_beyond_the_range_of_double_do_not_overflow(gcc_program, name):
    """A clock that jumps, or years of readings, would end in a likelihood of minus infinity."""
    case = cases()[name]
    late = [3e3, -5e3, 8e3, 100.0, 1e3, -2e3] if name == "turbofan" else [400.0, -300.0, 700.0, 120.0, -500.0, 20.0]
    model, times = case.model, np.concatenate([[0.0], np.tile(late, 300)])
    centres = [basis(times) @ model.coordinates.centre(c) for c, basis in enumerate(model.bases)]
    rows = np.column_stack([times == 0.0, times, *centres])
    got = answers(gcc_program, case, rows)
    joint, determinant = np.log(model.internal_parameters.weights), 0.0
    for c, centre in enumerate(centres):
        statistics = compressed(model, c, times, centre)
        for mode in range(len(joint)):
            density, _, root = posterior(model, c, mode, len(times), *statistics)
            joint[mode] += density
            determinant += log_determinant(root) if mode == 0 else 0.0
    assert determinant > np.log(np.finfo(float).max)
    assert not got.status.any()
    assert got.log_likelihood[-1] == pytest.approx(np.logaddexp.reduce(joint), rel=1e-9)


@pytest.mark.slow
def test_a_time_where_a_curve_overflows_is_refused(gcc_program):
    """exp of a wrong clock would put infinity into the state, and NaN into every score after it."""
    case = cases()["mixed"]
    rows = case.readings()[:3].copy()
    rows[1, 1] = 8e3
    got = answers(gcc_program, case, rows)
    np.testing.assert_array_equal(got.status, [0, 3, 0])
    assert not got.changed[1] and np.isfinite(got.log_likelihood).all()


@pytest.mark.slow
def test_the_order_of_readings_does_not_matter(gcc_program):
    """Telegrams that overtake one another would change the verdict."""
    case = cases()["turbofan"]
    rows = case.readings()[:60]
    shuffled = rows[np.random.default_rng(5).permutation(60)]
    shuffled[:, 0] = 0.0
    shuffled[0, 0] = 1.0
    one, other = answers(gcc_program, case, rows), answers(gcc_program, case, shuffled)
    assert one.log_likelihood[-1] == pytest.approx(other.log_likelihood[-1], rel=1e-12)


def test_a_mode_of_no_weight_stays_impossible(tmp_path):
    """log 0 would be NaN, and with it every probability."""
    model = make_model([Constant()], 2)
    parameters = model.internal_parameters
    model.internal_parameters = replace(parameters, weights=np.array([1.0, 0.0]))
    export_c(model, tmp_path / "fleet.h")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "fleet.h"\nint main(void) { fleet_unit u; double p[2], x[1] = {9062.0};'
        " fleet_init(&u); fleet_update(&u, 1.0, x); fleet_probabilities(&u, p); return p[0] != 1.0 || p[1] != 0.0; }\n"
    )
    program = TOOLCHAINS["gcc-sanitizers"](tmp_path / "main.c")
    assert subprocess.run(program).returncode == 0


# ---------------------------------------------------------------------------------------------------------- the header


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed: the object's symbols were not looked at")
@pytest.mark.parametrize("scalar", ["double", "float"])
def test_the_header_needs_no_heap_and_keeps_no_state(tmp_path, scalar):
    """A controller without malloc could not link it; two tasks would share a variable."""
    export_c(cases()["mixed"].model, tmp_path / "fleet.h", scalar=scalar)
    (tmp_path / "use.c").write_text(
        '#include "fleet.h"\n'
        "void start(fleet_unit *u) { fleet_init(u); }\n"
        "int take(fleet_unit *u, double t, const fleet_scalar *x) { return fleet_update(u, t, x); }\n"
        "void score(const fleet_unit *u, fleet_scalar *p) { fleet_probabilities(u, p); }\n"
        "double total(const fleet_unit *u) { return fleet_log_likelihood(u); }\n"
        "int ahead(const fleet_unit *u, double t, double *m, double *v) { return fleet_forecast(u, t, 0, m, v); }\n"
    )
    command = ["gcc", *C99, "-O2", *STRICT, "-c", "use.c", "-o", "use.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    listing = subprocess.run(["nm", "use.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    symbols = [tuple(line.split()[-2:]) for line in listing.splitlines()]
    wanted = {name for kind, name in symbols if kind == "U"}
    functions = {"exp", "log", "sin", "cos", "sincos"}
    if scalar == "float":  # what is in double there evaluates bases whose functions are much alike
        functions |= {"expf", "logf", "sinf", "cosf", "sincosf", "floor"}
    assert wanted <= functions | {"memset", "memcpy", "_GLOBAL_OFFSET_TABLE_"}
    assert not [name for kind, name in symbols if kind in "dDbBC"]


def test_parameters_are_written_exactly():
    """A parameter rounded in the text would shift every score of the field from those of the office."""
    model = make_model([Polynomial(2)], 2)
    text = export_c(model)
    body = re.search(r"fleet_modes_3_\[\d+\] = \{(.*?)\};", text, re.DOTALL).group(1)
    numbers = [float.fromhex(word) for word in re.findall(r"-?0x[0-9a-f.]+p[+-]\d+", body)]
    parameters = model.internal_parameters
    for mode, row in enumerate(np.reshape(numbers, (2, 10))):
        np.testing.assert_array_equal(row[:3], parameters.mean(mode, 0))
        assert row[9] == 1.0 / np.sqrt(parameters.noise_variances[mode, 0])


def test_the_file_holds_the_text_and_the_text_is_the_same_each_time(tmp_path):
    """A header under version control would change without a change of the model."""
    model = cases()["mixed"].model
    text = export_c(model, tmp_path / "a.h", name="a")
    assert (tmp_path / "a.h").read_text(encoding="ascii") == text == export_c(model, name="a")
    assert set(re.findall(r"#include (\S+)", text)) == {"<float.h>", "<math.h>", "<string.h>"}


NUMBER = r"-?(?:0x[0-9a-f.]+p[+-]\d+f?|[\d.]+(?:e[+-]\d+)?)"
NUMBERS_ONLY = re.compile(rf"^[ *]*(?:{NUMBER},? ?)+(?:\*/)?\n", re.MULTILINE)

# SHA-256 of headers as release 0.5.0 wrote those in double, and release 0.7.0 those in float, without the lines of the
# models' numbers, whose last digits depend on the LAPACK at hand.
TEXTS = {
    ("turbofan", "double"): "d281807ca7784ab37432edc8754eb14963f1f9f8d94271b6fa667696f2be2191",
    ("turbofan", "float"): "22c72a72474c10b753ba704bc774754fb2935786d589ecf9f3a6f3bef3f3f6b4",
    ("mixed", "double"): "bbc02c7b1d75398bc529cc5c36f1bcd46c7bdbbddb1b5216ea1fa174e16357cd",
    ("mixed", "float"): "a5b0de698aa7c4ae66944ae77d6bd670cdabd7bd8fd6b5b4d342d170cf76b697",
    ("many", "double"): "aef07ccae8c2325693b4c943927f7351e06bc91c66ede28997589fcafa8f4e20",
    ("deep", "float"): "099198ccfa456fe08ae67fd2a54e9fd82a8a8eeb8932ec40ae0a839d8ca6957d",
    ("single", "double"): "d3e2ff9abb568115016f2b8a3b2f5aa4907c8d8e6f49974c045944f45a1f3858",
}


@pytest.mark.parametrize(("name", "scalar"), TEXTS)
def test_the_text_of_a_model_without_covariates_is_that_of_earlier_releases(name, scalar):
    """A header under version control, or certified, would change although neither model nor task did."""
    text = NUMBERS_ONLY.sub("", export_c(cases()[name].model, name="fleet", scalar=scalar))
    assert hashlib.sha256(text.encode()).hexdigest() == TEXTS[name, scalar]


@pytest.mark.parametrize(
    ("scalar", "digest"),
    [
        ("double", "2f2f34103f70a7bb91a30a9cf11848aa22d4872741a28d24328c78af1fc8af49"),
        ("float", "2e3691fca9f6177e87c83304fc52d5699266c7b41af2f03031a56a1c559704c6"),
    ],
)
def test_every_byte_of_a_model_of_round_numbers_is_that_of_earlier_releases(scalar, digest):
    """The numbers in it too: here they are exact on every machine."""
    model = make_model([Polynomial(2), Constant()], 2)
    coordinates, parameters = model.coordinates, model.internal_parameters
    centres, transforms = np.array([8.0, 0, 0, -2.5]), np.concatenate([np.eye(3).ravel(), [1.0]])
    model.coordinates = replace(coordinates, centres=centres, transforms=transforms, scales=np.array([1.0, 2.0]))
    means = np.arange(8.0).reshape(2, 4) / 4
    factors = np.tile(np.concatenate([np.tril(np.full((3, 3), 0.5)).ravel(), [0.25]]), (2, 1))
    model.internal_parameters = replace(
        parameters, weights=np.array([0.25, 0.75]), means=means, factors=factors, noise_variances=np.full((2, 2), 0.25)
    )
    assert hashlib.sha256(export_c(model, scalar=scalar).encode()).hexdigest() == digest


def test_labels_of_any_kind_become_distinct_identifiers(tmp_path):
    """Real channel and mode names hold blanks, umlauts, comment marks, or differ only in case."""
    channels = ("oil temp", "Oil-Temp", "*/ int x; /*", "what??/", 'say "hi"\\', "Öl\n", "")
    model = make_model([Constant()] * len(channels), 4)
    model.channels, model.mode_labels, model.response = channels, (-1, 1, None, "1"), "what??/"
    model.time_unit = HOSTILE_COMMENT
    export_c(model, tmp_path / "fleet.h")
    checks = "\n".join(
        f"    static const unsigned char c{i}[] = {{ {', '.join(str(b) for b in [*label.encode(), 0])} }};"
        f" if (strcmp(fleet_channel_name({i}), (const char *)c{i})) {{ return {i + 1}; }}"
        for i, label in enumerate(channels)
    )
    (tmp_path / "main.c").write_text(
        f'#include "fleet.h"\nint main(void)\n{{\n{checks}\n    return FLEET_CHANNEL_OIL_TEMP_2 != 1 ||'
        " FLEET_MODE_MINUS_1 != 0 || FLEET_MODE_1_2 != 3 || FLEET_RESPONSE != 3 || FLEET_CHANNEL_NONE != 6; }\n"
    )
    flags = [*C99, "-O2", *STRICT, "-Wno-unused-parameter", "-I", str(tmp_path)]
    program = compiled(tmp_path / "main.c", "labels", ["gcc", *flags])
    assert subprocess.run(program).returncode == 0


# Each would end its comment or line, or hide the rest from a reader.
HOSTILE_COMMENT = (
    "*/ #error A /* **/ #error B *//* /*/ #error C\\\n#error D ??/\n#error \u202e \x1b[2J \x85 \u2028 \ud800"
)


def test_names_do_not_break_out_of_the_comments_of_a_header(tmp_path):
    """A model file may come from anywhere; its names must not become code of the machine that the header goes to."""
    model = make_model([Constant(), Constant()], 2)
    model.channels = (HOSTILE_COMMENT, "\\")
    model.mode_labels, model.response, model.time_unit = (HOSTILE_COMMENT, "*/"), "\\", HOSTILE_COMMENT
    text = export_c(model, tmp_path / "fleet.h")
    assert text.isascii() and all(c.isprintable() or c == "\n" for c in text)
    (tmp_path / "main.c").write_text('#include "fleet.h"\nint main(void) { return fleet_channel_name(0)[0] != 42; }\n')
    for trigraphs in ([], ["-trigraphs"]):
        flags = [*C99, *STRICT, *trigraphs, "-Wno-unused-parameter", "-I", str(tmp_path)]
        assert subprocess.run(compiled(tmp_path / "main.c", f"names{len(trigraphs)}", ["gcc", *flags])).returncode == 0


@pytest.mark.slow
def test_fast_math_is_refused_where_it_would_lose_missing_values(source):
    """With -ffast-math NaN is not recognised: a missing value would spoil the unit in silence."""
    command = ["gcc", *C99, "-ffast-math", "-fsyntax-only", "main.c"]
    run = subprocess.run(command, cwd=source.parent, capture_output=True, text=True)
    assert run.returncode != 0 and "fast-math" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scalar", ["double", "float"])
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-fsingle-precision-constant"], "constants_must_be_double_no_fsingle_precision_constant_"),
        (["-Ddouble=float"], "constants_must_be_double_no_fsingle_precision_constant_"),
        (["-U__DBL_MANT_DIG__", "-D__DBL_MANT_DIG__=24"], "double has less than 64 bits"),
    ],
)
@pytest.mark.parametrize("language", ["-std=c99", "-std=c17"])
def test_arithmetic_that_would_be_cut_short_is_refused(tmp_path, scalar, flags, words, language):
    """With constants cut to 24 bits log-likelihoods were wrong by 30 nats, and nothing stopped the build."""
    export_c(cases()["single"].model, tmp_path / "single.h", name="single", scalar=scalar)
    (tmp_path / "use.c").write_text('#include "single.h"\nint main(void) { return SINGLE_OK; }\n')
    command = ["gcc", language, "-fsyntax-only"]
    run = subprocess.run([*command, *flags, "use.c"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and words in run.stderr
    assert subprocess.run([*command, *STRICT, "use.c"], cwd=tmp_path).returncode == 0


def test_an_avr_whose_double_has_32_bits_is_refused(tmp_path):
    """There times and sums would be single precision in a header that says double."""
    ziglang = importlib.util.find_spec("ziglang")
    if ziglang is None or ziglang.origin is None:
        pytest.skip("ziglang is not installed: the header was not compiled for AVR")
    own = os.path.join(os.path.dirname(ziglang.origin), "lib", "include")  # where float.h is
    export_c(cases()["single"].model, tmp_path / "single.h", name="single", scalar="float")
    (tmp_path / "use.c").write_text('#include "single.h"\n')
    absent = {
        "math.h": "double log(double), exp(double);",
        "string.h": "",
        "stdint.h": "typedef unsigned long uint32_t; typedef long int32_t; typedef long long int64_t;",
    }
    for name, declared in absent.items():
        (tmp_path / name).write_text(declared)
    target = ["--target=avr", "-mmcu=atmega328p", "-fsyntax-only", "-I.", "-isystem", own]
    clang = [sys.executable, "-m", "ziglang", "clang", *target]
    run = subprocess.run([*clang, "use.c"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and "double has less than 64 bits" in run.stderr
    run = subprocess.run([*clang, "-mdouble=64", "use.c"], cwd=tmp_path, capture_output=True, text=True)
    assert "double has less than 64 bits" not in run.stderr and "constants_must_be_double" not in run.stderr


@pytest.mark.parametrize("name", ["", "2fleet", "my fleet", "_fleet", "flot\u00e9", None])
def test_a_name_that_is_no_identifier_is_refused(name):
    """The compiler would report the mistake a hundred times, far from its cause."""
    with pytest.raises(OptionError, match="name: a C identifier"):
        export_c(cases()["single"].model, name=name)


def test_other_scalars_are_refused():
    """A misspelt type would surface as a C error."""
    with pytest.raises(OptionError, match="'double' or 'float' was expected; got 'half'"):
        export_c(cases()["single"].model, scalar="half")


def test_a_parameter_beyond_float_is_refused():
    """It would be written as infinity, and every score be NaN."""
    model = make_model([Constant()], 1)
    coordinates = model.coordinates
    model.coordinates = replace(coordinates, scales=coordinates.scales * 1e60)
    with pytest.raises(OptionError, match="a C float cannot hold"):
        export_c(model, scalar="float")
    assert "fleet_update" in export_c(model)


def test_a_custom_basis_is_refused_by_channel():
    """Python code has no C text; the message says which channel to refit."""
    model = make_model([Polynomial(1), Constant()], 1)
    custom = Custom(lambda times: np.column_stack([np.ones_like(times)])).bind(np.linspace(0.0, 1.0, 5))
    model.bases = (model.bases[0], custom)
    with pytest.raises(BasisError, match="channel 's3' has a basis of type Custom"):
        export_c(model)


def test_a_model_of_the_time_to_failure_is_refused():
    """Its time axis is unknown while the machine runs: scores by the clock would be nonsense."""
    model = make_model([Constant()], 1)
    model.time_axis = "to_failure"
    with pytest.raises(PredictionError, match="time to failure"):
        export_c(model)


def test_a_file_that_cannot_be_written_is_a_typed_error(tmp_path):
    """`except cem.CemError` around an export would let the failure through."""
    with pytest.raises(ModelFileError, match="cannot be written"):
        export_c(cases()["single"].model, tmp_path / "absent" / "fleet.h")
    assert issubclass(ModelFileError, CemError)
