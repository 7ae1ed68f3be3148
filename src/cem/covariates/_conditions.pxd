"""Reading conditions of one reading, inline: regime, features, the map of its values, and rows of by-mode columns.

A module that cimports these compiles them into its own loops and imports nothing while it runs. It takes the struct
from `PackedConditions.capsule()`, whose name has the number of the layout, and keeps the packed object alive:

    capsule = packed.capsule()
    given = <const conditions_t*>PyCapsule_GetPointer(capsule, "cem.covariates.conditions_1")

Rows of bases are packed: phi + phi_starts[c] is the row of channel c.
"""

from libc.math cimport isfinite, isnan

cdef enum:
    CONDITIONS_OK = 0
    CONDITIONS_MISSING = -1         # a covariate is NaN
    CONDITIONS_INFINITE = -2        # a covariate is infinite
    CONDITIONS_LEVEL = -3           # no position of a level
    CONDITIONS_REGIME = -4          # beyond the reach of every regime, or in one without training readings
    CONDITIONS_RANGE = -5           # a covariate is too large for its features

    REGIMES_NONE = 0
    REGIMES_CENTRES = 1
    REGIMES_CUTS = 2
    REGIMES_LEVELS = 3

    FEATURE_POWER = 0               # numbers: see features.py
    FEATURE_SPLINE = 1
    FEATURE_LEVEL = 2
    FEATURE_NUMBERS = 9             # of each feature in `numbers`; the rest is 0

# A new layout gets a new number, here and in the capsule's name.
ctypedef struct conditions_1_t:
    int n_columns, n_features, n_channels, n_regimes, n_settings
    int kind                        # REGIMES_...
    int nearest                     # 1: a reading of unknown regime gets the nearest one
    const int* levels               # (n_columns,)      how many levels; 0: a number
    const int* settings             # (n_settings,)     columns that regimes depend on
    const int* known                # (n_regimes,)      1: it has training readings
    const double* origin            # (n_settings,)     settings are standardised as (w - origin) * precision
    const double* precision         # (n_settings,)
    const double* places            # (n_regimes, n_settings)   standardised centres
    const double* squared_reaches   # (n_regimes,)
    const double* squared_halves    # (n_regimes, n_regimes)    squares of half the distances between centres
    const double* squared_cores     # (n_regimes,)              no other centre is nearer within this square
    const double* cuts              # (n_regimes - 1,)
    const double* offsets           # (n_regimes, n_channels)   a
    const double* scales            # (n_regimes, n_channels)   s
    const double* inverse_scales    # (n_regimes, n_channels)   1 / s
    const int* kinds                # (n_features,)     FEATURE_...
    const int* sources              # (n_features,)     column of each
    const double* numbers           # (n_features, FEATURE_NUMBERS)
    const int* common_starts        # (n_channels + 1,) where each channel's common columns begin
    const int* common_features      # (n_common,)
    const int* common_functions     # (n_common,)       basis function; -1: none
    const double* coefficients      # (n_common,)       beta
    const int* mode_starts          # (n_channels + 1,) likewise of by-mode columns
    const int* mode_features        # (n_by_mode,)
    const int* mode_functions       # (n_by_mode,)
    const int* phi_starts           # (n_channels,)     of each channel's row in the packed rows of bases


ctypedef conditions_1_t conditions_t    # the name to use


cdef inline int conditions_check(const conditions_1_t* given, const double* w) noexcept nogil:
    """CONDITIONS_OK, or what is wrong with the first wrong one of the covariates w (n_columns,)."""
    cdef int j
    for j in range(given.n_columns):
        if not isfinite(w[j]):
            return CONDITIONS_MISSING if isnan(w[j]) else CONDITIONS_INFINITE
        if given.levels[j] > 0 and not (0 <= w[j] < given.levels[j] and w[j] == <int>w[j]):
            return CONDITIONS_LEVEL
    return CONDITIONS_OK


cdef inline int conditions_blame(const conditions_1_t* given, const double* w) noexcept nogil:
    """The first wrong covariate; -1 where each is right by itself."""
    cdef int j
    for j in range(given.n_columns):
        if not isfinite(w[j]) or (
            given.levels[j] > 0 and not (0 <= w[j] < given.levels[j] and w[j] == <int>w[j])
        ):
            return j
    return -1


