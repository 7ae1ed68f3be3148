"""What standard errors cost, beside the fit, and how they compare with those of 500 parametric bootstraps.

    python benchmarks/standard_errors.py       # writes benchmarks/results/standard_errors.json

200 units with 4 channels, two modes, three coefficients each, full covariances: 81 parameters, so 162 E passes. Modes
apart and close. Processor times of both in one run, one thread; the target is three times the fit. Then the standard
errors of all parameters by information, divided by the standard deviations of 500 refits to fleets that were drawn from
the fit: the median, and the range of nine in ten of them.
"""

from __future__ import annotations

from common import harness

import warnings  # isort: skip
from typing import Any

import numpy as np

import cem

UNITS, CHANNELS = 200, 4


def fleet(gap: float, seed: int) -> cem.Panel:
    """Two modes of parabolas in every channel; levels of the modes are `gap` apart, over all channels together."""
    rng = np.random.default_rng(seed)
    times, values = [], []
    for unit in range(UNITS):
        k = unit % 2
        t = np.sort(rng.uniform(-1.0, 1.0, int(rng.integers(12, 25))))
        functions = t[:, None] ** np.arange(3)
        means = np.array([[gap / np.sqrt(CHANNELS) * k, 0.5 - k, 0.3]])
        coefficients = means + 0.5 * rng.standard_normal((CHANNELS, 3))
        values.append(functions @ coefficients.T + 0.3 * rng.standard_normal((len(t), CHANNELS)))
        times.append(t)
    return cem.Panel.from_arrays(times, values)


def row_of(name: str, gap: float, seed: int, repeats: int, n_replicates: int) -> dict[str, Any]:
    """Processor times of a fit and of its standard errors, in turns; the latter by those of a bootstrap."""
    panel = fleet(gap, seed)
    em = cem.FailureModeEM(2, basis=cem.Polynomial(2), covariance="full", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em.fit(panel)
        timings = harness.interleaved(
            {
                "fit": lambda: em.fit(panel),
                "information": lambda: em.uncertainty(panel),
                "robust": lambda: em.uncertainty(panel, "robust"),
            },
            repeats,
        )
        known = em.uncertainty(panel)
        drawn = em.uncertainty(panel, "bootstrap", n_replicates=n_replicates, kind="parametric")
    ratios = known.standard_errors / drawn.standard_errors
    low, middle, high = np.quantile(ratios[np.isfinite(ratios)], [0.05, 0.5, 0.95])
    seconds = {key: timing.processor_seconds for key, timing in timings.items()}
    return {
        "modes": name,
        "parameters": em.n_parameters_,
        "passes_of_the_fit": em.n_iter_,
        **{f"{key}_ms": round(1e3 * own, 2) for key, own in seconds.items()},
        **{f"{key}_by_fit": round(seconds[key] / seconds["fit"], 2) for key in ("information", "robust")},
        "replicates": n_replicates,
        "by_bootstrap": round(float(middle), 3),
        "by_bootstrap_low": round(float(low), 3),
        "by_bootstrap_high": round(float(high), 3),
    }


def main() -> None:
    before = harness.load_average()
    options = harness.arguments(
        __doc__, repeats=("rounds", 15), seed=("seed of the fleets", 101), replicates=("refits of drawn fleets", 500)
    )
    repeats, n_replicates = (3, 50) if options.quick else (options.repeats, options.replicates)
    rows = [row_of(name, gap, options.seed, repeats, n_replicates) for name, gap in (("apart", 4.0), ("close", 0.8))]
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
