"""The inverse Hessian of limited-memory BFGS, as `cem.em.quasi_newton.Pairs`; part of _unconstrained.pyx."""

from libc.math cimport sqrt
from libc.string cimport memcpy, memmove

cdef enum:
    MEMORY = 20              # pairs, as in cem.em.quasi_newton


cdef struct pairs_t:
    int n                    # pairs so far
    double* steps            # (MEMORY + 1, length)  s_i; one row for a new pair
    double* changes          # (MEMORY + 1, length)  y_i
    double* inverse          # (MEMORY, MEMORY)  R⁻¹, upper


cdef double dot(Py_ssize_t n, const double* a, const double* b) noexcept nogil:
    """aᵀ b in four sums, which the processor adds up side by side; the bits depend on no library."""
    cdef double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        i += 4
    while i < n:
        s0 += a[i] * b[i]
        i += 1
    return (s0 + s1) + (s2 + s3)


cdef void add_times(Py_ssize_t n, double factor, const double* a, double* sum_out) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        sum_out[i] += factor * a[i]


cdef void append_pair(
    Py_ssize_t length,
    pairs_t* pairs,
    const double* vector,        # (length,)  before the step
    const double* gradient,
    const double* vector_there,  # (length,)  after it
    const double* gradient_there,
) noexcept nogil:
    """Keep the pair of a step, unless minus the objective is not convex along it; the oldest may be dropped."""
    cdef double[MEMORY] R
    cdef int i, j, n = pairs.n
    cdef double* step = pairs.steps + n * length
    cdef double* change = pairs.changes + n * length
    cdef double* inverse = pairs.inverse
    cdef double s, product
    cdef Py_ssize_t a
    for a in range(length):
        step[a] = vector_there[a] - vector[a]
        change[a] = gradient[a] - gradient_there[a]
    product = dot(length, step, change)
    if not product > 1e-10 * sqrt(dot(length, step, step) * dot(length, change, change)):
        return
    if n == MEMORY:
        n -= 1
        memmove(pairs.steps, pairs.steps + length, MEMORY * length * sizeof(double))
        memmove(pairs.changes, pairs.changes + length, MEMORY * length * sizeof(double))
        for i in range(n):
            for j in range(i, n):
                inverse[i * MEMORY + j] = inverse[(i + 1) * MEMORY + j + 1]
        change = pairs.changes + n * length
    for i in range(n):
        R[i] = dot(length, pairs.steps + i * length, change)
    for i in range(n):
        s = 0.0
        for j in range(i, n):
            s += inverse[i * MEMORY + j] * R[j]
        inverse[i * MEMORY + n] = -s / product
    inverse[n * MEMORY + n] = 1.0 / product
    pairs.n = n + 1


cdef void direction_of(
    const form_t* form,
    const pairs_t* pairs,
    const double* point,         # (length,)  of the metric
    const double* gradient,      # (length,)
    const metric_t* metric,
    double* memory,              # (2 length + scale_scratch,)
    double* direction_out,       # (length,)
) noexcept nogil:
    """H g."""
    cdef double[MEMORY] shares
    cdef double[MEMORY] alpha
    cdef Py_ssize_t length = form.length, a
    cdef int i, j, n = pairs.n
    cdef double* rest = memory
    cdef double* scaled = rest + length
    cdef double* work = scaled + length
    cdef const double* last = pairs.changes + (n - 1) * length
    cdef const double* inverse = pairs.inverse
    cdef double s, size
    if n == 0:
        scale(form, gradient, point, metric, work, direction_out)
        return
    for i in range(n):
        shares[i] = dot(length, pairs.steps + i * length, gradient)
    memcpy(rest, gradient, length * sizeof(double))
    for i in range(n):
        s = 0.0
        for j in range(i, n):
            s += inverse[i * MEMORY + j] * shares[j]
        alpha[i] = s
        add_times(length, -s, pairs.changes + i * length, rest)
    scale(form, last, point, metric, work, scaled)
    size = dot(length, last, scaled) * inverse[(n - 1) * MEMORY + n - 1]
    size = min(max(size, 1e-3), 1e3)
    scale(form, rest, point, metric, work, direction_out)
    for a in range(length):
        direction_out[a] /= size
    for i in range(n):
        alpha[i] = alpha[i] / inverse[i * MEMORY + i] - dot(length, pairs.changes + i * length, direction_out)
    for j in range(n):
        s = 0.0
        for i in range(j + 1):
            s += alpha[i] * inverse[i * MEMORY + j]
        add_times(length, s, pairs.steps + j * length, direction_out)
