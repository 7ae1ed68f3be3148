"""The layout of a packed scorer and of a unit's memory, and the statuses of the functions on them; see _scorer.pxd."""

from cem.basis._basis cimport basis_t
from cem.covariates._conditions cimport conditions_1_t
from cem.statistics._blocks cimport blocks_t

cdef enum:
    SCORER_OK = 0
    SCORER_TIME = 1             # the time is NaN or infinite
    SCORER_CUSTOM = 2           # a Custom basis: the caller must pass its values at the time
    SCORER_RANGE = 3            # a reading is infinite, or it or the basis is too large to be squared; see scorer_blame
    SCORER_CHANNEL = 4          # there is no such channel
    SCORER_NOT_FINITE = 5       # a log-density is not finite (never seen with finite parameters)
    SCORER_CONDITIONS = 6       # covariates are needed and were not given, or given to a model that has none
    SCORER_COVARIATE = 7        # a covariate is missing, infinite, too large, or no position of a level
    SCORER_REGIME = 8           # a reading of unknown regime, or of one without training readings

    UNIT_LAST_TIME = 0          # positions in a unit's memory
    UNIT_OBSERVATIONS = 1
    UNIT_LOG_JACOBIAN = 2       # ln |dx'/dx| of all readings, by the scales of their regimes
    UNIT_STATE = 8

# The number goes up with every change of the layout. It is part of the functions' signatures, which Cython compares
# when a compiled module is loaded. A module compiled against another layout is refused, never misread.
ctypedef struct scorer_3_t:
    int n_channels, n_modes, n_bases
    int n_custom                    # coefficients of all Custom bases; they come first in phi
    int n_phi                       # coefficients of all different bases
    double log_forgetting           # log lambda per unit of time, <= 0
    const basis_t* bases            # (n_bases,)    the different ones; kind -1: Custom
    const int* basis_starts         # (n_bases,)    where each begins in phi
    const double* log_weights       # (n_modes,)    log pi
    const double* log_scales        # (n_channels,) log s_c
    const blocks_t* blocks
    Py_ssize_t rows, sums, scratch, phi, x, work    # where each begins in a unit's memory, in doubles
    Py_ssize_t n_unit                               # doubles in a unit's memory
    const conditions_1_t* conditions    # of readings; NULL: the model has none
    const conditions_1_t* of_units      # features of units, on which pi depends; NULL: none
    int n_covariates                    # of each reading
    int n_unit_covariates
    const int* columns                  # (n_covariates,)       which column of the conditions each one is
    const int* unit_places              # (n_columns,)          which covariate of units a column is; -1: of readings
    const int* membership_places        # (n_columns of of_units,)  likewise
    const double* membership            # (n_modes, 1 + F)      gamma
    const double* log_regime_scales     # (n_regimes, n_channels + 1)  ln s, and their sum
    int n_wide                          # designs with by-mode columns: (phi(t), psi(w, t)), after all bases in phi
    const int* wide_channels            # (n_wide,)     a channel that has it
    const int* wide_sources             # (n_wide,)     where its basis begins in phi
    const int* wide_sizes               # (n_wide,)     coefficients of its basis
    const int* wide_starts              # (n_wide,)     where it begins in phi
    Py_ssize_t unit_w, last_w           # in a unit's memory: its own covariates, those at the latest reading
    Py_ssize_t w, features              # likewise: columns and features of the reading at hand
    Py_ssize_t own_weights              # likewise: ln pi_k(u); 0: all units have log_weights


ctypedef scorer_3_t scorer_t    # the name to use
