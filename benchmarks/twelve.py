"""Twelve speeds that no change may lower unseen: E and M step, whole fits, one reading scored, cold start, ingest.

    python benchmarks/twelve.py [TEXT]  # of the cem that this Python imports; figures whose names contain TEXT
    python benchmarks/compare.py        # of two, in turn
    python benchmarks/scoreboard.py --rows speeds       # into the committed table

- E step: 2,000 units, 15 channels, K = 3, p = 3 and 6, at each instruction level of the machine (so there are more
  than twelve figures where there is AVX-512, and fewer where there is one level). M step: p = 3.
- Whole fits, from a data frame to a model, one thread: A 2,000 units in 130,000 rows, ten starts; B 350,000 units in
  5 million rows, one start; C 100 engines of 21 sensors and 200 cycles, twenty starts (`large_fits.py`).
- One reading scored: 8 channels into a running unit, then its mode probabilities. Cold start: a process that imports
  cem, loads a model, and scores one reading. Ingest: a million rows, pandas to panel.

Instructions are callgrind's, of the whole process; start and imports are taken off by a run that does nothing more.
They repeat within .1 %, whatever else runs. callgrind knows no AVX-512, and of what waits for memory instructions say
little: there the median of processor time stands. Fit B waits for memory most: on a shared machine a wheel compared
with itself was 4 % off, and two that execute the same number of instructions 8 %. Repeat it before believing it.
"""

from __future__ import annotations

from common import harness  # noqa: F401  before numpy

import json  # isort: skip
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import load_counts
from common import kernel_counts

INSTRUCTIONS, SECONDS = "instructions", "seconds"
LEVEL_VARIABLE = "CEM_INSTRUCTION_LEVEL"
COUNTED_LEVELS = ("baseline", "avx2")
FITS = {
    "A": ("2,000 units, 130,000 rows", 10),
    "B": ("350,000 units, 5 million rows", 1),
    "C": ("100 engines × 21 sensors × 200 cycles", 20),
}
INGESTED = 1_000_000


