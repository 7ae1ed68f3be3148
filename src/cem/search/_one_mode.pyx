"""Kernels of a start: the M step from given responsibilities, before which all modes are copies of one."""

from libc.math cimport log
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.numerics._blas cimport multiply_transposed
from cem.em.kernels._maximisation cimport m_step, m_step_failure, m_step_scratch
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport at_least_one, parameters_shapes, shape1, shape2


def start(
    const double[:, ::1] responsibilities,
    const int[::1] labels,
    const double[:, ::1] rows,
    ParametersBundle one not None,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    int covariance,
    double shrinkage,
    double[::1] weights_out,
    double[:, ::1] means_out,
    double[:, ::1] mode_factors_out,
    double[:, ::1] noise_variances_out,
    int[:, ::1] status_out,
):
    """Parameters of K modes from the one-mode model's posteriors, and their score.

    Parameters
    ----------
    responsibilities : (n, K) array or None
        ρ; rows add up to 1.
    labels : (n,) array or None
        Without responsibilities: the mode of each unit.
    rows : (n, 1 + 3 C + P + Σp²) array
        Contribution of each unit to the sums (14) of the one-mode model, from `cem._core.unit_sums`.
    one : ParametersBundle
        Of the one mode.
    noise_floors, covariance_floors, transforms, covariance, shrinkage
        As of `cem.em.kernels._maximisation.maximisation`.
    weights_out, means_out, mode_factors_out, noise_variances_out
        π (K,), μ (K, P), Λ (K, Σp²), σ² (K, C).
    status_out : (K, C) array
        Of the M step.

    Returns
    -------
    float
        Σ ρ E ln [π P(x, T | k) / ρ] under the new parameters, E over the posteriors of the one-mode model, up to a
        constant that all starts share and to the floors.

    Raises
    ------
    FitError
        A scatter matrix is not positive definite; the message names mode and channel.
    ValueError
        An array has the wrong shape, or a label is not a mode.
    """
    cdef int n_units = <int> rows.shape[0], width = <int> rows.shape[1]
    cdef const parameters_t* copied = &one.view
    cdef const int* sizes = copied.sizes
    cdef int n_modes = <int> weights_out.shape[0], n_channels = copied.n_channels
    cdef int c, k, i
    cdef Py_ssize_t P = copied.P, P2 = copied.P2, l, at
    at_least_one("start", "units", n_units)
    at_least_one("start", "modes", n_modes)
    if (responsibilities is None) == (labels is None):
        raise ValueError("start: either responsibilities or labels were expected")
    if responsibilities is not None:
        shape2("start", "responsibilities", &responsibilities.shape[0], n_units, n_modes)
    else:
        shape1("start", "labels", &labels.shape[0], n_units)
    if width != 1 + 3 * n_channels + P + P2:
        raise ValueError(f"start: sums have {width} columns; {1 + 3 * n_channels + P + P2} were expected")
    if copied.n_modes != 1:
        raise ValueError(f"start: the one-mode model has {copied.n_modes} modes")
    shape1("start", "noise_floors", &noise_floors.shape[0], n_channels)
    shape1("start", "covariance_floors", &covariance_floors.shape[0], n_channels)
    shape1("start", "transforms", &transforms.shape[0], P2)
    parameters_shapes("start", "_out", means_out, mode_factors_out, noise_variances_out, n_modes, P, P2, n_channels)
    shape2("start", "status_out", &status_out.shape[0], n_modes, n_channels)
    if labels is not None:
        for l in range(n_units):
            if not 0 <= labels[l] < n_modes:
                raise ValueError(f"start: the label of unit {l} is {labels[l]}, but there are {n_modes} modes")
    cdef Py_ssize_t n_sums = n_modes * width, n_copies = n_modes * (P + P2 + n_channels)
    cdef double* by_mode = <double*> malloc(
        (2 * n_sums + 1 + n_copies + m_step_scratch(n_modes, n_channels, sizes)) * sizeof(double)
    )
    if by_mode == NULL:
        raise MemoryError
    cdef double* sums = by_mode + n_sums               # (14)
    cdef double* means = sums + 1 + n_sums             # (K, P)    copies of the one mode
    cdef double* factors = means + n_modes * P         # (K, Σp²)
    cdef double* noise = factors + n_modes * P2        # (K, C)
    cdef double* work = noise + n_modes * n_channels
    cdef double* part
    cdef Py_ssize_t[6] widths
    cdef double score = 0.0, share, spread
    cdef int failed
    widths[0], widths[1], widths[2], widths[3], widths[4], widths[5] = 1, n_channels, P, P2, n_channels, n_channels
    with nogil:
        if labels is None:
            multiply_transposed(n_modes, n_units, width, &responsibilities[0, 0], &rows[0, 0], by_mode)
            for l in range(n_units):
                for k in range(n_modes):
                    share = responsibilities[l, k]
                    if 0.0 < share < 1.0:
                        score -= share * log(share)
        else:
            memset(by_mode, 0, n_sums * sizeof(double))
            for l in range(n_units):
                part = by_mode + labels[l] * width
                for i in range(width):
                    part[i] += rows[l, i]
        sums[0] = 0.0
        part = sums + 1
        at = 0
        for i in range(6):
            for k in range(n_modes):
                memcpy(part, by_mode + k * width + at, widths[i] * sizeof(double))
                part += widths[i]
            at += widths[i]
        for k in range(n_modes):
            memcpy(means + k * P, copied.means, P * sizeof(double))
            memcpy(factors + k * P2, copied.factors, P2 * sizeof(double))
            memcpy(noise + k * n_channels, copied.noise_variances, n_channels * sizeof(double))
        failed = m_step(
            n_modes, n_channels, sizes, sums, means, factors, noise, &noise_floors[0], &covariance_floors[0],
            &transforms[0], covariance, shrinkage, work, &means_out[0, 0], &mode_factors_out[0, 0],
            &noise_variances_out[0, 0], &status_out[0, 0],
        )
        for k in range(n_modes):
            weights_out[k] = by_mode[k * width] / n_units
        if not failed:
            for k in range(n_modes):
                if weights_out[k] > 0.0:
                    score += by_mode[k * width] * log(weights_out[k])
                at = 0
                for c in range(n_channels):
                    spread = 0.0
                    for i in range(sizes[c]):
                        spread += log(mode_factors_out[k, at + i * (sizes[c] + 1)])
                    score -= by_mode[k * width + 1 + c] * spread
                    score -= 0.5 * by_mode[(k + 1) * width - n_channels + c] * log(noise_variances_out[k, c])
                    at += sizes[c] * sizes[c]
    free(by_mode)
    if failed:
        raise m_step_failure(failed, n_channels)
    return score
