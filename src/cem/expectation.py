"""The E step over a panel's sufficient statistics: responsibilities and the additive sums (14) of model.md."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cem import _core, _lanes, _shared
from cem.designs import shared_designs
from cem.errors import FitError, KernelFailure, OptionError
from cem.parameters import Parameters, layout_of
from cem.statistics import SufficientStatistics

__all__ = ["Expectation", "ExpectedStatistics"]

FloatArray = NDArray[np.float64]

# A thread is worth its start for about this many chunks, which are of a tenth of a millisecond each.
_CHUNKS_PER_THREAD = 4

# Units a design, on average, from which factorising once per design is the fastest way (benchmarks/shared_designs.py):
# against the lanes, and for bases that are too large for these, against LAPACK for every unit.
_UNITS_PER_DESIGN = 512
_UNITS_PER_LARGE_DESIGN = 8


@dataclass(frozen=True, eq=False)
class ExpectedStatistics:
    """The sums (14) over some units; those of disjoint sets of units add up.

    Parameters
    ----------
    sums : ndarray
        ℓ, N_k, N_kc, D_kc, Q_kc, E_kc, n̄_kc, one after the other.
    n_modes : int
        K.
    sizes : tuple of int
        p_c.
    n_units : int
        How many units were added up.
    """

    sums: FloatArray
    n_modes: int
    sizes: tuple[int, ...]
    n_units: int

    def __add__(self, other: ExpectedStatistics) -> ExpectedStatistics:
        if (self.n_modes, self.sizes) != (other.n_modes, other.sizes):
            raise ValueError("expected statistics of different models do not add up")
        return ExpectedStatistics(self.sums + other.sums, self.n_modes, self.sizes, self.n_units + other.n_units)

    def _part(self, index: int) -> FloatArray:
        """Part `index` of the sums, one row a mode."""
        layout, K = layout_of(self.sizes), self.n_modes
        C = layout.n_channels
        widths = [1, C, int(layout.mean_offsets[-1]), int(layout.factor_offsets[-1]), C, C]
        start = 1 + K * sum(widths[:index])
        return self.sums[start : start + K * widths[index]].reshape(K, widths[index])

    @property
    def log_likelihood(self) -> float:
        """ℓ in internal coordinates."""
        return float(self.sums[0])

    @property
    def mode_counts(self) -> FloatArray:
        """N_k = Σ ρ̂, shape (K,)."""
        return self._part(0)[:, 0]

    @property
    def channel_counts(self) -> FloatArray:
        """N_kc, shape (K, C)."""
        return self._part(1)

    @property
    def first_moments(self) -> FloatArray:
        """D_kc = Σ ρ̂ E d, packed, shape (K, P)."""
        return self._part(2)

    @property
    def second_moments(self) -> FloatArray:
        """Q_kc = Σ ρ̂ (A⁻¹ + E d E dᵀ), packed, shape (K, Σ p_c²)."""
        return self._part(3)

    @property
    def noise_moments(self) -> FloatArray:
        """E_kc = Σ ρ̂ E‖x − ΦT‖² / σ², shape (K, C)."""
        return self._part(4)

    @property
    def observation_counts(self) -> FloatArray:
        """n̄_kc = Σ ρ̂ n_lc, shape (K, C)."""
        return self._part(5)


class _Kernel(Protocol):
    """One way to do the E step over the statistics it was made for."""

    name: str

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        """Bounds of the chunks that a pass is cut into, whatever the number of threads."""

    def work(
        self,
        bounds: NDArray[np.int64],
        claimed: NDArray[np.int64],
        log_weights: FloatArray,
        parameters: Parameters,
        inverse_temperature: float,
        given: bool,
        responsibilities: FloatArray,
        sums: FloatArray,
    ) -> None:
        """Do chunks that no other thread has claimed, until there are none; row i of `sums` is chunk i's."""


