"""Fleets of two modes of which a fit is surer than right: five kinds, and new units with their true probabilities.

The kinds differ in how far the modes' curves are apart, how many units there are, and whether the modes have the same
covariances. A fleet is fitted, and new units of the same law are predicted.
"""

from __future__ import annotations

from common import harness

import json  # isort: skip
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cem

__all__ = [
    "KINDS",
    "N_NEW",
    "Kind",
    "NewUnits",
    "drawn",
    "excess",
    "first_mode",
    "fleets_of_kinds",
    "measure",
    "new_units",
    "panel_of",
]

WEIGHTS = np.array([0.6, 0.4])
NOISE = np.array([[0.2, 0.1], [0.3, 0.15]])  # variances, mode by channel
CURVES = {  # mode, channel, (intercept, slope)
    "apart": np.array([[[0, 1.0], [1.0, -0.5]], [[1.2, 2.2], [-0.2, 0.5]]]),
    "close": np.array([[[0, 1.0], [1.0, -0.5]], [[0.6, 1.6], [0.5, 0.0]]]),
}
VARIANCES = {
    "alike": np.array([[0.25, 0.16], [0.25, 0.16]]),
    "unlike": np.array([[0.15, 0.16], [0.40, 0.06]]),
}
KINDS = (  # curves, units, covariances
    ("close", 100, "alike"),
    ("apart", 25, "alike"),
    ("apart", 25, "unlike"),
    ("close", 100, "unlike"),
    ("close", 400, "unlike"),
)
FIRST_SEEDS = (1000, 9000, 9600)  # of development, of the evaluation, of a second one after a change
N_NEW = 60
NEW_SEED = 49_000  # of new units, beyond that of the fleet
_BLOCK = 20  # fleets after which progress is written

Kind = tuple[str, int, str]


class NewUnits(NamedTuple):
    """Units that a fit has not seen; `probabilities` of the first mode are those of the true parameters."""

    modes: np.ndarray
    times: list[np.ndarray]
    values: list[np.ndarray]
    panel: cem.Panel
    probabilities: np.ndarray


def drawn(seed: int, kind: Kind, n_units: int) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """True modes, times and readings of units."""
    rng = np.random.default_rng(seed)
    curves, _, variances = kind
    modes, times, values = rng.choice(2, n_units, p=WEIGHTS), [], []
    for unit, k in enumerate(modes):
        t = np.sort(rng.uniform(-1, 1, rng.integers(5, 16)))
        if unit < 2:
            t[0], t[-1] = -1, 1
        x = np.empty((t.size, 2))
        for c in range(2):
            b = CURVES[curves][k, c] + rng.standard_normal(2) * np.sqrt(VARIANCES[variances][k])
            x[:, c] = b[0] + b[1] * t + np.sqrt(NOISE[k, c]) * rng.standard_normal(t.size)
        times.append(t)
        values.append(x)
    return modes, times, values


def panel_of(seed: int, kind: Kind) -> cem.Panel:
    """The fleet that is fitted."""
    _, times, values = drawn(seed, kind, kind[1])
    return cem.Panel.from_arrays(times, values)


def new_units(seed: int, kind: Kind) -> NewUnits:
    """Units of the same law, for the fleet of a seed."""
    modes, times, values = drawn(seed + NEW_SEED, kind, N_NEW)
    odds = np.array([_true_log_odds(kind, t, x) for t, x in zip(times, values, strict=True)])
    return NewUnits(modes, times, values, cem.Panel.from_arrays(times, values), 1.0 / (1.0 + np.exp(-odds)))


def _true_log_odds(kind: Kind, t: np.ndarray, x: np.ndarray) -> float:
    """Of the first mode against the second for one unit, at the parameters that fleets are drawn from."""
    curves, _, variances = kind
    log_density = []
    for k in range(2):
        total = np.log(WEIGHTS[k])
        for c in range(2):
            design = np.column_stack([np.ones_like(t), t])
            covariance = design * VARIANCES[variances][k] @ design.T + NOISE[k, c] * np.eye(t.size)
            factor = np.linalg.cholesky(covariance)
            z = np.linalg.solve(factor, x[:, c] - design @ CURVES[curves][k, c])
            total -= 0.5 * z @ z + np.log(np.diag(factor)).sum()
        log_density.append(total)
    return float(log_density[0] - log_density[1])


