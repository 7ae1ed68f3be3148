"""The exported C header in float: no arithmetic in double but for times, and scores as near as those of double.

The reference is the header in double, which `test_codegen` holds against the equations.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import c_condition_cases as with_conditions
import c_model_cases as plain
import numpy as np
import pytest
from c_toolchains import STRICT, TOOLCHAINS

from cem.basis.families import BSpline, Constant, Exponential, Fourier, Polynomial
from cem.export.codegen import export_c

# What a controller without a double unit should never see: GCC's own warnings for it, as errors.
SINGLE = ["-std=c99", "-O2", *STRICT, "-Wconversion", "-Wfloat-conversion", "-Wdouble-promotion"]

USE = """
#include "fleet.h"
void start(fleet_unit *u);
void start(fleet_unit *u) { fleet_init(u); }
int take(fleet_unit *u, double t, const fleet_scalar *x);
int take(fleet_unit *u, double t, const fleet_scalar *x) { return fleet_update(u, t, x); }
void score(const fleet_unit *u, fleet_scalar *p);
void score(const fleet_unit *u, fleet_scalar *p) { fleet_probabilities(u, p); }
"""


def built(folder, model, *flags):
    """Assembly of a program that uses the header in float."""
    export_c(model, folder / "fleet.h", scalar="float")
    (folder / "use.c").write_text(USE)
    command = ["gcc", *SINGLE, *flags, "-S", "use.c", "-o", "use.s"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[:4000]
    return (folder / "use.s").read_text()


# One of each kind, none of which float needs help with.
NARROW = [Polynomial(2), BSpline(4), Fourier(2, 80.0), Constant(), Polynomial(6), Exponential(20.0)]


@pytest.mark.parametrize("specs", [[Polynomial(2)] * 8, NARROW], ids=["polynomials", "all"])
def test_a_controller_computes_nothing_in_double_but_differences_of_times(tmp_path, specs):
    """On a Cortex-M4F each operation in double is a call of some fifty instructions: a score took 21,000 of them."""
    assembly = built(tmp_path, plain.make_model(specs, 3))
    if platform.machine() != "x86_64":
        pytest.skip("the instructions that are looked for are those of x86-64")
    score = re.search(r"^score:(.*?)^\s*\.size\s+score", assembly, re.DOTALL | re.MULTILINE)
    assert score is not None
    in_double = r"\b(?:add|sub|mul|div|sqrt)[sp]d\b|\bcvt\w*2?sd\b|\bcvtss2sd\b"
    assert not re.findall(in_double, score.group(1))
    take = re.search(r"^take:(.*?)^\s*\.size\s+take", assembly, re.DOTALL | re.MULTILINE)
    assert take is not None
    found = re.findall(r"\b(?:add|mul|div)[sp]d\b", take.group(1))
    times = {"polynomials": 0, "all": 4}["all" if len(set(map(repr, specs))) > 1 else "polynomials"]
    assert len(found) <= times  # turns of a Fourier basis and their floor, exponents of an exponential one
    calls = set(re.findall(r"call\s+(\w+)", assembly))
    assert not calls & {"exp", "log", "sin", "cos", "pow"}


@pytest.mark.parametrize("name", ["f0", "f1", "f2", "f3", "f4"])
def test_headers_with_covariates_promote_nothing_to_double(tmp_path, name):
    """A feature, a regime or a map in double would cost a controller more than all its curves."""
    case = with_conditions.cases()[name]
    source = with_conditions.write_program(tmp_path, {name: (case.model, "float")})
    run = subprocess.run(
        ["gcc", *SINGLE, "-fsyntax-only", source.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[:4000]
    text = (tmp_path / f"{name}.h").read_text(encoding="ascii")
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    for function in ("checked", "features", "feature", "regime", "common", "membership", "centred", "log_joint"):
        body = re.search(rf"^static inline \w+ {name}_{function}_\(.*?^}}", code, re.DOTALL | re.MULTILINE)
        assert body is None or "double" not in body.group(), function


COMPILERS = {
    "g++": ["g++", "-xc++", "-std=c++17"],
    "clang": [sys.executable, "-m", "ziglang", "cc", "-std=c99"],
    "clang++": [sys.executable, "-m", "ziglang", "c++", "-xc++", "-std=c++17"],
}


@pytest.mark.parametrize("scalar", ["float", "double"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_compiler_warns_of_a_conversion(tmp_path, compiler, scalar):
    """GCC in C lets whole numbers pass that are compared with floats; g++ and clang stop a build with -Werror."""
    if "ziglang" in COMPILERS[compiler] and importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: the header was not compiled by clang")
    if compiler == "g++" and shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    first = scalar[0]
    models = {f"{first}{seed}": (with_conditions.cases()[f"{first}{seed}"].model, scalar) for seed in (0, 1, 3)}
    source = with_conditions.write_program(tmp_path, models)
    export_c(plain.make_model([*NARROW, BSpline(8), Exponential(20_000.0)], 3), tmp_path / "fleet.h", scalar=scalar)
    source.write_text(USE + source.read_text())
    command = [*COMPILERS[compiler], "-O2", *STRICT, "-Wconversion", "-Wdouble-promotion", "-Wshadow"]
    run = subprocess.run([*command, "-c", source.name, "-o", "x.o"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[:4000]


# ---------------------------------------------------------------------------------------------------------- accuracy


def compared(folder, model, n_readings, *, carry=False):
    """Answers of the headers in double and in float to the same readings of one unit."""
    case = plain.Case("long", "float", model, n_units=1, n_readings=n_readings)
    rows, found = case.readings(), []
    for scalar in ("double", "float"):
        own = folder / scalar
        own.mkdir()
        export_c(model, own / "long.h", name="long", scalar=scalar)
        choices = 'if (strcmp(argv[1], "long") == 0) { return run_long(); }'
        text = plain.RUN.format(name="long", upper="LONG") + plain.MAIN.format(choices=choices)
        define = "#define LONG_CARRY\n" if carry else ""
        (own / "main.c").write_text(f"#include <stdio.h>\n{define}{text}")
        found.append(plain.answers(TOOLCHAINS["gcc"](own / "main.c"), case, rows))
    assert not found[0].status.any() and not found[1].status.any()
    return found


def assert_near(double, single):
    """Probabilities to 1e-4, log-likelihoods to 1e-4 of themselves: at each of the readings."""
    np.testing.assert_allclose(single.probabilities, double.probabilities, rtol=0, atol=1e-4)
    size = np.maximum(1.0, np.abs(double.log_likelihood))
    assert np.max(np.abs(single.log_likelihood - double.log_likelihood) / size) <= 1e-4
    np.testing.assert_allclose(single.variance, double.variance, rtol=1e-3)


BASES = {
    "polynomials": [Polynomial(2)] * 8,
    "bsplines": [BSpline(6)] * 3,
    "fourier": [Fourier(2, 80.0)] * 3,
    "exponential": [Exponential([40.0, 150.0])] * 3,
    "constant": [Constant()] * 4,
    "mixed": plain.MIXED,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_a_hundred_thousand_readings_leave_float_as_near_as_a_few(tmp_path, name):
    """A machine's verdict would drift with its age, and nobody would restart its unit for that."""
    assert_near(*compared(tmp_path, plain.make_model(BASES[name], 3, apart=0.1), 100_000))


