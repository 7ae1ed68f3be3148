"""The benchmarks' pages say what the files of results say, and every file of results names where it comes from."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import warnings

import numpy as np
import pytest
from places import BENCHMARKS
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal

import cem

RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


def script(name):
    """A script of the benchmarks as a module; they find what they share in their own folder."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.append(str(BENCHMARKS))
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables():
    return script("tables")


def blocks(tables):
    """Names of the tables that the pages have room for."""
    return [name for path in tables.pages() for name in tables.markers(path.read_text(encoding="utf-8"))]


def test_the_tables_of_the_pages_are_those_of_the_results(tables):
    """A reader would be shown figures that no run gave."""
    for path in tables.pages():
        page = path.read_text(encoding="utf-8")
        assert tables.with_tables(page) == page, path.name


def test_every_table_is_on_one_page(tables):
    """Figures would be lost when a page is rewritten, or differ between two pages."""
    assert sorted(blocks(tables)) == sorted([*tables.TABLES, tables.QUESTIONS])


def test_a_changed_figure_changes_its_page(tables, monkeypatch, tmp_path):
    """The comparison above would pass whatever the results are."""
    for path in RESULTS:
        record = json.loads(path.read_text(encoding="utf-8"))
        record.get("machine", record)["processor"] = "another one"
        (tmp_path / path.name).write_text(json.dumps(record), encoding="utf-8")
    pages = [path.read_text(encoding="utf-8") for path in tables.pages()]
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert sum(tables.with_tables(p).count("another one") for p in pages) == len(RESULTS) - len(tables.PAGES) > 0


def test_a_missed_target_changes_the_first_page(tables, monkeypatch, tmp_path):
    """The first page would say "met" of any figure."""
    for path in RESULTS:
        record = json.loads(path.read_text(encoding="utf-8"))
        if path.stem == "cold_start":
            record["rows"][-1]["against_numpy"] = 1.7
        (tmp_path / path.name).write_text(json.dumps(record), encoding="utf-8")
    before = tables.block(tables.QUESTIONS)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    changed = set(tables.block(tables.QUESTIONS).splitlines()) - set(before.splitlines())
    assert len(changed) == 1 and "1.70 times" in (line := changed.pop()) and line.endswith("| 1.3 times | **missed** |")


def test_the_first_page_answers_ten_questions_and_its_links_lead_somewhere():
    """A reader would look for a report that has another name, or a page without a way back."""
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| \d+ \|", readme, re.M)) == 10
    reports = {path.name for path in (BENCHMARKS / "reports").glob("*.md")}
    assert set(re.findall(r"\]\(reports/([\w-]+\.md)", readme)) == reports
    for target in re.findall(r"\]\(([^)#]+)", readme):
        assert (BENCHMARKS / target).exists(), target
    for name in reports:
        page = (BENCHMARKS / "reports" / name).read_text(encoding="utf-8")
        assert "[Benchmarks](../README.md)" in page
        for target in re.findall(r"\]\(([^)#]+)", page):
            assert (BENCHMARKS / "reports" / target).exists(), f"{name}: {target}"


@pytest.fixture(scope="module")
def charts():
    return script("charts")


@pytest.mark.parametrize("name", ["fits", "intervals"])
def test_a_chart_shows_the_figures_of_the_results(charts, name):
    """The picture would show one figure and the table beside it another; a large one would slow the page."""
    text = (charts.CHARTS / f"{name}.svg").read_text(encoding="utf-8")
    figures = charts.DRAWN[name][0]()
    assert figures and charts.figures_in(text) == figures
    assert len(text.encode()) <= 40_000
    first = charts.svg(name)
    assert charts.svg(name) == first and len(first.encode()) <= 40_000  # no ids drawn at random


def test_a_peer_is_held_against_the_same_likelihood_in_any_unit_of_time():
    """A peer would look worse, or better, than it is: its parameters and ours would go into different formulas."""
    peers = script("peers")
    runs = peers.of_peer.__globals__
    fleet = peers.draw_fleet(60, (8, 8), n_modes=1, p=3, seed=1)
    found = []
    for span in (None, 200.0):
        problem = peers.Problem("", fleet, 1, span)
        row = peers.ours(problem, None, 1)
        assert row["exact"] == pytest.approx(row["claimed"], rel=1e-9)
        found.append(row["exact"])
        # The same curves and covariances in the columns that peers get.
        change = np.linalg.lstsq(problem.design, problem.scaled_design, rcond=None)[0]
        mean, factor = np.array([1.0, -2.0, 3.0]), np.diag([0.5, 0.4, 0.3])
        moved = change @ mean, change @ factor @ factor.T @ change.T
        noise = np.array([0.25])
        scaled = runs["exact_log_likelihood"](
            fleet, problem.scaled_design, np.ones(1), mean[None], (factor @ factor.T)[None], noise
        )
        other = runs["exact_log_likelihood"](fleet, problem.design, np.ones(1), moved[0][None], moved[1][None], noise)
        assert other == pytest.approx(scaled, rel=1e-8)
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_a_fit_without_the_load_finds_modes_of_the_load_and_says_so():
    """The benchmark would show nothing if wear could be seen without the load, or if the fit gave no warning."""
    machines = script("load_drives_wear").loaded_machines(1)
    assert machines.correlation() > 0.3
    ari, warned = script("load_drives_wear").fitted(machines, 1, with_load=False)
    assert ari < 0.5 and warned


