"""The extension type behind `cem.scoring.scorer.Unit`."""

from cem.scoring._scorer cimport PackedScorer, scorer_t


cdef class UnitState:
    cdef readonly PackedScorer scorer
    cdef const scorer_t* packed
    cdef double* unit
    cdef double* x                          # (C,)
    cdef double* w                          # (m,)  covariates of a reading
    cdef bint busy
    cdef int n_out                          # probabilities that are asked for: of modes, not of their components
    cdef const int* groups                  # (n_out + 1,)  where each mode's components begin; NULL: modes have none
    cdef object group_starts
    cdef int _probabilities(self, double* results) noexcept nogil
    cdef int _free(self) except -1
    cdef object _refused(self, int status, double t, const double* x, int channel)
    cdef double _time(self, t) except? -1.0
    cdef int _read_values(self, x) except -1
    cdef double* _state_of(self, int c) except NULL
    cdef int _size_of(self, int c) except -1
    cdef int _read_sequence(self, x) except -1
    cdef int _read_covariates(self, covariates) except -1
    cdef int _read_items(self, covariates) except -1
    cdef object _converted(self, x)
