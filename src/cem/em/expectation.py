"""The E step over a panel's sufficient statistics: responsibilities and the additive sums (14) of model.md."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cem import _core
from cem.em.constraints import Constraints
from cem.em.kernels import _em
from cem.em.kernels._lanes import LanePack
from cem.em.kernels.choice import (
    Kernel,
    LanesKernel,
    LapackKernel,
    LinkedKernel,
    LinkedLanesKernel,
    Pass,
    SharedKernel,
    fastest_kernel,
    linked_kernel,
)
from cem.em.membership import MembershipDesign
from cem.em.problem import Evaluation, Passes
from cem.em.sums import ExpectedStatistics
from cem.errors import FitError, KernelFailure, OptionError
from cem.mixture import _linked
from cem.mixture.membership import UnitModes, unit_log_weights
from cem.mixture.parameters import Parameters
from cem.numerics.threads import Team
from cem.statistics.fixed import conditioned
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["Expectation"]

FloatArray = NDArray[np.float64]

# A thread pays off from about this many chunks on; a chunk takes a tenth of a millisecond.
_CHUNKS_PER_THREAD = 4


class Expectation:
    """The E step of one panel, ready to be evaluated at any parameters.

    Units are cut into fixed chunks, which threads take one after the other. The sums of the chunks are added in their
    order, so any number of threads gives the same bits.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the panel.
    kernel : {"auto", "lapack"}
        "lapack" factorises unit by unit. "auto" factorises once per design if many units share each design. Otherwise
        it uses SIMD lanes if every basis has 8 coefficients or fewer, and else LAPACK.
    n_jobs : int
        Number of threads.

    Attributes
    ----------
    kernel : str
        The kernel used: "lapack", or "shared" or "lanes" with the instruction level.
    membership : MembershipDesign or None
        Of the units' covariates and prior probabilities; None if every unit has π.

    Raises
    ------
    OptionError
        The kernel is unknown, or the requested instruction level is not available.
    """

    def __init__(
        self, statistics: SufficientStatistics, *, kernel: Literal["auto", "lapack"] = "auto", n_jobs: int = 1
    ) -> None:
        if kernel not in ("auto", "lapack"):
            raise OptionError(f"kernel={kernel!r}: 'auto' or 'lapack' was expected")
        self.statistics = statistics
        self.n_jobs = n_jobs
        self._team: Team | None = None
        self._team_is_taken = threading.Lock()
        self._kernel_option: Literal["auto", "lapack"] = kernel
        self._kernel: Kernel = fastest_kernel(statistics) if kernel == "auto" else LapackKernel(statistics)
        self._linked: LinkedKernel | LinkedLanesKernel | None = None  # made on first use
        self.membership = MembershipDesign.of(UnitModes(statistics.membership_design, statistics.mode_priors))

    @property
    def kernel(self) -> str:
        return self._kernel.name

    def _linked_kernel(self) -> LinkedKernel | LinkedLanesKernel:
        if self._linked is None:
            by_unit = self._kernel_option == "lapack"
            self._linked = LinkedKernel(self.statistics) if by_unit else linked_kernel(self.statistics)
        return self._linked

    def of_units(self, units: NDArray[np.int64]) -> Expectation:
        """The same E step of some units, in this order."""
        return Expectation(self.statistics.subset(units), kernel=self._kernel_option, n_jobs=self.n_jobs)

    def on(self, statistics: SufficientStatistics, *, n_jobs: int = 1) -> Expectation:
        """The same kind of E step over other units."""
        return Expectation(statistics, kernel=self._kernel_option, n_jobs=n_jobs)

    def unlabelled(self) -> Expectation:
        """The same E step without what is known of the units' modes: labels, covariates, and probabilities."""
        known = self.statistics.known_modes
        if not (known >= 0).any() and self.membership is None:
            return self
        statistics = self.statistics.with_known_modes(np.full_like(known, -1)).with_membership()
        return Expectation(statistics, kernel=self._kernel_option, n_jobs=self.n_jobs)

    def _named(self, failure: KernelFailure) -> FitError:
        """A kernel's failure with the names of unit, mode and channel."""
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
        """Number of parts of a pass that are each worth a thread."""
        return max(1, (len(self._kernel.bounds(n_modes)) - 1) // _CHUNKS_PER_THREAD)

    def _share(self, work: Callable[[NDArray[np.int64]], None], n_threads: int) -> None:
        """Let threads, including this one, do all chunks.

        Parameters
        ----------
        work : callable
            Does unclaimed chunks until there are none.
        n_threads : int
            Largest number. If another call uses the helpers (starts that run side by side), this thread works alone.
        """
        claimed = np.zeros(1, dtype=np.int64)
        try:
            if n_threads < 2 or not self._team_is_taken.acquire(blocking=False):
                work(claimed)
                return
            try:
                if self._team is None:  # kept, because starting threads costs as much as a pass over a small fleet
                    self._team = Team(self.n_jobs - 1)
                self._team.share(partial(work, claimed), n_threads - 1)
            finally:
                self._team_is_taken.release()
        except KernelFailure as failure:
            # With threads, the first failure depends on their timing; in one thread it is the same every time.
            named = failure
            try:
                work(np.zeros(1, dtype=np.int64))
            except KernelFailure as first:
                named = first
            raise self._named(named) from named

    def __call__(
        self,
        parameters: Parameters,
        *,
        responsibilities: FloatArray | None = None,
        inverse_temperature: float = 1.0,
        log_weights: FloatArray | None = None,
    ) -> tuple[ExpectedStatistics, FloatArray]:
        """Evaluate (10)–(14).

        Parameters
        ----------
        parameters : Parameters
            In the internal coordinates of the statistics.
        responsibilities : ndarray of shape (L, K), optional
            Used in place of (3).
        inverse_temperature : float
            β in ρ̂ ∝ (π P)^β; 1 is the E step.
        log_weights : ndarray of shape (L, K), optional
            In place of ln π, if something besides readings informs a unit's mode; −inf excludes a mode. Default: by
            the covariates of units and their prior probabilities, if the statistics have any.

        Returns
        -------
        expected : ExpectedStatistics
            The sums. Their log-likelihood is that of `parameters`, or 0 for linked channels with given
            responsibilities.
        responsibilities : ndarray of shape (L, K)
            ρ̂.

        Raises
        ------
        FitError
            A quantity is not finite; the message names unit, mode and channel.
        """
        n_modes, n_units, sizes = parameters.n_modes, self.statistics.n_units, self.statistics.sizes
        given = responsibilities is not None
        rho = np.empty((n_units, n_modes)) if responsibilities is None else np.ascontiguousarray(responsibilities)
        if log_weights is None and self.membership is not None:
            log_weights = unit_log_weights(self.statistics, parameters)
        n_sums = _core.n_sums(n_modes, np.asarray(sizes, dtype=np.int32))
        kernel: Kernel = self._kernel
        if parameters.rank:
            kernel = self._linked_kernel()
            n_sums = _linked.n_sums(n_modes, np.asarray(sizes, dtype=np.int32), parameters.rank)

        bounds = kernel.bounds(n_modes)
        sums = np.empty((len(bounds) - 1, n_sums))
        fixed_sums = None
        if self.statistics.fixed is not None:
            fixed_sums = np.empty((len(sums), _core.n_fixed_sums(n_modes, self.statistics.fixed.kernel_sizes)))

        task = Pass(parameters.bundle, inverse_temperature, given, bounds, rho, sums, log_weights, fixed_sums)
        self._share(partial(kernel.work, task), min(self.n_jobs, len(bounds) - 1))
        # Added in the order of the chunks, whichever thread computed them.
        of_fixed = None if fixed_sums is None else fixed_sums.sum(axis=0)
        membership = None if self.membership is None else self.membership.sums(rho)
        total = sums.sum(axis=0)
        return ExpectedStatistics(total, n_modes, sizes, n_units, parameters.rank, membership, of_fixed), rho

    def makes_passes_in_one_call(self, n_modes: int, constraints: Constraints) -> bool:
        """Whether `passes` makes them for models without links."""
        return self.small_pack(n_modes, constraints) is not None

    def small_pack(self, n_modes: int, constraints: Constraints) -> LanePack | None:
        """The fleet, if a pass over it takes less time than a call from Python, and its model is plain; else None."""
        if self.membership is not None or constraints.fixed is not None or constraints.pooled_noise:
            return None
        kernel = self._kernel
        return kernel.pack if isinstance(kernel, LanesKernel) and len(kernel.bounds(n_modes)) <= 2 else None

    def passes(
        self,
        parameters: Parameters,
        expected: ExpectedStatistics | None,
        constraints: Constraints,
        n_passes: int,
        relaxation: float = 1.0,
    ) -> Passes[Parameters, ExpectedStatistics] | None:
        """Several EM passes in one call, for a fleet whose E step takes less time than a call from Python.

        Parameters
        ----------
        parameters : Parameters
            The current ones.
        expected : ExpectedStatistics or None
            Evaluated at them; if None, the call makes this E step as well.
        constraints : Constraints
            Of the M step.
        n_passes : int
            Number of passes; fewer if a mode loses its units.
        relaxation : float
            Factor on the M step of the first pass, which grows while the objective rises (`_em.LENGTHENED`). A plain M
            step follows if a longer one does not raise it. 1 is plain EM.

        Returns
        -------
        Passes or None
            If no sums were given, its lists begin with the values at the current parameters. None if passes must be
            made one by one: for larger fleets, for kernels other than the lanes, and where units have probabilities of
            their modes of their own.

        Raises
        ------
        FitError
            A quantity is not finite, or a scatter matrix is not positive definite; the message names where.
        """
        n_modes = parameters.n_modes
        pack = None if parameters.rank else self.small_pack(n_modes, constraints)
        if pack is None:
            return None
        if expected is None:
            sums = np.empty(_core.n_sums(n_modes, np.asarray(self.statistics.sizes, dtype=np.int32)))
        else:
            sums = np.array(expected.sums)
        weights = np.empty(n_modes)
        means, factors = np.empty_like(parameters.means), np.empty_like(parameters.factors)
        noise_variances = np.empty_like(parameters.noise_variances)
        status = np.empty(noise_variances.shape, dtype=np.int32)
        rho = np.empty((self.statistics.n_units, n_modes))
        log_likelihoods, objectives = np.empty(1 + n_passes), np.empty(1 + n_passes)
        try:
            done, n_evaluations = _em.passes(
                pack,
                n_passes,
                relaxation,
                parameters.bundle,
                constraints.noise_floors,
                constraints.covariance_floors,
                constraints.transforms,
                constraints.structure,
                constraints.shrinkage,
                sums,
                weights,
                means,
                factors,
                noise_variances,
                status,
                rho,
                log_likelihoods,
                objectives,
                expected is not None,
            )
        except KernelFailure as failure:
            raise self._named(failure) from failure
        found = Parameters.adopting(weights, means, factors, noise_variances, parameters.sizes)
        reached = ExpectedStatistics(sums, n_modes, parameters.sizes, self.statistics.n_units)
        first = 0 if expected is None else 1
        heights: list[float] = log_likelihoods[first : 1 + done].tolist()
        raised: list[float] = objectives[first : 1 + done].tolist()
        last = Evaluation(found, reached, rho, heights[-1], raised[-1])
        return Passes(last, status, heights, raised, n_evaluations)

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
            A density is not finite; the message names unit, mode and channel.
        """
        if self.statistics.fixed is not None and (parameters.rank or not isinstance(self._kernel, LanesKernel)):
            return self._log_densities_mode_by_mode(parameters)
        kernel = self._linked_kernel() if parameters.rank else self._kernel
        if isinstance(kernel, (LanesKernel, SharedKernel, LinkedKernel, LinkedLanesKernel)):
            try:
                return kernel.log_densities(parameters)
            except KernelFailure as failure:
                raise self._named(failure) from failure
        from cem.mixture.prediction import log_densities

        return log_densities(self.statistics, parameters)

    def _log_densities_mode_by_mode(self, parameters: Parameters) -> FloatArray:
        """The same where fixed columns have to be taken off first, with the coefficients of each mode."""
        from cem.mixture.prediction import log_joint

        assert parameters.fixed is not None
        unknown = self.statistics.with_membership()
        result = np.empty((self.statistics.n_units, parameters.n_modes))
        for k, beta in enumerate(parameters.fixed):
            own = replace(parameters.ordered([k]), weights=np.ones(1), fixed=None, membership=None)
            result[:, k] = log_joint(conditioned(unknown, beta), own)[:, 0]
        return result
