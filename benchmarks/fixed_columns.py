"""What columns cost whose coefficients do not vary from unit to unit: E step, compression, bytes of a unit.

Fifteen channels read at the same times, p = 3 random columns, K = 3. E step and compression are divided by those of the
same readings without further columns: 2 common ones (a load and its square), 7 (five more for a category), 3 of a mode.
Compression also with six regimes taken off first: each reading has a regime already, as in a fit, or it is recognised.
"""

from __future__ import annotations

from common import harness

from dataclasses import replace  # isort: skip
from functools import partial

import numpy as np

import cem
from cem.covariates.conditions import Conditions
from cem.em.expectation import Expectation
from cem.em.kernels.choice import LanesKernel
from cem.fitting.conditioning import Conditioning, fixed_columns, learned_for
from cem.fitting.options import FitOptions
from cem.mixture.parameters import Parameters
from cem.statistics.columns import ColumnPlan
from cem.statistics.sufficient import SufficientStatistics

CHANNELS, P, K = 15, 3, 3
READINGS = 100
TARGETS = {
    "E step": {"2 common": 1.3, "7 common": 1.6, "3 by mode": 1.6},
    "compression": {"six regimes, 2 common": 2.0, "six regimes, 7 common": 4.0},
}
BYTES = {"2 common": 2.0, "7 common": 3.0}
POWER = cem.covariates.Power("load", 2)
TERMS: dict[str, list[object]] = {
    "2 common": [POWER],
    "7 common": [POWER, cem.covariates.Category("state")],
    "3 by mode": [cem.covariates.Power("load", 3, by_mode=True)],
}


def readings(n_units: int) -> cem.Panel:
    """Every unit at its own times; a load, a category of six levels, and settings near six points."""
    rng = np.random.default_rng(1)
    n = n_units * READINGS
    times = np.sort(rng.uniform(0.0, 10.0, (n_units, READINGS)), axis=1)
    points = rng.normal(size=(6, 3)) * [20.0, 0.3, 10.0]
    state = rng.integers(0, 6, n)
    settings = points[state] + 0.001 * rng.normal(size=(n, 3))
    covariates = {"load": rng.normal(size=n), "state": np.array(list("abcdef"))[rng.integers(0, 6, n)]}
    covariates |= {f"setting{j}": settings[:, j] for j in range(3)}
    return cem.Panel(
        list(range(n_units)), np.arange(n_units + 1) * READINGS, times.ravel(), rng.normal(size=(n, CHANNELS)),
        [f"s{c}" for c in range(CHANNELS)], covariates=covariates,
    )  # fmt: skip


def options(terms: list[object] | None, regimes: bool) -> FitOptions:
    """Of a fit; only what says how readings depend on their conditions counts here."""
    return FitOptions(
        n_modes=K, basis=cem.Polynomial(P - 1), init="mixed", n_init=1, max_iter=1, tol=1e-8, noise_floor=None,
        covariance_floor=None, covariance="full", accelerate="auto", kernel="auto", n_jobs=1,
        seed=np.random.SeedSequence(0), verbose=0, covariates=terms,
        regimes=cem.Regimes(["setting0", "setting1", "setting2"], n=6) if regimes else None,
    )  # fmt: skip


def plan_of(conditions: Conditions, features: np.ndarray) -> ColumnPlan | None:
    columns = fixed_columns(conditions)
    assert columns is not None
    return ColumnPlan((tuple(range(P)),) * CHANNELS, columns, features) if any(columns) else None


def parameters(statistics: SufficientStatistics) -> Parameters:
    rng = np.random.default_rng(2)
    fixed = None
    if statistics.fixed is not None:
        fixed = np.tile(0.1 * rng.normal(size=len(statistics.fixed.by_mode)), (K, 1))
        own = statistics.fixed.by_mode
        fixed[:, own] = 0.1 * rng.normal(size=(K, np.count_nonzero(own)))
    return Parameters(
        np.full(K, 1.0 / K), 0.1 * rng.normal(size=(K, P * CHANNELS)), np.tile(0.3 * np.eye(P).ravel(), (K, CHANNELS)),
        np.full((K, CHANNELS), 0.5), (P,) * CHANNELS, None, fixed,
    )  # fmt: skip


def compressed(panel: cem.Panel, bases: tuple, conditioning: Conditioning | None) -> SufficientStatistics:
    """Readings mapped and compressed, their features evaluated."""
    if conditioning is None:
        return SufficientStatistics.from_panel(panel, bases)
    plan = plan_of(conditioning.conditions, conditioning.features())
    return SufficientStatistics.from_panel(conditioning.mapped_panel(), bases, plan=plan)


def recognised(panel: cem.Panel, bases: tuple, conditioning: Conditioning) -> SufficientStatistics:
    """The same, and the regime of each reading is recognised first."""
    regimes = conditioning.conditions.regimes_at(conditioning.w)
    return compressed(panel, bases, replace(conditioning, regimes=regimes))


def bytes_of(statistics: SufficientStatistics) -> float:
    """Of what is kept of each unit."""
    arrays = [statistics.factors, statistics.factor_offsets, statistics.projections]
    arrays += [statistics.residual_norms, statistics.counts]
    if statistics.fixed is not None:
        arrays += [statistics.fixed.blocks, statistics.fixed.block_offsets, statistics.fixed.projections]
    return sum(array.nbytes for array in arrays) / statistics.n_units


def main() -> None:
    given = harness.arguments(__doc__)
    before = harness.load_average()
    repeats = 3 if given.quick else 25
    rows: list[dict[str, object]] = []
    for n_units in (200,) if given.quick else (300, 2_000, 10_000):
        panel = readings(n_units)
        bases = (cem.Polynomial(P - 1).bind(panel.times),) * CHANNELS
        compress, steps, sizes = {}, {}, {}
        for name, terms, regimes in (
            ("plain", None, False),
            *((name, terms, False) for name, terms in TERMS.items()),
            ("six regimes", None, True),
            *((f"six regimes, {name}", terms, True) for name, terms in TERMS.items()),
        ):
            conditions = learned_for(panel, options(terms, regimes), bases)
            conditioning = None if conditions is None else Conditioning.of(panel, conditions, bases)

            compress[name] = partial(compressed, panel, bases, conditioning)
            if regimes:
                compress[f"{name}, recognised"] = partial(recognised, panel, bases, conditioning)
            statistics = compress[name]()
            sizes[name] = sizes[f"{name}, recognised"] = bytes_of(statistics)
            if not regimes:
                expectation = Expectation(statistics)
                assert isinstance(expectation._kernel, LanesKernel)
                theta = parameters(statistics)
                steps[name] = lambda expectation=expectation, theta=theta: expectation(theta)
        for question, candidates in (("E step", steps), ("compression", compress)):
            timings = harness.interleaved(candidates, repeats if question == "E step" else max(repeats // 3, 2))
            for name, timing in timings.items():
                columns = name.removeprefix("six regimes, ").removesuffix(", recognised")
                rows.append(
                    {
                        "question": question,
                        "n_units": n_units,
                        "columns": name,
                        "processor_milliseconds": 1e3 * timing.processor_seconds,
                        "times_plain": timing.processor_seconds / timings["plain"].processor_seconds,
                        "target": TARGETS[question].get(name),
                        "bytes_of_a_unit": sizes[name],
                        "bytes_times_plain": sizes[name] / sizes["plain"],
                        "target_bytes": BYTES.get(columns),
                        "repeats": timing.repeats,
                    }
                )
    harness.write_results(__file__, given, rows, load_before=before, kernel=expectation.kernel)


if __name__ == "__main__":
    main()
