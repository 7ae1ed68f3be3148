"""`lmer` of lme-python by maximum likelihood. Argument: folder."""

import csv
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

import lme_python
import numpy as np
import polars

folder = Path(sys.argv[1])
table = polars.read_csv(folder / "readings.csv").with_columns(polars.col("unit").cast(polars.Utf8))
columns = [name for name in table.columns if name.startswith("basis")][1:]  # the first one is 1, the intercept
terms = " + ".join(columns)
covariates = [name for name in table.columns if name.startswith("covariate")]  # the same for all units
fixed = " + ".join([*columns, *covariates])
elapsed, processor = [], []
for _ in range(3):
    clock, own = time.perf_counter(), time.process_time()
    fit = lme_python.lmer(f"y ~ {fixed} + ({terms} | unit)", data=table, reml=False)
    elapsed.append(time.perf_counter() - clock)
    processor.append(time.process_time() - own)
p = len(columns) + 1
factor = np.zeros((p, p))
factor.T[np.triu_indices(p)] = fit.theta  # lme4's order: column by column
covariance = fit.sigma2 * factor @ factor.T
with open(folder / "lme-python.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["weight", "noise", *range(p), *range(p * p), *covariates])
    writer.writerow([1.0, fit.sigma2, *fit.coefficients[:p], *covariance.ravel(), *fit.coefficients[p:]])
fate = "converged" if fit.converged else f"not converged: {fit.diagnostics['termination']}"
seconds = f"{statistics.median(elapsed)} {statistics.median(processor)}"
print(seconds, f"{fit.log_likelihood:.6f}", fit.iterations, version("lme-python"), fate)
