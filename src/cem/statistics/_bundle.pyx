"""The units' statistics (9) in the form that kernels take: arrays with matching shapes, checked once."""

import numpy as np

cimport cython

from cem.numerics._buffers cimport FLOAT64, INT32, INT64, numbers_of
from cem.numerics._shapes cimport at_least_one, shape1, shape2
from cem.statistics._fixed cimport condition

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


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


cdef Py_ssize_t misplaced_block(const statistics_t* view, Py_ssize_t n_numbers) noexcept nogil:
    """Index of the first block of fixed columns that does not lie inside `blocks`, or is missing; -1: none."""
    cdef Py_ssize_t l, at
    cdef int c, p, q
    for l in range(view.n_units):
        for c in range(view.n_channels):
            at = l * view.n_channels + c
            p = view.sizes[c]
            q = view.fixed_sizes[c]
            if view.fixed_offsets[at] == -1:
                if q > 0 and view.offsets[at] != -1:
                    return at
            elif not 0 <= view.fixed_offsets[at] <= n_numbers - <Py_ssize_t> p * q - q * (q + 1) // 2:
                return at
    return -1


@cython.final
cdef class StatisticsBundle:
    """Sufficient statistics of units as kernels take them; made and checked once, by `SufficientStatistics.bundle`.

    The arrays are held, not copied. Kernels use `factor_offsets` unchecked: changing these or `counts` afterwards
    would make them read out of bounds.

    Parameters
    ----------
    factors, factor_offsets, projections, residual_norms
        As in `cem.statistics.SufficientStatistics`.
    counts : (L, C) array, int32 or float64
        n_lc; fractions if readings count less than one each (accepted by the kernels of `cem.mixture._linked`).
    sizes : (C,) array
        p_c.
    known_modes : (L,) array, optional
        The mode of units whose mode is known; -1 elsewhere.
    fixed : FixedStatistics, optional
        Of the columns whose coefficients do not vary from unit to unit.

    Raises
    ------
    ValueError
        A channel has no coefficient, an array's shape does not fit the others, or an R lies outside `factors`.
    """

    def __cinit__(
        self, factors, factor_offsets, projections, residual_norms, counts, sizes, known_modes=None, fixed=None
    ):
        cdef statistics_t* view = &self.view
        cdef Py_ssize_t[2] of_factors, of_offsets, of_projections, of_norms, of_counts, of_sizes, of_modes
        cdef Py_ssize_t[2] of_fixed_sizes, of_blocks, of_block_offsets, of_fixed_projections
        cdef Py_ssize_t l, wrong
        cdef int c, q
        if known_modes is None:
            known_modes = np.full(len(factor_offsets), -1, dtype=np.int32)
        self.factors = factors
        self.factor_offsets = factor_offsets
        self.projections = projections
        self.residual_norms = residual_norms
        self.counts = counts
        self.sizes = sizes
        self.known_modes = known_modes
        self.fixed = fixed
        view.factors = <const double*> numbers_of(factors, FLOAT64, 1, "statistics", "factors", of_factors)
        view.offsets = <const long long*> numbers_of(
            factor_offsets, INT64, 2, "statistics", "factor_offsets", of_offsets
        )
        view.projections = <const double*> numbers_of(
            projections, FLOAT64, 2, "statistics", "projections", of_projections
        )
        view.residual_norms = <const double*> numbers_of(
            residual_norms, FLOAT64, 2, "statistics", "residual_norms", of_norms
        )
        view.sizes = <const int*> numbers_of(sizes, INT32, 1, "statistics", "sizes", of_sizes)
        view.known_modes = <const int*> numbers_of(known_modes, INT32, 1, "statistics", "known_modes", of_modes)
        view.counts = NULL
        self.fractions_at = NULL
        if counts.dtype == np.float64:
            self.fractions_at = <const double*> numbers_of(counts, FLOAT64, 2, "statistics", "counts", of_counts)
        else:
            view.counts = <const int*> numbers_of(counts, INT32, 2, "statistics", "counts", of_counts)
        cdef Py_ssize_t L = of_offsets[0], C = of_sizes[0]
        at_least_one("statistics", "channels", C)
        view.P = view.P2 = 0
        view.largest = 1
        for c in range(C):
            if view.sizes[c] < 1:
                raise ValueError(f"statistics: sizes[{c}] is {view.sizes[c]}; a basis has at least one coefficient")
            view.P += view.sizes[c]
            view.P2 += view.sizes[c] * view.sizes[c]
            view.largest = max(view.largest, view.sizes[c])
        shape2("statistics", "factor_offsets", of_offsets, L, C)
        shape2("statistics", "projections", of_projections, L, view.P)
        shape2("statistics", "residual_norms", of_norms, L, C)
        shape2("statistics", "counts", of_counts, L, C)
        shape1("statistics", "known_modes", of_modes, L)
        view.n_units = L
        view.n_channels = <int> C
        view.largest_known_mode = -1
        with nogil:
            for l in range(L):
                view.largest_known_mode = max(view.largest_known_mode, view.known_modes[l])
            wrong = misplaced(view, self.fractions_at, of_factors[0])
        if wrong >= 0:
            c = <int> (wrong % C)
            raise ValueError(
                f"statistics: factor_offsets[{wrong // C}, {c}] is {view.offsets[wrong]}; an R of {view.sizes[c]} × "
                f"{view.sizes[c]} numbers that begins there lies outside factors, which has shape ({of_factors[0]},)"
            )
        view.fixed_sizes = NULL
        view.Q = view.Q2 = 0
        view.largest_fixed = 0
        if fixed is None:
            return
        view.fixed_sizes = <const int*> numbers_of(
            fixed.kernel_sizes, INT32, 1, "statistics", "fixed sizes", of_fixed_sizes
        )
        view.fixed_blocks = <const double*> numbers_of(
            fixed.blocks, FLOAT64, 1, "statistics", "fixed blocks", of_blocks
        )
        view.fixed_offsets = <const long long*> numbers_of(
            fixed.block_offsets, INT64, 2, "statistics", "fixed block_offsets", of_block_offsets
        )
        view.fixed_projections = <const double*> numbers_of(
            fixed.projections, FLOAT64, 2, "statistics", "fixed projections", of_fixed_projections
        )
        shape1("statistics", "fixed sizes", of_fixed_sizes, C)
        for c in range(C):
            q = view.fixed_sizes[c]
            if q < 0:
                raise ValueError(f"statistics: fixed sizes[{c}] is {q}; it cannot be negative")
            view.Q += q
            view.Q2 += q * (q + 1) // 2
            view.largest_fixed = max(view.largest_fixed, q)
        shape2("statistics", "fixed block_offsets", of_block_offsets, L, C)
        shape2("statistics", "fixed projections", of_fixed_projections, L, view.Q)
        with nogil:
            wrong = misplaced_block(view, of_blocks[0])
        if wrong >= 0:
            raise ValueError(
                f"statistics: fixed block_offsets[{wrong // C}, {wrong % C}] is {view.fixed_offsets[wrong]}; the block "
                f"lies outside the fixed blocks, which have shape ({of_blocks[0]},)"
            )

    def condition(self, beta, projections_out, residual_norms_out):
        """w and rss of (22): what fixed columns with these coefficients leave.

        Parameters
        ----------
        beta : (Q,) array
            One coefficient for each fixed column.
        projections_out : (L, P) array
        residual_norms_out : (L, C) array

        Raises
        ------
        ValueError
            There are no fixed columns, or an array has the wrong shape.
        """
        cdef const statistics_t* view = &self.view
        cdef Py_ssize_t l, at, fixed_at, row
        cdef Py_ssize_t[2] of_beta, of_projections, of_norms
        cdef int c, p, q
        if view.fixed_sizes == NULL:
            raise ValueError("condition: these statistics have no fixed columns")
        cdef const double* b = <const double*> numbers_of(beta, FLOAT64, 1, "condition", "beta", of_beta)
        cdef double* w = <double*> numbers_of(
            projections_out, FLOAT64, 2, "condition", "projections_out", of_projections
        )
        cdef double* rss = <double*> numbers_of(
            residual_norms_out, FLOAT64, 2, "condition", "residual_norms_out", of_norms
        )
        shape1("condition", "beta", of_beta, view.Q)
        shape2("condition", "projections_out", of_projections, view.n_units, view.P)
        shape2("condition", "residual_norms_out", of_norms, view.n_units, view.n_channels)
        cdef double* rest = <double*> malloc((view.largest_fixed + 1) * sizeof(double))
        if rest == NULL:
            raise MemoryError
        with nogil:
            for l in range(view.n_units):
                at = 0
                fixed_at = 0
                for c in range(view.n_channels):
                    p = view.sizes[c]
                    q = view.fixed_sizes[c]
                    row = l * view.n_channels + c
                    rss[row] = view.residual_norms[row]
                    if view.fixed_offsets[row] >= 0:
                        rss[row] += condition(
                            p, q, view.fixed_blocks + view.fixed_offsets[row], view.projections + l * view.P + at,
                            view.fixed_projections + l * view.Q + fixed_at, b + fixed_at, w + l * view.P + at, rest,
                        )
                    else:
                        memcpy(w + l * view.P + at, view.projections + l * view.P + at, p * sizeof(double))
                    at += p
                    fixed_at += q
        free(rest)

    def __reduce__(self):
        raise TypeError("a StatisticsBundle cannot leave its process: send the statistics, which make another")

    def __repr__(self):
        return f"StatisticsBundle({self.view.n_units} units, {self.view.n_channels} channels)"

    cdef const double* weights(self) except NULL:
        """n as doubles, (L, C); made on first use."""
        cdef Py_ssize_t[2] shape
        if self.fractions_at == NULL:
            made = np.asarray(self.counts).astype(np.float64)
            if self.fractions_at == NULL:  # another thread may have made them, and read them already
                self.fractions = made
                self.fractions_at = <const double*> numbers_of(made, FLOAT64, 2, "statistics", "counts", shape)
        return self.fractions_at

    cdef int require_counts(self, str kernel) except -1:
        """ValueError if counts are fractions."""
        if self.view.counts == NULL:
            raise ValueError(f"{kernel}: counts has type float64; int32 was expected")
        return 0

    cdef int require_no_fixed(self, str kernel) except -1:
        """ValueError if there are fixed columns, of which the kernel knows nothing."""
        if self.view.fixed_sizes != NULL:
            raise ValueError(f"{kernel}: statistics have fixed columns; statistics conditioned on these were expected")
        return 0

    cdef int require_modes(self, str kernel, Py_ssize_t n_modes) except -1:
        """ValueError if a unit's known mode is not below this number."""
        if self.view.largest_known_mode >= n_modes:
            raise ValueError(
                f"{kernel}: a unit's mode is {self.view.largest_known_mode}, but there are {n_modes} modes"
            )
        return 0
