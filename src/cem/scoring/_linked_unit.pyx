"""One running unit whose channels share factors: the queries that combine the channels by (17)."""

from libc.math cimport exp, INFINITY, isfinite, log
from libc.stdlib cimport free, malloc

from cem.mixture._linked cimport lay_out, noise_part, unit_length, unit_posterior
from cem.scoring._scorer cimport PackedScorer, SCORER_NOT_FINITE, SCORER_OK, UNIT_LOG_JACOBIAN, UNIT_STATE
from cem.scoring._unit cimport UnitState
from cem.statistics._blocks cimport LANES

import numpy as np

from cem.errors import ScorerError

__all__ = ["LinkedModes", "LinkedUnitState"]


cdef class LinkedModes:
    """Parameters of a model of linked channels as the kernel of (17) takes them; shared by all units of a scorer.

    Parameters
    ----------
    constants : ndarray
        `linked_constants` of the model.
    sizes : sequence of C int
        p_c.
    n_modes, rank : int
        K and r.
    """

    def __cinit__(self, const double[::1] constants not None, sizes, int n_modes, int rank):
        self.memory = NULL
        cdef int C = len(sizes), K = n_modes, r = rank, c, largest = 0
        cdef Py_ssize_t P = sum(sizes), P2 = sum([p * p for p in sizes])
        if constants.shape[0] != K * (P + P2 + P * r + 2 * C + 1) + C:
            raise ScorerError(
                f"the model has {constants.shape[0]} constants; {K * (P + P2 + P * r + 2 * C + 1) + C} were expected"
            )
        self.n_channels, self.n_modes, self.rank, self.P, self.P2 = C, K, r, P, P2
        self.arrays = constants
        self.means = &constants[0]
        self.factors = self.means + K * P
        self.loadings = self.factors + K * P2
        self.precision_roots = self.loadings + K * P * r
        self.log_noise = self.precision_roots + K * C
        self.log_weights = self.log_noise + K * C
        self.log_scales = self.log_weights + K
        for c in range(C):
            largest = max(largest, <int>sizes[c])
        cdef size_t of_posterior = unit_length(P, P2, r, largest)
        self.memory = <double*>malloc((of_posterior + P2 + P + 4 * C + 2 * K) * sizeof(double))
        if self.memory == NULL:
            raise MemoryError("no memory for the linked channels of a scorer")
        lay_out(&self.posterior, self.memory, P, P2, r)
        self.R = self.memory + of_posterior
        self.w = self.R + P2
        self.rss = self.w + P
        self.n = self.rss + C
        self.log_densities = self.n + C
        self.misfits = self.log_densities + K
        self.starts = <long long*>(self.misfits + K)
        self.sizes = <int*>(self.starts + C)
        for c in range(C):
            self.sizes[c] = sizes[c]

    def __dealloc__(self):
        free(self.memory)


