"""A unit that wanders about its curve, by dense covariances and by a Kalman filter written out in NumPy."""

from __future__ import annotations

import numpy as np

from cem.process.channel_process import ChannelProcess

__all__ = ["PROCESSES", "cross_covariance", "dense_covariance", "ragged_times", "whitened_by_numpy"]

PROCESSES = (
    ChannelProcess("wiener", 0.7),
    ChannelProcess("wiener", 40.0),
    ChannelProcess("integrated", 0.3),
    ChannelProcess("integrated", 25.0),
    ChannelProcess("ou", 1.3, 0.4),
    ChannelProcess("ou", 60.0, 3.0),
)


def cross_covariance(process, times, others, first):
    """Cov(u(t), u(s)) in units of σ², (n, m); u begins at the time `first`, or is stationary."""
    t, s = np.asarray(times)[:, None] - first, np.asarray(others)[None, :] - first
    low = np.minimum(t, s)
    if process.kind == "wiener":
        return process.ratio * low
    if process.kind == "integrated":
        return process.ratio * low**2 * (3.0 * np.maximum(t, s) - low) / 6.0
    return process.ratio / (2.0 * process.rate) * np.exp(-process.rate * np.abs(t - s))


def dense_covariance(process, times):
    """Covariance of u + ε at readings, the first of which is the unit's first, in units of σ²; (n, n)."""
    times = np.asarray(times)
    return np.eye(len(times)) + cross_covariance(process, times, times, times[0])


def whitened_by_numpy(process, times, rows):
    """Innovations / √F of every column, Σ ln F, and the state's means (2, m) and variances (2, 2) at the end."""
    a = np.zeros((2, rows.shape[1]))
    P = np.zeros((2, 2))
    P[0, 0] = 0.0 if process.kind != "ou" else process.ratio / (2.0 * process.rate)
    out, total = np.empty_like(rows), 0.0
    for i, row in enumerate(rows):
        gap = times[i] - times[i - 1] if i else 0.0
        A, Q = np.eye(2), np.zeros((2, 2))
        if process.kind == "wiener":
            Q[0, 0] = process.ratio * gap
        elif process.kind == "integrated":
            A[0, 1] = gap
            Q = process.ratio * np.array([[gap**3 / 3, gap**2 / 2], [gap**2 / 2, gap]])
        else:
            A[0, 0] = np.exp(-process.rate * gap)
            Q[0, 0] = P[0, 0] * 0 + process.ratio / (2 * process.rate) * (1 - np.exp(-2 * process.rate * gap))
        a, P = A @ a, A @ P @ A.T + Q
        F = 1.0 + P[0, 0]
        innovation = row - a[0]
        gain = P[:, 0] / F
        a, P = a + gain[:, None] * innovation, P - F * np.outer(gain, gain)
        out[i] = innovation / np.sqrt(F)
        total += np.log(F)
    return out, total, a, P


def ragged_times(rng, n):
    """Irregular times with a repeated one and a long gap, wherever there are enough of them."""
    times = np.cumsum(rng.exponential(0.5, n)) + rng.uniform(-5.0, 5.0)
    if n > 4:
        times[2] = times[1]
        times[n // 2 :] += 7.0
    return times
