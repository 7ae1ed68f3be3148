"""Streaming scoring: readings enter by Givens rotations, and mode probabilities can be computed at any time.

The arithmetic is in _blocks_level.h. Here: the C-level interface (see _scorer.pxd), the extension type behind
`cem.scoring.Scorer`, the loop over the units of a panel, and the chi-square tail for novelty. One unit is in
_unit.pyx. NumPy alone; nothing here needs SciPy.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport exp, INFINITY, isfinite, log, NAN
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.basis._basis cimport basis_check
from cem.covariates._conditions cimport conditions_1_t
from cem.scoring._chi_square cimport upper_gamma
from cem.scoring._reading_conditions cimport forget_covariates, take_unit_covariates
from cem.scoring._reading_rows cimport enter, enter_at
from cem.statistics._blocks cimport (
    LANES, blocks_allocate, blocks_clear, blocks_read, common_log_density, mode_evidence, mode_terms,
)

import numpy as np

from cem.scoring.scorer_layout import scorer_layout
from cem.statistics._blocks import Blocks as _Blocks
from cem.errors import ScorerError

__all__ = ["PackedScorer"]

cdef extern from *:
    """
    /* Has the cache take n numbers, which the loop over a batch needs some rows later. */
    static inline void cem_fetch_row(const double *row, int n)
    {
    #if defined(__GNUC__) || defined(__clang__)
        for (int i = 0; i < n; i += 8)  /* 8 numbers to a line of the cache */
            __builtin_prefetch(row + i);
        __builtin_prefetch(row + n - 1);
    #else
        (void)row, (void)n;
    #endif
    }
    """
    void cem_fetch_row(const double* row, int n) noexcept nogil

cdef enum:
    AHEAD = 8   # rows of a batch lie apart in memory; to fetch one takes as long as some of them take to enter

cdef const char* CONDITIONS = "cem.covariates.conditions_1"


# ------------------------------------------------------------------------------------------- the C-level interface


cdef Py_ssize_t scorer_unit_bytes(const scorer_3_t* scorer) noexcept nogil:
    """Bytes of one unit's memory, a multiple of 64; it must be aligned to 64."""
    return (scorer.n_unit * sizeof(double) + 63) // 64 * 64


cdef void scorer_init(
    const scorer_3_t* scorer,
    double* unit_out,           # (n_unit,)
) noexcept nogil:
    """A unit without readings."""
    memset(unit_out, 0, scorer.n_unit * sizeof(double))
    blocks_clear(scorer.blocks, unit_out + UNIT_STATE)
    if scorer.conditions != NULL or scorer.of_units != NULL:
        forget_covariates(scorer, unit_out)


cdef int scorer_init_at(
    const scorer_3_t* scorer,
    double* unit_out,           # (n_unit,)
    const double* unit_w,       # (n_unit_covariates,)  numbers, and positions of levels
) noexcept nogil:
    """A unit without readings, of known covariates. Returns SCORER_OK, or SCORER_CONDITIONS where the model has no
    covariates of units or NULL is given in their place, or SCORER_COVARIATE; then the unit has none."""
    scorer_init(scorer, unit_out)
    if (unit_w == NULL) != (scorer.n_unit_covariates == 0):
        return SCORER_CONDITIONS
    if unit_w != NULL and take_unit_covariates(scorer, unit_out, unit_w) != SCORER_OK:
        scorer_init(scorer, unit_out)
        return SCORER_COVARIATE
    return SCORER_OK


cdef int scorer_update(
    const scorer_3_t* scorer,
    double* unit,               # (n_unit,)     changed where 0 is returned
    double t,
    const double* x,            # (n_channels,) in the channels' own units; NaN = missing
    const double* custom,       # (n_custom,)   values of the Custom bases at t; NULL where there are none
) noexcept nogil:
    """One reading of all channels; (9). Returns SCORER_OK, _TIME, _CUSTOM or _RANGE; only _OK changes the state.

    SCORER_CONDITIONS: the model has reading conditions, so call `scorer_update_at`.
    """
    if scorer.conditions != NULL:
        return SCORER_CONDITIONS
    memcpy(unit + scorer.x, x, scorer.n_channels * sizeof(double))
    unit[scorer.x + scorer.n_channels] = NAN
    return enter(scorer, unit, 0, scorer.blocks.n_blocks, t, custom)


