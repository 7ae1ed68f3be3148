"""Distribution of the remaining life of running units, from training units that ran to failure: model.md (18).

`remaining_life_posterior` computes the posterior of every candidate remaining life r and mode k of every unit, and
`RemainingLifeDistribution` gives its quantiles, intervals and means. It needs only NumPy.

A candidate r moves the unit's readings to τ = t − (t_now + r) on the axis that ends at failure. For a shift-invariant
basis, φ(τ₀ − r)ᵀ = φ(τ₀)ᵀS(r). So the unit is compressed once, at τ₀ = t − t_now, anchored at its last reading, and
each candidate is evaluated with R S(r) in place of R, without the readings.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PredictionError
from cem.errors.display import escaped
from cem.lifetimes.grid import cell_edges, check_grid
from cem.mixture.life_law import RemainingLifeLaw
from cem.numerics.floating import underflow_is_zero
from cem.prognosis import _rul
from cem.prognosis.candidates import SharedEvidence

if TYPE_CHECKING:
    from cem.lifetimes.lifetimes import Lifetimes
    from cem.mixture.unit_fits import UnitFits

__all__ = [
    "RemainingLifeDistribution",
    "remaining_life_posterior",
]

FloatArray = NDArray[np.float64]


def over_modes(masses: FloatArray) -> FloatArray:
    """Σ_k of (L, G, K); NumPy's own sum over a short axis is slow."""
    total = masses[:, :, 0]
    for k in range(1, masses.shape[2]):
        total = total + masses[:, :, k]
    return total


