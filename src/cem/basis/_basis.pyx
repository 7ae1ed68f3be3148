# cython: autotestdict=False
"""Driver of the kernels in _basis.pxd: checks shapes once, then fills whole design matrices without the GIL."""

from cem.basis._basis cimport (
    BASIS_BSPLINE,
    BASIS_CONSTANT,
    BASIS_EXPONENTIAL,
    BASIS_FOURIER,
    BASIS_MAX_SPLINE_DEGREE,
    BASIS_POLYNOMIAL,
    basis_check,
    basis_derivative_row,
    basis_rows,
    basis_t,
)

from cem.errors import BasisError

CUSTOM = -1
POLYNOMIAL = BASIS_POLYNOMIAL
BSPLINE = BASIS_BSPLINE
FOURIER = BASIS_FOURIER
EXPONENTIAL = BASIS_EXPONENTIAL
CONSTANT = BASIS_CONSTANT
MAX_SPLINE_DEGREE = BASIS_MAX_SPLINE_DEGREE


cdef basis_t checked(
    int kind, int size, const double[::1] numbers, const double[::1] times, double[:, ::1] out
) except *:
    """The kernels' view of a bound basis; BasisError if an array does not fit it."""
    cdef basis_t basis
    basis.kind = kind
    basis.size = size
    basis.n_numbers = <int>numbers.shape[0]
    basis.numbers = &numbers[0] if numbers.shape[0] > 0 else NULL
    if basis_check(&basis) != 0:
        raise BasisError(
            f"kind {kind}, size {size} and {numbers.shape[0]} numbers do not describe a basis; "
            "pass those of a bound basis"
        )
    if out.shape[0] != times.shape[0] or out.shape[1] != size:
        raise BasisError(
            f"out has shape ({out.shape[0]}, {out.shape[1]}); ({times.shape[0]}, {size}) was expected, "
            "one row for each time and one column for each basis function"
        )
    return basis


def evaluate(int kind, int size, const double[::1] numbers, const double[::1] times, double[:, ::1] out):
    """Design matrix of a bound basis.

    Parameters
    ----------
    kind, size, numbers
        Those of the bound basis (`Basis.kind`, `Basis.size`, `Basis.numbers`).
    times : ndarray of shape (n,), float64
    out : ndarray of shape (n, p), float64
        Receives phi(t) in its rows.

    Raises
    ------
    BasisError
        The numbers do not fit the kind and size, or `out` the times.
    """
    cdef basis_t basis = checked(kind, size, numbers, times, out)
    cdef Py_ssize_t n = times.shape[0]
    if n > 0:
        with nogil:
            basis_rows(&basis, n, &times[0], &out[0, 0])


def differentiate(int kind, int size, const double[::1] numbers, const double[::1] times, double[:, ::1] out):
    """Derivative with respect to time of the design matrix; arguments and errors as for `evaluate`."""
    cdef basis_t basis = checked(kind, size, numbers, times, out)
    cdef Py_ssize_t n = times.shape[0]
    cdef Py_ssize_t i
    if n > 0:
        with nogil:
            for i in range(n):
                basis_derivative_row(&basis, times[i], &out[i, 0])
