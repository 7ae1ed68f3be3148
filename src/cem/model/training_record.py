"""Checks of a model file's record of the fit, made once on load, so that later readers can rely on it.

A fit writes the record (`cem.fitting.estimator`), and `cem.prognosis.RemainingLife.save` adds to it. Every key may be
absent, because earlier releases and models built by hand have fewer. Unknown keys are kept unchecked.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cem.errors import OptionError

__all__ = ["require_calibration", "require_map", "require_scale", "require_sound"]

_MOST = 2**63 - 1
"""Largest count: beyond it arithmetic with floats may overflow."""

_FARTHEST_SCORE = 1e6
_SLOPES = (1e-9, 1e9)
"""Bounds of a calibration map, far outside of what `cem.calibration` learns: within them no score becomes infinite."""

_SPREADS = (1e-6, 1e6)

_Shape = tuple[int, int, int]  # modes, channels, rank
_Check = Callable[[Any, _Shape], None]


class _Unsound(Exception):
    """A value that was found, and what was expected instead.

    Its place in the record is put together only on failure, so a valid record costs nothing.
    """

    def __init__(self, found: object, expected: str, why: str = "") -> None:
        known = isinstance(found, (str, bool, int, float, type(None)))
        self.place = ""
        self.why = why or (f"is {found!r:.60}" if known else f"is a {type(found).__name__}")
        self.expected = expected


def require_sound(record: Mapping[str, Any], *, n_modes: int, n_channels: int, rank: int) -> None:
    """Refuse a training record whose known entries are not of the kind that the package writes.

    Parameters
    ----------
    record : mapping
        As decoded: plain Python objects, NaN and infinities as floats.
    n_modes, n_channels : int
        K and C of the model that it belongs to.
    rank : int
        Number of factors that the model's channels share; 0 if they are independent.

    Raises
    ------
    OptionError
        An entry has another type, length or range; the message names it.
    """
    _require("training", record, _training, (n_modes, n_channels, rank))


def require_calibration(saved: Any) -> None:
    """Refuse anything that `Calibration.to_dict` would not have written.

    Parameters
    ----------
    saved : mapping
        The saved calibration.

    Raises
    ------
    OptionError
        An entry is missing, or has another type, length or range; the message names it.
    """
    _require("calibration", saved, _calibration, (0, 0, 0))


def _require(name: str, value: Any, check: _Check, shape: _Shape) -> None:
    try:
        check(value, shape)
    except _Unsound as error:
        raise OptionError(f"{name}{error.place} {error.why}; {error.expected} was expected") from None


# -- iteration over entries -------------------------------------------------------------------------------------------


def _each(value: Any, check: _Check, shape: _Shape, length: int | None = None) -> None:
    """A list whose items all pass the check."""
    if not isinstance(value, (list, tuple)):
        raise _Unsound(value, "a list")
    if length is not None and len(value) != length:
        raise _Unsound(value, f"a list of {length}", f"has {len(value)} entries")
    for i, item in enumerate(value):
        try:
            check(item, shape)
        except _Unsound as error:
            error.place = f"[{i}]{error.place}"
            raise


def _entries(value: Any, checks: Mapping[str, _Check], shape: _Shape, needed: Sequence[str] = ()) -> None:
    """An object whose known entries pass their checks."""
    if not isinstance(value, Mapping):
        raise _Unsound(value, "an object by name of entry")
    for name in needed:
        if name not in value:
            raise _Unsound(value, f"an object with {', '.join(map(repr, needed))}", f"lacks {name!r}")
    for name, item in value.items():
        check = checks.get(name)
        if check is not None:
            try:
                check(item, shape)
            except _Unsound as error:
                error.place = f"[{name!r}]{error.place}"
                raise


# -- single values ----------------------------------------------------------------------------------------------------


def _count(value: Any, shape: _Shape) -> None:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise _Unsound(value, "a whole number of at least 0")


def _number(value: Any, shape: _Shape) -> None:
    if isinstance(value, float):
        if math.isfinite(value):
            return
    elif type(value) is int and -_MOST <= value <= _MOST:
        return
    raise _Unsound(value, "a finite number")


def _number_or_not(value: Any, shape: _Shape) -> None:
    """A number, NaN or an infinity: a start without a pass has a log-likelihood of -inf."""
    if not isinstance(value, float):
        _number(value, shape)


def _entropy(value: Any, shape: _Shape) -> None:
    _number_or_not(value, shape)
    if value < 0 or value == math.inf:
        raise _Unsound(value, "a number of at least 0")


def _penalty(value: Any, shape: _Shape) -> None:
    _number(value, shape)
    if value < 0:
        raise _Unsound(value, "a number of at least 0")


def _share(value: Any, shape: _Shape) -> None:
    """A share from 0 to 1, up to rounding."""
    _number(value, shape)
    if not -1e-9 <= value <= 1 + 1e-9:
        raise _Unsound(value, "a number from 0 to 1")


def _above_0_to_1(value: Any, shape: _Shape) -> None:
    _number(value, shape)
    if not 0 < value <= 1:
        raise _Unsound(value, "a number above 0 and at most 1")


def _triples(value: Any, shape: _Shape) -> None:
    _each(value, lambda row, shape: _each(row, _number, shape, 3), shape)


def _flag(value: Any, shape: _Shape) -> None:
    if type(value) is not bool:
        raise _Unsound(value, "true or false")


def _text(value: Any, shape: _Shape) -> None:
    if not isinstance(value, str):
        raise _Unsound(value, "a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which cannot be printed
            raise _Unsound(value, "a text of whole Unicode characters") from None


def _mode(value: Any, shape: _Shape) -> None:
    if type(value) is not int or not 0 <= value < shape[0]:
        raise _Unsound(value, f"a mode from 0 to {shape[0] - 1}")


def _rank(value: Any, shape: _Shape) -> None:
    if type(value) is not int or value != shape[2]:
        raise _Unsound(value, f"{shape[2]}, the number of factors that the model's channels share,")


# -- entries of the record --------------------------------------------------------------------------------------------


def _clock(value: Any, shape: _Shape) -> None:
    _entries(value, _CLOCK, shape, tuple(_CLOCK))


def _kind(value: Any, shape: _Shape) -> None:
    if value is not None:
        _text(value, shape)


def _origin(value: Any, shape: _Shape) -> None:
    """A word, a timestamp or a number."""
    if isinstance(value, str):
        if value not in ("zero", "first reading", "failure") and not re.fullmatch(_TIMESTAMP, value):
            raise _Unsound(value, "'zero', 'first reading', 'failure', a timestamp or a number")
    else:
        _number(value, shape)


def _modes(value: Any, shape: _Shape) -> None:
    _each(value, _mode, shape)


def _texts(value: Any, shape: _Shape) -> None:
    _each(value, _text, shape)


def _functions_by_channel(value: Any, shape: _Shape) -> None:
    """Positions of basis functions, by channel."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _Unsound(value, "an object by name of channel")
    _entries(value, dict.fromkeys(value, _positions), shape)


