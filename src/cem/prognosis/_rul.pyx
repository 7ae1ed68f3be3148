"""Streaming remaining life: a unit's square-root statistics anchored at its last reading, and ln P(x | k, r) from them.

The arithmetic of (10)-(12) is in _rul_level.h, that of (17) for linked channels in _linked_rul_level.h, both compiled
once for every instruction level; here are the Givens rotations that add a reading, and the drivers, which check
lengths and release the GIL. Needs only NumPy.
"""

import os

import numpy as np

from libc.math cimport isnan, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.numerics._small cimport append_row

from cem.errors import OptionError

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "_rul_kernel.h" nogil:
    const int RUL_WIDTH
    const int RUL_LARGEST_SIZE
    const int RUL_LARGEST_RANK
    const int RUL_CONSTANTS
    const int RUL_N_LEVELS
    ctypedef void (*rul_function)(
        int p, Py_ssize_t n_grid, int n_modes, const double* S, const double* R, const double* w,
        double rss, double n, const double* modes, double* total_out, double* mantissa_out, long long* exponent_out,
    ) noexcept nogil
    const rul_function* rul_levels
    ctypedef void (*linked_rul_function)(
        int n_channels, const int* sizes, int r, Py_ssize_t n_grid, int n_modes, const double* S,
        const long long* shift_starts, const double* R, const double* w, const double* rss, const double* n,
        const double* modes, const double* directions, Py_ssize_t n_squares, double* scratch, double* total_out,
        double* mantissa_out, long long* exponent_out, double* mean_out, double* variance_out,
    ) noexcept nogil
    const linked_rul_function* linked_rul_levels
    int cpu_has_level(int level) noexcept nogil
    long long rul_bias(int p) noexcept nogil
    void rul_finish(
        Py_ssize_t n, long long bias, const double* mantissa, const long long* exponent, double* total
    ) noexcept nogil

cdef extern from "_law_kernel.h" nogil:
    ctypedef struct normal_table_t:
        Py_ssize_t n
        double first, step, per_step
        const double* log_cdf
        const double* cdf
        Py_ssize_t n_guesses
        double first_root, per_root
        const double* guesses
    int lognormal_law(
        Py_ssize_t n_grid, Py_ssize_t padded, int n_modes, const double* densities, double temper,
        const double* log_weights, const double* log_lives, const double* locations, const double* own,
        const double* mean, const double* variance, double* masses_out, double* log_evidence_out,
    ) noexcept nogil
    double median_of(Py_ssize_t n_grid, const double* edges, const double* masses) noexcept nogil
    void scaled_knots(
        int n_medians, const double* log_medians, const double* centres, const double* log_spreads, double median,
        int n_knots, const double* knots, double* knots_out,
    ) noexcept nogil
    void recalibrated(
        const normal_table_t* table, int n_knots, const double* knots, const double* images, const double* slopes,
        Py_ssize_t n_grid, const double* masses, double* scratch, double* masses_out,
    ) noexcept nogil
    double score_at(
        const normal_table_t* table, Py_ssize_t n_grid, const double* edges, const double* masses, double outcome
    ) noexcept nogil

cdef extern from "_gate_kernel.h" nogil:
    ctypedef struct gate_t:
        Py_ssize_t n_channels, n_modes, n_grid
        double tolerance, strange
        const int* modes
        int n_knots
        const double* scores
        const double* knots
        const double* slopes
    void judge_unit(
        const gate_t* gate, const double* logs, const double* misfits, const double* counts, double* scratch,
        double* fit_out, double* channel_fit_out, unsigned char* left_out, unsigned char* unlike_out,
    ) noexcept nogil

WIDTH = RUL_WIDTH
LARGEST_SIZE = RUL_LARGEST_SIZE
LARGEST_RANK = RUL_LARGEST_RANK
LEVELS = tuple([name for i, name in enumerate(("baseline", "avx2", "avx512")[:RUL_N_LEVELS]) if cpu_has_level(i)])


def level_number(level=None):
    """Number of an instruction level: ``level``, else the one that CEM_INSTRUCTION_LEVEL names, else the best."""
    asked = level or os.environ.get("CEM_INSTRUCTION_LEVEL") or LEVELS[len(LEVELS) - 1]
    if asked not in LEVELS:
        raise OptionError(f"instruction level {asked!r} cannot run here; one of {', '.join(map(repr, LEVELS))} can")
    return LEVELS.index(asked)


