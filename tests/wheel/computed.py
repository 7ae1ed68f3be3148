"""What an installed cem computes, as one JSON document, so that two machines, or two wheels, can be compared.

``python computed.py MODEL`` loads the model file and scores made-up readings with it, one by one and as a panel;
``--fit`` also fits the demo fleet, which needs SciPy. Standard library, NumPy and cem alone; not collected by pytest.
"""

import argparse
import json
import platform
import sys
import warnings

import numpy as np

import cem

N_UNITS, N_READINGS = 60, 4
N_PASSES = 30


def readings(model: cem.FailureModeModel) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times and values of short histories half-way between the modes, so that many probabilities are far from 0 and 1.

    A tenth of the values is missing.
    """
    rng = np.random.default_rng(20260101)
    low, high = model.bases[0].domain
    spread = np.sqrt(model.noise_variances_.mean(axis=0))
    units = []
    for _ in range(N_UNITS):
        times = np.sort(rng.uniform(low, high, N_READINGS))
        middle = model.curves(times).mean(axis=0).T
        values = middle + spread * rng.uniform(-1.0, 1.0, middle.shape)
        values[1:][rng.random(values[1:].shape) < 0.1] = np.nan
        units.append((times, values))
    return units


def scores(model: cem.FailureModeModel) -> dict[str, list[float | None]]:
    """Everything that scoring gives; a fill value, NaN in the array, is None."""
    units = readings(model)
    scorer = model.scorer()
    probabilities, log_likelihoods, novelties = [], [], []
    for times, values in units:
        unit = scorer.unit()
        for t, x in zip(times, values, strict=True):
            unit.update(t, x)
            probabilities.append(unit.mode_probabilities())
            log_likelihoods.append(unit.log_likelihood())
        novelties.append(unit.novelty())
    panel = cem.Panel.from_arrays(
        [times for times, _ in units], [values for _, values in units], channels=model.channels
    )
    forecast = model.forecast(panel, [model.bases[0].domain[1] + 1.0], channel=model.channels[0])
    found = {
        "streamed probabilities": np.array(probabilities),
        "streamed log-likelihoods": np.array(log_likelihoods),
        "streamed novelties": np.array(novelties),
        "probabilities": model.predict_proba(panel),
        "log-likelihoods": model.score_samples(panel),
        "forecast means": forecast.mean,
        "forecast variances": forecast.variance,
        "posterior means": model.posterior(panel).means,
    }
    return {name: [None if np.isnan(x) else float(x) for x in array.flat] for name, array in found.items()}


def fit() -> dict[str, list[float | None]]:
    """A given number of passes from a given start: a stopping rule would turn the last bits into passes."""
    panel = cem.datasets.load_demo_fleet()
    start = np.random.default_rng(20260101).dirichlet([1.0, 1.0, 1.0], panel.n_units)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.ConvergenceWarning)
        em = cem.FailureModeEM(3, covariance="pooled", max_iter=N_PASSES, accelerate="none").fit(panel, init=start)
    return {"log-likelihood of a fit": [em.log_likelihood_], "weights of a fit": em.weights_.tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model file")
    parser.add_argument("--fit", action="store_true", help="fit the demo fleet too")
    options = parser.parse_args()
    document: dict[str, object] = {"scores": scores(cem.load(options.model))}
    # Before the fit: the modules that scoring has imported.
    document["scipy"] = any(name.partition(".")[0] == "scipy" for name in sys.modules)
    document["fit"] = fit() if options.fit else {}
    document |= {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
    document |= {"cem": cem.__version__, "place": cem.__file__}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
