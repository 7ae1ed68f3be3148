"""What golden files of models with conditions are compared by, on the panel that golden-conditions.json keeps."""

import json

import numpy as np
from golden_cases import DATA

from cem import Panel, RemainingLife, load
from cem.errors.names import object_array

RECORD = DATA / "golden-conditions.json"
MODELS = {"golden-3-conditions.cem": "everything", "golden-3-levels.cem": "levels"}
LIVES = "golden-3-life-linked.cem"
FILES = (*MODELS, LIVES)


def record():
    return json.loads(RECORD.read_text())


def saved_panel(panel):
    """A panel with its covariates as JSON can hold it, null where a value is missing."""
    return {
        "offsets": panel.offsets.tolist(),
        "times": panel.times.tolist(),
        "values": [[None if np.isnan(x) else x for x in row] for row in panel.values.tolist()],
        "covariates": {name: panel.covariate(name).tolist() for name in panel.covariates},
        "unit_covariates": {name: panel.covariate(name).tolist() for name in panel.unit_covariates},
    }


def panel_of(saved):
    offsets = np.array(saved["offsets"])
    return Panel(
        object_array(list(range(len(offsets) - 1))), offsets, np.array(saved["times"]),
        np.array(saved["values"], dtype=np.float64), ("a", "b", "c"), time_unit="h",
        covariates={name: np.array(values, dtype=object) for name, values in saved["covariates"].items()},
        unit_covariates=saved["unit_covariates"],
    )  # fmt: skip


def model_numbers(model, panel):
    return {
        "log_likelihoods": model.score_samples(panel).tolist(),
        "probabilities": model.predict_proba(panel).tolist(),
        "novelty": model.novelty(panel).tolist(),
        "means": np.nan_to_num(model.means_).tolist(),
        "covariances": np.nan_to_num(model.covariances_).tolist(),
    }


def life_numbers(prognosis, panel):
    law = prognosis.predict(panel)
    return {
        "median": law.median().tolist(),
        "interval": [end.tolist() for end in law.interval(0.9)],
        "mode_probabilities": law.mode_probabilities.tolist(),
        "information": prognosis.information.tolist(),
    }


def loaded_numbers(name, panel):
    if name == LIVES:
        return life_numbers(RemainingLife.load(DATA / name), panel)
    return model_numbers(load(DATA / name), panel)
