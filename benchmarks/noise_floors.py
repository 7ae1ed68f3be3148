"""The default noise floor: noises that differ between modes are found, and a stuck sensor makes up no mode.

Two kinds of fleets of 200 units:

- **ratios**: two modes whose noise variances are 1 and 1/ratio in every channel, ratios 1 to 100 (and 10,000, a hundred
  times in standard deviation); the quiet mode has a half, a fifth or a tenth of the units. What is stated is the quiet
  mode's noise variance beside that of a fit without a floor to speak of that starts from every unit's true mode: both
  have the same sampling error.
- **stuck**: two modes, one sensor of four constant on 8 units drawn at random; noises alike or up to 1 : 100. Stated is
  the share of units in the mode that they were drawn from.

FD003 of C-MAPSS, with s6 quantised and constant on 18 units, is the real one: three modes, as in tests/real_data.

Fraction and thresholds of cem.search.quiet_modes were chosen on seeds below 100, which `--development` draws again
without keeping results; the figures of the table are of seeds from 9000 on.
"""

from __future__ import annotations

from common import harness

import csv  # isort: skip
import sys
import warnings

import numpy as np

import cem

RATIOS = (1, 3, 10, 15, 20, 25, 30, 50, 100, 10_000)
SHARES = (0.5, 0.2, 0.1)
READINGS = ((10, 30), (5, 9))
CHANNELS = (1, 4)
STUCK = 8
STUCK_RATIOS = (1, 10, 50, 100)
SENSORS = [f"s{i}" for i in (2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)]


def drawn(
    seed: int,
    *,
    ratio: float,
    share: float,
    readings: tuple[int, int],
    n_channels: int,
    n_stuck: int = 0,
    n_units: int = 200,
) -> tuple[cem.Panel, np.ndarray]:
    """A fleet and its modes; mode 0 is the quiet one."""
    rng = np.random.default_rng(seed)
    modes = (rng.random(n_units) >= share).astype(int)
    noises = np.array([0.5 / ratio, 0.5])
    centres = rng.normal(0.0, 0.5, (2, n_channels, 2))
    if n_stuck:  # modes that anyone would tell apart by the other channels
        direction = rng.normal(size=centres[0].shape)
        centres[1] = centres[0] + 2.5 * direction / np.linalg.norm(direction[1:])
    stuck = rng.choice(n_units, n_stuck, replace=False)
    times, values = [], []
    for unit, mode in enumerate(modes):
        t = np.sort(rng.uniform(-1, 1, int(rng.integers(*readings))))
        curves = centres[mode] + rng.standard_normal((n_channels, 2)) * (0.3, 0.2)
        x = curves[:, 0] + t[:, None] * curves[:, 1] + np.sqrt(noises[mode]) * rng.standard_normal((len(t), n_channels))
        if unit in stuck:
            x[:, 0] = x[0, 0]
        times.append(t)
        values.append(x)
    return cem.Panel.from_arrays(times, values), modes


def fitted(panel: cem.Panel, n_modes: int = 2, init: np.ndarray | None = None, **options: object) -> cem.FailureModeEM:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cem.FailureModeEM(n_modes, random_state=0, **options).fit(panel, init=init)


def _quiet(em: cem.FailureModeEM, modes: np.ndarray) -> int:
    """The mode that most of the quiet units are in."""
    return int(em.responsibilities_[modes == 0].sum(axis=0).argmax())


def agreement(em: cem.FailureModeEM, modes: np.ndarray) -> float:
    """Share of units in a mode whose majority is theirs, of two modes."""
    same = float(np.mean(em.responsibilities_.argmax(axis=1) == modes))
    return max(same, 1.0 - same)


def ratio_row(
    ratio: float, share: float, readings: tuple[int, int], n_channels: int, seeds: range
) -> dict[str, object]:
    errors, bound, agreed = [], 0, []
    basis = cem.Polynomial(1)
    for seed in seeds:
        panel, modes = drawn(seed, ratio=ratio, share=share, readings=readings, n_channels=n_channels)
        em = fitted(panel, basis=basis)
        true = fitted(panel, init=np.eye(2)[modes], basis=basis, noise_floor=1e-9)
        errors += (em.noise_variances_[_quiet(em, modes)] / true.noise_variances_[_quiet(true, modes)] - 1.0).tolist()
        bound += any(floor["floor"] == "noise_floor" for floor in em.model_.training["floors"])
        agreed.append(agreement(em, modes))
    return {
        "ratio": ratio,
        "quiet share": share,
        "readings": f"{readings[0]}–{readings[1] - 1}",
        "channels": n_channels,
        "fits": len(seeds),
        "median error": float(np.median(np.abs(errors))),
        "error, 95 %": float(np.quantile(np.abs(errors), 0.95)),
        "largest error": float(np.max(np.abs(errors))),
        "on a floor": bound,
        "agreement": float(np.mean(agreed)),
        "errors": np.abs(errors).tolist(),
    }


