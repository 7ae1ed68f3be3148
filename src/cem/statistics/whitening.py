"""Whitening of a channel's rows, so that a unit that wanders about its curve compresses as one that does not.

The innovations of the process, divided by their standard deviations, are a linear map of the unit's rows [φ | x] that
turns the covariance of u + ε into σ² I, model.md (34), (35). All later stages see the white rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem.process.channel_process import STEP_SIZE, ChannelProcess
from cem.statistics._householder import whiten_units

__all__ = ["White", "whitened"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class White:
    """The white rows of one channel, and where the filter of each unit ended.

    Parameters
    ----------
    design : ndarray of shape (N, p)
        White φ; rows without a reading are as they were.
    values : ndarray of shape (N, 1)
        White x; NaN where it is missing.
    log_determinants : ndarray of shape (L,)
        Σ ln F: ln of the determinant of the covariance of u + ε, in units of σ².
    means : ndarray of shape (L, 2, p + 1)
        m of the state (u, v) at the unit's last reading for every column of [φ | x].
    variances : ndarray of shape (L, 3)
        p_uu, p_uv, p_vv of the state there, in units of σ².
    """

    design: FloatArray
    values: FloatArray
    log_determinants: FloatArray
    means: FloatArray
    variances: FloatArray


def whitened(
    process: ChannelProcess,
    times: FloatArray,
    design: FloatArray,
    readings: FloatArray,
    offsets: NDArray[np.int64],
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
    """
    n, p = design.shape
    rows = np.empty((n, p + 1))
    rows[:, :p], rows[:, p] = design, readings
    seen = np.flatnonzero(readings == readings)
    steps = np.zeros((n, STEP_SIZE))
    # Steps run from reading to reading; what lies between two units is used by neither.
    steps[seen] = process.steps(np.maximum(np.diff(times[seen], prepend=times[seen[:1]]), 0.0))
    n_units = len(offsets) - 1
    log_determinants, means, variances = np.empty(n_units), np.empty((n_units, 2, p + 1)), np.empty((n_units, 3))
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    whiten_units(
        rows, steps, offsets, process.start_variance, log_determinants, means, variances, (n, p + 1, n_units)
    )  # fmt: skip
    return White(
        np.ascontiguousarray(rows[:, :p]), np.ascontiguousarray(rows[:, p:]), log_determinants, means, variances
    )
