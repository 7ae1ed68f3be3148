"""What one reading costs in the exported C header: instructions of update and probabilities, bytes of a unit.

Callgrind counts instructions, libm's included, so the figure does not depend on who else uses the machine; the program
runs twice, and the difference of the counts is that of the additional readings.
"""

from __future__ import annotations

from common import harness

import platform  # isort: skip
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from cem.basis import Polynomial
from cem.export.codegen import export_c
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.statistics.coordinates import Coordinates

CHANNELS, MODES, SIZE = 15, 3, 3
TARGET = 8500
FEW, MANY = 1000, 3000

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "fleet.h"
static fleet_unit unit;
static fleet_scalar x[FLEET_N_CHANNELS], probabilities[FLEET_N_MODES];
int main(int argc, char **argv)
{
    /* The same reading each time: what is counted is the header, not the making of readings. */
    const int n = argc > 1 ? atoi(argv[1]) : 0;
    int i, c;
    fleet_init(&unit);
    for (c = 0; c < FLEET_N_CHANNELS; ++c) {
        x[c] = (fleet_scalar)9062.25;
    }
    for (i = 0; i < n; ++i) {
        if (fleet_update(&unit, 0.1 * i, x) != FLEET_OK) {
            return 1;
        }
        fleet_probabilities(&unit, probabilities);
    }
    printf("%d %g\\n", (int)sizeof unit, (double)probabilities[0]);
    return 0;
}
"""


def fleet() -> FailureModeModel:
    """15 sensors around 9062 in 3 modes, quadratic curves."""
    rng = np.random.default_rng(0)
    times = np.linspace(0.0, 300.0, 301)
    basis = Polynomial(SIZE - 1).bind(times)
    design = basis(times)
    triangle = np.linalg.qr(design, mode="r")
    triangle *= np.sign(np.diagonal(triangle))[:, None] / np.sqrt(len(times))
    centre = np.linalg.lstsq(design, 9062.0 + 0.001 * times, rcond=None)[0]
    sizes = (SIZE,) * CHANNELS
    factors = np.tril(0.3 * rng.normal(size=(MODES, CHANNELS, SIZE, SIZE))) + 0.4 * np.eye(SIZE)
    return FailureModeModel(
        parameters=Parameters(
            np.full(MODES, 1.0 / MODES),
            rng.normal(size=(MODES, CHANNELS * SIZE)),
            factors.reshape(MODES, -1),
            rng.uniform(0.1, 0.3, (MODES, CHANNELS)),
            sizes,
        ),
        coordinates=Coordinates(
            np.tile(centre, CHANNELS), np.full(CHANNELS, 0.5), np.tile(triangle.ravel(), CHANNELS), sizes
        ),
        bases=[basis] * CHANNELS,
        channels=[f"s{c + 1}" for c in range(CHANNELS)],
    )


def instructions(program: Path, readings: int) -> int:
    """Of a run with so many readings."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), str(readings)]
    log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = re.search(r"refs:\s*([\d,]+)", log)
    if found is None:
        raise RuntimeError(f"callgrind gave no count:\n{log}")
    return int(found.group(1).replace(",", ""))


def measure(model: FailureModeModel, scalar: str, folder: Path) -> dict[str, float | int | str]:
    """Counts for one scalar."""
    export_c(model, folder / "fleet.h", scalar=scalar)
    (folder / "main.c").write_text(PROGRAM)
    program = folder / f"run_{scalar}"
    build = ["gcc", "-O2", "-std=c99", "-Wall", "-Werror", "main.c", "-o", program.name, "-lm"]
    subprocess.run(build, cwd=folder, check=True)
    size = int(subprocess.run([program, "1"], check=True, capture_output=True, text=True).stdout.split()[0])
    counted = instructions(program, MANY) - instructions(program, FEW)
    return {
        "scalar": scalar,
        "instructions_per_reading": round(counted / (MANY - FEW)),
        "target_instructions": TARGET,
        "bytes_per_unit": size,
    }


def main() -> None:
    options = harness.arguments(__doc__)
    load = harness.load_average()
    model = fleet()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(model, scalar, Path(folder)) for scalar in ("double", "float")]
    gcc = subprocess.run(["gcc", "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()
    libc = " ".join(platform.libc_ver())
    harness.write_results(__file__, options, rows, load_before=load, compiler=f"gcc {gcc} -O2 -std=c99", libc=libc)


if __name__ == "__main__":
    main()
