"""Streaming scoring: one unit's readings enter by Givens rotations, its mode probabilities are read at any time.

The arithmetic is in _blocks_level.h. Here: the C-level interface (see _scorer.pxd), the two extension types behind
`cem.Scorer` and `cem.scorer.Unit`, and the loop over the units of a panel. NumPy alone; nothing here needs SciPy.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
)
from libc.math cimport exp, fabs, isfinite, isinf, log, NAN
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem._basis cimport basis_check, basis_row
from cem._blocks cimport (
    LANES, blocks_allocate, blocks_clear, blocks_prepare, blocks_read, blocks_rotate, blocks_scale, common_log_density,
    mode_terms,
)

import numpy as np

from cem._blocks import Blocks as _Blocks
from cem._prediction import chi_square_tail, compress_units, in_threads, log_densities, posteriors
from cem.errors import ScorerError

__all__ = ["PackedScorer", "UnitState", "chi_square_tail", "compress_units", "log_densities", "posteriors"]


# ------------------------------------------------------------------------------------------- the C-level interface


cdef Py_ssize_t scorer_unit_bytes(const scorer_t* scorer) noexcept nogil:
    """Bytes of one unit's memory, a multiple of 64; it must be aligned to 64."""
    return (scorer.n_unit * sizeof(double) + 63) // 64 * 64


cdef void scorer_init(
    const scorer_t* scorer,
    double* unit_out,           # (n_unit,)
) noexcept nogil:
    """A unit without readings."""
    memset(unit_out, 0, scorer.n_unit * sizeof(double))
    blocks_clear(scorer.blocks, unit_out + UNIT_STATE)


cdef inline const double* row_of(const double* rows, Py_ssize_t i, int size) noexcept nogil:
    """Row i, or NULL where there are no rows."""
    if rows == NULL:
        return NULL
    return rows + i * size


cdef inline void evaluate_bases(
    const scorer_t* scorer,
    double t,
    const double* custom,       # (n_custom,) or NULL
    double* phi_out,            # (n_phi,)
) noexcept nogil:
    """Each different basis once."""
    cdef int b
    for b in range(scorer.n_custom):
        phi_out[b] = custom[b]
    for b in range(scorer.n_bases):
        if scorer.bases[b].kind >= 0:
            basis_row(scorer.bases + b, t, phi_out + scorer.basis_starts[b])


cdef void forget(
    const scorer_t* scorer,
    double* unit,
    int first, int stop,        # blocks of the row
    double t,
) noexcept nogil:
    """Weight lambda^(t_last - t) for every row: older rows fade when a newer one comes; a late row enters faded."""
    cdef const blocks_t* blocks = scorer.blocks
    cdef double delta = t - unit[UNIT_LAST_TIME]
    cdef double weight = exp(scorer.log_forgetting * fabs(delta))
    cdef double root = exp(0.5 * scorer.log_forgetting * fabs(delta))
    cdef double* values
    cdef int block, i, p
    if unit[UNIT_OBSERVATIONS] == 0 or delta == 0:
        return
    if delta < 0:
        for block in range(first, stop):
            p = blocks.sizes[block]
            values = unit + scorer.rows + blocks.row_offsets[block]
            for i in range(LANES * (p + 1)):
                values[i] *= root
            for i in range(LANES * (p + 1), LANES * (p + 2)):
                values[i] *= weight
        return
    blocks_scale(blocks, root, weight, unit + UNIT_STATE)


cdef inline int enter(
    const scorer_t* scorer,
    double* unit,               # its x holds the reading
    int first, int stop,        # blocks
    double t,
    const double* custom,       # (n_custom,)
) noexcept nogil:
    """Checks, then rotates: the state changes only where everything is in order."""
    cdef int n_observed
    if not isfinite(t):
        return SCORER_TIME
    if scorer.n_custom > 0 and custom == NULL:
        return SCORER_CUSTOM
    evaluate_bases(scorer, t, custom, unit + scorer.phi)
    if blocks_prepare(
        scorer.blocks, first, stop, unit + scorer.phi, unit + scorer.x, unit + scorer.rows, &n_observed
    ):
        return SCORER_RANGE
    if n_observed == 0:
        return SCORER_OK
    if scorer.log_forgetting < 0:
        forget(scorer, unit, first, stop, t)
    blocks_rotate(scorer.blocks, first, stop, unit + scorer.rows, unit + UNIT_STATE)
    if t > unit[UNIT_LAST_TIME] or unit[UNIT_OBSERVATIONS] == 0:
        unit[UNIT_LAST_TIME] = t
    unit[UNIT_OBSERVATIONS] += n_observed
    return SCORER_OK


