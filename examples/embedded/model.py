"""Fits the demo fleet, and writes what the program needs: fleet.h, the model, and readings.h, a pump and its answer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import cem


def rows(values: np.ndarray) -> str:
    """Floats as C initialisers; a silent sensor is NAN."""
    return ", ".join("NAN" if np.isnan(value) else f"{float(value).hex()}f" for value in values)


def main(folder: Path) -> None:
    fleet = cem.datasets.load_demo_fleet(modes=True)
    model = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(fleet[:150]).model_
    model.export_c(folder / "fleet.h", name="fleet", scalar="float")
    pump = fleet[152].until(70.0)
    values = pump.values.astype(np.float32)
    expected = model.predict_proba(pump)[0]
    times = ", ".join(float(t).hex() for t in pump.times)
    lines = [
        "/* Readings of a pump that the fit has not seen, and the probabilities of its modes, by Python. */",
        f"enum {{ N_READINGS = {len(pump.times)} }};",
        f"static const double times[N_READINGS] = {{ {times} }};",
        "static const fleet_scalar readings[N_READINGS][FLEET_N_CHANNELS] = {",
        *(f"    {{ {rows(row)} }}," for row in values),
        "};",
        f"static const fleet_scalar expected[FLEET_N_MODES] = {{ {rows(expected)} }};",
    ]
    (folder / "readings.h").write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
