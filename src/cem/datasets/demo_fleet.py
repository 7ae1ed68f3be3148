"""The demo fleet that ships with cem: 160 simulated pumps run to failure."""

from __future__ import annotations

from importlib import resources
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Polynomial
from cem.panel.panel import Panel

__all__ = ["load_demo_fleet", "simulate_demo_fleet", "write_demo_fleet"]

SEED = 20
N_UNITS = 160
N_TRAINING = 150  # what `cem demo` and README fit; they show the others as running
HORIZON = 450.0  # days
WORN_OUT = 1.0  # mm: a pump fails where its wear reaches this
WEIGHTS = {"bearing": 0.55, "seal": 0.40, "cavitation": 0.05}
TIME_UNIT = "d"
CHANNEL_UNITS = {
    "vibration": "mm/s",
    "temperature": "degC",
    "current": "A",
    "pressure": "bar",
    "flow": "m3/h",
    "noise": "dB",
    "debris": "1/ml",
    "wear": "mm",
}
# Level, slope and curvature of the mean curves, a + b u + c u² with u in hundreds of days. Pumps start alike: what
# differs between modes is how they change.
MEANS = {
    "bearing": {
        "vibration": (2.0, 0.10, 0.16),
        "temperature": (55.0, 0.8, 0.55),
        "current": (14.0, 0.15, 0.08),
        "pressure": (6.0, -0.02, -0.01),
        "flow": (48.0, -0.3, -0.1),
        "noise": (71.0, 0.5, 0.4),
        "debris": (40.0, 7.0, 3.0),
        "wear": (0.05, 0.15, 0.10),
    },
    "seal": {
        "vibration": (2.0, 0.10, 0.02),
        "temperature": (55.0, 0.5, 0.10),
        "current": (14.0, -0.10, -0.04),
        "pressure": (6.0, -0.12, -0.06),
        "flow": (48.0, -1.2, -0.5),
        "noise": (71.0, 0.3, 0.1),
        "debris": (40.0, 4.0, 1.0),
        "wear": (0.05, 0.30, 0.03),
    },
    "cavitation": {
        "vibration": (2.0, 0.40, 0.30),
        "temperature": (55.0, 0.2, 0.10),
        "current": (14.0, -0.20, 0.10),
        "pressure": (6.0, -0.25, -0.15),
        "flow": (48.0, -1.0, -0.8),
        "noise": (71.0, 1.5, 1.5),
        "debris": (40.0, 3.0, 8.0),
        "wear": (0.05, 0.20, 0.40),
    },
}
# How far pumps of one mode differ from its mean curve: standard deviations of level, slope and curvature.
DEVIATIONS = {
    "vibration": (0.20, 0.08, 0.04),
    "temperature": (1.5, 0.5, 0.20),
    "current": (0.4, 0.12, 0.05),
    "pressure": (0.15, 0.06, 0.03),
    "flow": (1.5, 0.5, 0.25),
    "noise": (1.2, 0.4, 0.20),
    "debris": (6.0, 2.0, 1.0),
    "wear": (0.01, 0.03, 0.015),
}
NOISE_DEVIATIONS = {
    "vibration": 0.20,
    "temperature": 1.0,
    "current": 0.30,
    "pressure": 0.10,
    "flow": 1.2,
    "noise": 1.0,
    "debris": 4.0,
    "wear": 0.02,
}
# What the instruments resolve; debris is counted in steps that are wider than its noise.
STEPS = {
    "vibration": 0.01,
    "temperature": 0.1,
    "current": 0.02,
    "pressure": 0.01,
    "flow": 0.1,
    "noise": 0.1,
    "debris": 5.0,
    "wear": 0.001,
}