cdef int scorer_update(
    const scorer_t* scorer,
    double* unit,               # (n_unit,)     changed where 0 is returned
    double t,
    const double* x,            # (n_channels,) in the channels' own units; NaN = missing
    const double* custom,       # (n_custom,)   values of the Custom bases at t; NULL where there are none
) noexcept nogil:
    """One reading of all channels; (9). Returns SCORER_OK, _TIME, _CUSTOM or _RANGE; only _OK changes the state."""
    memcpy(unit + scorer.x, x, scorer.n_channels * sizeof(double))
    unit[scorer.x + scorer.n_channels] = NAN
    return enter(scorer, unit, 0, scorer.blocks.n_blocks, t, custom)


cdef int scorer_update_channel(
    const scorer_t* scorer,
    double* unit,               # (n_unit,)     changed where 0 is returned
    double t,
    int channel,
    double value,               # in the channel's own units; NaN = missing
    const double* custom,       # (n_custom,)   values of the Custom bases at t; NULL where there are none
) noexcept nogil:
    """One reading of one channel; as `scorer_update`, or SCORER_CHANNEL."""
    cdef int block, c
    if channel < 0 or channel >= scorer.n_channels:
        return SCORER_CHANNEL
    for c in range(scorer.n_channels + 1):
        unit[scorer.x + c] = NAN
    unit[scorer.x + channel] = value
    block = scorer.blocks.lane_of_channel[channel] // LANES
    return enter(scorer, unit, block, block + 1, t, custom)


cdef int scorer_log_densities(
    const scorer_t* scorer,
    double* unit,                   # (n_unit,)   its scratch is used
    double* log_densities_out,      # (n_modes,)  log P(x | k) less common_out, in internal coordinates; (11)
    double* misfits_out,            # (n_modes,)  rss / s2 + |e - B E d|^2 + |E d|^2
    double* common_out,             # (1,)
) noexcept nogil:
    """Returns SCORER_OK, or SCORER_NOT_FINITE."""
    cdef double* sums = unit + scorer.sums
    cdef int k
    cdef double check
    blocks_read(scorer.blocks, unit + UNIT_STATE, sums, unit + scorer.scratch)
    common_out[0] = common_log_density(sums)
    check = common_out[0]
    for k in range(scorer.n_modes):
        mode_terms(k, scorer.blocks, sums, log_densities_out + k, misfits_out + k)
        check += log_densities_out[k]
    return SCORER_OK if isfinite(check) else SCORER_NOT_FINITE


cdef int scorer_probabilities(
    const scorer_t* scorer,
    double* unit,                   # (n_unit,)   its scratch is used
    double* probabilities_out,      # (n_modes,)  (3)
) noexcept nogil:
    """Returns SCORER_OK, or SCORER_NOT_FINITE; then nothing is written."""
    cdef double* log_posterior = unit + scorer.work
    cdef double common, largest, total = 0.0
    cdef int k, n_modes = scorer.n_modes
    if scorer_log_densities(scorer, unit, log_posterior, log_posterior + n_modes, &common):
        return SCORER_NOT_FINITE
    for k in range(n_modes):
        log_posterior[k] += scorer.log_weights[k]
    largest = log_posterior[0]
    for k in range(1, n_modes):
        largest = log_posterior[k] if log_posterior[k] > largest else largest
    for k in range(n_modes):
        log_posterior[k] = exp(log_posterior[k] - largest)
        total += log_posterior[k]
    total = 1.0 / total
    for k in range(n_modes):
        probabilities_out[k] = log_posterior[k] * total
    return SCORER_OK


