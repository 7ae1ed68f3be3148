"""Does a fit need the load? Machines of which load drives the sensors and wear drives the load, with and without it.

    python benchmarks/load_drives_wear.py                         # seeds 9000 to 9019
    python benchmarks/load_drives_wear.py --first 0 --fleets 4    # other seeds, to develop on

`common/loaded_machines.py` draws the fleets. Each is fitted twice with three modes: sensors alone, and with the load as
a covariate, linear and common to all modes. ARI is the adjusted Rand index of the modes found against the true ones; 1
is perfect, and modes drawn by lot have 0. "Warned" says whether the fit gave a `CommonCauseWarning`: it should without
the load and should not with it. Nothing in the generator or the fit was chosen on seeds 9000 to 9019.
"""

from __future__ import annotations

import warnings
from typing import Any

from common import harness
from common.loaded_machines import SHARES, LoadedMachines, loaded_machines

import cem
from cem.metrics.agreement import adjusted_rand_index


def fitted(machines: LoadedMachines, seed: int, *, with_load: bool) -> tuple[float, bool]:
    """ARI of the modes found, and whether the fit warned of a common cause."""
    panel = machines.panel(with_load=with_load)
    terms: dict[str, Any] = {"covariates": {None: ["load"]}} if with_load else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", cem.CemWarning)
        em = cem.FailureModeEM(len(SHARES), basis=cem.Polynomial(2), random_state=seed, **terms).fit(panel)
    found = list(em.predict(panel))
    warned = any(issubclass(one.category, cem.errors.CommonCauseWarning) for one in caught)
    return adjusted_rand_index(machines.modes, found), warned


def main() -> None:
    options = harness.arguments(__doc__, fleets=("fleets", 20), first=("seed of the first fleet", 9000))
    before = harness.load_average()
    rows = []
    for seed in range(options.first, options.first + (1 if options.quick else options.fleets)):
        machines = loaded_machines(seed)
        without, warned_without = fitted(machines, seed, with_load=False)
        with_load, warned_with = fitted(machines, seed, with_load=True)
        rows.append(
            {
                "seed": seed,
                "correlation_of_load_and_wear": machines.correlation(),
                "ari_without": without,
                "ari_with": with_load,
                "warned_without": warned_without,
                "warned_with": warned_with,
            }
        )
    summary = {
        "fleets": len(rows),
        "largest_ari_without": max(row["ari_without"] for row in rows),
        "least_ari_with": min(row["ari_with"] for row in rows),
        "warned_without": sum(row["warned_without"] for row in rows),
        "warned_with": sum(row["warned_with"] for row in rows),
    }
    print(summary)
    harness.write_results(__file__, options, rows, load_before=before, summary=summary)


if __name__ == "__main__":
    main()
