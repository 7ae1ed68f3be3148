"""What reading conditions add to the score of one reading: 15 channels, six regimes of three settings; K = 3, p = 3.

    python benchmarks/condition_scoring.py

`update` with a float64 array of the settings and `mode_probabilities` into a buffer, from Python, against the same
model without regimes, in turn within each round: processor time, medians over the rounds. Then the same with one and
with two columns more: common ones, and by-mode ones that are further columns of every channel's design. Settings in a
tuple, and a category by name, are read by another path. Instructions are those of one reading by callgrind, which
knows no AVX-512.
"""

from __future__ import annotations

from common import harness

import os  # isort: skip
import re
import sys
import time
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scoring
from common import kernel_counts

from cem.covariates import Linear, Regimes
from cem.covariates.columns import Column
from cem.covariates.learning import learned_conditions
from cem.scoring.scorer import Scorer
from cem.statistics import _blocks
from cem.statistics.coordinates import Coordinates

SETTINGS = np.array(
    [(0, 0, 100), (10, 0.25, 100), (20, 0.7, 100), (25, 0.62, 60), (35, 0.84, 100), (42, 0.84, 100)], dtype=float
)
NAMES = ("setting1", "setting2", "setting3")
LEVELS = tuple("abcdef")
FORMS = ("regimes", "regimes in a tuple", "regimes by name", "common columns", "by-mode columns")
ROUNDS, CALLS = 31, 4000
N_READINGS = 100  # the same again and again: a caller has just made its reading, so it is in the nearest cache
TARGET = 1.15
KERNEL = re.compile(r"/cem/(?:\w+/)*_(scorer|blocks|unit)\.[^/]*\.so$")


def settings(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Settings (n, 3) about six points, and which one each is."""
    rng = np.random.default_rng(3)
    true = rng.integers(6, size=n)
    return SETTINGS[true] + rng.uniform(-0.002, 0.002, (n, 3)), true


def with_columns(model: Any, n_columns: int) -> Any:
    """The model with so many further columns of no variance in every channel."""
    p, K, C = scoring.P, scoring.N_MODES, scoring.N_CHANNELS
    size = p + n_columns
    own, coordinates = model.internal_parameters, model.coordinates
    means, factors = np.zeros((K, C, size)), np.zeros((K, C, size, size))
    means[:, :, :p] = own.means.reshape(K, C, p)
    means[:, :, p:] = 0.1
    factors[:, :, :p, :p] = own.factors.reshape(K, C, p, p)
    centres, transforms = np.zeros((C, size)), np.tile(np.eye(size), (C, 1, 1))
    centres[:, :p] = coordinates.centres.reshape(C, p)
    transforms[:, :p, :p] = coordinates.transforms.reshape(C, p, p)
    sizes = (size,) * C
    parts = dict(vars(model))
    parts["internal_parameters"] = replace(own, means=means.reshape(K, -1), factors=factors.reshape(K, -1), sizes=sizes)
    parts["coordinates"] = Coordinates(centres.ravel(), coordinates.scales, transforms.ravel(), sizes)
    return types.SimpleNamespace(**parts)


def make_model(form: str | None) -> Any:
    """The model of `scoring.py`; with six regimes and further columns as the form says."""
    model = scoring.make_model()
    if form is None:
        return model
    rows, true = settings(3000)
    terms: list[Sequence[Any]] = [()] * scoring.N_CHANNELS
    columns: tuple[Column, ...] = tuple(Column(name) for name in NAMES)
    regimes: Any = Regimes(list(NAMES), n=6)
    if form == "regimes by name":
        columns, rows, regimes = (Column("condition", LEVELS),), true[:, None].astype(float), Regimes("condition")
    elif form.endswith("columns"):
        by_mode = form.startswith("by-mode")
        terms = [(Linear("setting1", by_mode=by_mode), Linear("setting2", by_mode=by_mode))] * scoring.N_CHANNELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conditions = learned_conditions(
            columns, rows, channels=model.channels, sizes=[scoring.P] * scoring.N_CHANNELS, terms=terms, regimes=regimes
        )
    rng = np.random.default_rng(4)
    shape = conditions.offsets.shape
    conditions = conditions.with_maps(rng.normal(0, 0.01, shape), np.exp(rng.normal(0, 0.01, shape)))
    conditions = conditions.with_coefficients([rng.normal(0, 0.01, len(own)) for own in conditions.common])
    if any(conditions.by_mode):
        model = with_columns(model, 2)
    model.conditions, model.of_units, model.unit_covariates = conditions, None, ()
    return model


def one_reading(form: str | None, probabilities: bool = True) -> Callable[[int], object]:
    """One update with all channels, and the probabilities."""
    unit, out = Scorer(make_model(form)).unit(), np.empty(scoring.N_MODES)
    update, read = unit.update, unit.mode_probabilities
    w, true = settings(N_READINGS)
    given: list[Any] = list(w)
    if form == "regimes in a tuple":
        given = [tuple(row) for row in w.tolist()]
    elif form == "regimes by name":
        given = [{"condition": LEVELS[g]} for g in true]

    # The same readings in the same container, or the container's part would count as the conditions'.
    readings = [(float(i % 300), x, given[i]) for i, x in enumerate(scoring.readings(N_READINGS))]

    def plain(i: int) -> None:
        t, x, _ = readings[i % N_READINGS]
        update(t, x)
        if probabilities:
            read(out)

    def at(i: int) -> None:
        t, x, own = readings[i % N_READINGS]
        update(t, x, own)
        if probabilities:
            read(out)

    return plain if form is None else at


def processor_ns(call: Callable[[int], object], n: int) -> float:
    """Of one call, mean of n."""
    start = time.process_time_ns()
    for i in range(n):
        call(i)
    return (time.process_time_ns() - start) / n


def drive(form: str, n: int) -> None:
    """What callgrind runs."""
    _blocks.use_instruction_level("avx2")
    call = one_reading(None if form == "plain" else form)
    for i in range(n):
        call(i)


def instructions(form: str) -> int | None:
    if not kernel_counts.available():
        return None
    few, many = 200, 1000
    runs = [
        kernel_counts.counted([sys.executable, __file__, "--drive", form, str(n)], KERNEL, dict(os.environ))
        for n in (few, many)
    ]
    return round((runs[1] - runs[0]).instructions / (many - few))


def main() -> None:
    if sys.argv[1:2] == ["--drive"]:
        drive(sys.argv[2], int(sys.argv[3]))
        return
    options = harness.arguments(__doc__)
    load = harness.load_average()
    rounds, n = (3, 200) if options.quick else (ROUNDS, CALLS)
    rows: list[dict[str, Any]] = []
    for probabilities in (True, False):
        calls = {form: one_reading(form, probabilities) for form in (None, *FORMS)}
        found = np.array([[processor_ns(call, n) for call in calls.values()] for _ in range(rounds)])
        for j, form in enumerate(calls):
            rows.append(
                {
                    "what": "update, mode_probabilities" if probabilities else "update",
                    "form": form or "plain",
                    "processor_ns": float(np.median(found[:, j])),
                    "times_plain": float(np.median(found[:, j] / found[:, 0])),
                }
            )
    for row in rows[: 1 + len(FORMS)]:
        counted = instructions(row["form"])
        if counted is not None:
            row["instructions_avx2"] = counted
    rows[1]["target_times_plain"] = TARGET
    harness.write_results(__file__, options, rows, load_before=load)


if __name__ == "__main__":
    main()
