"""How fast readings become sufficient statistics: basis, NaN scan and one QR per unit, on one core.

GB/s are of the raw float64 values (channels alone, times not counted). From a panel that is in memory to statistics in
given coordinates, and in coordinates that are learned on the way, as a fit does.
"""

from __future__ import annotations

from common import harness

import numpy as np  # isort: skip

from common.fleets import draw_fleet

from cem.statistics.sufficient import SufficientStatistics


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    scale, repeats = (20, 2) if options.quick else (1, 9)
    rows = []
    for label, n_units, n, n_channels, gaps in (
        ("100 readings × 15 channels", 10_000, 100, 15, 0.0),
        ("100 readings × 15 channels, 5 % of the cells missing", 2_000, 100, 15, 0.05),
        ("14 readings × 1 channel", 300_000, 14, 1, 0.0),
    ):
        fleet = draw_fleet(n_units // scale, (n, n), n_modes=2, p=3, n_channels=n_channels)
        if gaps:
            values = fleet.values.copy()
            values[np.random.default_rng(1).uniform(size=values.shape) < gaps] = np.nan
            fleet = type(fleet)(fleet.offsets, fleet.times, values, fleet.modes, fleet.truth)
        panel = fleet.panel()
        bases = (fleet.basis.bind(fleet.times),) * n_channels
        coordinates = SufficientStatistics.from_panel(panel, bases).coordinates

        def given(panel=panel, bases=bases, coordinates=coordinates) -> object:
            return SufficientStatistics.from_panel(panel, bases, coordinates=coordinates)

        def learned(panel=panel, bases=bases) -> object:
            return SufficientStatistics.from_panel(panel, bases)

        timings = harness.interleaved({"given": given, "learned": learned}, repeats)
        for name, timing in timings.items():
            seconds = min(timing.seconds, timing.processor_seconds)
            rows.append(
                {
                    "units": label,
                    "coordinates": name,
                    "n_units": panel.n_units,
                    "p": 3,
                    "cores": 1,
                    "seconds": timing.seconds,
                    "processor_seconds": timing.processor_seconds,
                    "gigabytes_per_second": fleet.values.nbytes / seconds / 1e9,
                    "units_per_second": panel.n_units / seconds,
                    "repeats": timing.repeats,
                }
            )
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
