"""Linked channels, model.md (16), (17), for one unit and mode: shared by the E step and prediction. No SciPy.

Matrices are row-major. Given the shared factors f the channels of a unit are independent: (10) and (12) are done
channel by channel, (17) combines them, and the moments of t follow channel by channel again.
"""

from libc.math cimport log, sqrt


cdef struct linked_unit_t:
    # Work space of one unit and mode, laid out once by the driver. P = Σ p, P2 = Σ p².
    double* B                # (P2,)    R Λ / σ; (10)
    double* e                # (P,)     (w - R μ) / σ; (10)
    double* covariance       # (P2,)    A⁻¹, full; (12)
    double* V                # (P, r)   A⁻¹ Γ, and U = V J⁻ᐟ² once `channel_covariance` has run
    double* t                # (P,)     E d, then E t; (17)
    double* J                # (r, r)   lower: I + Σ H_c, then the inverse of its Cholesky factor; (17)
    double* f                # (r,)     h, then E f; (17)
    double* G                # (p, p)   of the largest basis


cdef inline size_t unit_length(Py_ssize_t P, Py_ssize_t P2, int r, int largest) noexcept nogil:
    """Doubles that a `linked_unit_t` takes."""
    return 2 * P2 + 2 * P + P * r + r * r + r + largest * largest


cdef inline void lay_out(linked_unit_t* unit, double* memory, Py_ssize_t P, Py_ssize_t P2, int r) noexcept nogil:
    """Places of the arrays in `unit_length` doubles."""
    unit.B = memory
    unit.e = unit.B + P2
    unit.covariance = unit.e + P
    unit.V = unit.covariance + P2
    unit.t = unit.V + P * r
    unit.J = unit.t + P
    unit.f = unit.J + r * r
    unit.G = unit.f + r


cdef inline int inverse_factor(
    int p,
    double* A,               # (p, p)   symmetric, its lower triangle is read; out: G⁻¹, A = G Gᵀ
    double* product,         # Π G_ii is multiplied to it, in and out, kept below 1e150
    double* log_product,     # logarithm of the factor removed from it, in and out
) noexcept nogil:
    """0, or j + 1 where the j-th pivot is not positive. One division per pivot, to save time."""
    cdef int i, j, m
    cdef double s
    for j in range(p):
        s = A[j * p + j]
        for m in range(j):
            s -= A[j * p + m] * A[j * p + m]
        if not s > 0:
            return j + 1
        s = sqrt(s)
        product[0] *= s
        if product[0] > 1e150:
            log_product[0] += log(product[0])
            product[0] = 1.0
        A[j * p + j] = 1.0 / s
        for i in range(j + 1, p):
            s = A[i * p + j]
            for m in range(j):
                s -= A[i * p + m] * A[j * p + m]
            A[i * p + j] = s * A[j * p + j]
    for j in range(p):
        for i in range(j + 1, p):
            s = 0.0
            for m in range(j, i):
                s -= A[i * p + m] * A[m * p + j]
            A[i * p + j] = s * A[i * p + i]
    return 0


cdef inline void multiply_lower_twice(
    int p,
    const double* G_inverse, # (p, p)   lower triangular
    double* b,               # (p,)     in: b; out: G⁻ᵀ G⁻¹ b
) noexcept nogil:
    cdef int i, m
    cdef double s
    for i in range(p - 1, -1, -1):
        s = 0.0
        for m in range(i + 1):
            s += G_inverse[i * p + m] * b[m]
        b[i] = s
    for i in range(p):
        s = 0.0
        for m in range(i, p):
            s += G_inverse[m * p + i] * b[m]
        b[i] = s


