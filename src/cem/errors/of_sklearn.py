"""Join an error or a warning with scikit-learn's class of the same name, so that code for scikit-learn catches it.

Nothing here imports scikit-learn. A process that has not loaded it cannot name its classes, and needs no joint class.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["joint"]

_made: dict[type, type] = {}


def joint(own: type) -> type:
    """The class itself, or a subclass of it and of scikit-learn's class of the same name.

    Parameters
    ----------
    own : type
        An error or a warning of this package.

    Returns
    -------
    type
        `own`, if scikit-learn is not loaded or has no class of this name.
    """
    theirs = getattr(sys.modules.get("sklearn.exceptions"), own.__name__, None)
    if not isinstance(theirs, type) or issubclass(own, theirs):
        return own
    known = _made.get(own)
    if known is None or not issubclass(known, theirs):

        def reduced(self: Any) -> tuple[Any, ...]:
            return own, self.args  # a process without scikit-learn reads it too

        names = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
        known = _made[own] = type(own.__name__, (own, theirs), {**names, "__reduce__": reduced})
    return known