def first_mode(em: cem.FailureModeEM, kind: Kind) -> int:
    """Which mode of a fit is the first of the truth."""
    gaps = [np.abs(means - CURVES[kind[0]]).sum() for means in (em.means_, em.means_[::-1])]
    return int(gaps[0] > gaps[1])


def excess(p: np.ndarray, new: NewUnits) -> float:
    """Log score of the true mode, of probabilities of the first one, above that of the true parameters."""

    def log_score(of_first: np.ndarray) -> float:
        return float(-np.log(np.clip(np.where(new.modes == 0, of_first, 1 - of_first), 1e-9, 1)).mean())

    return log_score(p) - log_score(new.probabilities)


def fleets_of_kinds(
    one: Callable[[tuple[int, Kind]], Any],
    kinds: Sequence[Kind],
    *,
    first: int,
    n_fleets: int,
    processes: int,
    progress: Path | None,
    shown: Callable[[Kind, list[Any]], None],
) -> dict[Kind, list[Any]]:
    """What `one` returns of each fleet, by kind; an interrupted run goes on from its file of progress.

    Parameters
    ----------
    one : function of (seed, kind)
        Measures one fleet; what it returns must go through JSON. It runs in another process.
    kinds : sequence of kinds
    first, n_fleets : int
        First seed, and how many of each kind.
    processes : int
    progress : path or None
        The file; the caller deletes it once its results are written.
    shown : function of (kind, what was found)
        Called when a kind is done.
    """
    done: dict[str, list[Any]] = {}
    if progress is not None and progress.exists():
        saved = json.loads(progress.read_text(encoding="utf-8"))
        done = saved["done"] if saved["first"] == first else {}
    found: dict[Kind, list[Any]] = {}
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for kind in kinds:
            own = done.setdefault(" ".join(map(str, kind)), [])
            while len(own) < n_fleets:
                seeds = range(first + len(own), first + min(len(own) + _BLOCK, n_fleets))
                own += pool.map(one, [(seed, kind) for seed in seeds], chunksize=1)
                if progress is not None:
                    harness.write(progress, json.dumps({"first": first, "done": done}))
            found[kind] = own[:n_fleets]
            shown(kind, found[kind])
    return found


def measure(
    script: str,
    description: str | None,
    one: Callable[[tuple[int, Kind]], Any],
    rows_of: Callable[[Kind, list[Any]], list[dict[str, Any]]],
    shown: Callable[[Kind, list[Any]], None],
    n_fleets: int,
) -> None:
    """The whole of a script that measures fleets of every kind: its options, its runs, its file of results.

    Parameters
    ----------
    script, description : str
        The script's path, which names the results, and its docstring.
    one, shown
        As for `fleets_of_kinds`.
    rows_of : function of (kind, what was found)
        Rows of results.
    n_fleets : int
        How many of each kind, unless the option says otherwise.
    """
    options = harness.arguments(
        description,
        fleets=("fleets of each kind", n_fleets),
        evaluate=("1: the seeds of evaluation, 9000 and above; 2: those from 9600 on", 0),
        only=("this kind only, from 1; 0: all", 0),
        processes=("processes", 2),
    )
    load_before = harness.load_average()
    first = FIRST_SEEDS[options.evaluate]
    kinds = KINDS[options.only - 1 : options.only] if options.only else KINDS
    output = options.output or harness.RESULTS / f"{Path(script).stem}.json"
    progress = None if options.quick else Path(f"{output}.progress")
    found = fleets_of_kinds(
        one, kinds, first=first, n_fleets=4 if options.quick else options.fleets, processes=options.processes,
        progress=progress, shown=shown,
    )  # fmt: skip
    rows = [row for kind, fleets in found.items() for row in rows_of(kind, fleets)]
    harness.write_results(script, options, rows, load_before=load_before, first_seed=first)
    if progress is not None:
        progress.unlink(missing_ok=True)
