"""Columns of three kinds: which coefficients vary from unit to unit, which belong to a mode, and which to the fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean, listed
from cem.panel.panel import Panel
from cem.statistics.columns import Column, ColumnPlan, Design
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["ColumnChoice", "check_collinear", "chosen_functions", "column_plan"]

FloatArray = NDArray[np.float64]
ColumnChoice = str | Sequence[int] | Mapping[str | None, str | Sequence[int]] | None

# Share of a column's length that the columns before it leave: below this it is a combination of them.
_COLLINEAR = 1e-6


def chosen_functions(
    option: str, value: ColumnChoice, channel: str, basis: Basis, default: tuple[int, ...]
) -> tuple[int, ...]:
    """The basis functions that an option chooses for a channel, in the order of the basis.

    Parameters
    ----------
    option : str
        Name of the option, for messages.
    value : "all", "none", sequence of int, or mapping of channel to these
        None, or no entry for the channel: the default.
    channel : str
    basis : Basis
    default : tuple of int

    Raises
    ------
    OptionError
        The value is none of these, or a number is not a function of the basis.
    """
    if isinstance(value, Mapping):
        value = value.get(channel, value.get(None))
    if value is None:
        return default
    if isinstance(value, str):
        if value not in ("all", "none"):
            raise OptionError(
                f"{option} of channel {channel!r} is {value!r}; 'all', 'none' or positions of basis functions, such as "
                "[0, 1], were expected"
            )
        return tuple(range(basis.size)) if value == "all" else ()
    try:
        functions = [int(function) for function in value]
        if any(isinstance(function, bool) for function in value) or functions != list(value):
            raise TypeError
    except (TypeError, ValueError):
        raise OptionError(
            f"{option} of channel {channel!r} is {value!r}; 'all', 'none' or positions of basis functions, such as "
            "[0, 1], were expected"
        ) from None
    wrong = [function for function in functions if not 0 <= function < basis.size]
    if wrong or len(set(functions)) != len(functions):
        raise OptionError(
            f"{option} of channel {channel!r} is {list(value)!r}; distinct positions from 0 to {basis.size - 1}, the "
            f"functions of {basis!r}, were expected"
        )
    return tuple(sorted(functions))


def check_choice(option: str, value: Any, channels: Sequence[str]) -> None:
    """OptionError if a mapping names a channel that is not there."""
    if isinstance(value, Mapping):
        for name in value:
            if name is not None and name not in channels:
                raise OptionError(f"{option} names channel {name!r}; {did_you_mean(str(name), channels)}")


def column_plan(
    channels: Sequence[str],
    specified: Sequence[Basis],
    random_columns: ColumnChoice,
    common_columns: ColumnChoice,
    covariate_columns: Sequence[Sequence[Column]] | None,
    features: FloatArray,
) -> ColumnPlan | None:
    """The plan of a fit; None if all columns are random, as in a plain fit.

    Parameters
    ----------
    channels : sequence of str
    specified : sequence of Basis
        The basis of each channel, as the user gave it.
    random_columns, common_columns : ColumnChoice
        The options of the fit.
    covariate_columns : sequence over channels of sequence of Column, optional
        Columns with a feature of the covariates.
    features : ndarray of shape (N, F)
        At the panel's readings.

    Raises
    ------
    OptionError
        A choice cannot be read, or a function is both random and common.
    """
    check_choice("random_columns", random_columns, channels)
    check_choice("common_columns", common_columns, channels)
    random, fixed = [], []
    for c, (channel, basis) in enumerate(zip(channels, specified, strict=True)):
        own = basis.random_functions
        default = tuple(range(basis.size)) if own is None else own
        functions = chosen_functions("random_columns", random_columns, channel, basis, default)
        common = chosen_functions("common_columns", common_columns, channel, basis, ())
        both = sorted(set(functions) & set(common))
        if both:
            raise OptionError(
                f"channel {channel!r}: basis function {both[0]} is among random_columns and common_columns; a "
                "coefficient varies from unit to unit or is one for the fleet. Leave it out of one of them"
            )
        columns = [Column(-1, j, j not in common) for j in range(basis.size) if j not in functions]
        columns += [] if covariate_columns is None else list(covariate_columns[c])
        random.append(functions)
        # Internal coordinates mix a column with those after it, so those of a mode must come first: a coefficient that
        # is one for all modes there is then one in the panel's units, too.
        fixed.append(tuple(sorted(columns, key=lambda column: (not column.by_mode, column.feature >= 0))))
    if not any(fixed) and all(len(f) == basis.size for f, basis in zip(random, specified, strict=True)):
        return None
    return ColumnPlan(tuple(random), tuple(fixed), features)


def check_collinear(
    statistics: SufficientStatistics, plan: ColumnPlan, feature_names: Sequence[str], panel: Panel
) -> None:
    """Refuse a column with a feature that the columns before it reproduce at all readings of a channel.

    Parameters
    ----------
    statistics : SufficientStatistics
    plan : ColumnPlan
    feature_names : sequence of str
    panel : Panel
        A channel with gaps may lack the very readings that tell two columns apart.

    Raises
    ------
    PanelError
        The message names the channel, the column and what it coincides with.
    """
    fixed = statistics.fixed
    if fixed is None:
        return
    for c, name in enumerate(statistics.channels):
        if not any(column.feature >= 0 for column in plan.fixed[c]):
            continue
        S = fixed.wide.transform(c)
        seen = np.isfinite(panel.values[:, c])
        if not seen.all():
            if not seen.any():
                continue
            design = Design(panel, statistics.bases[c], plan.random[c], plan.fixed[c], plan.features)
            S = np.asarray(np.linalg.qr(design(np.flatnonzero(seen)), mode="r"), dtype=np.float64)
            if len(S) < S.shape[1]:
                continue  # too few readings for any fit, which is refused with the basis
        norms = np.linalg.norm(S, axis=0)
        p = statistics.sizes[c]
        for i, column in enumerate(plan.fixed[c]):
            at = p + i
            if column.feature < 0 or abs(S[at, at]) > _COLLINEAR * norms[at]:
                continue
            described = described_column(column, feature_names)
            weights = np.abs(np.linalg.lstsq(S[:at, :at], S[:at, at], rcond=1e-10)[0]) * norms[:at]
            with_ = [
                "the basis" if j < p or plan.fixed[c][j - p].feature < 0
                else described_column(plan.fixed[c][j - p], feature_names)
                for j in np.argsort(-weights)[:3]
                if weights[j] > 1e-3 * max(norms[at], 1e-300)
            ]  # fmt: skip
            how = f"a combination of {listed(list(dict.fromkeys(with_)), 3)}" if with_ else "zero at all its readings"
            raise PanelError(
                f"channel {name!r}: covariate column {described} is {how}, so its coefficient cannot be told apart; "
                "leave the term out, or take a smaller basis or fewer terms"
            )


def described_column(column: Column, feature_names: Sequence[str]) -> str:
    """A column as a user would write it."""
    parts = []
    if column.feature >= 0:
        parts.append(feature_names[column.feature])
    if column.function >= 0:
        parts.append(f"basis function {column.function}")
    return repr(" x ".join(parts))
