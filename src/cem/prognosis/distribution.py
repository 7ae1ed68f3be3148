"""Remaining life of running units when training units ran to failure: model.md §7, "Backward", and (18).

`remaining_life_posterior` weighs every candidate remaining life r and mode k of every unit, and
`RemainingLifeDistribution` answers what a planner asks. NumPy alone.

A candidate r moves the unit's readings to τ = t − (t_now + r) on the axis that ends at failure. A shift-invariant basis
needs no second look at the readings for that: φ(τ₀ − r)ᵀ = φ(τ₀)ᵀS(r), so a unit compressed once at τ₀ = t − t_now,
anchored at its last reading, is evaluated by R S(r) in place of R.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PanelError, PredictionError
from cem.errors.display import escaped
from cem.numerics.floating import underflow_is_zero
from cem.prognosis.candidates import candidate_log_densities

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.lifetimes.lifetimes import Lifetimes
    from cem.panel.panel import Panel

__all__ = [
    "AnchoredStatistics",
    "RemainingLifeDistribution",
    "SharedEvidence",
    "anchored_statistics",
    "candidate_log_densities",
    "remaining_life_grid",
    "remaining_life_grids",
    "remaining_life_posterior",
]

FloatArray = NDArray[np.float64]


def cell_edges(grid: FloatArray) -> FloatArray:
    """(..., G + 1) edges of the cells around grid points: halfway between neighbours, never below 0."""
    middles = 0.5 * (grid[..., 1:] + grid[..., :-1])
    first = np.maximum(0.0, 1.5 * grid[..., :1] - 0.5 * grid[..., 1:2])
    last = 1.5 * grid[..., -1:] - 0.5 * grid[..., -2:-1]
    return np.concatenate([first, middles, last], axis=-1)


class RemainingLifeDistribution:
    """Laws of the remaining lives of units, jointly with their modes; immutable.

    Probability is spread evenly over the cell of each grid point (from halfway to its neighbours), so cdf, quantiles
    and means are those of one continuous law.

    Parameters
    ----------
    grid : array_like of shape (G,), or (L, G) for candidates of each unit's own
        Candidate remaining lives, strictly ascending, at least two and none negative, in the panel's time unit. The
        attribute has shape (G,) where those of all units are the same, as of one unit, and else (L, G).
    pmf : array_like of shape (L, G, K)
        P(r, k | readings) of model.md (18); sums to 1 over (r, k) for every unit.
    units : sequence of hashables, optional
        Names, length L; numbers if not given.
    mode_labels : sequence of hashables, optional
        Names of the modes, length K.
    time_unit : str, optional

    Raises
    ------
    OptionError
        If shapes do not fit or the grid is not ascending.
    PredictionError
        If a unit's probabilities are negative, not finite, or do not sum to 1 (the message names it).
    """

    __slots__ = ("_cdf", "_edges", "grid", "mode_labels", "pmf", "time_unit", "units")

    grid: FloatArray
    pmf: FloatArray
    units: tuple[Hashable, ...]
    mode_labels: tuple[Hashable, ...]
    time_unit: str | None
    _edges: FloatArray
    _cdf: FloatArray

    def __init__(
        self,
        grid: ArrayLike,
        pmf: ArrayLike,
        *,
        units: Sequence[Hashable] | None = None,
        mode_labels: Sequence[Hashable] | None = None,
        time_unit: str | None = None,
    ) -> None:
        points, masses = np.array(grid, dtype=np.float64), np.array(pmf, dtype=np.float64, order="C")
        _check_grid(points)
        n_points = points.shape[-1]
        if masses.ndim != 3 or masses.shape[1] != n_points or masses.shape[2] == 0:
            raise OptionError(f"pmf has shape {masses.shape}; (n_units, {n_points}, n_modes) was expected")
        if points.ndim == 2:
            if len(points) != len(masses):
                raise OptionError(f"grid has {len(points)} rows; one for each of the {len(masses)} units was expected")
            if (points == points[:1]).all():
                points = points[0].copy()
        names = tuple(range(len(masses)) if units is None else units)
        labels = tuple(range(masses.shape[2]) if mode_labels is None else mode_labels)
        if len(names) != len(masses) or len(labels) != masses.shape[2]:
            raise OptionError(
                f"units has {len(names)} entries and mode_labels {len(labels)}; "
                f"{len(masses)} and {masses.shape[2]} were expected"
            )
        totals = masses.sum(axis=(1, 2))
        bad = ~(np.isfinite(totals) & (np.abs(totals - 1.0) < 1e-6) & (masses >= 0).all(axis=(1, 2)))
        if bad.any():
            unit = int(np.flatnonzero(bad)[0])
            raise PredictionError(
                f"unit {names[unit]!r}: its probabilities sum to {totals[unit]:g} or one is negative; "
                "over all remaining lives and modes they must sum to 1"
            )
        masses /= totals[:, None, None]
        cdf = np.concatenate([np.zeros((len(masses), 1)), np.cumsum(masses.sum(axis=2), axis=1)], axis=1)
        cdf[:, -1] = 1.0
        values = {
            "grid": points, "pmf": masses, "units": names, "mode_labels": labels, "time_unit": time_unit,
            "_edges": cell_edges(points), "_cdf": np.minimum(cdf, 1.0),
        }  # fmt: skip
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"RemainingLifeDistribution is immutable; make a new one instead of setting {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.grid, self.pmf, self.units, self.mode_labels, self.time_unit)

    @property
    def edges(self) -> FloatArray:
        """Edges of the grid's cells, shape (G + 1,), or (L, G + 1) where units have candidates of their own."""
        return self._edges

    @property
    def n_units(self) -> int:
        return len(self.units)

    @property
    def n_modes(self) -> int:
        return len(self.mode_labels)

    def __len__(self) -> int:
        return self.n_units

    def __repr__(self) -> str:
        unit = f" {escaped(self.time_unit)}" if self.time_unit else ""
        span = f"{self.grid.shape[-1]} lives up to {self._edges.max():.6g}{unit}"
        if self.n_units != 1:
            return f"RemainingLifeDistribution({self.n_units} units, {self.n_modes} modes, {span})"
        low, high = self.interval(0.9)
        mode = int(self.mode_probabilities[0].argmax())
        return (
            f"RemainingLifeDistribution(unit {self.units[0]!r}: median {self.median()[0]:.4g}{unit}, 90 % in "
            f"[{low[0]:.4g}, {high[0]:.4g}], mode {self.mode_labels[mode]!r} "
            f"with probability {self.mode_probabilities[0, mode]:.3f})"
        )

    def __getitem__(self, which: int | slice | Sequence[int] | NDArray[Any]) -> RemainingLifeDistribution:
        """Some of the units: a position, a slice, positions, or a mask of length L; of an int, that one unit."""
        try:
            kept = np.atleast_1d(np.arange(self.n_units)[which])
        except (IndexError, TypeError, ValueError):
            raise OptionError(
                f"units cannot be chosen by {which!r}; a position below {self.n_units}, a slice, a list of positions "
                "or a mask was expected; use unit(name) for a unit's name"
            ) from None
        return RemainingLifeDistribution(
            self.grid if self.grid.ndim == 1 else self.grid[kept if len(kept) else 0],
            self.pmf[kept],
            units=[self.units[int(i)] for i in kept],
            mode_labels=self.mode_labels,
            time_unit=self.time_unit,
        )

    def unit(self, name: Hashable) -> RemainingLifeDistribution:
        """The law of one unit, by its name."""
        if name not in self.units:
            raise PredictionError(f"there is no unit {name!r} among the {self.n_units} of this distribution")
        return self[self.units.index(name)]

    @property
    def mode_probabilities(self) -> FloatArray:
        """P(k | readings), whatever the remaining life, shape (L, K)."""
        shares: FloatArray = self.pmf.sum(axis=1)
        return shares

    @underflow_is_zero
    def cdf(self, times: ArrayLike) -> FloatArray:
        """P(remaining life ≤ r), shape (L, m).

        Parameters
        ----------
        times : array_like of shape (m,), or (L, m) for times of each unit's own
        """
        asked = np.asarray(times, dtype=np.float64)
        if np.isnan(asked).any():
            raise OptionError("remaining lives are NaN; numbers were expected")
        if asked.ndim < 2:
            asked = np.broadcast_to(np.atleast_1d(asked), (self.n_units, asked.size))
        if asked.ndim != 2 or len(asked) != self.n_units:
            raise OptionError(f"remaining lives have shape {asked.shape}; (m,) or ({self.n_units}, m) was expected")
        rows = zip(asked, self._edges_of_units(), self._cdf, strict=True)
        return np.array([np.interp(own, edges, cdf) for own, edges, cdf in rows]).reshape(asked.shape)

    def _edges_of_units(self) -> FloatArray:
        """The cells' edges unit by unit, shape (L, G + 1)."""
        return np.broadcast_to(self._edges, (self.n_units, self._edges.shape[-1]))

    def pit(self, truth: ArrayLike) -> FloatArray:
        """Each unit's cdf at its true remaining life, shape (L,): uniform over units if the laws are calibrated."""
        true = np.asarray(truth, dtype=np.float64)
        if true.shape != (self.n_units,):
            raise OptionError(f"truth has shape {true.shape}; ({self.n_units},) was expected")
        return self.cdf(true[:, None])[:, 0]

    @underflow_is_zero
    def quantile(self, q: ArrayLike) -> FloatArray:
        """Remaining life by which a unit has failed with probability q: (L,) for one level, (L, m) for m levels."""
        levels = np.asarray(q, dtype=np.float64)
        if levels.ndim > 1 or not np.all((levels > 0) & (levels < 1)):
            raise OptionError(f"q is {q!r}; levels between 0 and 1, both excluded, were expected")
        wanted = np.atleast_1d(levels)
        result = np.empty((self.n_units, wanted.size))
        for unit, (edges, cdf) in enumerate(zip(self._edges_of_units(), self._cdf, strict=True)):
            # The cell in which the cdf reaches the level; a stretch without mass is passed over.
            cell = np.clip(np.searchsorted(cdf, wanted, side="left") - 1, 0, len(edges) - 2)
            share = (wanted - cdf[cell]) / (cdf[cell + 1] - cdf[cell])
            result[unit] = edges[cell] + share * (edges[cell + 1] - edges[cell])
        return result[:, 0] if levels.ndim == 0 else result

    def median(self) -> FloatArray:
        """The quantile of level ½, shape (L,): the prediction of least expected absolute error."""
        return self.quantile(0.5)

    def interval(self, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Ends, each of shape (L,), of the central interval of this probability."""
        if not 0 < level < 1:
            raise OptionError(f"level is {level}; a number between 0 and 1, both excluded, was expected")
        ends = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return ends[:, 0], ends[:, 1]

    @underflow_is_zero
    def mean(self, cap: float | None = None) -> FloatArray:
        """E[min(remaining life, cap)], shape (L,): the prediction of least expected (capped) squared error."""
        if cap is not None and not cap > 0:
            raise OptionError(f"cap is {cap}; a number above 0 was expected")
        low, high = self._edges[..., :-1], self._edges[..., 1:]
        centres = 0.5 * (low + high)
        if cap is not None:
            # Mean of min(r, cap) for r even over [low, high]: the part below the cap, and the cap for the rest.
            top = np.clip(cap, low, high)
            centres = (0.5 * (top * top - low * low) + cap * (high - top)) / (high - low)
        masses = self.pmf.sum(axis=2)
        means: FloatArray = masses @ centres if centres.ndim == 1 else np.einsum("lg,lg->l", masses, centres)
        return means

    @underflow_is_zero
    def standard_deviation(self) -> FloatArray:
        """Standard deviation of the remaining life, shape (L,)."""
        low, high = self._edges[..., :-1], self._edges[..., 1:]
        centres = 0.5 * (low + high) - self.mean()[:, None]
        within = np.square(high - low) / 12.0
        deviations: FloatArray = np.sqrt((self.pmf.sum(axis=2) * (np.square(centres) + within)).sum(axis=1))
        return deviations

    @underflow_is_zero
    def sample(self, n: int, random_state: int | np.random.Generator | None = None) -> FloatArray:
        """Random remaining lives, shape (L, n)."""
        if n < 1:
            raise OptionError(f"n is {n}; 1 or more draws were expected")
        # Open interval: level 0 has no quantile.
        levels = 1.0 - np.random.default_rng(random_state).random((self.n_units, n))
        levels = np.clip(levels, 1e-16, 1.0 - 1e-16)
        rows = [self[i].quantile(levels[i])[0] for i in range(self.n_units)]
        return np.array(rows).reshape(self.n_units, n)


def _restored(
    grid: FloatArray, pmf: FloatArray, units: Any, labels: Any, unit: str | None
) -> RemainingLifeDistribution:
    return RemainingLifeDistribution(grid, pmf, units=units, mode_labels=labels, time_unit=unit)


def _check_grid(grid: FloatArray) -> None:
    if (
        grid.ndim not in (1, 2)
        or grid.shape[-1] < 2
        or not np.isfinite(grid).all()
        or np.any(np.diff(grid, axis=-1) <= 0)
        or np.any(grid[..., 0] < 0)
    ):
        raise OptionError("grid must be at least two finite remaining lives, strictly ascending, none negative")


def remaining_life_grid(
    lifetimes: Lifetimes, ages: ArrayLike, n_points: int = 300, *, probability: float = 0.999, widening: float = 2.0
) -> FloatArray:
    """Candidate remaining lives for units of these ages: finest near 0, up to the laws' upper quantile.

    Parameters
    ----------
    lifetimes : Lifetimes
        f_k.
    ages : array_like of shape (L,)
        t_now of the units.
    n_points : int
        G.
    probability : float
        The grid reaches the largest quantile of this level, over modes and units, of what is left to a unit of that
        age: it has a value for a unit older than every training unit too.
    widening : float
        Logarithm of the ratio of the last cell's width to the first's; 0 for an even grid.

    Returns
    -------
    ndarray of shape (G,)
    """
    if n_points < 2 or widening < 0:
        raise OptionError(f"n_points is {n_points} and widening {widening}; at least 2 and 0 were expected")
    reach = float(np.max(lifetimes.residual_quantile(np.unique(np.asarray(ages, dtype=np.float64)), probability)))
    return reach * _shares(n_points, widening)


def remaining_life_grids(
    lifetimes: Lifetimes, ages: ArrayLike, n_points: int = 300, *, probability: float = 0.999, widening: float = 2.0
) -> FloatArray:
    """The same for every unit by itself, shape (L, G): `remaining_life_grid` of its age alone."""
    if n_points < 2 or widening < 0:
        raise OptionError(f"n_points is {n_points} and widening {widening}; at least 2 and 0 were expected")
    different, unit = np.unique(np.asarray(ages, dtype=np.float64), return_inverse=True)
    reach = lifetimes.residual_quantile(different, probability).max(axis=-1)
    grids: FloatArray = reach[unit.reshape(-1), None] * _shares(n_points, widening)
    return grids


def _shares(n_points: int, widening: float) -> FloatArray:
    """Candidates as shares of the grid's reach, shape (G,)."""
    share = (np.arange(n_points) + 0.5) / n_points
    return np.asarray(np.expm1(widening * share) / np.expm1(widening) if widening > 0 else share)


@dataclass(frozen=True, eq=False)
class AnchoredStatistics:
    """What (18) needs of units: sufficient statistics (9) on the axis t − t_now, in the user's terms.

    Parameters
    ----------
    triangles : sequence over channels of ndarray (L, p_c, p_c)
        R, upper triangular, rows of zeros where n < p.
    projections : sequence over channels of ndarray (L, p_c)
        w.
    residual_norms : ndarray of shape (L, C)
        rss.
    counts : ndarray of shape (L, C)
        n.
    ages : ndarray of shape (L,)
        t_now, the time of the last reading.
    units : tuple of hashables
    """

    triangles: tuple[FloatArray, ...]
    projections: tuple[FloatArray, ...]
    residual_norms: FloatArray
    counts: NDArray[np.int64]
    ages: FloatArray
    units: tuple[Hashable, ...]

    def of(self, unit: int) -> AnchoredStatistics:
        """Those of one unit, by its position."""
        some = slice(unit, unit + 1)
        return AnchoredStatistics(
            tuple(triangle[some] for triangle in self.triangles),
            tuple(projection[some] for projection in self.projections),
            self.residual_norms[some],
            self.counts[some],
            self.ages[some],
            self.units[some],
        )


@dataclass(frozen=True, eq=False)
class SharedEvidence:
    """What readings say of γᵀf, the part of the log life that shared factors tell (`cem.fitting.linked_lives`).

    Parameters
    ----------
    means, variances : ndarray of shape (L, G, K)
        Of γᵀf given each candidate and mode, (17): its law where the unit has no readings is N(0, ‖γ‖²).
    """

    means: FloatArray
    variances: FloatArray

    @classmethod
    def concatenate(cls, parts: Sequence[SharedEvidence | None]) -> SharedEvidence | None:
        """Of the units of all parts; None where lives are not linked."""
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return cls(np.concatenate([part.means for part in known]), np.concatenate([part.variances for part in known]))


def anchored_statistics(panel: Panel, bases: Sequence[Basis]) -> AnchoredStatistics:
    """Compress each unit of a panel on the axis that ends at its last reading, one QR per unit and channel (9).

    Parameters
    ----------
    panel : Panel
        Running units, on the forward time axis.
    bases : sequence of Basis, length C
        Bound to times to failure, so that they are evaluated at t − t_now ≤ 0.
    """
    if len(bases) != panel.n_channels:
        raise PanelError(
            f"the panel has {panel.n_channels} channels and there are {len(bases)} bases; one each was expected"
        )
    n_units, n_channels = panel.n_units, panel.n_channels
    triangles = [np.zeros((n_units, basis.size, basis.size)) for basis in bases]
    projections = [np.zeros((n_units, basis.size)) for basis in bases]
    norms, counts = np.zeros((n_units, n_channels)), np.zeros((n_units, n_channels), dtype=np.int64)
    ages = np.array(panel.times[np.asarray(panel.offsets[1:]) - 1], dtype=np.float64)
    for unit in range(n_units):
        rows = slice(int(panel.offsets[unit]), int(panel.offsets[unit + 1]))
        times, values = panel.times[rows] - ages[unit], panel.values[rows]
        # One factorisation for all channels of one basis that are observed at the same times.
        alike: dict[tuple[Basis, bytes], list[int]] = {}
        for c, seen in enumerate(~np.isnan(values).T):
            if seen.any():
                alike.setdefault((bases[c], seen.tobytes()), []).append(c)
        for (basis, pattern), channels in alike.items():
            there, p = np.frombuffer(pattern, dtype=np.bool_), basis.size
            readings = values[there][:, channels]
            # The triangle of [Φ x] holds w above row p and what is left of x below: no orthogonal factor is formed.
            whole = np.asarray(np.linalg.qr(np.column_stack([basis(times[there]), readings]), mode="r"))
            kept = min(len(whole), p)
            for column, c in enumerate(channels, start=p):
                triangles[c][unit, :kept] = whole[:kept, :p]
                projections[c][unit, :kept] = whole[:kept, column]
                norms[unit, c] = float(np.square(whole[p:, column]).sum())
                counts[unit, c] = len(readings)
    return AnchoredStatistics(tuple(triangles), tuple(projections), norms, counts, ages, tuple(panel.units))


@underflow_is_zero
def remaining_life_posterior(
    log_densities: FloatArray,
    weights: ArrayLike,
    lifetimes: Lifetimes,
    ages: ArrayLike,
    grid: ArrayLike,
    *,
    shared: SharedEvidence | None = None,
    units: Sequence[Hashable] | None = None,
    mode_labels: Sequence[Hashable] | None = None,
    time_unit: str | None = None,
) -> tuple[RemainingLifeDistribution, FloatArray]:
    """P(r, k | x) ∝ π_k f_k(t_now + r) P(x | k, r): model.md (18), all units at once.

    Where lives are linked to the channels f_k is the law of the life given the readings, at the same k and r. It is
    integrated over the cell of each candidate, and the last cell holds all that is beyond: so the evidence that being
    alive at t_now gives on the mode is Σ_r f_k(t_now + r) = P(life > t_now | k), exactly, on any grid.

    Parameters
    ----------
    log_densities : ndarray of shape (L, G, K)
        ln P(x | k, r), from `candidate_log_densities` or a kernel; zeros for units without readings.
    weights : array_like of shape (K,)
        π.
    lifetimes : Lifetimes
        f_k.
    ages : array_like of shape (L,)
        t_now.
    grid : array_like of shape (G,), or (L, G) for candidates of each unit's own
        Candidate remaining lives, from `remaining_life_grid` or `remaining_life_grids`.
    shared : SharedEvidence, optional
        What the readings say of lives that are linked to them; without it they say nothing.
    units, mode_labels, time_unit
        As in `RemainingLifeDistribution`.

    Returns
    -------
    distribution : RemainingLifeDistribution
    log_evidence : ndarray of shape (L,)
        ln Σ_{r,k} π_k f_k(t_now + r) P(x | k, r): a running unit's part of (19).

    Raises
    ------
    PredictionError
        If a unit has no candidate of a finite density (the message names it).
    """
    points, alive = np.asarray(grid, dtype=np.float64), np.asarray(ages, dtype=np.float64)
    shares = np.asarray(weights, dtype=np.float64)
    _check_grid(points)
    expected = (len(alive), points.shape[-1], lifetimes.n_modes)
    if np.shape(log_densities) != expected or shares.shape != (lifetimes.n_modes,):
        raise OptionError(
            f"log_densities and weights have shapes {np.shape(log_densities)} and {shares.shape}; {expected} and "
            f"{(lifetimes.n_modes,)} were expected, for {len(alive)} ages, {points.shape[-1]} candidates and the laws' "
            "modes"
        )
    edges = cell_edges(points)
    edges[..., 0] = 0.0
    lives = alive[:, None] + edges[..., :-1]
    nothing = np.full((len(alive), 1, lifetimes.n_modes), -np.inf)
    if shared is None:
        log_survival = lifetimes.log_survival(lives)  # (L, G, K)
        beyond = np.concatenate([log_survival[:, 1:], nothing], axis=1)
    else:  # every candidate has a law of its own
        log_survival = lifetimes.log_survival_given(lives, shared.means, shared.variances)
        ends = lifetimes.log_survival_given(lives[:, 1:], shared.means[:, :-1], shared.variances[:, :-1])
        beyond = np.concatenate([ends, nothing], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = log_survival + np.log(-np.expm1(np.minimum(beyond - log_survival, 0.0)))
        joint = np.log(shares) + np.where(np.isneginf(log_survival), -np.inf, log_mass) + log_densities
    highest = joint.max(axis=(1, 2))
    names = tuple(range(len(alive)) if units is None else units)
    bad = ~np.isfinite(highest)
    if bad.any():
        unit = int(np.flatnonzero(bad)[0])
        raise PredictionError(
            f"unit {names[unit]!r}, at age {alive[unit]:g}: no candidate remaining life has a finite density; "
            "check that its readings are in the units of the training data and its time on the same clock"
        )
    masses = np.exp(joint - highest[:, None, None])
    totals = masses.sum(axis=(1, 2))
    distribution = RemainingLifeDistribution(
        points, masses / totals[:, None, None], units=names, mode_labels=mode_labels, time_unit=time_unit
    )
    return distribution, highest + np.log(totals)
