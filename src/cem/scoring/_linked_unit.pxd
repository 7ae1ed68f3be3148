"""The extension types behind `cem.scoring.linked_scorer`."""

from cem.mixture._linked cimport linked_unit_t
from cem.scoring._unit cimport UnitState


cdef class LinkedModes:
    cdef int n_channels, n_modes, rank
    cdef Py_ssize_t P, P2                   # sums of p_c and of its squares
    cdef object arrays                      # owners of the constants' memory
    cdef const double* log_weights          # (K,)        log pi
    cdef const double* log_scales           # (C,)        log s_c
    cdef const double* means                # (K, P)      mu
    cdef const double* factors              # (K, P2)     Lambda
    cdef const double* loadings             # (K, P, r)   Gamma
    cdef const double* precision_roots      # (K, C)      1 / sigma
    cdef const double* log_noise            # (K, C)      log 2 pi sigma^2
    cdef double* memory                     # what follows; used only under the GIL
    cdef linked_unit_t posterior
    cdef double* R                          # (P2,)       of the unit that is asked
    cdef double* w                          # (P,)
    cdef double* rss                        # (C,)
    cdef double* n                          # (C,)
    cdef double* log_densities              # (K,)        log P(x | k) in internal coordinates, and log pi_k added to it
    cdef double* misfits                    # (K,)
    cdef long long* starts                  # (C,)        of R; -1 where the channel was not read
    cdef int* sizes                         # (C,)        p_c


cdef class LinkedUnitState(UnitState):
    cdef LinkedModes modes
    cdef void _gather(self) noexcept nogil
    cdef int _evaluate(self) noexcept nogil
    cdef int _weigh(self, double* total_out, double* log_constant_out) noexcept nogil
    cdef double _log_jacobian(self) noexcept nogil