class RemainingLifeDistribution(RemainingLifeLaw):
    """Predictive distribution of the remaining life of each unit, jointly with its failure mode; immutable.

    Probability is spread evenly over the cell of each grid point (from halfway to its neighbours). So cdf, quantiles
    and means are those of one continuous distribution.

    Parameters
    ----------
    grid : array_like of shape (G,), or (L, G) for candidates of each unit's own
        Candidate remaining lives, strictly increasing, at least two and none negative, in the panel's time unit. The
        attribute has shape (G,) if all units have the same candidates, else (L, G).
    pmf : array_like of shape (L, G, K)
        P(r, k | readings) of model.md (18); sums to 1 over (r, k) for every unit.
    units : sequence of hashables, optional
        Names, length L; numbers by default.
    mode_labels : sequence of hashables, optional
        Names of the modes, length K.
    time_unit : str, optional
        Label of the unit of time.

    Raises
    ------
    OptionError
        Shapes do not fit, or the grid does not increase.
    PredictionError
        A unit's probabilities are negative, not finite, or do not sum to 1 (the message names the unit).

    Examples
    --------
    >>> import numpy as np
    >>> import cem
    >>> law = cem.RemainingLifeDistribution([10.0, 20.0, 30.0], np.array([[[0.25], [0.5], [0.25]]]))
    >>> law.median()
    array([20.])
    """

    __slots__ = (
        "_backend", "_cumulated", "_edges", "_fits", "grid", "mode_labels", "pmf", "probability_never", "time_unit",
        "units",
    )  # fmt: skip

    grid: FloatArray
    pmf: FloatArray
    units: tuple[Hashable, ...]
    mode_labels: tuple[Hashable, ...]
    time_unit: str | None
    horizon = float("inf")
    _backend: str | None
    _edges: FloatArray
    _fits: UnitFits | None
    _cumulated: FloatArray
    probability_never: FloatArray

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
        check_grid(points)
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
        self._hold(points, masses, names, labels, time_unit)

    def _hold(
        self,
        points: FloatArray,
        masses: FloatArray,
        names: tuple[Hashable, ...],
        labels: tuple[Hashable, ...],
        time_unit: str | None,
        edges: FloatArray | None = None,
    ) -> None:
        cdf = np.empty((len(masses), masses.shape[1] + 1))
        cdf[:, 0] = 0.0
        np.cumsum(over_modes(masses), axis=1, out=cdf[:, 1:])
        cdf[:, -1] = 1.0
        np.minimum(cdf, 1.0, out=cdf)
        if edges is None:
            edges = cell_edges(points)
        never = np.zeros(len(masses))  # every unit fails
        for array in (points, masses, edges, cdf, never):
            array.setflags(write=False)
        hold = object.__setattr__
        hold(self, "grid", points)
        hold(self, "pmf", masses)
        hold(self, "units", names)
        hold(self, "mode_labels", labels)
        hold(self, "time_unit", time_unit)
        hold(self, "_backend", None)
        hold(self, "_fits", None)
        hold(self, "_edges", edges)
        hold(self, "_cumulated", cdf)
        hold(self, "probability_never", never)

    @classmethod
    def trusted(
        cls,
        grid: FloatArray,
        pmf: FloatArray,
        units: tuple[Hashable, ...],
        mode_labels: tuple[Hashable, ...],
        time_unit: str | None,
        edges: FloatArray | None = None,
    ) -> Self:
        """A distribution of arrays made by this package: neither checked nor copied, and read-only from now on.

        Parameters
        ----------
        grid, pmf, units, mode_labels, time_unit
            As for the constructor.
        edges : ndarray, optional
            Edges of the grid's cells, where they are known already.
        """
        law = cls.__new__(cls)
        if grid.ndim == 2 and (len(grid) == 1 or (grid == grid[:1]).all()):
            grid, edges = (grid[0].copy() if len(grid) else np.array([0.0, 1.0])), None
        law._hold(grid, pmf, units, mode_labels, time_unit, edges)
        return law

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"RemainingLifeDistribution is immutable; make a new one instead of setting {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.grid, self.pmf, self.units, self.mode_labels, self.time_unit, self._fits)

    @property
    def edges(self) -> FloatArray:
        """Edges of the grid's cells, shape (G + 1,), or (L, G + 1) if units have candidates of their own."""
        return self._edges

    @property
    def n_modes(self) -> int:
        """K, the number of modes."""
        return len(self.mode_labels)

    def __repr__(self) -> str:
        unit = f" {escaped(self.time_unit)}" if self.time_unit else ""
        span = f"{self.grid.shape[-1]} lives up to {self._edges.max():.6g}{unit}"
        if self.n_units != 1:
            modes = f"{self.n_modes} mode{'s' * (self.n_modes != 1)}"
            return f"RemainingLifeDistribution({self.n_units} units, {modes}, {span}{self._flags_shown()})"
        low, high = self.interval(0.9)
        mode = int(self.mode_probabilities[0].argmax())
        return (
            f"RemainingLifeDistribution(unit {self.units[0]!r}: median {self.median()[0]:.4g}{unit}, 90 % in "
            f"[{low[0]:.4g}, {high[0]:.4g}], mode {self.mode_labels[mode]!r} "
            f"with probability {self.mode_probabilities[0, mode]:.3f}{self._flags_shown()})"
        )

    def _figures(self, shared: dict[str, Any]) -> dict[str, Any]:
        return {"mean": self._mean(None), **shared, "standard_deviation": self.standard_deviation()}

    def _of_backend(self, backend: str | None) -> Self:
        """This distribution, which makes frames of this library if none is asked for."""
        object.__setattr__(self, "_backend", backend)
        return self

    def _with_fits(self, fits: UnitFits | None) -> Self:
        """This distribution, which says how well its units fit the model."""
        object.__setattr__(self, "_fits", fits)
        return self

    def _selected(self, kept: NDArray[np.int64]) -> Self:
        grid, edges = self.grid, self._edges
        if grid.ndim == 2:
            grid, edges = (grid[kept], edges[kept]) if len(kept) else (grid[0], edges[0])
        names = tuple(self.units[int(i)] for i in kept)
        law = self.trusted(grid, self.pmf[kept], names, self.mode_labels, self.time_unit, edges)
        return law._of_backend(self._backend)._with_fits(None if self._fits is None else self._fits.of(kept))

    @property
    def mode_probabilities(self) -> FloatArray:
        """P(k | readings), over all remaining lives, shape (L, K)."""
        shares: FloatArray = self.pmf.sum(axis=1)
        return shares

    def _cdf(self, lives: FloatArray) -> FloatArray:
        edges, cdf = self._edges_of_units(), self._cumulated
        if lives.shape[1] > self.n_units:
            rows = zip(lives, edges, cdf, strict=True)
            return np.array([np.interp(*row) for row in rows]).reshape(lives.shape)
        held = np.clip(lives, edges[:, :1], edges[:, -1:])
        cells = self._cells(held)
        first, last = np.take_along_axis(edges, cells, axis=1), np.take_along_axis(edges, cells + 1, axis=1)
        low, high = np.take_along_axis(cdf, cells, axis=1), np.take_along_axis(cdf, cells + 1, axis=1)
        return np.asarray(low + (high - low) * ((held - first) / (last - first)))

    def _pdf(self, lives: FloatArray) -> FloatArray:
        edges = self._edges_of_units()
        density = np.diff(self._cumulated, axis=1) / np.diff(edges, axis=1)
        inside = (lives >= edges[:, :1]) & (lives <= edges[:, -1:])
        return np.where(inside, np.take_along_axis(density, self._cells(lives), axis=1), 0.0)

    def _cells(self, lives: FloatArray) -> NDArray[np.int64]:
        """The cell in which each remaining life lies, (L, m); the first or the last for those outside."""
        if self._edges.ndim == 1 or not lives.size:
            above = np.searchsorted(self._edges.ravel(), lives, side="right")
        else:
            above = np.stack([np.count_nonzero(self._edges <= moment[:, None], axis=1) for moment in lives.T], axis=1)
        return np.clip(above - 1, 0, self._edges.shape[-1] - 2)

    def _edges_of_units(self) -> FloatArray:
        """The cells' edges unit by unit, shape (L, G + 1)."""
        return np.broadcast_to(self._edges, (self.n_units, self._edges.shape[-1]))

    def _quantile(self, levels: FloatArray) -> FloatArray:
        edges, cdf = self._edges_of_units(), self._cumulated
        # The cell in which the cdf reaches the level, skipping a stretch without mass. Loops over units or levels,
        # whichever are fewer.
        if not levels.size:
            return np.empty(levels.shape)
        if levels.shape[1] > self.n_units:
            cells = np.stack([np.searchsorted(row, own, side="left") for row, own in zip(cdf, levels, strict=True)])
        else:
            cells = np.stack([np.count_nonzero(cdf < level[:, None], axis=1) for level in levels.T], axis=1)
        cells = np.clip(cells - 1, 0, edges.shape[1] - 2)
        low, high = np.take_along_axis(cdf, cells, axis=1), np.take_along_axis(cdf, cells + 1, axis=1)
        first, last = np.take_along_axis(edges, cells, axis=1), np.take_along_axis(edges, cells + 1, axis=1)
        return np.asarray(first + (levels - low) / (high - low) * (last - first))

    def _mean(self, cap: float | None) -> FloatArray:
        low, high = self._edges[..., :-1], self._edges[..., 1:]
        centres = 0.5 * (low + high)
        if cap is not None:
            # Mean of min(r, cap) for r uniform on [low, high]: the part below the cap, and the cap for the rest.
            top = np.clip(cap, low, high)
            centres = (0.5 * (top * top - low * low) + cap * (high - top)) / (high - low)
        masses = self.pmf.sum(axis=2)
        means: FloatArray = masses @ centres if centres.ndim == 1 else np.einsum("lg,lg->l", masses, centres)
        return means

    @underflow_is_zero
    def standard_deviation(self) -> FloatArray:
        """Return the standard deviation of the remaining life, shape (L,)."""
        low, high = self._edges[..., :-1], self._edges[..., 1:]
        centres = 0.5 * (low + high) - self._mean(None)[:, None]
        within = np.square(high - low) / 12.0
        deviations: FloatArray = np.sqrt((self.pmf.sum(axis=2) * (np.square(centres) + within)).sum(axis=1))
        return deviations