def _counts_by_channel(value: Any, shape: _Shape) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _Unsound(value, "an object by name of channel")
    _entries(value, dict.fromkeys(value, _count), shape)


def _positions(value: Any, shape: _Shape) -> None:
    _each(value, _count, shape)


def _counts(value: Any, shape: _Shape) -> None:
    """One count per mode."""
    _each(value, _count, shape, shape[0])


def _shares(value: Any, shape: _Shape) -> None:
    """Mean probabilities of the modes; null if no unit was assigned to the mode of the row."""
    if value is not None:
        _each(value, _share, shape, shape[0])


def _classification(value: Any, shape: _Shape) -> None:
    _each(value, _shares, shape, shape[0])


def _start(value: Any, shape: _Shape) -> None:
    _entries(value, _START, shape)


def _starts(value: Any, shape: _Shape) -> None:
    _each(value, _start, shape)


def _floor(value: Any, shape: _Shape) -> None:
    _entries(value, _FLOOR, shape, ("mode",))


def _floors(value: Any, shape: _Shape) -> None:
    _each(value, _floor, shape)


def _information(value: Any, shape: _Shape) -> None:
    """κ of every channel, as `RemainingLife.save` writes it."""
    _each(value, _above_0_to_1, shape, shape[1])


def _basis_choice(value: Any, shape: _Shape) -> None:
    """The output of `BasisChoice.record`."""
    _entries(value, {**_CHOICE, "candidates": _candidates}, shape, (*_CHOICE, "candidates"))


def _candidates(value: Any, shape: _Shape) -> None:
    _each(value, lambda row, shape: _entries(row, _CANDIDATE, shape, tuple(_CANDIDATE)), shape)


def _lifetimes(value: Any, shape: _Shape) -> None:
    from cem.lifetimes.lifetimes import Lifetimes  # imported here: only models on the time to failure have them

    laws = Lifetimes.from_dict(value)
    if laws.n_modes != shape[0]:
        raise OptionError(f"lifetimes has {laws.n_modes} laws; one for each of the {shape[0]} modes was expected")
    directions = laws.loadings
    if directions is not None and directions.shape[1] != shape[2]:
        raise OptionError(
            f"lifetimes are linked to {directions.shape[1]} factors; the model's channels share {shape[2]}"
        )


def _calibration(value: Any, shape: _Shape) -> None:
    _entries(value, _CALIBRATION, shape, _IN_EVERY_CALIBRATION)
    require_map(value["knots"], value["images"])
    medians, centres, spreads = (value.get(name, ()) for name in ("medians", "centres", "spreads"))
    require_scale(medians, centres, spreads, len(value["knots"]))


