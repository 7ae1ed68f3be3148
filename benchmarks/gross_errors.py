"""How far do gross errors in one reading of a hundred move the curves, kept and left out?

    python benchmarks/gross_errors.py             # ten draws of errors on the demo fleet
    python benchmarks/gross_errors.py --draws 3

The 160 pumps that ship with cem, three modes, forward and on the time to failure. One reading in a hundred is ten times
as large, 0, of the other sign, or twenty standard deviations of its channel higher. Errors are kept, left out by
`gross_errors="leave_out"`, or known: the readings are missing. A row is a mode: units in it, and the largest distance
of its mean curves to those of the fit to clean data, over channels and seven times, in standard deviations of units and
noise together; median and largest of the draws.
"""

from __future__ import annotations

from common import harness  # noqa: F401  before numpy

import argparse  # isort: skip
import warnings

import numpy as np

import cem
from cem.panel import Panel

SEED = 9000


def spoilt(panel: Panel, seed: int, known: bool) -> Panel:
    rng = np.random.default_rng(seed)
    values = np.array(panel.values)
    cells = rng.choice(np.flatnonzero(np.isfinite(values)), values.size // 100, replace=False)
    x, scales = values.flat[cells], np.nanstd(values, axis=0)[cells % values.shape[1]]
    wrong = np.choose(rng.integers(4, size=len(cells)), [10 * x, 0 * x, -x, x + 20 * scales])
    values.flat[cells] = np.nan if known else wrong
    return panel._replace(values=values)


def distances(clean: cem.FailureModeEM, other: cem.FailureModeEM, times: np.ndarray) -> np.ndarray:
    """Of each mode of the clean fit to the nearest of the other fit, the largest over channels and times, (K,)."""
    ours, theirs = clean.model_, other.model_
    found = np.zeros((ours.n_modes, ours.n_modes))
    for k, j in np.ndindex(found.shape):
        for c, basis in enumerate(ours.bases):
            rows, p = basis(times), basis.size
            spread = np.square(rows @ ours.covariance_factors_[k, c, :p, :p]).sum(axis=1)
            gap = rows @ (ours.means_[k, c, :p] - theirs.means_[j, c, :p])
            found[k, j] = max(found[k, j], np.abs(gap / np.sqrt(spread + ours.noise_variances_[k, c])).max())
    return found.min(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10, help="draws of errors")
    options = parser.parse_args()
    warnings.simplefilter("ignore", cem.CemWarning)
    panel = cem.datasets.load_demo_fleet()
    print("clock       mode of  errors      median  largest")
    for axis in ("forward", "to_failure"):
        life = float(np.nanmedian(panel.failure_times))
        times = np.linspace(0.0, life, 7) - (life if axis == "to_failure" else 0.0)
        fits, draws = {}, range(SEED, SEED + options.draws)
        clean = cem.FailureModeEM(3, time_axis=axis, n_init=10, random_state=0).fit(panel)
        for kind in ("keep", "leave_out", "known"):
            what = "keep" if kind == "known" else kind
            em = cem.FailureModeEM(3, time_axis=axis, gross_errors=what, n_init=10, random_state=0)
            fits[kind] = np.stack(
                [distances(clean, em.fit(spoilt(panel, seed, kind == "known")), times) for seed in draws]
            )
        sizes = np.bincount(clean.predict(panel), minlength=3)
        for k in np.argsort(-sizes):
            for kind, found in fits.items():
                middle, largest = np.median(found[:, k]), found[:, k].max()
                print(f"{axis:10}  {sizes[k]:7}  {kind:10}  {middle:6.2f}  {largest:7.2f}", flush=True)


if __name__ == "__main__":
    main()