def test_functions_much_alike_are_evaluated_in_double(tmp_path):
    """A nearly straight exponential is a constant but for its last digits, which are its orthonormal function."""
    model = plain.make_model([Exponential(20_000.0), Polynomial(2)], 3, apart=0.05)
    assert "long_exponential_wide_(" in export_c(model, name="long", scalar="float")
    assert "long_polynomial_wide_(" not in export_c(model, name="long", scalar="float")
    assert_near(*compared(tmp_path, model, 3_000))


@pytest.mark.parametrize("name", BASES)
def test_float_is_near_for_each_basis(tmp_path, name):
    """The same for a few readings, where the modes are still open."""
    double, single = compared(tmp_path, plain.make_model(BASES[name], 3, apart=0.05), 300)
    assert np.min(np.max(double.probabilities, axis=1)) < 0.995
    assert_near(double, single)


@pytest.mark.parametrize("specs", [[Polynomial(2)] * 120, [Polynomial(5)] * 60], ids=["written out", "loops"])
def test_determinants_of_many_channels_do_not_overflow(tmp_path, specs):
    """The product of some hundreds of mantissas is more than a float holds: a likelihood of minus infinity."""
    double, single = compared(tmp_path, plain.make_model(specs, 2, apart=0.01), 50)
    assert np.isfinite(single.log_likelihood).all()
    assert_near(double, single)


def alike(specs):
    """Three modes between which hardly any number of readings decides: curves and noise are nearly the same."""
    model = plain.make_model(specs, 3, apart=0.0, seed=1)
    noise = model.internal_parameters.noise_variances
    noise = noise[:1] * np.exp(np.random.default_rng(1).normal(0, 0.002, noise.shape))
    model.internal_parameters = replace(model.internal_parameters, noise_variances=noise)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["constant", "exponential", "polynomial", "large"])
def test_with_carry_modes_that_stay_open_are_as_near_after_a_hundred_thousand_readings(tmp_path, name):
    """An undecided machine's probabilities would be off by 5e-3: states lose the last digits of readings."""
    specs = {**BASES, "polynomial": [Polynomial(1)], "large": [BSpline(5)]}[name]
    double, single = compared(tmp_path, alike(specs), 100_000, carry=True)
    assert_near(double, single)
    if name in ("constant", "exponential"):
        assert np.max(double.probabilities[-1]) < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", ["f0", "f1", "f2", "f3", "f4"])
