"""The complementary error function of whole arrays; its values equal those of `math.erfc` to the bit."""

from cpython.buffer cimport PyBuffer_Release
from libc.math cimport erfc as erfc_of_one

from cem.numerics._buffers cimport FLOAT64, take_buffer


def erfc(points, values_out, Py_ssize_t n):
    """erfc of n float64 numbers, C-contiguous, into an array of the same length."""
    cdef Py_buffer x, y
    cdef Py_ssize_t i
    take_buffer(points, FLOAT64, n, False, "points", &x)
    try:
        take_buffer(values_out, FLOAT64, n, True, "values_out", &y)
    except ValueError:
        PyBuffer_Release(&x)
        raise
    with nogil:
        for i in range(n):
            (<double*>y.buf)[i] = erfc_of_one((<const double*>x.buf)[i])
    PyBuffer_Release(&y)
    PyBuffer_Release(&x)
