"""`Uncertainty`: what a fit does not know of its own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.model.summary import Frame
from cem.numerics.floating import row_lengths
from cem.uncertainty.bands import Bands, simultaneous_quantile
from cem.uncertainty.rows import LOG, LOGIT, Row
from cem.uncertainty.wald import WaldTest, contrasts, wald_test

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.plot.bands import BandDisplay
    from cem.uncertainty.law import ParameterLaw

__all__ = ["Uncertainty"]

FloatArray = NDArray[np.float64]

_N_DRAWS = 10_000
_SHOWN = ("parameter", "estimate", "standard_error", "lower", "upper", "note")


@dataclass(frozen=True, eq=False, repr=False)
class Uncertainty:
    """The covariance of everything that a fit estimated, with intervals, tests and bands; immutable.

    `FailureModeEM.uncertainty` makes it.

    Parameters
    ----------
    method : {"information", "robust", "bootstrap"}
        How it was computed.
    rows : tuple of Row
        The numbers of the fit, in the order of all arrays.
    estimates : ndarray of shape (m,)
        Their values.
    root : ndarray of shape (m, d)
        Root of their covariance.
    degrees_of_freedom : ndarray of shape (m,)
        Of the t law of each row's intervals.
    notes : tuple of str
        Of each row: why it has no standard error, or only part of one; "" usually.
    n_units : int
        Distinct units of the fit.
    law : ParameterLaw
        The law of the parameters.
    model : FailureModeModel
        The fitted model.
    mean_rows : ndarray of shape (K, P), int
        Row of each mean coefficient of the model.
    facts : tuple of str
        What else a reader should know, one sentence each.
    missing_shares : ndarray of shape (m,) or None
        Of each parameter, by information: the share of its variance that would go if the modes of all units were known,
        0 where modes are far apart. None by bootstrap.

    See Also
    --------
    FailureModeEM.uncertainty : how it is computed, and when it is refused.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet().select_channels(["vibration", "flow"])
    >>> em = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(panel)
    >>> known = em.uncertainty(panel)
    >>> known.covariance.shape == (len(known.names), len(known.names))
    True
    """

    method: str
    rows: tuple[Row, ...]
    estimates: FloatArray
    root: FloatArray
    degrees_of_freedom: FloatArray
    notes: tuple[str, ...]
    n_units: int
    law: ParameterLaw
    model: FailureModeModel
    mean_rows: NDArray[np.int64]
    facts: tuple[str, ...] = ()
    missing_shares: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("estimates", "root", "degrees_of_freedom", "mean_rows"):
            getattr(self, name).setflags(write=False)
        if self.missing_shares is not None:
            self.missing_shares.setflags(write=False)

    def __repr__(self) -> str:
        held = sum(note != "" for note in self.notes)
        noted = f", {held} with a note" if held else ""
        units = f"{self.n_units:,} unit{'s' if self.n_units > 1 else ''}"
        return f"Uncertainty: {len(self.rows)} parameters of {units} by {self.method}{noted}"

    def __str__(self) -> str:
        return "\n".join([repr(self), *self.facts, str(self._shown())])

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(repr(self), self._shown())

    def _shown(self) -> Frame:
        """The columns that a reader needs: names hold the others."""
        table = self.table()
        return Frame({name: table[name] for name in _SHOWN})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, such as ``mean[0, s2, 1]``: kind, mode, channel, function of the channel's basis."""
        return tuple(row.name for row in self.rows)

    @property
    def covariance(self) -> FloatArray:
        """Of all parameters, shape (m, m); rows of 0 where a parameter is held."""
        covariance: FloatArray = self.root @ self.root.T
        return covariance

    @property
    def standard_errors(self) -> FloatArray:
        """Shape (m,); NaN where a parameter is held, which `notes` explains."""
        errors = row_lengths(self.root)
        return np.where(errors > 0.0, errors, np.nan)

    def intervals(self, level: float = 0.9) -> FloatArray:
        """Return an interval for each parameter, shape (m, 2); NaN where it is held.

        Intervals of variances, and of medians and spreads of lives, are symmetric on the scale of the logarithm, those
        of weights on that of the log-odds, so that they stay where these numbers can be. A t law with as many degrees
        of freedom as the modes of the parameter have units, less one, takes the place of the normal; of a bootstrap, at
        most as many as replicates, less one.

        Parameters
        ----------
        level : float
            Probability that an interval holds its parameter.
        """
        from scipy.special import stdtrit

        t = stdtrit(self.degrees_of_freedom, 0.5 + 0.5 * checked_level(level))
        estimates, errors = self.estimates, self.standard_errors
        found = np.stack([estimates - t * errors, estimates + t * errors], axis=1)
        scales = np.array([row.scale for row in self.rows])
        log = (scales == LOG) & (estimates > 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            width = np.exp(t[log] * errors[log] / estimates[log])
            found[log] = np.stack([estimates[log] / width, estimates[log] * width], axis=1)
            odd = (scales == LOGIT) & (estimates > 0.0) & (estimates < 1.0)
            p = estimates[odd]
            width = t[odd] * errors[odd] / (p * (1.0 - p))
            centre = np.log(p / (1.0 - p))
            found[odd] = 1.0 / (1.0 + np.exp(-np.stack([centre - width, centre + width], axis=1)))
        return found

    def table(self, level: float = 0.9, *, kind: str | Sequence[str] | None = None) -> Frame:
        """Return the parameters as a table: print it, or turn it into a data frame with its ``to_frame``.

        Parameters
        ----------
        level : float
            Of the intervals.
        kind : str or sequence of str, optional
            Only parameters of these kinds: "weight", "membership", "mean", "effect", "variance", "covariance", "noise",
            "loading", "life".

        Returns
        -------
        Frame
            Columns "parameter", "estimate", "standard_error", "lower", "upper", "note"; and "kind", "mode", "channel",
            "term" to select by. A parameter that is held has NaN and a note; one of all modes has None as its mode.

        Raises
        ------
        OptionError
            `level` is no probability, or the fit has no parameter of that kind.
        """
        kinds = None if kind is None else _kinds(kind)
        for asked in kinds or ():
            if asked not in (known := {row.kind for row in self.rows}):
                raise OptionError(f"kind={asked!r}: the fit has parameters of the kinds {', '.join(sorted(known))}")
        chosen = [i for i, row in enumerate(self.rows) if kinds is None or row.kind in kinds]
        intervals = self.intervals(level)[chosen]
        rows = [self.rows[i] for i in chosen]
        return Frame(
            {
                "parameter": [row.name for row in rows],
                "estimate": self.estimates[chosen].tolist(),
                "standard_error": self.standard_errors[chosen].tolist(),
                "lower": intervals[:, 0].tolist(),
                "upper": intervals[:, 1].tolist(),
                "note": [self.notes[i] for i in chosen],
                "kind": [row.kind for row in rows],
                "mode": [row.mode for row in rows],
                "channel": [row.channel or "" for row in rows],
                "term": [row.term for row in rows],
            }
        )

    def to_frame(self, backend: str | None = None, *, level: float = 0.9) -> Any:
        """Return `table` as a data frame.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        level : float
            Of the intervals.

        Returns
        -------
        DataFrame or Table
            The columns of `table`.

        Raises
        ------
        OptionError
            `level` is no probability.
        MissingPackageError
            The backend is not installed.
        """
        return self.table(level).to_frame(backend)

    def wald(self, hypothesis: Any, values: ArrayLike = 0.0) -> WaldTest:
        """Test a linear hypothesis about the parameters: their combinations have given values.

        Parameters
        ----------
        hypothesis : str, mapping of str to float, sequence of these, or array_like of shape (q, m)
            A parameter by name; a linear combination, name → coefficient; several of these, tested together; or their
            matrix, with a column for each parameter.
        values : float or array_like of shape (q,)
            What the combinations are under the hypothesis.

        Returns
        -------
        WaldTest
            statistic, dof, p_value, units_dof. Weights, variances and medians are tested on their own scale; near 0 an
            interval says more.

        Raises
        ------
        OptionError
            A name is unknown, a shape does not fit, or combinations depend on one another.
        UncertaintyError
            A combination has no standard error.

        Examples
        --------
        >>> import cem
        >>> panel = cem.datasets.load_demo_fleet().select_channels(["vibration", "flow"])
        >>> em = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(panel)
        >>> slope = f"{panel.channels[0]}, 1]"
        >>> test = em.uncertainty(panel).wald({f"mean[0, {slope}": 1, f"mean[1, {slope}": -1})
        >>> test.dof
        1
        """
        R = contrasts(hypothesis, self.names)
        return wald_test(R, values, self.estimates, self.root, self.names, self.degrees_of_freedom)

    def bands(
        self,
        times: ArrayLike | None = None,
        channel: str | int | None = None,
        *,
        level: float = 0.9,
        simultaneous: bool = False,
        random_state: int = 0,
    ) -> Bands:
        """Return bands of the modes' mean curves in a channel, at reference conditions if there are covariates.

        By the t law of `intervals`, with the least degrees of freedom among the coefficients of a curve. A curve whose
        coefficients are all held has no band: NaN, and `notes` tells why.

        Parameters
        ----------
        times : array_like of shape (m,), optional
            In the panel's time unit and from its origin, on the time to failure at most 0. Default: 101 times over
            those of the training panel.
        channel : str or int, optional
            The response by default, or the only channel.
        level : float
            Probability that a band holds its curve.
        simultaneous : bool
            At all times together, by simulation; by default at each time on its own.
        random_state : int
            Of the simulation.

        Raises
        ------
        OptionError
            `level` is no probability, `times` are not numbers, no channel is named, or `random_state` is no seed.
        PredictionError
            There is no such channel.
        """
        from scipy.special import stdtrit

        checked_level(level)
        _check_seed(random_state)
        model = self.model
        c = self._channel(channel)
        basis = model.bases[c]
        at = np.linspace(*basis.domain, 101) if times is None else _times(times)
        first = int(model.internal_parameters.layout.mean_offsets[c])
        own = self.mean_rows[:, first : first + basis.size]  # (K, p)
        functions = basis(at)
        curves = self.estimates[own] @ functions.T
        spread = functions @ self.root[own]  # (K, m, d)
        errors = row_lengths(spread)
        degrees = self.degrees_of_freedom[own].min(axis=1)
        widths = stdtrit(degrees, 0.5 + 0.5 * level)
        if simultaneous:
            widths = np.array(
                [
                    simultaneous_quantile(part, level, _N_DRAWS, random_state, of_mode)
                    for part, of_mode in zip(spread, degrees, strict=True)
                ]
            )
        held = ~(self.root[own] != 0.0).any(axis=(1, 2))  # curves of which nothing is known, not curves known exactly
        errors[held] = np.nan
        half = widths[:, None] * errors
        name = model.channels[c]
        return Bands(
            name, at, curves, errors, curves - half, curves + half, float(level), bool(simultaneous),
            model.mode_labels, model.time_unit, model.channel_units.get(name), model.time_axis,
        )  # fmt: skip

    def plot(
        self,
        channel: str | int | None = None,
        *,
        times: ArrayLike | None = None,
        level: float = 0.9,
        simultaneous: bool = False,
        ax: Any = None,
    ) -> BandDisplay:
        """Draw `bands`; see `cem.plot.BandDisplay.from_uncertainty`.

        Parameters
        ----------
        channel, times, level, simultaneous
            As for `bands`.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Raises
        ------
        MissingPackageError
            matplotlib is not installed.
        OptionError, PredictionError
            As for `bands`.
        """
        from cem.extras import room

        display: BandDisplay = room("plot").BandDisplay.from_uncertainty(
            self, channel, times=times, level=level, simultaneous=simultaneous, ax=ax
        )
        return display

    def _channel(self, channel: str | int | None) -> int:
        model = self.model
        if channel is None:
            if model.response is not None:
                return model.channel_index(model.response)
            if len(model.channels) > 1:
                raise OptionError(
                    f"name the channel of the bands; the model has no response, and {len(model.channels)} channels: "
                    f"{', '.join(model.channels[:6])}"
                )
            return 0
        return model.channel_index(channel)


def _kinds(kind: Any) -> set[str]:
    if isinstance(kind, str):
        return {kind}
    if not isinstance(kind, Sequence) or not all(isinstance(own, str) for own in kind):
        raise OptionError(f"kind={kind!r}: a kind of parameter, such as 'mean', or several of them, were expected")
    return set(kind)


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise OptionError(f"random_state={seed!r}: an integer of 0 or more was expected")


def _times(times: ArrayLike) -> FloatArray:
    try:
        at = np.atleast_1d(np.array(times, dtype=np.float64))  # a copy: results are read-only
    except (TypeError, ValueError):
        raise OptionError(f"times={times!r}: numbers were expected") from None
    if at.ndim != 1 or not at.size or not np.isfinite(at).all():
        raise OptionError(f"times has shape {at.shape}; at least one finite time, in shape (m,), was expected")
    return at


def checked_level(level: Any) -> float:
    """A probability between 0 and 1; OptionError otherwise."""
    number = isinstance(level, (int, float, np.number)) and not isinstance(level, bool)
    if not number or not 0.0 < level < 1.0:
        raise OptionError(f"level={level!r}: a probability between 0 and 1 was expected")
    return float(level)
