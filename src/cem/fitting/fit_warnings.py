"""Warnings about a finished fit: one warning of each kind, which lists the modes and channels."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.kernels import _maximisation
from cem.em.mixture_problem import MixtureRun
from cem.errors import ConvergenceWarning, FloorWarning, LostModeWarning, SparseModeWarning
from cem.errors.names import listed
from cem.errors.warning import warn

if TYPE_CHECKING:
    from cem.fitting.options import FitOptions
    from cem.mixture.parameters import Parameters
    from cem.search.starts import Start
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["warn_of_fit"]

_MOST_NAMED = 8
# With fewer units than this for each parameter of a covariance, an eigenvalue at the floor means too many parameters.
_UNITS_PER_PARAMETER = 5
# If a mean coefficient is within three standard errors of 0 in every mode, the mean curves do not need its function.
_STANDARD_ERRORS = 3.0


def warn_of_fit(
    records: Sequence[Start],
    run: MixtureRun,
    statistics: SufficientStatistics,
    mode_labels: Sequence[Hashable],
    interrupted: bool,
    options: FitOptions,
) -> None:
    """Warn of lost modes, missing convergence, variances at their floor, and modes without readings of a channel.

    Parameters
    ----------
    records : sequence of Start
        All starts of the search.
    run : EMRun
        The run that was kept, its modes in the order of `mode_labels`.
    statistics : SufficientStatistics
        The data that were fitted.
    mode_labels : sequence of hashable
        Labels of the modes, for messages.
    interrupted : bool
        Whether the search was interrupted.
    options : FitOptions
        The options of the fit.
    """
    lost = [i for i, record in enumerate(records) if record.fate.startswith("lost mode")]
    if lost:
        warn(
            f"{len(lost)} of {len(records)} starts ended because a mode lost its units (first: start {lost[0]}, "
            f"{records[lost[0]].fate}); if most do, n_modes={options.n_modes} is too many for these data",
            LostModeWarning,
        )
    if run.converged and interrupted:
        warn(
            "the search was interrupted: the start kept has converged, but others were cut short and might have led "
            "to a better optimum",
            ConvergenceWarning,
        )
    if not run.converged and options.max_iter:
        why = "the fit was interrupted" if interrupted else f"{options.max_iter} E steps were not enough"
        warn(f"not converged: {why}; raise max_iter, or continue with fit(panel, init=model)", ConvergenceWarning)
    channels = statistics.channels
    noise = _has(run, _maximisation.NOISE_FLOOR) & ~statistics.noise_is_untold  # not identifiable there
    if noise.any():
        warn(
            f"the noise variance is at its floor in {_places(noise, mode_labels, channels)}; a stuck or quantised "
            "sensor may be forming a mode of its own: look at its readings, or set noise_floor",
            FloorWarning,
        )
    _warn_of_covariance_floors(run, statistics, mode_labels, options)
    kept = _has(run, _maximisation.KEPT)
    if kept.any():
        what = "means and noise" if options.covariance in ("pooled", "shrunk") else "parameters"
        warn(
            f"fewer than one unit carries readings in {_places(kept, mode_labels, channels)}; {what} there are "
            "those of the start: leave these channels out, or use fewer modes",
            SparseModeWarning,
        )


def _warn_of_covariance_floors(
    run: MixtureRun, statistics: SufficientStatistics, mode_labels: Sequence[Hashable], options: FitOptions
) -> None:
    """Warn of covariances at their floor if the user should do something about it.

    A maximum of the likelihood on the boundary is common and not a fault: the readings do not resolve how the units of
    a mode differ in some direction. A smaller model is better in two cases: the mode has too few units for its number
    of parameters, or no mean curve needs the direction either. If the user set the floor, it may hold the fit back.
    """
    at_floor = _has(run, _maximisation.COVARIANCE_FLOOR)
    if not at_floor.any():
        return
    parameters = run.parameters.marginal()
    shares = options.covariance in ("pooled", "shrunk")
    few, superfluous, held = (np.zeros_like(at_floor) for _ in range(3))
    mode_counts = run.responsibilities.sum(axis=0)
    for c in np.flatnonzero(at_floor.any(axis=0)):
        p = statistics.sizes[c]
        if options.covariance_floor is not None:
            held[:, c] = at_floor[:, c]
        elif p > 1 and _last_function_is_idle(parameters, int(c), statistics, mode_counts):
            superfluous[:, c] = at_floor[:, c]
        else:
            n_parameters = p if options.covariance == "diagonal" else p * (p + 1) // 2
            n_units = np.full(len(mode_counts), mode_counts.sum()) if shares else mode_counts
            few[:, c] = at_floor[:, c] & (n_units < _UNITS_PER_PARAMETER * n_parameters)
    channels = statistics.channels
    findings = []
    if few.any():
        may_share = not shares and len(mode_counts) > 1
        remedy = "covariance='shrunk' or 'pooled', or a smaller basis," if may_share else "a smaller basis"
        findings.append(
            f"in {_places(few, mode_labels, channels)}, with too few units for its parameters: {remedy} would be enough"
        )
    if superfluous.any():
        findings.append(
            f"in {_places(superfluous, mode_labels, channels)}, where neither units nor mean curves need the last "
            "function of the basis: a smaller basis would be enough"
        )
    if held.any():
        findings.append(
            f"in {_places(held, mode_labels, channels)}: covariance_floor holds it there; a lower one may fit better"
        )
    if findings:
        warn(f"the covariance of the coefficients is at its floor {'; and '.join(findings)}", FloorWarning)


def _last_function_is_idle(
    parameters: Parameters, channel: int, statistics: SufficientStatistics, mode_counts: NDArray[np.float64]
) -> bool:
    """True if no mode uses a channel's last orthonormal function: its mean and variance are 0 within their errors.

    Without that function the basis spans one dimension less; a polynomial, one degree less.
    """
    coordinates = statistics.coordinates
    n_readings = float(statistics.counts[:, channel].sum()) / statistics.n_units  # of a unit, on average
    for k, n_units in enumerate(mode_counts):
        user = coordinates.coefficients(parameters.mean(k, channel), channel)
        mean = (coordinates.transform(channel) @ user)[-1] / coordinates.scales[channel]
        variance = float(np.square(parameters.factor(k, channel)[-1]).sum())
        resolved = parameters.noise_variances[k, channel] / max(n_readings, 1.0)  # error of one unit's coefficient
        standard_error = np.sqrt((variance + resolved) / max(n_units, 1.0))
        if variance > 0.1 * resolved or abs(mean) > _STANDARD_ERRORS * standard_error:
            return False
    return True


def _has(run: MixtureRun, bit: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (run.status & bit) != 0
    return found


def _places(where: NDArray[np.bool_], mode_labels: Sequence[Hashable], channels: Sequence[str]) -> str:
    """``modes 0, 1 of channels 'a', 'b' and mode 2 of channel 'c'`` for an array of shape (K, C)."""
    by_modes: dict[bytes, list[int]] = {}
    for c in np.flatnonzero(where.any(axis=0)):
        by_modes.setdefault(where[:, c].tobytes(), []).append(int(c))
    parts = []
    for group in by_modes.values():
        modes = [label for label, is_there in zip(mode_labels, where[:, group[0]], strict=True) if is_there]
        which = "all modes" if len(modes) == len(mode_labels) > 1 else _counted("mode", modes)
        parts.append(f"{which} of {_counted('channel', [channels[c] for c in group])}")
    shown = parts if len(parts) <= _MOST_NAMED else [*parts[:_MOST_NAMED], f"{len(parts) - _MOST_NAMED} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _counted(noun: str, names: Sequence[object]) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} {listed(names, _MOST_NAMED)}"