def _check(name, Py_ssize_t found, Py_ssize_t expected):
    if found != expected:
        raise OptionError(f"{name} has {found} numbers; {expected} were expected")


cdef (Py_ssize_t, Py_ssize_t) _checked(
    const int[::1] sizes, const double[:, :, ::1] shifts, const int[::1] places, int n_rows,
    const int[::1] shift_starts, const double[:, ::1] triangles, const double[:, ::1] projections,
    const double[:, ::1] residual_norms, const double[:, ::1] counts, const double[::1] modes, int rank, int K,
    Py_ssize_t n_grid, int level,
) except *:
    """sum p and sum p^2 of the arguments that `candidate_log_densities` describes; OptionError if they do not fit."""
    cdef Py_ssize_t C = sizes.shape[0], L = counts.shape[0], n_given = places.shape[0], P = 0, P2 = 0, i, c
    cdef int p
    if not 0 <= level < len(LEVELS):
        raise OptionError(f"level is {level}; 0 to {len(LEVELS) - 1} were expected")
    if n_grid % RUL_WIDTH or n_grid == 0 or K == 0:
        raise OptionError(f"{n_grid} candidates; a multiple of {RUL_WIDTH} was expected, and a mode")
    if not 0 <= rank <= RUL_LARGEST_RANK:
        raise OptionError(f"rank is {rank}; 0 to {RUL_LARGEST_RANK} were expected")
    _check("shift_starts", shift_starts.shape[0], C)
    for c in range(C):
        p = sizes[c]
        if not 1 <= p <= RUL_LARGEST_SIZE:
            raise OptionError(f"channel {c} has {p} coefficients; 1 to {RUL_LARGEST_SIZE} were expected")
        P += p
        P2 += p * p
        if shift_starts[c] < 0 or shift_starts[c] + p * p > n_rows:
            raise OptionError(f"channel {c}: its shift matrices lie outside the array of them")
    for i in range(n_given):
        if not 0 <= places[i] < n_rows:
            raise OptionError(f"places[{i}] is {places[i]}; 0 to {n_rows - 1} were expected")
    for name, found, expected in (
        (
            "shifts",
            (shifts.shape[0], shifts.shape[1], shifts.shape[2]),
            (1 if shifts.shape[0] == 1 else L, n_given, n_grid),
        ),
        ("triangles", (triangles.shape[0], triangles.shape[1]), (L, P2)),
        ("projections", (projections.shape[0], projections.shape[1]), (L, P)),
        ("residual_norms", (residual_norms.shape[0], residual_norms.shape[1]), (L, C)),
        ("counts", (counts.shape[0], counts.shape[1]), (L, C)),
        ("modes", modes.shape[0], K * (RUL_CONSTANTS * C + (2 + 2 * rank) * P + P2)),
    ):
        if found != expected:
            raise OptionError(f"{name} has the shape {found}; {expected} was expected")
    return P, P2


cdef void _lay(const double[:, :, ::1] shifts, const int[::1] places, Py_ssize_t l, double* S_out) noexcept nogil:
    """S(r) of unit l, (n_rows, n_grid); entries that are not given stay as they are."""
    cdef Py_ssize_t n_grid = shifts.shape[2], i
    if l == 0 or shifts.shape[0] > 1:
        for i in range(places.shape[0]):
            memcpy(S_out + places[i] * n_grid, &shifts[l, i, 0], n_grid * sizeof(double))


