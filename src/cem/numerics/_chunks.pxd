"""Chunks of a pass over a fleet, taken by threads one after the other."""

from libc.stdint cimport int64_t

cdef extern from "_chunks.h" nogil:
    int64_t next_chunk(int64_t* claimed)
