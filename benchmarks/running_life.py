"""What one reading costs a running unit: update and law, 14 channels, 3 modes, p = 4, 304 candidates.

    python benchmarks/running_life.py        # writes benchmarks/results/running_life.json

The engines are simulated: 14 channels of exponential wear in three modes. A reading is `RunningLife.update` and then
`RunningLife.pmf`; figures are the median and the 90 % quantile over the readings of one unit, of the processor, at
every instruction level that it has, with independent channels and with channels and lives that share four factors.
"""

from __future__ import annotations

from common import harness

import itertools  # isort: skip
import os
import time
import warnings

import numpy as np
from common.wear import fleet

import cem
from cem.prognosis import _rul

warnings.simplefilter("ignore", cem.CemWarning)


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    panel = fleet(30, 14, 0)

    def prognosis_of(rank: int) -> cem.RemainingLife:
        em = cem.FailureModeEM(
            3, basis=cem.Exponential([12.0, 35.0, 100.0]), time_axis="to_failure", linking_rank=rank, n_init=1,
            max_iter=30, random_state=0,
        )  # fmt: skip
        return cem.RemainingLife(em.fit(panel).model_, n_points=304)

    plain, linked = prognosis_of(0), prognosis_of(4)
    engine = fleet(3, 14, 1)[2]
    rows = []
    for rank, level in itertools.product((0, 4), _rul.LEVELS):
        os.environ["CEM_INSTRUCTION_LEVEL"] = level  # a unit takes it up when it is made
        unit = (linked if rank else plain).unit()
        spent: dict[str, list[float]] = {"update": [], "law": []}
        for t, x in zip(engine.times[: 20 if options.quick else None], engine.values, strict=False):
            start = time.process_time_ns()
            unit.update(float(t), x)
            middle = time.process_time_ns()
            unit.pmf()
            spent["update"].append((middle - start) / 1e3)
            spent["law"].append((time.process_time_ns() - middle) / 1e3)
        for name, one in (*spent.items(), ("both", np.add(spent["update"], spent["law"]))):
            rows.append(
                {
                    "level": level,
                    "linking_rank": rank,
                    "what": name,
                    "median_microseconds": float(np.median(one)),
                    "p90_microseconds": float(np.quantile(one, 0.9)),
                    "readings": len(one),
                }
            )
    os.environ.pop("CEM_INSTRUCTION_LEVEL")
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
