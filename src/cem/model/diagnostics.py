"""Check a fit by its residuals: are they correlated in time, and how much is a reading then worth?

The model assumes white noise (model.md §2). If the basis does not fit, or a sensor has a memory, residuals are
correlated in time, and n readings carry less information about a curve than n independent ones: by the factor κ of
`TimeCorrelation.information`. Pass κ to `cem.RemainingLife` as ``information``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.errors.display import escaped
from cem.errors.names import listed
from cem.mixture.conditioned import adjusted_panel, mode_curves
from cem.statistics.whitening import white_rows

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["TimeCorrelation", "residuals", "time_correlation"]

FloatArray = NDArray[np.float64]

_FEWEST_PAIRS = 20
_LEAST_INFORMATION = 0.01


@dataclass(frozen=True, eq=False)
class TimeCorrelation:
    """Autocorrelation of residuals, by channel; made by `time_correlation`. Print it for a table.

    Parameters
    ----------
    channels : tuple of str
        Length C.
    autocorrelations : ndarray of shape (C, H)
        Autocorrelation at lags of h = 1 … H readings, less what a fit to white noise would show; NaN with too few
        pairs.
    standard_errors : ndarray of shape (C, H)
        Their standard errors under white noise: a value beyond two of them is evidence of correlated noise.
    information : ndarray of shape (C,)
        κ_c = 1 / (1 + 2 Σ_h ρ_h), summed up to the first ρ_h within two standard errors of 0; in (0, 1]. A reading of
        channel c is worth κ_c independent ones.
    """

    channels: tuple[str, ...]
    autocorrelations: FloatArray
    standard_errors: FloatArray
    information: FloatArray

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each channel and lag: autocorrelation, its standard error, and κ of the channel.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend)

    def _table(self) -> dict[str, Any]:
        n_lags = self.autocorrelations.shape[1]
        return {
            "channel": [name for name in self.channels for _ in range(n_lags)],
            "lag": np.tile(np.arange(1, n_lags + 1), len(self.channels)),
            "autocorrelation": self.autocorrelations.ravel(),
            "standard_error": self.standard_errors.ravel(),
            "information": np.repeat(self.information, n_lags),
        }

    def __repr__(self) -> str:
        found = [name for name, coloured in zip(self.channels, self.needed, strict=True) if coloured]
        noise = f"noise is not white on {listed(found)}" if found else "no channel shows noise that is not white"
        return f"TimeCorrelation of {len(self.channels)} channels, {self.autocorrelations.shape[1]} lags: {noise}"

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table

        table = {name: values[:MOST_ROWS] for name, values in self._table().items()}
        return html_table(repr(self), table, self.autocorrelations.size)

    @property
    def needed(self) -> NDArray[np.bool_]:
        """Whether each channel's noise is not white: its lag-1 correlation is above two standard errors; shape (C,)."""
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(self.autocorrelations[:, 0]) > 2.0 * np.nan_to_num(self.standard_errors[:, 0])

    def __str__(self) -> str:
        rows = ["channel   lag 1 (se)      lag 2     κ"]
        for c, name in enumerate(self.channels):
            first, error = self.autocorrelations[c, 0], self.standard_errors[c, 0]
            second = self.autocorrelations[c, 1] if self.autocorrelations.shape[1] > 1 else np.nan
            mark = "  not white" if self.needed[c] else ""
            rows.append(f"{escaped(name):8s} {first:7.3f} ({error:.3f}) {second:9.3f} {self.information[c]:6.3f}{mark}")
        return "\n".join(rows)


