"""Parameters of the mixture in the form that kernels take: arrays with matching shapes, checked once."""

import numpy as np

cimport cython
from libc.string cimport memcmp

from cem.numerics._buffers cimport FLOAT64, INT32, numbers_of
from cem.numerics._shapes cimport at_least_one, shape2, shape3


@cython.final
cdef class ParametersBundle:
    """Parameters as kernels take them; made and checked once, by `cem.mixture.parameters.Parameters.bundle`.

    The arrays are held, not copied.

    Parameters
    ----------
    weights, means, factors, noise_variances
        π (K,), μ (K, P), Λ (K, Σp²), σ² (K, C).
    sizes : (C,) array
        p_c.
    loadings : (K, P, r) array, optional
        Γ, of linked channels.
    fixed : (K, Q) array, optional
        β, of columns whose coefficients do not vary from unit to unit.

    Raises
    ------
    ValueError
        There is no mode, a channel has no coefficient, or an array's shape does not fit the others.
    """

    def __cinit__(self, weights, means, factors, noise_variances, sizes, loadings=None, fixed=None):
        cdef parameters_t* view = &self.view
        cdef Py_ssize_t[3] of_weights, of_means, of_factors, of_noise, of_loadings, of_sizes, of_fixed
        cdef int c
        self.weights = weights
        self.means = means
        self.factors = factors
        self.noise_variances = noise_variances
        self.loadings = loadings
        self.fixed = fixed
        self.sizes = sizes
        self.logarithms_at = NULL
        view.sizes = <const int*> numbers_of(sizes, INT32, 1, "parameters", "sizes", of_sizes)
        view.weights = <const double*> numbers_of(weights, FLOAT64, 1, "parameters", "weights", of_weights)
        view.means = <const double*> numbers_of(means, FLOAT64, 2, "parameters", "means", of_means)
        view.factors = <const double*> numbers_of(factors, FLOAT64, 2, "parameters", "factors", of_factors)
        view.noise_variances = <const double*> numbers_of(
            noise_variances, FLOAT64, 2, "parameters", "noise_variances", of_noise
        )
        cdef Py_ssize_t K = of_weights[0], C = of_sizes[0]
        at_least_one("parameters", "modes", K)
        at_least_one("parameters", "channels", C)
        view.P = view.P2 = 0
        view.largest = 1
        for c in range(C):
            if view.sizes[c] < 1:
                raise ValueError(f"parameters: sizes[{c}] is {view.sizes[c]}; a basis has at least one coefficient")
            view.P += view.sizes[c]
            view.P2 += view.sizes[c] * view.sizes[c]
            view.largest = max(view.largest, view.sizes[c])
        shape2("parameters", "means", of_means, K, view.P)
        shape2("parameters", "factors", of_factors, K, view.P2)
        shape2("parameters", "noise_variances", of_noise, K, C)
        view.n_modes = <int> K
        view.n_channels = <int> C
        view.rank = 0
        view.loadings = NULL
        if loadings is not None:
            view.loadings = <const double*> numbers_of(loadings, FLOAT64, 3, "parameters", "loadings", of_loadings)
            at_least_one("parameters", "factors that channels share", of_loadings[2])
            shape3("parameters", "loadings", of_loadings, K, view.P, of_loadings[2])
            view.rank = <int> of_loadings[2]
        view.Q = 0
        view.fixed = NULL
        if fixed is not None:
            view.fixed = <const double*> numbers_of(fixed, FLOAT64, 2, "parameters", "fixed", of_fixed)
            shape2("parameters", "fixed", of_fixed, K, of_fixed[1])
            view.Q = of_fixed[1]

    def __reduce__(self):
        raise TypeError("a ParametersBundle cannot leave its process: send the parameters, which make another")

    def __repr__(self):
        return f"ParametersBundle({self.view.n_modes} modes, {self.view.n_channels} channels, rank {self.view.rank})"

    cdef const double* log_weights(self) except NULL:
        """log π (K,), -inf where a mode has no weight; made on first use."""
        cdef Py_ssize_t[1] shape
        if self.logarithms_at == NULL:
            with np.errstate(divide="ignore"):
                made = np.log(self.weights)
            if self.logarithms_at == NULL:  # another thread may have made them, and read them already
                self.logarithms = made
                self.logarithms_at = <const double*> numbers_of(made, FLOAT64, 1, "parameters", "weights", shape)
        return self.logarithms_at

    cdef int require_sizes(self, str kernel, int n_channels, const int* sizes) except -1:
        """ValueError unless these parameters are of so many channels with bases of these sizes."""
        cdef int c
        if self.view.n_channels != n_channels or memcmp(self.view.sizes, sizes, n_channels * sizeof(int)) != 0:
            raise ValueError(
                f"{kernel}: the channels of the parameters have {np.asarray(self.sizes).tolist()} coefficients; "
                f"{[sizes[c] for c in range(n_channels)]} were expected"
            )
        return 0

    cdef int require_fixed(self, str kernel, Py_ssize_t n_columns) except -1:
        """ValueError unless these parameters have coefficients of so many fixed columns."""
        if self.view.Q != n_columns:
            raise ValueError(
                f"{kernel}: the parameters have coefficients of {self.view.Q} fixed columns; {n_columns} were expected"
            )
        return 0

    cdef int require_loadings(self, str kernel) except -1:
        """ValueError if channels are not linked."""
        if self.view.rank < 1:
            raise ValueError(f"{kernel}: parameters have no loadings; those of linked channels were expected")
        return 0
