"""Rows of the bound bases, inline: a module that cimports them compiles them into its own loops.

The parameters of a bound basis are its ``numbers``, by kind:

    POLYNOMIAL   centre, 1/half-width, then a_j, b_j for j = 1 .. p-2 of P_{j+1}(u) = a_j u P_j(u) - b_j P_{j-1}(u)
    BSPLINE      degree d, slope at the low end, slope at the high end, then the p + d + 1 clamped knots
    FOURIER      origin, angular frequency
    EXPONENTIAL  reference_i, 1/time constant_i for i = 1 .. p-1
    CONSTANT     one number, not used

A kernel, a model file and generated code need nothing else.
"""

from libc.math cimport cos, exp, sin

cdef enum:
    BASIS_POLYNOMIAL = 0
    BASIS_BSPLINE = 1
    BASIS_FOURIER = 2
    BASIS_EXPONENTIAL = 3
    BASIS_CONSTANT = 4
    BASIS_MAX_SPLINE_DEGREE = 5

ctypedef struct basis_t:
    int kind                # BASIS_...; a Custom basis (-1) never reaches a kernel
    int size                # p
    int n_numbers
    const double* numbers   # (n_numbers,)


cdef inline int basis_check(const basis_t* basis) noexcept nogil:
    """Check that the numbers fit the kind and size: 0 valid, 1 wrong kind or size, 2 wrong numbers.

    With 0, `basis_row` and `basis_derivative_row` stay inside their arrays for every time, NaN included.
    """
    cdef int p = basis.size
    cdef double degree
    if p < 1 or basis.n_numbers < 1:
        return 1
    if basis.kind == BASIS_POLYNOMIAL:
        return 0 if basis.n_numbers == 2 + 2 * (p - 2 if p > 2 else 0) else 2
    if basis.kind == BASIS_BSPLINE:
        degree = basis.numbers[0]
        if not (0 <= degree <= BASIS_MAX_SPLINE_DEGREE) or degree != <int>degree or p < <int>degree + 1:
            return 2
        return 0 if basis.n_numbers == 3 + p + <int>degree + 1 else 2
    if basis.kind == BASIS_FOURIER:
        return 0 if p % 2 == 1 and basis.n_numbers == 2 else 2
    if basis.kind == BASIS_EXPONENTIAL:
        return 0 if p >= 2 and basis.n_numbers == 2 * (p - 1) else 2
    if basis.kind == BASIS_CONSTANT:
        return 0 if p == 1 and basis.n_numbers == 1 else 2
    return 1


# ---------------------------------------------------------------------------------------------- Legendre polynomials


cdef inline void legendre_row(
    int p,
    const double* numbers,  # centre, 1/half-width, a_1, b_1, ...
    double t,
    double* phi_out,        # (p,)  P_0(u) .. P_{p-1}(u) at u = (t - centre) / half-width
) noexcept nogil:
    cdef double u = (t - numbers[0]) * numbers[1]
    cdef double before = 1.0
    cdef double current = u
    cdef double after
    cdef int j
    phi_out[0] = 1.0
    if p > 1:
        phi_out[1] = u
    for j in range(2, p):
        after = numbers[2 * j - 2] * u * current - numbers[2 * j - 1] * before
        phi_out[j] = after
        before = current
        current = after


cdef inline void legendre_derivative_row(
    int p,
    const double* numbers,  # centre, 1/half-width, a_1, b_1, ...
    double t,
    double* phi_out,        # (p,)  d/dt of legendre_row, by P'_{j+1} = P'_{j-1} + (2j + 1) P_j
) noexcept nogil:
    cdef double u = (t - numbers[0]) * numbers[1]
    cdef double before = 1.0
    cdef double current = u
    cdef double after
    cdef int j
    phi_out[0] = 0.0
    if p > 1:
        phi_out[1] = numbers[1]
    for j in range(2, p):
        phi_out[j] = phi_out[j - 2] + (2 * j - 1) * current * numbers[1]
        after = numbers[2 * j - 2] * u * current - numbers[2 * j - 1] * before
        before = current
        current = after


# --------------------------------------------------------------------------------------------------------- B-splines


