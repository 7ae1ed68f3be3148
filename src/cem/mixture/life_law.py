"""What every law of remaining lives can answer, whether failure is learned from failed units or is a threshold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import ConditionalMeanWarning, OptionError, PredictionError
from cem.errors.names import listed
from cem.errors.options import floats, integer, real, shortened
from cem.errors.warning import warn
from cem.numerics.floating import underflow_is_zero

if TYPE_CHECKING:
    from cem.mixture.unit_fits import UnitFits
    from cem.plot.laws import LawDisplay

__all__ = ["RemainingLifeLaw"]

FloatArray = NDArray[np.float64]

_NEVER_MATTERS = 1e-6
"""Above this probability that a life never ends, `mean` warns that it is of the lives that do."""

_MOST_NAMED = 3
_MOST_DRAWS = 10**9
_A_LEVEL = "a number between 0 and 1, both excluded,"


def _is_above_0(number: object) -> bool:
    if isinstance(number, str | bytes | bool | np.bool_) or np.ndim(number):  # type: ignore[arg-type]
        return False
    try:
        return float(number) > 0  # type: ignore[arg-type]  # what is no number raises TypeError
    except (TypeError, ValueError):
        return False


class RemainingLifeLaw(ABC):
    """Predictive distribution of the remaining life of each of L units, jointly with its mode.

    `RemainingLife.predict` and `FailureModeModel.remaining_life` return laws of this type. The first is a
    `RemainingLifeDistribution`, and every unit of it fails. The second is a `FirstPassage`, and a unit may never cross
    its threshold: part of its probability lies at an infinite remaining life.

    Attributes
    ----------
    units : tuple of hashables, length L
        Names of the units.
    mode_labels : tuple of hashables, length K
        Names of the modes; empty if the law was made without a model.
    mode_probabilities : ndarray of shape (L, K)
        P(mode | readings, running now).
    probability_never : ndarray of shape (L,)
        Probability that the remaining life is infinite, or ends beyond the horizon; 0 for alignment at failure.
    horizon : float
        Longest remaining life that was looked at; later ends count as "never". inf unless the law was simulated.
    time_unit : str or None
        Label of the unit of time.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # attributes of one kind of law, properties of the other

        @property
        def units(self) -> tuple[Hashable, ...]: ...
        @property
        def mode_labels(self) -> tuple[Hashable, ...]: ...
        @property
        def mode_probabilities(self) -> FloatArray: ...
        @property
        def probability_never(self) -> FloatArray: ...
        @property
        def horizon(self) -> float: ...
        @property
        def time_unit(self) -> str | None: ...
        @property
        def _backend(self) -> str | None: ...
        @property
        def _fits(self) -> UnitFits | None: ...

    # ---- what each kind of law computes in its own way ---------------------------------------------------------

    @abstractmethod
    def _cdf(self, lives: FloatArray) -> FloatArray:
        """P(remaining life ≤ r), (L, m) from (L, m)."""

    @abstractmethod
    def _pdf(self, lives: FloatArray) -> FloatArray:
        """The density at r, (L, m) from (L, m)."""

    @abstractmethod
    def _quantile(self, levels: FloatArray) -> FloatArray:
        """(L, m) from levels (L, m), each between 0 and 1; inf above 1 − probability_never."""

    @abstractmethod
    def _mean(self, cap: float | None) -> FloatArray:
        """E[min(r, cap)] for a finite cap; E[r | the life ends] for None; (L,)."""

    @abstractmethod
    def _selected(self, kept: NDArray[np.int64]) -> Self:
        """The law of the units at these positions."""

    @abstractmethod
    def _figures(self, shared: dict[str, Any]) -> dict[str, Any]:
        """The columns of a table beside the unit and its modes, from those of the median and the interval."""

    # ---- probabilities -----------------------------------------------------------------------------------------

    @underflow_is_zero
    def cdf(self, times: ArrayLike) -> FloatArray:
        """Return P(remaining life ≤ r), shape (L, m).

        Parameters
        ----------
        times : array_like of shape (m,), or (L, m) for times of each unit's own
            r, counted from the last reading, in the panel's time unit; beyond the horizon the cdf is constant.
        """
        return self._cdf(self._by_unit(times))

    @underflow_is_zero
    def pdf(self, times: ArrayLike) -> FloatArray:
        """Return the density of the remaining life at r, per unit of time, shape (L, m).

        It integrates to 1 − probability_never. For candidates on a grid it is constant on each cell. A simulated
        density is smoothed by a kernel. A unit that has almost certainly crossed its threshold has density 0.

        Parameters
        ----------
        times
            As for `cdf`.
        """
        return self._pdf(self._by_unit(times))

    @underflow_is_zero
    def failure_probability(self, h: ArrayLike) -> FloatArray:
        """Return P(remaining life ≤ h | readings, running now): the probability that a unit fails within h.

        Compare it with what happened by `cem.metrics.failure_brier_score` and `cem.metrics.failure_reliability`.

        Parameters
        ----------
        h : float, or array_like of shape (m,)
            Time from the last reading, 0 or more, in the panel's time unit, and at most the horizon.

        Returns
        -------
        ndarray of shape (L,), or (L, m) for m times

        Raises
        ------
        OptionError
            h is negative or NaN, or lies beyond the horizon up to which crossings were simulated.

        Examples
        --------
        >>> import numpy as np
        >>> import cem
        >>> law = cem.RemainingLifeDistribution([10.0, 20.0, 30.0], np.array([[[0.25], [0.5], [0.25]]]))
        >>> law.failure_probability(20.0)
        array([0.5])
        """
        asked = floats("h", h, "a time from now in the panel's unit, or several,", "was")
        if asked.ndim > 1:
            raise OptionError(f"h has shape {asked.shape}; a number or shape (m,) was expected")
        bad = asked[~(asked >= 0)]
        if bad.size:
            raise OptionError(f"h is {bad[0]:g}; a time from now, 0 or more, was expected")
        if np.any(asked > self.horizon):
            raise OptionError(
                f"h is {asked.max():g}, and crossings were looked for up to the horizon of {self.horizon:g} from now; "
                + (
                    "ask for less"
                    if np.isinf(asked.max())
                    else "ask for less, or for a law that reaches further: "
                    f"remaining_life(..., horizon={asked.max():g})"
                )
            )
        found = self._cdf(self._by_unit(asked))
        return found[:, 0] if asked.ndim == 0 else found

    def pit(self, truth: ArrayLike) -> FloatArray:
        """Return each unit's cdf at its true remaining life, shape (L,); uniform over units if calibrated.

        A life that never ended, or ended beyond the horizon, gets the middle of the probability that the law gives to
        "never": 1 − probability_never / 2.

        Parameters
        ----------
        truth : array_like of shape (L,)
            Remaining lives that were observed; inf for a unit that never fails, if its law allows that.

        Raises
        ------
        OptionError
            There is not one number for each unit, one is NaN, or it is inf and the unit cannot last for ever.
        """
        true = floats("truth", truth, "a number for each unit, its remaining life,", "was")
        if true.shape != (self.n_units,):
            raise OptionError(f"truth has shape {true.shape}; ({self.n_units},) was expected")
        never = self.probability_never
        impossible = np.isposinf(true) & (never <= 0)
        if impossible.any():
            raise OptionError(
                f"truth of unit {self.units[int(impossible.argmax())]!r} is inf, and its law gives no probability to a "
                "life that never ends; give the remaining life, or leave the unit out"
            )
        below = self.cdf(true[:, None])[:, 0]
        return np.where((true > self.horizon) | np.isposinf(true), 1.0 - 0.5 * never, below)

    # ---- quantiles and means -----------------------------------------------------------------------------------

    @underflow_is_zero
    def quantile(self, q: ArrayLike) -> FloatArray:
        """Return the remaining life by which a unit has failed with probability q.

        Shape (L,) for one level, (L, m) for m levels. It is inf if the probability that the life never ends is above
        1 − q.

        Parameters
        ----------
        q : float or array_like of shape (m,)
            Probabilities between 0 and 1, both excluded.
        """
        levels = floats("q", q, "a level between 0 and 1, or several,", "was")
        if levels.ndim > 1 or not np.all((levels > 0) & (levels < 1)):
            raise OptionError(f"q is {q!r}; levels between 0 and 1, both excluded, were expected")
        found = self._quantile(np.broadcast_to(np.atleast_1d(levels), (self.n_units, levels.size)))
        return found[:, 0] if levels.ndim == 0 else found

    def median(self) -> FloatArray:
        """Return the median, shape (L,): the prediction with the smallest expected absolute error.

        It is inf for a unit that is more likely than not to last for ever, or beyond the horizon.
        """
        return self.quantile(0.5)

    def interval(self, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the central prediction interval with this probability, each of shape (L,).

        Parameters
        ----------
        level : float
            Probability of the interval, between 0 and 1.
        """
        level = real("level", level, _A_LEVEL)
        if not 0 < level < 1:
            raise OptionError(f"level is {level}; {_A_LEVEL} was expected")
        ends = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return ends[:, 0], ends[:, 1]

    @underflow_is_zero
    def mean(self, cap: float | None = None) -> FloatArray:
        """Return the mean remaining life, shape (L,): the prediction with the smallest expected squared error.

        With a cap it is E[min(remaining life, cap)], and a life that never ends counts as the cap. Without a cap, a
        life that may never end has no finite mean. Its mean is then conditional: of the lives that do end, within the
        horizon if the law was simulated. `probability_never` says how many do not. For a straight line with an
        uncertain slope even this is inf, because the density falls only with the square of the time. For a unit that
        cannot cross its threshold it is inf too.

        Parameters
        ----------
        cap : float, optional
            Remaining lives above it count as the cap; none by default.

        Warns
        -----
        ConditionalMeanWarning
            There is no cap, and the life of some unit may never end (with a probability above 1e-6).
        """
        if cap is not None and not _is_above_0(cap):
            raise OptionError(f"cap is {shortened(cap)}; a number above 0 was expected")
        if cap is not None and np.isfinite(cap):
            return self._mean(float(cap))
        means = self._mean(None)
        if cap is not None:
            return np.where(self.probability_never > 0, np.inf, means)
        self._warn_of_never(means)
        return means

    def _warn_of_never(self, means: FloatArray) -> None:
        never = self.probability_never
        some = np.flatnonzero(never > _NEVER_MATTERS)
        if not some.size:
            return
        where = "" if np.isinf(self.horizon) else f" within the horizon of {self.horizon:g}"
        named = listed([self.units[int(i)] for i in some], _MOST_NAMED)
        if np.isfinite(means[some]).any():
            which = f"their means are those of the lives that end{where}; probability_never says how many do not, and"
        else:
            which = "their means are infinite;"
        warn(
            f"{some.size} of {self.n_units} units may never fail{where} (unit {named}; probability up to "
            f"{never.max():.3g}): {which} mean(cap=...) counts lives without end as the cap",
            ConditionalMeanWarning,
        )

    @underflow_is_zero
    def sample(self, n: int, random_state: int | np.random.Generator | None = None) -> FloatArray:
        """Draw random remaining lives, shape (L, n); inf for lives that never end, or end beyond the horizon.

        Parameters
        ----------
        n : int
            Draws for each unit.
        random_state : int or Generator, optional
            Seed of the draws.
        """
        n = integer("n", n, 1, _MOST_DRAWS)
        try:
            generator = np.random.default_rng(random_state)
        except (TypeError, ValueError):
            raise OptionError(
                f"random_state is {shortened(random_state)}; a whole number of at least 0, a Generator or None was "
                "expected"
            ) from None
        # Levels from an open interval, because level 0 has no quantile.
        levels = 1.0 - generator.random((self.n_units, n))
        return self._quantile(np.clip(levels, 1e-16, 1.0 - 1e-16))

    # ---- how well the units fit ---------------------------------------------------------------------------------

    @property
    def fit(self) -> FloatArray | None:
        """How common such a fit is, shape (L,): the probability that a training unit fits as strangely as this one.

        It compares the channels that were not left out with training units cut off at random ages. Near 0, no training
        unit is explained like this unit. A law to a threshold compares all channels with what the model itself expects.
        NaN: there was nothing to compare with, or with a threshold ``gate="on"`` was not asked for. None: there was no
        gate.
        """
        return None if self._fits is None else self._fits.fit

    @property
    def channel_fit(self) -> FloatArray | None:
        """The same of each channel alone, shape (L, C), in the order of the model's channels."""
        return None if self._fits is None else self._fits.channel_fit

    @property
    def readings_left_out(self) -> NDArray[np.int64] | None:
        """How many readings of each channel were too far out to be entered, shape (L, C); None if none is looked at."""
        return None if self._fits is None else self._fits.readings_left_out

    @property
    def channels_left_out(self) -> NDArray[np.bool_] | None:
        """Whether a channel took no part in a unit's law, shape (L, C); None if none is looked at."""
        return None if self._fits is None else self._fits.channels_left_out

    @property
    def flags(self) -> tuple[tuple[str, ...], ...]:
        """What is strange about each unit, in words, length L; no words for a unit like those in training."""
        return ((),) * self.n_units if self._fits is None else self._fits.flags

    def _flags_shown(self) -> str:
        """What a repr says of strange units."""
        flagged = [l for l, own in enumerate(self.flags) if own]
        if not flagged:
            return ""
        if self.n_units == 1:
            return f"; {', '.join(self.flags[0])}"
        return f"; {len(flagged)} flagged: {listed([self.units[l] for l in flagged], _MOST_NAMED)}"

    # ---- units -------------------------------------------------------------------------------------------------

    @property
    def n_units(self) -> int:
        """L, the number of units."""
        return len(self.units)

    def __len__(self) -> int:
        return self.n_units

    def __getitem__(self, which: int | slice | Sequence[int] | NDArray[Any]) -> Self:
        """Select units by position, slice, list of positions, or mask of length L; an int selects that one unit."""
        try:
            kept = np.atleast_1d(np.arange(self.n_units)[which])
        except (IndexError, TypeError, ValueError):
            kept = None
        if kept is None or kept.ndim != 1 or which is None or isinstance(which, bool | np.bool_):
            raise OptionError(
                f"units cannot be chosen by {which!r}; a position below {self.n_units}, a slice, a list of positions "
                "or a mask was expected; use unit(name) for a unit's name"
            )
        return self._selected(kept)

    def __iter__(self) -> Iterator[Self]:
        """The laws of single units, one after the other."""
        return (self[i] for i in range(self.n_units))

    def unit(self, name: Hashable) -> Self:
        """Return the law of one unit, by its name.

        Parameters
        ----------
        name : hashable
            Id of the unit.
        """
        if name not in self.units:
            raise PredictionError(f"there is no unit {name!r} among the {self.n_units} of this distribution")
        return self[self.units.index(name)]

    def _by_unit(self, times: ArrayLike) -> FloatArray:
        """Remaining lives (m,) or (L, m) or a number, as (L, m)."""
        lives = floats("times", times, "a remaining life in the panel's unit, or several,", "was")
        if np.isnan(lives).any():
            raise OptionError("some remaining lives are NaN; numbers were expected")
        if lives.ndim < 2:
            return np.broadcast_to(np.atleast_1d(lives), (self.n_units, lives.size))
        if lives.ndim != 2 or len(lives) != self.n_units:
            raise OptionError(f"remaining lives have shape {lives.shape}; (m,) or ({self.n_units}, m) was expected")
        return lives

    # ---- tables and pictures -----------------------------------------------------------------------------------

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each unit as a data frame.

        Its columns are the unit, its mean (as `mean` without a cap), median, the ends of its 90 % interval, what this
        kind of law has besides, and the probability of each mode in a column named by its label. A law that may never
        end has a column `probability_never`, and the mean beside it is of the lives that do end.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._columns(), backend, self._backend)

    @underflow_is_zero
    def _columns(self, level: float = 0.9) -> dict[str, Any]:
        from cem.mixture.result_tables import unit_cells
        from cem.panel.frames.out import interval_columns, mode_columns

        low, high = interval_columns(level)
        lower, upper = self.interval(level)
        columns = {
            "unit": unit_cells(self.units), **self._figures({"median": self.median(), low: lower, high: upper})
        }  # fmt: skip
        labels = self.mode_labels or range(self.mode_probabilities.shape[1])
        columns.update(zip(mode_columns(labels, columns), self.mode_probabilities.T.copy(), strict=True))
        return columns if self._fits is None else {**columns, **self._fits.columns()}

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table

        return html_table(repr(self), self[:MOST_ROWS]._columns() if self.n_units else {}, self.n_units, "units")

    def plot(
        self,
        unit: Hashable = None,
        *,
        level: float = 0.9,
        truth: float | None = None,
        time_unit: str | None = None,
        ax: Any = None,
    ) -> LawDisplay:
        """Draw the law of one unit; see `cem.plot.LawDisplay.from_law`.

        Parameters
        ----------
        unit : hashable, optional
            The unit; needed if the law is of several.
        level : float
            Probability of the interval that is marked.
        truth : float, optional
            The true remaining life, to mark it.
        time_unit : str, optional
            Label of the unit of time.
        ax : matplotlib Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        cem.plot.LawDisplay
            The picture; ``figure_`` is its figure.

        Raises
        ------
        MissingPackageError
            matplotlib is not installed.
        OptionError, PredictionError
            No unit is named and the law is of several, or there is no such unit.
        """
        from cem.extras import room

        display: LawDisplay = room("plot").LawDisplay.from_law(
            self, unit=unit, level=level, truth=truth, time_unit=time_unit, ax=ax
        )
        return display
