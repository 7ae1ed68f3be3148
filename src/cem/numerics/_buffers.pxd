"""Arrays as pointers by the buffer protocol, for modules so small that typed memoryviews would be most of them."""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from libc.string cimport strlen

# Integers of one size have different letters on different platforms.
cdef enum:
    FLOAT64 = 0
    INT32 = 1
    INT64 = 2


cdef inline bint is_of(int kind, const Py_buffer* view) noexcept:
    cdef const char* format = view.format
    if strlen(format) != 1:
        return False
    if kind == FLOAT64:
        return format[0] == b"d"
    return view.itemsize == (4 if kind == INT32 else 8) and format[0] in b"ilq"


cdef inline int take_buffer(
    object array,
    int kind,                   # FLOAT64, INT32 or INT64
    Py_ssize_t n_expected,      # how many numbers
    bint writable,
    str name,                   # for the message
    Py_buffer* view_out,        # to be given back by PyBuffer_Release
) except -1:
    """ValueError where the array is not a C-contiguous one of so many numbers of this type."""
    PyObject_GetBuffer(array, view_out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    cdef Py_ssize_t n_found = view_out.len // view_out.itemsize
    if is_of(kind, view_out) and n_found == n_expected:
        return 0
    found = f"{n_found} numbers of type {view_out.format.decode()!r}"
    PyBuffer_Release(view_out)
    raise ValueError(f"{name} holds {found}; {n_expected} of {('float64', 'int32', 'int64')[kind]} were expected")
