"""Kernels of the moves: two modes divide their units anew, or one begins again from a few."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.numerics._shapes cimport shape1, shape2


cdef enum:
    FIRST_MODE = 0   # positions in the draws
    SECOND_MODE = 1
    ONE_UNIT = 2
    OTHER_UNIT = 3
    N_DRAWS = 4

# Less of a unit than this is rounding.
cdef double ALMOST_NOTHING = 1e-9


cdef int neighbour(
    Py_ssize_t n_units,
    Py_ssize_t size,
    int n_modes,
    int mode,
    double draw,             #         from [0, 1)
    const double* rho,       # (n, K)
    const double* points,    # (n, P)
    double* centres,         # (K, P + 1) scratch
) noexcept nogil:
    """Another mode, with probability ∝ 1 / squared distance of the centres."""
    cdef Py_ssize_t l, i, width = size + 1
    cdef int k, last = -1
    cdef double share, step, total = 0.0, largest = 0.0
    memset(centres, 0, n_modes * width * sizeof(double))
    for l in range(n_units):
        for k in range(n_modes):
            share = rho[l * n_modes + k]
            centres[k * width + size] += share
            for i in range(size):
                centres[k * width + i] += share * points[l * size + i]
    for k in range(n_modes):
        share = max(centres[k * width + size], 1e-9)
        for i in range(size):
            centres[k * width + i] /= share
    for k in range(n_modes):
        step = 0.0
        for i in range(size):
            step += (centres[k * width + i] - centres[mode * width + i]) ** 2
        centres[k * width + size] = step
        largest = max(largest, step)
    for k in range(n_modes):
        # Coinciding centres are at distance 0.
        step = 1.0 / max(centres[k * width + size], 1e-9 * largest + 1e-300) if k != mode else 0.0
        centres[k * width + size] = step
        total += step
    draw *= total
    for k in range(n_modes):
        if k == mode:
            continue
        last = k
        draw -= centres[k * width + size]
        if draw < 0.0:
            break
    return last


cdef int move_shapes(
    str kernel,
    const double[:, ::1] responsibilities,   # (n, K)
    const double[:, ::1] coefficients,       # (n, P)
    str out_name,
    const double[:, ::1] out,                # (n, K)
    int fewest_units,
) except -1:
    """Shapes of what both moves read and write."""
    cdef Py_ssize_t n_units = responsibilities.shape[0], n_modes = responsibilities.shape[1]
    if n_units < fewest_units or n_modes < 2 or coefficients.shape[1] < 1:
        raise ValueError(
            f"{kernel}: {n_units} units, {n_modes} modes and {coefficients.shape[1]} coefficients; "
            f"at least {fewest_units}, 2 and 1 were expected"
        )
    shape2(kernel, "coefficients", &coefficients.shape[0], n_units, coefficients.shape[1])
    return shape2(kernel, out_name, &out.shape[0], n_units, n_modes)


def moved_responsibilities(
    const double[:, ::1] responsibilities,
    const double[:, ::1] coefficients,
    const double[::1] draws,
    double shared,
    double[:, ::1] moved_out,
):
    """Responsibilities with the units of two modes divided anew.

    Parameters
    ----------
    responsibilities : (n, K) array
        Of two modes or more.
    coefficients : (n, P) array
        Distances between units are measured in these.
    draws : (4,) array
        Numbers from [0, 1) that choose the first mode, the second and the two units.
    shared : float
        A unit may be drawn if the two modes have more than this share of it; if there are fewer than two, any may be.
    moved_out : (n, K) array
        The two modes' shares of a unit go to the mode whose drawn unit is nearer.

    Raises
    ------
    ValueError
        An array has the wrong shape.
    """
    cdef Py_ssize_t n_units = responsibilities.shape[0], size = coefficients.shape[1]
    cdef int n_modes = <int> responsibilities.shape[1]
    move_shapes("moved_responsibilities", responsibilities, coefficients, "moved_out", moved_out, 2)
    shape1("moved_responsibilities", "draws", &draws.shape[0], N_DRAWS)
    cdef Py_ssize_t n_scratch = max(n_modes, 1) * (size + 1) + size
    cdef double* scratch = <double*> malloc(n_scratch * sizeof(double))
    cdef Py_ssize_t* candidates = <Py_ssize_t*> malloc(n_units * sizeof(Py_ssize_t))
    if scratch == NULL or candidates == NULL:
        free(scratch)
        free(candidates)
        raise MemoryError
    cdef double* across = scratch + n_modes * (size + 1)  # (P,)  b - a
    cdef const double* rho = &responsibilities[0, 0]
    cdef const double* points = &coefficients[0, 0]
    cdef const double* a
    cdef const double* b
    cdef Py_ssize_t l, i, one, other, n_candidates = 0
    cdef int first, second
    cdef double together, middle = 0.0, projection
    with nogil:
        first = min(<int> (draws[FIRST_MODE] * n_modes), n_modes - 1)
        second = neighbour(n_units, size, n_modes, first, draws[SECOND_MODE], rho, points, scratch)
        for l in range(n_units):
            if rho[l * n_modes + first] + rho[l * n_modes + second] > shared:
                candidates[n_candidates] = l
                n_candidates += 1
        if n_candidates < 2:
            n_candidates = n_units
            for l in range(n_units):
                candidates[l] = l
        one = min(<Py_ssize_t> (draws[ONE_UNIT] * n_candidates), n_candidates - 1)
        other = min(<Py_ssize_t> (draws[OTHER_UNIT] * (n_candidates - 1)), n_candidates - 2)
        if other >= one:
            other += 1
        a = points + candidates[one] * size
        b = points + candidates[other] * size
        for i in range(size):
            across[i] = b[i] - a[i]
            middle += 0.5 * (b[i] * b[i] - a[i] * a[i])
        memcpy(&moved_out[0, 0], rho, n_units * n_modes * sizeof(double))
        for l in range(n_units):
            projection = 0.0
            for i in range(size):
                projection += points[l * size + i] * across[i]
            together = rho[l * n_modes + first] + rho[l * n_modes + second]
            moved_out[l, first] = together if projection < middle else 0.0  # ‖c − a‖² < ‖c − b‖²
            moved_out[l, second] = 0.0 if projection < middle else together
    free(scratch)
    free(candidates)


def regrown_responsibilities(
    const double[:, ::1] responsibilities,
    const double[:, ::1] coefficients,
    const long long[:, ::1] drawn,
    long long centre,
    int mode,
    double[:, ::1] regrown_out,
):
    """Responsibilities with one mode beginning again from a few units.

    Parameters
    ----------
    responsibilities : (n, K) array
        Of two modes or more.
    coefficients : (n, P) array
        Distances between units are measured in these.
    drawn : (m, j) array
        Units. Of each row the mode gets the one nearest to the centre.
    centre : int
        A unit.
    mode : int
        Which mode begins again.
    regrown_out : (n, K) array
        The other modes share what the mode had as they share each unit, or in proportion to their sizes where they had
        less of it than rounding.

    Raises
    ------
    ValueError
        An array has the wrong shape, or there is no such unit or mode.
    """
    cdef Py_ssize_t n_units = responsibilities.shape[0], size = coefficients.shape[1], n_each = drawn.shape[1]
    cdef int n_modes = <int> responsibilities.shape[1]
    move_shapes("regrown_responsibilities", responsibilities, coefficients, "regrown_out", regrown_out, 1)
    if not 0 <= mode < n_modes or not 0 <= centre < n_units:
        raise ValueError(f"regrown_responsibilities: mode {mode} of {n_modes}, unit {centre} of {n_units}")
    cdef Py_ssize_t l, i, j, nearest
    cdef double left, step, distance, least
    cdef int k
    for l in range(drawn.shape[0]):
        for j in range(n_each):
            if not 0 <= drawn[l, j] < n_units:
                raise ValueError(f"regrown_responsibilities: unit {drawn[l, j]} was drawn of {n_units}")
    cdef double* sizes = <double*> malloc(n_modes * sizeof(double))
    if sizes == NULL:
        raise MemoryError
    with nogil:
        left = 0.0
        for k in range(n_modes):
            sizes[k] = 0.0
        for l in range(n_units):
            for k in range(n_modes):
                sizes[k] += responsibilities[l, k]
        sizes[mode] = 0.0
        for k in range(n_modes):
            if k != mode:
                sizes[k] += ALMOST_NOTHING  # not all zero, if the mode had every unit
                left += sizes[k]
        for k in range(n_modes):
            sizes[k] /= left
        for l in range(n_units):
            left = 1.0 - responsibilities[l, mode]
            for k in range(n_modes):
                regrown_out[l, k] = sizes[k] if left < ALMOST_NOTHING else responsibilities[l, k] / left
            regrown_out[l, mode] = 0.0
        for l in range(drawn.shape[0]):
            nearest, least = 0, 0.0
            for j in range(n_each):
                distance = 0.0
                for i in range(size):
                    step = coefficients[drawn[l, j], i] - coefficients[centre, i]
                    distance += step * step
                if j == 0 or distance < least:
                    nearest, least = drawn[l, j], distance
            if n_each > 0:
                for k in range(n_modes):
                    regrown_out[nearest, k] = 0.0
                regrown_out[nearest, mode] = 1.0
    free(sizes)