class _LapackKernel:
    """Units one by one, their factorisations and solves in LAPACK: any size of basis."""

    name = "lapack"

    def __init__(self, statistics: SufficientStatistics) -> None:
        self._statistics = statistics
        self._sizes = np.asarray(statistics.sizes, dtype=np.int32)

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        n_units = self._statistics.n_units
        step = min(max(n_units // 64, 256), 16384)
        return np.array([*range(0, n_units, step), n_units], dtype=np.int64)

    def work(
        self,
        bounds: NDArray[np.int64],
        claimed: NDArray[np.int64],
        log_weights: FloatArray,
        parameters: Parameters,
        inverse_temperature: float,
        given: bool,
        responsibilities: FloatArray,
        sums: FloatArray,
    ) -> None:
        statistics = self._statistics
        while (chunk := _lanes.claim(claimed)) < len(sums):
            _core.expectation(
                statistics.factors,
                statistics.factor_offsets,
                statistics.projections,
                statistics.residual_norms,
                statistics.counts,
                statistics.known_modes,
                self._sizes,
                log_weights,
                parameters.means,
                parameters.factors,
                parameters.noise_variances,
                inverse_temperature,
                given,
                bounds[chunk],
                bounds[chunk + 1],
                responsibilities,
                sums[chunk],
            )


class _LanesKernel:
    """Units side by side in SIMD registers: bases of few coefficients."""

    def __init__(self, statistics: SufficientStatistics) -> None:
        self._pack = _lanes.pack(
            statistics.factors,
            statistics.factor_offsets,
            statistics.projections,
            statistics.residual_norms,
            statistics.counts,
            statistics.known_modes,
            np.asarray(statistics.sizes, dtype=np.int32),
        )
        self.name = f"lanes:{self._pack.level}"

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        return self._pack.chunks(n_modes)

    def work(
        self,
        bounds: NDArray[np.int64],
        claimed: NDArray[np.int64],
        log_weights: FloatArray,
        parameters: Parameters,
        inverse_temperature: float,
        given: bool,
        responsibilities: FloatArray,
        sums: FloatArray,
    ) -> None:
        _lanes.expectation_chunks(
            self._pack,
            log_weights,
            parameters.means,
            parameters.factors,
            parameters.noise_variances,
            inverse_temperature,
            given,
            bounds,
            claimed,
            responsibilities,
            sums,
        )

    def log_densities(self, parameters: Parameters) -> FloatArray:
        """ln P(x_l | k), shape (L, K): the log-likelihoods of one mode after the other."""
        result = np.empty((parameters.n_modes, self._pack.n_units))
        for k in range(parameters.n_modes):
            one = slice(k, k + 1)
            _lanes.expectation(
                self._pack,
                np.zeros(1),
                parameters.means[one],
                parameters.factors[one],
                parameters.noise_variances[one],
                log_likelihoods_out=result[k],
            )
        return result.T


class _SharedKernel:
    """Designs factorised once in LAPACK, their units in level-3 BLAS: many units with the same observation times."""

    def __init__(self, statistics: SufficientStatistics, designs: NDArray[np.int64]) -> None:
        self._pack = _shared.pack(
            statistics.factors,
            statistics.factor_offsets,
            statistics.projections,
            statistics.residual_norms,
            statistics.counts,
            statistics.known_modes,
            np.asarray(statistics.sizes, dtype=np.int32),
            designs,
        )
        self.name = f"shared:{self._pack.level}"

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        return self._pack.chunks()

    def work(
        self,
        bounds: NDArray[np.int64],
        claimed: NDArray[np.int64],
        log_weights: FloatArray,
        parameters: Parameters,
        inverse_temperature: float,
        given: bool,
        responsibilities: FloatArray,
        sums: FloatArray,
    ) -> None:
        _shared.expectation_chunks(
            self._pack,
            log_weights,
            parameters.means,
            parameters.factors,
            parameters.noise_variances,
            inverse_temperature,
            given,
            bounds,
            claimed,
            responsibilities,
            sums,
        )

    def log_densities(self, parameters: Parameters) -> FloatArray:
        """ln P(x_l | k), shape (L, K): the log-likelihoods of one mode after the other."""
        result = np.empty((parameters.n_modes, self._pack.n_units))
        bounds, even = self._pack.chunks(), np.zeros(1)
        sums = np.empty((len(bounds) - 1, _core.n_sums(1, np.asarray(parameters.sizes, dtype=np.int32))))
        for k in range(parameters.n_modes):
            one = slice(k, k + 1)
            _shared.expectation_chunks(
                self._pack,
                even,
                parameters.means[one],
                parameters.factors[one],
                parameters.noise_variances[one],
                1.0,
                False,
                bounds,
                np.zeros(1, dtype=np.int64),
                np.empty((self._pack.n_units, 1)),
                sums,
                result[k],
            )
        return result.T


def _fastest_kernel(statistics: SufficientStatistics) -> _Kernel:
    """The kernel for a fleet: what its units share, and the size of its bases, decide."""
    small = max(statistics.sizes) <= _lanes.LARGEST_SIZE
    designs = shared_designs(statistics, _UNITS_PER_DESIGN if small else _UNITS_PER_LARGE_DESIGN)
    if designs is not None:
        return _SharedKernel(statistics, designs)
    return _LanesKernel(statistics) if small else _LapackKernel(statistics)


class Expectation:
    """The E step of one panel, ready to be evaluated at any parameters.

    Units are cut into fixed chunks, which threads take one after the other; the sums of the chunks are added in their
    order: the same bits for any number of threads.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the panel.
    kernel : {"auto", "lapack"}
        "lapack" factorises unit by unit. "auto" factorises once per design where many units share each design, takes
        SIMD lanes where not and every basis has 8 coefficients or fewer, and else LAPACK.
    n_jobs : int
        Threads.

    Attributes
    ----------
    kernel : str
        The kernel that runs: "lapack", or "shared" or "lanes" with the instruction level.

    Raises
    ------
    OptionError
        The kernel is not known, or the instruction level asked for is not there.
    """

    def __init__(
        self, statistics: SufficientStatistics, *, kernel: Literal["auto", "lapack"] = "auto", n_jobs: int = 1
    ) -> None:
        if kernel not in ("auto", "lapack"):
            raise OptionError(f"kernel={kernel!r}: 'auto' or 'lapack' was expected")
        self.statistics = statistics
        self.n_jobs = n_jobs
        self._pool: ThreadPoolExecutor | None = None
        self._pool_is_taken = threading.Lock()
        self._kernel_option: Literal["auto", "lapack"] = kernel
        self._kernel: _Kernel = _fastest_kernel(statistics) if kernel == "auto" else _LapackKernel(statistics)

    @property
    def kernel(self) -> str:
        return self._kernel.name

    def unlabelled(self) -> Expectation:
        """The same E step with no unit's mode known."""
        known = self.statistics.known_modes
        if not (known >= 0).any():
            return self
        statistics = self.statistics.with_known_modes(np.full_like(known, -1))
        return Expectation(statistics, kernel=self._kernel_option, n_jobs=self.n_jobs)

    def _named(self, failure: KernelFailure) -> FitError:
        """A kernel's failure in the user's terms."""
        where = f"unit {self.statistics.units[failure.unit]!r}"
        if failure.mode >= 0:
            where += f", mode {failure.mode}"
        if failure.channel >= 0:
            where += f", channel {self.statistics.channels[failure.channel]!r}"
        return FitError(
            f"the likelihood is not finite ({where}): the parameters are too far from these readings for floating "
            "point; look at the unit's readings, or raise the channel's noise_floor"
        )

    def n_chunks(self, n_modes: int) -> int:
        """How many parts of a pass are each worth a thread of their own."""
        return max(1, (len(self._kernel.bounds(n_modes)) - 1) // _CHUNKS_PER_THREAD)

    def _share(self, work: Callable[[NDArray[np.int64]], None], n_threads: int) -> None:
        """Have threads, this one among them, do all chunks.

        Parameters
        ----------
        work : callable
            Does chunks that no thread has claimed, until there are none.
        n_threads : int
            At most. Where another call has the helpers already, as starts side by side do, this thread works alone.
        """
        claimed = np.zeros(1, dtype=np.int64)
        try:
            if n_threads < 2 or not self._pool_is_taken.acquire(blocking=False):
                work(claimed)
                return
            try:
                if self._pool is None:  # kept: starting threads costs as much as a pass over a small fleet
                    self._pool = ThreadPoolExecutor(self.n_jobs - 1)
                helpers = [self._pool.submit(work, claimed) for _ in range(n_threads - 1)]
                try:
                    work(claimed)
                finally:
                    failures = [helper.exception() for helper in helpers]  # waits for them
            finally:
                self._pool_is_taken.release()
            for failure in failures:
                if failure is not None:
                    raise failure
        except KernelFailure as failure:
            # Which failure came first depends on the threads; in one thread it is the same every time.
            try:
                work(np.zeros(1, dtype=np.int64))
            except KernelFailure as first:
                failure = first
            raise self._named(failure) from failure

    def __call__(
        self,
        parameters: Parameters,
        *,
        responsibilities: FloatArray | None = None,
        inverse_temperature: float = 1.0,
    ) -> tuple[ExpectedStatistics, FloatArray]:
        """Evaluate (10)–(14).

        Parameters
        ----------
        parameters : Parameters
            In the internal coordinates of the statistics.
        responsibilities : ndarray of shape (L, K), optional
            Take these instead of (3).
        inverse_temperature : float
            β in ρ̂ ∝ (π P)^β; 1 is the E step.

        Returns
        -------
        expected : ExpectedStatistics
            The sums; their log-likelihood is that of `parameters`.
        responsibilities : ndarray of shape (L, K)
            ρ̂.

        Raises
        ------
        FitError
            A quantity is not finite; names unit, mode and channel.
        """
        n_modes, n_units, sizes = parameters.n_modes, self.statistics.n_units, self.statistics.sizes
        given = responsibilities is not None
        rho = np.empty((n_units, n_modes)) if responsibilities is None else np.ascontiguousarray(responsibilities)
        with np.errstate(divide="ignore"):
            log_weights = np.log(parameters.weights)
        n_sums = _core.n_sums(n_modes, np.asarray(sizes, dtype=np.int32))

        bounds = self._kernel.bounds(n_modes)
        sums = np.empty((len(bounds) - 1, n_sums))

        def work(claimed: NDArray[np.int64]) -> None:
            self._kernel.work(bounds, claimed, log_weights, parameters, inverse_temperature, given, rho, sums)

        self._share(work, min(self.n_jobs, self.n_chunks(n_modes)))
        # Added in the order of the chunks, whichever thread did them.
        return ExpectedStatistics(sums.sum(axis=0), n_modes, sizes, n_units), rho

    def log_densities(self, parameters: Parameters) -> FloatArray:
        """ln P(x_l | k) of every unit under each mode, internal coordinates; no unit's mode may be known.

        Parameters
        ----------
        parameters : Parameters
            In the internal coordinates of the statistics.

        Returns
        -------
        ndarray of shape (L, K)

        Raises
        ------
        FitError
            A density is not finite; names unit, mode and channel.
        """
        # These know a mode by its channels alone; a mixture that says more of a mode goes the general way.
        if isinstance(self._kernel, (_LanesKernel, _SharedKernel)) and not getattr(parameters, "rank", 0):
            try:
                return self._kernel.log_densities(parameters)
            except KernelFailure as failure:
                raise self._named(failure) from failure
        from cem.prediction import log_joint

        even = replace(parameters, weights=np.full(parameters.n_modes, 1.0 / parameters.n_modes))
        return log_joint(self.statistics, even) + np.log(parameters.n_modes)
