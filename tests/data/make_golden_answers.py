"""Write what a user of release 0.3.1 may have pickled beside models, panels and estimators: answers.

Run it with that release, whose modules the pickles name:

    python tests/data/make_golden_answers.py golden-answers-0.3.1.pickle
"""

import copy
import pickle
import sys
import warnings

import numpy as np

import cem

TIMES = [5.0, 20.0, 60.0]


def answers():
    """Each with numbers to compare by."""
    fleet = cem.datasets.load_demo_fleet()
    panel = fleet[np.flatnonzero(~np.isnan(fleet.failure_times))[:60].tolist()].select_channels(fleet.channels[:2])
    channel, values = panel.channels[0], panel.values[:, 0]
    cut = panel.until(np.full(panel.n_units, float(np.quantile(panel.times, 0.3))))[:1]
    threshold = {"channel": channel, "threshold": float(np.nanquantile(values, 0.95))}

    def fitted(**options):
        return cem.FailureModeEM(2, random_state=0, n_init=2, **options)

    line = fitted(basis=cem.Polynomial(1)).fit(panel).model_
    straight = line.remaining_life(cut, **threshold)
    curve = fitted(basis=cem.BSpline(5)).fit(panel).model_
    simulated = curve.remaining_life(cut, n_draws=128, n_cells=64, random_state=0, **threshold)
    estimator = fitted(time_axis="to_failure")
    prognosis = cem.RemainingLife(estimator.fit(panel).model_, n_points=40).calibrated(panel, estimator, n_folds=2)
    law = prognosis.predict(cut)
    running, unit = prognosis.unit(), line.scorer().unit()
    for t, x in zip(panel.times[:4], panel.values[:4], strict=True):
        running.update(t, x)
        unit.update(t, x)
    forecast = unit.forecast(TIMES, channel)
    validation = cem.selection.cross_validate(panel, {"two": estimator}, n_folds=2)
    return {
        "straight": (straight, straight.cdf(TIMES)),
        "simulated": (simulated, simulated.cdf(TIMES)),
        "law": (law, law.cdf(TIMES)),
        "running": (copy.deepcopy(running), running.distribution().cdf(TIMES)),
        "forecast": (forecast, np.array(forecast[0])),
        "calibration": (prognosis.calibration, prognosis.calibration.corrected(law).cdf(TIMES)),
        "reliability": (prognosis.calibration.after, np.array(prognosis.calibration.after.crps)),
        "validation": (validation, str(validation)),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with open(sys.argv[1], "xb") as file:
        pickle.dump(answers(), file)