@dataclass(frozen=True)
class Figure:
    """One speed.

    Parameters
    ----------
    unit : {"instructions", "seconds"}
    make : function
        Prepares it and returns what is measured, a function of the number of times that it is done.
    times : int
        What is measured at once; the figure is of one.
    repeats : int
        Of a time.
    """

    unit: str
    make: Callable[[], Callable[[int], object]]
    times: int = 1
    repeats: int = 9


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: an interpreter, and the folder that holds cem unless it is installed there."""

    name: str
    python: str
    source: str | None = None

    def environment(self) -> dict[str, str]:
        """Without what would make the two differ in anything but cem."""
        left_out = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", LEVEL_VARIABLE)
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        return kept | {"PYTHONPATH": self.source or "", "PYTHONHASHSEED": "0"}


# ---- what is measured: in the process of a side ----------------------------------------------------------------------


def expectation_step(p: int, level: str) -> Callable[[int], object]:
    from anatomy import fleet_of
    from common.moved import Expectation

    statistics_of_units, parameters = fleet_of(2_000, 15, p)
    os.environ[LEVEL_VARIABLE] = level
    expectation = Expectation(statistics_of_units)
    del os.environ[LEVEL_VARIABLE]
    if expectation.kernel != f"lanes:{level}":
        raise SystemExit(f"twelve.py: the E step took the kernel {expectation.kernel}, not lanes:{level}")
    return lambda times: [expectation(parameters) for _ in range(times)]


def maximisation_step() -> Callable[[int], object]:
    from anatomy import constraints_of, fleet_of
    from common.moved import Expectation, maximisation

    statistics_of_units, parameters = fleet_of(200, 15)
    expected, _ = Expectation(statistics_of_units)(parameters)
    constraints = constraints_of(statistics_of_units)
    return lambda times: [maximisation(expected, parameters, constraints) for _ in range(times)]


def whole_fit(name: str) -> Callable[[int], object]:
    import pandas as pd
    from common.fleets import draw_fleet
    from large_fits import FLEETS, whole

    fleet, n_init = FITS[name]
    frame = pd.DataFrame(draw_fleet(**FLEETS[fleet], seed=1).columns())
    return lambda times: [whole(fleet, frame, n_init, 1) for _ in range(times)]


def one_reading(model: Path) -> Callable[[int], object]:
    import numpy as np

    import cem

    loaded = cem.load(model)
    unit, out = loaded.scorer().unit(), np.empty(len(loaded.mode_labels))
    row = np.ascontiguousarray(loaded.means_[0, :, 0])

    def scored(times: int) -> None:
        for i in range(times):
            unit.update(float(i), row)
            unit.mode_probabilities(out)

    return scored


def ingested() -> Callable[[int], object]:
    import pandas as pd
    from ingest import ROLES, columns

    import cem

    frame = pd.DataFrame(columns(INGESTED))
    return lambda times: [cem.Panel.from_frame(frame, **ROLES) for _ in range(times)]


def levels() -> Sequence[str]:
    from common.moved import instruction_levels

    return instruction_levels()


def figures(model: Path) -> dict[str, Figure]:
    """All but the cold start, by name."""
    count = kernel_counts.available()
    found = {}
    for p in (3, 6):
        for level in levels():
            unit = INSTRUCTIONS if count and level in COUNTED_LEVELS else SECONDS
            found[f"E step, p = {p}, {level}"] = Figure(unit, partial(expectation_step, p, level), 10, 25)
    counted = INSTRUCTIONS if count else SECONDS
    found["M step, p = 3"] = Figure(counted, maximisation_step, 200)
    for name in FITS:
        found[f"whole fit {name}"] = Figure(SECONDS, partial(whole_fit, name), 1, 7 if name == "B" else 25)
    found["one reading scored"] = Figure(counted, partial(one_reading, model), 20_000)
    found["ingest, 1 million rows"] = Figure(SECONDS, ingested, 1, 25)
    return found


def write_model(path: Path) -> None:
    import cem

    fleet = cem.datasets.load_demo_fleet()
    cem.FailureModeEM(3, n_init=2, covariance="pooled", random_state=0).fit(fleet).model_.save(path)


def drive(model: Path, name: str) -> None:
    """What callgrind runs: all counted figures are prepared and done once, then the named one as often as it says."""
    ready = {key: figure.make() for key, figure in figures(model).items() if figure.unit == INSTRUCTIONS}
    for run in ready.values():
        run(1)
    if name:
        ready[name](figures(model)[name].times)


def work(model: Path) -> None:
    """Measures times for whoever writes names of figures to the standard input; answers each with its seconds."""
    known, ready = figures(model), {}
    for line in sys.stdin:
        name = line.rstrip("\n")
        if name not in ready:
            ready[name] = known[name].make()
            ready[name](1)
        started = process_time()
        ready[name](known[name].times)
        print(json.dumps((process_time() - started) / known[name].times), flush=True)


# ---- measuring sides -------------------------------------------------------------------------------------------------


class Worker:
    """A process of a side that runs `work`."""

    def __init__(self, side: Side, model: Path) -> None:
        command = [side.python, __file__, "--work", str(model)]
        self._process = subprocess.Popen(
            command, env=side.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def seconds(self, name: str) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))


def counted(
    sides: Sequence[Side], model: Path, names: Sequence[str], known: dict[str, Figure]
) -> dict[str, list[float]]:
    """Instructions of each figure, one number a side."""

    def run(side: Side, name: str) -> int:
        command = [side.python, __file__, "--drive", str(model), name]
        return load_counts.collected(command, side.environment())

    starts = [run(side, "") for side in sides] if names else []
    return {
        name: [(run(side, name) - start) / known[name].times for side, start in zip(sides, starts, strict=True)]
        for name in names
    }


def timed(
    sides: Sequence[Side], model: Path, names: Sequence[str], known: dict[str, Figure]
) -> dict[str, list[list[float]]]:
    """Processor seconds of each figure: a list of rounds, in each one number a side; the sides run in turn."""
    found = {}
    for name in names:
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(side, model)) for side in sides]
            found[name] = [[worker.seconds(name) for worker in workers] for _ in range(known[name].repeats)]
    return found


def cold_starts(sides: Sequence[Side], model: Path) -> list[float]:
    return [float(load_counts.instructions(load_counts.SCORE, model, 1, side.source, side.python)) for side in sides]


def measured(sides: Sequence[Side], only: str = "") -> list[dict[str, Any]]:
    """One row a figure whose name contains `only`: the `values` of the sides, and the `ratio` of the first to the last.

    Of times, values are medians over the rounds, and the ratio is the median of the rounds' own.
    The last side writes the model that all load: what a newer cem writes, an older one may not read.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.cem"
        writer = sides[-1]
        subprocess.run([writer.python, __file__, "--write-model", str(model)], env=writer.environment(), check=True)
        known = figures(model)
        wanted = {name: figure.unit for name, figure in known.items() if only in name}
        rounds = timed(sides, model, [name for name, unit in wanted.items() if unit == SECONDS], known)
        counts = counted(sides, model, [name for name, unit in wanted.items() if unit == INSTRUCTIONS], known)
        if only in "cold start" and kernel_counts.available():
            wanted["cold start"] = INSTRUCTIONS
            counts["cold start"] = cold_starts(sides, model)
        return [
            {
                "figure": name,
                "unit": unit,
                "values": [statistics.median(times) for times in zip(*of_each, strict=True)],
                "ratio": statistics.median(times[0] / times[-1] for times in of_each),
            }
            for name, unit in wanted.items()
            for of_each in [rounds.get(name) or [counts[name]]]
        ]


def here() -> Side:
    """The cem that this interpreter imports."""
    import cem

    return Side("here", sys.executable, str(Path(cem.__file__).parents[1]))


def shown(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit == INSTRUCTIONS else f"{1e3 * value:,.3f} ms"


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in ("--drive", "--work", "--write-model"):
        warnings.simplefilter("ignore")
        {"--drive": drive, "--work": work, "--write-model": write_model}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
        return
    for row in measured([here()], *sys.argv[1:2]):
        print(f"{row['figure']:<28}{shown(row['values'][0], row['unit']):>16}")


if __name__ == "__main__":
    main()