cdef inline int nearest_centre(const conditions_1_t* given, const double* w) noexcept nogil:
    cdef const double* place = given.places
    cdef double square, difference, least = 0, next_least = 0
    cdef int g, s, found = 0, second = 0
    cdef bint within = False
    for g in range(given.n_regimes):        # most readings lie close to a centre: no other need be compared
        square = 0.0
        for s in range(given.n_settings):
            difference = (w[given.settings[s]] - given.origin[s]) * given.precision[s] - place[s]
            square += difference * difference
            if square > given.squared_cores[g]:
                break
        else:
            return g
        place += given.n_settings
    place = given.places
    for g in range(given.n_regimes):
        square = 0.0
        for s in range(given.n_settings):
            difference = (w[given.settings[s]] - given.origin[s]) * given.precision[s] - place[s]
            square += difference * difference
        if square <= given.squared_reaches[g]:
            within = True
        if g == 0 or square < least:
            next_least = least
            second = found
            least = square
            found = g
        elif g == 1 or square < next_least:
            next_least = square
            second = g
        place += given.n_settings
    if within or given.nearest or least <= given.squared_halves[found * given.n_regimes + second]:
        return found
    return CONDITIONS_REGIME


cdef inline int interval_of(const conditions_1_t* given, double w) noexcept nogil:
    """The interval that holds w; if it has no training readings, the nearest that has some, where that is allowed."""
    cdef int g = 0, below, above
    while g < given.n_regimes - 1 and w >= given.cuts[g]:
        g += 1
    if given.known[g]:
        return g
    if not given.nearest:
        return CONDITIONS_REGIME
    below = g
    while below >= 0 and not given.known[below]:
        below -= 1
    above = g
    while above < given.n_regimes and not given.known[above]:
        above += 1
    if below < 0:
        return above if above < given.n_regimes else CONDITIONS_REGIME
    if above == given.n_regimes:
        return below
    return below if w - given.cuts[below] <= given.cuts[above - 1] - w else above


cdef inline int conditions_regime(const conditions_1_t* given, const double* w) noexcept nogil:
    """The regime of a reading with covariates w, which `conditions_check` accepts: 0 .. n_regimes - 1, or
    CONDITIONS_REGIME; 0 where the model has no regimes."""
    cdef int level
    if given.kind == REGIMES_CENTRES:
        return nearest_centre(given, w)
    if given.kind == REGIMES_CUTS:
        return interval_of(given, w[given.settings[0]])
    if given.kind == REGIMES_LEVELS:
        level = <int>w[given.settings[0]]
        return level if given.known[level] else CONDITIONS_REGIME
    return 0


cdef inline double positive_part(double value) noexcept nogil:
    return value if value > 0 else 0.0


cdef inline double feature_of(int kind, const double* numbers, double w) noexcept nogil:
    """One feature; the operations of features.values_of in their order."""
    cdef double z, value, one, two
    cdef int _i
    if kind == FEATURE_LEVEL:
        return 1.0 if w == numbers[0] else 0.0
    z = (w - numbers[0]) * numbers[1]
    if kind == FEATURE_POWER:
        value = z
        for _i in range(1, <int>numbers[3]):
            value = value * z
        return value - numbers[2]
    one = z if z < numbers[5] else numbers[5]
    two = positive_part(one - numbers[4])
    one = positive_part(one - numbers[3])
    return (
        one * one * one * numbers[6] - two * two * two * numbers[7]
        + numbers[8] * positive_part(z - numbers[5]) - numbers[2]
    )


cdef inline int conditions_features(
    const conditions_1_t* given,
    const double* w,            # (n_columns,)      accepted by `conditions_check`
    double* features_out,       # (n_features,)
) noexcept nogil:
    """CONDITIONS_OK, or CONDITIONS_RANGE where one of them is not finite."""
    cdef int f
    for f in range(given.n_features):
        features_out[f] = feature_of(given.kinds[f], given.numbers + f * FEATURE_NUMBERS, w[given.sources[f]])
        if not isfinite(features_out[f]):
            return CONDITIONS_RANGE
    return CONDITIONS_OK


