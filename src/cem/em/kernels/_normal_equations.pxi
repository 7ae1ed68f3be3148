"""The normal equations of columns whose coefficients do not vary, (23), (24); part of _maximisation.pyx."""

from libc.math cimport sqrt
from libc.string cimport memset

from cem.numerics._blas cimport cholesky, solve_lower_many, solve_lower_transposed


cdef int system_of_channel(
    int n_modes,
    int q,
    const int* by_mode,      # (q,)           whether a column has a coefficient for each mode
    const double* counts,    # (K,), a step apart: units in the mode; below 1 its own coefficients stay
    const double* noise,     # (K,), a step apart
    Py_ssize_t step,         #                between modes, of counts and noise
    const double* g,         # (K, q), a step apart
    Py_ssize_t g_step,
    const double* H,         # (K, q (q + 1) / 2), a step apart; lower triangles by rows
    Py_ssize_t H_step,
    int* place_out,          # (K, q)         the unknown that each coefficient is
    double* A_out,           # (n, n)         lower triangle
    double* b_out,           # (n,)
) noexcept nogil:
    """The normal equations of (23): common columns are one unknown, others one for each mode. Returns n."""
    cdef int k, i, j, n = 0, a, b
    cdef double weight
    cdef const double* row
    for i in range(q):
        if not by_mode[i]:
            for k in range(n_modes):
                place_out[k * q + i] = n
            n += 1
    for k in range(n_modes):
        for i in range(q):
            if by_mode[i]:
                place_out[k * q + i] = n
                n += 1
    memset(A_out, 0, n * n * sizeof(double))
    memset(b_out, 0, n * sizeof(double))
    for k in range(n_modes):
        weight = 1.0 / noise[k * step]
        row = H + k * H_step
        for i in range(q):
            a = place_out[k * q + i]
            if by_mode[i] and counts[k * step] < 1.0:
                row += i + 1
                continue
            b_out[a] += weight * g[k * g_step + i]
            for j in range(i + 1):
                b = place_out[k * q + j]
                if not (by_mode[j] and counts[k * step] < 1.0):
                    A_out[max(a, b) * n + min(a, b)] += weight * row[j]
            row += i + 1
    return n


cdef bint solve_scaled(
    int n,
    const double* A,         # (n, n)  lower triangle, positive semidefinite
    double* x,               # (n,)    right-hand side in, solution out
    double* scale,           # (n,)    work
    double* factor,          # (n, n)  work
) noexcept nogil:
    """A⁻¹ x by a Cholesky factorisation, with the least addition to the diagonal that makes it one.

    What no reading informs has a zero on the diagonal, and stays: its right-hand side is zero, too.
    """
    cdef int i, j, _attempt
    cdef double ridge = 1e-14
    for i in range(n):
        scale[i] = 1.0 / sqrt(A[i * n + i]) if A[i * n + i] > 0.0 else 0.0
        x[i] *= scale[i]
    for _attempt in range(8):
        for i in range(n):
            for j in range(i):
                factor[i * n + j] = A[i * n + j] * scale[i] * scale[j]
            factor[i * n + i] = 1.0 + ridge
        if cholesky(n, factor) == 0:
            solve_lower_many(n, 1, factor, x)
            solve_lower_transposed(n, factor, x)
            for i in range(n):
                x[i] *= scale[i]
            return True
        ridge *= 100.0
    return False
