"""`fit` of interlace-lme by maximum likelihood. Argument: folder."""

import csv
import statistics
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import interlace
import numpy as np
import pandas

warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
table = pandas.read_csv(folder / "readings.csv")
columns = [name for name in table.columns if name.startswith("basis")][1:]  # the first one is 1, the intercept
terms = " + ".join(columns)
elapsed, processor = [], []
for _ in range(3):
    clock, own = time.perf_counter(), time.process_time()
    fit = interlace.fit(f"y ~ {terms}", table, random=[f"(1 + {terms} | unit)"], method="ML")
    elapsed.append(time.perf_counter() - clock)
    processor.append(time.process_time() - own)
covariance = np.asarray(fit.variance_components["unit"], dtype=float)
p = len(covariance)
with open(folder / "interlace-lme.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["weight", "noise", *range(p), *range(p * p)])
    writer.writerow([1.0, fit.scale, *np.asarray(fit.fe_params, dtype=float), *covariance.ravel()])
fate = "converged" if fit.converged else "not converged"
seconds = f"{statistics.median(elapsed)} {statistics.median(processor)}"
print(seconds, f"{fit.llf:.6f}", 0, version("interlace-lme"), fate)