def _threshold(value: Any, shape: _Shape) -> None:
    """As `ThresholdLife.save` writes it."""
    _entries(value, _THRESHOLD, shape, ("threshold", "channel", "direction", "monotone"))
    if value["direction"] not in ("upper", "lower"):
        raise _Unsound(value["direction"], "'upper' or 'lower'")


def _fit_reference(value: Any, shape: _Shape) -> None:
    """Ascending scores, and for each mode the ascending knots of all channels together and of each."""
    _entries(value, {"scores": _ascending}, shape, ("scores", "knots"))
    scores = value["scores"]
    n = len(scores)

    def knots(row: Any, shape: _Shape) -> None:
        _ascending(row, shape)
        if len(row) != n:
            raise _Unsound(row, f"a list of {n} numbers", f"has {len(row)} entries")

    modes = value["knots"]
    try:
        _each(modes, lambda own, shape: _each(own, knots, shape, 1 + shape[1]), shape, shape[0])
    except _Unsound as error:
        error.place = f"['knots']{error.place}"
        raise


def _ascending(value: Any, shape: _Shape) -> None:
    _numbers(value, shape)
    if len(value) < 2 or not all(low < high for low, high in itertools.pairwise(value)):
        raise _Unsound(value, "at least two ascending numbers")


def _gate(value: Any, shape: _Shape) -> None:
    if value not in ("on", "off"):
        raise _Unsound(value, "'on' or 'off'")


def _numbers(value: Any, shape: _Shape) -> None:
    _each(value, _number, shape)


def _report(value: Any, shape: _Shape) -> None:
    """The output of `Reliability.to_dict`, or null."""
    if value is None:
        return
    _entries(value, _REPORT, shape, _IN_EVERY_REPORT)
    levels = set(value["coverage"])
    for name in ("standard_errors", "widths", "interval_scores"):
        if set(value[name]) != levels:
            raise _Unsound(value, "the same levels", f"has other levels in {name!r} than in 'coverage'")


def _by_life(value: Any, shape: _Shape) -> None:
    """The output of `ByLife.to_dict`."""
    _entries(value, _BY_LIFE, shape, tuple(_BY_LIFE))
    if set(value["coverage"]) != set(value["standard_errors"]):
        raise _Unsound(value, "the same levels", "has other levels in 'standard_errors' than in 'coverage'")


def _two(value: Any, shape: _Shape) -> None:
    _each(value, _number, shape, 2)


def _three(value: Any, shape: _Shape) -> None:
    _each(value, _number, shape, 3)


def _three_counts(value: Any, shape: _Shape) -> None:
    _each(value, _count, shape, 3)


def _threes(value: Any, shape: _Shape) -> None:
    """Three numbers by the level of an interval."""
    _by_level(value, shape, _three)


def _by_level(value: Any, shape: _Shape, check: _Check = _number) -> None:
    """Numbers by the level of an interval, which JSON stores as text."""
    if not isinstance(value, Mapping):
        raise _Unsound(value, "an object by level")
    for level, item in value.items():
        try:
            inside = 0 < float(level) < 1
        except (TypeError, ValueError):
            inside = False
        if not inside:
            raise _Unsound(level, "a level between 0 and 1")
        check(item, shape)


def require_map(knots: Sequence[float], images: Sequence[float]) -> None:
    """Refuse a map of normal scores that does not increase strictly, or exceeds the bounds.

    Parameters
    ----------
    knots, images : sequence of float
        Of equal length, either none or at least two.

    Raises
    ------
    OptionError
        They do not make such a map.
    """
    if len(knots) != len(images) or len(knots) == 1:
        raise OptionError(
            f"calibration has {len(knots)} knots and {len(images)} images; equally many ascending numbers, none or at "
            "least two, were expected"
        )
    for score in (*knots, *images):
        if not abs(score) <= _FARTHEST_SCORE:
            raise OptionError(
                f"calibration has the knot or image {score!r}; normal scores within ±{_FARTHEST_SCORE:g} were expected"
            )
    for i in range(1, len(knots)):
        run, rise = knots[i] - knots[i - 1], images[i] - images[i - 1]
        if not (run > 0 and rise > 0 and _SLOPES[0] <= rise / run <= _SLOPES[1]):
            raise OptionError(
                f"calibration takes the knots {knots[i - 1]!r}, {knots[i]!r} to {images[i - 1]!r}, {images[i]!r}; "
                f"ascending numbers with a slope from {_SLOPES[0]:g} to {_SLOPES[1]:g} were expected"
            )


