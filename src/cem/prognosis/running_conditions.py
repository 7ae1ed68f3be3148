"""Reading conditions of one running unit on the time to failure.

Regimes and common columns change the readings before anything else. By-mode columns are further columns of a channel's
design, which move with the anchor as the basis does; so are common products with a basis function, whose value depends
on the time to failure, which is unknown: the model comes as `cem.mixture.shifted_form` makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError
from cem.mixture.membership import log_weights_of
from cem.scoring import under_conditions
from cem.scoring.condition_layout import reading_columns, unit_columns
from cem.statistics.columns import Column, ColumnPlan, shifted_columns

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.covariates.conditions import Conditions
    from cem.model.model import FailureModeModel

__all__ = ["RunningConditions", "conditions_of_running"]

FloatArray = NDArray[np.float64]


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
        On the time to failure, in its shifted form.
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
        # At the anchor: no common column of the shifted form depends on the time.
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
