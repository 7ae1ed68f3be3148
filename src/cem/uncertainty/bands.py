"""Bands of the modes' mean curves."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.numerics.floating import row_lengths

__all__ = ["Bands", "simultaneous_quantile"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bands:
    """The mean curve of each mode in one channel, with a band that its estimate leaves.

    Parameters
    ----------
    channel : str
    times : ndarray of shape (m,)
        In the panel's time unit; on the time to failure at most 0.
    curves, standard_errors, lower, upper : ndarray of shape (K, m)
        In units of the channel; errors and ends are NaN where the coefficients of a curve are held.
    level : float
        Probability that a band holds the curve: at each time on its own, or at all times together.
    simultaneous : bool
        Whether it is at all times together, for each mode.
    mode_labels : tuple of K labels
    time_unit, channel_unit : str, optional
        Labels.
    time_axis : {"forward", "to_failure"}
    """

    channel: str
    times: FloatArray
    curves: FloatArray
    standard_errors: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float
    simultaneous: bool
    mode_labels: tuple[Hashable, ...]
    time_unit: str | None = None
    channel_unit: str | None = None
    time_axis: str = "forward"

    def __post_init__(self) -> None:
        for name in ("times", "curves", "standard_errors", "lower", "upper"):
            getattr(self, name).setflags(write=False)

    def __repr__(self) -> str:
        kind = "simultaneous" if self.simultaneous else "pointwise"
        return (
            f"Bands: channel {self.channel!r}, {len(self.curves)} modes at {len(self.times)} times, {kind}, level "
            f"{self.level:g}"
        )

    def to_frame(self, backend: str | None = None) -> Any:
        """Return the bands as a data frame: a row for each mode and time.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        K, m = self.curves.shape
        return frame_of(
            {
                "mode": [label for label in self.mode_labels for _ in range(m)],
                "time": np.tile(self.times, K),
                "curve": self.curves.ravel(),
                "standard_error": self.standard_errors.ravel(),
                "lower": self.lower.ravel(),
                "upper": self.upper.ravel(),
            },
            backend,
        )


def simultaneous_quantile(
    spread: FloatArray, level: float, n_draws: int, seed: int, degrees_of_freedom: float = np.inf
) -> float:
    """The number of standard errors that holds a curve at all times together.

    Parameters
    ----------
    spread : ndarray of shape (m, d)
        Root of the covariance of the curve at the times.
    level : float
    n_draws : int
        Of the simulation.
    seed : int
        Of the simulation.
    degrees_of_freedom : float
        Of the t law of the deviations; that of a normal by default.

    Returns
    -------
    float
        Quantile of the largest absolute deviation, in standard errors; 0 if the curve has none anywhere.
    """
    deviations = row_lengths(spread)
    seen = deviations > 1e-12 * deviations.max(initial=0.0)
    if not seen.any():
        return 0.0
    # A curve has few degrees of freedom: draw in those, not in all directions of the parameters.
    U, values, _ = np.linalg.svd(spread[seen] / deviations[seen, None], full_matrices=False)
    kept = values > 1e-10 * values[0]
    rng = np.random.default_rng(seed)
    draws = rng.standard_normal((n_draws, int(kept.sum())))
    largest = np.abs(draws @ (U[:, kept] * values[kept]).T).max(axis=1)
    if np.isfinite(degrees_of_freedom):
        largest /= np.sqrt(rng.chisquare(degrees_of_freedom, n_draws) / degrees_of_freedom)
    return float(np.quantile(largest, level))
