"""EM with lives, model.md (19): units that failed bring their age at failure, units still running every age they may
yet reach.

The fit on the failed units alone is where it starts from. A running unit then takes part once per candidate remaining
life r, its readings moved to τ = t − (t_now + r), with weight q(r, k) ∝ π_k f_k(a + r) P(x | k, r). Candidates and the
width each stands for are fixed before the first pass, and every law of lifetimes is fitted by (penalised) maximum
likelihood, so that (19), with that penalty, never falls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.em.linking import rotated
from cem.em.loop import EMRun, continue_em, start_em
from cem.em.sums import ExpectedStatistics
from cem.errors import BasisError, ConvergenceWarning, LostModeWarning, OptionError, PanelError
from cem.errors.warning import warn
from cem.fitting.fit import FitOptions, FitResult, fit_mixture, in_final_order
from cem.fitting.linked_lives import LIFE, apart, init_with_lives, options_with_lives, panel_with_lives
from cem.fitting.lives_ascent import LivesCoordinates, LivesExpectation, LivesPoint
from cem.lifetimes.laws import DEFAULT_SPREAD, FAMILIES, GUMBEL_SPREAD, log_spread
from cem.lifetimes.lifetimes import Lifetimes, Lognormal, Weibull
from cem.mixture.parameters import Parameters
from cem.numerics.floating import underflow_is_zero
from cem.panel.life_checks import check_lives
from cem.prognosis.distribution import AnchoredStatistics, anchored_statistics, cell_edges, remaining_life_grid
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["MINIMUM_SPREAD", "LivesFit", "LivesProblem", "fit_with_lives", "pseudo_units"]

FloatArray = NDArray[np.float64]

_N_CANDIDATES = 60
LINKED = "linked"
"""Name of laws of lifetimes that depend on the factors that channels share."""

MINIMUM_SPREAD = 0.05
"""Of log lives: a mode's lives are not believed to agree to better than this fraction."""

_PRIOR_WEIGHT = 1.0
_TOLERANCE_BEFORE_LIVES = 1000.0
# The laws may move towards longer lives while EM runs; the candidates must still reach them.
_REACH = 0.9999


@dataclass(frozen=True, eq=False)
class LivesFit:
    """What EM with lives ends at.

    Parameters
    ----------
    result : FitResult
        Of all units of the panel, in its order: statistics (running units at r = 0), run and labels. The run's
        log-likelihoods are (19), internal coordinates.
    lifetimes : Lifetimes
        f_k.
    objectives : tuple of float
        (19) plus the penalty of the laws, before every M step and after the last: what never falls.
    """

    result: FitResult
    lifetimes: Lifetimes
    objectives: tuple[float, ...]