cdef inline double common_part(
    const conditions_1_t* given,
    int c,
    const double* features,     # (n_features,)
    const double* phi,          # packed rows of bases; NULL where no column is a product
) noexcept nogil:
    """psi' beta of channel c."""
    cdef double total = 0.0, value
    cdef int i, j
    for i in range(given.common_starts[c], given.common_starts[c + 1]):
        j = given.common_functions[i]
        value = features[given.common_features[i]] * given.coefficients[i]
        total += value if j < 0 else value * phi[given.phi_starts[c] + j]
    return total


cdef inline int conditions_adjust_in(
    const conditions_1_t* given,
    const double* w,            # (n_columns,)
    const double* phi,          # packed rows of bases; NULL where no column is a product
    double* features_out,       # (n_features,)
    double* x,                  # (n_channels,)     in: x; out: x' = (x - a) / s - psi' beta. NaN stays NaN
    int* regime_out,            # (1,)              0 where the model has no regimes
) noexcept nogil:
    """CONDITIONS_OK, or a negative status with x as it was."""
    cdef const double* offsets
    cdef const double* inverse
    cdef int c, regime = 0, status = conditions_check(given, w)
    if status != CONDITIONS_OK:
        return status
    if given.kind != REGIMES_NONE:
        regime = conditions_regime(given, w)
        if regime < 0:
            return regime
    regime_out[0] = regime
    status = conditions_features(given, w, features_out)
    if status != CONDITIONS_OK:
        return status
    if given.kind != REGIMES_NONE:
        offsets = given.offsets + regime * given.n_channels
        inverse = given.inverse_scales + regime * given.n_channels
        for c in range(given.n_channels):
            x[c] = (x[c] - offsets[c]) * inverse[c]
    if given.common_starts[given.n_channels] > 0:
        for c in range(given.n_channels):
            x[c] -= common_part(given, c, features_out, phi)
    return CONDITIONS_OK


cdef inline int conditions_adjust(
    const conditions_1_t* given,
    const double* w,            # (n_columns,)
    const double* phi,          # packed rows of bases; NULL where no column is a product
    double* features_out,       # (n_features,)
    double* x,                  # (n_channels,)     in: x; out: x'
) noexcept nogil:
    """`conditions_adjust_in` for callers that do not need the regime."""
    cdef int regime
    return conditions_adjust_in(given, w, phi, features_out, x, &regime)


cdef inline int conditions_restore(
    const conditions_1_t* given,
    const double* w,            # (n_columns,)
    const double* phi,          # packed rows of bases; NULL where no column is a product
    double* features_out,       # (n_features,)
    double* x,                  # (n_channels,)     in: x'; out: x = a + s (x' + psi' beta)
) noexcept nogil:
    """The inverse of `conditions_adjust`."""
    cdef int c, regime = 0, status = conditions_check(given, w)
    if status != CONDITIONS_OK:
        return status
    if given.kind != REGIMES_NONE:
        regime = conditions_regime(given, w)
        if regime < 0:
            return regime
    status = conditions_features(given, w, features_out)
    if status != CONDITIONS_OK:
        return status
    for c in range(given.n_channels):
        x[c] += common_part(given, c, features_out, phi)
        if given.kind != REGIMES_NONE:
            x[c] = given.offsets[regime * given.n_channels + c] + given.scales[regime * given.n_channels + c] * x[c]
    return CONDITIONS_OK


cdef inline int conditions_mode_columns(const conditions_1_t* given, int c) noexcept nogil:
    """How many by-mode columns channel c has."""
    return given.mode_starts[c + 1] - given.mode_starts[c]


cdef inline void conditions_mode_row(
    const conditions_1_t* given,
    int c,
    const double* features,     # (n_features,)     from `conditions_adjust` or `conditions_features`
    const double* phi,          # packed rows of bases; NULL where no column is a product
    double* row_out,            # (q,)
) noexcept nogil:
    """The row of channel c's by-mode columns."""
    cdef int i, j
    for i in range(given.mode_starts[c], given.mode_starts[c + 1]):
        j = given.mode_functions[i]
        row_out[0] = features[given.mode_features[i]]
        if j >= 0:
            row_out[0] *= phi[given.phi_starts[c] + j]
        row_out += 1
