"""Kernels of k-means: the nearest centre of every point, and Lloyd's rounds."""

from libc.math cimport INFINITY
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cem.numerics._shapes cimport at_least_one, shape1, shape2


cdef bint assign(
    Py_ssize_t n_points,
    Py_ssize_t size,
    Py_ssize_t n_centres,
    const double* points,    # (n, P)
    const double* centres,   # (K, P)
    int* labels,             # (n,)  in and out
) noexcept nogil:
    """Label points by the nearest centre, the first of equally near ones. Returns whether any label is new."""
    cdef Py_ssize_t l, i
    cdef int k, nearest
    cdef double square, least, step
    cdef bint new = False
    for l in range(n_points):
        least = INFINITY
        nearest = 0
        for k in range(<int> n_centres):
            square = 0.0
            for i in range(size):
                step = points[l * size + i] - centres[k * size + i]
                square += step * step
            if square < least:
                least = square
                nearest = k
        if labels[l] != nearest:
            labels[l] = nearest
            new = True
    return new


def lloyd(const double[:, ::1] points, double[:, ::1] centres, int[::1] labels, int most_rounds):
    """Move centres to the means of their nearest points, until no point changes its centre.

    Parameters
    ----------
    points : (n, P) array
    centres : (K, P) array
        In and out; a centre that loses its points does not move.
    labels : (n,) array
        Out: the nearest centre of every point.
    most_rounds : int
        Limit on the rounds; with 0, points only get their nearest centre.

    Returns
    -------
    int
        Number of rounds.

    Raises
    ------
    ValueError
        An array has the wrong shape.
    """
    cdef Py_ssize_t n_points = points.shape[0], size = points.shape[1], n_centres = centres.shape[0]
    at_least_one("lloyd", "coordinates", size)
    at_least_one("lloyd", "points", n_points)
    at_least_one("lloyd", "centres", n_centres)
    shape2("lloyd", "centres", &centres.shape[0], centres.shape[0], size)
    shape1("lloyd", "labels", &labels.shape[0], n_points)
    cdef double* sums = <double*> malloc(n_centres * (size + 1) * sizeof(double))
    if sums == NULL:
        raise MemoryError
    cdef double* row
    cdef Py_ssize_t l, i, k
    cdef int rounds = 0
    with nogil:
        for l in range(n_points):
            labels[l] = -1
        while assign(n_points, size, n_centres, &points[0, 0], &centres[0, 0], &labels[0]) and rounds < most_rounds:
            rounds += 1
            memset(sums, 0, n_centres * (size + 1) * sizeof(double))
            for l in range(n_points):
                row = sums + labels[l] * (size + 1)
                row[size] += 1.0
                for i in range(size):
                    row[i] += points[l, i]
            for k in range(n_centres):
                row = sums + k * (size + 1)
                for i in range(size):
                    if row[size] > 0.0:
                        centres[k, i] = row[i] / row[size]
    free(sums)
    return rounds