def test_regimes_inside_and_by_hand_are_held_against_the_same_cut_offs():
    """One of the two would have the easier ages; a held-out engine in the training rows would make both look good."""
    regimes = script("regimes_inside")
    rng = np.random.default_rng(0)
    lives = rng.integers(60, 90, size=20)
    rows = np.concatenate([np.column_stack([np.full(n, u), np.arange(1, n + 1)]) for u, n in enumerate(lives)])
    rows = np.column_stack([rows, rng.normal(size=(len(rows), 24))])
    drawn = regimes.folds(rows, 3)
    assert len(drawn) == 5
    for fold, again in zip(drawn, regimes.folds(rows, 3), strict=True):
        for running, left, same in zip(fold.running, fold.left, again.running, strict=True):
            units, ages = np.unique(running[:, 0], return_counts=True)
            assert not set(units) & set(fold.train[:, 0])
            assert np.array_equal(running, same) and ages.min() >= 31
            by_unit = dict(zip(dict.fromkeys(running[:, 0]), left, strict=True))
            assert all(by_unit[u] == lives[int(u)] - age for u, age in zip(units, ages, strict=True))
    values = regimes.standardised(drawn[0].train, drawn[0].train)
    assert values.shape == (len(drawn[0].train), len(regimes.SENSORS))


def test_no_script_is_imported_by_others_only():
    """Someone who lists the folder would run a module that does nothing."""
    for path in BENCHMARKS.glob("*.py"):
        assert "__main__" in path.read_text(encoding="utf-8"), f"{path.name} belongs in benchmarks/common"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_name_their_script_and_machine(path, tables):
    """Nobody could run it again, or know on what it ran."""
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (BENCHMARKS / f"{path.stem}.py").exists()
    assert path.stem in tables.TABLES or path.stem in tables.PAGES
    assert tables.rows_of(record)
    assert record.get("machine", record)["processor"]
    if "rows" in record:  # written by the harness
        assert record["name"] == path.stem
        assert record["commit"]
        assert record["date"]
        assert not record["quick"]
        for key in ("processor", "cores", "instruction_level", "python", "numpy", "scipy", "cem"):
            assert record["machine"][key]


CALLGRIND = """\
version: 1
events: Ir sysCount sysTime

ob=(1) /env/cem/_scorer.cpython-311-x86_64-linux-gnu.so
fl=(1) ???
fn=(1) 0x10
0 100
cob=(2) /lib/libm.so.6
cfn=(2) exp
calls=3 0
0 60
cob=(3) /env/cem/_blocks.cpython-311-x86_64-linux-gnu.so
cfn=(3) 0x20
calls=1 0
0 1000 1 5
cfn=(4) 0x30
calls=1 0
+2 7
cob=(4) /lib/libc.so.6
cfn=(5) malloc@plt
calls=2 0
0 40 1 3

ob=(3)
fn=(3)
0 900 1

ob=(2)
fn=(2)
0 60

ob=(5) /lib/python.so
fn=(6) main
0 5000
cob=(1)
cfn=(1)
calls=1 0
0 1200
"""


def test_a_kernel_is_counted_with_what_it_calls_and_without_its_callers():
    """The figure would hold Python's own instructions, or count a call between two files of the kernel twice."""
    counts = script("common/kernel_counts").parsed(CALLGRIND, re.compile(r"/cem/_(scorer|blocks)\."))
    assert counts.instructions == 100 + 60 + 40 + 900
    assert counts.system_calls == 2
    assert counts.called == {"exp": 3, "malloc": 2} and counts.allocations == 2
    assert (counts - counts).instructions == 0 and not (counts - counts).called


# ---- the scoreboard --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scoreboard():
    return script("scoreboard")


def test_the_page_of_the_scoreboard_is_that_of_its_figures(scoreboard):
    """A reader would compare a change with figures that no run gave."""
    record = json.loads((BENCHMARKS / "scoreboard.json").read_text(encoding="utf-8"))
    assert (BENCHMARKS / "scoreboard.md").read_text(encoding="utf-8") == scoreboard.page(record)
    assert all(row["figures"] and row["commit"] for row in record.values())


