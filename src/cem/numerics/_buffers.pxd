"""Arrays as pointers by the buffer protocol, for modules so small that typed memoryviews would dominate them."""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_GetBuffer,
)

from libc.string cimport strlen

# Integers of one size have different letters on different platforms.
cdef enum:
    FLOAT64 = 0
    INT32 = 1
    INT64 = 2


cdef inline bint is_of(int kind, const Py_buffer* view) noexcept nogil:
    cdef const char* format = view.format
    if format == NULL or strlen(format) != 1:
        return False
    if kind == FLOAT64:
        return format[0] == c"d"
    return view.itemsize == (4 if kind == INT32 else 8) and (
        format[0] == c"i" or format[0] == c"l" or format[0] == c"q"
    )


cdef inline str type_of(const Py_buffer* view):
    """The letters of the struct module; no format means bytes."""
    return "B" if view.format == NULL else (<bytes>view.format).decode()


cdef inline int take_buffer(
    object array,
    int kind,                   # FLOAT64, INT32 or INT64
    Py_ssize_t n_expected,      # how many numbers
    bint writable,
    str name,                   # for the message
    Py_buffer* view_out,        # to be released by PyBuffer_Release
) except -1:
    """ValueError unless the array is C-contiguous, with this many numbers of this type."""
    PyObject_GetBuffer(array, view_out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    cdef Py_ssize_t n_found = view_out.len // view_out.itemsize if view_out.itemsize > 0 else 0
    if is_of(kind, view_out) and n_found == n_expected:
        return 0
    found = f"{n_found} numbers of type {type_of(view_out)!r}"
    PyBuffer_Release(view_out)
    raise ValueError(f"{name} holds {found}; {n_expected} of {('float64', 'int32', 'int64')[kind]} were expected")


cdef inline const void* numbers_of(
    object array,
    int kind,                   # FLOAT64, INT32 or INT64
    int n_dimensions,
    str owner,                  # for the message
    str name,
    Py_ssize_t* shape_out,      # (n_dimensions,)
) except NULL:
    """Where an array's numbers are, as long as the caller holds the array; a typed memoryview takes twice as long."""
    cdef Py_buffer view
    cdef int i
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    cdef bint fits = view.ndim == n_dimensions and is_of(kind, &view) and PyBuffer_IsContiguous(&view, b"C")
    if fits:
        for i in range(n_dimensions):
            shape_out[i] = view.shape[i]
    else:
        found = f"{view.ndim} dimensions, type {type_of(&view)!r}"
        if not PyBuffer_IsContiguous(&view, b"C"):
            found += ", not C-contiguous"
    cdef const void* numbers = view.buf
    PyBuffer_Release(&view)
    if not fits:
        raise ValueError(
            f"{owner}: {name} has {found}; a C-contiguous array of {n_dimensions} dimensions and type "
            f"{('float64', 'int32', 'int64')[kind]} was expected"
        )
    return numbers
