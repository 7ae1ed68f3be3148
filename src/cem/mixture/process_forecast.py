"""Where units are beside their curves: the law of u at any time, given the readings and the coefficients.

Given T, u(s) is normal with a mean that is linear in x − Φ T, so it takes [φ | x] to the rows of model.md (36).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.statistics.whitening import whitened

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel
    from cem.process.channel_process import ChannelProcess
    from cem.statistics.whitening import Filters

__all__ = ["Level", "States", "level_at", "states_after", "states_at"]

FloatArray = NDArray[np.float64]

_NUMBERS_PER_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Level:
    """The curve and the level u of units at some times: given T, φᵀT + u has mean ``design @ T + origins``.

    Parameters
    ----------
    design : ndarray of shape (L, m, p)
        φ − m_φ.
    origins : ndarray of shape (L, m)
        m_x, in units of the channel.
    variances : ndarray of shape (L, m)
        Variance of u given the readings and T, in units of σ².
    """

    design: FloatArray
    origins: FloatArray
    variances: FloatArray


@dataclass(frozen=True, eq=False)
class States:
    """The state (u, v) of units at some times, none before a unit's last reading of the channel.

    Given the readings and T, it is normal with means m_x − m_φᵀ T.

    Parameters
    ----------
    u, v : ndarray of shape (L, m, p + 1)
        Rows [m_φ | m_x].
    uu, uv, vv : ndarray of shape (L, m)
        Variances, in units of σ².
    last : ndarray of shape (L,)
        Time of the last reading of the channel; NaN if there is none.
    """

    u: FloatArray
    v: FloatArray
    uu: FloatArray
    uv: FloatArray
    vv: FloatArray
    last: FloatArray


def states_at(model: FittedMixture, panel: Panel, channel: int, times: FloatArray) -> States:
    """The state of units at times (L, m); at a time before its last reading a unit's state is that at the reading.

    A unit that has not been read starts at the time that is asked about.
    """
    process = None if model.processes is None else model.processes[channel]
    assert process is not None
    design = model.bases[channel](panel.times)
    return states_after(process, whitened(process, panel.times, design, panel.values[:, channel], panel.offsets), times)


def states_after(process: ChannelProcess, filters: Filters, times: FloatArray) -> States:
    """As `states_at`, from the filters at the units' last readings."""
    last = filters.last
    steps = process.steps(np.where(np.isnan(last)[:, None], 0.0, np.maximum(times - last[:, None], 0.0)))
    a, d, q_uu, q_uv, q_vv = np.moveaxis(steps, -1, 0)
    uu, uv, vv = (filters.variances[:, i, None] for i in range(3))
    return States(
        a[..., None] * filters.means[:, None, 0] + d[..., None] * filters.means[:, None, 1],
        np.broadcast_to(filters.means[:, None, 1], (*times.shape, filters.means.shape[-1])),
        a * a * uu + 2.0 * a * d * uv + d * d * vv + q_uu,
        a * uv + d * vv + q_uv,
        vv + q_vv,
        last,
    )


def level_at(model: FittedMixture, panel: Panel, channel: int, times: FloatArray) -> Level | None:
    """The level of units at some times; None if units do not wander in this channel.

    Parameters
    ----------
    model : FittedMixture
    panel : Panel
        With the model's channels in order.
    channel : int
        Position of the channel.
    times : ndarray of shape (m,) or (L, m)
    """
    process = None if model.processes is None else model.processes[channel]
    if process is None:
        return None
    times = np.broadcast_to(times, (panel.n_units, times.shape[-1]))
    design, readings = model.bases[channel](panel.times), panel.values[:, channel]
    n_units, n_times, p = *times.shape, design.shape[1]
    states = states_at(model, panel, channel, times)
    rows, variances = states.u, states.uu
    earlier = times < states.last[:, None]
    if earlier.any():
        first = _first_times(panel, readings)
        _smooth(process, panel, design, readings, first, times, earlier, rows, variances)
    at_times = model.bases[channel](times.reshape(-1)).reshape(n_units, n_times, p)
    return Level(at_times - rows[..., :p], np.ascontiguousarray(rows[..., p]), variances)


def _first_times(panel: Panel, readings: FloatArray) -> FloatArray:
    """Time of each unit's first reading of the channel, (L,); NaN where there is none."""
    first = np.full(panel.n_units, np.nan)
    rows = np.flatnonzero(readings == readings)[::-1]
    first[np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))[rows]] = panel.times[rows]
    return first


def _smooth(
    process: ChannelProcess,
    panel: Panel,
    design: FloatArray,
    readings: FloatArray,
    first: FloatArray,
    times: FloatArray,
    earlier: NDArray[np.bool_],
    rows: FloatArray,
    variances: FloatArray,
) -> None:
    """Rows and variances at times before a unit's last reading, in place.

    With c the covariances of u(s) and the readings, the mean is cᵀV⁻¹(x − ΦT) and the variance k − cᵀV⁻¹c. Whitened
    like any other column, c̃ = W c, they are c̃ᵀ[φ̃ | x̃] and k − c̃ᵀc̃.
    """
    n_times, offsets = times.shape[1], np.asarray(panel.offsets)
    for l in np.flatnonzero(earlier.any(axis=1)).tolist():
        own = np.arange(offsets[l], offsets[l + 1])
        own = own[readings[own] == readings[own]]
        ages, asked = panel.times[own] - first[l], times[l] - first[l]
        at_once = max(1, _NUMBERS_PER_CHUNK // max(len(own), 1))
        for begin in range(0, n_times, at_once):
            part = np.arange(begin, min(begin + at_once, n_times))
            part = part[earlier[l, part]]
            c = process.covariance(ages[:, None], asked[None, part])
            white = whitened(
                process, panel.times[own], np.column_stack([c, design[own]]), readings[own], np.array([0, len(own)])
            )
            along, of_rows = white.design[:, : len(part)], np.column_stack([white.design[:, len(part) :], white.values])
            rows[l, part] = along.T @ of_rows
            known = np.square(along).sum(axis=0)
            variances[l, part] = np.maximum(process.covariance(asked[part], asked[part]) - known, 0.0)