def require_scale(medians: Sequence[float], centres: Sequence[float], spreads: Sequence[float], n_knots: int) -> None:
    """Refuse a centre and a spread of normal scores that do not make an increasing map at every predicted median.

    Parameters
    ----------
    medians, centres, spreads : sequence of float
        Of equal length, either none or at least two.
    n_knots : int
        Number of knots of the map that follows.

    Raises
    ------
    OptionError
        They do not fit one another, or are out of range.
    """
    if not len(medians) == len(centres) == len(spreads) or len(medians) == 1 or (len(medians) and not n_knots):
        raise OptionError(
            f"calibration has {len(medians)} medians, {len(centres)} centres and {len(spreads)} spreads; equally many, "
            "none or at least two, were expected, and knots beside them"
        )
    for i, median in enumerate(medians):
        if not (math.isfinite(median) and median > 0 and (i == 0 or median > medians[i - 1])):
            raise OptionError(f"calibration has the medians {medians!r}; ascending numbers above 0 were expected")
    for centre, spread in zip(centres, spreads, strict=True):
        if not (abs(centre) <= _FARTHEST_SCORE and _SPREADS[0] <= spread <= _SPREADS[1]):
            raise OptionError(
                f"calibration has the centre {centre!r} and the spread {spread!r}; a score within "
                f"±{_FARTHEST_SCORE:g} and a spread from {_SPREADS[0]:g} to {_SPREADS[1]:g} were expected"
            )


_CHOICE: dict[str, _Check] = {"score": _text, "reason": _text, "n_folds": _count}
_CANDIDATE: dict[str, _Check] = {
    "basis": _text,
    "n_modes": _count,
    "linking_rank": _count,
    "covariance": _text,
    "process": _text,
    "n_parameters": _count,
    "score": _number,
    "gap": _number,
    "gap_standard_error": _number,
    "recommended": _flag,
}
_START: dict[str, _Check] = {"kind": _text, "log_likelihood": _number_or_not, "n_iter": _count, "fate": _text}
_FLOOR: dict[str, _Check] = {"mode": _mode, "channel": _text, "floor": _text}
_REPORT: dict[str, _Check] = {
    "coverage": _by_level,
    "standard_errors": _by_level,
    "widths": _by_level,
    "interval_scores": _by_level,
    "crps": _number,
    "pit": _numbers,
    "n_units": _count,
    "n_predictions": _count,
}
_IN_EVERY_REPORT = tuple(_REPORT)
_REPORT["rmse"] = _number  # since 0.6.0
_BY_LIFE: dict[str, _Check] = {"bounds": _two, "counts": _three_counts, "coverage": _threes, "standard_errors": _threes}
_REPORT.update(by_life=_by_life, n_running=_count)  # since 0.9.0
_CALIBRATION: dict[str, _Check] = {
    "temper": _above_0_to_1,
    "knots": _numbers,
    "images": _numbers,
    "before": _report,
    "after": _report,
}
_IN_EVERY_CALIBRATION = tuple(_CALIBRATION)
_CALIBRATION["without_sensors"] = _report  # since 0.6.0
_CALIBRATION.update(medians=_numbers, centres=_numbers, spreads=_numbers)  # since 0.9.0
_THRESHOLD: dict[str, _Check] = {
    "threshold": _number, "channel": _text, "direction": _text, "monotone": _flag, "calibration": _calibration,
    "horizon": _number, "n_draws": _count, "n_cells": _count, "random_state": _count, "gate": _gate,
}  # fmt: skip
_TIMESTAMP = r"-?\d{4,6}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,18})?)?)?)?)?)?"
_CLOCK: dict[str, _Check] = {"kind": _kind, "origin": _origin, "from_zero": _flag, "longest": _number}
_RECORD: dict[str, _Check] = {
    "n_units": _count,
    "n_observations": _count,
    "log_likelihood": _number,
    "n_parameters": _count,
    "n_iter": _count,
    "converged": _flag,
    "covariance": _text,
    "shrinkage": _penalty,  # since 0.8.0, like the next one
    "held_out": _triples,
    "kernel": _text,
    "noise": _text,
    "starts": _starts,
    "floors": _floors,
    "entropy": _entropy,
    "classification": _classification,
    "assigned": _counts,
    "left_out_channels": _texts,
    "unlabelled_modes": _modes,
    "clock": _clock,
    "linking_rank": _rank,
    "linking_penalty": _penalty,
    "lifetimes": _lifetimes,
    "n_failed": _count,
    "information": _information,
    "calibration": _calibration,
    "threshold": _threshold,  # since 0.9.0
    "random_columns": _functions_by_channel,  # since 0.6.0, like the next one
    "common_columns": _functions_by_channel,
    "n_distinct_units": _count,  # since 0.7.0
    "fit_reference": _fit_reference,  # since 0.9.0, like the next three
    "gate": _gate,
    "basis_choice": _basis_choice,
    "gross_errors": _counts_by_channel,
}


def _training(value: Any, shape: _Shape) -> None:
    _entries(value, _RECORD, shape)
