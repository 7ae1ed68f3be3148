"""
A first fit
===========

You have the sensor histories of a fleet. Some machines wear out in one way, some in another,
and nobody wrote down which. This tutorial finds the groups.
"""

# %%
# The data
# --------
# The demo fleet is 160 pumps that ran until they failed. We put it into a pandas table first,
# because that is what your own data will look like: one row per reading, a column for the
# machine, a column for the time.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cem

fleet = cem.datasets.load_demo_fleet()
table = pd.DataFrame(fleet.values, columns=list(fleet.channels))
table.insert(0, "pump", np.repeat(fleet.units, np.diff(fleet.offsets)))
table.insert(1, "day", fleet.times)
print(table[["pump", "day", "vibration", "pressure", "wear"]].head(5))

# %%
# Pumps are read at irregular times, and cells are missing (NaN). Neither needs preparation.
# `Panel.from_frame` takes the table as it is and says what it found.

panel = cem.Panel.from_frame(table, unit="pump", time="day", time_unit="d", response="wear")
print(panel)

# %%
# One sensor, all pumps: no groups that you could see.

figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for pump in range(panel.n_units):
    rows = table[table["pump"] == panel.units[pump]].dropna(subset="vibration")
    axis.plot(rows["day"], rows["vibration"], color="0.3", alpha=0.25, linewidth=0.8)
axis.set(xlabel="day", ylabel="vibration [mm/s]", title="Vibration of 160 pumps")

# %%
# The fit
# -------
# `FailureModeEM` looks for three groups, the *failure modes*. Each pump has a curve of its own
# for each sensor, here a parabola (the default basis). In each mode these curves scatter about
# the mode's mean curve. The fit finds the mean curves, the scatter, the noise of the readings,
# and for each pump the probability of each mode.
#
# ``covariance="pooled"`` shares the scatter between modes. Choose it when a mode may have few
# machines.

em = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(panel)
model = em.model_
print("converged:", em.converged_)
print("weights of the modes:", model.weights_.round(3))
print("pumps in each mode:", np.bincount(em.responsibilities_.argmax(axis=1)))

# %%
# The result
# ----------
# Here are all pumps again, each in the colour of its most probable mode. The thick lines are
# the mean curves.

COLOURS = ["#3b6fb6", "#e07b39", "#4a9c6d"]
mode_of = dict(zip(panel.units, em.responsibilities_.argmax(axis=1), strict=True))
days = np.linspace(0, 400, 101)
curves = model.curves(days)  # modes × channels × days

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axis, channel in zip(axes, ["vibration", "pressure", "wear"], strict=True):
    for pump, rows in table.dropna(subset=channel).groupby("pump"):
        axis.plot(
            rows["day"], rows[channel], color=COLOURS[mode_of[pump]], alpha=0.2, linewidth=0.7
        )
    for mode in range(model.n_modes):
        last = max(
            table.loc[table["pump"] == pump, "day"].max()
            for pump in mode_of
            if mode_of[pump] == mode
        )
        shown = days <= last
        mean = curves[mode, model.channel_index(channel), shown]
        axis.plot(days[shown], mean, color=COLOURS[mode], linewidth=3, label=f"mode {mode}")
    axis.set(xlabel="day", title=f"{channel} [{fleet.channel_units[channel]}]")
axes[0].legend(frameon=False)

# %%
# Three ways to fail: mode 0 vibrates more and more at constant pressure, mode 1 loses pressure
# at constant vibration, and the rare mode 2 does both. The fit has not seen any label.
#
# Was it right?
# -------------
# The demo fleet is simulated, so the true modes are known.

truth = cem.datasets.load_demo_fleet(modes=True).modes
found = em.responsibilities_.argmax(axis=1)
print(pd.crosstab(pd.Series(truth, name="truth"), pd.Series(found, name="mode found")))

# %%
# Your own data will not separate this cleanly. Look at the probabilities as well as the
# labels: pumps between two modes have none near 1. Save the model for later; `cem.load` reads
# it.

print("least certain pump:", em.responsibilities_.max(axis=1).min().round(3))
model.save("pumps.cem")
