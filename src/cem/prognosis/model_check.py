"""Does a model fit these units, and which units and channels does it not know: `FailureModeModel.check`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, PanelError
from cem.errors.display import escaped
from cem.errors.names import counted, listed
from cem.mixture.unit_fits import UnitFits

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["ModelCheck", "checked"]

FloatArray = NDArray[np.float64]

_MOST_NAMED = 8
_MANY = 0.5


@dataclass(frozen=True, eq=False)
class ModelCheck:
    """How well a model fits each of some units, and each of their channels; made by `FailureModeModel.check`.

    Parameters
    ----------
    units : tuple of hashable, length L
    times : ndarray of shape (L,)
        Each unit's last reading.
    readings : ndarray of shape (L, C), int64
        How many readings each unit has of each channel.
    fits : UnitFits
        Of the L units.

    Examples
    --------
    >>> import cem
    >>> fleet = cem.datasets.load_demo_fleet()
    >>> model = cem.FailureModeEM(3, random_state=0).fit(fleet).model_
    >>> found = model.check(fleet)
    >>> found.share < 0.05
    True
    """

    units: tuple[Hashable, ...]
    times: FloatArray
    readings: NDArray[np.int64]
    fits: UnitFits
    _backend: ClassVar[str | None] = None  # of the frame that the units came from

    @property
    def n_units(self) -> int:
        """L, the number of units."""
        return len(self.units)

    @property
    def flags(self) -> tuple[tuple[str, ...], ...]:
        """What is strange about each unit, in words, length L; no words for a unit like those in training."""
        return self.fits.flags

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether anything is strange about each unit, shape (L,)."""
        return np.array([bool(own) for own in self.flags], dtype=np.bool_)

    @property
    def share(self) -> float:
        """Share of the units that are flagged; 0 without units."""
        return float(self.flagged.mean()) if self.n_units else 0.0

    @property
    def headline(self) -> str:
        """One line: how many units the model does not know, and which."""
        named = [self.units[int(l)] for l in np.flatnonzero(self.flagged)]
        of_all = counted(self.n_units, "unit")
        if not self.readings.any():
            return f"{of_all} without a reading of the model's channels: nothing is known of them"
        if not named:
            return f"of {of_all} none is unlike training units"
        text = f"of {of_all} {len(named):,} {'is' if len(named) == 1 else 'are'} unlike training units: "
        text += listed(named, _MOST_NAMED)
        if self.share > _MANY:
            text += "; where most are, these are other machines, another clock, or the model misfits its own"
        return text

    def channel_columns(self) -> dict[str, list[Any]]:
        """The table by channel.

        Returns
        -------
        dict
            channel; units, how many have readings of it; units_off, the share of these in which the channel or some of
            its readings were left out, or it fits as hardly any training unit's does; median_fit, of their tail
            probabilities, about 0.5 in training; left_out, how many readings were too far out. Shares and medians are
            NaN without units.
        """
        seen = self.readings > 0
        off = (self.fits.channels_off | (self.fits.readings_left_out > 0)) & seen
        table: dict[str, list[Any]] = {name: [] for name in ("channel", "units", "units_off", "median_fit", "left_out")}
        for c, name in enumerate(self.fits.channels):
            n, known = int(seen[:, c].sum()), self.fits.channel_fit[:, c]
            known = known[np.isfinite(known)]
            row = (
                name, n, float(off[:, c].sum() / n) if n else float("nan"),
                float(np.median(known)) if known.size else float("nan"), int(self.fits.readings_left_out[:, c].sum()),
            )  # fmt: skip
            for cells, cell in zip(table.values(), row, strict=True):
                cells.append(cell)
        return table

    def columns(self) -> dict[str, Any]:
        """The table by unit: unit, time of the last reading, fit, flags, then the fit of each channel."""
        from cem.mixture.result_tables import unit_cells

        columns = {"unit": unit_cells(self.units), "time": self.times.copy(), **self.fits.columns()}
        columns.update(
            (f"fit({name})", own.copy()) for name, own in zip(self.fits.channels, self.fits.channel_fit.T, strict=True)
        )
        return columns

    def to_frame(self, backend: str | None = None, *, by: str = "unit") -> Any:
        """Return one row for each unit, or for each channel.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        by : {"unit", "channel"}
            What a row is. "unit": unit, time, fit, flags, and the fit of each channel. "channel": see
            `channel_columns`.

        Raises
        ------
        OptionError
            `by` is another word.
        """
        from cem.panel.frames.out import frame_of

        if by not in ("unit", "channel"):
            raise OptionError(f"by is {by!r}; 'unit' or 'channel' was expected")
        return frame_of(self.columns() if by == "unit" else self.channel_columns(), backend, self._backend)

    def __repr__(self) -> str:
        return f"ModelCheck: {self.headline}"

    def __str__(self) -> str:
        table = self.channel_columns()
        width = max((len(escaped(name)) for name in ("channel", *table["channel"])), default=0)
        rows = [self.headline, "", f"{'channel':{width}s}  units  off in  median fit  readings left out"]
        for name, n, off, fit, left in zip(*table.values(), strict=True):
            shown = ("", "") if n == 0 else (f"{off:.0%}", f"{fit:.2f}")
            rows.append(f"{escaped(name):{width}s} {n:6,d} {shown[0]:>7s} {shown[1]:>11s} {left:18,d}")
        some = np.flatnonzero(self.flagged)
        if some.size:
            rows.append("")
            rows += [f"unit {escaped(self.units[l])}: {escaped(', '.join(self.flags[l]))}" for l in some.tolist()]
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table

        some = np.flatnonzero(self.flagged)
        table = {name: cells[some[:MOST_ROWS]] for name, cells in self.columns().items()}
        channels = html_table(repr(self), self.channel_columns())
        return channels + (html_table("units that are flagged", table, some.size, "units") if some.size else "")


def checked(model: FailureModeModel, panel: Panel, training: Panel | None = None) -> ModelCheck:
    """See `FailureModeModel.check`."""
    panel = model._as_panel(panel, None, what="panel")
    if model.time_axis == "to_failure":
        from cem.prognosis.remaining_life import RemainingLife

        if training is not None:
            raise OptionError(
                "training is for the forward time axis; this model is on the time to failure, and its fit has kept how "
                "training units fit: leave training out"
            )
        fits = RemainingLife(model, gate="on").predict(panel)._fits
        own = model._in_own_channels(panel)
    else:
        from cem.model.forward_fits import gated, reference_of

        own, reference = model.with_own_channels(panel), None
        if training is not None:
            training = model._as_panel(training, None, what="training")
            reference = reference_of(model, model.with_own_channels(training))
            if reference is None:
                raise PanelError(
                    f"training has {counted(training.n_units, 'unit')}, too few to say how training units fit; give "
                    "those of the fit, or leave training out: then the model's own law is what is usual"
                )
        fits = gated(model, own, gate="on", reference=reference)[1]
    assert fits is not None
    seen = ~np.isnan(own.values)
    counts = np.stack([np.bincount(_units(own), column, own.n_units) for column in seen.T], axis=1).astype(np.int64)
    ends = np.array(own.times[np.asarray(own.offsets[1:]) - 1], dtype=np.float64)
    found = ModelCheck(panel.units, ends, counts, fits)
    object.__setattr__(found, "_backend", panel._backend)
    return found


def _units(panel: Panel) -> NDArray[np.int64]:
    """The unit of each row, (N,)."""
    return np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
