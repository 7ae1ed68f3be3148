"""Parameters as an unconstrained vector and back; part of _unconstrained.pyx."""

from libc.math cimport exp, log, sqrt
from libc.string cimport memcpy

from cem.em.kernels._curvature cimport multiply, triangle
from cem.numerics._small cimport cholesky_lower

# Structures of the covariance, as in cem.em.constraints.COVARIANCE_STRUCTURES.
cdef enum:
    FULL = 0
    DIAGONAL = 1
    POOLED = 2
    SHRUNK = 3

# A parameter at its floor starts this share of the floor above it, because at M = 0 or τ = 0 the gradient is always 0.
# The share is small enough not to change ℓ, which may fall steeply there: a noise variance affects many readings.
cdef double COVARIANCE_ABOVE = 1e-6
cdef double NOISE_ABOVE = 1e-8
cdef double SMALLEST_WEIGHT = 1e-12


cdef struct form_t:
    int n_modes              # K
    int n_channels           # C
    int rank                 # r
    int structure
    int largest              # the largest p
    int n_own                # triangles of a channel: one where they are pooled, else K
    int n_blocks             # blocks of a channel's metric: with what modes share, where they are shrunk
    const int* sizes         # (C,)  p_c
    Py_ssize_t P             # Σ p
    Py_ssize_t P2            # Σ p²
    Py_ssize_t Q             # Σ q
    Py_ssize_t Q2            # Σ q²
    # Where the parts of the vector begin, after log π; and its length.
    Py_ssize_t at_means
    Py_ssize_t at_noise
    Py_ssize_t at_roots
    Py_ssize_t at_loadings
    Py_ssize_t length


cdef struct limits_t:
    const double* noise_floors       # (C,)
    const double* covariance_floors  # (C,)
    const double* transforms         # (Σp²,)  S_c; used if coefficients are uncorrelated
    const double* inverses           # (Σp²,)  S_c⁻¹; used likewise
    const double* lowest             # (P,)    the floors of their variances, in the user's basis; used likewise


cdef int n_roots(int p, int structure) noexcept nogil:
    """q_c."""
    return p if structure == DIAGONAL else p * (p + 1) // 2


cdef int shape_form(
    int n_modes,
    int n_channels,
    const int* sizes,        # (C,)
    int structure,
    Py_ssize_t rank,
    form_t* form_out,
) except -1:
    """Lengths of the vector's parts."""
    cdef int c, q
    if not 0 <= structure <= 3 or n_channels < 1 or n_modes < 1:
        raise ValueError("free coordinates: the structure is unknown, or there is no channel, or there are no modes")
    if rank > 0 and structure != FULL and structure != SHRUNK:
        raise ValueError("free coordinates: loadings were given with a structure other than full or shrunk")
    form_out.n_modes = n_modes
    form_out.n_channels = n_channels
    form_out.rank = <int> rank
    form_out.structure = structure
    form_out.sizes = sizes
    form_out.largest = 1
    form_out.n_own = 1 if structure == POOLED else n_modes
    form_out.n_blocks = n_modes + 2 if structure == SHRUNK else form_out.n_own
    form_out.P = form_out.P2 = form_out.Q = form_out.Q2 = 0
    for c in range(n_channels):
        if sizes[c] < 1:
            raise ValueError("free coordinates: a channel has no coefficient")
        q = n_roots(sizes[c], structure)
        form_out.largest = max(form_out.largest, sizes[c])
        form_out.P += sizes[c]
        form_out.P2 += sizes[c] * sizes[c]
        form_out.Q += q
        form_out.Q2 += q * q
    form_out.at_means = n_modes
    form_out.at_noise = form_out.at_means + n_modes * form_out.P
    form_out.at_roots = form_out.at_noise + n_modes * n_channels
    form_out.at_loadings = form_out.at_roots + form_out.n_own * form_out.Q
    form_out.length = form_out.at_loadings + n_modes * form_out.P * rank
    return 0


cdef int failed_at(const form_t* form, int k, int c) noexcept nogil:
    """What kernels return that failed at mode k, channel c."""
    return 1 + k * form.n_channels + c


