"""The conditions of simulated units: covariates of their readings and of the units, as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.covariates.one_channel import encoded
from cem.errors import OptionError
from cem.errors.names import listed
from cem.errors.options import shortened
from cem.mixture.asked_conditions import needed_covariates, refuse_unknown
from cem.mixture.conditioned import basis_rows
from cem.mixture.membership import log_weights_of
from cem.panel.covariates import Covariate

if TYPE_CHECKING:
    from collections.abc import Callable

    from cem.covariates.columns import Column
    from cem.covariates.conditions import Conditions
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel

__all__ = ["SampledConditions", "sampled_conditions"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SampledConditions:
    """The covariates of n_units simulated units.

    Parameters
    ----------
    covariates : dict of str to Covariate
        Of the N readings.
    unit_covariates : dict of str to Covariate
        Of the units.
    columns : dict of str to ndarray
        All of them at the readings, (N,), as the model counts them.
    membership : ndarray of shape (n_units, m) or None
        What π_k(u) depends on, as that counts it: its levels are of all training units, those of readings of units
        that failed.
    """

    covariates: dict[str, Covariate]
    unit_covariates: dict[str, Covariate]
    columns: dict[str, FloatArray]
    membership: FloatArray | None

    def rows(self, conditions: Conditions) -> FloatArray:
        """The covariates of the readings in the order of the conditions, (N, m)."""
        return np.column_stack([self.columns[column.name] for column in conditions.columns])

    def mode_probabilities(self, model: FittedMixture) -> FloatArray | None:
        """π_k(u) of each unit, (n_units, K); None if π does not depend on covariates."""
        gamma = model.internal_parameters.membership
        if model.of_units is None or gamma is None or self.membership is None:
            return None
        features = model.of_units.features_at(self.membership, lambda row: f"unit number {row}", OptionError)
        return np.exp(log_weights_of(gamma, np.concatenate([np.ones((len(features), 1)), features], axis=1)))

    def designs(
        self, model: FittedMixture, channel: int, functions: FloatArray, where: Callable[[int], str]
    ) -> FloatArray:
        """A channel's basis (N, p) and its by-mode columns, (N, p + q)."""
        conditions = model.conditions
        if conditions is None or not conditions.by_mode[channel]:
            return functions
        bases: list[FloatArray | None] = [functions if c == channel else None for c in range(model.n_channels)]
        psi = conditions.of_channels((model.channels[channel],)).design(
            self.rows(conditions), [bases[channel]], 0, where, OptionError
        )
        return np.concatenate([functions, psi], axis=1)

    def restored(
        self, model: FittedMixture, values: FloatArray, times: FloatArray, where: Callable[[int], str]
    ) -> FloatArray:
        """Readings in the channels' units from those as modelled, (N, C)."""
        conditions = model.conditions
        if conditions is None:
            return values
        w = self.rows(conditions)
        conditions.check(w, where, OptionError)
        if not conditions.maps_readings:
            return values
        return conditions.restored(values, w, basis_rows(model, times), where, OptionError)

    def carried_by(self, panel: Panel) -> Panel:
        """The panel with these covariates."""
        return panel._replace(_covariate_columns=self.covariates, _unit_covariate_columns=self.unit_covariates)