cdef class LinkedUnitState(UnitState):
    """As `UnitState`, of a unit whose channels share factors; its scorer has the modes in ``_modes``.

    It keeps the same statistics as every unit. A query combines the channels by (17), under the GIL, in memory that all
    units of the scorer share.
    """

    def __cinit__(self, PackedScorer scorer not None):
        self.modes = scorer._modes

    cdef void _gather(self) noexcept nogil:
        """Statistics (9) out of the lanes, one channel after the other."""
        cdef const double* state
        cdef const double* rest
        cdef double* R = self.modes.R
        cdef double* w = self.modes.w
        cdef int c, i, j, p, lane
        for c in range(self.modes.n_channels):
            p = self.modes.sizes[c]
            lane = self.packed.blocks.lane_of_channel[c]
            state = self.unit + UNIT_STATE + self.packed.blocks.state_offsets[lane // LANES] + lane % LANES
            rest = state + LANES * (p * (p + 1) // 2 + p)
            self.modes.rss[c] = rest[0] + rest[LANES]
            self.modes.n[c] = rest[2 * LANES]
            self.modes.starts[c] = R - self.modes.R if self.modes.n[c] > 0 else -1
            for i in range(p):
                for j in range(i, p):
                    R[i * p + j] = state[0]
                    state += LANES
            for i in range(p):
                w[i] = state[LANES * i]
            R += p * p
            w += p

    cdef int _evaluate(self) noexcept nogil:
        """(11) with (17) in internal coordinates, and misfits; SCORER_OK or SCORER_NOT_FINITE."""
        cdef double quadratic, log_determinant, constant, check = 0.0
        cdef int k, C = self.modes.n_channels
        cdef double* misfits = self.modes.misfits
        self._gather()
        for k in range(self.modes.n_modes):
            if unit_posterior(
                C, self.modes.rank, self.modes.sizes, self.modes.R, self.modes.starts, self.modes.w,
                self.modes.means + k * self.modes.P, self.modes.factors + k * self.modes.P2,
                self.modes.loadings + k * self.modes.P * self.modes.rank,
                self.modes.precision_roots + k * C, &self.modes.posterior, &quadratic, &log_determinant,
            ) != 0:
                return SCORER_NOT_FINITE
            constant = noise_part(
                C, self.modes.starts, self.modes.rss, self.modes.n, self.modes.precision_roots + k * C,
                self.modes.log_noise + k * C, misfits + k,
            )
            misfits[k] += quadratic
            self.modes.log_densities[k] = -0.5 * (quadratic + constant) - log_determinant
            check += self.modes.log_densities[k]
        return SCORER_OK if isfinite(check) else SCORER_NOT_FINITE

    cdef int _weigh(self, double* total_out, double* log_constant_out) noexcept nogil:
        """π_k P(x | k) over a constant in place of the log-densities, their sum, and the constant's logarithm."""
        cdef double* shares = self.modes.log_densities
        cdef const double* log_weights = self.modes.log_weights
        cdef double highest = -INFINITY, total = 0.0
        cdef int k
        if self.packed.own_weights > 0:
            log_weights = self.unit + self.packed.own_weights
            if not isfinite(log_weights[0]):    # the unit began without its covariates
                return SCORER_NOT_FINITE
        if self._evaluate() != SCORER_OK:
            return SCORER_NOT_FINITE
        for k in range(self.modes.n_modes):
            shares[k] += log_weights[k]
            highest = max(highest, shares[k])
        for k in range(self.modes.n_modes):
            shares[k] = exp(shares[k] - highest)
            total += shares[k]
        total_out[0] = total
        log_constant_out[0] = highest
        return SCORER_OK

    cdef int _probabilities(self, double* results) noexcept nogil:
        cdef double total, log_constant
        cdef int k
        if self._weigh(&total, &log_constant) != SCORER_OK:
            return SCORER_NOT_FINITE
        for k in range(self.modes.n_modes):
            results[k] = self.modes.log_densities[k] / total
        return SCORER_OK

    cdef double _log_jacobian(self) noexcept nogil:
        """The constant that turns a log-density in internal coordinates into one in the channels' own units."""
        cdef double s = self.unit[UNIT_LOG_JACOBIAN]
        cdef int c
        for c in range(self.modes.n_channels):
            s -= self.modes.n[c] * self.modes.log_scales[c]
        return s

    cdef object _refused(self, int status, double t, const double* x, int channel):
        if status == SCORER_NOT_FINITE:
            return self._lacks_own() or ScorerError(
                "the log-density of this unit is not finite; its values or times are too far from the training data, "
                "or a parameter of the model is not finite"
            )
        return UnitState._refused(self, status, t, x, channel)

    def log_likelihood(self):
        """Return log Σ_k π_k P(x | k) of all readings, in the channels' own units; 0 before the first.

        Raises
        ------
        ScorerError
            It is not finite.
        """
        cdef double total, log_constant
        self._free()
        if self._weigh(&total, &log_constant) != SCORER_OK:
            raise self._refused(SCORER_NOT_FINITE, 0.0, self.x, 0)
        return log_constant + log(total) + self._log_jacobian()

    def _log_densities(self):
        """(11) with (17) in the channels' own units: (K,) log P(x | k), and (K,) misfits."""
        cdef double[::1] densities = np.empty(self.modes.n_modes), misfits = np.empty(self.modes.n_modes)
        cdef double by_scales
        cdef int k
        self._free()
        if self._evaluate() != SCORER_OK:
            raise self._refused(SCORER_NOT_FINITE, 0.0, self.x, 0)
        by_scales = self._log_jacobian()
        for k in range(self.modes.n_modes):
            densities[k] = self.modes.log_densities[k] + by_scales
            misfits[k] = self.modes.misfits[k]
        return np.asarray(densities), np.asarray(misfits)
