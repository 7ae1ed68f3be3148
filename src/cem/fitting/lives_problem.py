"""Model.md (19) as a problem for EM: mixture and laws of lifetimes together, with running units.

A running unit takes part once per candidate remaining life r, its readings moved to τ = t − (t_now + r), with weight
q(r, k) ∝ π_k f_k(a + r) P(x | k, r). The candidates and their cell widths are fixed before the first pass, and every
law of lifetimes is fitted by penalised maximum likelihood. So (19), with that penalty, never falls.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.maximisation import maximisation
from cem.em.membership import MembershipDesign
from cem.em.membership_ascent import coordinates_of
from cem.em.mixture_problem import MixtureProblem
from cem.em.passes import one_by_one
from cem.em.problem import Evaluation, Passes
from cem.errors import BasisError, PanelError
from cem.fitting.life_channel import LIFE
from cem.fitting.lives_ascent import LivesCoordinates, LivesPoint, LivesSums
from cem.lifetimes.grid import cell_edges, remaining_life_grid
from cem.lifetimes.laws import DEFAULT_SPREAD, GUMBEL_SPREAD, log_spread
from cem.lifetimes.lifetimes import Lifetimes, Lognormal, Weibull
from cem.mixture.membership import NOTHING_KNOWN, UnitModes
from cem.mixture.parameters import Parameters
from cem.numerics.floating import underflow_is_zero
from cem.panel.mode_priors import log_mode_priors
from cem.statistics.anchored import AnchoredStatistics, anchored_statistics
from cem.statistics.columns import shifted_columns
from cem.statistics.fixed import split
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.fitting.conditioning import Conditioning
    from cem.panel.panel import Panel
    from cem.statistics.columns import ColumnPlan

    Prepare = Callable[[Panel], tuple[Panel, ColumnPlan | None]]

__all__ = ["LINKED", "MINIMUM_SPREAD", "LivesEvaluation", "LivesProblem", "pseudo_units"]

FloatArray = NDArray[np.float64]
LivesEvaluation: TypeAlias = Evaluation[LivesPoint, LivesSums]

_N_CANDIDATES = 60
LINKED = "linked"
"""Name of laws of lifetimes that depend on the factors that channels share."""

MINIMUM_SPREAD = 0.05
"""Of log lives: a mode's lives are not believed to agree to better than this fraction."""

# The laws may move towards longer lives during EM, and the candidates must still cover them.
_REACH = 0.9999