cdef int scorer_update_at(
    const scorer_3_t* scorer,
    double* unit,               # (n_unit,)     changed where 0 is returned
    double t,
    const double* x,            # (n_channels,) in the channels' own units; NaN = missing
    const double* w,            # (n_covariates,)   numbers, and positions of levels; NULL where there are none
    const double* custom,       # (n_custom,)   values of the Custom bases at t; NULL where there are none
) noexcept nogil:
    """`scorer_update` under conditions, and also SCORER_CONDITIONS, _COVARIATE or _REGIME."""
    if w != NULL and scorer.n_covariates == 0:
        return SCORER_CONDITIONS
    if scorer.conditions == NULL:
        return scorer_update(scorer, unit, t, x, custom)
    memcpy(unit + scorer.x, x, scorer.n_channels * sizeof(double))
    unit[scorer.x + scorer.n_channels] = NAN
    return enter_at(scorer, unit, 0, scorer.blocks.n_blocks, t, w, custom)


cdef int scorer_update_channel(
    const scorer_3_t* scorer,
    double* unit,               # (n_unit,)     changed where 0 is returned
    double t,
    int channel,
    double value,               # in the channel's own units; NaN = missing
    const double* custom,       # (n_custom,)   values of the Custom bases at t; NULL where there are none
) noexcept nogil:
    """One reading of one channel; as `scorer_update`, or SCORER_CHANNEL."""
    if scorer.conditions != NULL:
        return SCORER_CONDITIONS
    return scorer_update_channel_at(scorer, unit, t, channel, value, NULL, custom)


cdef int scorer_update_channel_at(
    const scorer_3_t* scorer,
    double* unit,               # (n_unit,)     changed where 0 is returned
    double t,
    int channel,
    double value,               # in the channel's own units; NaN = missing
    const double* w,            # (n_covariates,)   as for `scorer_update_at`
    const double* custom,       # (n_custom,)   values of the Custom bases at t; NULL where there are none
) noexcept nogil:
    """One reading of one channel under conditions; as `scorer_update_at`, or SCORER_CHANNEL."""
    cdef int block, c
    if w != NULL and scorer.n_covariates == 0:
        return SCORER_CONDITIONS
    if channel < 0 or channel >= scorer.n_channels:
        return SCORER_CHANNEL
    for c in range(scorer.n_channels + 1):
        unit[scorer.x + c] = NAN
    unit[scorer.x + channel] = value
    block = scorer.blocks.lane_of_channel[channel] // LANES
    if scorer.conditions == NULL:
        return enter(scorer, unit, block, block + 1, t, custom)
    return enter_at(scorer, unit, block, block + 1, t, w, custom)


