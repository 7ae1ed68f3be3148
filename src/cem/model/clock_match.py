"""Compare a panel's clock and units of measurement with those of the training panel.

A unit of time, an origin or a unit of measurement that both state and that differs is an error. If the panel does not
state one, it counts as the training panel's, unless the numbers contradict that: then there is one warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import ClockWarning, OptionError, PanelError, PredictionError
from cem.errors.names import listed, unit_name
from cem.errors.warning import warn
from cem.panel.clock import DATETIMES, FAILURE, FIRST_READING, NUMBERS, POSITIONS, ZERO, tick_of

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel

__all__ = [
    "CLOCK",
    "SEARCH_ADVICE",
    "check_clock",
    "check_measures",
    "check_running_ages",
    "check_times_given",
    "clock_record",
    "is_positions",
]

CLOCK = "clock"
"""Key of a model's record: the type of the training panel's times."""

SEARCH_ADVICE = (
    "give it Panels, or let times reach the score: set_config(enable_metadata_routing=True) and "
    "em.set_fit_request(times=True).set_score_request(times=True)"
)
"""How to make a scikit-learn search score at the times at which it fits."""

_FAR_AGES = 1.5
"""Ages beyond this many times the longest training life are answered with a warning."""
_NO_AGE = 10.0
"""A unit first read at this many times the longest training life counts from a clock."""
_CLOCK_TIME = 100.0
"""The same where ages beyond training are answered."""


def clock_record(panel: Panel) -> dict[str, Any]:
    """The record of the training times that a model keeps; no data of any unit.

    Returns
    -------
    dict
        kind: "numbers", "positions" (0, 1, 2, ... for every unit), "datetimes", "durations" or None; origin: a word, a
        number or a timestamp as text; from_zero: whether the first reading of every unit is at time 0; longest: the
        latest time that any unit reached.
    """
    first = panel.times[panel.offsets[:-1]]
    kind = POSITIONS if is_positions(panel) else panel._clock
    origin = panel.origin
    return {
        "kind": kind,
        "origin": origin if isinstance(origin, (str, float)) else str(origin),
        "from_zero": bool((first == 0.0).all()),
        "longest": float(max(panel.times.max(), np.nanmax(panel.failure_times, initial=-np.inf))),
    }


def is_positions(panel: Panel) -> bool:
    """True if the times of every unit are 0, 1, 2, ..., like those of an array without times."""
    if panel._clock != NUMBERS or panel.time_unit is not None or panel.origin != ZERO:
        return False
    if (panel.times[panel.offsets[:-1]] != 0.0).any():
        return False
    steps = np.diff(panel.times)
    steps[panel.offsets[1:-1] - 1] = 1.0
    return bool((steps == 1.0).all())


def check_times_given(model: FittedMixture, what: str = "X") -> None:
    """Refuse an array without times if the model was fitted at other times than 0, 1, 2, ...

    Raises
    ------
    PredictionError
        The model was fitted at other times.
    """
    record = model._training.get(CLOCK)
    if record is None or record["kind"] in (POSITIONS, None):
        return
    low, high = model.domain
    unit = f" {model.time_unit}" if model.time_unit else ""
    raise PredictionError(
        f"{what} is an array without times, and the model was fitted at times from {low:g} to {high:g}{unit}, not at "
        f"0, 1, 2, ...; give {'times= or ' if what == 'X' else ''}a Panel. In a search of scikit-learn, {SEARCH_ADVICE}"
    )


def check_measures(model: FittedMixture, panel: Panel) -> None:
    """Refuse units of measurement that differ from those of the training panel, with a PredictionError."""
    ours, theirs = model._channel_units, panel._channel_units
    if ours == theirs:
        return
    different = [
        name for name in model.channels if name in ours and name in theirs and not _same(ours[name], theirs[name])
    ]
    if different:
        name = different[0]
        others = f" (so do {listed(different[1:])})" if different[1:] else ""
        raise PredictionError(
            f"channel {name!r} is in {theirs[name]!r}, in the model's training data in {ours[name]!r}{others}; convert "
            "the readings, or correct channel_units="
        )


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    import unicodedata

    return "".join(unicodedata.normalize("NFKC", one).split()) == "".join(unicodedata.normalize("NFKC", other).split())


def check_clock(model: FittedMixture, panel: Panel) -> None:
    """Compare the clock of a panel with the model's.

    Raises
    ------
    PredictionError
        Both state a unit of time, or an origin, and they differ.

    Warns
    -----
    ClockWarning
        The panel does not state what its times are, and its numbers do not look like the training times.
    """
    if model.time_unit is not None and panel.time_unit is not None and not _same_unit(model.time_unit, panel.time_unit):
        raise PredictionError(
            f"the panel's times are in {panel.time_unit!r}, the model's in {model.time_unit!r}; give the panel "
            f"time_unit={model.time_unit!r} if its times are datetimes, else convert them"
        )
    record = model._training.get(CLOCK)
    if record is None or record["kind"] is None or panel._clock is None:
        return
    if model.time_axis == "to_failure" and panel.origin == FAILURE:  # already counted from the failure
        return
    doubt = _doubt(model, panel, record)
    if doubt is None and model.time_axis == "forward":
        doubt = _range(model, panel)
    if doubt:
        warn(f"{doubt}. Read the panel on the clock of the training panel; otherwise its predictions mean nothing",
             ClockWarning)  # fmt: skip


def _doubt(model: FittedMixture, panel: Panel, record: dict[str, Any]) -> str | None:
    """What the panel does not state about its clock and looks wrong; PredictionError if it states another origin."""
    dated, to_be_dated = record["kind"] == DATETIMES, panel._clock == DATETIMES
    ours, theirs = record["origin"], panel.origin
    if dated == to_be_dated:
        # Numbers count from zero by default, so the panel's may count from anything.
        said = dated or (ours != ZERO and theirs != ZERO)
        if said and not _same_origin(ours, theirs):
            raise PredictionError(_origins(ours, theirs))
        if not said and theirs == FIRST_READING and not record["from_zero"]:
            raise PredictionError(_origins(ours, theirs))
        if not said and isinstance(theirs, float) and theirs != 0.0:
            raise PredictionError(_origins(ours, theirs))
    elif to_be_dated and model.time_unit is None:
        return (
            f"the panel's times are datetimes, counted in {panel.time_unit!r} from {_words(theirs)}; the model was "
            "fitted to numbers without a unit of time"
        )
    elif to_be_dated and theirs == FIRST_READING and ours == ZERO and not record["from_zero"]:
        return (
            f"the panel's times count from {_words(theirs)} of each unit; the model was fitted to numbers that do not "
            "begin at 0 for every unit"
        )
    elif dated and panel.time_unit is None:
        return (
            f"the panel's times are numbers without a unit; the model was fitted to datetimes, counted in "
            f"{model.time_unit!r} from {_words(ours)}"
        )
    if not to_be_dated and ours == FIRST_READING and theirs == ZERO:
        late = np.flatnonzero(panel.times[panel.offsets[:-1]] != 0.0)
        if late.size:
            return (
                f"the first reading of unit {unit_name(panel._unit_ids, late[0])} is at "
                f"{panel.times[panel.offsets[late[0]]]:g} ({late.size:,} such units), and the model's times count from "
                "the first reading of each unit, origin='first reading'"
            )
    return None


def _range(model: FittedMixture, panel: Panel) -> str | None:
    low, high = model.domain
    first, last = float(panel.times.min()), float(panel.times.max())
    span = high - low
    if first <= high + span and last >= low - span:
        return None
    return (
        f"all readings of the panel, at {first:g} to {last:g}, lie far outside of the times that the model was fitted "
        f"to, {low:g} to {high:g}"
    )


def _origins(ours: Any, theirs: Any) -> str:
    given = f"origin={ours!r}" if not isinstance(ours, float) else f"origin={ours:g}"
    return (
        f"the panel's times count from {_words(theirs)}, the model's from {_words(ours)}; read the panel with {given}, "
        "as the training panel was"
    )


def _words(origin: Any) -> str:
    return {FIRST_READING: "the first reading", FAILURE: "the failure", ZERO: "zero"}.get(
        origin if isinstance(origin, str) else "", f"{origin}"
    )


def _same_origin(ours: Any, theirs: Any) -> bool:
    """Whether a recorded origin is that of a panel."""
    if isinstance(ours, float) or isinstance(theirs, (str, float)):
        return bool(type(ours) is type(theirs) and ours == theirs)
    if ours in (ZERO, FIRST_READING, FAILURE):
        return False
    return bool(np.datetime64(ours) == theirs)


def _same_unit(one: str, other: str) -> bool:
    """Whether two labels spell the same unit of time: "h" and "hours"; "cycle" and "Cycles"."""
    if one == other:
        return True
    try:
        return tick_of(one.strip())[0] == tick_of(other.strip())[0]
    except OptionError:
        return _singular(one) == _singular(other)


def _singular(label: str) -> str:
    label = label.strip().casefold()
    return label.removesuffix("s") if len(label) > 2 else label


def check_running_ages(model: FittedMixture, panel: Panel, ages: np.ndarray, *, answered: bool = False) -> None:
    """Compare the ages of running units with the lives in the training data.

    Parameters
    ----------
    ages : ndarray of shape (L,)
        Of the panel's units.
    answered : bool
        Whether ages beyond training get an answer of their own: then only times that can be no ages are refused.

    Raises
    ------
    PanelError
        The times are clock times rather than ages.

    Warns
    -----
    ClockWarning
        Some units are older than 1.5 times the longest training life.
    """
    record = model._training.get(CLOCK)
    if record is None:
        return
    limit = _FAR_AGES * record["longest"]
    old = np.flatnonzero(ages > limit)
    if old.size:
        from cem.panel.life_checks import check_ages

        if not answered:
            check_ages(panel)
        first = panel.times[panel.offsets[:-1]]
        late = np.flatnonzero(first > (_CLOCK_TIME if answered else _NO_AGE) * record["longest"])
        if late.size:
            raise PanelError(
                f"times are not ages: the first reading of unit {unit_name(panel._unit_ids, late[0])} is at "
                f"{first[late[0]]:g} ({late.size:,} such units), and the longest training life is "
                f"{record['longest']:g}. Count the times of each unit from when it was new, as in training"
            )
        oldest = old[np.argmax(ages[old])]
        unit = f" {model.time_unit}" if model.time_unit else ""
        one = old.size == 1
        more = f" and {old.size - 5:,} more" if old.size > 5 else ""
        warn(
            f"{'unit' if one else 'units'} {listed([panel.units[l] for l in old[:5]])}{more} {'is' if one else 'are'} "
            f"older than {_FAR_AGES:g} times the longest training life, {record['longest']:g}{unit} (unit "
            f"{panel.units[oldest]!r} is {ages[oldest]:g}): predictions are uncertain there. Ages count from when a "
            "unit was new; is that where the panel's times begin?",
            ClockWarning,
        )
