"""What golden files of models with the uncertainty of their parameters are compared by."""

import json

import numpy as np
from golden_cases import DATA

from cem import Panel, RemainingLife, load

RECORD = DATA / "golden-uncertain.json"
MODELS = ("golden-4.cem", "golden-4-linked.cem", "golden-4-conditions.cem")
LIVES = "golden-4-life.cem"
FILES = (*MODELS, LIVES)


def record():
    return json.loads(RECORD.read_text())


def saved_panel(panel):
    """A panel as JSON can hold it, null where a value is missing."""
    return {
        "offsets": panel.offsets.tolist(),
        "times": panel.times.tolist(),
        "values": [[None if np.isnan(x) else x for x in row] for row in panel.values.tolist()],
        "channels": list(panel.channels),
        "time_unit": panel.time_unit,
        "covariates": {name: panel.covariate(name).tolist() for name in panel.covariates},
        "unit_covariates": {name: panel.covariate(name).tolist() for name in panel.unit_covariates},
    }


def panel_of(saved):
    offsets = np.array(saved["offsets"])
    return Panel(
        np.arange(len(offsets) - 1), offsets, np.array(saved["times"]), np.array(saved["values"], dtype=np.float64),
        saved["channels"], time_unit=saved["time_unit"],
        covariates={name: np.array(values, dtype=object) for name, values in saved["covariates"].items()} or None,
        unit_covariates=saved["unit_covariates"] or None,
    )  # fmt: skip


def model_numbers(model, panel):
    found = {
        "log_likelihoods": model.score_samples(panel).tolist(),
        "probabilities": model.predict_proba(panel).tolist(),
        "novelty": model.novelty(panel).tolist(),
        "means": np.nan_to_num(model.means_).tolist(),
    }
    if not model.covariates:
        low, high = model.forecast(panel, [0.2, 0.8], model.channels[0]).interval(0.9)
        found["forecast"] = [low.tolist(), high.tolist()]
    return found


def life_numbers(prognosis, panel):
    law = prognosis.predict(panel)
    return {
        "median": law.median().tolist(),
        "interval": [end.tolist() for end in law.interval(0.9)],
        "mode_probabilities": law.mode_probabilities.tolist(),
    }


def loaded_numbers(name, saved):
    panel = panel_of(saved)
    if name == LIVES:
        return life_numbers(RemainingLife.load(DATA / name), panel)
    return model_numbers(load(DATA / name), panel)
