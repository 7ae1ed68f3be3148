"""Which fits have fleets drawn from them, for a parametric bootstrap."""

from __future__ import annotations

__all__ = ["why_not_drawn"]


def why_not_drawn(*, weights: bool, lives: bool, running: bool) -> str:
    """Why fleets are not drawn from a fit, in the middle of a sentence; "" if they are.

    Parameters
    ----------
    weights : bool
        Copies of units count, by `sample_weight`.
    lives : bool
        Laws of lifetimes are beside the mixture.
    running : bool
        On the time to failure, some units still run.
    """
    if weights:
        return "copies of units, by sample_weight, are not drawn"
    if lives:
        return "lives whose law is not linked to the channels (lifetimes='linked' with linking_rank=1 or more) are not"
    return "when units that still run were read for the last time is not" if running else ""
