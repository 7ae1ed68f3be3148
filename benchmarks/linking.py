"""What penalty on the loadings of linked channels predicts new units best: held-out log-likelihood on simulated fleets.

Each fleet is drawn from a model of 14 channels, p = 3 and three modes, one of them of about 11 units; in half of the
fleets the channels share two factors, in the others they are independent, where every loading is one too many. A fit
of rank 0 and fits of rank 4 under each penalty see 120 units whose modes are known (so that all are fits of the same
modes) and are scored on 1,500 others of the same law, by mode: nats per unit more than rank 0 gives.
"""

from __future__ import annotations

import warnings

from common import harness

import numpy as np  # isort: skip

import cem
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.statistics.coordinates import Coordinates, Layout

warnings.simplefilter("ignore", cem.CemWarning)

PENALTIES = (0.0, 50.0, 125.0, 250.0, 500.0, 1000.0, 2000.0)
N_CHANNELS, P, RANK = 14, 3, 4
TRAINED, SCORED = 120, 1_500
MODES = ("a", "b", "rare")
SHARES = (0.55, 0.36, 0.09)


def law(seed: int, linked: bool) -> FailureModeModel:
    """A model to draw from; its noise is a third of what units differ by."""
    rng = np.random.default_rng(seed)
    basis = cem.Polynomial(P - 1).bind(np.array([0.0, 10.0]))
    sizes = (P,) * N_CHANNELS
    layout, K = Layout(sizes), len(MODES)
    factors = np.zeros((K, int(layout.factor_offsets[-1])))
    for c in range(N_CHANNELS):
        lower = 0.3 * np.tril(rng.standard_normal((K, P, P)), -1)
        layout.matrix(factors, c)[:] = lower + np.eye(P) * rng.uniform(0.4, 1.2, (K, 1, P))
    loadings = rng.normal(scale=0.7, size=(K, N_CHANNELS * P, 2)) if linked else None
    parameters = Parameters(
        np.array(SHARES),
        rng.normal(size=(K, N_CHANNELS * P)),
        factors,
        np.full((K, N_CHANNELS), 0.1),
        sizes,
        loadings,
    )
    identity = np.concatenate([np.eye(P).ravel()] * N_CHANNELS)
    coordinates = Coordinates(np.zeros(N_CHANNELS * P), np.ones(N_CHANNELS), identity, sizes)
    names = [f"x{c}" for c in range(N_CHANNELS)]
    bases = (basis,) * N_CHANNELS
    return FailureModeModel(
        parameters=parameters, coordinates=coordinates, bases=bases, channels=names, mode_labels=MODES
    )


def gains(seed: int, linked: bool) -> list[dict[str, object]]:
    """Of one fleet: nats per held-out unit of each mode above the plain fit, for every penalty."""
    truth = law(seed, linked)
    modes = np.repeat(MODES, [TRAINED - 11 - 44, 44, 11]).tolist()
    times = np.linspace(0.0, 10.0, 12)
    panel = truth.sample(TRAINED, times, modes=modes, random_state=seed).with_modes(modes)
    new = truth.sample(SCORED, times, modes=np.repeat(MODES, SCORED // 3).tolist(), random_state=seed + 10_000)
    of_mode = [np.array([mode == name for mode in new.true_modes]) for name in MODES]

    def scores(rank: int, penalty: float) -> np.ndarray:
        em = cem.FailureModeEM(
            3, basis=cem.Polynomial(P - 1), n_init=1, linking_rank=rank, linking_penalty=penalty, random_state=0
        ).fit(panel)
        return em.model_.score_samples(new)

    plain = scores(0, 1.0)
    rows = []
    for penalty in PENALTIES:
        gained = scores(RANK, penalty) - plain
        by_mode = {f"gain_{name}": float(gained[own].mean()) for name, own in zip(MODES, of_mode, strict=True)}
        rows.append({"seed": seed, "linked": linked, "penalty": penalty, **by_mode})
    return rows


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    fleets = [(seed, linked) for linked in (True, False) for seed in range(1 if options.quick else 6)]
    each = [row for seed, linked in fleets for row in gains(seed, linked)]
    rows = []
    for linked in (True, False):
        for penalty in PENALTIES:
            same = [row for row in each if row["linked"] == linked and row["penalty"] == penalty]
            means = {f"gain_{name}": float(np.mean([row[f"gain_{name}"] for row in same])) for name in MODES}
            rows.append(
                {"truth": "linked" if linked else "independent", "penalty": penalty, "fleets": len(same), **means}
            )
            print(rows[-1], flush=True)
    if not options.quick:
        harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