def _restored(
    grid: FloatArray, pmf: FloatArray, units: Any, labels: Any, unit: str | None, fits: UnitFits | None = None
) -> RemainingLifeDistribution:
    return RemainingLifeDistribution.trusted(grid, pmf, tuple(units), tuple(labels), unit)._with_fits(fits)


@underflow_is_zero
def remaining_life_posterior(
    log_densities: FloatArray,
    weights: ArrayLike,
    lifetimes: Lifetimes,
    ages: ArrayLike,
    grid: ArrayLike,
    *,
    shared: SharedEvidence | None = None,
    temper: float = 1.0,
    units: Sequence[Hashable] | None = None,
    mode_labels: Sequence[Hashable] | None = None,
    time_unit: str | None = None,
) -> tuple[RemainingLifeDistribution, FloatArray]:
    """P(r, k | x) ∝ π_k f_k(t_now + r) P(x | k, r): model.md (18), all units at once.

    If lives are linked to the channels, f_k is the law of the life given the readings, at the same k and r. f_k is
    integrated over the cell of each candidate, and the last cell includes all longer lives. So being alive at t_now
    contributes to the mode exactly Σ_r f_k(t_now + r) = P(life > t_now | k), on any grid.

    Parameters
    ----------
    log_densities : ndarray of shape (L, G, K)
        ln P(x | k, r), from `candidate_log_densities` or a kernel; zeros for units without readings.
    weights : array_like of shape (K,), or (L, K) if units have probabilities of their modes of their own
        π.
    lifetimes : Lifetimes
        f_k.
    ages : array_like of shape (L,)
        t_now.
    grid : array_like of shape (G,), or (L, G) for candidates of each unit's own
        Candidate remaining lives, from `remaining_life_grid` or `remaining_life_grids`.
    shared : SharedEvidence, optional
        The posterior of the shared factors, for lives linked to them; without it the readings do not inform the lives.
    temper : float
        β: the power to which the densities are raised.
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
        No candidate of a unit has a finite density (the message names the unit).
    """
    points, alive = np.asarray(grid, dtype=np.float64), np.asarray(ages, dtype=np.float64)
    shares = np.asarray(weights, dtype=np.float64)
    check_grid(points)
    expected = (len(alive), points.shape[-1], lifetimes.n_modes)
    if np.shape(log_densities) != expected or shares.shape not in ((lifetimes.n_modes,), expected[::2]):
        raise OptionError(
            f"log_densities and weights have shapes {np.shape(log_densities)} and {shares.shape}; {expected} and "
            f"{(lifetimes.n_modes,)} were expected, for {len(alive)} ages, {points.shape[-1]} candidates and the laws' "
            "modes"
        )
    names = tuple(range(len(alive)) if units is None else units)
    labels = tuple(range(lifetimes.n_modes) if mode_labels is None else mode_labels)
    if (len(names), len(labels)) != (len(alive), lifetimes.n_modes):
        raise OptionError(
            f"units has {len(names)} entries and mode_labels {len(labels)}; "
            f"{len(alive)} and {lifetimes.n_modes} were expected"
        )
    masses, log_evidence, bad = posterior_masses(log_densities, temper, shares, lifetimes, alive, points, shared)
    if bad >= 0:
        raise PredictionError(
            f"unit {names[bad]!r}, at age {alive[bad]:g}: no candidate remaining life has a finite density; "
            "check that its readings are in the units of the training data and its time on the same clock"
        )
    points = points.copy()
    return RemainingLifeDistribution.trusted(points, masses, names, labels, time_unit), log_evidence