def candidate_log_densities(
    const int[::1] sizes,               # (C,)
    const double[:, :, ::1] shifts,     # (1 or L, n, n_grid)  entries of S(r) that may differ from 0, of the different
                                        #                bases: common to all units, or each unit's own
    const int[::1] places,              # (n,)           which of the n_rows each is
    int n_rows,                         #                all entries, p^2 for each of the different bases
    const int[::1] shift_starts,        # (C,)           the row at which the channel's begin
    const double[:, ::1] triangles,     # (L, sum p^2)   R
    const double[:, ::1] projections,   # (L, sum p)     w
    const double[:, ::1] residual_norms,  # (L, C)
    const double[:, ::1] counts,        # (L, C)         0 = not observed
    const double[::1] modes,            # (K (3 C + (2 + 2 r) sum p + sum p^2),)  `mode_constants`, end to end
    int rank,                           #                r; 0 where channels are not linked
    const double[:, ::1] directions,    # (K, r)         gamma; (0, r) for none
    double[:, :, ::1] log_densities_out,  # (L, K, n_grid)
    double[:, :, :, ::1] shared_out,    # (2, L, K, n_grid)  mean and variance of gamma'f; (2, 0, 0, 0) for none
    int level,                          #                from `level_number`
):
    """ln P(x | k, r) of units, in the panel's units: model.md (11), or (17), with R S(r) in place of R."""
    cdef Py_ssize_t C = sizes.shape[0], L = counts.shape[0], n_grid = log_densities_out.shape[2]
    cdef Py_ssize_t n_cells, P, P2, at, i, l, c
    cdef int K = <int>log_densities_out.shape[1], p
    cdef long long bias
    cdef bint linked_lives = directions.shape[0] > 0
    cdef double* memory
    cdef double* S
    cdef double* mantissas
    cdef long long* exponents
    cdef double* scratch
    cdef double* totals
    P, P2 = _checked(
        sizes, shifts, places, n_rows, shift_starts, triangles, projections, residual_norms, counts, modes, rank, K,
        n_grid, level,
    )
    for name, found, expected in (
        ("directions", (directions.shape[0], directions.shape[1]), (K if linked_lives else 0, rank)),
        ("log_densities_out", log_densities_out.shape[0], L),
    ):
        if found != expected:
            raise OptionError(f"{name} has the shape {found}; {expected} was expected")
    if linked_lives and (
        rank == 0 or shared_out.shape[0] != 2 or shared_out.shape[1] != L or shared_out.shape[2] != K
        or shared_out.shape[3] != n_grid
    ):
        raise OptionError(f"shared_out does not hold two numbers for {L} units, {K} modes and {n_grid} candidates")
    if L == 0:
        return
    n_cells = K * n_grid
    memory = <double*> aligned_alloc(
        64, 8 * (n_rows * n_grid + 2 * n_cells + (RUL_WIDTH * (2 * P2 + (2 + rank) * P) if rank else 0))
    )
    cdef long long* first = <long long*> malloc(C * sizeof(long long))
    if memory == NULL or first == NULL:
        free(memory)
        free(first)
        raise MemoryError
    S = memory
    mantissas = S + n_rows * n_grid
    exponents = <long long*> (mantissas + n_cells)
    scratch = mantissas + 2 * n_cells
    with nogil:
        memset(S, 0, n_rows * n_grid * sizeof(double))
        for c in range(C):
            first[c] = shift_starts[c] * n_grid
        for l in range(L):
            _lay(shifts, places, l, S)
            totals = &log_densities_out[l, 0, 0]
            bias = 1023 * rank
            if rank:
                for c in range(C):
                    if counts[l, c] > 0:
                        bias += rul_bias(sizes[c])
                linked_rul_levels[level](
                    <int>C, &sizes[0], rank, n_grid, K, S, first, &triangles[l, 0], &projections[l, 0],
                    &residual_norms[l, 0], &counts[l, 0], &modes[0], &directions[0, 0] if linked_lives else NULL, P2,
                    scratch, totals, mantissas, exponents,
                    &shared_out[0, l, 0, 0] if linked_lives else NULL,
                    &shared_out[1, l, 0, 0] if linked_lives else NULL,
                )
            else:
                for i in range(n_cells):
                    totals[i] = 0.0
                    mantissas[i] = 1.0
                    exponents[i] = 0
                P = P2 = at = 0
                for c in range(C):
                    p = sizes[c]
                    if counts[l, c] > 0:
                        rul_levels[level](
                            p, n_grid, K, S + first[c], &triangles[l, P2], &projections[l, P], residual_norms[l, c],
                            counts[l, c], &modes[at], totals, mantissas, exponents,
                        )
                        bias += rul_bias(p)
                    P += p
                    P2 += p * p
                    at += K * (RUL_CONSTANTS + 2 * p + p * p)
            rul_finish(n_cells, bias, mantissas, exponents, totals)
    free(memory)
    free(first)