cdef inline int bspline_span(
    int p,
    int degree,
    const double* knots,    # (p + degree + 1,)
    double t,
) noexcept nogil:
    """The s in degree .. p-1 with knots[s] <= t < knots[s+1]; the last one at the high end (and for NaN)."""
    cdef int low = degree
    cdef int high = p
    cdef int middle
    while high - low > 1:
        middle = (low + high) // 2
        if t < knots[middle]:
            high = middle
        else:
            low = middle
    return low


cdef inline void bspline_nonzero(
    int degree,
    const double* knots,    # (p + d + 1,) of the whole spline
    int span,
    double t,
    double* values_out,     # (degree + 1,)  B_{span-degree} .. B_span, all others are zero
) noexcept nogil:
    """Cox-de Boor triangle, degree by degree; every term is positive, so nothing cancels."""
    cdef double carried, share
    cdef int j, r
    values_out[0] = 1.0
    for j in range(1, degree + 1):
        carried = 0.0
        for r in range(j):
            share = values_out[r] / (knots[span + r + 1] - knots[span + r + 1 - j])
            values_out[r] = carried + (knots[span + r + 1] - t) * share
            carried = (t - knots[span + r + 1 - j]) * share
        values_out[j] = carried


cdef inline void bspline_row(
    int p,
    const double* numbers,  # degree, slope at the low end, slope at the high end, knots
    double t,
    double* phi_out,        # (p,)
) noexcept nogil:
    """Clamped B-splines inside the domain, their tangents outside it.

    At a clamped end only two functions have a slope, and the two slopes are opposite.
    """
    cdef int degree = <int>numbers[0]
    cdef const double* knots = numbers + 3
    cdef double low = knots[degree]
    cdef double high = knots[p]
    cdef int j, span
    for j in range(p):
        phi_out[j] = 0.0
    if t < low:
        phi_out[0] = 1.0
        if p > 1:
            phi_out[0] = 1.0 - numbers[1] * (t - low)
            phi_out[1] = numbers[1] * (t - low)
    elif t > high:
        phi_out[p - 1] = 1.0
        if p > 1:
            phi_out[p - 1] = 1.0 + numbers[2] * (t - high)
            phi_out[p - 2] = -numbers[2] * (t - high)
    else:
        span = bspline_span(p, degree, knots, t)
        bspline_nonzero(degree, knots, span, t, phi_out + span - degree)


cdef inline void bspline_derivative_row(
    int p,
    const double* numbers,  # degree, slope at the low end, slope at the high end, knots
    double t,
    double* phi_out,        # (p,)  d/dt of bspline_row; at a knot, from the right
) noexcept nogil:
    """B'_{i,d} = d B_{i,d-1} / (k_{i+d} - k_i) - d B_{i+1,d-1} / (k_{i+d+1} - k_{i+1})."""
    cdef int degree = <int>numbers[0]
    cdef const double* knots = numbers + 3
    cdef double lower[6]
    cdef double share
    cdef int i, j, span
    for j in range(p):
        phi_out[j] = 0.0
    if degree == 0:
        return
    if t < knots[degree]:
        phi_out[0] = -numbers[1]
        phi_out[1] = numbers[1]
    elif t > knots[p]:
        phi_out[p - 2] = -numbers[2]
        phi_out[p - 1] = numbers[2]
    else:
        span = bspline_span(p, degree, knots, t)
        bspline_nonzero(degree - 1, knots, span, t, lower)
        for j in range(degree):
            i = span - degree + 1 + j       # lower[j] is B_{i,d-1}
            share = degree * lower[j] / (knots[i + degree] - knots[i])
            phi_out[i - 1] -= share
            phi_out[i] += share


# ------------------------------------------------------------------------------------------ Fourier and exponentials


