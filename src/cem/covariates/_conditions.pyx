"""Reading conditions packed for kernels, and whole arrays of readings through the functions of _conditions.pxd."""

from cpython.buffer cimport PyBuffer_Release
from cpython.pycapsule cimport PyCapsule_New
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cem.covariates._conditions cimport (
    CONDITIONS_INFINITE, CONDITIONS_LEVEL, CONDITIONS_MISSING, CONDITIONS_OK, CONDITIONS_RANGE, CONDITIONS_REGIME,
    FEATURE_NUMBERS, conditions_1_t, conditions_adjust, conditions_blame, conditions_check, conditions_features,
    conditions_mode_columns, conditions_mode_row, conditions_regime, conditions_restore,
)
from cem.numerics._buffers cimport FLOAT64, INT32, take_buffer

MISSING = CONDITIONS_MISSING
INFINITE = CONDITIONS_INFINITE
LEVEL = CONDITIONS_LEVEL
REGIME = CONDITIONS_REGIME
RANGE = CONDITIONS_RANGE
NUMBERS = FEATURE_NUMBERS
CAPSULE = "cem.covariates.conditions_1"

cdef const char* NAME = "cem.covariates.conditions_1"

cdef enum:
    ADJUST = 0
    RESTORE = 1
    REGIMES = 2
    FEATURES = 3
    DESIGN = 4