def test_a_hundred_thousand_readings_under_covariates(tmp_path, name):
    """Offsets of regimes and centres of features, rounded to float, would shift all readings alike."""
    case = with_conditions.cases()[name]
    rows = with_conditions.rows_for(case)
    rows = np.tile(rows, (100_000 // len(rows) + 1, 1))[:100_000]
    first = 5 + len(case.model.covariates)
    own = slice(first, first + len(case.model.unit_covariates))
    rows[:, own] = rows[0, own]
    rows[:, 0] = 0.0
    rows[0, 0] = 1.0
    found = []
    for scalar in ("double", "float"):
        (tmp_path / scalar).mkdir()
        source = with_conditions.write_program(tmp_path / scalar, {"long": (case.model, scalar)})
        found.append(with_conditions.answers(TOOLCHAINS["gcc"](source), "long", rows))
    np.testing.assert_array_equal(found[1].status, found[0].status)
    assert not found[0].status.any()
    assert_near(*found)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="-mfma is an option for x86-64")
def test_compilers_that_fuse_operations_do_not_undo_the_sums(tmp_path):
    """With a * b + c rounded once, what a sum has rounded away must still be what it has rounded away."""
    if "fma" not in _flags():
        pytest.skip("this processor has no fused operations")
    model, answers = plain.make_model([Constant()] * 2, 2, apart=0.05), []
    case = plain.Case("long", "float", model, n_units=1, n_readings=20_000)
    for scalar, flags in (("double", ["-O2"]), ("float", ["-O3", "-mfma", "-ffp-contract=fast"])):
        folder = tmp_path / scalar
        folder.mkdir()
        export_c(model, folder / "long.h", name="long", scalar=scalar)
        text = plain.RUN.format(name="long", upper="LONG") + plain.MAIN.format(choices="return run_long();")
        (folder / "main.c").write_text("#include <stdio.h>\n" + text)
        subprocess.run(["gcc", *flags, "main.c", "-o", "run", "-lm"], cwd=folder, check=True)
        answers.append(plain.answers([str(folder / "run")], case, case.readings()))
    assert_near(*answers)


def _flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return set(next((line for line in file if line.startswith("flags")), "").split())
    except OSError:
        return set()


DESIGNS = """
#include <stdio.h>
#include "wide.h"
#include "narrow.h"
int main(void)
{
    wide_scalar a[WIDE_N_DESIGN_VALUES_];
    narrow_scalar b[NARROW_N_DESIGN_VALUES_];
    double t, both[2];
    int i;
    while (fread(&t, sizeof t, 1, stdin) == 1) {
        wide_designs_(t, a);
        narrow_designs_(t, b);
        for (i = 0; i < WIDE_N_DESIGN_VALUES_; ++i) {
            both[0] = a[i];
            both[1] = b[i];
            fwrite(both, sizeof both, 1, stdout);
        }
    }
    return 0;
}
"""


def test_late_times_lose_nothing(tmp_path):
    """Seconds since 1970 have steps of 128 in float: a curve over a day would be a staircase."""
    if shutil.which("gcc") is None:
        pytest.fail("gcc is not installed; the exported header cannot be tested without it")
    bases = [Polynomial(2), BSpline(5), Fourier(1, 3600.0), Exponential(20_000.0)]
    model = plain.make_model(bases, 2)
    start = 1.7e9
    model.bases = tuple(spec.bind(np.linspace(start, start + 86_400.0, 401)) for spec in bases)
    probe = np.linspace(start, start + 86_400.0, 9_997) + 0.25
    (tmp_path / "main.c").write_text(DESIGNS)
    export_c(model, tmp_path / "wide.h", name="wide", scalar="double")
    export_c(model, tmp_path / "narrow.h", name="narrow", scalar="float")
    subprocess.run(["gcc", "-std=c99", "-O2", "main.c", "-o", "run", "-lm"], cwd=tmp_path, check=True)
    run = subprocess.run([str(tmp_path / "run")], input=probe.tobytes(), capture_output=True, check=True)
    wide, narrow = np.frombuffer(run.stdout).reshape(-1, 2).T
    assert np.ptp(wide) > 1.0
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=2e-6 * np.max(np.abs(wide)))


def test_an_impossible_mode_stays_impossible_in_float(tmp_path):
    """Minus infinity less minus infinity is NaN, and with it every probability."""
    model = plain.make_model([Constant()], 2)
    model.internal_parameters = replace(model.internal_parameters, weights=np.array([1.0, 0.0]))
    export_c(model, tmp_path / "fleet.h", scalar="float")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "fleet.h"\nint main(void) { fleet_unit u; float p[2], x[1] = {9062.0f};'
        " fleet_init(&u); fleet_update(&u, 1.0, x); fleet_probabilities(&u, p);"
        " return p[0] != 1.0f || p[1] != 0.0f || !(fleet_log_likelihood(&u) > -1e3); }\n"
    )
    assert subprocess.run(TOOLCHAINS["gcc-sanitizers"](tmp_path / "main.c"), check=False).returncode == 0
