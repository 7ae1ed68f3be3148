"""The kernels for a pass over the units: LAPACK, SIMD lanes, shared designs, linked channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cem import _core
from cem.em.kernels import _lanes, _linked_lanes, _shared
from cem.errors import KernelFailure
from cem.mixture import _linked
from cem.mixture._bundle import ParametersBundle
from cem.mixture.parameters import Parameters
from cem.statistics.designs import shared_designs
from cem.statistics.sufficient import SufficientStatistics

__all__ = [
    "Kernel",
    "LanesKernel",
    "LapackKernel",
    "LinkedKernel",
    "LinkedLanesKernel",
    "Pass",
    "SharedKernel",
    "fastest_kernel",
    "linked_kernel",
]

FloatArray = NDArray[np.float64]

# From this mean number of units per design on, factorising once per design is fastest (benchmarks/shared_designs.py):
# against the lanes, and, for bases that are too large for lanes, against LAPACK for every unit.
_UNITS_PER_DESIGN = 512
_UNITS_PER_LARGE_DESIGN = 8


@dataclass(frozen=True, eq=False)
class Pass:
    """The inputs and outputs of a pass.

    Parameters
    ----------
    parameters : ParametersBundle
        In the internal coordinates of the statistics.
    inverse_temperature : float
        β in ρ̂ ∝ (π P)^β.
    given : bool
        Whether `responsibilities` are an input.
    bounds : ndarray of shape (n_chunks + 1,), int64
        Units of chunk i are ``bounds[i]:bounds[i + 1]``.
    responsibilities : ndarray of shape (L, K)
        ρ̂; in or out.
    sums : ndarray of shape (n_chunks, n_sums)
        Out: the sums (14) of each chunk.
    log_weights : ndarray of shape (L, K), optional
        In place of log π, if something besides readings informs a unit's mode.
    fixed_sums : ndarray of shape (n_chunks, n_fixed_sums), optional
        Out: the sums (23) of each chunk, if there are fixed columns.
    """

    parameters: ParametersBundle
    inverse_temperature: float
    given: bool
    bounds: NDArray[np.int64]
    responsibilities: FloatArray
    sums: FloatArray
    log_weights: FloatArray | None = None
    fixed_sums: FloatArray | None = None

    def of_chunk(self, chunk: int) -> tuple[FloatArray, FloatArray | None]:
        """Where the sums (14) and (23) of a chunk go."""
        return self.sums[chunk], None if self.fixed_sums is None else self.fixed_sums[chunk]


class Kernel(Protocol):
    """One implementation of the E step, for the statistics it was made for."""

    name: str

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        """Bounds of the chunks of a pass, whatever the number of threads."""

    def work(self, task: Pass, claimed: NDArray[np.int64]) -> None:
        """Do unclaimed chunks until there are none; row i of `task.sums` belongs to chunk i."""


class LapackKernel:
    """Units one by one, factorised and solved in LAPACK: bases of any size."""

    name = "lapack"

    def __init__(self, statistics: SufficientStatistics) -> None:
        self._statistics, self._bundle = statistics, statistics.bundle

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        n_units = self._statistics.n_units
        step = min(max(n_units // 64, 256), 16384)
        return np.array([*range(0, n_units, step), n_units], dtype=np.int64)

    def work(self, task: Pass, claimed: NDArray[np.int64]) -> None:
        while (chunk := _lanes.claim(claimed)) < len(task.sums):
            sums, fixed_sums = task.of_chunk(chunk)
            _core.expectation(
                self._bundle,
                task.parameters,
                task.inverse_temperature,
                task.given,
                task.bounds[chunk],
                task.bounds[chunk + 1],
                task.responsibilities,
                sums,
                task.log_weights,
                fixed_sums,
            )


class LinkedKernel:
    """Units one by one, with channels combined by (17)."""

    name = "linked"

    def __init__(self, statistics: SufficientStatistics) -> None:
        self._statistics, self._bundle = statistics, statistics.bundle

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        n_units = self._statistics.n_units
        return np.array([*range(0, n_units, min(max(n_units // 64, 64), 4096)), n_units], dtype=np.int64)

    def work(self, task: Pass, claimed: NDArray[np.int64]) -> None:
        while (chunk := _lanes.claim(claimed)) < len(task.sums):
            self.expect(task, int(task.bounds[chunk]), int(task.bounds[chunk + 1]), *task.of_chunk(chunk))

    def expect(self, task: Pass, first: int, last: int, sums: FloatArray, fixed_sums: FloatArray | None = None) -> None:
        """The sums over units ``first:last``."""
        _linked.expectation(
            self._bundle,
            task.parameters,
            task.inverse_temperature,
            task.given,
            first,
            last,
            task.responsibilities,
            sums,
            task.log_weights,
            fixed_sums,
        )

    def log_densities(self, parameters: Parameters, first: int = 0, last: int | None = None) -> FloatArray:
        """ln P(x_l | k), shape (L, K); only of units ``first:last`` if these are given."""
        statistics = self._statistics
        result = np.empty((statistics.n_units, parameters.n_modes))
        _linked.log_densities(
            self._bundle,
            parameters.bundle,
            first,
            statistics.n_units if last is None else last,
            result,
            np.empty_like(result),
        )
        return result


class LinkedLanesKernel:
    """Linked channels, units side by side in SIMD registers: bases of few coefficients.

    With given responsibilities the log-likelihood among the sums is 0, because modes without weight are skipped.
    """

    def __init__(self, statistics: SufficientStatistics) -> None:
        self._by_unit = LinkedKernel(statistics)
        self._pack = _linked_lanes.pack(statistics.bundle)
        self.name = f"linked lanes:{self._pack.level}"

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        n_units, tile = self._pack.n_units, _linked_lanes.WIDEST
        step = min(max(n_units // 64, 64), 4096)
        return np.array([*range(0, n_units, -(-step // tile) * tile), n_units], dtype=np.int64)

    def work(self, task: Pass, claimed: NDArray[np.int64]) -> None:
        failed = _linked_lanes.expectation_chunks(
            self._pack,
            task.parameters,
            task.inverse_temperature,
            task.given,
            task.bounds,
            claimed,
            task.responsibilities,
            task.sums,
            task.log_weights,
        )
        if failed >= 0:
            last = min(failed + _linked_lanes.WIDEST, self._pack.n_units)
            self._by_unit.expect(task, failed, last, np.empty(task.sums.shape[1]))
            raise KernelFailure(failed, -1, -1)

    def log_densities(self, parameters: Parameters) -> FloatArray:
        """ln P(x_l | k), shape (L, K)."""
        result = np.empty((self._pack.n_units, parameters.n_modes))
        failed = _linked_lanes.log_densities(
            self._pack,
            parameters.bundle,
            result,
        )
        if failed >= 0:
            self._by_unit.log_densities(parameters, failed, min(failed + _linked_lanes.WIDEST, self._pack.n_units))
            raise KernelFailure(failed, -1, -1)
        return result


class LanesKernel:
    """Units side by side in SIMD registers: bases of few coefficients.

    Attributes
    ----------
    pack : _lanes.LanePack
        The fleet, interleaved.
    """

    def __init__(self, statistics: SufficientStatistics) -> None:
        self.pack = _lanes.pack(statistics.bundle)
        self.name = f"lanes:{self.pack.level}"

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        return self.pack.chunks(n_modes)

    def work(self, task: Pass, claimed: NDArray[np.int64]) -> None:
        _lanes.expectation_chunks(
            self.pack,
            task.parameters,
            task.inverse_temperature,
            task.given,
            task.bounds,
            claimed,
            task.responsibilities,
            task.sums,
            log_weights=task.log_weights,
            fixed_sums_out=task.fixed_sums,
        )

    def log_densities(self, parameters: Parameters) -> FloatArray:
        """ln P(x_l | k), shape (L, K): the log-likelihoods of one mode after the other."""
        result = np.empty((parameters.n_modes, self.pack.n_units))
        for k in range(parameters.n_modes):
            _lanes.expectation(self.pack, _of_mode(parameters, k), log_likelihoods_out=result[k])
        return result.T


class SharedKernel:
    """Designs factorised once in LAPACK, their units in level-3 BLAS: many units with the same observation times."""

    def __init__(self, statistics: SufficientStatistics, designs: NDArray[np.int64]) -> None:
        self._pack = _shared.pack(statistics.bundle, designs)
        self.name = f"shared:{self._pack.level}"

    def bounds(self, n_modes: int) -> NDArray[np.int64]:
        return self._pack.chunks()

    def work(self, task: Pass, claimed: NDArray[np.int64]) -> None:
        _shared.expectation_chunks(
            self._pack,
            task.parameters,
            task.inverse_temperature,
            task.given,
            task.bounds,
            claimed,
            task.responsibilities,
            task.sums,
            log_weights=task.log_weights,
        )

    def log_densities(self, parameters: Parameters) -> FloatArray:
        """ln P(x_l | k), shape (L, K): the log-likelihoods of one mode after the other."""
        result = np.empty((parameters.n_modes, self._pack.n_units))
        bounds = self._pack.chunks()
        sums = np.empty((len(bounds) - 1, _core.n_sums(1, np.asarray(parameters.sizes, dtype=np.int32))))
        for k in range(parameters.n_modes):
            _shared.expectation_chunks(
                self._pack,
                _of_mode(parameters, k),
                1.0,
                False,
                bounds,
                np.zeros(1, dtype=np.int64),
                np.empty((self._pack.n_units, 1)),
                sums,
                result[k],
            )
        return result.T


def _of_mode(parameters: Parameters, mode: int) -> ParametersBundle:
    """The mixture with only this mode."""
    one = slice(mode, mode + 1)
    return ParametersBundle(
        np.ones(1),
        parameters.means[one],
        parameters.factors[one],
        parameters.noise_variances[one],
        parameters.layout.kernel_sizes,
        fixed=None if parameters.fixed is None else parameters.fixed[one],
    )


def fastest_kernel(statistics: SufficientStatistics) -> Kernel:
    """The fastest kernel for a fleet, by what its units share and the size of its bases."""
    small = max(statistics.sizes) <= _lanes.LARGEST_SIZE
    if statistics.fixed is not None:  # of which the kernel of shared designs knows nothing
        return LanesKernel(statistics) if small else LapackKernel(statistics)
    designs = shared_designs(statistics, _UNITS_PER_DESIGN if small else _UNITS_PER_LARGE_DESIGN)
    if designs is not None:
        return SharedKernel(statistics, designs)
    return LanesKernel(statistics) if small else LapackKernel(statistics)


def linked_kernel(statistics: SufficientStatistics) -> LinkedKernel | LinkedLanesKernel:
    """The kernel for linked channels, by the size of the bases."""
    if max(statistics.sizes) <= _linked_lanes.LARGEST_SIZE and statistics.fixed is None:
        return LinkedLanesKernel(statistics)
    return LinkedKernel(statistics)
