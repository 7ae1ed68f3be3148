"""One running unit: its state in constant memory, input checks, and queries.

The arithmetic is behind the C-level interface of _scorer.pyx. NumPy alone; nothing here needs SciPy.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
)
from libc.math cimport exp, INFINITY, isfinite, isinf, log, NAN
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cem.mixture._linked cimport lay_out, noise_part, unit_length, unit_posterior
from cem.statistics._blocks cimport LANES, blocks_allocate
from cem.scoring._scorer cimport (
    PackedScorer, SCORER_CUSTOM, SCORER_NOT_FINITE, SCORER_OK, SCORER_TIME, UNIT_LAST_TIME, UNIT_OBSERVATIONS,
    UNIT_STATE, row_of, scorer_blame, scorer_init, scorer_log_densities, scorer_log_likelihood, scorer_probabilities,
    scorer_update, scorer_update_channel, scorer_weight,
)

import numpy as np

from cem.errors import ScorerError

__all__ = ["LinkedModes", "LinkedUnitState", "UnitState"]

cdef object ARRAY = np.ndarray


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
        self.unit = blocks_allocate(self.packed.n_unit)
        self.x = <double*>malloc(self.packed.n_channels * sizeof(double))
        if self.unit == NULL or self.x == NULL:
            raise MemoryError("no memory for the state of a unit")
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
            return ScorerError("the log-density of this unit is not finite; a parameter of the model is not finite")
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

    cdef object _converted(self, x):
        from cem.panel.readings import reading

        return reading(x, self.scorer.channels, self.scorer._ignored_names())

    def update(self, t, x):
        """Add one reading of all channels.

        Parameters
        ----------
        t : float
            Time, in the time unit of the training panel; readings may come in any order.
        x : array or sequence of shape (C,), or dict, Series, named tuple or row of a frame
            The channels' values in their own units; NaN or masked = missing. A reading without any value changes
            nothing. Input with names is read by name; channels that it does not name are missing. A float64 array is
            the fastest.

        Raises
        ------
        ScorerError
            The time is not finite, a value is infinite, the number or type of the values is wrong, or a name is not a
            channel. The state does not change then.
        """
        cdef double time = self._time(t)
        cdef const double* custom = NULL
        cdef double[:, ::1] custom_view
        cdef int status
        if self.busy:
            self._free()
        self._read_values(x)
        if self.packed.n_custom > 0 and isfinite(time):
            custom_view = self.scorer._custom_rows(np.array([time]))
            custom = &custom_view[0, 0]
            self._read_values(x)            # a Custom basis runs Python, which might have called this unit
            self._free()
        status = scorer_update(self.packed, self.unit, time, self.x, custom)
        if status != SCORER_OK:
            if status == SCORER_CUSTOM:     # only where the time is not finite
                status = SCORER_TIME
            raise self._refused(status, time, self.x, scorer_blame(self.packed, self.unit))

    def update_channel(self, t, channel, value):
        """Add one reading of one channel.

        Parameters
        ----------
        t : float
            Time; readings may come in any order.
        channel : int or str
            Its number or name.
        value : float
            In the channel's own units; NaN changes nothing.

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
        status = scorer_update_channel(self.packed, self.unit, time, c, number, custom)
        if status != SCORER_OK:
            self.x[c] = number
            raise self._refused(SCORER_TIME if status == SCORER_CUSTOM else status, time, self.x, c)

    def _update_rows(self, const double[::1] times, const double[:, ::1] values):
        """`update` for each row, all or none; the GIL is released."""
        self._free()
        custom_rows = self.scorer._custom_rows(np.asarray(times)) if times.shape[0] else None
        self._free()
        cdef const double[:, ::1] custom_view = custom_rows
        cdef const double* custom = NULL
        if custom_rows is not None:
            custom = &custom_view[0, 0]
        cdef Py_ssize_t i = 0, n = times.shape[0], n_bytes = (UNIT_STATE + self.packed.blocks.n_state) * sizeof(double)
        cdef int status = SCORER_OK
        cdef double* before = blocks_allocate(UNIT_STATE + self.packed.blocks.n_state)
        if before == NULL:
            raise MemoryError("no memory for a copy of the unit's state")
        self.busy = True
        with nogil:
            memcpy(before, self.unit, n_bytes)
            for i in range(n):
                status = scorer_update(
                    self.packed, self.unit, times[i], &values[i, 0],
                    row_of(custom, i, self.packed.n_custom),
                )
                if status != SCORER_OK:
                    memcpy(self.unit, before, n_bytes)
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
            out = np.empty(self.packed.n_modes)
        try:
            PyObject_GetBuffer(out, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT | PyBUF_WRITABLE)
        except (TypeError, ValueError, BufferError) as error:
            raise ScorerError(
                f"out cannot be written ({error}); a writable float64 array of shape ({self.packed.n_modes},) was "
                "expected"
            ) from None
        try:
            if view.ndim != 1 or view.shape[0] != self.packed.n_modes or (
                view.format[0] != c'd' or view.format[1] != 0
            ):
                raise ScorerError(
                    f"out has shape {tuple([view.shape[k] for k in range(view.ndim)])} and format "
                    f"{bytes(view.format).decode()!r}; shape ({self.packed.n_modes},) of float64 ('d') was expected"
                )
            status = self._probabilities(results)
            if status == SCORER_OK:
                for k in range(self.packed.n_modes):
                    (<double*>(<char*>view.buf + k * view.strides[0]))[0] = results[k]
        finally:
            PyBuffer_Release(&view)
        if status != SCORER_OK:
            raise self._refused(status, 0.0, self.x, 0)
        return out

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
        """Forget every reading."""
        self._free()
        scorer_init(self.packed, self.unit)

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


