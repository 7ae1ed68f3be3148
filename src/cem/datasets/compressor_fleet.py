"""The second fleet that ships with cem: 90 simulated compressors that run at three loads until they fail."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cem.panel.panel import Panel

__all__ = ["load_compressor_fleet", "simulate_compressor_fleet", "write_compressor_fleet"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SEED = 7
N_UNITS = 90
N_TRAINING = 80  # what `cem demo --fleet compressors` fits; it shows the others as running
INTERVAL = 6.0  # days between readings, give or take half of it
TIME_UNIT = "d"
CHANNEL_UNITS = {
    "vibration": "mm/s",
    "temperature": "degC",
    "power": "kW",
    "flow": "m3/min",
    "oil_pressure": "bar",
    "noise": "dB",
}
# What the controller sets at each load, in 1/min and %, and how far it strays from it.
SETTINGS = {"speed": (1500.0, 2200.0, 2950.0), "valve": (30.0, 65.0, 100.0)}
SETTING_DEVIATIONS = {"speed": 8.0, "valve": 1.0}
# What a new compressor reads at each load, and the standard deviation of its noise there.
LEVELS = {
    "vibration": (1.2, 1.9, 3.1),
    "temperature": (61.0, 72.0, 88.0),
    "power": (38.0, 66.0, 110.0),
    "flow": (5.2, 9.8, 16.5),
    "oil_pressure": (3.1, 3.6, 4.4),
    "noise": (69.0, 74.0, 81.0),
}
NOISE_DEVIATIONS = {
    "vibration": (0.08, 0.12, 0.20),
    "temperature": (0.8, 1.0, 1.5),
    "power": (0.8, 1.2, 2.0),
    "flow": (0.15, 0.20, 0.30),
    "oil_pressure": (0.06, 0.06, 0.08),
    "noise": (0.8, 0.8, 1.0),
}
STEPS = {"vibration": 0.01, "temperature": 0.1, "power": 0.1, "flow": 0.01, "oil_pressure": 0.01, "noise": 0.1}
# How far a channel has moved at the failure, in standard deviations of its noise, by failure mode.
WEAR = {
    "bearing": (9.0, 4.0, 3.0, 0.0, -3.0, 5.0),
    "valve": (2.0, 7.0, -2.0, -7.0, 0.0, 3.0),
    "rotor": (4.0, 2.0, 7.0, -4.0, 0.0, 0.0),
}
GROWTH = {"bearing": 40.0, "valve": 70.0, "rotor": 110.0}  # days in which wear grows by a factor e
LIVES = {"bearing": (260.0, 0.25), "valve": (330.0, 0.25), "rotor": (430.0, 0.25)}  # median, deviation of the logarithm
# Shares of the modes on each site.
SITES = {
    "harbour": {"bearing": 0.2, "valve": 0.2, "rotor": 0.6},
    "mill": {"bearing": 0.7, "valve": 0.2, "rotor": 0.1},
    "mine": {"bearing": 0.4, "valve": 0.5, "rotor": 0.1},
}
_UNIT_DEVIATION, _WEAR_DEVIATION = 0.5, 0.15  # of a new unit's level in noise deviations; of the log of its wear
_DUTY = 0.8  # of a symmetric Dirichlet law: below 1, many units run at one load most of the time
_DWELL = 3.0  # readings in a row at one load, on average
_MISSING = 0.03


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The arrays of a fleet, in whole steps of the instruments; the smallest integer stands for a missing cell."""

    offsets: IntArray
    quarter_days: IntArray
    steps: IntArray
    settings: IntArray
    sites: IntArray
    modes: IntArray
    failure_times: FloatArray


_SETTING_STEPS = {"speed": 1.0, "valve": 0.1}
_LOST = np.iinfo(np.int16).min


def simulate_compressor_fleet(seed: int = SEED, n_units: int = N_UNITS, *, modes: bool = True) -> Panel:
    """Simulate the compressor fleet, or another one like it.

    Compressors run at three loads, which a controller sets by speed and suction valve. Every sensor has a level and a
    noise of its own at each load. A compressor changes its load every few readings, and some run at one of them most
    of the time. Lives do not depend on the load. They fail in three modes, which differ in how wear moves the sensors,
    and which are not equally frequent on all sites.

    Parameters
    ----------
    seed : int
        Seed of the draws.
    n_units : int
        Number of compressors.
    modes : bool
        Include the true modes.

    Returns
    -------
    Panel
        As from `load_compressor_fleet`.
    """
    return _panel(_drawn(seed, n_units), modes)