def fit_with_lives(
    panel: Panel,
    options: FitOptions,
    *,
    family: str = "auto",
    prior_weight: float = _PRIOR_WEIGHT,
    init: Any = None,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> LivesFit:
    """Fit on the time to failure: the failed units first, then all of them by (19).

    Parameters
    ----------
    panel : Panel
        On the forward clock, ages counted from when a unit was new; NaN failure times are units still running.
    options : FitOptions
        Of the mixture.
    family : {"auto", "lognormal", "weibull", "empirical", "linked"}
        Of the laws of lifetimes. With "empirical" the objective need not rise in every pass. "linked" is lognormal,
        and told in part by the factors that channels share; "auto" is "linked" where they share any, else lognormal.
    prior_weight : float
        ν of `LifetimeLaw.fit`, in units.
    init, progress
        As for `cem.fitting.fit_mixture`; responsibilities have a row for each unit of the panel.

    Raises
    ------
    PanelError
        No unit has failed, one did so at an age that is not above 0, or a running unit's known mode is that of no
        failed one. Times are a clock's rather than ages, or a failure time stands for *not yet*.
    BasisError
        Units are running and a basis is not shift-invariant.
    OptionError
        The family is unknown, or "linked" where channels share no factors.
    """
    families = ("auto", *FAMILIES, LINKED)
    if family not in families:
        raise OptionError(f"lifetimes={family!r}: one of {', '.join(map(repr, families))} was expected")
    if family == LINKED and not options.linking_rank:
        raise OptionError(
            "lifetimes='linked' with linking_rank=0: a life is linked to what channels share; give linking_rank=1 or "
            "more, or lifetimes='lognormal'"
        )
    if family == "auto":
        family = LINKED if options.linking_rank else Lognormal.family
    check_lives(panel)
    has_failed = ~np.isnan(panel.failure_times)
    if not has_failed.any():
        raise PanelError(
            f"time_axis='to_failure' needs units that failed; none of the {panel.n_units} has a failure time. Give "
            "failure_times, or fit with time_axis='forward'"
        )
    young = np.flatnonzero(panel.failure_times <= 0)
    if young.size:
        raise PanelError(
            f"unit {panel.units[young[0]]!r} failed at {panel.failure_times[young[0]]:g}; ages count from the time "
            "axis' zero and must be above it: choose origin= so that time 0 is when the unit was new"
        )
    if init is not None and isinstance(init, np.ndarray) and len(init) == panel.n_units:
        init = init[has_failed]
    failed = panel[has_failed]
    if family == LINKED:
        lives = failed.failure_times
        if np.ptp(np.log(lives)) > 0:
            return _fit_with_linked_lives(panel, has_failed, options, init, progress)
        family = Lognormal.family  # one life for all: nothing to be told by the readings
    first = options
    if options.linking_rank and not (options.n_modes == 1 and has_failed.all()):
        # Linked passes are dear, and EM with lives goes on from there: what that ends at is what must have converged.
        first = replace(options, tol=_TOLERANCE_BEFORE_LIVES * options.tol)
    result = fit_mixture(failed.aligned_at_failure(), first, init=init, progress=progress)
    problem = LivesProblem.of(panel, has_failed, result, options, family, prior_weight)
    run, statistics, lifetimes = problem.solved(result, options)
    assert lifetimes is not None
    return LivesFit(replace(result, statistics=statistics, run=run), lifetimes, run.objectives)


def _fit_with_linked_lives(
    panel: Panel, has_failed: NDArray[np.bool_], options: FitOptions, init: Any, progress: Any
) -> LivesFit:
    """The fit where ln life is a channel: of units that all failed it is that of the linked model."""
    failed, none_running = panel[has_failed], bool(has_failed.all())
    lives = failed.failure_times
    options = options_with_lives(options, MINIMUM_SPREAD)
    init = init_with_lives(init, lives, MINIMUM_SPREAD)
    first = options if none_running else replace(options, tol=_TOLERANCE_BEFORE_LIVES * options.tol)
    result = fit_mixture(panel_with_lives(failed.aligned_at_failure(), lives), first, init=init, progress=progress)
    # (19) is of lives, the channel of their logarithms.
    by_logarithm = -float(np.log(lives).sum())
    if none_running:
        result, lifetimes = apart(result, by_logarithm, by_logarithm)
    else:
        whole = panel_with_lives(panel, np.ones(panel.n_units))
        problem = LivesProblem.of(whole, has_failed, result, options, LINKED, 0.0)
        run, statistics, _ = problem.solved(result, options)
        result, lifetimes = apart(replace(result, statistics=statistics, run=run), by_logarithm, 0.0)
    return LivesFit(result, lifetimes, result.run.objectives)


def pseudo_units(
    anchored: AnchoredStatistics,
    like: SufficientStatistics,
    grid: FloatArray,
    log_lives: FloatArray | None = None,
) -> SufficientStatistics:
    """Statistics of running units at every candidate remaining life, unit by unit, in the coordinates of a fit.

    Parameters
    ----------
    anchored : AnchoredStatistics
        Of L units.
    like : SufficientStatistics
        Whose bases and coordinates are taken.
    grid : ndarray of shape (G,)
        Candidates; 0 is a failure at the last reading.
    log_lives : ndarray of shape (L, G), optional
        ln(a + r), what the channel of ln life reads at each candidate; `anchored` has 0 there.

    Returns
    -------
    SufficientStatistics
        Of L · G units: candidate g of unit l at l G + g.
    """
    n_units, n_channels = anchored.counts.shape
    n = n_units * len(grid)
    coordinates, layout = like.coordinates, like.layout
    projections = np.empty((n, int(layout.mean_offsets[-1])))
    blocks = []
    offsets = np.empty((n, n_channels), dtype=np.int64)
    start = 0
    shifts = {basis: basis.shift_matrix(grid) for basis in set(like.bases)}
    for c, basis in enumerate(like.bases):
        shifted = np.einsum("lij,gjm->lgim", anchored.triangles[c], shifts[basis])  # R S(r)
        moved = anchored.projections[c][:, None, :] - shifted @ coordinates.centre(c)
        if log_lives is not None and like.channels[c] == LIFE:
            moved += shifted[..., 0] * log_lives[..., None]
        inverse = np.triu(np.linalg.solve(coordinates.transform(c), np.eye(basis.size)))
        R, w = (shifted @ inverse).reshape(n, basis.size, basis.size), (moved / coordinates.scales[c]).reshape(n, -1)
        if np.any(np.tril(shifts[basis], -1)):  # sine–cosine pairs mix: kernels want a triangle again
            Q, R = np.linalg.qr(R)
            w = np.einsum("nij,ni->nj", Q, w)
        layout.vector(projections, c)[:] = w
        blocks.append(np.ascontiguousarray(R).ravel())
        there = np.repeat(anchored.counts[:, c] > 0, len(grid))
        offsets[:, c] = np.where(there, start + np.arange(n) * basis.size**2, -1)
        start += blocks[-1].size
    return SufficientStatistics(
        units=[unit for unit in anchored.units for _ in range(len(grid))],
        channels=like.channels,
        bases=like.bases,
        coordinates=coordinates,
        factors=np.concatenate(blocks),
        factor_offsets=offsets,
        projections=projections,
        residual_norms=np.repeat(anchored.residual_norms / np.square(coordinates.scales), len(grid), axis=0),
        counts=np.repeat(anchored.counts, len(grid), axis=0).astype(np.int32),
        known_modes=np.full(n, -1, dtype=np.int32),
    )


@dataclass(frozen=True, eq=False)
class LivesProblem:
    """(19) for one panel: everything that stays the same from pass to pass."""

    has_failed: NDArray[np.bool_]  # (L,)
    failed: Expectation  # of the F failed units, known modes struck out
    running: Expectation | None  # of R running units times G candidates
    at_last: SufficientStatistics | None  # of the running units at r = 0
    lives: FloatArray  # (F + R G,)  D, and a + r
    log_widths: FloatArray  # (G,)   of the candidates' cells
    known_modes: NDArray[np.int32]  # (L,)
    family: str  # "linked": the last channel is ln life, and there are no laws beside the mixture
    prior_weight: float
    prior_spread: float

    @classmethod
    def of(
        cls,
        panel: Panel,
        has_failed: NDArray[np.bool_],
        result: FitResult,
        options: FitOptions,
        family: str,
        prior_weight: float,
    ) -> LivesProblem:
        statistics = result.statistics
        unlabelled = statistics.with_known_modes(np.full(statistics.n_units, -1, dtype=np.int32))
        failed = Expectation(unlabelled, kernel=options.kernel, n_jobs=options.n_jobs)
        ages_at_failure = panel.failure_times[has_failed]
        logs = np.log(ages_at_failure)
        spread = log_spread(logs, np.ones(len(logs))) or DEFAULT_SPREAD
        known = np.full(panel.n_units, -1, dtype=np.int32)
        labels = dict(zip(result.mode_labels, range(len(result.mode_labels)), strict=True))
        for unit, mode in enumerate(panel.modes):
            if mode is None:
                continue
            if mode not in labels:
                raise PanelError(
                    f"unit {panel.units[unit]!r} is still running and labelled {mode!r}, a mode of which no unit has "
                    "failed; take its label off, or give a unit that failed in that mode"
                )
            known[unit] = labels[mode]
        running = at_last = None
        lives, log_widths = ages_at_failure, np.zeros(1)
        if not has_failed.all():
            rest = panel[~has_failed]
            if rest.channels != statistics.channels:
                rest = rest.select_channels(statistics.channels)
            try:
                for basis in set(statistics.bases):
                    basis.shift_matrix(0.0)
            except BasisError as error:
                raise BasisError(
                    f"{rest.n_units} units are still running (first: {rest.units[0]!r}), and they take part in a fit "
                    f"on the time to failure by shifting the basis. {error}; or leave running units out"
                ) from None
            anchored = anchored_statistics(rest, statistics.bases)
            one_law = Lifetimes.fit(
                ages_at_failure,
                np.ones((len(logs), 1)),
                family=Lognormal.family if family == LINKED else family,
                prior_spread=spread,
            )
            grid = remaining_life_grid(one_law, anchored.ages, _N_CANDIDATES, probability=_REACH)
            edges = cell_edges(grid)
            edges[0] = 0.0
            log_widths = np.log(np.diff(edges))
            lives = anchored.ages[:, None] + grid
            pseudo = pseudo_units(anchored, statistics, grid, np.log(lives) if family == LINKED else None)
            running = Expectation(pseudo, kernel=options.kernel, n_jobs=options.n_jobs)
            at_last = pseudo_units(anchored, statistics, np.zeros(1))
            lives = np.concatenate([ages_at_failure, lives.ravel()])
            if not np.all(lives > 0):
                unit = int(np.flatnonzero(~(anchored.ages + grid[0] > 0))[0])
                raise PanelError(
                    f"unit {rest.units[unit]!r} has its last reading at {anchored.ages[unit]:g}; ages count from the "
                    "time axis' zero: choose origin= so that time 0 is when the unit was new"
                )
        return cls(
            has_failed, failed, running, at_last, lives, log_widths, known, family, float(prior_weight), float(spread)
        )

    @property
    def n_failed(self) -> int:
        return int(self.has_failed.sum())

    @property
    def n_observations(self) -> int:
        """Values observed, each once, however many candidates its unit has."""
        return self.failed.statistics.n_observations + (0 if self.at_last is None else self.at_last.n_observations)

    def laws(self, weights: FloatArray) -> Lifetimes | None:
        """The laws' M step, from ρ̂ of failed units and q(r, k) of running ones; None where lives are a channel."""
        if self.family == LINKED:
            return None
        return Lifetimes.fit(
            self.lives,
            weights,
            family=self.family,
            prior_weight=self.prior_weight,
            prior_spread=self.prior_spread,
            minimum_spread=MINIMUM_SPREAD,
        )

    def penalty(self, lifetimes: Lifetimes | None) -> float:
        """What the laws' prior adds to (19): −½ ν Σ_k (ln s_k² + s₀²/s_k²), s_k the spread of the log life."""
        total = 0.0
        for law in () if lifetimes is None else lifetimes.laws:
            if isinstance(law, Lognormal):
                spread = law.scale
            elif isinstance(law, Weibull):
                spread = GUMBEL_SPREAD / law.shape
            else:
                continue
            total -= 0.5 * self.prior_weight * (2.0 * np.log(spread) + (self.prior_spread / spread) ** 2)
        return float(total)

    def _joint(
        self, expectation: Expectation, parameters: Parameters, log_lives: FloatArray, known: NDArray[np.int32]
    ) -> FloatArray:
        """ln π_k f_k P(x | k) of each row, −inf where the row's mode is known to be another; (n, K)."""
        return _restricted(expectation.log_densities(parameters) + (log_lives + _log(parameters.weights)), known)

    def expectation(
        self, parameters: Parameters, lifetimes: Lifetimes | None
    ) -> tuple[float, ExpectedStatistics, FloatArray, FloatArray]:
        """The E step of (19).

        Returns
        -------
        log_likelihood : float
            (19), internal coordinates.
        expected : ExpectedStatistics
            The sums (14), running units once per candidate.
        weights : ndarray of shape (F + R G, K)
            ρ̂ of failed units and q(r, k) of running ones, for the laws.
        responsibilities : ndarray of shape (L, K)
            In the order of the panel.
        """
        n_modes, n_failed = parameters.n_modes, self.n_failed
        # Where ln life is a channel its density is in P(x | k), per unit of the logarithm.
        log_lives = -np.log(self.lives)[:, None] if lifetimes is None else lifetimes.log_density(self.lives)
        known = self.known_modes[self.has_failed]
        if parameters.rank:  # in one pass: the kernel of linked channels takes what lives say of the modes
            log_weights = _restricted(log_lives[:n_failed] + _log(parameters.weights), known)
            expected, rho = self.failed(parameters, log_weights=log_weights)
            total = expected.log_likelihood
        else:
            rho, logs = _normalised(self._joint(self.failed, parameters, log_lives[:n_failed], known))
            total = float(logs.sum())
            expected, _ = self.failed(parameters, responsibilities=rho)
        responsibilities = np.empty((len(self.has_failed), n_modes))
        responsibilities[self.has_failed] = rho
        weights = rho
        if self.running is not None:
            n_grid = len(self.log_widths)
            known = np.repeat(self.known_modes[~self.has_failed], n_grid)
            joint = self._joint(self.running, parameters, log_lives[n_failed:], known)
            joint = joint.reshape(-1, n_grid, n_modes) + self.log_widths[:, None]
            q, logs = _normalised(joint.reshape(len(joint), -1))
            total += float(logs.sum())
            q = q.reshape(-1, n_modes)
            of_running, _ = self.running(parameters, responsibilities=q)
            expected = expected + of_running
            responsibilities[~self.has_failed] = q.reshape(-1, n_grid, n_modes).sum(axis=1)
            weights = np.concatenate([rho, q])
        # Candidates are not units: the mixture's shares are over those.
        return total, replace(expected, n_units=len(self.has_failed)), weights, responsibilities

    def solved(self, result: FitResult, options: FitOptions) -> tuple[EMRun, SufficientStatistics, Lifetimes | None]:
        """EM from a fit of the failed units to convergence, by the same rules as without lives (em.py).

        Returns
        -------
        run : EMRun
            Of all units, in the panel's order, modes in their final order.
        statistics : SufficientStatistics
            Of all units; running ones at r = 0.
        lifetimes : Lifetimes or None
            The laws; None where lives are a channel.
        """
        start = result.run.responsibilities
        lifetimes = self.laws(
            start
            if self.running is None
            else np.concatenate([start, np.zeros((len(self.lives) - len(start), start.shape[1]))])
        )
        ascent = LivesExpectation(self, result.constraints)
        run: Any = start_em(ascent, LivesPoint(result.run.parameters, lifetimes))  # type: ignore[arg-type]
        # One mode and every life known: nothing is hidden, and the two parts of (19) have been fitted apart.
        if lifetimes is not None and self.running is None and result.run.parameters.n_modes == 1:
            of_lives = ascent.log_likelihoods[run.log_likelihood] - result.run.log_likelihood
            log_likelihoods = tuple(value + of_lives for value in result.run.log_likelihoods)
            objectives = tuple(value + of_lives + self.penalty(lifetimes) for value in result.run.objectives)
            run = replace(run, status=result.run.status, converged=result.run.converged)
        else:
            # The M step of an empirical law does not maximise: what it comes to cannot be judged by an ascent.
            accelerate = options.accelerate == "auto" and self.family != "empirical"
            run = continue_em(
                run,
                ascent,  # type: ignore[arg-type]
                result.constraints,
                n_passes=options.max_iter,
                tolerance=options.tol * self.n_observations,
                accelerate=accelerate,
                maximise=ascent.maximised,
                coordinates=LivesCoordinates(self, result.constraints, run.parameters, MINIMUM_SPREAD)
                if accelerate
                else None,
            )
            objectives = run.log_likelihoods
            log_likelihoods = tuple(ascent.log_likelihoods[value] for value in objectives)
            _warn(run, result, options)
            if self.family == "empirical":
                _warn_of_falls(objectives, options.tol * self.n_observations)
        statistics = result.statistics
        if self.at_last is not None:
            order = np.empty(len(self.has_failed), dtype=np.int64)
            order[self.has_failed] = np.arange(self.n_failed)
            order[~self.has_failed] = self.n_failed + np.arange(self.at_last.n_units)
            statistics = SufficientStatistics.concatenate([statistics, self.at_last]).subset(order)
        point: LivesPoint = run.parameters
        mixture = EMRun(
            rotated(point.mixture), run.expected.sums, run.responsibilities, log_likelihoods, run.converged,
            run.lost_mode, run.status, objectives=objectives,
        )  # fmt: skip
        mixture, modes = in_final_order(mixture, result)
        return mixture, statistics, None if point.lifetimes is None else point.lifetimes.ordered(modes)


def _warn(run: EMRun, result: FitResult, options: FitOptions) -> None:
    """What the user should know of how EM with lives ended."""
    if run.lost_mode is not None:
        warn(
            f"mode {result.mode_labels[run.lost_mode]!r} has less than one unit left once running units and lives take "
            f"part; n_modes={options.n_modes} is too many for these data",
            LostModeWarning,
        )
    elif not run.converged:
        warn(
            f"not converged: {options.max_iter} E steps with lives did not suffice; raise max_iter",
            ConvergenceWarning,
        )


def _warn_of_falls(objectives: tuple[float, ...], tolerance: float) -> None:
    """Empirical laws are smoothed and not maximum likelihood: what EM raises otherwise may fall with them."""
    gains = np.diff(objectives)
    n_falls = int((gains < -tolerance).sum())
    if n_falls:
        warn(
            f"lifetimes='empirical': the log-likelihood fell in {n_falls} of {len(gains)} passes, by "
            f"{-gains.min():.3g} nats at most; its laws are smoothed lives, not maximum likelihood, so that EM need "
            "not rise and may end below where it has been. Take lifetimes='lognormal' or 'weibull' where that matters",
            ConvergenceWarning,
        )


def _log(weights: FloatArray) -> FloatArray:
    """ln π, −inf of a mode that has lost its weight."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights), dtype=np.float64)


def _restricted(joint: FloatArray, known: NDArray[np.int32]) -> FloatArray:
    """The same logarithms (n, K), −inf where the row's mode is known to be another."""
    rows = np.flatnonzero(known >= 0)
    held = joint[rows, known[rows]]
    joint[rows] = -np.inf
    joint[rows, known[rows]] = held
    return joint


@underflow_is_zero
def _normalised(joint: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows of logarithms as shares that sum to 1, and ln of each row's sum."""
    highest = joint.max(axis=1, keepdims=True)
    shares = np.exp(joint - highest)
    totals = shares.sum(axis=1, keepdims=True)
    return shares / totals, (highest + np.log(totals))[:, 0]