def channel_log_densities(
    const int[::1] sizes, const double[:, :, ::1] shifts, const int[::1] places, int n_rows,
    const int[::1] shift_starts, const double[:, ::1] triangles, const double[:, ::1] projections,
    const double[:, ::1] residual_norms, const double[:, ::1] counts,  # as for `candidate_log_densities`
    const double[::1] information,      # (C,)           kappa, by which readings count in densities
    const double[::1] modes,            # of channels that are not linked
    double[:, :, :, ::1] log_densities_out,  # (L, C, K, n_grid)
    double[:, :, :, ::1] misfits_out,   # (L, C, K, n_grid)
    int level,
):
    """ln P(x_c | k, r) of every channel of units on its own, and the quadratic form in it where kappa is 1.

    Both are 0 for a channel without readings.
    """
    cdef Py_ssize_t C = sizes.shape[0], L = counts.shape[0], n_grid = log_densities_out.shape[3]
    cdef Py_ssize_t P, P2, at, i, g, l, c, n_cells
    cdef int K = <int>log_densities_out.shape[2], k, p, step
    cdef double worth, root, n
    cdef double scaled[72]  # R and w of a channel: RUL_LARGEST_SIZE (RUL_LARGEST_SIZE + 1)
    cdef double* totals
    cdef double* own
    cdef const double* mode
    _checked(
        sizes, shifts, places, n_rows, shift_starts, triangles, projections, residual_norms, counts, modes, 0, K,
        n_grid, level,
    )
    for name, found, expected in (
        ("information", information.shape[0], C),
        ("log_densities_out", (log_densities_out.shape[0], log_densities_out.shape[1]), (L, C)),
        ("misfits_out", tuple([misfits_out.shape[i] for i in range(4)]), (L, C, K, n_grid)),
    ):
        if found != expected:
            raise OptionError(f"{name} has the shape {found}; {expected} was expected")
    if L == 0:
        return
    n_cells = K * n_grid
    cdef double* S = <double*> aligned_alloc(64, 8 * (n_rows * n_grid + 2 * n_cells))
    if S == NULL:
        raise MemoryError
    cdef double* mantissas = S + n_rows * n_grid
    cdef long long* exponents = <long long*> (mantissas + n_cells)
    with nogil:
        memset(S, 0, n_rows * n_grid * sizeof(double))
        for l in range(L):
            _lay(shifts, places, l, S)
            P = P2 = at = 0
            for c in range(C):
                p = sizes[c]
                n = counts[l, c]
                totals = &log_densities_out[l, c, 0, 0]
                own = &misfits_out[l, c, 0, 0]
                memset(totals, 0, n_cells * sizeof(double))
                memset(own, 0, n_cells * sizeof(double))
                # A channel whose readings count for less is gone through twice: misfits are those of all readings.
                for step in range(2 if n > 0 and information[c] != 1.0 else n > 0):
                    worth = information[c] if step else 1.0
                    root = sqrt(worth)
                    for i in range(p * p):
                        scaled[i] = root * triangles[l, P2 + i]
                    for i in range(p):
                        scaled[64 + i] = root * projections[l, P + i]
                    for i in range(n_cells):
                        totals[i] = 0.0
                        mantissas[i] = 1.0
                        exponents[i] = 0
                    rul_levels[level](
                        p, n_grid, K, S + shift_starts[c] * n_grid, scaled, scaled + 64, worth * residual_norms[l, c],
                        worth * n, &modes[at], totals, mantissas, exponents,
                    )
                    if step == 0:
                        for k in range(K):
                            mode = &modes[at + k * (RUL_CONSTANTS + 2 * p + p * p)]
                            for g in range(k * n_grid, (k + 1) * n_grid):
                                own[g] = -2.0 * totals[g] - n * mode[1] - mode[2]
                if n > 0:
                    rul_finish(n_cells, rul_bias(p), mantissas, exponents, totals)
                P += p
                P2 += p * p
                at += K * (RUL_CONSTANTS + 2 * p + p * p)
    free(S)


