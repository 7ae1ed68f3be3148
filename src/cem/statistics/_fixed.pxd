"""(22) and (23) of model.md for one unit and channel: columns whose coefficients do not vary from unit to unit.

A block holds R_φψ (p, q) by rows, then the upper triangle of R_ψ (q, q) by rows. Inline, no Python objects.
"""


cdef inline double condition(
    int p,
    int q,
    const double* block,     # R_φψ, R_ψ
    const double* w,         # (p,)  w₁
    const double* w_fixed,   # (q,)  w₂
    const double* beta,      # (q,)
    double* w_out,           # (p,)  w₁ - R_φψ β
    double* e_out,           # (q,)  w₂ - R_ψ β
) noexcept nogil:
    """What the fixed columns leave of w, (22). Returns ‖w₂ - R_ψ β‖², by which rss grows."""
    cdef const double* triangle = block + p * q
    cdef double s, total = 0.0
    cdef int i, j
    for i in range(p):
        s = w[i]
        for j in range(q):
            s -= block[i * q + j] * beta[j]
        w_out[i] = s
    for i in range(q):
        s = w_fixed[i]
        for j in range(i, q):
            s -= triangle[j - i] * beta[j]
        triangle += q - i
        e_out[i] = s
        total += s * s
    return total


cdef inline void add_gradient(
    int p,
    int q,
    const double* block,
    double weight,           #       ρ
    const double* r,         # (p,)  w - R T, with w of (22)
    const double* e,         # (q,)  w₂ - R_ψ β
    double* g,               # (q,)  in, out: + ρ (R_φψᵀ r + R_ψᵀ e)
) noexcept nogil:
    """The gradient of (23) by β, times σ²."""
    cdef const double* triangle = block + p * q
    cdef int i, j
    for i in range(p):
        for j in range(q):
            g[j] += weight * block[i * q + j] * r[i]
    for i in range(q):
        for j in range(i, q):
            g[j] += weight * triangle[j - i] * e[i]
        triangle += q - i


cdef inline void gram(
    int p,
    int q,
    const double* block,
    double* gram_out,        # (q (q + 1) / 2,)  lower triangle of R_φψᵀ R_φψ + R_ψᵀ R_ψ by rows
) noexcept nogil:
    """Ψᵀ Ψ of one unit and channel, of which H of (23) is the weighted sum."""
    cdef const double* triangle
    cdef double* row = gram_out
    cdef double s
    cdef int i, j, m
    for i in range(q):
        for j in range(i + 1):
            s = 0.0
            for m in range(p):
                s += block[m * q + i] * block[m * q + j]
            triangle = block + p * q
            for m in range(j + 1):          # R_ψ has row m from column m on
                s += triangle[i - m] * triangle[j - m]
                triangle += q - m
            row[j] = s
        row += i + 1
