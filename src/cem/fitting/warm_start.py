"""Modes of a warm start: the fit keeps the labels and numbers of the model, and matches the panel's labels to them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.covariates.terms import names_in
from cem.errors import OptionError, PanelError
from cem.errors.names import listed, unit_name
from cem.errors.options import shortened
from cem.mixture.mode_match import UNLABELLED, unlabelled_modes
from cem.mixture.parameters import Parameters

if TYPE_CHECKING:
    from cem.covariates.conditions import Conditions
    from cem.fitting.options import FitOptions
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = [
    "UNLABELLED",
    "Start",
    "check_same_conditions",
    "checked_start",
    "matched_modes",
    "membership_of",
    "numbered",
    "unlabelled_modes",
]

Start: TypeAlias = "NDArray[np.float64] | Parameters | FailureModeModel | None"


def checked_start(init: Start, panel: Panel, options: FitOptions, counts: NDArray[np.int64] | None) -> Start:
    """The warm start of a fit; responsibilities of units have a row for each copy of the unit.

    Parameters
    ----------
    init : array_like of shape (L, K), Parameters, FailureModeModel or None
        As a user gives it.
    panel : Panel
        The training panel, each unit once.
    options : FitOptions
    counts : ndarray of shape (L,), optional
        How often each unit counts; None if each one counts once.

    Raises
    ------
    OptionError
        It is none of these; or the responsibilities have another shape, or a row that is no probabilities.
    """
    from cem.model.model import FailureModeModel

    if init is None or isinstance(init, Parameters | FailureModeModel):
        return init
    try:
        rows = np.asarray(init, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(
            f"init is {shortened(init)}; responsibilities of shape (units, modes), parameters as "
            "model.user_parameters() returns them, or a FailureModeModel were expected"
        ) from None
    expected = (panel.n_units, options.n_modes)
    if rows.shape != expected:
        raise OptionError(f"init: responsibilities of shape {rows.shape}; {expected} was expected")
    wrong = np.flatnonzero(~((rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1) < 1e-6)))
    if len(wrong):
        raise OptionError(
            f"init: the responsibilities of unit {unit_name(panel._unit_ids, wrong[0])} are {rows[wrong[0]]}; "
            "every row must be non-negative and sum to 1"
        )
    return rows if counts is None else np.repeat(rows, counts, axis=0)


def matched_modes(
    panel: Panel, model: FailureModeModel, n_modes: int
) -> tuple[tuple[Hashable, ...], NDArray[np.int32], tuple[int, ...]]:
    """Labels of the modes of a warm start, and the known modes of its units.

    A label of the panel that the model has means that mode. Any other label goes to the unlabelled mode that describes
    its units best, so that units labelled since the last fit name its modes.

    Parameters
    ----------
    panel : Panel
        Has the model's channels, on the time axis of the fit.
    model : FailureModeModel
        The model to start from.
    n_modes : int
        K of the fit.

    Returns
    -------
    labels : tuple of hashable, length K
        In the order of the model's modes.
    known_modes : ndarray of shape (L,), int32
        Positions of the units' known modes; -1 = unknown.
    unlabelled : tuple of int
        Positions of the modes that the fit numbers itself.

    Raises
    ------
    OptionError
        The model has another number of modes.
    PanelError
        The model does not know a label, and no unlabelled mode is left for it.
    """
    if model.n_modes != n_modes:
        raise OptionError(
            f"init: the model has {model.n_modes} modes, n_modes={n_modes}; a warm start keeps the modes of the model: "
            f"give n_modes={model.n_modes}, or fit without init"
        )
    without = unlabelled_modes(model)
    own = {label: k for k, label in enumerate(model.mode_labels) if k not in without}
    new = [label for label in panel.mode_labels if label not in own]
    if len(new) > len(without):
        raise PanelError(
            f"the panel's units carry the label{'s' if len(new) > 1 else ''} {listed(new)}; the modes of the model "
            f"given as init are {listed(model.mode_labels, 12)}, and {_count_of(len(without))} without a label of its "
            "own. Correct the labels, or fit without init"
        )
    if new:
        own.update(zip(new, _modes_of(panel, model, new, without), strict=True))
    foreign = [label for label in panel.mode_probability_labels if label not in own]
    if foreign:
        raise PanelError(
            f"the panel's mode probabilities name {listed(foreign)}; the labelled modes of the model given as init are "
            f"{listed(list(own), 12)}. Correct the labels, or fit without init"
        )
    position = np.array([own[label] for label in panel.mode_labels] + [-1], dtype=np.int32)
    named = {k: label for label, k in own.items()}
    labels = numbered([named.get(k) for k in range(n_modes)], model.mode_labels)
    return labels, position[panel.mode_codes], tuple(k for k in range(n_modes) if k not in named)


def check_same_conditions(model: FailureModeModel, options: FitOptions) -> None:
    """Refuse options with other covariates or regimes than the model of a warm start, whose own the fit keeps.

    Options that name none are those of the model.

    Raises
    ------
    OptionError
        The message names what differs.
    """
    if options.covariates is None and options.regimes is None:
        return
    own = set() if model.conditions is None else set(model.conditions.names)
    named = set(names_in(options.covariates)) | set(() if options.regimes is None else options.regimes.names)
    has_regimes = model.conditions is not None and model.conditions.regimes is not None
    if own != named or has_regimes != (options.regimes is not None):
        raise OptionError(
            f"init: the model has {_conditions_of(own, has_regimes)}, and the options name "
            f"{_conditions_of(named, options.regimes is not None)}; a warm start keeps those of the model: leave "
            "covariates and regimes out, or start from the responsibilities, init=model.predict_proba(panel)"
        )


def membership_of(init: object, options: FitOptions) -> Conditions | None:
    """The features of units of the model of a warm start, by which π depends on their covariates.

    Raises
    ------
    OptionError
        The options name other covariates.
    """
    from cem.model.model import FailureModeModel

    if not isinstance(init, FailureModeModel) or init.of_units is None:
        return None
    if options.membership is not None and set(names_in(options.membership, "membership")) != set(init.of_units.names):
        raise OptionError(
            f"init: membership of the model depends on {listed(init.of_units.names, 12)}, and the options name "
            f"{listed(names_in(options.membership, 'membership'), 12)}; a warm start keeps that of the model: leave "
            "membership out, or start from the responsibilities, init=model.predict_proba(panel)"
        )
    return init.of_units


def _conditions_of(names: set[str], has_regimes: bool) -> str:
    if not names:
        return "no covariates"
    return f"the covariates {listed(sorted(names), 12)}{' with regimes' if has_regimes else ' without regimes'}"


def numbered(names: Sequence[Hashable | None], before: Sequence[Hashable] = ()) -> tuple[Hashable, ...]:
    """Labels of all modes; a mode without a name gets a number, its previous one if that is free."""
    taken = {name for name in names if name is not None}
    labels = list(names)
    for k, name in enumerate(names):
        if name is None and k < len(before) and before[k] not in taken:
            labels[k] = before[k]
            taken.add(before[k])
    free = (number for number in range(2 * len(labels) + len(taken) + 1) if number not in taken)
    return tuple(next(free) if label is None else label for label in labels)


def _count_of(n: int) -> str:
    return "none of them is" if not n else f"only {n} of them {'is' if n == 1 else 'are'}"


def _modes_of(
    panel: Panel, model: FailureModeModel, labels: Sequence[Hashable], free: Sequence[int]
) -> tuple[int, ...]:
    """Assign each new label to the free mode that gives its units the highest likelihood, over all labels together."""
    from scipy.optimize import linear_sum_assignment

    from cem.mixture.prediction import log_densities

    codes = [panel.mode_labels.index(label) for label in labels]
    rows = np.flatnonzero(np.isin(panel.mode_codes, codes))
    part = panel[rows]
    part = part.with_mode_probabilities(None)
    logs = log_densities(model.compressed(model._in_own_channels(part)), model.internal_parameters)
    of_label = [logs[panel.mode_codes[rows] == code][:, list(free)].sum(axis=0) for code in codes]
    _, chosen = linear_sum_assignment(np.nan_to_num(np.array(of_label)), maximize=True)
    return tuple(free[i] for i in chosen.tolist())