def test_a_row_measured_again_leaves_the_others_as_they_were(scoreboard):
    """A session that refreshes one row would put its commit beside figures of another one."""
    record = {"b": {"commit": "old"}, "c": {"commit": "old"}}
    record = scoreboard.merged(record, "a", {"commit": "new"}, ["a", "b", "c"])
    assert record == {"a": {"commit": "new"}, "b": {"commit": "old"}, "c": {"commit": "old"}}
    assert list(record) == ["a", "b", "c"]
    assert scoreboard.merged(record, "c", {"commit": "newer"}, ["a", "b", "c"])["b"]["commit"] == "old"


# ---- names that have moved -------------------------------------------------------------------------------------------


def test_a_name_is_found_in_the_first_place_that_has_it(monkeypatch):
    """The comparison with an older release would not start, or would take a name of the wrong module."""
    moved = script("common/moved")
    monkeypatch.setitem(moved._PLACES, "dumps", ("cem.nowhere", "cem.errors", "json"))
    assert moved._found("dumps") is json.dumps
    monkeypatch.setitem(moved._PLACES, "dumps", ("cem.nowhere", "cem.errors"))
    with pytest.raises(ImportError, match=r"has dumps in none of cem\.nowhere, cem\.errors"):
        moved._found("dumps")


@pytest.fixture(scope="module")
def coverage():
    return script("coverage")


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_smallest_sets_of_a_right_model_hold_their_level(coverage, level):
    """Coverage of modes would look poor, or good, for a model that is right."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.3, 0.3, 0.3], size=500)
    held = [coverage.in_smallest_set(p[None], np.array([k]), level) for k in range(3) for p in probabilities]
    expected = (np.array(held) * probabilities.T.ravel()).reshape(3, 500).sum(axis=0)
    np.testing.assert_allclose(expected, level, rtol=1e-12)


@pytest.mark.parametrize("name", ["missing channels", "linked, close", "three modes"])
def test_what_coverage_takes_for_true_is_what_the_package_says_of_the_true_parameters(coverage, name):
    """Every share of intervals that hold would be about another truth."""
    design = coverage.DESIGNS[name]
    panel, modes = coverage.fleet(design, 40, 5)
    order = np.arange(design.K)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = coverage.fitted(design, panel, modes, order)
    truth = coverage.true_values(em.model_, design, order)
    K, C, p = em.means_.shape
    at = {"weights": np.array(design.weights), "means": np.empty((K, C, p)), "noise": np.empty((K, C))}
    covariances = np.empty((K, C, p, p))
    for k, c in np.ndindex(K, C):
        label, channel = em.mode_labels_[k], em.model_.channels[c]
        shared = None if design.covariance == "pooled" else label
        at["noise"][k, c] = truth["noise", label, channel, ""]
        for i in range(p):
            at["means"][k, c, i] = truth["mean", label, channel, str(i)]
            covariances[k, c, i, i] = truth["variance", shared, channel, str(i)]
            for j in range(i):
                covariances[k, c, i, j] = covariances[k, c, j, i] = truth["covariance", shared, channel, f"{j}, {i}"]
    new = coverage.new_units(design, 20, 5).seen
    expected = coverage.true_probabilities(design, new)
    for unit in range(20):
        logs = np.log(at["weights"])
        for k in range(K):
            loading = np.zeros(0)
            blocks, aways = [], []
            own = slice(*new.offsets[unit : unit + 2])
            for c in np.flatnonzero(~np.isnan(new.values[own][0])):
                functions = em.model_.bases[c](new.times[own])
                aways.append(new.values[own, c] - functions @ at["means"][k, c])
                S = covariances[k, c]
                if design.rank:
                    g = truth["loading", em.mode_labels_[k], em.model_.channels[c], "0, factor 0"]
                    S = S - g * g
                    loading = np.append(loading, functions[:, 0] * g)
                blocks.append(functions @ S @ functions.T + at["noise"][k, c] * np.eye(len(functions)))
            V = block_diag(*blocks)
            if design.rank:
                V += np.outer(loading, loading)
            logs[k] += multivariate_normal.logpdf(np.concatenate(aways), cov=V)
        np.testing.assert_allclose(np.exp(logs - np.logaddexp.reduce(logs)), expected[unit], rtol=1e-6, atol=1e-9)


def test_every_figure_of_coverage_has_a_column(coverage, tables):
    """A figure would be measured for an hour, and shown nowhere."""
    done = {}
    for name in ("apart", "lives"):
        found = coverage.one_fleet((name, 100, 3, True))
        done[f"{name} | 100"] = {f"fate:{found.pop('fate')}": 1, **found}
    rows = coverage.summary_of(coverage.rows_of(done))
    shares = sorted({key for row in rows for key in row if key.endswith("_90") or key.startswith("coverage")})
    text = tables.table("coverage", {"rows": rows, "date": "today"})
    cells = [len(line.split("|")) for line in text.splitlines() if line.startswith("|")]
    assert len(shares) == 12 and len(set(cells)) == 1
    for row in rows:
        marked = {**row, **dict.fromkeys(shares, 0.123456)}
        assert tables.table("coverage", {"rows": [marked], "date": "today"}).count("12.3%") == len(shares)


@pytest.fixture(scope="module")
def two_modes(tables):
    return importlib.import_module("common.two_modes")


def test_a_right_model_scores_like_the_true_parameters(two_modes):
    """An error in the true probabilities would make every fit look as much too sure as it is large."""
    kind = ("close", 100, "unlike")
    new = two_modes.new_units(3, kind)
    curves, variances = two_modes.CURVES["close"], two_modes.VARIANCES["unlike"]
    for unit in range(20):
        t, x = new.times[unit], new.values[unit]
        phi = np.stack([t**0, t], axis=1)
        logs = np.log(two_modes.WEIGHTS)
        for k, c in np.ndindex(2, 2):
            V = (phi * variances[k]) @ phi.T + two_modes.NOISE[k, c] * np.eye(len(t))
            logs[k] += multivariate_normal.logpdf(x[:, c], phi @ curves[k, c], V)
        expected = np.exp(logs[0] - np.logaddexp(*logs))
        np.testing.assert_allclose(new.probabilities[unit], expected, rtol=1e-9, atol=1e-12)
    assert two_modes.excess(new.probabilities, new) == 0.0
    assert two_modes.excess(np.full(60, 0.5), new) > 0.1


def measured(task):
    seed, (_, n_units, _) = task
    if seed == 1025 and n_units == 400 and not measured.mended:
        raise ValueError("the machine went away")
    return {"seed": seed, "third": (seed + n_units) / 3}


measured.mended = False


def test_an_interrupted_run_over_fleets_goes_on_where_it_was(two_modes, tmp_path):
    """Hours of fits would be lost, or some fleets would count twice."""
    progress, shown = tmp_path / "results.progress", []
    options = {
        "first": 1000, "n_fleets": 30, "processes": 1, "progress": progress, "shown": lambda *one: shown.append(one),
    }  # fmt: skip
    kinds = two_modes.KINDS[3:]
    with pytest.raises(ValueError, match="went away"):
        two_modes.fleets_of_kinds(measured, kinds, **options)
    saved = json.loads(progress.read_text(encoding="utf-8"))["done"]
    assert [len(fleets) for fleets in saved.values()] == [30, 20]
    measured.mended = True
    found = two_modes.fleets_of_kinds(measured, kinds, **options)
    assert found == {kind: [measured((seed, kind)) for seed in range(1000, 1030)] for kind in kinds}
    assert [kind for kind, _ in shown] == [kinds[0], *kinds]
    other = two_modes.fleets_of_kinds(measured, kinds, **{**options, "first": 2000, "n_fleets": 1})
    assert [fleets[0]["seed"] for fleets in other.values()] == [2000, 2000]


def test_the_shrinkage_of_a_fleet_is_that_of_its_fits(tables, two_modes):
    """The issue's first figure is a ratio of these numbers: a swapped name would turn it round."""
    shrinkage, kind = script("shrinkage"), ("apart", 25, "unlike")
    fleets = [shrinkage.one_fleet((seed, kind)) for seed in (1001, 1002)]
    new, panel = two_modes.new_units(1002, kind), two_modes.panel_of(1002, kind)
    for covariance in ("auto", "full", "pooled"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            em = cem.FailureModeEM(2, basis=cem.Polynomial(1), covariance=covariance, random_state=0).fit(panel)
        p = em.predict_proba(new.panel)[:, np.abs(em.means_[:, 0, 0]).argmin()]
        assert fleets[1][covariance] == pytest.approx(two_modes.excess(p, new))
    row = shrinkage.row_of(kind, fleets)
    means = {name: np.mean([fleet[name] for fleet in fleets]) for name in ("auto", "full", "pooled")}
    assert row["ratio"] == pytest.approx(means["auto"] / min(means["full"], means["pooled"]), abs=1e-3)
    text = tables.table("shrinkage", {"rows": [row], "date": "today"})
    assert all(f"{means[name]:.3f}" in text for name in means) and f"{row['time_by_full']:.1f}" in text