cdef class LinkedModes:
    """Parameters of a model of linked channels as the kernel of (17) takes them; shared by all units of a scorer.

    Parameters
    ----------
    parameters : cem.mixture.parameters.Parameters
        With loadings.
    coordinates : cem.statistics.coordinates.Coordinates
    """

    def __cinit__(self, parameters, coordinates):
        self.memory = NULL
        noise = np.asarray(parameters.noise_variances, dtype=np.float64)
        with np.errstate(divide="ignore"):
            log_weights = np.log(parameters.weights)
        cdef int C = len(parameters.sizes), K = parameters.n_modes, r = parameters.rank, c, largest = 0
        cdef Py_ssize_t P = sum(parameters.sizes), P2 = sum(p * p for p in parameters.sizes)
        numbers = []
        for name, array, shape in (
            ("means", parameters.means, (K, P)), ("factors", parameters.factors, (K, P2)),
            ("loadings", parameters.loadings, (K, P, r)), ("noise variances", 1.0 / np.sqrt(noise), (K, C)),
            ("noise variances", np.log(2.0 * np.pi * noise), (K, C)), ("weights", log_weights, (K,)),
            ("scales", np.log(coordinates.scales), (C,)),
        ):
            if np.shape(array) != shape:
                raise ScorerError(f"the model's {name} have shape {np.shape(array)}; {shape} was expected")
            numbers.append(np.ravel(array))
        cdef double[::1] constants = np.concatenate(numbers).astype(np.float64)
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
            largest = max(largest, <int>parameters.sizes[c])
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
            self.sizes[c] = parameters.sizes[c]

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
        cdef double highest = -INFINITY, total = 0.0
        cdef int k
        if self._evaluate() != SCORER_OK:
            return SCORER_NOT_FINITE
        for k in range(self.modes.n_modes):
            shares[k] += self.modes.log_weights[k]
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
        cdef double s = 0.0
        cdef int c
        for c in range(self.modes.n_channels):
            s -= self.modes.n[c] * self.modes.log_scales[c]
        return s

    cdef object _refused(self, int status, double t, const double* x, int channel):
        if status == SCORER_NOT_FINITE:
            return ScorerError(
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
