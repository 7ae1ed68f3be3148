"""Scoring needs only NumPy: a wheel, without its dependencies, in an empty environment that has only NumPy.

Takes the wheel that CEM_WHEEL names (a file or a directory of wheels; .ci/run names the one that it built), else those
of wheels/, where they were made from the present sources.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import cem

ROOT = Path(__file__).resolve().parents[2]
COMPUTED = ROOT / "tests" / "wheel" / "computed.py"
GOLDEN = ROOT / "tests" / "data" / "golden-1.cem"
EXAMPLE = ROOT / "tests" / "scoring" / "cimport_example"


def wheels() -> Path:
    """Directory of the wheels to try; skips where there is none of these sources."""
    given = os.environ.get("CEM_WHEEL")
    if given:
        path = Path(given).resolve()
        assert path.exists(), f"CEM_WHEEL names {path}, which is not there"
        return path.parent if path.is_file() else path
    spec = importlib.util.spec_from_file_location("wheels_build", ROOT / "wheels" / "build.py")
    build = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = build
    spec.loader.exec_module(build)
    faults = build.verify(ROOT / "wheels")
    if faults:
        pytest.skip(f"CEM_WHEEL names no wheel, and wheels/ has none of these sources ({faults[0]})")
    return ROOT / "wheels"


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Interpreter of an environment that holds NumPy and the wheel, nothing else."""
    found = wheels()
    place = tmp_path_factory.mktemp("without_scipy") / "env"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, f"numpy=={np.__version__}")
    run(*pip, "--no-deps", "--no-index", "--find-links", found, "cem-failure-modes")
    return python


def in_environment(python, *arguments, cwd):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return run(python, *arguments, env=environment, cwd=cwd)


def test_a_loaded_model_scores_to_the_same_numbers(python, tmp_path):
    """An edge box without SciPy gives other probabilities, or an ImportError."""
    document = json.loads(in_environment(python, COMPUTED, GOLDEN, cwd=tmp_path))
    assert str(python.parent.parent) in document["place"]
    spec = importlib.util.spec_from_file_location("computed", COMPUTED)
    computed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(computed)
    expected = computed.scores(cem.load(GOLDEN))
    assert document["scores"].keys() == expected.keys()
    for name, values in expected.items():
        found = np.array(document["scores"][name], dtype=float)
        scale = np.nanmax(np.abs(np.array(values, dtype=float)))
        np.testing.assert_allclose(found, np.array(values, dtype=float), rtol=0, atol=1e-12 * scale, err_msg=name)


def test_the_environment_has_numpy_alone_and_the_command_line_runs(python, tmp_path):
    """The comparison above would be uninformative if SciPy were imported in another way."""
    listed = json.loads(in_environment(python, "-m", "pip", "list", "--format", "json", cwd=tmp_path))
    assert {entry["name"].lower() for entry in listed} <= {"numpy", "cem-failure-modes", "pip", "setuptools", "wheel"}
    document = json.loads(in_environment(python, "-m", "cem", "info", GOLDEN, "--json", cwd=tmp_path))
    assert [mode["weight"] for mode in document["modes"]] == cem.load(GOLDEN).weights_.tolist()
    in_environment(python, "-m", "cem", "export-c", GOLDEN, "--output", "fleet.h", cwd=tmp_path)
    assert (tmp_path / "fleet.h").read_text() == cem.load(GOLDEN).export_c()


def test_other_compiled_code_is_built_against_the_wheel_and_runs(python, tmp_path):
    """The wheel would lack a .pxd, or its C-level interface would not be the one that they declare."""
    pytest.importorskip("Cython", reason="Cython is not installed: the example was not compiled against the wheel")
    for name in ("gateway.pyx", "setup.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    (site,) = (python.parent.parent / "lib").glob("python3.*/site-packages")
    environment = {**os.environ, "PYTHONPATH": str(site), "CFLAGS": "-O1"}
    run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", env=environment, cwd=tmp_path)
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "import cem, gateway, numpy as np\n"
        f"model = cem.load({str(GOLDEN)!r}); scorer = model.scorer(); unit = scorer.unit()\n"
        "times = np.linspace(0.0, 8.0, 9); found = np.empty((9, 2))\n"
        "values = np.ascontiguousarray(model.curves(times)[0].T + 0.1)\n"
        "assert gateway.watch(scorer, times, values, found) == 0\n"
        "for t, x, row in zip(times, values, found):\n"
        "    unit.update(t, x); assert (unit.mode_probabilities() == row).all()\n"
        "assert gateway.log_likelihood(scorer, times, values) == (0, unit.log_likelihood())\n"
        "print(cem.__file__, found[-1].sum())"
    )
    place, total = in_environment(python, "-c", code, cwd=tmp_path).split()
    assert place.startswith(str(site)) and float(total) == pytest.approx(1.0)


def test_a_fit_says_what_it_lacks(python, tmp_path):
    """Not a traceback from deep inside: the name of what is missing."""
    code = "import cem, numpy as np; cem.FailureModeEM(1).fit(np.random.default_rng(0).normal(size=(9, 5, 1)))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode != 0 and "scipy" in done.stderr.splitlines()[-1].lower()
