"""
Reading modes, and choosing their number
========================================

How many failure modes are in the data? This tutorial compares one to six, and looks at what
each mode says.
"""

# %%
# More modes always fit the training data better
# ----------------------------------------------
# So the log-likelihood of the training pumps cannot choose. Two measures can. BIC subtracts a
# price for each parameter; lower is better. The log-likelihood of *other* pumps, which the fit
# has not seen, needs no price; higher is better.

import warnings

import matplotlib.pyplot as plt
import numpy as np

import cem

# With too many modes cem warns that starts lost one, or that another solution is nearly as
# likely. Here we ask for too many on purpose.
warnings.simplefilter("ignore", cem.errors.LostModeWarning)
warnings.simplefilter("ignore", cem.errors.NearTieWarning)

fleet = cem.datasets.load_demo_fleet()
training, others = fleet[:120], fleet[120:]

numbers = range(1, 7)
fits = {
    k: cem.FailureModeEM(k, covariance="pooled", random_state=0).fit(training) for k in numbers
}
bic = np.array([em.bic() for em in fits.values()])
held_out = np.array([em.score(others) for em in fits.values()])

print("modes  parameters      BIC  log-likelihood of a new pump")
for k, em in fits.items():
    print(f"{k:5}  {em.n_parameters_:10}  {bic[k - 1]:7.0f}  {held_out[k - 1]:8.1f}")

# %%
# Log-likelihoods are natural logarithms. Their unit is the nat: 1 nat is a factor of 2.7 in
# probability.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for axis, values, best, title in [
    (axes[0], bic, bic.argmin(), "BIC (lower is better)"),
    (axes[1], held_out, held_out.argmax(), "log-likelihood of a new pump (higher is better)"),
]:
    axis.plot(numbers, values, "o-", color="0.4")
    axis.plot(best + 1, values[best], "o", markersize=11, color="#3b6fb6")
    axis.set(xlabel="number of modes", title=title)

# %%
# Both choose three. On real data they may disagree, and the curve may be flat. Then prefer the
# smaller number, and ask whether a further mode means something to those who repair the
# machines. `cem.selection.cross_validate` repeats the comparison over several folds.
#
# What a mode says
# ----------------
# The summary of a model has the weights, the mean curves and the course of the fit. We print
# its first table.

model = fits[3].model_
print(str(model.summary()).split("\n\n")[2])

# %%
# Which sensors tell the modes apart? Compare the distance between two mean curves with the
# scatter of one pump's curve within its mode. Near 0 a sensor says nothing about the mode; at
# 2 or more it nearly decides by itself.

days = np.array([50.0, 150.0, 250.0])
curves = model.curves(days)
ratios = np.empty((len(days), model.n_channels))
for c, name in enumerate(model.channels):
    of_channel = model.parameters(0, name)
    design = model.bases[c](days)
    scatter = np.sqrt(np.einsum("mp,pq,mq->m", design, of_channel.covariance, design))
    ratios[:, c] = np.abs(curves[0, c] - curves[1, c]) / scatter

figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
for i, day in enumerate(days):
    places = np.arange(model.n_channels) + 0.27 * (i - 1)
    axis.bar(
        places, ratios[i], 0.25, color=plt.cm.Blues(0.35 + 0.25 * i), label=f"day {day:.0f}"
    )
axis.set_xticks(range(model.n_channels), model.channels)
axis.axhline(2, color="0.4", linestyle=":", linewidth=1)
axis.set(ylim=(0, 3.6), ylabel="distance / scatter", title="How far apart modes 0 and 1 are")
axis.legend(frameon=False, ncols=3, loc="upper left")

# %%
# At day 50 only the wear tells the two modes apart. Later their wear curves cross, and the
# sensors take over. That is why a machine's mode is a probability that changes with its age:
# see :doc:`the next tutorial <03_watching_a_machine>`.
#
# A mode that should not be there
# -------------------------------
# With six modes the fit has split real ones. Two signs: modes of very few pumps, and pumps
# that belong to no mode for certain.

sizes = np.bincount(fits[6].responsibilities_.argmax(axis=1), minlength=6)
unsure = {k: int((em.responsibilities_.max(axis=1) < 0.9).sum()) for k, em in fits.items()}
print("pumps in each of six modes:", sizes)
print("pumps without a mode of probability 0.9:", unsure)