cdef int scorer_log_densities(
    const scorer_3_t* scorer,
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


cdef inline int weigh(
    const scorer_3_t* scorer,
    double* unit,                   # (n_unit,)   its scratch is used
    double* shares_out,             # (n_modes,)  pi_k P(x | k) over a constant; the largest is near 1
    double* total_out,              # (1,)        their sum
    double* log_constant_out,       # (1,)        the constant's logarithm, in internal coordinates
) noexcept nogil:
    """Returns SCORER_OK, or SCORER_NOT_FINITE."""
    cdef double* sums = unit + scorer.sums
    cdef double* factors = unit + scorer.work + scorer.n_modes
    cdef const double* log_weights = scorer.log_weights
    cdef double common, check, largest, difference, total = 0.0
    cdef int k, n_modes = scorer.n_modes
    if scorer.own_weights > 0:
        log_weights = unit + scorer.own_weights
        if not isfinite(log_weights[0]):    # the unit began without its covariates
            return SCORER_NOT_FINITE
    blocks_read(scorer.blocks, unit + UNIT_STATE, sums, unit + scorer.scratch)
    common = common_log_density(sums)
    check = common
    largest = -INFINITY
    for k in range(n_modes):
        shares_out[k] = mode_evidence(k, scorer.blocks, sums, factors + k)
        check += shares_out[k]
        shares_out[k] += log_weights[k]
        largest = shares_out[k] if shares_out[k] > largest else largest
    if not isfinite(check):
        return SCORER_NOT_FINITE
    for k in range(n_modes):
        difference = shares_out[k] - largest
        shares_out[k] = factors[k] * exp(difference) if difference < 0.0 else factors[k]
        total += shares_out[k]
    total_out[0] = total
    log_constant_out[0] = common + largest
    return SCORER_OK


cdef int scorer_probabilities(
    const scorer_3_t* scorer,
    double* unit,                   # (n_unit,)   its scratch is used
    double* probabilities_out,      # (n_modes,)  (3)
) noexcept nogil:
    """Returns SCORER_OK, or SCORER_NOT_FINITE; then nothing is written."""
    cdef double* shares = unit + scorer.work
    cdef double total, log_constant, reciprocal
    cdef int k
    if weigh(scorer, unit, shares, &total, &log_constant):
        return SCORER_NOT_FINITE
    reciprocal = 1.0 / total
    for k in range(scorer.n_modes):
        probabilities_out[k] = shares[k] * reciprocal
    return SCORER_OK


cdef int scorer_log_likelihood(
    const scorer_3_t* scorer,
    double* unit,                   # (n_unit,)   its scratch is used
    double* log_likelihood_out,     # (1,)        log sum_k pi_k P(x | k) in the channels' own units
) noexcept nogil:
    """Returns SCORER_OK, or SCORER_NOT_FINITE; then nothing is written."""
    cdef double total, log_constant
    cdef int c
    if weigh(scorer, unit, unit + scorer.work, &total, &log_constant):
        return SCORER_NOT_FINITE
    for c in range(scorer.n_channels):
        log_constant -= scorer_weight(scorer, unit, c) * scorer.log_scales[c]
    if scorer.conditions != NULL:
        log_constant += unit[UNIT_LOG_JACOBIAN]
    log_likelihood_out[0] = log_constant + log(total)
    return SCORER_OK


cdef int novelty_of(
    const scorer_3_t* scorer,
    double* unit,                   # (n_unit,)       its scratch is used
    double* numbers_out,            # (n_modes + 1,)  mode probabilities, and novelty
) noexcept nogil:
    """`Unit.mode_probabilities` and `Unit.novelty`. Returns SCORER_OK, or SCORER_NOT_FINITE."""
    cdef double* misfits = unit + scorer.work + scorer.n_modes
    cdef double common, weight = 0.0, tail
    cdef int c, k, best = 0
    if scorer_probabilities(scorer, unit, numbers_out) != SCORER_OK:
        return SCORER_NOT_FINITE
    if scorer_log_densities(scorer, unit, unit + scorer.work, misfits, &common) != SCORER_OK:
        return SCORER_NOT_FINITE
    for k in range(scorer.n_modes):
        best = k if numbers_out[k] > numbers_out[best] else best
    for c in range(scorer.n_channels):
        weight += scorer_weight(scorer, unit, c)
    tail = upper_gamma(0.5 * weight, 0.5 * misfits[best]) if weight > 0 else 1.0
    numbers_out[scorer.n_modes] = tail if tail > 0 else 0.0
    return SCORER_OK


cdef double scorer_weight(const scorer_3_t* scorer, const double* unit, int channel) noexcept nogil:
    """n_lc, the number of the channel's readings; with forgetting the sum of their weights."""
    cdef const blocks_t* blocks = scorer.blocks
    cdef int lane = blocks.lane_of_channel[channel], block = lane // LANES, p = blocks.sizes[block]
    return unit[UNIT_STATE + blocks.state_offsets[block] + lane % LANES + LANES * (p * (p + 1) // 2 + p + 2)]


cdef int scorer_blame(const scorer_3_t* scorer, const double* unit) noexcept nogil:
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
    """A fitted model as constants in lanes; immutable. `cem.scoring.Scorer` is its public class.

    Parameters
    ----------
    parameters : cem.mixture.parameters.Parameters
    coordinates : cem.statistics.coordinates.Coordinates
    bases : sequence of bound bases, one per channel
    channels : sequence of str
    forgetting : float in (0, 1]
        lambda, per unit of time.
    conditions, of_units : Conditions, optional
        Reading conditions of the model, and the features of units for `parameters.membership`.
    """

    def __cinit__(self):
        self.bases = NULL

    def __init__(
        self, parameters, coordinates, bases, channels, double forgetting=1.0, conditions=None, of_units=None
    ):
        if self.layout is not None:
            raise ScorerError("a scorer cannot be changed; build another one")
        cdef int b, n_bases, n_channels = len(channels)
        cdef const double[::1] numbers
        laid = scorer_layout(parameters, coordinates, bases, channels, conditions, of_units)
        n_bases = len(laid.bases)
        self.bases = <basis_t*>malloc(n_bases * sizeof(basis_t))
        if self.bases == NULL:
            raise MemoryError("no memory for the bases of the model")
        for b in range(n_bases):
            basis, numbers = laid.bases[b], laid.numbers[b]
            self.bases[b].kind = basis.kind
            self.bases[b].size = basis.size
            self.bases[b].n_numbers = numbers.shape[0]
            self.bases[b].numbers = &numbers[0]
            if self.bases[b].kind >= 0 and basis_check(self.bases + b):
                raise ScorerError(
                    f"the basis of channel {channels[laid.first_channels[b]]!r} does not fit its kernel"
                )
        layout = _Blocks(laid.blocks)
        cdef const blocks_t* blocks = &(<Blocks>layout).blocks
        cdef const int[::1] basis_starts = laid.basis_starts
        cdef const double[::1] log_weights = laid.log_weights, log_scales = laid.log_scales
        self.arrays = (laid,)
        self.scorer.n_channels = n_channels
        self.scorer.n_modes = blocks.n_modes
        self.scorer.n_bases = n_bases
        self.scorer.n_custom = laid.n_custom
        self.scorer.n_phi = laid.n_phi
        self.scorer.log_forgetting = log(forgetting)
        self.scorer.bases = self.bases
        self.scorer.basis_starts = &basis_starts[0]
        self.scorer.log_weights = &log_weights[0]
        self.scorer.log_scales = &log_scales[0]
        self.scorer.blocks = blocks
        self.scorer.rows = UNIT_STATE + blocks.n_state
        self.scorer.sums = self.scorer.rows + blocks.n_row
        self.scorer.scratch = self.scorer.sums + blocks.n_sums
        self.scorer.phi = self.scorer.scratch + blocks.n_scratch
        self.scorer.x = self.scorer.phi + self.scorer.n_phi
        self.scorer.work = self.scorer.x + n_channels + 1
        self.scorer.n_unit = self.scorer.work + 2 * blocks.n_modes
        self.covariate_names = self.level_places = ()
        if laid.conditions is not None:
            self._lay_out_conditions(laid.conditions)
        self.channels = tuple(channels)
        self.linked = parameters.rank > 0
        self.channel_numbers = {name: c for c, name in enumerate(self.channels)}
        self.custom = tuple([basis for basis in laid.bases if basis.kind < 0])
        self.layout = layout

    cdef int _lay_out_conditions(self, laid) except -1:
        """The conditions of a `ConditionLayout`, and room for them in a unit's memory."""
        cdef scorer_3_t* scorer = &self.scorer
        cdef int n_covariates = len(laid.names)
        # One number more in each array: there is an address even where there are no numbers.
        places = np.concatenate([laid.columns, laid.unit_places, laid.membership_places, laid.wide.ravel(), [0]])
        numbers = np.concatenate([laid.membership, laid.log_regime_scales, [0.0]])
        cdef int[::1] places_view = places.astype(np.intc)
        cdef double[::1] numbers_view = numbers
        cdef const int* place = &places_view[0]
        self.arrays += (places_view, numbers_view, laid.conditions, laid.of_units)
        if laid.conditions is not None:
            scorer.conditions = <const conditions_1_t*>PyCapsule_GetPointer(laid.conditions.capsule(), CONDITIONS)
        if laid.of_units is not None:
            scorer.of_units = <const conditions_1_t*>PyCapsule_GetPointer(laid.of_units.capsule(), CONDITIONS)
        scorer.n_covariates = n_covariates
        scorer.n_unit_covariates = laid.n_unit_covariates
        scorer.columns = place
        scorer.unit_places = scorer.columns + <int>len(laid.columns)
        scorer.membership_places = scorer.unit_places + <int>len(laid.unit_places)
        scorer.n_wide = laid.wide.shape[1]
        scorer.wide_channels = scorer.membership_places + <int>len(laid.membership_places)
        scorer.wide_sources = scorer.wide_channels + scorer.n_wide
        scorer.wide_sizes = scorer.wide_sources + scorer.n_wide
        scorer.wide_starts = scorer.wide_sizes + scorer.n_wide
        scorer.membership = &numbers_view[0]
        if len(laid.log_regime_scales) > 0:
            scorer.log_regime_scales = scorer.membership + <int>len(laid.membership)
        scorer.unit_w = scorer.n_unit
        scorer.last_w = scorer.unit_w + scorer.n_unit_covariates
        scorer.w = scorer.last_w + n_covariates
        scorer.features = scorer.w + <int>laid.n_columns
        scorer.n_unit = scorer.features + <int>laid.n_features
        if laid.of_units is not None:
            scorer.own_weights = scorer.n_unit
            scorer.n_unit += scorer.n_modes
        self.covariate_names, self.level_places = laid.names, laid.level_places
        self.only_numbers = laid.level_places.count(None) == len(laid.level_places)
        return 0

    def __dealloc__(self):
        free(self.bases)

    cdef const scorer_3_t* pointer(self) except NULL:
        """For compiled callers; valid for as long as this object lives."""
        if self.linked:
            raise ScorerError(
                "the model's channels are linked, and compiled callers take them as independent; score in Python with "
                "model.scorer(), or fit with linking_rank=0"
            )
        if getattr(self, "_grouped", False):
            raise ScorerError(
                "the model carries the uncertainty of its parameters, and compiled callers would take the components "
                "of its modes for modes; score in Python with model.scorer(), or take model.without_uncertainty()"
            )
        if getattr(self, "_wanders", False):
            raise ScorerError(
                "the model's units wander about their curves, and compiled callers would enter readings that are not "
                "white; score in Python with model.scorer(), or fit with process=None"
            )
        return self.own_pointer()

    cdef const scorer_3_t* own_pointer(self) except NULL:
        """The pointer without a check for linked channels; statistics are the same in both cases."""
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
        """Bytes of one unit, independent of its number of readings."""
        return scorer_unit_bytes(self.own_pointer())

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
        """Values of the Custom bases, (n, n_custom); None if there are none."""
        if self.scorer.n_custom == 0:
            return None
        return np.ascontiguousarray(np.concatenate([basis(times) for basis in self.custom], axis=1), dtype=np.float64)

    def _score_rows(
        self, const double[::1] times, const double[:, ::1] values, const long long[::1] row_offsets,
        double[:, ::1] probabilities_out, int n_threads, w=None, unit_w=None, custom_rows=None,
    ):
        """Mode probabilities of each unit of a panel; returns (unit, row, status, channel) of the first that failed.

        times (N,), values (N, C) and row_offsets (L + 1,) are a panel's, checked by the caller; so are covariates
        w (N, m) and unit_w (L, m_u), None where the model has none. custom_rows (N, n_custom) are the values of the
        Custom bases, where the caller has them.
        """
        return self._over_units(
            times, values, row_offsets, probabilities_out, None, n_threads, w, unit_w, custom_rows
        )

    def _log_likelihood_rows(
        self, const double[::1] times, const double[:, ::1] values, const long long[::1] row_offsets,
        double[::1] log_likelihoods_out, w=None, unit_w=None,
    ):
        """As `_score_rows`: log sum_k pi_k P(x | k) of each unit, (L,), in the channels' own units."""
        return self._over_units(times, values, row_offsets, None, log_likelihoods_out, 1, w, unit_w, None)

    def _over_units(
        self, const double[::1] times, const double[:, ::1] values, const long long[::1] row_offsets,
        double[:, ::1] probabilities_out, double[::1] log_likelihoods_out, int n_threads,
        const double[:, ::1] w, const double[:, ::1] unit_w, custom_rows,
    ):
        cdef const scorer_3_t* scorer = self.own_pointer()
        cdef Py_ssize_t n_units = row_offsets.shape[0] - 1
        if custom_rows is None and times.shape[0]:
            custom_rows = self._custom_rows(np.asarray(times))
        cdef const double[:, ::1] custom_view = custom_rows
        cdef const double* custom = NULL
        cdef const double* covariates = NULL
        cdef const double* of_units = NULL
        cdef bint probabilities = probabilities_out is not None
        if custom_rows is not None:
            custom = &custom_view[0, 0]
        if n_units == 0:
            return None
        if w is not None and w.shape[0] > 0:
            covariates = &w[0, 0]
        if unit_w is not None:
            of_units = &unit_w[0, 0]

        def part(Py_ssize_t start, Py_ssize_t stop):
            cdef double* unit = blocks_allocate(scorer.n_unit)
            cdef Py_ssize_t l, i = 0
            cdef int status = SCORER_OK, channel = -1
            if unit == NULL:
                raise MemoryError("no memory for the state of a unit")
            with nogil:
                for l in range(start, stop):
                    i = row_offsets[l]
                    status = scorer_init_at(scorer, unit, row_of(of_units, l, scorer.n_unit_covariates))
                    if status != SCORER_OK:
                        break
                    for i in range(row_offsets[l], row_offsets[l + 1]):
                        status = scorer_update_at(
                            scorer, unit, times[i], &values[i, 0], row_of(covariates, i, scorer.n_covariates),
                            row_of(custom, i, scorer.n_custom),
                        )
                        if status != SCORER_OK:
                            break
                    if status == SCORER_OK and probabilities:
                        status = scorer_probabilities(scorer, unit, &probabilities_out[l, 0])
                    elif status == SCORER_OK:
                        status = scorer_log_likelihood(scorer, unit, &log_likelihoods_out[l])
                    if status != SCORER_OK:
                        channel = scorer_blame(scorer, unit)
                        break
                free(unit)
            return None if status == SCORER_OK else (l, i, status, channel)

        from cem.statistics.parts import in_threads  # a unit that takes its own readings needs none of it

        failures = [failure for failure in in_threads(part, n_units, n_threads) if failure is not None]
        return failures[0] if failures else None

    def _advance(
        self, const double[::1] times, const double[:, ::1] values, const int[::1] order, const long long[::1] offsets,
        double[:, ::1] states, double[:, ::1] probabilities_out, double[:, ::1] rows_out, int n_threads,
        const double[:, ::1] w=None, custom_rows=None,
    ):
        """Rows order[offsets[l]:offsets[l + 1]] of a batch enter running unit l, in this order.

        states (L, n) is changed in place: the state of each unit, its own covariates and those at its latest reading.
        Each of the others is None or written: probabilities_out (L, K), after all rows, and rows_out (N, K + 1), the
        mode probabilities and the novelty of a row's unit after the row. w (N, m) are covariates of readings, and
        custom_rows (N, n_custom) the values of the Custom bases, where the caller has them. Returns (unit, row, status)
        of the first that failed; its states are then good for nothing.
        """
        cdef const scorer_3_t* scorer = self.own_pointer()
        cdef Py_ssize_t n_units = offsets.shape[0] - 1, n_state = UNIT_STATE + scorer.blocks.n_state
        cdef int m_u = scorer.n_unit_covariates, m = scorer.n_covariates
        if custom_rows is None and times.shape[0]:
            custom_rows = self._custom_rows(np.asarray(times))
        cdef const double[:, ::1] custom_view = custom_rows
        cdef const double* custom = NULL
        cdef const double* covariates = NULL
        cdef bint probabilities = probabilities_out is not None, each_row = rows_out is not None
        if custom_rows is not None:
            custom = &custom_view[0, 0]
        if w is not None and w.shape[0] > 0:
            covariates = &w[0, 0]
        if n_units > 0 and states.shape[1] != n_state + m_u + m:
            raise ScorerError(f"a state has {n_state + m_u + m} numbers; {states.shape[1]} were found")

        def part(Py_ssize_t start, Py_ssize_t stop):
            cdef double* unit = blocks_allocate(scorer.n_unit)
            cdef double* state
            cdef Py_ssize_t l, i, row = -1, n_rows = order.shape[0]
            cdef int status = SCORER_OK
            if unit == NULL:
                raise MemoryError("no memory for the state of a unit")
            with nogil:
                scorer_init(scorer, unit)
                for l in range(start, stop):
                    state = &states[l, 0]
                    if m_u > 0:
                        status = scorer_init_at(scorer, unit, state + n_state)
                        if status != SCORER_OK:
                            break
                    memcpy(unit, state, n_state * sizeof(double))
                    if m > 0:
                        memcpy(unit + scorer.last_w, state + n_state + m_u, m * sizeof(double))
                    for i in range(offsets[l], offsets[l + 1]):
                        row = order[i]
                        if i + AHEAD < n_rows:
                            cem_fetch_row(&values[order[i + AHEAD], 0], scorer.n_channels)
                            cem_fetch_row(&times[order[i + AHEAD]], 1)
                        status = scorer_update_at(
                            scorer, unit, times[row], &values[row, 0], row_of(covariates, row, m),
                            row_of(custom, row, scorer.n_custom),
                        )
                        if status == SCORER_OK and each_row:
                            status = novelty_of(scorer, unit, &rows_out[row, 0])
                        if status != SCORER_OK:
                            break
                    if status == SCORER_OK and probabilities:
                        status = scorer_probabilities(scorer, unit, &probabilities_out[l, 0])
                    if status != SCORER_OK:
                        break
                    memcpy(state, unit, n_state * sizeof(double))
                    if m > 0:
                        memcpy(state + n_state + m_u, unit + scorer.last_w, m * sizeof(double))
                free(unit)
            return None if status == SCORER_OK else (l, row, status)

        from cem.statistics.parts import in_threads

        failures = [failure for failure in in_threads(part, n_units, n_threads) if failure is not None]
        return failures[0] if failures else None


def chi_square_tail(double x, double degrees_of_freedom):
    """P(X > x) for a chi-square variable X; 1 with no degrees of freedom.

    Parameters
    ----------
    x : float
    degrees_of_freedom : float
        Any number >= 0.
    """
    if x != x or not degrees_of_freedom >= 0:
        raise ValueError(f"chi_square_tail({x}, {degrees_of_freedom}): a number and degrees of freedom >= 0 are needed")
    if degrees_of_freedom == 0:
        return 1.0
    return upper_gamma(0.5 * degrees_of_freedom, 0.5 * x)