cdef inline int channel_given_factors(
    int p,
    int r,
    const double* R,         # (p, p)   upper triangular; (9)
    const double* w,         # (p,)     (9)
    const double* mean,      # (p,)     mu_kc
    const double* factor,    # (p, p)   Lambda_kc: any square root of Psi_kc
    const double* loadings,  # (p, r)   Gamma_kc
    double precision_root,   #          1 / sigma_kc
    double* G,               # (p, p)   work
    double* J,               # (r, r)   lower triangle; H_c is added
    double* h,               # (r,)     v_c is added
    double* B_out,           # (p, p)
    double* e_out,           # (p,)
    double* covariance_out,  # (p, p)   A⁻¹
    double* V_out,           # (p, r)   A⁻¹ Γ
    double* d_out,           # (p,)     E d
    double* product,         # Π G_ii of several channels, in and out, kept below 1e150
    double* log_product,     # logarithm of the factor removed from it, in and out
) noexcept nogil:
    """(10), (12) of one channel as if f were 0, and its part of (17). Returns 0, or where A is not positive."""
    cdef int i, j, m, info
    cdef double s
    for i in range(p):
        s = w[i]
        for m in range(i, p):
            s -= R[i * p + m] * mean[m]
        e_out[i] = s * precision_root
        for j in range(p):
            s = 0.0
            for m in range(i, p):
                s += R[i * p + m] * factor[m * p + j]
            B_out[i * p + j] = s * precision_root
    for i in range(p):
        s = 0.0
        for m in range(p):
            s += B_out[m * p + i] * e_out[m]
        d_out[i] = s
        for j in range(i + 1):
            s = 1.0 if i == j else 0.0
            for m in range(p):
                s += B_out[m * p + i] * B_out[m * p + j]
            G[i * p + j] = s
    info = inverse_factor(p, G, product, log_product)
    if info != 0:
        return info
    multiply_lower_twice(p, G, d_out)
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(i, p):
                s += G[m * p + i] * G[m * p + j]
            covariance_out[i * p + j] = s
            covariance_out[j * p + i] = s
    for i in range(p):
        for j in range(r):
            V_out[i * r + j] = 0.0
        for m in range(p):
            s = covariance_out[i * p + m]
            for j in range(r):
                V_out[i * r + j] += s * loadings[m * r + j]
    for m in range(p):
        for i in range(r):
            s = loadings[m * r + i]
            h[i] += s * d_out[m]
            for j in range(i + 1):
                J[i * r + j] += s * (loadings[m * r + j] - V_out[m * r + j])
    return 0


cdef inline int channel_of_size(
    int p, int r, const double* R, const double* w, const double* mean, const double* factor, const double* loadings,
    double precision_root, double* G, double* J, double* h, double* B_out, double* e_out, double* covariance_out,
    double* V_out, double* d_out, double* product, double* log_product,
) noexcept nogil:
    """`channel_given_factors` with p, and the usual r, known to the compiler: its short loops unroll."""
    if p == 4 and r == 4:
        return channel_given_factors(4, 4, R, w, mean, factor, loadings, precision_root, G, J, h, B_out, e_out,
                                     covariance_out, V_out, d_out, product, log_product)
    if p == 4:
        return channel_given_factors(4, r, R, w, mean, factor, loadings, precision_root, G, J, h, B_out, e_out,
                                     covariance_out, V_out, d_out, product, log_product)
    if p == 3 and r == 4:
        return channel_given_factors(3, 4, R, w, mean, factor, loadings, precision_root, G, J, h, B_out, e_out,
                                     covariance_out, V_out, d_out, product, log_product)
    if p == 3:
        return channel_given_factors(3, r, R, w, mean, factor, loadings, precision_root, G, J, h, B_out, e_out,
                                     covariance_out, V_out, d_out, product, log_product)
    return channel_given_factors(p, r, R, w, mean, factor, loadings, precision_root, G, J, h, B_out, e_out,
                                 covariance_out, V_out, d_out, product, log_product)


