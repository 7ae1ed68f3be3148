"""Random reading conditions, and settings as turbofans have them."""

from __future__ import annotations

import warnings

import numpy as np

from cem.covariates import Category, Linear, Power, Regimes, Spline
from cem.covariates.columns import Column
from cem.covariates.learning import learned_conditions
from cem.errors import RegimeWarning

CONDITIONS = np.array(
    [(0, 0, 100), (10, 0.25, 100), (20, 0.7, 100), (25, 0.62, 60), (35, 0.84, 100), (42, 0.84, 100)], dtype=float
)
SETTINGS = tuple(Column(f"setting{i}") for i in (1, 2, 3))


def turbofan_settings(rng, n=3000):
    """Settings (n, 3) of six flight conditions and which one each is; the throttle is exact."""
    true = rng.choice(6, size=n, p=[0.15, 0.15, 0.15, 0.15, 0.15, 0.25])
    true[:6] = range(6)
    w = CONDITIONS[true] + rng.uniform(-0.002, 0.002, (n, 3)) * [1, 1, 0]
    return w, true


COLUMNS = (
    Column("load"),
    Column("site", ("A", "B", "C"), of_unit=True),
    Column("speed"),
    Column("mode", (False, True)),
)
CHANNELS = ("T24", "P30", "Nf")
SIZES = (3, 1, 4)


def rows_of(rng, n):
    load, site, mode = rng.gamma(2.0, 20.0, n), rng.integers(0, 3, n), rng.integers(0, 2, n)
    return np.column_stack([load, site, rng.choice([10.0, 50.0, 90.0], n) + rng.normal(0, 1, n), mode])


def random_conditions(rng, regimes="random"):
    """Learned conditions with random maps and coefficients, and their training rows."""
    w = rows_of(rng, 400)
    if regimes == "random":
        regimes = rng.choice(
            [None, Regimes("speed", n=3), Regimes("load", cuts=[20.0, 60.0]), Regimes("mode"), Regimes("site")]
        )
    menu = [
        Linear("load"), Power("load", 3, by_mode=True), Spline("speed", knots=[20.0, 40.0, 60.0, 80.0]),
        Linear("speed", basis_functions="all"), Category("site", by_mode=True), Category("mode", basis_functions=(0,)),
        Spline("load", 5, basis_functions=(0,)),
    ]  # fmt: skip
    alike = [{0, 1}, {2, 3}, {0, 6}, {1, 6}]
    terms = []
    for _ in CHANNELS:
        chosen = set(rng.choice(len(menu), rng.integers(0, 4), replace=False).tolist())
        for pair in alike:
            if pair <= chosen:
                chosen -= {max(pair)}
        terms.append([menu[i] for i in sorted(chosen)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RegimeWarning)
        learned = learned_conditions(COLUMNS, w, channels=CHANNELS, sizes=SIZES, terms=terms, regimes=regimes)
    if learned.regimes is not None:
        g = learned.regimes.n_regimes
        learned = learned.with_maps(rng.normal(0, 3, (g, 3)), np.exp(rng.normal(0, 1, (g, 3))))
    return learned.with_coefficients([rng.normal(size=len(entries)) for entries in learned.common]), w


def basis_rows_of(rng, n):
    return [rng.normal(size=(n, p)) for p in SIZES]
