"""The published simulation: modes found without labels against an oracle, and remaining lives against the true means.

    python benchmarks/simulations.py         # writes benchmarks/results/simulations.json

Each training fleet has 50 units of either mode, labels hidden; the one test fleet has at least 1,000 units alive at 10,
20 and 50. "Oracle": the more probable mode given a unit's readings with every parameter of the simulation known.
"""

from __future__ import annotations

from common import harness

import time  # isort: skip
import warnings

import numpy as np
from common import published_simulation as simulation
from common.published_simulation import Fleet

import cem
from cem.lifetimes import Lifetimes

warnings.simplefilter("ignore", cem.CemWarning)

AGES = (10.0, 20.0, 50.0, 75.0)
TEST_SEED, FIRST_TRAINING_SEED = 1, 100
FAMILIES = ("lognormal", "weibull", "empirical")


def training_fleet(seed: int) -> Fleet:
    """Units 1-50 and 61-110 of 60 units of either mode."""
    return simulation.drawn((60, 60), seed)[np.r_[0:50, 60:110]]


def forward_model(train: Fleet) -> cem.FailureModeEM:
    """Two modes on the clock of the simulation, all options at their defaults but the bases: those of both modes."""
    basis = {"sensor 1": cem.Custom(simulation.waves_of_both), "sensor 2": cem.Custom(simulation.wear)}
    return cem.FailureModeEM(2, basis=basis, random_state=0).fit(train.panel)


def in_true_order(probabilities: np.ndarray, guessed: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Columns of test units in the order of the true modes, as the training units say which is which."""
    return probabilities if (guessed == modes).mean() >= 0.5 else probabilities[:, ::-1]


def one_training(seed: int, cut: dict[float, Fleet], mean_left: dict[float, np.ndarray]) -> dict:
    """Mode accuracy and mean error of the remaining life at every age, of one training fleet."""
    train = training_fleet(seed)
    start = time.process_time()
    em = forward_model(train)
    seconds = time.process_time() - start
    guessed = em.predict(train.panel)
    agreed = float((guessed == train.modes).mean())
    laws = {family: Lifetimes.fit(train.lives, em.responsibilities_, family=family) for family in FAMILIES}
    aligned = cem.FailureModeEM(
        2, basis=cem.Polynomial(2), time_axis="to_failure", lifetimes="weibull", random_state=0
    ).fit(train.panel)
    prognosis = cem.RemainingLife(aligned.model_)
    result: dict = {
        "accuracy_on_training": max(agreed, 1.0 - agreed),
        "processor_seconds": seconds,
        "converged": em.converged_,
        "accuracy": {},
        "mae": {name: {} for name in (*FAMILIES, "to failure")},
    }
    for age, fleet in cut.items():
        seen = fleet.panel.until(age)
        rho = em.model_.predict_proba(seen)
        ordered = in_true_order(rho, guessed, train.modes)
        result["accuracy"][age] = float((ordered.argmax(axis=1) == fleet.modes).mean())
        for family, law in laws.items():
            alive = rho * np.exp(law.log_survival(age))  # being alive tells of the mode too
            expected = (alive / alive.sum(axis=1, keepdims=True)) @ law.mean_residual_life(age)
            result["mae"][family][age] = float(np.abs(expected - mean_left[age]).mean())
        backward = prognosis.predict(seen).mean()
        result["mae"]["to failure"][age] = float(np.abs(backward - mean_left[age]).mean())
    return result


def main() -> None:
    options = harness.arguments(__doc__, fleets=("training fleets", 10))
    before = harness.load_average()
    n_test, n_fleets = (60, 1) if options.quick else (1000, options.fleets)
    test = simulation.drawn((n_test, n_test), TEST_SEED)
    cut = {age: test[np.flatnonzero(test.lives > age)] for age in AGES}
    mean_left = {age: simulation.mean_residual_lives(fleet, age) for age, fleet in cut.items()}
    trained = [one_training(FIRST_TRAINING_SEED + i, cut, mean_left) for i in range(n_fleets)]
    rows = []
    for age, fleet in cut.items():
        oracle = float((simulation.log_densities(fleet, age).argmax(axis=1) == fleet.modes).mean())
        accuracies = [one["accuracy"][age] for one in trained]
        rows.append(
            {
                "age": age,
                "alive": len(fleet.modes),
                "oracle": oracle,
                "accuracy": float(np.mean(accuracies)),
                "least_accuracy": float(np.min(accuracies)),
                "realised": float(np.abs(fleet.lives - age - mean_left[age]).mean()),
                "spread_of_means": float(
                    np.sqrt(np.mean([mean_left[age][fleet.modes == k].var() for k in (0, 1)]))
                ),
                **{f"mae_{name.replace(' ', '_')}": float(np.mean([one["mae"][name][age] for one in trained]))
                   for name in (*FAMILIES, "to failure")},
                "training_fleets": n_fleets,
                "processor_seconds_of_a_fit": float(np.median([one["processor_seconds"] for one in trained])),
                "least_accuracy_on_training": min(one["accuracy_on_training"] for one in trained),
            }
        )  # fmt: skip
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