cdef int scorer_blame(const scorer_t* scorer, const double* unit) noexcept nogil:
    """After SCORER_RANGE from `scorer_update`: the first channel at fault; -1 where none is."""
    cdef const blocks_t* blocks = scorer.blocks
    cdef const double* row
    cdef double size
    cdef int c, lane, i, p
    for c in range(scorer.n_channels):
        lane = blocks.lane_of_channel[c]
        p = blocks.sizes[lane // LANES]
        row = unit + scorer.rows + blocks.row_offsets[lane // LANES] + lane % LANES
        size = 0.0
        for i in range(p + 1):
            size += row[LANES * i] * row[LANES * i]
        if not size <= 0.999999e60:
            return c
    return -1


# -------------------------------------------------------------------------------------------------------- the model


cdef class PackedScorer:
    """A fitted model as constants in lanes; immutable. `cem.Scorer` is its face.

    Parameters
    ----------
    parameters : cem.parameters.Parameters
    coordinates : cem.parameters.Coordinates
    bases : sequence of bound bases, one per channel
    channels : sequence of str
    forgetting : float in (0, 1]
        lambda, per unit of time.
    """

    def __cinit__(self):
        self.bases = NULL

    def __init__(self, parameters, coordinates, bases, channels, double forgetting=1.0):
        if self.layout is not None:
            raise ScorerError("a scorer cannot be changed; build another one")
        sizes = parameters.sizes
        n_channels = len(sizes)
        if not len(bases) == len(channels) == n_channels or tuple(coordinates.sizes) != tuple(sizes):
            raise ScorerError(
                f"the model has {n_channels} channels in its parameters, {len(bases)} bases, {len(channels)} names and "
                f"{len(coordinates.sizes)} channels in its coordinates; these must agree"
            )
        different = []
        number_of = {}
        kinds = []
        for basis in bases:
            kind = int(basis.kind)
            key = (kind, basis.size, np.asarray(basis.numbers).tobytes()) if kind >= 0 else basis
            if key not in number_of:
                number_of[key] = len(different)
                different.append(basis)
            kinds.append(number_of[key])
        cdef int b, c, start = 0, n_bases = len(different)
        basis_starts = np.zeros(n_bases, dtype=np.intc)
        numbers = [np.array(basis.numbers, dtype=np.float64) if basis.kind >= 0 else np.zeros(1) for basis in different]
        cdef int[::1] starts_view = basis_starts
        cdef double[::1] numbers_view
        self.bases = <basis_t*>malloc(n_bases * sizeof(basis_t))
        if self.bases == NULL:
            raise MemoryError("no memory for the bases of the model")
        for wanted in (True, False):                # Custom bases first
            for b in range(n_bases):
                if (different[b].kind < 0) == wanted:
                    starts_view[b] = start
                    start += different[b].size
            if wanted:
                self.scorer.n_custom = start
        for b in range(n_bases):
            numbers_view = numbers[b]
            self.bases[b].kind = different[b].kind
            self.bases[b].size = different[b].size
            self.bases[b].n_numbers = numbers_view.shape[0]
            self.bases[b].numbers = &numbers_view[0]
            if self.bases[b].kind >= 0 and basis_check(self.bases + b):
                raise ScorerError(f"the basis of channel {channels[kinds.index(b)]!r} does not fit its kernel")
        for c in range(n_channels):
            if bases[c].size != sizes[c]:
                raise ScorerError(f"the basis of channel {channels[c]!r} has {bases[c].size} coefficients; its "
                                  f"parameters have {sizes[c]}")
        layout = _Blocks(
            sizes, [int(basis_starts[b]) for b in kinds],
            (parameters.means, parameters.factors, parameters.noise_variances),
            (coordinates.centres, coordinates.scales, coordinates.transforms),
        )
        cdef const blocks_t* blocks = &(<Blocks>layout).blocks
        with np.errstate(divide="ignore"):
            log_weights = np.log(parameters.weights)
        log_scales = np.log(coordinates.scales)
        cdef double[::1] weights_view = log_weights, scales_view = log_scales
        self.arrays = (basis_starts, numbers, log_weights, log_scales)
        self.scorer.n_channels = n_channels
        self.scorer.n_modes = blocks.n_modes
        self.scorer.n_bases = n_bases
        self.scorer.n_phi = start
        self.scorer.log_forgetting = log(forgetting)
        self.scorer.bases = self.bases
        self.scorer.basis_starts = &starts_view[0]
        self.scorer.log_weights = &weights_view[0]
        self.scorer.log_scales = &scales_view[0]
        self.scorer.blocks = blocks
        self.scorer.rows = UNIT_STATE + blocks.n_state
        self.scorer.sums = self.scorer.rows + blocks.n_row
        self.scorer.scratch = self.scorer.sums + blocks.n_sums
        self.scorer.phi = self.scorer.scratch + blocks.n_scratch
        self.scorer.x = self.scorer.phi + self.scorer.n_phi
        self.scorer.work = self.scorer.x + n_channels + 1
        self.scorer.n_unit = self.scorer.work + 2 * blocks.n_modes
        self.channels = tuple(channels)
        self.channel_numbers = {name: c for c, name in enumerate(self.channels)}
        self.custom = tuple(basis for basis in different if basis.kind < 0)
        self.layout = layout

    def __dealloc__(self):
        free(self.bases)

    cdef const scorer_t* pointer(self) except NULL:
        """For compiled callers; valid for as long as this object lives."""
        if self.layout is None:
            raise ScorerError("the scorer was not initialised; build it with model.scorer()")
        return &self.scorer

    @property
    def n_channels(self):
        return self.scorer.n_channels

    @property
    def n_modes(self):
        return self.scorer.n_modes

    @property
    def unit_bytes(self):
        """Memory of one unit, whatever the number of its readings."""
        return scorer_unit_bytes(self.pointer())

    def _channel_number(self, channel):
        """The number of a channel given by name or number."""
        number = self.channel_numbers.get(channel) if isinstance(channel, str) else channel
        if isinstance(number, (int, np.integer)) and not isinstance(number, bool):
            if 0 <= number < self.scorer.n_channels:
                return int(number)
        raise ScorerError(
            f"there is no channel {channel!r}; give one of {list(self.channels)} or a number from 0 to "
            f"{self.scorer.n_channels - 1}"
        )

    def _custom_rows(self, times):
        """Values of the Custom bases, (n, n_custom); None where there are none."""
        if self.scorer.n_custom == 0:
            return None
        return np.ascontiguousarray(np.concatenate([basis(times) for basis in self.custom], axis=1), dtype=np.float64)

    def _score_rows(
        self, const double[::1] times, const double[:, ::1] values, const long long[::1] row_offsets,
        double[:, ::1] probabilities_out, int n_threads,
    ):
        """Mode probabilities of each unit of a panel; returns (unit, row, status, channel) of the first that failed.

        times (N,), values (N, C) and row_offsets (L + 1,) are a panel's, checked by the caller.
        """
        cdef const scorer_t* scorer = self.pointer()
        cdef Py_ssize_t n_units = row_offsets.shape[0] - 1
        custom_rows = self._custom_rows(np.asarray(times)) if times.shape[0] else None
        cdef const double[:, ::1] custom_view = custom_rows
        cdef const double* custom = NULL
        if custom_rows is not None:
            custom = &custom_view[0, 0]
        if n_units == 0:
            return None

        def part(Py_ssize_t start, Py_ssize_t stop):
            cdef double* unit = blocks_allocate(scorer.n_unit)
            cdef Py_ssize_t l, i = 0
            cdef int status = SCORER_OK, channel = -1
            if unit == NULL:
                raise MemoryError("no memory for the state of a unit")
            with nogil:
                for l in range(start, stop):
                    scorer_init(scorer, unit)
                    for i in range(row_offsets[l], row_offsets[l + 1]):
                        status = scorer_update(
                            scorer, unit, times[i], &values[i, 0],
                            row_of(custom, i, scorer.n_custom),
                        )
                        if status != SCORER_OK:
                            break
                    if status == SCORER_OK:
                        status = scorer_probabilities(scorer, unit, &probabilities_out[l, 0])
                    if status != SCORER_OK:
                        channel = scorer_blame(scorer, unit)
                        break
                free(unit)
            return None if status == SCORER_OK else (l, i, status, channel)

        failures = [failure for failure in in_threads(part, n_units, n_threads) if failure is not None]
        return failures[0] if failures else None


# --------------------------------------------------------------------------------------------------------- one unit


cdef class UnitState:
    """The state of one running unit: R, w, rss and n of every channel; constant memory. `cem.scorer.Unit` is its face.

    Parameters
    ----------
    scorer : PackedScorer
    """

    def __cinit__(self, PackedScorer scorer not None):
        self.unit = NULL
        self.x = NULL
        self.scorer = scorer
        self.packed = scorer.pointer()
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
        """The error that a status stands for."""
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
            f"channel {name!r} has the value {x[channel]} at time {t}, which lies too far from everything that the "
            "model was fitted to; check the units of value and time"
        )

    cdef double _time(self, t) except? -1.0:
        try:
            return t
        except (TypeError, ValueError, OverflowError):
            raise ScorerError(f"the time of a reading is {t!r}; it must be a finite number") from None

    cdef int _read_values(self, x) except -1:
        """x into self.x: a one-dimensional float64 buffer, or a sequence of numbers."""
        cdef Py_buffer view
        cdef int c, n = self.packed.n_channels
        cdef const char* source
        if PyObject_CheckBuffer(x):
            PyObject_GetBuffer(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
            try:
                if view.ndim != 1 or view.shape[0] != n or view.format[0] != c'd' or view.format[1] != 0:
                    raise ScorerError(
                        f"the values of a reading are a buffer of shape "
                        f"{tuple([view.shape[c] for c in range(view.ndim)])} and format "
                        f"{bytes(view.format).decode()!r}; shape ({n},), one float64 ('d') per channel, was "
                        "expected"
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
        try:
            values = [float(value) for value in x]
        except (TypeError, ValueError, OverflowError):
            raise ScorerError(
                f"the values of a reading are {x!r:.80}; a float64 array or a sequence of {n} numbers was expected"
            ) from None
        if len(values) != n:
            raise ScorerError(f"a reading has {len(values)} values; {n} were expected, one per channel, NaN = missing")
        for c in range(n):
            self.x[c] = values[c]
        return 0

    def update(self, t, x):
        """One reading of all channels.

        Parameters
        ----------
        t : float
            Time, in the unit of time of the panel that the model was fitted to; any order.
        x : float64 array or sequence of shape (C,)
            The channels' values in their own units; NaN = missing. All missing changes nothing.

        Raises
        ------
        ScorerError
            The time is not finite, a value is infinite, or the number or type of the values is wrong. The state is as
            it was before.
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
            self._read_values(x)            # a Custom basis runs Python, which might have come back here
            self._free()
        status = scorer_update(self.packed, self.unit, time, self.x, custom)
        if status != SCORER_OK:
            if status == SCORER_CUSTOM:     # only where the time is not finite
                status = SCORER_TIME
            raise self._refused(status, time, self.x, scorer_blame(self.packed, self.unit))

    def update_channel(self, t, channel, value):
        """One reading of one channel.

        Parameters
        ----------
        t : float
            Time; any order.
        channel : int or str
            Its number or name.
        value : float
            In the channel's own units; NaN changes nothing.

        Raises
        ------
        ScorerError
            As `update`; also where there is no such channel.
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

    def mode_probabilities(self, out=None):
        """Probability of each failure mode given all readings so far, model.md (3); the weights before the first.

        Parameters
        ----------
        out : writable float64 array of shape (K,), optional
            Filled and returned; without it a new array is made.

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
            status = scorer_probabilities(self.packed, self.unit, results)
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
            common -= self._weight(c) * self.packed.log_scales[c]
        for k in range(self.packed.n_modes):
            density[k] += common
        return np.asarray(density), np.asarray(misfit)

    cdef double* _state_of(self, int c) noexcept:
        """Its lane's first number; the others are LANES apart."""
        cdef int lane = self.packed.blocks.lane_of_channel[c]
        return self.unit + UNIT_STATE + self.packed.blocks.state_offsets[lane // LANES] + lane % LANES

    cdef int _size_of(self, int c) noexcept:
        return self.packed.blocks.sizes[self.packed.blocks.lane_of_channel[c] // LANES]

    cdef double _weight(self, int c) noexcept:
        """n_lc; with forgetting the sum of the weights."""
        cdef int p = self._size_of(c)
        return self._state_of(c)[LANES * (p * (p + 1) // 2 + p + 2)]

    def _channel_weights(self):
        """n_lc of every channel, (C,); with forgetting the sum of the weights."""
        return np.array([self._weight(c) for c in range(self.packed.n_channels)])

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
        """Number of values received, missing ones not counted."""
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