cdef inline int unit_posterior(
    int n_channels,
    int r,
    const int* sizes,                # (C,)     p_c
    const double* factors,           #          R blocks
    const long long* offsets,        # (C,)     where the unit's begin; -1: not observed
    const double* projections,       # (P,)     w
    const double* means,             # (P,)     of the mode
    const double* mode_factors,      # (P2,)
    const double* loadings,          # (P, r)
    const double* precision_roots,   # (C,)     1 / sigma
    const linked_unit_t* unit,       #          t, f, J, B, e, A⁻¹, V out; those of missing channels: Γ f̂, I, Γ, B = 0
    double* quadratic_out,           #          Σ_c ‖e - B E t‖² + ‖E t - Γ E f‖², plus ‖E f‖²
    double* log_determinant_out,     #          ½ Σ_c log|A_c| + ½ log|J|
) noexcept nogil:
    """(10)-(12) and (17). Returns 0, c + 1 where channel c could not be factored, or -1 where J could not.

    The quadratic form is evaluated at the joint mode of t and f; subtracting ½ hᵀJ⁻¹h from a far larger sum would
    lose digits.
    """
    cdef int c, i, j, p
    cdef Py_ssize_t at = 0, at_square = 0
    cdef double product = 1.0, log_product = 0.0, s, x
    for i in range(r):
        unit.f[i] = 0.0
        for j in range(i + 1):
            unit.J[i * r + j] = 1.0 if i == j else 0.0
    for c in range(n_channels):
        p = sizes[c]
        if offsets[c] >= 0:
            if channel_of_size(
                p, r, factors + offsets[c], projections + at, means + at, mode_factors + at_square, loadings + at * r,
                precision_roots[c], unit.G, unit.J, unit.f, unit.B + at_square, unit.e + at,
                unit.covariance + at_square, unit.V + at * r, unit.t + at, &product, &log_product,
            ) != 0:
                return c + 1
        at += p
        at_square += p * p
    if inverse_factor(r, unit.J, &product, &log_product) != 0:
        return -1
    multiply_lower_twice(r, unit.J, unit.f)
    log_determinant_out[0] = log_product + log(product)
    s = 0.0
    for i in range(r):
        s += unit.f[i] * unit.f[i]
    at = 0
    at_square = 0
    for c in range(n_channels):
        p = sizes[c]
        if offsets[c] >= 0:
            for i in range(p):
                x = 0.0
                for j in range(r):
                    x += unit.V[(at + i) * r + j] * unit.f[j]
                unit.t[at + i] += x
            for i in range(p):
                x = unit.e[at + i]
                for j in range(p):
                    x -= unit.B[at_square + i * p + j] * unit.t[at + j]
                s += x * x
                x = unit.t[at + i]
                for j in range(r):
                    x -= loadings[(at + i) * r + j] * unit.f[j]
                s += x * x
        else:
            for i in range(p):
                x = 0.0
                for j in range(r):
                    unit.V[(at + i) * r + j] = loadings[(at + i) * r + j]
                    x += loadings[(at + i) * r + j] * unit.f[j]
                unit.t[at + i] = x
                for j in range(p):
                    unit.covariance[at_square + i * p + j] = 1.0 if i == j else 0.0
                    unit.B[at_square + i * p + j] = 0.0
        at += p
        at_square += p * p
    quadratic_out[0] = s
    return 0


cdef inline double noise_part(
    int C,
    const long long* offsets,        # (C,)
    const double* residual_norms,    # (C,)  rss
    const double* counts,            # (C,)  n
    const double* precision_roots,   # (C,)
    const double* log_noise,         # (C,)
    double* misfit_out,              #       Σ rss / σ²
) noexcept nogil:
    """Σ_c n log 2πσ² + rss / σ² over the channels observed."""
    cdef int c
    cdef double s = 0.0, misfit = 0.0
    for c in range(C):
        if offsets[c] >= 0:
            misfit += residual_norms[c] * precision_roots[c] * precision_roots[c]
            s += counts[c] * log_noise[c]
    misfit_out[0] = misfit
    return s + misfit


cdef inline void channel_covariance(
    int p,
    int r,
    const double* J_root,    # (r, r)   inverse of the Cholesky factor of J
    double* V,               # (p, r)   A⁻¹Γ in; U = A⁻¹Γ J⁻ᐟ² out, Cov(t, f) = U J⁻ᐟ²ᵀ
    double* covariance,      # (p, p)   A⁻¹ in; Cov t = A⁻¹ + U Uᵀ out; (17)
) noexcept nogil:
    cdef int i, j, m
    cdef double s
    for i in range(p):
        for j in range(r - 1, -1, -1):
            s = 0.0
            for m in range(j + 1):
                s += V[i * r + m] * J_root[j * r + m]
            V[i * r + j] = s
    for i in range(p):
        for j in range(i + 1):
            s = covariance[i * p + j]
            for m in range(r):
                s += V[i * r + m] * V[j * r + m]
            covariance[i * p + j] = s
            covariance[j * p + i] = s
