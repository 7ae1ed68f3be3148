"""One running unit: its state in constant memory, input checks, and queries.

The arithmetic is behind the C-level interface of _scorer.pyx. NumPy alone; nothing here needs SciPy.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
)
from cpython.object cimport PyObject
from libc.math cimport isfinite, isinf, NAN
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cem.statistics._blocks cimport LANES, blocks_allocate
from cem.scoring._scorer cimport (
    PackedScorer, SCORER_COVARIATE, SCORER_CUSTOM, SCORER_NOT_FINITE, SCORER_OK, SCORER_REGIME, SCORER_TIME,
    UNIT_LAST_TIME, UNIT_LOG_JACOBIAN, UNIT_OBSERVATIONS, UNIT_STATE, row_of, scorer_blame, scorer_init,
    scorer_init_at, scorer_log_densities, scorer_log_likelihood, scorer_probabilities, scorer_update, scorer_update_at,
    scorer_update_channel_at, scorer_weight,
)

import numpy as np

from cem.errors import ScorerError

__all__ = ["UnitState"]

cdef object ARRAY = np.ndarray
cdef object FLOAT64 = np.dtype(np.float64)

cdef extern from *:
    """
    /* The head of an array, as every module compiled against NumPy reads it: part of its binary interface. */
    typedef struct {
        PyObject_HEAD
        char *data;
        int n_dimensions;
        Py_ssize_t *shape;
        Py_ssize_t *strides;
        PyObject *base;
        PyObject *kind;
    } cem_array_t;
    """
    ctypedef struct cem_array_t:
        char* data
        int n_dimensions
        Py_ssize_t* shape
        Py_ssize_t* strides
        PyObject* kind


cdef bint _head_is_known():
    """Whether an array's head is what `cem_array_t` says; the buffer protocol, which is slower, says the same."""
    cdef Py_buffer view
    cdef bint same
    probe = np.arange(8.0)[1:6:2]
    cdef cem_array_t* head = <cem_array_t*><PyObject*>probe
    PyObject_GetBuffer(probe, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    same = (
        head.data == <char*>view.buf and head.n_dimensions == 1 and <object>head.kind is FLOAT64
        and head.shape[0] == 3 and head.strides[0] == view.strides[0]
    )
    PyBuffer_Release(&view)
    return same


cdef bint HEAD_IS_KNOWN = _head_is_known()


cdef bint take_few(object array, int n, double* target) except -1:
    """Whether an array holds n float64 numbers, which are then in target. A buffer would take longer than the rest."""
    cdef Py_buffer view
    cdef cem_array_t* head = <cem_array_t*><PyObject*>array
    cdef int j
    cdef bint found
    if HEAD_IS_KNOWN:
        if <void*>head.kind != <void*>FLOAT64 or head.n_dimensions != 1 or head.shape[0] != n:
            return False
        for j in range(n):
            target[j] = (<const double*>(head.data + j * head.strides[0]))[0]
        return True
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    found = view.format[0] == c'd' and view.format[1] == 0 and view.ndim == 1 and view.shape[0] == n
    if found:
        for j in range(n):
            target[j] = (<const double*>(<const char*>view.buf + j * view.strides[0]))[0]
    PyBuffer_Release(&view)
    return found


cdef void sum_groups(int n, const int* starts, double* numbers) noexcept nogil:
    """Probabilities of modes, in place of those of their components."""
    cdef double total
    cdef int k, j
    for k in range(n):
        total = 0.0
        for j in range(starts[k], starts[k + 1]):
            total += numbers[j]
        numbers[k] = total if total < 1.0 else 1.0      # rounding of their sum


cdef class UnitState:
    """The state of one running unit: R, w, rss and n of every channel; constant memory. Public: `cem.scoring.Unit`.

    Parameters
    ----------
    scorer : PackedScorer
    """

    def __cinit__(self, PackedScorer scorer not None):
        self.unit = NULL
        self.x = NULL
        self.scorer = scorer
        self.packed = scorer.own_pointer()
        self.n_out = self.packed.n_modes
        self.groups = NULL
        self.unit = blocks_allocate(self.packed.n_unit)
        self.x = <double*>malloc((self.packed.n_channels + self.packed.n_covariates) * sizeof(double))
        if self.unit == NULL or self.x == NULL:
            raise MemoryError("no memory for the state of a unit")
        self.w = self.x + self.packed.n_channels if self.packed.n_covariates > 0 else NULL
        scorer_init(self.packed, self.unit)
        self.busy = False

    def __dealloc__(self):
        free(self.unit)
        free(self.x)

    cdef int _free(self) except -1:
        if self.busy:
            raise ScorerError("another thread is inside update_many of this unit; give each thread its own units")
        return 0

    cdef object _refused(self, int status, double t, const double* x, int channel):
        """The error of a status code."""
        if status == SCORER_TIME:
            return ScorerError(f"the time of a reading is {t}; it must be a finite number")
        if status == SCORER_NOT_FINITE:
            return self._lacks_own() or ScorerError(
                "the log-density of this unit is not finite; a parameter of the model is not finite"
            )
        if status == SCORER_COVARIATE or status == SCORER_REGIME:
            return self._lacks_own() or self.scorer._covariate_error(self._row_at_hand(), t)
        name = self.scorer.channels[channel]
        if isinf(x[channel]):
            return ScorerError(
                f"channel {name!r} is infinite at time {t}; leave the reading out, or set the value to NaN, which "
                "means missing"
            )
        return ScorerError(
            f"channel {name!r} has the value {x[channel]} at time {t}, which is too far from all training data; "
            "check the units of value and time"
        )

    def _lacks_own(self):
        """The error of a unit that began without the covariates of units which the model needs; None of others."""
        if self.packed.n_unit_covariates > 0 and self.unit[self.packed.unit_w] != self.unit[self.packed.unit_w]:
            return self.scorer._lacks_unit_covariates()
        return None

    def _row_at_hand(self):
        """The columns of conditions at the reading that came last, (m,)."""
        cdef int j
        return np.array([self.unit[self.packed.w + j] for j in range(self.packed.conditions.n_columns)])

    cdef double _time(self, t) except? -1.0:
        try:
            return t
        except (TypeError, ValueError, OverflowError):
            raise ScorerError(f"the time of a reading is {t!r}; it must be a finite number") from None

    cdef int _read_values(self, x) except -1:
        """x into self.x: a float64 array or a sequence of numbers here, all else by `cem.panel.readings`."""
        cdef Py_buffer view
        cdef int c, n = self.packed.n_channels
        cdef const char* source
        if type(x) is list or type(x) is tuple:
            return self._read_sequence(x)
        # A subclass of arrays may mean more than its buffer: that of a masked array has the values beneath its mask.
        if type(x) is not ARRAY and (isinstance(x, ARRAY) or not PyObject_CheckBuffer(x)):
            x = self._converted(x)
        try:
            PyObject_GetBuffer(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        except (TypeError, ValueError, BufferError):    # dates, which have no format
            x = self._converted(x)
            PyObject_GetBuffer(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        if view.format[0] != c'd' or view.format[1] != 0:
            PyBuffer_Release(&view)
            x = self._converted(x)
            PyObject_GetBuffer(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        try:
            if view.ndim != 1 or view.shape[0] != n:
                raise ScorerError(
                    f"the values of a reading have shape {tuple([view.shape[c] for c in range(view.ndim)])}; ({n},), "
                    "one per channel, was expected"
                )
            if view.strides[0] == sizeof(double):
                memcpy(self.x, view.buf, n * sizeof(double))
            else:
                source = <const char*>view.buf
                for c in range(n):
                    self.x[c] = (<const double*>(source + c * view.strides[0]))[0]
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef int _read_sequence(self, x) except -1:
        cdef int c, n = self.packed.n_channels
        try:
            values = [float(value) for value in x]
        except (TypeError, ValueError, OverflowError):
            values = self._converted(x).tolist()
        if len(values) != n:
            raise ScorerError(f"a reading has {len(values)} values; {n} were expected, one per channel, NaN = missing")
        for c in range(n):
            self.x[c] = values[c]
        return 0

    cdef int _read_covariates(self, covariates) except -1:
        """Covariates into self.w: float64 arrays, plain tuples, lists and dicts here, all else by the scorer."""
        cdef int n = self.packed.n_covariates
        cdef const double[::1] row
        if n == 0:
            if covariates is not None:
                raise self.scorer._no_covariates()
            return 0
        if type(covariates) is ARRAY and self.scorer.only_numbers:
            if take_few(covariates, n, self.w):
                return 0
        elif self._read_items(covariates):
            return 0
        row = self.scorer._covariate_row(covariates)
        memcpy(self.w, &row[0], n * sizeof(double))
        return 0

    cdef int _read_items(self, covariates) except -1:
        """1 if the covariates were a list, tuple or dict of plain floats and of levels that are text."""
        cdef int j, n = self.packed.n_covariates
        cdef bint named = type(covariates) is dict
        if not (named or type(covariates) is tuple or type(covariates) is list) or len(covariates) != n:
            return 0
        for j in range(n):
            value = covariates.get(self.scorer.covariate_names[j]) if named else covariates[j]
            places = self.scorer.level_places[j]
            if places is not None and type(value) is str:
                value = (<dict>places).get(value)
            elif places is not None:
                return 0
            if type(value) is not float:
                return 0
            self.w[j] = value
        return 1

    cdef object _converted(self, x):
        from cem.panel.readings import reading

        return reading(x, self.scorer.channels, self.scorer._ignored_names())

    def update(self, t, x, covariates=None):
        """Add one reading of all channels.

        Parameters
        ----------
        t : float
            Time, in the time unit of the training panel; readings may come in any order.
        x : array or sequence of shape (C,), or dict, Series, named tuple or row of a frame
            The channels' values in their own units; NaN or masked = missing. A reading without any value changes
            nothing. Input with names is read by name; channels that it does not name are missing. A float64 array is
            the fastest.
        covariates : array or sequence of shape (m,), or mapping of name to value, optional
            The covariates that are read with the sensors, in the order of `model.covariates`, or by name: numbers, and
            levels of categories. A model that has some needs all of them with every reading. A float64 array is the
            fastest, if no covariate is a category.

        Raises
        ------
        ScorerError
            The time is not finite, a value is infinite, the number or type of the values is wrong, or a name is not a
            channel. Covariates are missing, unknown, or given to a model that has none, or the reading's regime is
            unknown. The state does not change then.
        """
        cdef double time = self._time(t)
        cdef const double* custom = NULL
        cdef double[:, ::1] custom_view
        cdef int status
        if self.busy:
            self._free()
        self._read_values(x)
        if self.packed.conditions == NULL and covariates is None and self.packed.n_custom == 0:
            status = scorer_update(self.packed, self.unit, time, self.x, NULL)
            if status != SCORER_OK:
                raise self._refused(status, time, self.x, scorer_blame(self.packed, self.unit))
            return
        self._read_covariates(covariates)
        if self.packed.n_custom > 0 and isfinite(time):
            custom_view = self.scorer._custom_rows(np.array([time]))
            custom = &custom_view[0, 0]
            self._read_values(x)            # a Custom basis runs Python, which might have called this unit
            self._read_covariates(covariates)
            self._free()
        status = scorer_update_at(self.packed, self.unit, time, self.x, self.w, custom)
        if status != SCORER_OK:
            if status == SCORER_CUSTOM:     # only where the time is not finite
                status = SCORER_TIME
            raise self._refused(status, time, self.x, scorer_blame(self.packed, self.unit))

    def update_channel(self, t, channel, value, covariates=None):
        """Add one reading of one channel.

        Parameters
        ----------
        t : float
            Time; readings may come in any order.
        channel : int or str
            Its number or name.
        value : float
            In the channel's own units; NaN changes nothing.
        covariates : array, sequence or mapping, optional
            As for `update`.

        Raises
        ------
        ScorerError
            As for `update`; also if there is no such channel.
        """
        cdef double time = self._time(t), number
        cdef int status, c = self.scorer._channel_number(channel)
        cdef const double* custom = NULL
        cdef double[:, ::1] custom_view
        self._free()
        try:
            number = value
        except (TypeError, ValueError, OverflowError):
            raise ScorerError(
                f"the value of channel {self.scorer.channels[c]!r} is {value!r:.80}; a number was expected"
            ) from None
        if self.packed.n_custom > 0 and isfinite(time):
            custom_view = self.scorer._custom_rows(np.array([time]))
            custom = &custom_view[0, 0]
            self._free()
        self._read_covariates(covariates)
        status = scorer_update_channel_at(self.packed, self.unit, time, c, number, self.w, custom)
        if status != SCORER_OK:
            self.x[c] = number
            raise self._refused(SCORER_TIME if status == SCORER_CUSTOM else status, time, self.x, c)

    def _update_rows(
        self, const double[::1] times, const double[:, ::1] values, const double[:, ::1] w=None, custom_rows=None
    ):
        """`update` for each row, all or none; the GIL is released. w (n, m): covariates, if the model has some.

        custom_rows (n, n_custom): values of the Custom bases, where the caller has them.
        """
        self._free()
        if custom_rows is None and times.shape[0]:
            custom_rows = self.scorer._custom_rows(np.asarray(times))
        self._free()
        cdef const double[:, ::1] custom_view = custom_rows
        cdef const double* custom = NULL
        if custom_rows is not None:
            custom = &custom_view[0, 0]
        cdef Py_ssize_t n_state = UNIT_STATE + self.packed.blocks.n_state
        cdef Py_ssize_t i = 0, n = times.shape[0], n_bytes = n_state * sizeof(double)
        cdef Py_ssize_t n_last = self.packed.n_covariates * sizeof(double)
        cdef const double* covariates = NULL
        cdef int status = SCORER_OK
        cdef double* before = blocks_allocate(n_state + self.packed.n_covariates)
        if w is not None and n > 0:
            covariates = &w[0, 0]
        if before == NULL:
            raise MemoryError("no memory for a copy of the unit's state")
        self.busy = True
        with nogil:
            memcpy(before, self.unit, n_bytes)
            memcpy(before + n_state, self.unit + self.packed.last_w, n_last)
            for i in range(n):
                status = scorer_update_at(
                    self.packed, self.unit, times[i], &values[i, 0],
                    row_of(covariates, i, self.packed.n_covariates), row_of(custom, i, self.packed.n_custom),
                )
                if status != SCORER_OK:
                    memcpy(self.unit, before, n_bytes)
                    memcpy(self.unit + self.packed.last_w, before + n_state, n_last)
                    break
            free(before)
        self.busy = False
        if status != SCORER_OK:
            error = self._refused(status, times[i], &values[i, 0], scorer_blame(self.packed, self.unit))
            raise ScorerError(f"row {i}: {error}")

    cdef int _probabilities(self, double* results) noexcept nogil:
        """(3) into results (K,); SCORER_OK or SCORER_NOT_FINITE."""
        return scorer_probabilities(self.packed, self.unit, results)

    def mode_probabilities(self, out=None):
        """Return the probability of each failure mode given all readings so far, model.md (3), shape (K,).

        Before the first reading these are the weights of the modes.

        Parameters
        ----------
        out : writable float64 array of shape (K,), optional
            Filled and returned; by default a new array is made.

        Returns
        -------
        ndarray of shape (K,)

        Raises
        ------
        ScorerError
            `out` has the wrong shape or type.
        """
        cdef Py_buffer view
        cdef double* results = self.unit + self.packed.work + self.packed.n_modes
        cdef int k, status
        if self.busy:
            self._free()
        if out is None:
            out = np.empty(self.n_out)
        try:
            PyObject_GetBuffer(out, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT | PyBUF_WRITABLE)
        except (TypeError, ValueError, BufferError) as error:
            raise ScorerError(
                f"out cannot be written ({error}); a writable float64 array of shape ({self.n_out},) was "
                "expected"
            ) from None
        try:
            if view.ndim != 1 or view.shape[0] != self.n_out or (
                view.format[0] != c'd' or view.format[1] != 0
            ):
                raise ScorerError(
                    f"out has shape {tuple([view.shape[k] for k in range(view.ndim)])} and format "
                    f"{bytes(view.format).decode()!r}; shape ({self.n_out},) of float64 ('d') was expected"
                )
            status = self._probabilities(results)
            if status == SCORER_OK:
                if self.groups != NULL:
                    sum_groups(self.n_out, self.groups, results)
                for k in range(self.n_out):
                    (<double*>(<char*>view.buf + k * view.strides[0]))[0] = results[k]
        finally:
            PyBuffer_Release(&view)
        if status != SCORER_OK:
            raise self._refused(status, 0.0, self.x, 0)
        return out

    def _group(self, const int[::1] starts):
        """Have the probabilities of modes summed over their components, of which mode k's begin at starts[k]."""
        self.group_starts, self.groups, self.n_out = starts, &starts[0], <int>starts.shape[0] - 1

    def _component_probabilities(self):
        """(3) of each component, (n,); of each mode where modes have no components."""
        cdef double[::1] found = np.empty(self.packed.n_modes)
        self._free()
        if self._probabilities(&found[0]) != SCORER_OK:
            raise self._refused(SCORER_NOT_FINITE, 0.0, self.x, 0)
        return np.asarray(found)

    def _log_densities(self):
        """(11) in the channels' own units: (K,) log P(x | k), and (K,) misfits."""
        cdef double common
        cdef double[::1] density = np.empty(self.packed.n_modes), misfit = np.empty(self.packed.n_modes)
        cdef int k, c
        self._free()
        if scorer_log_densities(self.packed, self.unit, &density[0], &misfit[0], &common):
            raise self._refused(SCORER_NOT_FINITE, 0.0, self.x, 0)
        for c in range(self.packed.n_channels):
            common -= scorer_weight(self.packed, self.unit, c) * self.packed.log_scales[c]
        if self.packed.conditions != NULL:
            common += self.unit[UNIT_LOG_JACOBIAN]
        for k in range(self.packed.n_modes):
            density[k] += common
        return np.asarray(density), np.asarray(misfit)

    def log_likelihood(self):
        """Return log sum_k pi_k P(x | k) of all readings, in the channels' own units; 0 before the first.

        Raises
        ------
        ScorerError
            It is not finite, because a parameter of the model is not.
        """
        cdef double found
        self._free()
        if scorer_log_likelihood(self.packed, self.unit, &found):
            raise self._refused(SCORER_NOT_FINITE, 0.0, self.x, 0)
        return found

    cdef double* _state_of(self, int c) except NULL:
        """Its lane's first number; the others are LANES apart."""
        cdef int lane = self.packed.blocks.lane_of_channel[c]
        return self.unit + UNIT_STATE + self.packed.blocks.state_offsets[lane // LANES] + lane % LANES

    cdef int _size_of(self, int c) except -1:
        return self.packed.blocks.sizes[self.packed.blocks.lane_of_channel[c] // LANES]

    def _channel_weights(self):
        """n_lc of every channel, (C,); with forgetting the sum of the weights."""
        return np.array([scorer_weight(self.packed, self.unit, c) for c in range(self.packed.n_channels)])

    def _channel_statistics(self, int c):
        """R (p, p), w (p,), rss of one channel; (9), internal coordinates."""
        cdef int p = self._size_of(c), i, j, position = 0, T = p * (p + 1) // 2
        cdef const double* state = self._state_of(c)
        cdef double[:, ::1] R = np.zeros((p, p))
        cdef double[::1] w = np.empty(p)
        self._free()
        for i in range(p):
            for j in range(i, p):
                R[i, j] = state[LANES * position]
                position += 1
            w[i] = state[LANES * (T + i)]
        return np.asarray(R), np.asarray(w), state[LANES * (T + p)] + state[LANES * (T + p + 1)]

    @property
    def n_observations(self):
        """Number of values received, without missing ones."""
        return int(self.unit[UNIT_OBSERVATIONS])

    @property
    def last_time(self):
        """The latest time of a reading; NaN before the first."""
        return self.unit[UNIT_LAST_TIME] if self.unit[UNIT_OBSERVATIONS] > 0 else NAN

    def reset(self):
        """Forget every reading; the unit keeps its own covariates."""
        self._free()
        own = self._get_memory()
        scorer_init(self.packed, self.unit)
        if self.packed.n_unit_covariates > 0:
            own[self.packed.n_unit_covariates:] = NAN
            self._set_memory(own)

    def _get_memory(self):
        """What a unit keeps of its conditions: its own covariates, and those at its latest reading."""
        cdef Py_ssize_t i, n = self.packed.n_unit_covariates + self.packed.n_covariates
        self._free()
        return np.array([self.unit[self.packed.unit_w + i] for i in range(n)], dtype=np.float64)

    def _set_memory(self, const double[::1] numbers):
        """The inverse of `_get_memory`; False if they are not what the model knows. The readings stay."""
        cdef int m = self.packed.n_unit_covariates, n = self.packed.n_covariates
        cdef int status = SCORER_OK
        cdef double* state
        self._free()
        if numbers.shape[0] != m + n:
            raise ScorerError(f"a unit keeps {m + n} covariates; {numbers.shape[0]} were found")
        if m > 0:
            state = blocks_allocate(UNIT_STATE + self.packed.blocks.n_state)
            if state == NULL:
                raise MemoryError("no memory for a copy of the unit's state")
            memcpy(state, self.unit, (UNIT_STATE + self.packed.blocks.n_state) * sizeof(double))
            status = scorer_init_at(self.packed, self.unit, &numbers[0])
            memcpy(self.unit, state, (UNIT_STATE + self.packed.blocks.n_state) * sizeof(double))
            free(state)
        if n > 0:
            memcpy(self.unit + self.packed.last_w, &numbers[m], n * sizeof(double))
        return status == SCORER_OK

    def _get_state(self):
        """The numbers that make up the state, (n,) float64."""
        cdef double[::1] numbers = np.empty(UNIT_STATE + self.packed.blocks.n_state)
        self._free()
        memcpy(&numbers[0], self.unit, numbers.shape[0] * sizeof(double))
        return np.asarray(numbers)

    def _set_state(self, const double[::1] numbers):
        """The inverse of `_get_state`."""
        self._free()
        if numbers.shape[0] != UNIT_STATE + self.packed.blocks.n_state:
            raise ScorerError(
                f"a state has {UNIT_STATE + self.packed.blocks.n_state} numbers; {numbers.shape[0]} were found"
            )
        memcpy(self.unit, &numbers[0], numbers.shape[0] * sizeof(double))
