"""The function that the golden file of a `Custom` basis names, as "golden_functions:wearing"."""

import numpy as np


def wearing(times):
    """Level, and wear that levels off; shape (n, 2)."""
    return np.stack([np.ones_like(times), -np.expm1(-times / 4.0)], axis=1)