def judge(
    const double[:, :, :, ::1] log_densities,  # (L, C, K, G)  ln P(x_c | k, r); 0 for a channel without readings
    const double[:, :, :, ::1] misfits,  # (L, C, K, G)   the quadratic forms
    const double[:, ::1] counts,        # (L, C)
    double tolerance,                   #                -ln epsilon
    double strange,                     #                the score beyond which a fit is unlike those in training
    const int[::1] modes,               # (K,)           whose map of fits is taken
    const double[::1] scores,           # (m,)           normal scores of the maps' knots
    const double[:, :, ::1] knots,      # (n, 1 + C, m)  z of all channels together and of each; (0, 0, 0) for no maps
    const double[:, :, ::1] slopes,     # (n, 1 + C, m - 1)
    double[::1] fit_out,                # (L,)           probability of a stranger fit in training; NaN without maps
    double[:, ::1] channel_fit_out,     # (L, C)
    unsigned char[:, ::1] left_out,     # (L, C)
    unsigned char[::1] unlike_out,      # (L,)
):
    """Which channels of units take no part in their laws, and how well they and the units fit."""
    cdef Py_ssize_t C = log_densities.shape[1], L = log_densities.shape[0], l, m = scores.shape[0]
    cdef gate_t gate
    gate.n_channels, gate.n_modes, gate.n_grid = C, log_densities.shape[2], log_densities.shape[3]
    gate.tolerance, gate.strange = tolerance, strange
    gate.n_knots = <int>m if knots.shape[0] else 0
    for name, found, expected in (
        ("misfits", tuple([misfits.shape[i] for i in range(4)]), (L, C, gate.n_modes, gate.n_grid)),
        ("counts", (counts.shape[0], counts.shape[1]), (L, C)),
        ("modes", modes.shape[0], gate.n_modes),
        ("fit_out", fit_out.shape[0], L),
        ("channel_fit_out", (channel_fit_out.shape[0], channel_fit_out.shape[1]), (L, C)),
        ("left_out", (left_out.shape[0], left_out.shape[1]), (L, C)),
        ("unlike_out", unlike_out.shape[0], L),
    ):
        if found != expected:
            raise OptionError(f"{name} has the shape {found}; {expected} was expected")
    if gate.n_modes * gate.n_grid == 0:
        raise OptionError("no candidates or no modes; at least one of each was expected")
    if gate.n_knots:
        if m < 2 or (knots.shape[1], knots.shape[2], slopes.shape[0], slopes.shape[1], slopes.shape[2]) != (
            1 + C, m, knots.shape[0], 1 + C, m - 1
        ):
            raise OptionError(f"the maps of fits do not belong to {C} channels and {m} knots, at least 2 of them")
        for l in range(gate.n_modes):
            if not 0 <= modes[l] < knots.shape[0]:
                raise OptionError(f"modes[{l}] is {modes[l]}; 0 to {knots.shape[0] - 1} were expected")
        gate.modes, gate.scores = &modes[0], &scores[0]
        gate.knots, gate.slopes = &knots[0, 0, 0], &slopes[0, 0, 0]
    else:
        gate.modes = &modes[0]
    if L == 0 or C == 0:
        return
    cdef double* scratch = <double*> malloc((gate.n_modes * gate.n_grid + C) * sizeof(double))
    if scratch == NULL:
        raise MemoryError
    with nogil:
        for l in range(L):
            judge_unit(
                &gate, &log_densities[l, 0, 0, 0], &misfits[l, 0, 0, 0], &counts[l, 0], scratch, &fit_out[l],
                &channel_fit_out[l, 0], &left_out[l, 0], &unlike_out[l],
            )
    free(scratch)


