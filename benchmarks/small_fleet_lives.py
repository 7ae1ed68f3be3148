"""How many intervals of remaining life hold after 8, 12 and 25 failures, with parameters known and with uncertainty?

    python benchmarks/small_fleet_lives.py --fleets 12                  # development seeds, 100 and above
    python benchmarks/small_fleet_lives.py --fleets 100 --evaluate      # seeds 9000 and above, for evaluation only

One mode, three channels of parabolas of the time to failure, 20 readings a unit, lognormal lives that are independent
of the curves. Each fleet is fitted with independent and with linked channels; fleets called "running" have a third more
units, which still run. 40 new units, cut at 30 to 90 % of their lives, are predicted with the parameters taken as known
and with their uncertainty by 99 refits. Reported are the shares of 50 and 90 % intervals that hold the life, with
standard errors by fleets, the median width of the latter, and the root mean square error of the median.
"""

from __future__ import annotations

import argparse
import itertools
import os
import warnings

import numpy as np
from numpy.typing import NDArray

import cem

SIZES, N_NEW, N_READINGS, N_REPLICATES, NOISE = (8, 12, 25), 40, 20, 99, 0.25
KINDS = ("independent", "running", "linked")
MEANS = np.array([[3.0, 0.04, 0.0002], [5.0, -0.03, 0.0], [1.0, 0.02, 0.0003]])
DEVIATIONS = np.array([[0.5, 0.008, 0.00006], [0.4, 0.006, 0.00003], [0.3, 0.006, 0.00008]])
DEVELOPMENT, EVALUATION = 100, 9000


def fleet(rng: np.random.Generator, n: int) -> cem.Panel:
    """Units that ran to failure."""
    times, values = [], []
    lives = np.exp(rng.normal(np.log(100.0), 0.25, n))
    for life in lives:
        own = np.sort(rng.uniform(0.0, life, N_READINGS))
        own[-1] = 0.999 * life
        T = MEANS + DEVIATIONS * rng.normal(size=(3, 3))
        rows = (own - life)[:, None] ** np.arange(3)
        times.append(own)
        values.append(rows @ T.T + NOISE * rng.normal(size=(N_READINGS, 3)))
    return cem.Panel.from_arrays(times, values, failure_times=lives)


def of_fleet(seed: int, n: int, kind: str) -> dict[str, NDArray[np.float64]]:
    """Shares that hold, width and error of one fleet, by setting."""
    rng = np.random.default_rng([seed, n])
    panel, new = fleet(rng, n), fleet(rng, N_NEW)
    seen = new.until(rng.uniform(0.3, 0.9, N_NEW) * new.failure_times)
    left = new.failure_times - seen.times[seen.offsets[1:] - 1]
    if kind == "running":
        others = fleet(rng, max(n // 3, 1))
        others = others.until(rng.uniform(0.3, 0.9, others.n_units) * others.failure_times)
        units = [*(f"failed {unit}" for unit in panel.units), *(f"running {unit}" for unit in others.units)]
        parts = [one.to_arrays() for one in (panel, others)]
        joined = {name: [*parts[0][name], *parts[1][name]] for name in ("times", "values", "failure_times")}
        panel = cem.Panel.from_arrays(joined["times"], joined["values"], units, failure_times=joined["failure_times"])
    more = {"linking_rank": 1, "linking_penalty": 5.0} if kind == "linked" else {}
    em = cem.FailureModeEM(1, time_axis="to_failure", n_init=1, random_state=0, **more).fit(panel)
    how = "parametric" if kind == "linked" else "units"  # as the option uncertainty="bootstrap" does, with 199 refits
    law = em.uncertainty(panel, "bootstrap", n_replicates=N_REPLICATES, kind=how)
    found = {}
    for name, model in (("known", em.model_), ("bootstrap", em.model_.with_uncertainty(law))):
        lives = cem.RemainingLife(model).predict(seen)
        (low, high), (lower, upper) = lives.interval(0.5), lives.interval(0.9)
        holds = [np.mean((a <= left) & (left <= b)) for a, b in ((low, high), (lower, upper))]
        error = np.sqrt(np.mean(np.square(lives.median() - left)))
        found[name] = np.array([*holds, np.median(upper - lower), error])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=int, default=12)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--evaluate", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.simplefilter("ignore", cem.CemWarning)
    first = EVALUATION if options.evaluate else DEVELOPMENT
    print("kind         failed  parameters  50 % hold     90 % hold     width  RMSE")
    for kind, n in itertools.product(options.kinds, options.sizes):
        fleets = [of_fleet(seed, n, kind) for seed in range(first, first + options.fleets)]
        for name in fleets[0]:
            rows = np.array([one[name] for one in fleets])
            mean, error = rows.mean(axis=0), rows.std(axis=0) / np.sqrt(len(rows))
            shares = [f"{100 * mean[i]:5.1f} +- {100 * error[i]:3.1f}" for i in (0, 1)]
            print(f"{kind:11}  {n:6}  {name:10}  {shares[0]}  {shares[1]}  {mean[2]:5.1f}  {mean[3]:4.1f}", flush=True)


if __name__ == "__main__":
    main()