def sampled_conditions(
    model: FittedMixture, n_readings: Sequence[int], covariates: Any, unit_covariates: Any, modes_given: bool = False
) -> SampledConditions | None:
    """The covariates of simulated units; None if the model has none.

    Parameters
    ----------
    model : FittedMixture
        The model.
    n_readings : sequence of int
        Readings of each unit.
    covariates : mapping of name to value, optional
        A number or level, an array of shape (n,) for units with n readings each, or one array for each unit.
    unit_covariates : mapping of name to value, optional
        A number or level, or one for each unit.
    modes_given : bool
        The units' modes are known, so that covariates on which nothing but π depends may be left out.

    Raises
    ------
    OptionError
        A covariate of the model is lacking, a name is not the model's, or a value or shape cannot be used.
    """
    given = _checked("covariates", covariates, model, model.covariates, model.covariates)
    needed = model.unit_covariates
    if modes_given:
        needed = needed_covariates(model.conditions, of_unit=True)
    of_units = _checked("unit_covariates", unit_covariates, model, model.unit_covariates, needed)
    columns: dict[str, Column] = {}
    for conditions in (model.conditions, model.of_units):
        for column in () if conditions is None else conditions.columns:
            columns.setdefault(column.name, column)
    if not columns:
        return None
    lengths = np.asarray(n_readings)
    unit_values = {name: _of_units(columns[name], value, len(lengths)) for name, value in of_units.items()}
    values = {name: _of_readings(columns[name], value, lengths) for name, value in given.items()}

    def kept(name: str, numbers: FloatArray) -> Covariate:
        return Covariate(name, numbers, columns[name].levels).taken(slice(None))

    return SampledConditions(
        {name: kept(name, numbers) for name, numbers in values.items()},
        {name: kept(name, numbers) for name, numbers in unit_values.items()},
        {**values, **{name: np.repeat(numbers, lengths) for name, numbers in unit_values.items()}},
        None
        if model.of_units is None or modes_given
        else np.column_stack(
            [_of_units(column, of_units[column.name], len(lengths)) for column in model.of_units.columns]
        ),
    )


def _checked(
    option: str, given: Any, model: FittedMixture, known: Sequence[str], needed: Sequence[str]
) -> dict[str, Any]:
    """The values by name, in the model's order."""
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise OptionError(f"{option} is {shortened(given)}; a mapping of names to values was expected")
    refuse_unknown(model, given, known, option, OptionError)
    lacking = [name for name in needed if name not in given]
    if lacking:
        raise OptionError(
            f"{option} lacks {lacking[0]!r}; readings of this model depend on {listed(needed, 12)}: give "
            f"{option}={{{', '.join(f'{name!r}: ...' for name in needed)}}}"
        )
    return {name: given[name] for name in known if name in given}


def _of_units(column: Column, value: Any, n_units: int) -> FloatArray:
    numbers = encoded(column, value, OptionError)
    if numbers.ndim and numbers.shape != (n_units,):
        raise OptionError(
            f"unit covariate {column.name!r} has shape {numbers.shape}; one value, or shape ({n_units},), one for each "
            "unit, was expected"
        )
    return np.array(np.broadcast_to(numbers, (n_units,)))


def _of_readings(column: Column, value: Any, lengths: NDArray[np.int64]) -> FloatArray:
    total, n_units = int(lengths.sum()), len(lengths)
    is_list = isinstance(value, (list, tuple)) and len(value) > 0 and not np.isscalar(value[0]) and value[0] is not None
    if is_list or getattr(value, "ndim", 1) == 2:
        parts = [encoded(column, part, OptionError) for part in value]
        if len(parts) != n_units:
            raise OptionError(f"covariate {column.name!r} holds arrays for {len(parts)} units; {n_units} were expected")
        for l, part in enumerate(parts):
            if part.ndim and part.shape != (lengths[l],):
                raise OptionError(
                    f"covariate {column.name!r} of unit number {l} has shape {part.shape}; ({lengths[l]},), one "
                    "value for each of its times, was expected"
                )
        return np.concatenate([np.broadcast_to(part, (n,)) for part, n in zip(parts, lengths, strict=True)])
    numbers = encoded(column, value, OptionError)
    if numbers.ndim == 0:
        return np.full(total, float(numbers))
    if numbers.ndim != 1 or (lengths != len(numbers)).any():
        raise OptionError(
            f"covariate {column.name!r} has shape {numbers.shape}; one value, one for each time if all units "
            "have as many, or one array for each unit was expected"
        )
    return np.tile(numbers, n_units)