cdef class PackedConditions:
    """The struct of a model's conditions, and the memory that it points to.

    Parameters
    ----------
    sizes : tuple of int
        n_columns, n_features, n_channels, n_regimes, n_settings, kind, nearest, n_common, n_by_mode, n_phi. The caller
        (`Conditions`) has checked that all positions in the arrays are within them.
    integers : dict of str to ndarray of int32
        levels, settings, known, kinds, sources, common_starts, ..., by the names of the struct.
    numbers : dict of str to ndarray of float64
        origin, precision, places, ..., likewise.
    """

    cdef conditions_1_t given
    cdef char* memory
    cdef readonly int n_phi

    def __cinit__(self, tuple sizes, dict integers, dict numbers):
        cdef conditions_1_t* given = &self.given
        cdef Py_ssize_t total = 8 * (len(integers) + len(numbers))
        cdef Py_ssize_t used = 0
        (given.n_columns, given.n_features, given.n_channels, given.n_regimes, given.n_settings, given.kind,
         given.nearest, n_common, n_by_mode, self.n_phi) = sizes
        cdef int regimes = given.n_regimes, channels = given.n_channels, settings = given.n_settings
        cdef int features = given.n_features
        for array in (*integers.values(), *numbers.values()):
            total += array.nbytes
        self.memory = <char*>malloc(total)
        if self.memory == NULL:
            raise MemoryError("no memory for the conditions of a model")
        given.places = <const double*>self.take(numbers["places"], FLOAT64, numbers["places"].size, &used)
        given.squared_reaches = <const double*>self.take(
            numbers["squared_reaches"], FLOAT64, numbers["squared_reaches"].size, &used
        )
        given.squared_halves = <const double*>self.take(
            numbers["squared_halves"], FLOAT64, numbers["squared_halves"].size, &used
        )
        given.squared_cores = <const double*>self.take(
            numbers["squared_cores"], FLOAT64, numbers["squared_cores"].size, &used
        )
        given.origin = <const double*>self.take(numbers["origin"], FLOAT64, settings, &used)
        given.precision = <const double*>self.take(numbers["precision"], FLOAT64, settings, &used)
        given.cuts = <const double*>self.take(numbers["cuts"], FLOAT64, numbers["cuts"].size, &used)
        given.offsets = <const double*>self.take(numbers["offsets"], FLOAT64, regimes * channels, &used)
        given.scales = <const double*>self.take(numbers["scales"], FLOAT64, regimes * channels, &used)
        given.inverse_scales = <const double*>self.take(numbers["inverse_scales"], FLOAT64, regimes * channels, &used)
        given.numbers = <const double*>self.take(numbers["numbers"], FLOAT64, features * FEATURE_NUMBERS, &used)
        given.coefficients = <const double*>self.take(numbers["coefficients"], FLOAT64, n_common, &used)
        given.levels = <const int*>self.take(integers["levels"], INT32, given.n_columns, &used)
        given.settings = <const int*>self.take(integers["settings"], INT32, settings, &used)
        given.known = <const int*>self.take(integers["known"], INT32, regimes, &used)
        given.kinds = <const int*>self.take(integers["kinds"], INT32, features, &used)
        given.sources = <const int*>self.take(integers["sources"], INT32, features, &used)
        given.common_starts = <const int*>self.take(integers["common_starts"], INT32, channels + 1, &used)
        given.common_features = <const int*>self.take(integers["common_features"], INT32, n_common, &used)
        given.common_functions = <const int*>self.take(integers["common_functions"], INT32, n_common, &used)
        given.mode_starts = <const int*>self.take(integers["mode_starts"], INT32, channels + 1, &used)
        given.mode_features = <const int*>self.take(integers["mode_features"], INT32, n_by_mode, &used)
        given.mode_functions = <const int*>self.take(integers["mode_functions"], INT32, n_by_mode, &used)
        given.phi_starts = <const int*>self.take(integers["phi_starts"], INT32, channels, &used)

    def __dealloc__(self):
        free(self.memory)

    cdef const void* take(self, object array, int kind, Py_ssize_t n, Py_ssize_t* used) except NULL:
        """A copy of the array's numbers in this object's memory, 8-byte aligned."""
        cdef Py_buffer view
        cdef char* place = self.memory + used[0]
        take_buffer(array, kind, n, False, "an array of conditions", &view)
        memcpy(place, view.buf, view.len)
        used[0] += (view.len + 7) // 8 * 8
        PyBuffer_Release(&view)
        return place

    def capsule(self):
        """The address of the struct, under the name of its layout; valid as long as this object lives."""
        return PyCapsule_New(&self.given, NAME, NULL)

    def check(self, w, Py_ssize_t n):
        """None, or (row, status, column) of the first of n rows of covariates that is wrong."""
        return self.run(REGIMES, w, n, None, None, 0, 0, True)

    def regimes(self, w, Py_ssize_t n, out):
        """Regimes of n readings into out (n,), int32. Returns None or (row, status, column), as all that follow."""
        return self.run(REGIMES, w, n, None, out, 0, 1, False)

    def features(self, w, Py_ssize_t n, out):
        """Features of n readings into out (n, n_features)."""
        return self.run(FEATURES, w, n, None, out, 0, self.given.n_features, False)

    def adjust(self, w, Py_ssize_t n, phi, values):
        """x' in place of the readings x (n, n_channels); phi (n, n_phi), or None."""
        return self.run(ADJUST, w, n, phi, values, 0, self.given.n_channels, False)

    def restore(self, w, Py_ssize_t n, phi, values):
        """x in place of x' (n, n_channels); phi (n, n_phi), or None."""
        return self.run(RESTORE, w, n, phi, values, 0, self.given.n_channels, False)

    def design(self, w, Py_ssize_t n, phi, int channel, out):
        """By-mode columns of a channel, which exists, into out (n, q); phi (n, n_phi), or None."""
        return self.run(DESIGN, w, n, phi, out, channel, conditions_mode_columns(&self.given, channel), False)

    cdef object run(self, int what, object w, Py_ssize_t n, object phi, object out, int channel, int width, bint check):
        cdef Py_buffer rows, bases, target
        cdef const conditions_1_t* given = &self.given
        cdef const double* row
        cdef const double* basis = NULL
        cdef char* place = NULL
        cdef double* features = <double*>malloc((given.n_features + 1) * sizeof(double))
        cdef Py_ssize_t i, item = 4 if what == REGIMES else 8
        cdef int status = CONDITIONS_OK, blamed = -1
        cdef int taken = 0
        if features == NULL:
            raise MemoryError("no memory for the features of a reading")
        try:
            take_buffer(w, FLOAT64, n * given.n_columns, False, "covariates", &rows)
            taken = 1
            if phi is not None:
                take_buffer(phi, FLOAT64, n * self.n_phi, False, "rows of bases", &bases)
                basis = <const double*>bases.buf
                taken = 2
            elif self.n_phi > 0 and (what == ADJUST or what == RESTORE or what == DESIGN):
                raise ValueError(f"rows of bases are missing; an array of shape ({n}, {self.n_phi}) was expected")
            if not check:
                take_buffer(out, INT32 if what == REGIMES else FLOAT64, n * width, True, "the result", &target)
                place = <char*>target.buf
                taken += 4
            with nogil:
                for i in range(n):
                    row = <const double*>rows.buf + i * given.n_columns
                    if what == ADJUST:
                        status = conditions_adjust(given, row, basis, features, <double*>place)
                    elif what == RESTORE:
                        status = conditions_restore(given, row, basis, features, <double*>place)
                    else:
                        status = conditions_check(given, row)
                        if status == CONDITIONS_OK and what == REGIMES:
                            status = conditions_regime(given, row)
                            if status >= 0:
                                if not check:
                                    (<int*>place)[0] = status
                                status = CONDITIONS_OK
                        elif status == CONDITIONS_OK:
                            status = conditions_features(
                                given, row, <double*>place if what == FEATURES else features
                            )
                            if status == CONDITIONS_OK and what == DESIGN:
                                conditions_mode_row(given, channel, features, basis, <double*>place)
                    if status != CONDITIONS_OK:
                        blamed = conditions_blame(given, row)
                        break
                    if place != NULL:
                        place += width * item
                    if basis != NULL:
                        basis += self.n_phi
            return None if status == CONDITIONS_OK else (i, status, blamed)
        finally:
            free(features)
            if taken & 4:
                PyBuffer_Release(&target)
            if taken & 2:
                PyBuffer_Release(&bases)
            if taken > 0:
                PyBuffer_Release(&rows)
