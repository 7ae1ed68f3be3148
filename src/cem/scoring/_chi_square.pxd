"""The upper tail of the gamma distribution, inline; novelty needs it, and no SciPy is imported for it."""

from libc.math cimport exp, fabs, isfinite, lgamma, log, log1p, M_PI, sqrt


cdef inline double gamma_density_factor(double a, double x) noexcept nogil:
    """x^a e^-x / Gamma(a), by Stirling's series for large a so that no large terms cancel."""
    cdef double relative, series, b
    if a < 10:
        return exp(a * log(x) - x - lgamma(a))
    relative = (x - a) / a
    b = 1.0 / (a * a)
    series = (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - b / 1188) * b) * b) * b) / a
    return sqrt(a / (2 * M_PI)) * exp(-a * (relative - log1p(relative)) - series)


cdef inline double upper_gamma(double a, double x) noexcept nogil:
    """Q(a, x), the regularised upper incomplete gamma function, for a > 0."""
    cdef double term, total, factor, b, c, d, step
    cdef long long n
    if x <= 0:
        return 1.0
    if not isfinite(x):
        return 0.0
    factor = gamma_density_factor(a, x)
    if factor == 0:
        return 1.0 if x < a else 0.0
    if x < a + 1:                           # power series of P
        term = 1.0 / a
        total = term
        n = 1
        while term > total * 1e-17 and n < 10000000:
            term *= x / (a + n)
            total += term
            n += 1
        return 1.0 - factor * total
    b = x + 1 - a                           # continued fraction of Q, by Lentz's method
    c = 1e300
    d = 1.0 / b
    total = d
    n = 1
    while n < 10000000:
        step = n * (a - n)
        b += 2
        d = step * d + b
        c = b + step / c
        if fabs(d) < 1e-300:
            d = 1e-300
        if fabs(c) < 1e-300:
            c = 1e-300
        d = 1.0 / d
        total *= d * c
        if fabs(d * c - 1) < 1e-16:
            break
        n += 1
    return factor * total
