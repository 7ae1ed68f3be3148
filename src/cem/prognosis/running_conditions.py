"""Reading conditions of one running unit on the time to failure, and which of them a running unit can have.

Regimes and common columns change the readings before anything else, if they do not depend on the time to failure, which
is unknown. By-mode columns are further columns of a channel's design, which move with the anchor as the basis does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import BasisError, OptionError, ScorerError
from cem.mixture.membership import log_weights_of
from cem.scoring import under_conditions
from cem.scoring.condition_layout import reading_columns, unit_columns
from cem.statistics.columns import Column, ColumnPlan, shifted_columns

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.covariates.conditions import Conditions
    from cem.model.model import FailureModeModel

__all__ = ["RunningConditions", "conditions_of_running", "refuse_unknown_times"]

FloatArray = NDArray[np.float64]


def refuse_unknown_times(model: FailureModeModel) -> None:
    """Refuse a model whose common columns need the time to failure of a reading, which a running unit's is unknown.

    Raises
    ------
    OptionError
        A common column is the product of a covariate and a basis function that is not constant; it is named.
    """
    conditions = model.conditions
    if conditions is None or model.time_axis != "to_failure":
        return
    for c, columns in enumerate(conditions.common):
        for name, (_, function) in zip(conditions.column_names(c), columns, strict=True):
            if function >= 0 and not _is_constant(model.bases[c], function):
                raise OptionError(
                    f"channel {model.channels[c]!r}: the common column {name!r} depends on the time to failure, which "
                    "is unknown while a unit runs; fit with this term by_mode=True, or without its basis_functions"
                )


def _is_constant(basis: Basis, function: int) -> bool:
    """Whether a basis function does not change under a shift of time."""
    try:
        moved = basis.shift_matrix(1.0)[:, function]
    except BasisError:
        return False
    return bool(moved[function] == 1.0 and np.count_nonzero(moved) == 1)


def conditions_of_running(model: FailureModeModel, covariates: object) -> RunningConditions | None:
    """The conditions of a unit that begins; None if the model has none.

    Raises
    ------
    ScorerError
        The unit's covariates are missing or unknown, or given to a model that has none.
    """
    if model.conditions is None and model.of_units is None:
        if covariates is not None:
            raise ScorerError("this model has no covariates of units; leave covariates= out")
        return None
    return RunningConditions(model, covariates)


class RunningConditions:
    """The conditions of one running unit.

    Parameters
    ----------
    model : FailureModeModel
        On the time to failure.
    covariates : mapping or sequence, optional
        Of the unit; see `RemainingLife.unit`.
    """

    def __init__(self, model: FailureModeModel, covariates: object) -> None:
        self.model = model
        conditions, of_units = model.conditions, model.of_units
        self._columns = reading_columns(conditions)
        own_columns = unit_columns(conditions, of_units)
        own: dict[str, float] = {}
        self.own: tuple[Any, ...] | None = None
        if own_columns or covariates is not None:
            row = under_conditions.unit_row(self, covariates)
            own = {column.name: float(value) for column, value in zip(own_columns, row, strict=True)}
            self.own = tuple(
                value if column.levels is None else column.levels[int(value)]
                for column, value in zip(own_columns, row.tolist(), strict=True)
            )
        self.log_weights: FloatArray | None = None
        gamma = model.internal_parameters.membership
        if of_units is not None and gamma is not None:
            features = of_units.features_at(np.array([[own[name] for name in of_units.names]]), error=ScorerError)
            self.log_weights = log_weights_of(gamma, np.concatenate([np.ones((1, 1)), features], axis=1))[0]
        self._row = np.array(
            [[own.get(column.name, np.nan) for column in (() if conditions is None else conditions.columns)]]
        )
        self._read = [
            j for j, column in enumerate(() if conditions is None else conditions.columns) if not column.of_unit
        ]
        # Any time serves: what depends on it is constant, or a column that stands at the anchor, 0.
        self._rows_of_bases = [basis(np.zeros(1)) for basis in model.bases]
        self.plan = _plan(model.bases, conditions)

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Columns of each channel's design, (C,)."""
        own = [0] * len(self.model.bases) if self.plan is None else list(self.plan.fixed_sizes)
        return np.array([basis.size + n for basis, n in zip(self.model.bases, own, strict=True)], dtype=np.int32)

    def read(self, values: FloatArray, covariates: object, t: float) -> tuple[FloatArray, FloatArray | None]:
        """x' of a reading, (C,), and its row of all designs at the anchor; None: that of the bases.

        Raises
        ------
        ScorerError
            Covariates are missing, wrong, or given to a model that has none, or the regime is unknown.
        """
        conditions = self.model.conditions
        if not self._columns and covariates is not None:
            raise under_conditions.no_covariates(self)
        if conditions is None:
            return values, None
        if self._columns:
            self._row[0, self._read] = under_conditions.covariate_row(self, covariates)

        def where(_: int) -> str:
            return f"time {t:g}"

        adjusted = conditions.adjusted(values[None], self._row, self._rows_of_bases, where, ScorerError)[0]
        if self.plan is None:
            return adjusted, None
        parts = []
        for c, row in enumerate(self._rows_of_bases):
            parts += [row[0], conditions.design(self._row, self._rows_of_bases, c, where, ScorerError)[0]]
        return adjusted, np.concatenate(parts)

    def shifts(self, points: FloatArray) -> list[FloatArray]:
        """S of each channel's whole design at shifts (n,), each (n, size, size)."""
        assert self.plan is not None
        return [
            shifted_columns(basis, random, fixed, points)
            for basis, random, fixed in zip(self.model.bases, self.plan.random, self.plan.fixed, strict=True)
        ]


def _plan(bases: tuple[Basis, ...], conditions: Conditions | None) -> ColumnPlan | None:
    """The columns of designs with by-mode ones; None if there are no such columns."""
    if conditions is None or not any(conditions.by_mode):
        return None
    return ColumnPlan(
        tuple(tuple(range(basis.size)) for basis in bases),
        tuple(tuple(Column(f, j, True) for f, j in own) for own in conditions.by_mode),
    )