def pseudo_units(
    anchored: AnchoredStatistics,
    like: SufficientStatistics,
    grid: FloatArray,
    log_lives: FloatArray | None = None,
    plan: ColumnPlan | None = None,
) -> SufficientStatistics:
    """Statistics of running units at every candidate remaining life, unit by unit, in the coordinates of a fit.

    Parameters
    ----------
    anchored : AnchoredStatistics
        Of L units.
    like : SufficientStatistics
        Provides the bases and coordinates.
    grid : ndarray of shape (G,)
        Candidates; 0 is a failure at the last reading.
    log_lives : ndarray of shape (L, G), optional
        ln(a + r), the reading of the channel of ln life at each candidate; `anchored` has 0 there.
    plan : ColumnPlan, optional
        Of whole designs that are not split. Default: that of the fixed columns of `like`.

    Returns
    -------
    SufficientStatistics
        Of L · G units: candidate g of unit l at l G + g.
    """
    n_units, n_channels = anchored.counts.shape
    n = n_units * len(grid)
    coordinates = like.coordinates if like.fixed is None else like.fixed.wide
    layout = coordinates.layout
    if like.fixed is not None:
        plan = like.fixed.plan
    projections = np.empty((n, int(layout.mean_offsets[-1])))
    blocks = []
    offsets = np.empty((n, n_channels), dtype=np.int64)
    start = 0
    shifts = {basis: basis.shift_matrix(grid) for basis in set(like.bases)} if plan is None else {}
    for c, basis in enumerate(like.bases):
        S = shifts[basis] if plan is None else shifted_columns(basis, plan.random[c], plan.fixed[c], grid)
        p = layout.sizes[c]
        shifted = np.einsum("lij,gjm->lgim", anchored.triangles[c], S)  # R S(r)
        moved = anchored.projections[c][:, None, :] - shifted @ coordinates.centre(c)
        if log_lives is not None and like.channels[c] == LIFE:
            moved += shifted[..., 0] * log_lives[..., None]
        inverse = np.triu(np.linalg.solve(coordinates.transform(c), np.eye(p)))
        R, w = (shifted @ inverse).reshape(n, p, p), (moved / coordinates.scales[c]).reshape(n, -1)
        if np.any(np.tril(S, -1)):  # sine–cosine pairs mix: restore triangles
            Q, R = np.linalg.qr(R)
            w = np.einsum("nij,ni->nj", Q, w)
        layout.vector(projections, c)[:] = w
        blocks.append(np.ascontiguousarray(R).ravel())
        there = np.repeat(anchored.counts[:, c] > 0, len(grid))
        offsets[:, c] = np.where(there, start + np.arange(n) * p**2, -1)
        start += blocks[-1].size
    whole = SufficientStatistics(
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
    return whole if like.fixed is None else split(whole, like.fixed.plan)


@dataclass(frozen=True, eq=False)
class LivesProblem:
    """The `cem.em.problem.Problem` of (19) for one panel: everything that is constant over the passes."""

    has_failed: NDArray[np.bool_]  # (L,)
    running: Expectation | None  # of R running units times G candidates
    at_last: SufficientStatistics | None  # of the running units at r = 0
    lives: FloatArray  # (F + R G,)  D, and a + r
    log_widths: FloatArray  # (G,)   of the candidates' cells
    known_modes: NDArray[np.int32]  # (L,)
    family: str  # "linked": the last channel is ln life, and there are no laws beside the mixture
    prior_weight: float
    prior_spread: float
    mixture: MixtureProblem  # of the failed units; its constraints and coordinates hold for all
    unit_modes: UnitModes = NOTHING_KNOWN  # of all units: their covariates and prior probabilities
    membership: MembershipDesign | None = None  # of the same
    _coordinates: dict[int, LivesCoordinates] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        panel: Panel,
        has_failed: NDArray[np.bool_],
        statistics: SufficientStatistics,
        mode_labels: Sequence[Hashable],
        constraints: Constraints,
        *,
        family: str,
        prior_weight: float,
        kernel: Literal["auto", "lapack"] = "auto",
        n_jobs: int = 1,
        membership_design: FloatArray | None = None,
        conditioning: Conditioning | None = None,
        prepare: Prepare | None = None,
    ) -> LivesProblem:
        """Set up (19).

        Parameters
        ----------
        panel : Panel
            Of L units, on the forward clock.
        has_failed : ndarray of shape (L,)
            Which units have failed.
        statistics : SufficientStatistics
            Of the failed units only, on the time to failure.
        mode_labels : sequence of K labels
            Of the fit to them.
        constraints : Constraints
            Of the mixture's M step.
        family : str
            Family of the laws of lifetimes, or "linked": the last channel is ln life.
        prior_weight : float
            ν of `LifetimeLaw.fit`, in units.
        kernel, n_jobs
            As for `Expectation`.
        membership_design : ndarray of shape (L, 1 + F), optional
            (1, f(u)) of each unit of the panel.
        conditioning : Conditioning, optional
            Of the fit to the failed units: running units have covariates and a map of readings, too.
        prepare : callable, optional
            In its place, for a fitted model whose statistics are of whole designs: the readings of running units as
            modelled, and their columns.

        Raises
        ------
        PanelError
            No failed unit has the known mode of a running unit, or a running unit's last reading is not at an age
            above 0.
        BasisError
            Units are running and a basis is not shift-invariant.
        """
        # What is known of the units' modes is kept here, for failed and running units together.
        unlabelled = statistics.with_known_modes(np.full(statistics.n_units, -1, dtype=np.int32)).with_membership()
        failed = Expectation(unlabelled, kernel=kernel, n_jobs=n_jobs)
        ages_at_failure = panel.failure_times[has_failed]
        logs = np.log(ages_at_failure)
        spread = log_spread(logs, np.ones(len(logs))) or DEFAULT_SPREAD
        known = np.full(panel.n_units, -1, dtype=np.int32)
        labels = {label: k for k, label in enumerate(mode_labels)}
        for unit, mode in enumerate(panel.modes):
            if mode is None:
                continue
            if mode not in labels:
                raise PanelError(
                    f"unit {panel.units[unit]!r} is still running and labelled {mode!r}, a mode of which no unit has "
                    "failed; remove its label, or add a unit that failed in that mode"
                )
            known[unit] = labels[mode]
        running = at_last = None
        lives, log_widths = ages_at_failure, np.zeros(1)
        if not has_failed.all():
            rest = panel[~has_failed]
            if rest.channels != statistics.channels:
                rest = rest.select_channels(statistics.channels)
            plan = None if statistics.fixed is None else statistics.fixed.plan
            if conditioning is not None:
                rest, features = conditioning.of_others(rest)
                plan = None if plan is None else replace(plan, features=features)
            elif prepare is not None:
                rest, plan = prepare(rest)
            try:
                for c, basis in enumerate(statistics.bases):
                    basis.shift_matrix(0.0)
                    if plan is not None:
                        shifted_columns(basis, plan.random[c], plan.fixed[c], np.zeros(1))
            except BasisError as error:
                raise BasisError(
                    f"{rest.n_units} units are still running (first: {rest.units[0]!r}), and they take part in a fit "
                    f"on the time to failure by shifting the basis. {error}; or leave running units out"
                ) from None
            anchored = anchored_statistics(rest, statistics.bases, plan)
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
            pseudo = pseudo_units(anchored, statistics, grid, np.log(lives) if family == LINKED else None, plan)
            running = Expectation(pseudo, kernel=kernel, n_jobs=n_jobs)
            at_last = pseudo_units(anchored, statistics, np.zeros(1), plan=plan)
            lives = np.concatenate([ages_at_failure, lives.ravel()])
            if not np.all(lives > 0):
                unit = int(np.flatnonzero(~(anchored.ages + grid[0] > 0))[0])
                raise PanelError(
                    f"unit {rest.units[unit]!r} has its last reading at {anchored.ages[unit]:g}; ages count from the "
                    "time axis' zero: choose origin= so that time 0 is when the unit was new"
                )
        unit_modes = UnitModes(membership_design, log_mode_priors(panel, mode_labels))
        return cls(
            has_failed, running, at_last, lives, log_widths, known, family, float(prior_weight), float(spread),
            MixtureProblem(failed, constraints), unit_modes, MembershipDesign.of(unit_modes),
        )  # fmt: skip

    @property
    def failed(self) -> Expectation:
        """E step of the F failed units, without their known modes."""
        return self.mixture.expectation

    @property
    def n_terms(self) -> int:
        return self.mixture.n_terms

    @property
    def n_failed(self) -> int:
        return int(self.has_failed.sum())

    @property
    def n_observations(self) -> int:
        """Number of observed values; each counts once, however many candidates its unit has."""
        return self.failed.statistics.n_observations + (0 if self.at_last is None else self.at_last.n_observations)

    def laws(self, weights: FloatArray) -> Lifetimes | None:
        """M step of the laws, from ρ̂ of failed units and q(r, k) of running ones; None if lives are a channel."""
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
        """The term that the laws' prior adds to (19): −½ ν Σ_k (ln s_k² + s₀²/s_k²), s_k the spread of the log life."""
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

    def _log_weights(self, parameters: Parameters) -> tuple[FloatArray, FloatArray]:
        """ln π_lk of the failed units and of the running ones, each (n, K), or (1, K) if all have π."""
        own = self.unit_modes.log_weights(parameters)
        if own is None:
            shared = _log(parameters.weights)[None]
            return shared, shared
        return own[self.has_failed], own[~self.has_failed]

    def expect(self, point: LivesPoint) -> LivesEvaluation:
        """The E step of (19): running units enter once per candidate; responsibilities are in the panel's order."""
        if self.membership is not None:
            point = replace(point, mixture=self.membership.started(point.mixture))
        parameters, lifetimes = point.mixture, point.lifetimes
        n_modes, n_failed = parameters.n_modes, self.n_failed
        # If ln life is a channel, P(x | k) already holds its density, per unit of the logarithm.
        log_lives = -np.log(self.lives)[:, None] if lifetimes is None else lifetimes.log_density(self.lives)
        known = self.known_modes[self.has_failed]
        of_failed, of_running_units = self._log_weights(parameters)
        if parameters.rank:  # in one pass: the kernel of linked channels takes the lives' log-densities too
            log_weights = _restricted(log_lives[:n_failed] + of_failed, known)
            expected, rho = self.failed(parameters, log_weights=log_weights)
            total = expected.log_likelihood
        else:
            joint = self.failed.log_densities(parameters) + (log_lives[:n_failed] + of_failed)
            rho, logs = _normalised(_restricted(joint, known))
            total = float(logs.sum())
            expected, _ = self.failed(parameters, responsibilities=rho)
        responsibilities = np.empty((len(self.has_failed), n_modes))
        responsibilities[self.has_failed] = rho
        weights = rho
        if self.running is not None:
            n_grid = len(self.log_widths)
            known = np.repeat(self.known_modes[~self.has_failed], n_grid)
            if self.membership is not None:
                of_running_units = np.repeat(of_running_units, n_grid, axis=0)
            joint = self.running.log_densities(parameters) + (log_lives[n_failed:] + of_running_units)
            joint = _restricted(joint, known)
            joint = joint.reshape(-1, n_grid, n_modes) + self.log_widths[:, None]
            q, logs = _normalised(joint.reshape(len(joint), -1))
            total += float(logs.sum())
            q = q.reshape(-1, n_modes)
            of_running, _ = self.running(parameters, responsibilities=q)
            expected = expected + of_running
            responsibilities[~self.has_failed] = q.reshape(-1, n_grid, n_modes).sum(axis=1)
            weights = np.concatenate([rho, q])
        # The weights of the modes are shares of units, not of candidates.
        membership = None if self.membership is None else self.membership.sums(responsibilities)
        sums = LivesSums(replace(expected, n_units=len(self.has_failed), membership=membership), weights)
        objective = total + self.penalty(lifetimes) - self.mixture.constraints.penalty(parameters)
        return Evaluation(point, sums, responsibilities, total, objective)

    def maximise(self, evaluation: LivesEvaluation) -> tuple[LivesPoint, NDArray[np.int32]]:
        """The M step: (15) for the mixture, penalised likelihood for the laws."""
        sums = evaluation.sums
        mixture, status = maximisation(sums.mixture, evaluation.point.mixture, self.mixture.constraints)
        return LivesPoint(mixture, self.laws(sums.weights)), status

    def passes(
        self, evaluation: LivesEvaluation, n_passes: int, relaxation: float = 1.0
    ) -> Passes[LivesPoint, LivesSums]:
        """Plain passes, none of which goes further than the M step."""
        return one_by_one(self, evaluation, n_passes)

    def coordinates(self, point: LivesPoint) -> LivesCoordinates:
        """Coordinates with lognormal or Weibull laws, or of the mixture only."""
        n_laws = 0 if point.lifetimes is None else point.mixture.n_modes
        if n_laws not in self._coordinates:
            self._coordinates[n_laws] = LivesCoordinates(
                coordinates_of(self.mixture.constraints, point.mixture, self.membership),
                self.lives,
                n_laws=n_laws,
                family=self.family,
                prior_weight=self.prior_weight,
                prior_spread=self.prior_spread,
                minimum_spread=MINIMUM_SPREAD,
            )
        return self._coordinates[n_laws]


def _log(weights: FloatArray) -> FloatArray:
    """ln π; −inf for a mode that has lost its weight."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights), dtype=np.float64)


def _restricted(joint: FloatArray, known: NDArray[np.int32]) -> FloatArray:
    """The same logarithms (n, K), with −inf where the row's known mode is another."""
    rows = np.flatnonzero(known >= 0)
    held = joint[rows, known[rows]]
    joint[rows] = -np.inf
    joint[rows, known[rows]] = held
    return joint


@underflow_is_zero
def _normalised(joint: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn rows of logarithms into shares that sum to 1, and return the logarithm of each row's sum."""
    highest = joint.max(axis=1, keepdims=True)
    shares = np.exp(joint - highest)
    totals = shares.sum(axis=1, keepdims=True)
    return shares / totals, (highest + np.log(totals))[:, 0]
