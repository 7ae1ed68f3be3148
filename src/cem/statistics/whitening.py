"""Whitening of a channel's rows, so that a unit that wanders about its curve compresses as one that does not.

The innovations of the process, divided by their standard deviations, are a linear map of the unit's rows [φ | x] that
turns the covariance of u + ε into σ² I, model.md (34), (35). All later stages see the white rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.process.channel_process import STEP_SIZE, ChannelProcess
from cem.statistics._householder import whiten_units

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["Filters", "White", "white_rows", "whitened"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Filters:
    """Where the filters of units are in one channel.

    Parameters
    ----------
    log_determinants : ndarray of shape (L,)
        Σ ln F: ln of the determinant of the covariance of u + ε, in units of σ².
    means : ndarray of shape (L, 2, p + 1)
        m of the state (u, v) at the unit's last reading for every column of [φ | x].
    variances : ndarray of shape (L, 3)
        p_uu, p_uv, p_vv of the state there, in units of σ².
    last : ndarray of shape (L,)
        Time of the unit's last reading; NaN if there is none.
    """

    log_determinants: FloatArray
    means: FloatArray
    variances: FloatArray
    last: FloatArray


@dataclass(frozen=True, eq=False)
class White(Filters):
    """The white rows of one channel, and where the filter of each unit ended.

    Parameters
    ----------
    log_determinants, means, variances, last
        As for `Filters`.
    design : ndarray of shape (N, p)
        White φ; rows without a reading are as they were.
    values : ndarray of shape (N, 1)
        White x; NaN where it is missing.
    """

    design: FloatArray
    values: FloatArray


def white_rows(
    processes: Sequence[ChannelProcess | None] | None, channel: int, panel: Panel, design: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Design (N, p) and readings (N,) of one channel, white if its units wander and as they are if not."""
    process = None if processes is None else processes[channel]
    if process is None:
        return design, panel.values[:, channel]
    white = whitened(process, panel.times, design, panel.values[:, channel], panel.offsets)
    return white.design, white.values[:, 0]


def whitened(
    process: ChannelProcess,
    times: FloatArray,
    design: FloatArray,
    readings: FloatArray,
    offsets: NDArray[np.int64],
    before: Filters | None = None,
) -> White:
    """Whiten the rows of one channel.

    Parameters
    ----------
    process : ChannelProcess
    times : ndarray of shape (N,)
        Not falling within a unit.
    design : ndarray of shape (N, p)
    readings : ndarray of shape (N,)
        In units of the channel; NaN is missing.
    offsets : ndarray of shape (L + 1,), int64
        Rows of unit l are ``offsets[l]:offsets[l + 1]``.
    before : Filters, optional
        Where earlier readings of the units have left their filters. Default: these are their first.
    """
    n, p = design.shape
    rows = np.empty((n, p + 1))
    rows[:, :p], rows[:, p] = design, readings
    seen = np.flatnonzero(readings == readings)
    steps = np.zeros((n, STEP_SIZE))
    n_units = len(offsets) - 1
    unit = np.repeat(np.arange(n_units), np.diff(offsets))[seen]
    # Steps run from reading to reading; what lies between two units is used by neither.
    gaps = np.diff(times[seen], prepend=times[seen[:1]])
    log_determinants, means, variances = np.zeros(n_units), np.empty((n_units, 2, p + 1)), np.empty((n_units, 3))
    last, started = np.full(n_units, np.nan), np.zeros(n_units, dtype=np.int64)
    if before is not None:
        log_determinants[:], means[:], variances[:] = before.log_determinants, before.means, before.variances
        last = before.last.copy()
        started[:] = last == last
        first = np.flatnonzero(np.diff(unit, prepend=-1))
        first = first[started[unit[first]] > 0]
        gaps[first] = times[seen[first]] - last[unit[first]]
    steps[seen] = process.steps(np.maximum(gaps, 0.0))
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    whiten_units(
        rows, steps, offsets, process.start_variance, started, log_determinants, means, variances, (n, p + 1, n_units)
    )  # fmt: skip
    last[unit] = times[seen]  # of equal positions the last one is kept
    return White(
        log_determinants,
        means,
        variances,
        last,
        np.ascontiguousarray(rows[:, :p]),
        np.ascontiguousarray(rows[:, p:]),
    )
