"""What golden files are compared by: numbers that users see, on the small panel that is kept beside the files.

`tests/data/make_golden.py` records them when the files are written; `test_golden.py` computes them anew.
"""

import json
from pathlib import Path

import numpy as np

from cem import Panel, RemainingLife
from cem.errors.names import object_array

DATA = Path(__file__).parent / "data"
RECORD = DATA / "golden.json"

FORWARD = ("golden-2-linked.cem", "golden-1-labels.cem")
CUSTOM = "golden-1-custom.cem"
LIVES = (
    "golden-1-life-lognormal.cem",
    "golden-1-life-weibull.cem",
    "golden-1-life-empirical.cem",
    "golden-2-life-linked.cem",
)
UNITS = {"golden-unit.bin": "golden-1-labels.cem", "golden-unit-linked.bin": "golden-2-linked.cem"}
ESTIMATOR, MODEL, PANEL = (f"golden-{kind}-0.1.0.pickle" for kind in ("estimator", "model", "panel"))
FILES = (*FORWARD, CUSTOM, *LIVES, *UNITS, ESTIMATOR, MODEL, PANEL)


def record():
    return json.loads(RECORD.read_text())


def panel_of(saved, channels, *, failed=False):
    """The panel that golden.json keeps as lists, null where a value is missing, with as many channels as asked."""
    offsets = np.array(saved["offsets"])
    values = np.array(saved["values"], dtype=np.float64)[:, : len(channels)]
    failure_times = {"failure_times": np.array(saved["failure_times"])} if failed else {}
    return Panel(
        object_array(saved["units"]), offsets, np.array(saved["times"]), values, channels, **failure_times,
        allow_empty_channels=True,
    )  # fmt: skip


def forward_numbers(model, saved):
    """In batch and reading by reading, of a model over time."""
    panel = panel_of(saved, model.channels)
    unit = model.scorer().unit()
    for t, x in zip(panel.times[: panel.offsets[1]], panel.values, strict=False):
        unit.update(float(t), x)
    forecast = model.forecast(panel, [1.0, 12.0], model.channels[0])
    return {
        "log_likelihoods": model.score_samples(panel).tolist(),
        "probabilities": model.predict_proba(panel).tolist(),
        "novelty": model.novelty(panel).tolist(),
        "forecast": [forecast.mean.tolist(), forecast.variance.tolist()],
        "curves": model.curves([0.0, 5.0, 11.0]).tolist(),
        "unit": unit_numbers(unit),
    }


def unit_numbers(unit):
    forecast = unit.forecast([1.0, 12.0], 0)
    return {
        "observations": unit.n_observations,
        "probabilities": unit.mode_probabilities().tolist(),
        "log_likelihood": unit.log_likelihood(),
        "novelty": unit.novelty(),
        "forecast": [forecast.mean.tolist(), forecast.variance.tolist()],
    }


def life_numbers(prognosis, saved):
    """Of a model over the time to failure, with its laws, information and calibration."""
    model = prognosis.model
    failed = panel_of(saved, model.channels, failed=True)
    running = panel_of(saved, model.channels)
    # Up to 0.2.0 the units of a batch had their candidates in common.
    law = prognosis.predict(running, grid=prognosis.grid(running.times[running.offsets[1:] - 1]))
    unit = prognosis.unit()
    for t, x in zip(failed.times[: failed.offsets[1]], failed.values, strict=False):
        unit.update(float(t), x)
    running = unit.distribution()
    return {
        "log_likelihoods": model.score_samples(failed).tolist(),
        "probabilities": model.predict_proba(failed).tolist(),
        "remaining_life": [law.median().tolist(), *(end.tolist() for end in law.interval(0.9))],
        "mode_probabilities": law.mode_probabilities.tolist(),
        "running_life": running.median().tolist(),
        "running_modes": running.mode_probabilities.tolist(),
        "medians": prognosis.lifetimes.quantile(0.5).tolist(),
        "information": prognosis.information.tolist(),
        "calibrated": prognosis.calibration is not None,
    }


def loaded_life_numbers(name, saved):
    return life_numbers(RemainingLife.load(DATA / name), saved)