cdef inline void fourier_row(
    int p,
    const double* numbers,  # origin, angular frequency
    double t,
    double* phi_out,        # (p,)  1, cos, sin, cos 2x, sin 2x, ...; p odd
) noexcept nogil:
    cdef double angle = (t - numbers[0]) * numbers[1]
    cdef int j
    phi_out[0] = 1.0
    for j in range(1, p // 2 + 1):
        phi_out[2 * j - 1] = cos(j * angle)
        phi_out[2 * j] = sin(j * angle)


cdef inline void fourier_derivative_row(
    int p,
    const double* numbers,  # origin, angular frequency
    double t,
    double* phi_out,        # (p,)  d/dt of fourier_row
) noexcept nogil:
    cdef double angle = (t - numbers[0]) * numbers[1]
    cdef int j
    phi_out[0] = 0.0
    for j in range(1, p // 2 + 1):
        phi_out[2 * j - 1] = -j * numbers[1] * sin(j * angle)
        phi_out[2 * j] = j * numbers[1] * cos(j * angle)


cdef inline void exponential_row(
    int p,
    const double* numbers,  # reference_i, 1/time constant_i
    double t,
    double* phi_out,        # (p,)  1, e^{(t - reference_i) / c_i}; inf where that overflows
) noexcept nogil:
    cdef int j
    phi_out[0] = 1.0
    for j in range(1, p):
        phi_out[j] = exp((t - numbers[2 * j - 2]) * numbers[2 * j - 1])


cdef inline void exponential_derivative_row(
    int p,
    const double* numbers,  # reference_i, 1/time constant_i
    double t,
    double* phi_out,        # (p,)  d/dt of exponential_row
) noexcept nogil:
    cdef int j
    phi_out[0] = 0.0
    for j in range(1, p):
        phi_out[j] = numbers[2 * j - 1] * exp((t - numbers[2 * j - 2]) * numbers[2 * j - 1])


# ---------------------------------------------------------------------------------------------------------- any kind


cdef inline void basis_row(
    const basis_t* basis,   # checked by basis_check
    double t,
    double* phi_out,        # (p,)  phi(t)
) noexcept nogil:
    if basis.kind == BASIS_POLYNOMIAL:
        legendre_row(basis.size, basis.numbers, t, phi_out)
    elif basis.kind == BASIS_BSPLINE:
        bspline_row(basis.size, basis.numbers, t, phi_out)
    elif basis.kind == BASIS_FOURIER:
        fourier_row(basis.size, basis.numbers, t, phi_out)
    elif basis.kind == BASIS_EXPONENTIAL:
        exponential_row(basis.size, basis.numbers, t, phi_out)
    else:
        phi_out[0] = 1.0


cdef inline void basis_derivative_row(
    const basis_t* basis,   # checked by basis_check
    double t,
    double* phi_out,        # (p,)  d/dt phi(t)
) noexcept nogil:
    if basis.kind == BASIS_POLYNOMIAL:
        legendre_derivative_row(basis.size, basis.numbers, t, phi_out)
    elif basis.kind == BASIS_BSPLINE:
        bspline_derivative_row(basis.size, basis.numbers, t, phi_out)
    elif basis.kind == BASIS_FOURIER:
        fourier_derivative_row(basis.size, basis.numbers, t, phi_out)
    elif basis.kind == BASIS_EXPONENTIAL:
        exponential_derivative_row(basis.size, basis.numbers, t, phi_out)
    else:
        phi_out[0] = 0.0


cdef inline void basis_rows(
    const basis_t* basis,   # checked by basis_check
    Py_ssize_t n,
    const double* times,    # (n,)
    double* design_out,     # (n, p)  row-major
) noexcept nogil:
    """The design matrix: basis_row for each time, with the choice of kind outside the loop."""
    cdef int p = basis.size
    cdef const double* numbers = basis.numbers
    cdef double centre, scale, u
    cdef Py_ssize_t i
    if basis.kind == BASIS_POLYNOMIAL and p == 3:
        # Unrolled, with the operations of legendre_row in its order: the same bits.
        centre = numbers[0]
        scale = numbers[1]
        for i in range(n):
            u = (times[i] - centre) * scale
            design_out[3 * i] = 1.0
            design_out[3 * i + 1] = u
            design_out[3 * i + 2] = 1.5 * u * u - 0.5
    elif basis.kind == BASIS_POLYNOMIAL:
        for i in range(n):
            legendre_row(p, numbers, times[i], design_out + i * p)
    else:
        for i in range(n):
            basis_row(basis, times[i], design_out + i * p)
