"""Probabilities of units' modes before their readings, from an expert or an inspection; `Panel` inherits the methods.

They are softer than labels: a unit has a probability of each mode in place of the share of that mode in the fleet.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import encode_labels, listed
from cem.panel.checks import check_keys
from cem.panel.label_checks import warn_of_labels

if TYPE_CHECKING:
    from typing import Self

    from cem.panel.panel import Panel

__all__ = ["WithModeProbabilities", "all_mode_labels", "joined_mode_priors", "log_mode_priors"]

# Probabilities are often typed with few digits; rows are normalised.
_TOLERANCE = 1e-6


class WithModeProbabilities:
    """Probabilities of units' modes, and how a panel gets them."""

    __slots__ = ()

    if TYPE_CHECKING:
        _mode_priors: np.ndarray | None  # (n_units, K') float64, rows of NaN = unknown
        _mode_prior_labels: tuple[Hashable, ...]

        @property
        def n_units(self) -> int: ...
        @property
        def units(self) -> tuple[Hashable, ...]: ...
        @property
        def modes(self) -> tuple[Hashable | None, ...]: ...
        def _replace(self, **parts: Any) -> Self: ...

    @property
    def mode_probabilities(self) -> np.ndarray | None:
        """Prior probabilities of the units' modes, shape (n_units, K'), rows of NaN = unknown; None if none are known.

        Column j belongs to the label ``mode_probability_labels[j]``.
        """
        return self._mode_priors

    @property
    def mode_probability_labels(self) -> tuple[Hashable, ...]:
        """Labels of the columns of `mode_probabilities`, length K'."""
        return self._mode_prior_labels

    def with_mode_probabilities(
        self, probabilities: Any, labels: Sequence[Hashable] | np.ndarray | None = None
    ) -> Self:
        """Return the panel with these prior probabilities of units' modes, for example from an expert's inspection.

        A fit takes them in place of the modes' shares in the fleet, and learns the shares from the other units. The
        labels become mode labels of the fit, as those of ``modes`` do. A mode without a label here is impossible for
        these units.

        Parameters
        ----------
        probabilities : array_like of shape (n_units, K'), mapping of unit to K' numbers, or None
            Not negative, and of sum 1 for each unit. 0 means impossible. A row of NaN, or a unit that the mapping
            lacks: unknown. None removes all.
        labels : sequence of K' distinct labels
            Of the columns.

        Raises
        ------
        PanelError
            Probabilities are negative or do not sum to 1, the labels do not fit them, or a unit's known mode is
            impossible; the message names the unit.
        """
        if probabilities is None:
            return self._replace(_mode_priors=None, _mode_prior_labels=())
        names = _distinct_labels(labels)
        rows = _rows(self, probabilities, len(names))
        _check_rows(self, rows)
        rows = rows / rows.sum(axis=1, keepdims=True)
        rows.setflags(write=False)
        panel = self._replace(_mode_priors=rows, _mode_prior_labels=names)
        _check_known_modes(panel)
        return panel


def _distinct_labels(labels: Sequence[Hashable] | np.ndarray | None) -> tuple[Hashable, ...]:
    """The labels as the panel writes them, in the given order."""
    if labels is None or isinstance(labels, (str, bytes)):
        raise PanelError(f"labels={labels!r}: one label per column of the mode probabilities was expected, in a list")
    codes, found = encode_labels(labels)
    if not len(codes) or (codes < 0).any() or len(found) < len(codes):
        raise PanelError(f"labels={listed(list(labels), 10)}: distinct labels, none of them unknown, were expected")
    warn_of_labels(found)
    return tuple(found[code] for code in codes.tolist())


