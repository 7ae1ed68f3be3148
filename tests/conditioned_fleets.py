"""Small fleets read under conditions, and models fitted to them: one of every kind of condition."""

from __future__ import annotations

import warnings

import numpy as np

import cem
from cem import FailureModeEM, Panel
from cem.basis.families import Polynomial
from cem.covariates import Linear, Power, Regimes, Spline

LOADS = np.array([20.0, 50.0, 90.0])


def conditioned_fleet(seed=0, n_units=24, n_readings=10, *, failing=False):
    """Two modes and three channels, read at three loads; site A has most of mode 0."""
    rng = np.random.default_rng(seed)
    times, values, loads, speeds, stages, sites, rates, lives = [], [], [], [], [], [], [], []
    for l in range(n_units):
        mode, life = l % 2, 9.0 + 4.0 * rng.uniform()
        t = np.sort(rng.uniform(0.2, life - 0.1, n_readings))
        regime = rng.permutation(np.arange(n_readings) % 3)
        load, speed = LOADS[regime] + rng.normal(0, 0.3, n_readings), rng.normal(10.0, 2.0, n_readings)
        stage = rng.integers(0, 2, n_readings)
        left = (life - t) if failing else 10.0 - t
        slope = np.array([0.5, -0.3, 0.2] if mode else [0.1, 0.4, -0.5]) * (1 + 0.1 * rng.normal(size=3))
        level = 0.3 * rng.normal(size=3) - slope * left[:, None]
        level[:, 1] += 0.2 * (speed - 10.0) * (1 + mode) + 0.4 * stage
        level[:, 2] += 0.1 * (speed - 10.0) ** 2 / 4
        level = level + 0.2 * rng.normal(size=(n_readings, 3))
        level = np.array([0.0, 3.0, -5.0])[regime][:, None] + np.array([1.0, 1.5, 0.7])[regime][:, None] * level
        values.append(level)
        times.append(t)
        loads.append(load)
        speeds.append(speed)
        stages.append(np.array(["low", "high"], dtype=object)[stage])
        sites.append("AB"[int(rng.uniform() < (0.2, 0.8)[mode])])
        rates.append(float(rng.normal(mode, 1.0)))
        lives.append(life)
    return Panel.from_arrays(
        times,
        values,
        channels=("a", "b", "c"),
        time_unit="h",
        channel_units={"b": "mm/s"},
        covariates={"load": loads, "speed": speeds, "stage": stages},
        unit_covariates={"site": sites, "rate": rates},
        **({"failure_times": np.array(lives)} if failing else {"response": "c"}),
    )


EVERYTHING = {
    "covariates": {
        "b": [Linear("speed", by_mode=True, basis_functions=(0, 1)), "stage"],
        "c": [Power("speed", 2), Linear("rate")],
    },
    "regimes": Regimes("load", n=3),
    "random_columns": {"a": [1, 2], "b": [0, 1], "c": "all"},
    "common_columns": {"a": [0]},
    "noise": "pooled",
    "membership": ["site"],
}


def fitted(panel, n_modes=2, **options):
    """The estimator fitted to a fleet, its warnings ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.CemWarning)
        return FailureModeEM(n_modes, **{"n_init": 2, "max_iter": 60, "random_state": 0, **options}).fit(panel)


def conditioned_estimator(**options):
    """Fitted with everything at once, over time."""
    return fitted(conditioned_fleet(), **{"basis": Polynomial(2), **EVERYTHING, **options})


def conditioned_lives():
    """A prognosis of a linked model whose lives are linked, under regimes cut by load."""
    panel = conditioned_fleet(1, failing=True)
    em = fitted(
        panel, basis=Polynomial(1), time_axis="to_failure", linking_rank=1, lifetimes="linked",
        regimes=Regimes("load", cuts=[35.0, 70.0]), covariates={"b": ["stage"]}, membership=["rate"],
    )  # fmt: skip
    return cem.RemainingLife(em.model_, information=[0.5, 1.0, 0.8])


def model_of_levels():
    """One mode; regimes that a category names, and a spline that belongs to the mode."""
    return fitted(
        conditioned_fleet(2), 1, basis=Polynomial(1), regimes=Regimes("stage"),
        covariates={"c": [Spline("speed", 4, by_mode=True)]},
    ).model_  # fmt: skip


def membership_model():
    """No covariate is read with the sensors; what is known of units says how probable their modes are."""
    return fitted(conditioned_fleet(), basis=Polynomial(1), membership=["site", Power("rate", 2)]).model_


def still_model():
    """Curves of degree two that bend alike in all units of a mode; no covariates."""
    return fitted(conditioned_fleet(), basis=Polynomial(2, random_degree=1)).model_


MODELS = {
    "everything": lambda: conditioned_estimator().model_,
    "levels": model_of_levels,
    "membership": membership_model,
    "still columns": still_model,
    "lives": lambda: conditioned_lives().model,
}
"""Models that only format version 3 can hold, by what is special to them."""
