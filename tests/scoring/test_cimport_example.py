"""Other compiled code can use the scorer: an example package is built against the installed cem, and run."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conditioned_fleets import conditioned_fleet, fitted
from scorer_cases import draw, make_model

import cem
from cem.basis.families import Polynomial
from cem.covariates import Linear, Regimes
from cem.scoring.scorer import Scorer

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent / "cimport_example"


def build(place, *, path="cem.scoring", installed=None):
    """Compile the example in a directory of its own where nothing but the installed package can be found."""
    source = (EXAMPLE / "gateway.pyx").read_text(encoding="utf-8")
    assert "from cem.scoring cimport" in source
    (place / "gateway.pyx").write_text(source.replace("from cem.scoring cimport", f"from {path} cimport"))
    shutil.copy(EXAMPLE / "setup.py", place)
    installed = installed or Path(cem.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=place, env={**environment, "CFLAGS": "-O1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return place


def imported(place):
    """What a new process says that imports the example there."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(Path(cem.__file__).parents[1])])}
    code = "import gateway; print('imported')"
    return subprocess.run([sys.executable, "-c", code], env=environment, cwd=place, capture_output=True, text=True)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    place = build(tmp_path_factory.mktemp("gateway"))
    sys.path.insert(0, str(place))
    try:
        import gateway
    finally:
        sys.path.remove(str(place))
    return gateway


def test_sources_with_the_path_of_earlier_releases_still_compile(tmp_path):
    build(tmp_path, path="cem._scorer")
    assert imported(tmp_path).stdout == "imported\n"


def test_a_binary_of_another_layout_is_refused_and_reads_no_wrong_bytes(tmp_path):
    """Compiled against declarations whose struct has another number, as those of another release have."""
    package = tmp_path / "other" / "cem"
    for path in Path(cem.__file__).parent.rglob("*.pxd"):
        target = package / path.relative_to(Path(cem.__file__).parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8").replace("scorer_3_t", "scorer_999_t"), encoding="utf-8")
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()
    place = tmp_path / "gateway"
    place.mkdir()
    build(place, installed=package.parent)
    found = imported(place)
    assert found.returncode != 0 and "signature" in found.stderr, found.stderr


def test_a_binary_of_the_flat_releases_is_told_to_be_built_again():
    """Cython imports the module that a binary was compiled against by its name."""
    with pytest.raises(ImportError, match=r"cem\._scorer is now cem\.scoring.*rebuild"):
        importlib.import_module("cem._scorer")


def test_compiled_code_scores_as_python_does(gateway):
    model = make_model(["polynomial", "spline", "line"], 3)
    times = np.linspace(0, 300, 40)
    values = draw(model, times)
    scorer = Scorer(model)
    found = np.full((40, 3), np.nan)
    assert gateway.watch(scorer, times, values, found) == 0
    unit = scorer.unit()
    for t, x, row in zip(times, values, found, strict=True):
        unit.update(t, x)
        np.testing.assert_array_equal(unit.mode_probabilities(), row)


def test_compiled_code_cannot_weigh_linked_channels_one_by_one(gateway):
    """Its numbers would be those of independent channels: over-confident, and nobody would know."""
    rng = np.random.default_rng(0)
    values = [9000.0 + rng.normal(size=(8, 2)) for _ in range(12)]
    panel = cem.Panel.from_arrays([np.arange(8.0)] * 12, values, channels=["a", "b"])
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), linking_rank=1, max_iter=5).fit(panel)
    with pytest.raises(cem.errors.ScorerError, match="compiled callers"):
        gateway.watch(em.model_.scorer(), np.arange(8.0), values[0], np.zeros((8, 1)))


def test_compiled_code_gets_a_status_for_a_bad_reading(gateway):
    model = make_model(["polynomial", "line"], 2)
    scorer = Scorer(model)
    out = np.zeros((1, 2))
    assert gateway.watch(scorer, np.array([np.nan]), np.zeros((1, 2)), out) == 1
    assert gateway.watch(scorer, np.array([1.0]), np.array([[np.inf, 0.0]]), out) == 3
    assert gateway.evidence(scorer, 1.0, 7, 0.0, np.zeros(2), np.zeros(2))[0] == 4
    custom = Scorer(make_model(["custom"], 2))
    assert gateway.watch(custom, np.array([1.0]), np.zeros((1, 1)), out) == 2


def test_compiled_code_reads_the_evidence(gateway):
    model = make_model(["polynomial", "line"], 2)
    scorer = Scorer(model)
    density, misfit = np.zeros(2), np.zeros(2)
    status, common = gateway.evidence(scorer, 8.0, 1, 9062.2, density, misfit)
    unit = scorer.unit()
    unit.update_channel(8.0, "s1", 9062.2)
    expected, expected_misfit = unit._log_densities()
    assert status == 0
    np.testing.assert_allclose(density + common - np.log(model.coordinates.scales[1]), expected, rtol=1e-14)
    np.testing.assert_array_equal(misfit, expected_misfit)