cdef int from_vector(
    const form_t* form,
    const limits_t* limits,
    const double* vector,        # (n,)
    double* M,                   # (p, p)  work
    double* weights_out,         # (K,)
    double* means_out,           # (K, P)
    double* factors_out,         # (K, Σp²)
    double* noise_out,           # (K, C)
    double* loadings_out,        # (K, P, r)
) noexcept nogil:
    """0, or `failed_at` where a covariance has no Cholesky factor in floating point."""
    cdef int K = form.n_modes, C = form.n_channels, r = form.rank, i, j, m, p, c, k
    cdef Py_ssize_t P = form.P, at, at_square, at_root, row
    cdef const double* root
    cdef const double* S
    cdef const double* tau = vector + form.at_noise
    cdef const double* W = vector + form.at_loadings
    cdef double* factor
    cdef double s = 0.0, top = vector[0]
    for k in range(1, K):
        top = max(top, vector[k])
    for k in range(K):
        weights_out[k] = exp(vector[k] - top)
        s += weights_out[k]
    for k in range(K):
        weights_out[k] /= s
    memcpy(means_out, vector + form.at_means, K * P * sizeof(double))
    for k in range(K):
        at = 0
        at_square = 0
        at_root = 0
        for c in range(C):
            p = form.sizes[c]
            noise_out[k * C + c] = limits.noise_floors[c] + tau[k * C + c] * tau[k * C + c]
            factor = factors_out + k * form.P2 + at_square
            if k >= form.n_own:
                memcpy(factor, factors_out + at_square, p * p * sizeof(double))
            else:
                root = vector + form.at_roots + k * form.Q + at_root
                S = limits.transforms + at_square
                if form.structure != DIAGONAL:
                    triangle(p, root, M)
                for i in range(p):
                    for j in range(i + 1):
                        s = 0.0
                        if form.structure == DIAGONAL:
                            for m in range(p):
                                s += S[i * p + m] * (limits.lowest[at + m] + root[m] * root[m]) * S[j * p + m]
                        else:
                            for m in range(j + 1):
                                s += M[i * p + m] * M[j * p + m]
                            if i == j:
                                s += limits.covariance_floors[c]
                        factor[i * p + j] = s
                    for j in range(i + 1, p):
                        factor[i * p + j] = 0.0
                if cholesky_lower(p, factor) != 0:
                    return failed_at(form, k, c)
            for i in range(p):
                for j in range(r):
                    row = k * P + at
                    s = W[(row + i) * r + j]
                    for m in range(i):
                        s -= factor[i * p + m] * loadings_out[(row + m) * r + j]
                    loadings_out[(row + i) * r + j] = s / factor[i * p + i]
            at += p
            at_square += p * p
            at_root += n_roots(p, form.structure)
    return 0


cdef int root_of_excess(
    int p,
    const double* factor,    # (p, p)  Λ, lower
    double floor,
    double* work,            # (2 p² + 4 p)
    double* root_out,        # (q,)    the triangle of M, M Mᵀ = Λ Λᵀ − floor
) noexcept nogil:
    """0, or nonzero if the excess, raised to its least value, has no Cholesky factor in floating point."""
    cdef double* M = work
    cdef double* vectors = M + p * p
    cdef double* values = vectors + p * p
    cdef int i, j, m
    cdef double s
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(j + 1):
                s += factor[i * p + m] * factor[j * p + m]
            M[i * p + j] = s
            M[j * p + i] = s
    if spectrum(p, M, values, vectors, values + p) != 0:
        return 1
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(p):  # rows are eigenvectors
                s += vectors[m * p + i] * max(values[m] - floor, COVARIANCE_ABOVE * floor) * vectors[m * p + j]
            M[i * p + j] = s
    if cholesky_lower(p, M) != 0:
        return 1
    for i in range(p):
        memcpy(root_out + i * (i + 1) // 2, M + i * p, (i + 1) * sizeof(double))
    return 0


cdef int to_vector(
    const form_t* form,
    const limits_t* limits,
    const parameters_t* model,
    double* work,            # (2 p² + 4 p)
    double* vector_out,      # (n,)
) noexcept nogil:
    """Of parameters that satisfy the constraints. 0, or `failed_at`."""
    cdef int K = form.n_modes, C = form.n_channels, r = form.rank, i, m, p, c, k
    cdef Py_ssize_t at, at_square, at_root
    cdef double* root
    cdef const double* factor
    cdef double s
    for k in range(K):
        vector_out[k] = log(max(model.weights[k], SMALLEST_WEIGHT))
    memcpy(vector_out + form.at_means, model.means, K * form.P * sizeof(double))
    for k in range(K):
        at = 0
        at_square = 0
        at_root = 0
        for c in range(C):
            p = form.sizes[c]
            s = limits.noise_floors[c]
            vector_out[form.at_noise + k * C + c] = sqrt(max(model.noise_variances[k * C + c] - s, NOISE_ABOVE * s))
            factor = model.factors + k * form.P2 + at_square
            root = vector_out + form.at_roots + k * form.Q + at_root
            if k < form.n_own:
                if form.structure == DIAGONAL:
                    multiply(p, p, p, limits.inverses + at_square, factor, work)
                    for i in range(p):
                        s = 0.0
                        for m in range(p):
                            s += work[i * p + m] * work[i * p + m]
                        root[i] = sqrt(max(s - limits.lowest[at + i], COVARIANCE_ABOVE * limits.lowest[at + i]))
                elif root_of_excess(p, factor, limits.covariance_floors[c], work, root) != 0:
                    return failed_at(form, k, c)
            if r > 0:
                multiply(
                    p, r, p, factor, model.loadings + (k * form.P + at) * r,
                    vector_out + form.at_loadings + (k * form.P + at) * r,
                )
            at += p
            at_square += p * p
            at_root += n_roots(p, form.structure)
    return 0
