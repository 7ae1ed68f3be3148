"""Immutable values whose constructor arguments can be listed and replaced by name, as searches over parameters need."""

from __future__ import annotations

import inspect
from typing import Any, Self

from cem.errors.types import OptionError

__all__ = ["Parametrised"]


class Parametrised:
    """Base of immutable values whose constructor arguments are attributes of the same name."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name.

        Parameters
        ----------
        deep : bool
            For scikit-learn's signature: no argument has parameters of its own.
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def with_params(self, **params: Any) -> Self:
        """Return a new value with some constructor arguments replaced; this one does not change.

        Parameters
        ----------
        **params
            Arguments of the constructor and their new values.

        Raises
        ------
        OptionError
            There is no such argument, or it cannot have this value.
        """
        names = list(inspect.signature(type(self)).parameters)
        for name in params:
            if name not in names:
                options = f"its parameters are {', '.join(names)}" if names else "it has none"
                raise OptionError(f"{type(self).__name__} has no parameter {name!r}; {options}")
        return type(self)(**{**self.get_params(), **params})

    def __sklearn_clone__(self) -> Self:
        return self  # immutable
