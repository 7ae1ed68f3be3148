"""A sign that a basis cannot follow the curves of a fleet: what it leaves has a shape that units share.

Links take what a curve leaves for evidence about the factors that channels share, so they make the predictions of such
a basis worse. The mean residual of a stretch of time over units distinguishes a misfit from the wander of single units,
which averages out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import BasisMisfitWarning
from cem.errors.names import listed
from cem.errors.warning import warn
from cem.mixture.prediction import internal_posterior

if TYPE_CHECKING:
    from cem.em.mixture_problem import MixtureRun
    from cem.panel.panel import Panel
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["shared_shapes", "warn_of_misfit"]

FloatArray = NDArray[np.float64]

LEAST_SHAPE = 0.15
"""Root mean square of the mean residual curve, in standard deviations of the noise, that counts as a misfit. On engines
a parabola leaves .18 and links make it worse by a fifth; one exponential leaves .1 and links make it better."""

_LEAST_SHARE = 0.2
"""Share of the channels that a warning needs: a single one of fourteen does little harm."""

_STANDARD_ERRORS = 5.0
_STRETCHES = 12
_FEWEST_READINGS = 50  # of a stretch
_FEWEST_UNITS = 15
_MOST_UNITS = 60
_MOST_ROWS = 3000  # so that the look costs a few per cent of a small fit


def warn_of_misfit(panel: Panel, statistics: SufficientStatistics, run: MixtureRun) -> None:
    """Name the channels of which the basis leaves a shape, before they are linked.

    Parameters
    ----------
    panel : Panel
        The units of the fit, on its time axis.
    statistics : SufficientStatistics
        Of these units, all columns random.
    run : MixtureRun
        The fit with independent channels.
    """
    shapes = shared_shapes(panel, statistics, run)
    bad = {name: shape for name, shape in shapes.items() if shape >= LEAST_SHAPE}
    if bad and len(bad) >= _LEAST_SHARE * len(shapes):
        names = sorted(bad, key=lambda name: -bad[name])
        worst = names[0]
        basis = statistics.bases[statistics.channels.index(worst)]
        warn(
            f"the basis cannot follow channel{'s' * (len(bad) > 1)} {listed(names)}: what {basis!r} leaves of "
            f"{worst!r} has a shape that units share, of {bad[worst]:.2g} standard deviations of the noise. Links "
            "take it for evidence, and predictions get worse; take a richer basis, basis='auto' or "
            "cem.selection.choose_basis, or linking_rank=0",
            BasisMisfitWarning,
        )


def shared_shapes(panel: Panel, statistics: SufficientStatistics, run: MixtureRun) -> dict[str, float]:
    """Root mean square of the mean residuals of stretches of time, less what chance gives, by channel of the panel.

    In standard deviations of the noise, on at most 60 units; 0 where the largest of these means is within five standard
    errors, which count units rather than readings.

    Parameters
    ----------
    panel, statistics, run
        As for `warn_of_misfit`.
    """
    parameters, modes = run.parameters, run.responsibilities.argmax(axis=1)
    taken = np.linspace(0, panel.n_units - 1, min(_MOST_UNITS, panel.n_units)).round().astype(np.int64)
    means = internal_posterior(statistics, parameters)[0]
    part, modes = panel[taken], modes[taken]
    some = slice(None, None, max(1, -(-len(part.times) // _MOST_ROWS)))
    times, values = part.times[some], part.values[some]
    unit = np.repeat(np.arange(part.n_units), np.diff(part.offsets))[some]
    designs = {basis: basis(times) for basis in set(statistics.bases)}
    coordinates, found = statistics.coordinates, {}
    for c, name in enumerate(statistics.channels):
        if name not in part.channels:  # ln life
            continue
        readings = values[:, part.channels.index(name)]
        seen = np.flatnonzero(np.isfinite(readings))
        design = designs[statistics.bases[c]][seen]
        rows = np.linalg.solve(coordinates.transform(c).T, design.T).T
        own = statistics.layout.vector(means, c)[taken, modes]
        left = (readings[seen] - design @ coordinates.centre(c)) / coordinates.scales[c]
        left -= np.einsum("np,np->n", rows, own[unit[seen]])
        left /= np.sqrt(parameters.noise_variances[modes, c])[unit[seen]]
        found[name] = _shape(times[seen], left, unit[seen], modes)
    return found


def _shape(times: FloatArray, left: FloatArray, unit: NDArray[np.int64], modes: NDArray[np.int64]) -> float:
    n_stretches = min(_STRETCHES, len(times) // _FEWEST_READINGS)
    if n_stretches < 2:
        return 0.0
    edges = np.quantile(times, np.linspace(0.0, 1.0, n_stretches + 1)[1:-1])
    cell = unit * n_stretches + np.searchsorted(edges, times)
    shape = (len(modes), n_stretches)
    counts = np.bincount(cell, minlength=len(modes) * n_stretches).reshape(shape)
    sums = np.bincount(cell, left, len(modes) * n_stretches).reshape(shape)
    total, farthest = 0.0, 0.0
    for k in np.unique(modes):
        n, total_left = counts[modes == k], sums[modes == k]
        readings = n.sum(axis=0)
        mean = total_left.sum(axis=0) / np.maximum(readings, 1)
        total += float((np.square(mean) * readings).sum()) - np.count_nonzero(readings)
        error = np.sqrt(np.square(total_left - n * mean).sum(axis=0)) / np.maximum(readings, 1)
        enough = (n > 0).sum(axis=0) >= _FEWEST_UNITS
        if enough.any():
            farthest = max(farthest, float((np.abs(mean) / np.maximum(error, 1e-300))[enough].max()))
    return float(np.sqrt(max(total, 0.0) / len(times))) if farthest >= _STANDARD_ERRORS else 0.0