def simulate_demo_fleet(seed: int = SEED, n_units: int = N_UNITS) -> Panel:
    """Simulate the demo fleet, or another one like it.

    Pumps fail in three modes, the rarest of which holds 5 % of them. Seven sensors are read every 8 days or so; the
    wear of the shaft, the response, is measured at two readings in five. Some cells are missing, a tenth of the pumps
    have no flow meter, and the debris counter is quantised.

    Parameters
    ----------
    seed : int
        Seed of the draws.
    n_units : int
        Number of pumps.

    Returns
    -------
    Panel
        Its `modes` are the true ones.
    """
    from cem.model.sample import simulate_fleet

    basis = Polynomial(2).bind(np.array([0.0, HORIZON]))
    per_day = np.array([1.0, 1e-2, 1e-4])
    to_basis = np.stack([basis.from_power_series(column) for column in np.eye(3)], axis=1) * per_day
    covariances = {name: to_basis @ np.diag(np.square(sd)) @ to_basis.T for name, sd in DEVIATIONS.items()}
    return simulate_fleet(
        n_units,
        basis=basis,
        channels=tuple(CHANNEL_UNITS),
        means={mode: {name: to_basis @ np.array(abc) for name, abc in by.items()} for mode, by in MEANS.items()},
        covariances=dict.fromkeys(MEANS, covariances),
        noise_variances={name: sd * sd for name, sd in NOISE_DEVIATIONS.items()},
        weights=WEIGHTS,
        exact_shares=True,
        interval=8.0,
        horizon=HORIZON,
        jitter=0.6,
        threshold=WORN_OUT,
        response="wear",
        missing={name: 0.6 if name == "wear" else 0.04 for name in CHANNEL_UNITS},
        absent={"flow": 0.1},
        steps=STEPS,
        time_step=0.25,
        time_unit=TIME_UNIT,
        channel_units=CHANNEL_UNITS,
        random_state=seed,
    )


def write_demo_fleet(file: str | IO[bytes]) -> None:
    """Write the arrays of the demo fleet in the form that the package ships.

    Values are whole numbers of instrument steps; the smallest integer stands for a missing cell.
    """
    panel = simulate_demo_fleet()
    steps = np.array([STEPS[name] for name in panel.channels])
    missing = np.isnan(panel.values)
    whole = np.where(missing, np.iinfo(np.int16).min, np.rint(np.where(missing, 0.0, panel.values) / steps))
    labels = tuple(WEIGHTS)
    np.savez_compressed(
        file,
        allow_pickle=False,
        offsets=panel.offsets.astype(np.int32),
        quarter_days=np.rint(panel.times / 0.25).astype(np.int32),
        steps=np.ascontiguousarray(whole.T, dtype=np.int16),  # channel by channel, it takes a fifth less
        modes=np.array([labels.index(mode) for mode in panel.modes], dtype=np.int8),
        failure_times=panel.failure_times,
    )


def load_demo_fleet(*, modes: bool = False) -> Panel:
    """Load the demo fleet: 160 pumps run to failure, with seven sensors and their wear as the response.

    It was simulated by `simulate_demo_fleet`. It has three failure modes (the rarest with 5 % of the pumps), histories
    of unequal length, irregular times in days, missing cells, a sensor that some pumps lack, and a quantised counter.
    A pump fails when its wear reaches 1 mm.

    Parameters
    ----------
    modes : bool, default False
        Include the true modes, for comparison. Leave them out for a fit, which would keep every labelled pump in its
        mode.

    Returns
    -------
    Panel
        160 units, 8 channels, and a failure time for each unit.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> panel.n_units, panel.n_channels
    (160, 8)
    """
    with resources.files("cem.datasets").joinpath("data/demo_fleet.npz").open("rb") as file, np.load(file) as arrays:
        stored: dict[str, NDArray[Any]] = {name: arrays[name] for name in arrays.files}
    whole = stored["steps"].T
    values = np.where(
        whole == np.iinfo(np.int16).min, np.nan, whole * np.array([STEPS[name] for name in CHANNEL_UNITS])
    )
    labels = tuple(WEIGHTS)
    return Panel(
        np.arange(1, N_UNITS + 1),
        stored["offsets"],
        stored["quarter_days"] * 0.25,
        values,
        tuple(CHANNEL_UNITS),
        response="wear",
        modes=[labels[i] for i in stored["modes"]] if modes else None,
        failure_times=stored["failure_times"],
        time_unit=TIME_UNIT,
        channel_units=CHANNEL_UNITS,
    )
