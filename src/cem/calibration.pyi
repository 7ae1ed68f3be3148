# For static checkers; at run time cem.old_paths finds the module in its room.
from cem.prognosis.calibration import *  # noqa: F403
