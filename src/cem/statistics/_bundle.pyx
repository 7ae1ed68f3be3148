"""The units' statistics (9) in the form that kernels take: arrays whose shapes agree, checked once."""

import numpy as np

cimport cython

from cem.numerics._shapes cimport at_least_one, shape1, shape2


cdef Py_ssize_t misplaced(const statistics_t* view, const double* fractions, Py_ssize_t n_factors) noexcept nogil:
    """Index of the first R that does not lie inside `factors`, or is missing where there are readings; -1: none."""
    cdef Py_ssize_t l, at
    cdef int c
    for l in range(view.n_units):
        for c in range(view.n_channels):
            at = l * view.n_channels + c
            if view.offsets[at] == -1:
                if view.counts[at] > 0 if view.counts != NULL else fractions[at] > 0.0:
                    return at
            elif not 0 <= view.offsets[at] <= n_factors - <Py_ssize_t> view.sizes[c] * view.sizes[c]:
                return at
    return -1


@cython.final
cdef class StatisticsBundle:
    """Sufficient statistics of units as kernels take them; made and checked once, by `SufficientStatistics.bundle`.

    The arrays are held, not copied. Kernels follow `factor_offsets` without looking: who alters these or `counts`
    afterwards leads them out of bounds.

    Parameters
    ----------
    factors, factor_offsets, projections, residual_norms
        As in `cem.statistics.SufficientStatistics`.
    counts : (L, C) array, int32 or float64
        n_lc; fractions where readings count less than one each, which the kernels of `cem.mixture._linked` take.
    sizes : (C,) array
        p_c.
    known_modes : (L,) array, optional
        The mode of units whose mode is known; -1 elsewhere.

    Raises
    ------
    ValueError
        A channel has no coefficient, an array's shape is not what the others ask for, or an R lies outside `factors`.
    """

    def __cinit__(
        self,
        const double[::1] factors not None,
        const long long[:, ::1] factor_offsets not None,
        const double[:, ::1] projections not None,
        const double[:, ::1] residual_norms not None,
        counts not None,
        const int[::1] sizes not None,
        const int[::1] known_modes=None,
    ):
        cdef statistics_t* view = &self.view
        cdef Py_ssize_t L = factor_offsets.shape[0], C = sizes.shape[0], l, wrong
        cdef int c
        cdef const double* fractions = NULL
        at_least_one("statistics", "channels", C)
        view.P = view.P2 = 0
        view.largest = 1
        for c in range(C):
            if sizes[c] < 1:
                raise ValueError(f"statistics: sizes[{c}] is {sizes[c]}; a basis has at least one coefficient")
            view.P += sizes[c]
            view.P2 += sizes[c] * sizes[c]
            view.largest = max(view.largest, sizes[c])
        shape2("statistics", "factor_offsets", &factor_offsets.shape[0], L, C)
        shape2("statistics", "projections", &projections.shape[0], L, view.P)
        shape2("statistics", "residual_norms", &residual_norms.shape[0], L, C)
        if counts.dtype == np.float64:
            self.fractions = counts
            shape2("statistics", "counts", &self.fractions.shape[0], L, C)
            fractions = &self.fractions[0, 0]
            view.counts = NULL
        else:
            self.fractions = None
            self.counts = counts
            shape2("statistics", "counts", &self.counts.shape[0], L, C)
            view.counts = &self.counts[0, 0]
        if known_modes is None:
            known_modes = np.full(L, -1, dtype=np.intc)
        shape1("statistics", "known_modes", &known_modes.shape[0], L)
        self.factors = factors
        self.factor_offsets = factor_offsets
        self.projections = projections
        self.residual_norms = residual_norms
        self.sizes = sizes
        self.known_modes = known_modes
        view.n_units = L
        view.n_channels = <int> C
        view.sizes = &sizes[0]
        view.factors = &factors[0]
        view.offsets = &factor_offsets[0, 0]
        view.projections = &projections[0, 0]
        view.residual_norms = &residual_norms[0, 0]
        view.known_modes = &known_modes[0]
        view.largest_known_mode = -1
        with nogil:
            for l in range(L):
                view.largest_known_mode = max(view.largest_known_mode, view.known_modes[l])
            wrong = misplaced(view, fractions, factors.shape[0])
        if wrong >= 0:
            l, c = wrong // C, wrong % C
            raise ValueError(
                f"statistics: factor_offsets[{l}, {c}] is {factor_offsets[l, c]}; an R of {sizes[c]} × {sizes[c]} "
                f"numbers that begins there lies outside factors, which has shape ({factors.shape[0]},)"
            )

    def __reduce__(self):
        raise TypeError("a StatisticsBundle is of one process: send the statistics, which make another")

    def __repr__(self):
        return f"StatisticsBundle({self.view.n_units} units, {self.view.n_channels} channels)"

    cdef const double* weights(self) except NULL:
        """n as doubles, (L, C); made when first asked."""
        if self.fractions is None:
            made = np.asarray(self.counts).astype(np.float64)
            if self.fractions is None:  # another thread may have made them, and read them already
                self.fractions = made
        return &self.fractions[0, 0]

    cdef int require_counts(self, str kernel) except -1:
        """ValueError where readings count fractions."""
        if self.view.counts == NULL:
            raise ValueError(f"{kernel}: counts has type float64; int32 was expected")
        return 0

    cdef int require_modes(self, str kernel, Py_ssize_t n_modes) except -1:
        """ValueError where a unit's known mode is none of so many."""
        if self.view.largest_known_mode >= n_modes:
            raise ValueError(
                f"{kernel}: a unit's mode is {self.view.largest_known_mode}, but there are {n_modes} modes"
            )
        return 0