def enter(
    const int[::1] sizes,           # (C,)
    const double[::1] moves,        # (sum p^2,)  S(delta), upper triangular: from the last anchor to this reading
    const double[::1] phi,          # (sum p,)    the bases at 0
    const double[::1] x,            # (C,)        NaN = missing
    double[::1] triangles,          # (sum p^2,)  R, changed in place; and so are the others
    double[::1] projections,        # (sum p,)
    double[::1] residual_norms,     # (C,)
    double[::1] counts,             # (C,)
):
    """Move the anchor, R <- R S(delta), and rotate one reading at 0 into the statistics; (9)."""
    cdef Py_ssize_t C = sizes.shape[0], P = 0, P2 = 0, c
    cdef int p, i, j, m
    cdef double value
    cdef double row[8]
    cdef double rest
    for c in range(C):
        if not 1 <= sizes[c] <= RUL_LARGEST_SIZE:
            raise OptionError(f"channel {c} has {sizes[c]} coefficients; 1 to {RUL_LARGEST_SIZE} were expected")
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
    for name, found, expected in (
        ("moves", moves.shape[0], P2), ("phi", phi.shape[0], P), ("x", x.shape[0], C),
        ("triangles", triangles.shape[0], P2), ("projections", projections.shape[0], P),
        ("residual_norms", residual_norms.shape[0], C), ("counts", counts.shape[0], C),
    ):
        _check(name, found, expected)
    P = P2 = 0
    for c in range(C):
        p = sizes[c]
        for i in range(p):
            for j in range(p - 1, i - 1, -1):  # from the right: entries to the left are still the old ones
                value = 0.0
                for m in range(i, j + 1):
                    value += triangles[P2 + i * p + m] * moves[P2 + m * p + j]
                triangles[P2 + i * p + j] = value
        if not isnan(x[c]):
            for i in range(p):
                row[i] = phi[P + i]
            rest = x[c]
            append_row(p, &triangles[P2], &projections[P], &residual_norms[c], row, rest)
            counts[c] += 1
        P += p
        P2 += p * p


def lognormal_laws(
    const double[:, :, :] densities,    # (L, K, G)      ln P(x | k, r)
    double temper,                      #                beta
    const double[::1] log_weights,      # (K,)           ln pi
    const double[:, ::1] log_lives,     # (L, G)         at which the candidates' cells begin
    const double[::1] locations,        # (K,)           mean of the log life
    const double[::1] own_variances,    # (K,)           what the readings do not tell of it
    const double[:, :, :] means,        # (L, K, G)      of gamma'f; (0, 0, 0) where lives are not linked
    const double[:, :, :] variances,    # (L, K, G)      of gamma'f; likewise
    double[:, :, ::1] masses_out,       # (L, G, K)      P(r, k | x)
    double[::1] log_evidence_out,       # (L,)
):
    """(18) for lives that are lognormal given the readings; -1, or the unit without a finite density."""
    cdef Py_ssize_t L = densities.shape[0], G = densities.shape[2], l, padded = densities.strides[1] // 8
    cdef int K = <int>densities.shape[1]
    cdef bint linked = means.shape[0] > 0
    for name, found, expected in (
        ("log_weights", log_weights.shape[0], K),
        ("log_lives", (log_lives.shape[0], log_lives.shape[1]), (L, G)),
        ("locations", locations.shape[0], K),
        ("own_variances", own_variances.shape[0], K),
        ("masses_out", (masses_out.shape[0], masses_out.shape[1], masses_out.shape[2]), (L, G, K)),
        ("log_evidence_out", log_evidence_out.shape[0], L),
    ):
        if found != expected:
            raise OptionError(f"{name} has the shape {found}; {expected} was expected")
    if linked and not (
        means.shape[0] == variances.shape[0] == L and means.shape[1] == variances.shape[1] == K
        and means.shape[2] == variances.shape[2] == G
        and means.strides[2] == variances.strides[2] == 8
        and means.strides[1] == variances.strides[1] == densities.strides[1]
    ):
        raise OptionError(f"means and variances are not laid out as the densities of {L} units, {K} modes, {G} cells")
    if densities.strides[2] != 8 or G == 0 or K == 0:
        raise OptionError("densities: candidates must lie side by side, and there must be one")
    with nogil:
        for l in range(L):
            if lognormal_law(
                G, padded, K, &densities[l, 0, 0], temper, &log_weights[0], &log_lives[l, 0], &locations[0],
                &own_variances[0], &means[l, 0, 0] if linked else NULL, &variances[l, 0, 0] if linked else NULL,
                &masses_out[l, 0, 0], &log_evidence_out[l],
            ):
                break
        else:
            l = -1
    return l