def _rows(panel: WithModeProbabilities, probabilities: Any, n_labels: int) -> np.ndarray:
    """(n_units, K') float64."""
    if isinstance(probabilities, Mapping):
        check_keys(probabilities, panel.units, "mode probabilities")
        absent = np.full(n_labels, np.nan)
        probabilities = [probabilities.get(unit, absent) for unit in panel.units]
    try:
        rows = np.array(probabilities, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PanelError(
            f"mode probabilities must be numbers, {n_labels} per unit, one for each label: {error}"
        ) from None
    if rows.shape != (panel.n_units, n_labels):
        raise PanelError(
            f"mode probabilities must have shape {(panel.n_units, n_labels)}, a row per unit and a column per label; "
            f"found {rows.shape}"
        )
    return rows


def _check_rows(panel: WithModeProbabilities, rows: np.ndarray) -> None:
    """PanelError unless each row is one of probabilities, or of NaN."""
    told = ~np.isnan(rows).all(axis=1)
    with np.errstate(invalid="ignore"):
        sound = (rows >= 0.0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1.0) <= _TOLERANCE)
    wrong = np.flatnonzero(told & ~sound)
    if wrong.size:
        raise PanelError(
            f"the mode probabilities of unit {panel.units[wrong[0]]!r} are {rows[wrong[0]].tolist()}; numbers of sum 1 "
            "that are not negative were expected, or only NaN if they are unknown"
        )


def _check_known_modes(panel: WithModeProbabilities) -> None:
    """PanelError if a unit's known mode has probability 0."""
    if panel._mode_priors is None:
        return
    columns = {label: column for column, label in enumerate(panel._mode_prior_labels)}
    for unit in np.flatnonzero(~np.isnan(panel._mode_priors[:, 0])).tolist():
        mode = panel.modes[unit]
        if mode is not None and not (mode in columns and panel._mode_priors[unit, columns[mode]] > 0.0):
            raise PanelError(
                f"unit {panel.units[unit]!r} has the known mode {mode!r}, but its mode probabilities exclude it; "
                "correct the label or the probabilities"
            )


def all_mode_labels(panel: Panel) -> tuple[Hashable, ...]:
    """Labels of known modes and of mode probabilities, distinct and sorted."""
    if not panel._mode_prior_labels:
        return tuple(panel.mode_labels)
    return encode_labels([*panel.mode_labels, *panel._mode_prior_labels])[1]


def log_mode_priors(panel: Panel, mode_labels: Sequence[Hashable]) -> np.ndarray | None:
    """Log probabilities of the units' modes, in the order of a model's modes.

    Parameters
    ----------
    panel : Panel
        With or without mode probabilities.
    mode_labels : sequence of K labels
        Of the model.

    Returns
    -------
    ndarray of shape (n_units, K) or None
        −inf: impossible. Rows of NaN: unknown. None if no unit has any.

    Raises
    ------
    PanelError
        A label of the probabilities is none of the model's modes, or a unit's known mode is impossible.
    """
    priors = panel._mode_priors
    if priors is None or np.isnan(priors).all():
        return None
    foreign = [label for label in panel._mode_prior_labels if label not in mode_labels]
    if foreign:
        raise PanelError(
            f"the panel's mode probabilities name {listed(foreign)}; the modes of the model are "
            f"{listed(list(mode_labels), 10)}. Correct the labels, or remove them with "
            "panel.with_mode_probabilities(None)"
        )
    _check_known_modes(panel)
    result = np.full((panel.n_units, len(mode_labels)), -np.inf)
    with np.errstate(divide="ignore"):
        result[:, [list(mode_labels).index(label) for label in panel._mode_prior_labels]] = np.log(priors)
    result[np.isnan(priors[:, 0])] = np.nan
    return result


def joined_mode_priors(panels: Sequence[Panel]) -> dict[str, Any]:
    """Parts of the panel of all units that hold the mode probabilities, by label."""
    labels = encode_labels([label for panel in panels for label in panel._mode_prior_labels])[1]
    if not labels:
        return {}
    joined = []
    for panel in panels:
        rows = np.full((panel.n_units, len(labels)), np.nan)
        if panel._mode_priors is not None:
            told = ~np.isnan(panel._mode_priors[:, 0])
            rows[told] = 0.0
            columns = [labels.index(label) for label in panel._mode_prior_labels]
            rows[np.ix_(told, columns)] = panel._mode_priors[told]
        joined.append(rows)
    whole = np.concatenate(joined)
    whole.setflags(write=False)
    return {"_mode_priors": whole, "_mode_prior_labels": labels}
