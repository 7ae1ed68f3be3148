"""What the golden files of 0.9.0 are compared by: gated and calibrated lives, units and fleets that wander."""

import json
import warnings

import numpy as np
from golden_cases import DATA, panel_of
from wandering_fleets import four_channels, wandering_fleet

import cem
from cem.scoring import Fleet
from cem.scoring.wandering_scorer import WanderingUnit

RECORD = DATA / "golden-lives.json"
FAILED, THRESHOLD = "golden-4-gated.cem", "golden-4-threshold.cem"
UNIT, SNAPSHOT = "golden-unit-3-wandering.bin", "golden-fleet-2-wandering.snapshot"
WANDERING = "golden-5-process.cem"
FILES = (FAILED, THRESHOLD, UNIT, SNAPSHOT)
LEVEL = 5.0


def record():
    return json.loads(RECORD.read_text())


def engines(n_units=30, seed=9):
    """Four channels that wear alike in the last third of a life."""
    rng = np.random.default_rng(seed)
    lives = rng.lognormal(np.log(60.0), 0.25, n_units)
    times = [np.arange(0.0, life, 4.0) for life in lives]
    values = []
    for t, life in zip(times, lives, strict=True):
        size = np.linspace(3.0, 5.0, 4) * rng.lognormal(0.0, 0.1, 4)
        values.append(10.0 + size * np.exp((t - life) / 15.0)[:, None] + rng.normal(0.0, 0.3, (t.size, 4)))
    return cem.Panel.from_arrays(times, values, failure_times=lives)


def fitted():
    """Lives at failure with a gate, a chosen basis and a calibration by predicted life; and lives to a threshold."""
    panel, wanderers = engines(), wandering_fleet(None, 30, seed=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        options = {"time_axis": "to_failure", "linking_rank": 2, "n_init": 1, "random_state": 0}
        model = cem.FailureModeEM(1, basis="auto", **options).fit(panel).model_
        em = cem.FailureModeEM(1, basis=model.bases[0], **options)
        lives = cem.RemainingLife(model).calibrated(panel, em, ages=4, n_folds=3)
        forward = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=1, random_state=0)
        crossing = cem.ThresholdLife(
            forward.fit(wanderers).model_, LEVEL, channel="x1", options={"monotone": True}
        ).calibrated(wanderers, forward, ages=4, n_folds=3)
    return lives, crossing


def readings(panel):
    """A panel as golden.json keeps one."""
    return {
        "units": list(range(panel.n_units)),
        "offsets": panel.offsets.tolist(),
        "times": panel.times.tolist(),
        "values": [[None if np.isnan(x) else x for x in row] for row in panel.values.tolist()],
    }


def running():
    """Of both models: engines in mid-life, of which one has a channel off; and units short of the threshold."""
    engine = engines(5, seed=10)
    engine = engine.until(0.7 * engine.failure_times)
    values = np.array(engine.values)
    values[engine.offsets[1] : engine.offsets[2], 2] += 1.5
    wanderer = wandering_fleet(None, 5, seed=10)
    return engine._replace(values=values), wanderer.until(np.full(5, 12.0))


def law_numbers(law):
    low, high = law.interval(0.9)
    return {
        "median": law.median().tolist(),
        "interval": [low.tolist(), high.tolist()],
        "within": law.failure_probability(20.0).tolist(),
        "flags": [list(flags) for flags in law.flags],
    }


def failed_numbers(saved, folder=DATA):
    lives = cem.RemainingLife(cem.load(folder / FAILED))
    panel = panel_of(saved, lives.model.channels)
    law = lives.predict(panel)
    unit = lives.unit()
    for t, x in zip(panel.times[: panel.offsets[1]], panel.values, strict=False):
        unit.update(float(t), x)
    return {
        **law_numbers(law),
        "left_out": np.asarray(law.channels_left_out).tolist(),
        "medians": list(lives.calibration.medians),
        "candidates": len(lives.model.training["basis_choice"]["candidates"]),
        "unit": float(unit.distribution().median()[0]),
    }


def threshold_numbers(saved, folder=DATA):
    crossing = cem.ThresholdLife.load(folder / THRESHOLD)
    return law_numbers(crossing.predict(panel_of(saved, crossing.model.channels)))


def made_unit():
    """One unit, its readings in order of time."""
    model, panel = cem.load(DATA / WANDERING), four_channels()
    unit = model.scorer().unit()
    own = slice(panel.offsets[5], panel.offsets[6])
    for t, x in zip(panel.times[own], panel.values[own], strict=True):
        unit.update(float(t), x)
    return unit


def made_fleet():
    model, panel = cem.load(DATA / WANDERING), four_channels()
    fleet = model.scorer().fleet()
    for l in range(4):
        own = slice(panel.offsets[l], panel.offsets[l + 1])
        for t, x in zip(panel.times[own], panel.values[own], strict=True):
            fleet.update(f"unit {l}", float(t), x)
    return fleet


def unit_numbers(unit):
    forecast = unit.forecast([70.0, 90.0], 1)
    return {
        "observations": unit.n_observations,
        "probabilities": unit.mode_probabilities().tolist(),
        "forecast": [forecast.mean.tolist(), forecast.variance.tolist()],
    }


def fleet_numbers(fleet):
    return [unit_numbers(fleet.unit(id)) for id in fleet.ids]


def restored():
    """The unit and the fleet of the files."""
    model = cem.load(DATA / WANDERING)
    return WanderingUnit.from_bytes(model.scorer(), (DATA / UNIT).read_bytes()), Fleet.load(DATA / SNAPSHOT, model)