def test_compiled_code_counts_readings_and_has_the_log_likelihood(gateway):
    model = make_model(["polynomial", "spline", "line"], 3)
    times = np.linspace(0, 300, 40)
    values = draw(model, times)
    scorer = Scorer(model)
    unit = scorer.unit()
    unit.update_many(times, values)
    assert gateway.log_likelihood(scorer, times, values) == (0, unit.log_likelihood())
    assert gateway.weights(scorer, 3.0, np.array([9062.0, np.nan, 9061.5])) == [1.0, 0.0, 1.0]
    assert gateway.log_likelihood(scorer, np.array([np.inf]), values[:1])[0] == 1


@pytest.fixture(scope="module")
def conditioned():
    """Regimes, a by-mode column, covariates of units, and one unit's rows of all."""
    model = fitted(
        conditioned_fleet(), basis=Polynomial(1), regimes=Regimes("load", n=3), membership=["site"],
        covariates={"b": ["stage", "rate"], "c": [Linear("speed", by_mode=True)]},
    ).model_  # fmt: skip
    panel = conditioned_fleet(4, n_units=1)
    levels = {name: model.conditions.levels.get(name) for name in model.covariates}
    rows = panel.conditions(model.covariates, levels)
    return model, panel, rows


def test_compiled_code_scores_under_conditions_as_python_does(gateway, conditioned):
    model, panel, rows = conditioned
    assert set(model.unit_covariates) == {"rate", "site"}
    own = {name: panel.covariate(name)[0] for name in model.unit_covariates}
    of_unit = np.array([float(own["rate"]) if name == "rate" else float("AB".index(own["site"])) for name in own])
    scorer = model.scorer()
    found, log_likelihood = np.full((len(rows), 2), np.nan), np.zeros(1)
    assert gateway.watch_at(scorer, of_unit, panel.times, panel.values, rows, found, log_likelihood) == 0
    unit = scorer.unit(own)
    for i, row in enumerate(found):
        unit.update(panel.times[i], panel.values[i], {name: panel.covariate(name)[i] for name in model.covariates})
        np.testing.assert_array_equal(unit.mode_probabilities(), row)
    assert unit.log_likelihood() == log_likelihood[0]


def test_compiled_code_gets_a_status_for_wrong_conditions(gateway, conditioned):
    """Called as for a model without conditions, a reading of any load would be scored as if there were one load."""
    model, panel, rows = conditioned
    scorer, of_unit = model.scorer(), np.array([0.0, 0.0])
    times, values, out, total = panel.times[:1], panel.values[:1], np.zeros((1, 2)), np.zeros(1)

    def status(own, w):
        return gateway.watch_at(scorer, own, times, values, w, out, total)

    assert gateway.watch(scorer, times, values, out) == 6
    assert status(of_unit, None) == 6
    assert status(None, rows[:1]) == 6
    assert status(np.array([np.nan, 0.0]), rows[:1]) == 7
    assert status(np.array([0.0, 9.0]), rows[:1]) == 7
    load = model.covariates.index("load")
    for value, expected in [(np.nan, 7), (np.inf, 7), (1e6, 8)]:
        wrong = rows[:1].copy()
        wrong[0, load] = value
        assert status(of_unit, wrong) == expected
    plain = Scorer(make_model(["polynomial", "line"], 2))
    found, one = np.zeros((1, 2)), np.zeros(2)
    assert gateway.watch_at(plain, None, np.ones(1), np.ones((1, 2)), np.ones((1, 1)), found, total) == 6
    assert gateway.watch_at(plain, np.ones(1), np.ones(1), np.ones((1, 2)), None, found, total) == 6
    assert gateway.watch_at(plain, None, np.ones(1), np.full((1, 2), 9062.0), None, found, total) == 0
    assert gateway.one_channel_at(plain, 1.0, 0, 9062.0, np.ones(1), one) == 6


def test_compiled_code_reads_one_channel_under_conditions(gateway):
    model = fitted(conditioned_fleet(), basis=Polynomial(1), regimes=Regimes("load", n=3)).model_
    found = np.zeros(2)
    assert gateway.one_channel_at(model.scorer(), 3.0, 1, 2.0, np.array([50.0]), found) == 0
    unit = model.scorer().unit()
    unit.update_channel(3.0, 1, 2.0, [50.0])
    np.testing.assert_array_equal(unit.mode_probabilities(), found)
