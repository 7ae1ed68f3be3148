"""Kernels of `_shared` per design: the maps that its units share, and their part of the sums (14).

Z, V and y are those of `_shared`.
"""

from libc.math cimport log

from cem.numerics._blas cimport cholesky, multiply, solve_lower_many


cdef inline int design_maps(
    int p,
    const double* R,         # (p, p)  upper triangular; (9)
    const double* mean,      # (p,)    mu_kc
    const double* factor,    # (p, p)  Lambda_kc, lower triangular
    double precision_root,   #         1 / sigma_kc
    double* scratch,         # (5 p² + p)
    double* whitening_out,   # (p, p)  Z / sigma, with Z H Z' = I
    double* projection_out,  # (p, p)  V = Z B
    double* shift_out,       # (p,)    Z R mu / sigma
    double* covariance_out,  # (p, p)  A⁻¹
    double* constants_out,   # (2,)    log |A| = log |H|, p - tr A⁻¹
) noexcept nogil:
    """Maps that the units of one design, channel and mode share. Returns 0, or the info of dpotrf.

    The Cholesky factor of H alone would lose ‖B‖² ε in directions that the data hardly determine, where e is small
    compared with the elements of B. Z H Z' of the first Z, formed from products of bounded matrices, shows the
    difference from I, and a second factorisation corrects it.
    """
    cdef double* B = scratch
    cdef double* A = B + p * p
    cdef double* H = A + p * p
    cdef double* inverse = H + p * p
    cdef double* rest = inverse + p * p    # (p, p)
    cdef double* centre = rest + p * p     # (p,)   R mu / sigma
    cdef int i, j, m, info
    cdef double s, t
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(max(i, j), p):
                s += R[i * p + m] * factor[m * p + j]
            B[i * p + j] = s * precision_root
        s = 0.0
        for m in range(i, p):
            s += R[i * p + m] * mean[m]
        centre[i] = s * precision_root
    for i in range(p):
        for j in range(p):
            s = 1.0 if i == j else 0.0
            t = s
            for m in range(p):
                s += B[m * p + i] * B[m * p + j]
                t += B[i * p + m] * B[j * p + m]
            A[i * p + j] = s
            H[i * p + j] = t
            inverse[i * p + j] = 1.0 if i == j else 0.0
            whitening_out[i * p + j] = inverse[i * p + j]
    info = cholesky(p, A)
    if info != 0:
        return info
    solve_lower_many(p, p, A, inverse)                # G⁻¹
    constants_out[1] = p
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(i, p):
                s += inverse[m * p + i] * inverse[m * p + j]
            covariance_out[i * p + j] = s
            covariance_out[j * p + i] = s
        constants_out[1] -= covariance_out[i * p + i]

    info = cholesky(p, H)
    if info != 0:
        return info
    solve_lower_many(p, p, H, whitening_out)          # the first Z
    multiply(p, p, p, whitening_out, B, projection_out)
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(p):
                s += whitening_out[i * p + m] * whitening_out[j * p + m]
                s += projection_out[i * p + m] * projection_out[j * p + m]
            rest[i * p + j] = s
    info = cholesky(p, rest)
    if info != 0:
        return info
    solve_lower_many(p, p, rest, whitening_out)
    solve_lower_many(p, p, rest, projection_out)
    constants_out[0] = 0.0
    for i in range(p):
        constants_out[0] += 2.0 * (log(H[i * p + i]) + log(rest[i * p + i]))
        s = 0.0
        for j in range(p):
            s += whitening_out[i * p + j] * centre[j]
            whitening_out[i * p + j] *= precision_root
        shift_out[i] = s
    return 0


cdef inline void add_design(
    int p,
    double n,                   #            n_lc, that of all units of the design
    double N,                   #            Σ ρ̂
    double rss,                 #            Σ ρ̂ rss / sigma²
    double precision_root,      #            1 / sigma_kc
    const double* products,     # (p, p + 1) Σ ρ̂ y [y 1]'
    const double* whitening,    # (p, p)     Z / sigma
    const double* projection,   # (p, p)     V
    const double* covariance,   # (p, p)     A⁻¹
    double trace_left,          #            p - tr A⁻¹
    double* half,               # (p, p)     scratch
    double* N_channel,          # (1,)       in, out, as all below: the sums (14)
    double* D,                  # (p,)
    double* Q,                  # (p, p)
    double* E,                  # (1,)
    double* n_bar,              # (1,)
) noexcept nogil:
    """The sums (14) of one design, channel and mode from the products of its units."""
    cdef int i, j, m
    cdef double s, misfit = 0.0
    N_channel[0] += N
    n_bar[0] += N * n
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(p):
                s += products[i * (p + 1) + m] * projection[m * p + j]
            half[i * p + j] = s
    for i in range(p):
        s = 0.0
        for m in range(p):
            s += projection[m * p + i] * products[m * (p + 1) + p]
        D[i] += s
        for j in range(i + 1):
            s = N * covariance[i * p + j]
            for m in range(p):
                s += projection[m * p + i] * half[m * p + j]
            Q[i * p + j] += s
            if j < i:
                Q[j * p + i] += s
    # Σ ρ̂ ‖Z'y‖²
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(p):
                s += products[i * (p + 1) + m] * whitening[m * p + j]
            misfit += whitening[i * p + j] * s
    E[0] += rss + misfit / (precision_root * precision_root) + N * trace_left