def pooled(ratio: float, rows: list[dict[str, object]]) -> dict[str, object]:
    """All fleets of a ratio in one row."""
    of_ratio = [row for row in rows if row["ratio"] == ratio]
    errors = np.concatenate([row["errors"] for row in of_ratio])
    return {
        "ratio": ratio,
        "fits": sum(row["fits"] for row in of_ratio),
        "median error": float(np.median(errors)),
        "error, 95 %": float(np.quantile(errors, 0.95)),
        "largest error": float(errors.max()),
        "on a floor": sum(row["on a floor"] for row in of_ratio),
    }


def stuck_row(ratio: float, readings: tuple[int, int], seeds: range) -> dict[str, object]:
    agreed, without, told = [], [], []
    for seed in seeds:
        options = {"ratio": ratio, "share": 0.5, "readings": readings, "n_channels": 4}
        panel, modes = drawn(seed, **options, n_stuck=STUCK)
        agreed.append(agreement(fitted(panel, basis=cem.Polynomial(1)), modes))
        dropped = panel.select_channels(panel.channels[1:])
        without.append(agreement(fitted(dropped, basis=cem.Polynomial(1)), modes))
        told.append(agreement(fitted(panel, basis=cem.Polynomial(1), noise_floor=1e-6), modes))
    return {
        "ratio": ratio,
        "readings": f"{readings[0]}–{readings[1] - 1}",
        "fits": len(seeds),
        "least agreement": min(agreed),
        "mean agreement": float(np.mean(agreed)),
        "without that sensor": float(np.mean(without)),
        "no floor": float(np.mean(told)),
    }


def fd003_row() -> dict[str, object] | None:
    root = harness.SHARED_DATA / "cmapss"
    if not (root / "train_FD003.txt").exists():
        return None
    panel = cem.datasets.read_cmapss(root / "train_FD003.txt", channels=SENSORS)
    with (root / "fd003_train_modes.csv").open() as lines:
        labels = {int(row["unit"]): row["mode"] for row in csv.DictReader(lines)}
    modes = np.array([labels[int(unit)] for unit in panel.units])
    em = fitted(panel, 3, basis=cem.Polynomial(2), n_init=20)
    assigned = em.responsibilities_.argmax(axis=1)
    agreed = sum(np.unique(modes[assigned == k], return_counts=True)[1].max() for k in np.unique(assigned))
    return {"data": "C-MAPSS FD003, s6 stuck on 18 of 100 units", "agreement": int(agreed) / panel.n_units}


def main() -> None:
    development = "--development" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--development"]
    options = harness.arguments(__doc__)
    before = harness.load_average()
    first = 0 if development else 9000
    seeds = range(first, first + (1 if options.quick else 10))
    fleets = [
        ratio_row(ratio, share, readings, n_channels, seeds)
        for n_channels in CHANNELS
        for readings in READINGS
        for share in SHARES
        for ratio in RATIOS
    ]
    seeds = range(first, first + (2 if options.quick else 40))
    stuck = [stuck_row(ratio, readings, seeds) for ratio in STUCK_RATIOS for readings in READINGS]
    for row in [*fleets, *stuck]:
        print(*(f"{name}={value}" for name, value in row.items() if name != "errors"), sep="  ")
    summary: dict[str, object] = {
        f"stuck, noises 1 : {ratio}, least agreement": min(
            row["least agreement"] for row in stuck if row["ratio"] == ratio
        )
        for ratio in STUCK_RATIOS
    }
    real = fd003_row()
    if real is not None:
        summary[str(real["data"])] = real["agreement"]
    print(summary)
    options.quick |= development  # prints, and keeps nothing
    rows = [pooled(ratio, fleets) for ratio in RATIOS]
    kept = [{name: value for name, value in row.items() if name != "errors"} for row in fleets]
    harness.write_results(__file__, options, rows, load_before=before, summary=summary, fleets=kept, stuck=stuck)


if __name__ == "__main__":
    main()