cdef class NormalTable:
    """ln Phi at evenly spaced points, used in both directions.

    Parameters
    ----------
    first, step : float
        The first point, and how far apart they are.
    log_cdf : (n,) array
        ln Phi there.
    first_root, root_step : float
    guesses : (m,) array
        Positions among the points at evenly spaced sqrt(-2 ln Phi).
    """

    cdef normal_table_t table
    cdef object kept

    def __init__(
        self, double first, double step, const double[::1] log_cdf, double first_root, double root_step,
        const double[::1] guesses,
    ):
        if log_cdf.shape[0] < 2 or guesses.shape[0] < 2:
            raise OptionError(f"{log_cdf.shape[0]} points and {guesses.shape[0]} guesses; at least 2 were expected")
        steps = np.diff(log_cdf)
        if not (steps.min() > 0 and steps.max() < 0.1):
            raise OptionError(f"ln Phi rises by {steps.min():g} to {steps.max():g}; by less than 0.1 was expected")
        cdf = np.exp(log_cdf)
        cdef const double[::1] chances = cdf
        self.kept = (log_cdf, cdf, guesses)
        self.table.cdf = &chances[0]
        self.table.per_step = 1.0 / step
        self.table.n = log_cdf.shape[0]
        self.table.first = first
        self.table.step = step
        self.table.log_cdf = &log_cdf[0]
        self.table.n_guesses = guesses.shape[0]
        self.table.first_root = first_root
        self.table.per_root = 1.0 / root_step
        self.table.guesses = &guesses[0]


def recalibrate(
    NormalTable normal not None,
    const double[::1] knots, const double[::1] images,     # (n,)  of the map h
    const double[:, ::1] scale,         # (3, m)         ln of predicted medians; centre and ln of spread there;
                                        #                (3, 0) if scores are not standardised before h
    const double[:, ::1] edges,         # (1 or L, G + 1)  of the cells; (0, 0) without a scale
    const double[:, ::1] masses,        # (L, G)
    double[:, ::1] masses_out,          # (L, G)
):
    """Phi(h((Phi^-1(F) - a) / b)) of the cells of laws, a and b by the median of each."""
    cdef Py_ssize_t l, G = masses.shape[1]
    cdef int n_knots = <int>knots.shape[0], n_medians = <int>scale.shape[1], i
    _check("scale", scale.shape[0], 3)
    if n_medians:
        if n_medians == 1:
            raise OptionError("scale has one median; none or at least two were expected")
        _check("edges", edges.shape[1], G + 1)
        _check("edges", edges.shape[0], 1 if edges.shape[0] == 1 else masses.shape[0])
    _check("images", images.shape[0], n_knots)
    _check("masses_out", masses_out.shape[0], masses.shape[0])
    _check("masses_out", masses_out.shape[1], G)
    if n_knots < 2 or G == 0:
        raise OptionError(f"{n_knots} knots and {G} cells; at least 2 and 1 were expected")
    cdef double* scratch = <double*> malloc((G + 1 + 2 * n_knots) * sizeof(double))
    cdef double* slopes = scratch + G + 1
    cdef double* own = slopes + n_knots
    if scratch == NULL:
        raise MemoryError
    with nogil:
        for i in range(n_knots):
            own[i] = knots[i]
        for l in range(masses.shape[0]):
            if n_medians:
                scaled_knots(
                    n_medians, &scale[0, 0], &scale[1, 0], &scale[2, 0],
                    median_of(G, &edges[l if edges.shape[0] > 1 else 0, 0], &masses[l, 0]), n_knots, &knots[0], own,
                )
            if n_medians or l == 0:
                for i in range(n_knots - 1):
                    slopes[i] = (images[i + 1] - images[i]) / (own[i + 1] - own[i])
            recalibrated(
                &normal.table, n_knots, own, &images[0], slopes, G, &masses[l, 0], scratch, &masses_out[l, 0],
            )
    free(scratch)


def scores_at(
    NormalTable normal not None,
    const double[:, ::1] edges,         # (1 or L, G + 1)
    const double[:, ::1] masses,        # (L, G)
    const double[::1] outcomes,         # (L,)
    double[::1] scores_out,             # (L,)
):
    """Phi^-1 of laws at outcomes, from the smaller tail."""
    cdef Py_ssize_t l, L = masses.shape[0], G = masses.shape[1]
    _check("edges", edges.shape[1], G + 1)
    _check("edges", edges.shape[0], 1 if edges.shape[0] == 1 else L)
    _check("outcomes", outcomes.shape[0], L)
    _check("scores_out", scores_out.shape[0], L)
    with nogil:
        for l in range(L):
            scores_out[l] = score_at(
                &normal.table, G, &edges[l if edges.shape[0] > 1 else 0, 0], &masses[l, 0], outcomes[l]
            )