@underflow_is_zero
def posterior_masses(
    log_densities: FloatArray,
    temper: float,
    weights: FloatArray,
    lifetimes: Lifetimes,
    ages: FloatArray,
    grid: FloatArray,
    shared: SharedEvidence | None,
) -> tuple[FloatArray, FloatArray, int]:
    """The arrays of `remaining_life_posterior`, with P(x | k, r) raised to the power `temper`.

    Weights are of shape (K,) or (L, K).

    Returns
    -------
    masses : ndarray of shape (L, G, K)
    log_evidence : ndarray of shape (L,)
    bad : int
        A unit for which no candidate has a finite density; −1 if there is none.
    """
    starts = cell_edges(grid)[..., :-1]
    starts[..., 0] = 0.0
    lives = ages[:, None] + starts
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    densities = np.moveaxis(log_densities, 2, 1)  # (L, K, G)
    if log_weights.ndim == 2:  # of each unit: as if its readings spoke for them, beside even weights
        densities, log_weights = densities + log_weights[:, :, None] / temper, np.zeros(weights.shape[1])
    laws = lifetimes.normal_logs(shared is not None)
    if laws is not None:
        return _by_kernel(densities, temper, log_weights, laws, lives, shared)
    log_survival = np.stack([law.log_survival(lives) for law in lifetimes.laws], axis=1)
    joint = np.empty_like(log_survival)
    with np.errstate(divide="ignore", invalid="ignore"):
        # ln P(life in the cell) = ln S(start) + ln(1 - S(end) / S(start)); the last cell includes all longer lives
        np.subtract(log_survival[..., 1:], log_survival[..., :-1], out=joint[..., :-1])
        joint[..., -1] = -np.inf
        np.minimum(joint, 0.0, out=joint)
        np.log(np.negative(np.expm1(joint, out=joint), out=joint), out=joint)
        joint += log_survival
        joint[np.isneginf(log_survival)] = -np.inf
        joint += log_weights[:, None]
        joint += densities if temper == 1.0 else temper * densities
    highest = joint.max(axis=(1, 2))
    bad = ~np.isfinite(highest)
    if bad.any():
        return joint, highest, int(bad.argmax())
    joint -= highest[:, None, None]
    np.exp(joint, out=joint)
    totals = joint.sum(axis=(1, 2))
    joint /= totals[:, None, None]
    return np.ascontiguousarray(np.moveaxis(joint, 1, 2)), highest + np.log(totals), -1


def _by_kernel(
    densities: FloatArray,
    temper: float,
    log_weights: FloatArray,
    laws: tuple[FloatArray, FloatArray],
    lives: FloatArray,
    shared: SharedEvidence | None,
) -> tuple[FloatArray, FloatArray, int]:
    """`posterior_masses` if log lives are normal given the readings."""
    n_units, n_modes, n_grid = densities.shape
    means = variances = np.empty((0, 0, 0))
    if shared is not None:
        means, variances = np.moveaxis(shared.means, 2, 1), np.moveaxis(shared.variances, 2, 1)
    if not (densities.strides[2] == 8 and all(a.strides in (densities.strides, (0, 0, 8)) for a in (means, variances))):
        densities, means, variances = (np.ascontiguousarray(a) for a in (densities, means, variances))
    masses, log_evidence = np.empty((n_units, n_grid, n_modes)), np.empty(n_units)
    with np.errstate(divide="ignore"):
        log_lives = np.log(np.maximum(lives, 0.0))
    bad = _rul.lognormal_laws(
        densities, temper, log_weights, log_lives, *laws, means, variances, masses, log_evidence
    )  # fmt: skip
    return masses, log_evidence, bad
