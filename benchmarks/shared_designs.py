"""What is gained where units share their observation times: designs factorised once, against the lanes or LAPACK.

A balanced panel of 100,000 units has one design. With more designs each is factorised for fewer units, until the lanes
are faster. Bases that are too large for the lanes are compared with LAPACK for every unit. All of (10)-(14) is
included; packing, which is done once per fit, is stated apart.
"""

from __future__ import annotations

from common import harness

import numpy as np  # isort: skip

from time import perf_counter

from cem import _core
from cem.em.kernels import _lanes, _shared
from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

# Units, C, K, p, units a design.
CASES = (
    *((100_000, 3, 3, p, 100_000) for p in (2, 3, 4, 6, 8)),
    (100_000, 1, 4, 3, 100_000),
    (20_000, 15, 3, 3, 20_000),
    *((100_000, 3, 3, 3, share) for share in (2_000, 1_000, 512, 256, 128)),
    (10_000, 3, 3, 10, 10_000),
    (10_000, 3, 3, 10, 8),
)


def draw(
    n_units: int, n_channels: int, n_modes: int, p: int, n_designs: int
) -> tuple[StatisticsBundle, ParametersBundle, np.ndarray]:
    """Statistics and parameters, and the number of each unit's design."""
    rng = np.random.default_rng(0)
    design = np.arange(n_units, dtype=np.int64) * n_designs // n_units
    statistics = StatisticsBundle(
        np.triu(3 * rng.normal(size=(n_designs, p, p))).ravel(),
        np.ascontiguousarray(np.repeat(design[:, None] * p * p, n_channels, axis=1)),
        3 * rng.normal(size=(n_units, n_channels * p)),
        rng.chisquare(20, size=(n_units, n_channels)),
        np.full((n_units, n_channels), 25, dtype=np.int32),
        np.full(n_channels, p, dtype=np.int32),
    )
    parameters = ParametersBundle(
        np.full(n_modes, 1.0 / n_modes),
        rng.normal(size=(n_modes, n_channels * p)),
        np.tile(0.7 * np.eye(p).ravel(), (n_modes, n_channels)),
        np.full((n_modes, n_channels), 1.3),
        np.full(n_channels, p, dtype=np.int32),
    )
    return statistics, parameters, design


def measure(n_units: int, n_channels: int, n_modes: int, p: int, share: int, repeats: int) -> list[dict[str, object]]:
    """One case on every instruction level."""
    n_designs = n_units // share
    statistics, parameters, design = draw(n_units, n_channels, n_modes, p, n_designs)
    sizes = np.full(n_channels, p, dtype=np.int32)
    rho, n_sums = np.empty((n_units, n_modes)), _core.n_sums(n_modes, sizes)
    own = {}
    small = p <= _lanes.LARGEST_SIZE
    if small:
        for level in _lanes.available_levels():
            lanes = _lanes.pack(statistics, level)
            own[level] = lambda lanes=lanes: _lanes.expectation(lanes, parameters, responsibilities=rho)
    else:
        sums = np.empty(n_sums)
        for level in _lanes.available_levels()[-1:]:
            own[level] = lambda: _core.expectation(statistics, parameters, 1.0, False, 0, n_units, rho, sums)
    rows = []
    for level, other in own.items():
        started = perf_counter()
        packed = _shared.pack(statistics, design, level)
        packing = perf_counter() - started
        bounds = packed.chunks()
        partial = np.empty((len(bounds) - 1, n_sums))

        def shared(packed=packed, bounds=bounds, partial=partial) -> None:
            claimed = np.zeros(1, dtype=np.int64)
            _shared.expectation_chunks(packed, parameters, 1.0, False, bounds, claimed, rho, partial)

        timings = harness.interleaved({"own": other, "shared": shared}, repeats)
        each = 1e9 / (n_units * n_channels * n_modes)
        rows.append(
            {
                "n_units": n_units,
                "n_channels": n_channels,
                "n_modes": n_modes,
                "p": p,
                "n_designs": n_designs,
                "level": level,
                "cores": 1,
                "against": "lanes" if small else "lapack",
                "own_nanoseconds": timings["own"].processor_seconds * each,
                "shared_nanoseconds": timings["shared"].processor_seconds * each,
                "gain": timings["own"].processor_seconds / timings["shared"].processor_seconds,
                "packing_nanoseconds": packing / (n_units * n_channels) * 1e9,
                "repeats": repeats,
            }
        )
    return rows


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = []
    for n_units, n_channels, n_modes, p, share in CASES:
        if options.quick:
            n_units, share = n_units // 100, max(1, share // 100)
        rows += measure(n_units, n_channels, n_modes, p, share, 3 if options.quick or p > _lanes.LARGEST_SIZE else 9)
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
