"""One table of what the package answers, and how fast: every change shows its rows before and after.

    python benchmarks/scoreboard.py --rows lives.fd001 golden     # measures these rows, and puts them into the table
    python benchmarks/scoreboard.py --list                        # all rows, and how long each takes
    python benchmarks/scoreboard.py                               # all of them: hours

Writes scoreboard.json and, from it, scoreboard.md. A row that is not measured keeps its figures and the commit that
they are of. The cases and the large data lie in ../shared (or where CEM_SHARED_DATA says, the cases beside it).
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cem

JSON, PAGE = harness.HERE / "scoreboard.json", harness.HERE / "scoreboard.md"
CASES = harness.SHARED_DATA.parent / "cases"
TESTS = harness.HERE.parent / "tests"
CONFIDENT_FLEETS = 80  # of g13, as its own default
REGIME_SEEDS = (9000, 9001)


def figure(name: str, value: float, better: str, error: float | None = None) -> dict[str, Any]:
    """One line of the table; `better`: "lower", "higher", "0.9" for a share that should be that, or "same"."""
    return {"figure": name, "value": float(value), "better": better, "error": None if error is None else float(error)}


# ---- lives -----------------------------------------------------------------------------------------------------------


def nested_lives(name: str) -> list[dict[str, Any]]:
    """`nested.py`: candidate and calibration chosen inside five outer folds, ten committed cut-offs a unit."""
    import cmapss
    import nested

    panel = cem.datasets.read_cmapss(harness.SHARED_DATA / "cmapss" / f"train_{name}.txt", channels=cmapss.SENSORS)
    ages = cmapss.committed_ages(name, panel)
    found = []
    for row in nested.remaining_lives(name, panel, ages, Namespace(quick=False, jobs=1)):
        kind = row["laws"]
        found += [
            figure(f"{kind}: RMSE capped at 125", row["rmse_capped"], "lower", row["rmse_standard_error"]),
            figure(f"{kind}: 90 % intervals hold", row["coverage_90"], "0.9", row["error_90"]),
            figure(f"{kind}: CRPS", row["crps"], "lower"),
        ]
    return found


def lives_by_hand() -> list[dict[str, Any]]:
    """FD002, its sensors standardised by flight condition outside the package: what regimes inside are held against."""
    case = _module(CASES / "by_hand_regimes.py")
    table = np.loadtxt(harness.SHARED_DATA / "cmapss" / "train_FD002_part.txt")
    found = []
    for seed in REGIME_SEEDS:
        error, held = case.fold_scores("FD002", table, seed)
        found += [
            figure(f"seed {seed}: RMSE capped at 125", error, "lower"),
            figure(f"seed {seed}: 90 % intervals hold", held, "0.9"),
        ]
    return found


@dataclass(frozen=True)
class Crossing:
    """Curves that cross a threshold, each unit left out once and read until an inspection."""

    file: str
    columns: tuple[str, str, str]
    threshold: float
    inspections: tuple[float, ...]
    degree: int


LASER = Crossing("laser.csv", ("unit", "hours", "increase"), 5.0, (1000.0, 1500.0, 2000.0), 1)
VIRKLER = Crossing("virkler.csv", ("unit", "cycles", "crack"), 40.0, (60e3, 100e3, 140e3), 2)


def crossings(case: Crossing) -> list[dict[str, Any]]:
    """RMSE of the median crossing time, and how often 90 % intervals hold, at each inspection; K = 1, a polynomial."""
    unit, clock, value = case.columns
    panel = cem.tables.read_panel(
        harness.SHARED_DATA / "degradation" / case.file, unit=unit, time=clock, channels=[value], response=value
    )
    actual = np.array([_crossing_time(panel, l, case.threshold) for l in range(panel.n_units)])
    everyone = np.arange(panel.n_units)
    found = []
    for inspection in case.inspections:
        errors, held = [], []
        for l in everyone:
            model = cem.FailureModeEM(1, basis=cem.Polynomial(case.degree)).fit(panel[everyone != l]).model_
            seen = panel[[l]].until(inspection)
            law = model.remaining_life(seen, case.threshold)
            left = actual[l] - seen.times[-1]
            low, high = law.interval(0.9)
            errors.append(float(np.ravel(law.quantile(0.5))[0]) - left)
            held.append(bool(np.ravel(low)[0] <= left <= np.ravel(high)[0]))
        n = len(everyone)
        share = float(np.mean(held))
        error = (share * (1.0 - share) / n) ** 0.5
        found += [
            figure(f"at {inspection:,.0f} {clock}: RMSE, {clock}", np.sqrt(np.mean(np.square(errors))), "lower"),
            figure(f"at {inspection:,.0f} {clock}: 90 % intervals hold", share, "0.9", error),
        ]
    return found


def _crossing_time(panel: cem.Panel, l: int, threshold: float) -> float:
    own = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
    t, x = panel.times[own], panel.values[own, 0]
    after = int(np.argmax(x >= threshold))
    return float(np.interp(threshold, x[after - 1 : after + 1], t[after - 1 : after + 1]))


# ---- fits ------------------------------------------------------------------------------------------------------------


def overconfidence(index: int) -> list[dict[str, Any]]:
    """A row of the case g13, both structures of the covariance."""
    case = _module(CASES / "g13_overconfidence.py")
    found = []
    for structure in ("full", "pooled"):
        said = case.row(*case.ROWS[index], structure, CONFIDENT_FLEETS)
        score, above, error, wrong, claimed, actual, novel, held = _numbers(
            r"log score ([\d.]+), above the true parameters' (-?[\d.]+) \+- ([\d.]+)  error ([\d.]+) .*claimed "
            r"([\d.]+), wrong ([\d.]+)  novelty <= .01: ([\d.]+)  90 % forecasts hold ([\d.]+)",
            said,
        )
        found += [
            figure(f"{structure}: log score", score, "lower"),
            figure(f"{structure}: log score above the true parameters'", above, "lower", error),
            figure(f"{structure}: wrong", wrong, "lower"),
            figure(f"{structure}: wrong where sure, beyond what is claimed", actual - claimed, "lower"),
            figure(f"{structure}: novelty <= .01", novel, "0.01"),
            figure(f"{structure}: 90 % forecasts hold", held, "0.9"),
        ]
    return found


def small_fleet_search() -> list[dict[str, Any]]:
    """Of twelve small fleets, how many the default search brings to the best optimum that anything found (case g11)."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(cem.__file__).parents[1]), str(CASES)])}
    done = subprocess.run(
        [sys.executable, str(CASES / "g11_search_small_fleets.py")],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    found = []
    for structure in ("full", "pooled"):
        (line,) = re.findall(rf"^{structure} \{{.*of 12 .*$", done.stdout, re.MULTILINE)
        hits, agreement = _numbers(r"'d0': \((\d+), (?:np\.float64\()?([\d.]+)", line)
        found += [
            figure(f"{structure}: best optimum found, of 12", hits, "higher"),
            figure(f"{structure}: adjusted Rand index", agreement, "higher"),
        ]
    return found


def golden() -> list[dict[str, Any]]:
    """ℓ of fits that stand for ever: the demo fleet, published data, the pickled estimator of 0.1.0 fitted again."""
    from cem.tables import read_panel

    sys.path.insert(0, str(TESTS))
    import pickle

    from golden_cases import DATA, ESTIMATOR, FORWARD, PANEL, forward_numbers, record

    fleet = cem.datasets.load_demo_fleet()
    found = [
        figure(f"demo fleet, K = 3, {covariance}: ℓ",
               cem.FailureModeEM(3, covariance=covariance, random_state=0).fit(fleet).log_likelihood_, "higher")
        for covariance in ("full", "pooled", "diagonal")
    ]  # fmt: skip
    published = {"sleepstudy": ("Subject", "Days", "Reaction"), "orthodont": ("Subject", "age", "distance")}
    for name, (unit, clock, value) in published.items():
        panel = read_panel(TESTS / "data" / f"{name}.csv", unit=unit, time=clock, channels=[value])
        em = cem.FailureModeEM(1, basis=cem.Polynomial(1), tol=1e-12).fit(panel)
        found.append(figure(f"{name}: ℓ", em.log_likelihood_, "higher"))
    estimator, panel = (pickle.loads((DATA / name).read_bytes()) for name in (ESTIMATOR, PANEL))
    found.append(figure("estimator of 0.1.0: ℓ", estimator.fit(panel).log_likelihood_, "higher"))
    scored = record()["panel"]
    for name in FORWARD:
        numbers = forward_numbers(cem.load(DATA / name), scored)
        found.append(figure(f"{name}: Σ ln P", np.sum(numbers["log_likelihoods"]), "same"))
    return found


# ---- speeds ----------------------------------------------------------------------------------------------------------


def speeds() -> list[dict[str, Any]]:
    """`twelve.py`. Between two commits, `compare.py` says more: it measures them in turn."""
    import twelve

    return [
        figure(f"{row['figure']}, {row['unit']}", row["values"][0], "lower") for row in twelve.measured([twelve.here()])
    ]


def cold_start() -> list[dict[str, Any]]:
    """`cold_start.py`: a process from start to first score."""
    import cold_start as benchmark

    rows = benchmark.measured(22)
    return [
        figure(f"{rows[-1]['process']}, seconds", rows[-1]["seconds"], "lower"),
        figure("in times of `import numpy`", rows[-1]["against_numpy"], "lower"),
    ]


def wheel() -> list[dict[str, Any]]:
    """The wheel of this Python and machine, built as for a release by `wheels/build.py`."""
    import platform
    import zipfile

    target = "cp{}{}-{}".format(*sys.version_info[:2], platform.machine())
    with tempfile.TemporaryDirectory() as folder:
        builder = harness.HERE.parent / "wheels" / "build.py"
        subprocess.run([sys.executable, str(builder), "--only", target, "--output", folder], check=True)
        (path,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        return [
            figure(f"{target}, MB", path.stat().st_size / 1e6, "lower"),
            figure(f"{target} unpacked, MB", unpacked / 1e6, "lower"),
        ]


# ---- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A row of the table: some figures that are measured together."""

    what: str
    source: str
    measure: Callable[[], list[dict[str, Any]]]


def rows() -> dict[str, Row]:
    found = {
        f"lives.{name.lower()}": Row(f"{name}, nested folds", "nested.py", lambda name=name: nested_lives(name))
        for name in ("FD001", "FD003")
    }
    found["lives.fd002"] = Row("FD002, conditions by hand", "cases/by_hand_regimes.py", lives_by_hand)
    for name, case in {"laser": LASER, "virkler": VIRKLER}.items():
        found[f"lives.{name}"] = Row(
            f"{name}, each unit left out, threshold {case.threshold:g}, Polynomial({case.degree})",
            f"data/degradation/{case.file}",
            lambda case=case: crossings(case),
        )
    for i in range(5):
        found[f"sure.{i + 1}"] = Row(
            f"how sure, and how right: row {i + 1} of g13, {CONFIDENT_FLEETS} fleets",
            "cases/g13_overconfidence.py",
            lambda i=i: overconfidence(i),
        )
    found["search"] = Row("small fleets at irregular times", "cases/g11_search_small_fleets.py", small_fleet_search)
    found["golden"] = Row("fits that stand for ever", "tests/data", golden)
    found["speeds"] = Row("twelve speeds, one thread", "twelve.py", speeds)
    found["cold-start"] = Row("a fresh process", "cold_start.py", cold_start)
    found["wheel"] = Row("size of a wheel", "wheels/build.py", wheel)
    return found


def _module(path: Path) -> Any:
    """A script of the cases as a module."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _numbers(pattern: str, text: str) -> list[float]:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"a case prints what is not understood here: {text!r}")
    return [float(ast.literal_eval(group)) for group in match.groups()]


def page(record: dict[str, Any]) -> str:
    """The table as Markdown."""
    lines = [
        "# Scoreboard",
        "",
        "What the package answers, and how fast. `python benchmarks/scoreboard.py --rows NAME` measures a row again",
        "and writes this page; each row names the commit that its figures are of. “±” is one standard error.",
    ]
    for name, row in record.items():
        lines += [
            "",
            f"## {name}",
            "",
            f"{row['what']}; {row['source']}; commit {row['commit']}, {row['date']}; "
            f"{row['processor_seconds']:,.0f} s of the processor.",
            "",
            "| figure | value | better |",
            "| --- | --- | --- |",
        ]
        for line in row["figures"]:
            error = "" if line["error"] is None else f" ± {line['error']:.2g}"
            lines.append(f"| {line['figure']} | {_shown(line['value'])}{error} | {line['better']} |")
    return "\n".join(lines) + "\n"


def _shown(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value:,.0f}"
    return f"{value:,.4f}" if abs(value) >= 100 else f"{value:.4g}"


def merged(record: dict[str, Any], name: str, row: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The record with one row put in, in the order of the rows."""
    together = record | {name: row}
    return {known: together[known] for known in order if known in together}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = rows()
    parser.add_argument("--rows", nargs="+", choices=sorted(known), metavar="NAME", default=list(known))
    parser.add_argument("--list", action="store_true", help="the names of the rows, and the time that each took")
    options = parser.parse_args()
    if options.list:
        record = json.loads(JSON.read_text(encoding="utf-8")) if JSON.exists() else {}
        for name, row in known.items():
            took = f"{record[name]['processor_seconds']:,.0f} s" if name in record else "never measured"
            print(f"{name:<14}{took:>16}  {row.what}")
        return
    warnings.simplefilter("ignore", cem.CemWarning)
    for name in options.rows:
        commit = harness.commit()
        before = sum(os.times()[:4])
        measured = known[name].measure()
        row = {
            "what": known[name].what,
            "source": known[name].source,
            "command": f"python benchmarks/scoreboard.py --rows {name}",
            "commit": commit,
            "date": time.strftime("%Y-%m-%d") if commit.endswith("+changes") else harness.date(),
            "machine": harness.machine(),
            "load_average": harness.load_average(),
            "processor_seconds": round(sum(os.times()[:4]) - before, 1),
            "figures": measured,
        }
        # Read only now: a long row must not undo what another run has written meanwhile.
        record = json.loads(JSON.read_text(encoding="utf-8")) if JSON.exists() else {}
        record = merged(record, name, row, list(known))
        harness.write(JSON, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        harness.write(PAGE, page(record))
        for line in measured:
            print(f"{name:<14}{line['figure']:<64}{_shown(line['value']):>16}", flush=True)


if __name__ == "__main__":
    main()
