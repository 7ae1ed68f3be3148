"""
Watching one machine
====================

A model is fitted once. Then it follows running machines, reading by reading: which mode, how
sure, and whether this machine looks like any machine of the training at all.
"""

# %%
# Fit on the fleet, keep one pump out
# -----------------------------------

import matplotlib.pyplot as plt
import numpy as np

import cem

fleet = cem.datasets.load_demo_fleet()
training, others = fleet[:120], fleet[120:]
model = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(training).model_
pump = others[8]
print(f"{pump.n_readings} readings, failed at day {pump.failure_times[0]:.0f}")

# %%
# Reading by reading
# ------------------
# A *scorer* is the model, packed. A *unit* is one running machine: it takes a reading in about
# a microsecond, and its memory does not grow. Missing values are NaN, as they come.

unit = model.scorer().unit()
probabilities = []
for day, values in zip(pump.times, pump.values, strict=True):
    unit.update(day, values)
    probabilities.append(unit.mode_probabilities())
probabilities = np.array(probabilities)

for i in [0, 5, 10, len(pump.times) - 1]:
    print(f"day {pump.times[i]:6.2f}:", probabilities[i].round(3))

# %%
# Before the first reading the probabilities are the weights of the modes. Then the evidence
# comes in.

COLOURS = ["#3b6fb6", "#e07b39", "#4a9c6d"]
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.stackplot(
    pump.times,
    probabilities.T,
    colors=COLOURS,
    alpha=0.85,
    labels=[f"mode {k}" for k in range(3)],
)
axis.set(
    xlim=(pump.times[0], pump.times[-1]),
    ylim=(0, 1),
    xlabel="day",
    ylabel="probability",
    title="Which mode?",
)
axis.legend(loc="center right")

# %%
# What comes next
# ---------------
# The same unit forecasts any channel. Here we stop at day 120 and forecast the wear, with the
# interval in which a reading will lie with a probability of 90 %.

TODAY = 120.0
seen = pump.until(TODAY)
ahead = np.linspace(0.0, pump.times[-1], 80)
forecast = model.forecast(seen, ahead, channel="wear")
lower, upper = forecast.interval(0.9)

figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
axis.fill_between(
    ahead, lower[0], upper[0], color=COLOURS[1], alpha=0.2, label="90 % interval"
)
axis.plot(ahead, forecast.mean[0], color=COLOURS[1], label="forecast")
wear = pump.values[:, pump.channels.index("wear")]
past = pump.times <= TODAY
axis.plot(pump.times[past], wear[past], "o", color="black", markersize=4, label="read so far")
axis.plot(
    pump.times[~past],
    wear[~past],
    "o",
    color="white",
    markeredgecolor="black",
    markersize=4,
    label="read later",
)
axis.axvline(TODAY, color="0.5", linewidth=1, linestyle=":")
axis.axhline(1.0, color="#b03030", linewidth=1)
axis.annotate(
    "failure at 1 mm", (2, 1.0), xytext=(0, -12), textcoords="offset points", color="#b03030"
)
axis.set(xlabel="day", ylabel="wear [mm]", title="Forecast at day 120")
axis.legend(loc="upper left", bbox_to_anchor=(0, 0.9), frameon=False)

# %%
# A machine that is like no other
# -------------------------------
# Mode probabilities always sum to 1, also for a machine that fits no mode. `novelty` answers
# the other question: how probable is a misfit at least this large? It is spread evenly over 0
# to 1 for machines like those of the training. A value near 0 means: this is new.
#
# We copy the pump and let its current sensor drift after day 100.

drifting = pump.values.copy()
after = pump.times > 100
drifting[after, pump.channels.index("current")] += 0.1 * (pump.times[after] - 100)

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for values, label, colour in [
    (pump.values, "as it was", COLOURS[0]),
    (drifting, "current sensor drifts", COLOURS[1]),
]:
    unit = model.scorer().unit()
    novelty = []
    for day, row in zip(pump.times, values, strict=True):
        unit.update(day, row)
        novelty.append(unit.novelty())
    axis.semilogy(
        pump.times, np.maximum(novelty, 1e-12), "o-", markersize=3, color=colour, label=label
    )
    first = next(
        (day for day, value in zip(pump.times, novelty, strict=True) if value < 1e-4), None
    )
    print(f"{label}: alarm at day {first}")
axis.axhline(1e-4, color="#b03030", linewidth=1, linestyle=":")
axis.axvline(100, color="0.5", linewidth=1, linestyle=":")
axis.set(
    xlabel="day", ylabel="novelty", title="Novelty: near 0 is like nothing of the training"
)
axis.legend(frameon=False, loc="lower left")

# %%
# An alarm at 0.0001 would be false for one reading in 10,000, if readings were independent.
# They are not: novelty is about all readings of a machine together, so one false alarm tends
# to stay. Choose the threshold on machines that you know were healthy.
#
# A restart
# ---------
# The state of a unit is a string of bytes. Store it, and a process that starts anew goes on
# where the old one stopped.

state = unit.to_bytes()
again = type(unit).from_bytes(model.scorer(), state)
print(
    len(state),
    "bytes; same answer:",
    np.array_equal(again.mode_probabilities(), unit.mode_probabilities()),
)
