"""The channel of ln life, which a fit with lives linked to the channels adds to the sensors."""

__all__ = ["LIFE"]

LIFE = "ln life"
"""Its name; it is always the last channel."""