def _drawn(seed: int, n_units: int) -> _Drawn:
    rng = np.random.default_rng(seed)
    names, labels = tuple(SITES), tuple(WEAR)
    sites = rng.permutation(np.arange(n_units) % len(names))
    shares = np.array([[SITES[site][label] for label in labels] for site in names])
    k = np.array([rng.choice(len(labels), p=shares[site]) for site in sites])
    levels, noise = np.array(list(LEVELS.values())).T, np.array(list(NOISE_DEVIATIONS.values())).T  # (3, C)
    wear, steps = np.array(list(WEAR.values())), np.array(list(STEPS.values()))
    centres = np.array(list(SETTINGS.values())).T
    spread, grain = np.array(list(SETTING_DEVIATIONS.values())), np.array(list(_SETTING_STEPS.values()))
    times, values, settings, lives = [], [], [], []
    for mode in k:
        label = labels[mode]
        median, deviation = LIVES[label]
        life = np.floor(4.0 * median * np.exp(deviation * rng.standard_normal())) / 4.0
        gaps = INTERVAL * rng.uniform(0.5, 1.5, size=int(3 * life / INTERVAL) + 4)
        t = np.floor(4.0 * np.cumsum(gaps)) / 4.0
        t = t[t < life]
        load = _loads(rng, len(t))
        own = wear[mode] * np.exp(_WEAR_DEVIATION * rng.standard_normal(wear.shape[1]))
        moved = _UNIT_DEVIATION * rng.standard_normal(wear.shape[1])
        moved = moved + own * np.exp((t[:, None] - life) / GROWTH[label])
        reading = levels[load] + noise[load] * (moved + rng.standard_normal((len(t), wear.shape[1])))
        whole = np.rint(reading / steps).astype(np.int64)
        whole[rng.random(whole.shape) < _MISSING] = _LOST
        times.append(np.rint(4.0 * t).astype(np.int64))
        values.append(whole)
        set_to = centres[load] + spread * rng.standard_normal((len(t), len(spread)))
        settings.append(np.rint(set_to / grain).astype(np.int64))
        lives.append(life)
    return _Drawn(
        np.concatenate([[0], np.cumsum([len(t) for t in times])]),
        np.concatenate(times),
        np.concatenate(values),
        np.concatenate(settings),
        sites,
        k,
        np.array(lives),
    )


def _loads(rng: np.random.Generator, n: int) -> IntArray:
    """The load at each reading of a unit: held for some readings, then drawn anew from the unit's own duty."""
    duty = rng.dirichlet(np.full(3, _DUTY))
    drawn = rng.choice(3, size=n, p=duty)
    changes = rng.random(n) < 1.0 / _DWELL
    changes[0] = True
    loads: IntArray = drawn[np.maximum.accumulate(np.where(changes, np.arange(n), 0))]
    return loads


def _panel(drawn: _Drawn, modes: bool) -> Panel:
    whole = drawn.steps
    values = np.where(whole == _LOST, np.nan, whole * np.array(list(STEPS.values())))
    set_to = drawn.settings * np.array(list(_SETTING_STEPS.values()))
    labels, names = tuple(WEAR), tuple(SITES)
    return Panel(
        np.arange(1, len(drawn.offsets)),
        drawn.offsets,
        drawn.quarter_days * 0.25,
        values,
        tuple(CHANNEL_UNITS),
        modes=[labels[i] for i in drawn.modes] if modes else None,
        failure_times=drawn.failure_times,
        time_unit=TIME_UNIT,
        channel_units=CHANNEL_UNITS,
        covariates=dict(zip(SETTINGS, set_to.T, strict=True)),
        unit_covariates={"site": [names[i] for i in drawn.sites]},
    )


def write_compressor_fleet(file: str | IO[bytes]) -> None:
    """Write the arrays of the compressor fleet in the form that the package ships."""
    drawn = _drawn(SEED, N_UNITS)
    np.savez_compressed(
        file,
        allow_pickle=False,
        offsets=drawn.offsets.astype(np.int32),
        quarter_days=drawn.quarter_days.astype(np.int32),
        steps=np.ascontiguousarray(drawn.steps.T, dtype=np.int16),  # channel by channel, it takes a sixth less
        settings=np.ascontiguousarray(drawn.settings.T, dtype=np.int16),
        sites=drawn.sites.astype(np.int8),
        modes=drawn.modes.astype(np.int8),
        failure_times=drawn.failure_times,
    )


def load_compressor_fleet(*, modes: bool = False) -> Panel:
    """Load the compressor fleet: 90 compressors that ran at three loads until they failed.

    It was simulated by `simulate_compressor_fleet`, and shows what operating regimes do to a fit. Six sensors are read
    every six days or so, together with what the controller set: the covariates ``"speed"`` and ``"valve"``, which take
    three pairs of values. A sensor differs far more between loads than wear moves it. The site of a compressor is the
    covariate ``"site"`` of the unit; failure modes are not equally frequent on all sites.

    Parameters
    ----------
    modes : bool, default False
        Include the true modes, for comparison. Leave them out for a fit, which would keep every labelled unit in its
        mode.

    Returns
    -------
    Panel
        90 units, 6 channels, 2 covariates, 1 covariate of units, and a failure time for each unit.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_compressor_fleet()
    >>> panel.n_units, panel.n_channels, panel.covariates, panel.unit_covariates
    (90, 6, ('speed', 'valve'), ('site',))
    """
    place = resources.files("cem.datasets").joinpath("data/compressor_fleet.npz")
    with place.open("rb") as file, np.load(file) as arrays:
        stored: dict[str, NDArray[Any]] = {name: arrays[name].T for name in arrays.files}
    return _panel(_Drawn(**stored), modes)
