"""What a panel says about its covariates, and how it gets others; `Panel` inherits it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean

if TYPE_CHECKING:
    from typing import Self

    from cem.panel.covariates import Covariate

__all__ = ["WithCovariates"]


class WithCovariates:
    """Covariates by name: of the readings and of the units."""

    __slots__ = ()

    if TYPE_CHECKING:
        channels: tuple[str, ...]
        offsets: np.ndarray
        _unit_ids: np.ndarray
        _covariate_columns: dict[str, Covariate]
        _unit_covariate_columns: dict[str, Covariate]

        def _replace(self, **parts: Any) -> Self: ...

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates that are read with the sensors."""
        return tuple(self._covariate_columns)

    @property
    def unit_covariates(self) -> tuple[str, ...]:
        """Names of the covariates of the units."""
        return tuple(self._unit_covariate_columns)

    def covariate(self, name: str) -> np.ndarray:
        """Return the values of a covariate, or of a covariate of the units.

        Parameters
        ----------
        name : str

        Returns
        -------
        ndarray of shape (n_readings,), or (n_units,) for a covariate of the units
            float64 with NaN where missing for numbers; objects, the levels with None where missing, for a category.

        Raises
        ------
        PanelError
            The panel has no covariate of this name.
        """
        return self._column(name).plain()

    def conditions(
        self,
        names: Iterable[str] | None = None,
        levels: Mapping[str, Sequence[Hashable] | None] | None = None,
    ) -> np.ndarray:
        """Return the covariates of each reading as numbers; those of a unit repeat over its readings.

        Parameters
        ----------
        names : iterable of str, optional
            Order of the columns. Default: all covariates, those of the units last.
        levels : mapping of str to sequence of levels, or to None for a number, optional
            The levels in whose order a category is counted, such as those of a model. Default: the panel's own.
            Whole numbers are looked up in levels that are whole numbers.

        Returns
        -------
        ndarray of shape (n_readings, len(names)), float64
            The number, or the position of the level; NaN where missing.

        Raises
        ------
        PanelError
            The panel lacks a covariate, has a category in place of a number, or a level that is not among those given;
            the message names the unit and the row.
        """
        from cem.panel.condition_columns import conditions_of

        return conditions_of(self, (*self.covariates, *self.unit_covariates) if names is None else names, levels or {})

    def with_covariates(
        self,
        covariates: Mapping[str, Any] | None = None,
        unit_covariates: Mapping[str, Any] | None = None,
        *,
        missing: Any = None,
    ) -> Self:
        """Return the panel with these covariates besides its own; a name that it has already gets the new values.

        Parameters
        ----------
        covariates : mapping of str to array_like of shape (n_readings,), optional
            By name; values in the order of `times`. None in place of values removes a covariate.
        unit_covariates : mapping of str to array_like of shape (n_units,), or to a mapping of unit to value, optional
            By name; values in the order of `units`. None in place of values removes a covariate.
        missing : number, sequence of numbers, or mapping of name to either, optional
            Codes for missing in them, as for `Panel`.

        Raises
        ------
        PanelError
            A name is a channel, or given in both; values of a wrong length, infinite ones, or numbers among texts.
        """
        from cem.panel.covariate_checks import checked_covariates, given_columns

        given, of_units = given_columns(covariates, unit_covariates)
        ours = [dict(self._covariate_columns), dict(self._unit_covariate_columns)]
        for new, old, option in zip((given, of_units), ours, ("covariates", "unit_covariates"), strict=True):
            for name in [name for name, values in new.items() if values is None]:
                if old.pop(name, None) is None:
                    raise PanelError(f"{option}={{{name!r}: None}}: the panel has none to remove; {_there(name, old)}")
                del new[name]
        for new, old in ((given, ours[1]), (of_units, ours[0])):
            both = next((name for name in new if name in old), None)
            if both is not None:
                kinds = ("covariates", "unit_covariates") if new is given else ("unit_covariates", "covariates")
                raise PanelError(
                    f"{kinds[0]} names {both!r}, which the panel has in {kinds[1]}; remove it there: "
                    f"{kinds[1]}={{{both!r}: None}}"
                )
        if isinstance(missing, Mapping):
            for name in missing:
                if name not in given and name not in of_units:
                    known = (*given, *of_units)
                    raise OptionError(f"missing names {name!r}, which is not given; {did_you_mean(name, known)}")
        columns, unit_columns = checked_covariates(
            given, of_units, self.channels, self._unit_ids, self.offsets, missing
        )
        return self._replace(
            _covariate_columns={**ours[0], **columns}, _unit_covariate_columns={**ours[1], **unit_columns}
        )

    def _column(self, name: str) -> Covariate:
        column = self._covariate_columns.get(name) or self._unit_covariate_columns.get(name)
        if column is None:
            known = (*self.covariates, *self.unit_covariates)
            raise PanelError(f"the panel has no covariate {name!r}; {_there(name, known)}")
        return column


def _there(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name; how to read covariates if there are none."""
    if not (known := list(known)):
        return (
            "it has none at all: give it by Panel.from_frame(..., covariates=[...], unit_covariates=[...]) or "
            "panel.with_covariates(...)"
        )
    return did_you_mean(name, known)