def residuals(model: FailureModeModel, panel: Panel) -> tuple[FloatArray, FloatArray]:
    """Return readings less each unit's own curve under its most probable mode, and their leverages.

    Parameters
    ----------
    model : FailureModeModel
        The fitted model.
    panel : Panel
        On the model's time axis; if that is the time to failure, units that failed.

    Returns
    -------
    residuals : ndarray of shape (N, C)
        In units of the residual standard deviation; NaN where not observed. Readings are in the panel's order, and
        have lost what their conditions explain. Where units wander (``process=``), they are white: of what each reading
        adds to those before, so a process that fits leaves no correlation in time.
    leverages : ndarray of shape (N, C)
        φᵀ Σ̂ φ / σ²: the share of a reading's own noise that its unit's curve follows.

    See Also
    --------
    FailureModeModel.residuals : averaged over the modes, about their mean curves, or as normal quantiles; with tables.
    """
    posterior = model.posterior(panel)
    best = posterior.mode_probabilities.argmax(axis=1)
    read = model._aligned(panel)
    own = adjusted_panel(model, read)
    result, leverages = np.full(own.values.shape, np.nan), np.full(own.values.shape, np.nan)
    rows = np.repeat(np.arange(own.n_units), np.diff(own.offsets))
    noise = model.noise_variances_
    for c, basis in enumerate(model.bases):
        p = posterior.sizes[c]
        phi, x = white_rows(model.processes, c, own, basis(own.times))
        sigma2 = noise[best, c][rows]
        curve = np.einsum("np,np->n", phi, posterior.means[np.arange(own.n_units), best, c, :p][rows])
        if model.conditions is not None and model.conditions.by_mode[c]:
            curve += mode_curves(model, read, c)[np.arange(len(rows)), best[rows]]
        result[:, c] = (x - curve) / np.sqrt(sigma2)
        covariance = posterior.covariances[np.arange(own.n_units), best, c, :p, :p][rows]
        leverages[:, c] = np.einsum("np,npq,nq->n", phi, covariance, phi) / sigma2
    return result, np.where(np.isnan(result), np.nan, leverages)


def time_correlation(model: FailureModeModel, panel: Panel, n_lags: int = 20) -> TimeCorrelation:
    """Estimate the autocorrelation of residuals, and how many independent readings each reading is worth.

    Lags count readings of a unit, not time: readings are treated as equally spaced. Fitting a curve to n readings makes
    their residuals negatively correlated; the expected effect under white noise, −φᵢᵀΣ̂φⱼ/σ² for a pair, is removed.

    Parameters
    ----------
    model : FailureModeModel
        The fitted model.
    panel : Panel
        Training units, as for `residuals`.
    n_lags : int
        H, the largest lag.

    Returns
    -------
    TimeCorrelation

    Raises
    ------
    OptionError
        `n_lags` is below 1.
    PredictionError
        A unit is still running and the model's time axis is the time to failure.
    """
    if not isinstance(n_lags, (int, np.integer)) or isinstance(n_lags, bool) or n_lags < 1:
        raise OptionError(f"n_lags is {n_lags!r}; a whole number above 0 was expected")
    epsilon, _ = residuals(model, panel)
    posterior = model.posterior(panel)
    best = posterior.mode_probabilities.argmax(axis=1)
    own = model._aligned(panel)
    rows = np.repeat(np.arange(own.n_units), np.diff(own.offsets))
    noise = model.noise_variances_
    correlations = np.full((model.n_channels, n_lags), np.nan)
    errors = np.full((model.n_channels, n_lags), np.nan)
    information = np.ones(model.n_channels)
    for c, basis in enumerate(model.bases):
        p = posterior.sizes[c]
        seen = np.flatnonzero(~np.isnan(epsilon[:, c]))
        e, unit = epsilon[seen, c], rows[seen]
        phi = white_rows(model.processes, c, own, basis(own.times))[0][seen]
        covariance = posterior.covariances[np.arange(own.n_units), best, c, :p, :p]
        half = np.einsum("np,npq->nq", phi, covariance[unit]) / noise[best, c][unit][:, None]
        spread = np.mean(np.square(e)) + np.mean(np.einsum("nq,nq->n", half, phi)) if len(e) else 1.0
        for h in range(1, n_lags + 1):
            pair = np.flatnonzero(unit[h:] == unit[:-h])
            if len(pair) < _FEWEST_PAIRS:
                break
            # E[eᵢ eⱼ] under white noise is −φᵢᵀΣ̂φⱼ/σ², except for the prior's share of the curve.
            pulled = np.einsum("nq,nq->n", half[pair + h], phi[pair])
            correlations[c, h - 1] = np.mean(e[pair + h] * e[pair] + pulled) / spread
            errors[c, h - 1] = 1.0 / np.sqrt(len(pair))
        total = 0.0
        for rho, error in zip(correlations[c], errors[c], strict=True):
            if not rho > 2.0 * error:
                break
            total += rho
        information[c] = np.clip(1.0 / (1.0 + 2.0 * total), _LEAST_INFORMATION, 1.0)
    return TimeCorrelation(model.channels, correlations, errors, information)
