"""Pictures of panels, models, remaining lives and checks, drawn with matplotlib (the extra ``plot``).

Each class computes what it shows, keeps the numbers as attributes, and draws them: ``from_...`` computes and draws,
and `plot` draws again, on other axes. `Panel.plot`, `FailureModeModel.plot` and the `plot` of the laws are short ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.plot.style import mode_colour
    from cem.plot.trajectories import TrajectoryDisplay

__all__ = ["TrajectoryDisplay", "mode_colour"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.plot.style": ("mode_colour",),
            "cem.plot.trajectories": ("TrajectoryDisplay",),
        },
    )
