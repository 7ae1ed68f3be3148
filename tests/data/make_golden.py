"""Write the golden files: one of every kind that a release keeps, with numbers to compare by in golden.json.

Run it with the release whose files they are to be:

    PYTHONPATH=src python tests/data/make_golden.py FOLDER

A golden file stands for what users have on their disks. So a file that is there is never written anew: the run ends
before it writes anything, unless --overwrite says that the files of this release were never published.
"""

import argparse
import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden_cases import (
    CUSTOM,
    ESTIMATOR,
    FILES,
    FORWARD,
    LIVES,
    MODEL,
    PANEL,
    RECORD,
    UNITS,
    forward_numbers,
    life_numbers,
    unit_numbers,
)
from golden_functions import wearing
from model_cases import coordinates_for

import cem
from cem import FailureModeEM, FailureModeModel, Panel, RemainingLife
from cem.basis.families import BSpline, Constant, Custom, Exponential, Fourier, Polynomial
from cem.mixture.parameters import Parameters
from cem.prognosis.calibration import Calibration


def evaluation(rng):
    """Four units of two to six readings of six channels, some missing, which failed at 11."""
    lengths = [6, 4, 3, 2]
    times = np.concatenate([np.round(np.sort(rng.uniform(0, 10, n)), 3) for n in lengths])
    values = np.round(rng.normal(size=(len(times), 6)) + 0.2 * times[:, None], 3)
    values[rng.uniform(size=values.shape) < 0.15] = np.nan
    values[:, 0] = np.nan_to_num(values[:, 0], nan=1.0)
    return {
        "units": ["a", 2, "c", 4],
        "offsets": np.cumsum([0, *lengths]).tolist(),
        "times": times.tolist(),
        "values": [[None if np.isnan(x) else x for x in row] for row in values.tolist()],
        "failure_times": [11.0] * 4,
    }


def fleet(rng, failing):
    """Sixteen units of two modes and three channels; all fail between 9 and 14 where that is asked for."""
    values, times, ages = [], [], []
    for l in range(16):
        life, mode = 9.0 + 5.0 * rng.uniform(), l % 2
        t = np.linspace(0.3, life - 0.2, 8)
        left = life - t if failing else 10.0 - t
        level = (0.3 * rng.normal() - (0.2 + 0.05 * rng.normal(size=3)) * left[:, None]) * (
            [1.0, -0.5, 0.3] if mode else [0.2, 0.8, -0.6]
        )
        values.append(level + 0.3 * rng.normal(size=3) + 0.2 * rng.normal(size=(8, 3)))
        times.append(t)
        ages.append(life)
    options = {"failure_times": np.array(ages)} if failing else {"response": "c"}
    return Panel.from_arrays(times, values, channels=("a", "b", "c"), time_unit="h", **options)


def assembled(rng, bases, channels, labels):
    """A model put together by hand: any bases, any labels."""
    coordinates = coordinates_for(bases, rng)
    coordinates = type(coordinates)(
        np.where(coordinates.centres > 100, 0.5, coordinates.centres), coordinates.scales, coordinates.transforms,
        coordinates.sizes,
    )  # fmt: skip
    layout, K = coordinates.layout, len(labels)
    means = rng.normal(size=(K, int(layout.mean_offsets[-1])))
    factors = np.zeros((K, int(layout.factor_offsets[-1])))
    for c, p in enumerate(layout.sizes):
        layout.matrix(factors, c)[:] = np.tril(0.2 * rng.normal(size=(K, p, p)), -1) + 0.6 * np.eye(p)
    weights = rng.uniform(0.5, 1.5, K)
    return FailureModeModel(
        parameters=Parameters(
            weights / weights.sum(), means, factors, rng.uniform(0.1, 0.4, (K, len(bases))), layout.sizes
        ),
        coordinates=coordinates,
        bases=bases,
        channels=channels,
        response=channels[-1],
        mode_labels=labels,
        channel_units={channels[0]: "µm/s"},
    )


def life(rng, family):
    panel = fleet(rng, failing=True)
    linked = {"linking_rank": 1, "max_iter": 60} if family == "linked" else {}
    em = FailureModeEM(
        2, basis=Polynomial(1), time_axis="to_failure", lifetimes=family, n_init=2, random_state=0, **linked
    ).fit(panel)
    prognosis = RemainingLife(em.model_, information=[0.5, 1.0, 0.8])
    if family != "lognormal":
        return prognosis
    measured = prognosis.calibrated(panel, n_folds=2, ages=2, tempers=(1.0, 0.5)).calibration
    assert measured is not None
    calibration = Calibration(0.7, (-1.5, 0.0, 1.5), (-1.0, 0.1, 0.9), measured.before, measured.after)
    return prognosis.replaced(calibration=calibration)


def write(folder, record):
    """All files into the folder; their numbers into the record."""
    saved = record["panel"]
    rng = np.random.default_rng(20260101)
    times = np.linspace(0.0, 10.0, 40)
    em = FailureModeEM(2, basis=Polynomial(1), linking_rank=1, n_init=2, max_iter=60, random_state=0)
    linked = em.fit(fleet(rng, failing=False)).model_
    bases = tuple(
        basis.bind(times)
        for basis in (
            Polynomial(2), Constant(), Fourier(1, period=7.0), Fourier(1), Exponential([4.0, -3.0]), BSpline(n_basis=5),
        )
    )  # fmt: skip
    labels = (None, True, 2, 2.5, "läger", ("x", (1, None)), float("inf"))
    models = {
        FORWARD[0]: linked,
        FORWARD[1]: assembled(rng, bases, ("speed", "b", "c", "d", "e", "réponse"), labels),
        CUSTOM: assembled(rng, (Custom(wearing).bind(times), Polynomial(1).bind(times)), ("a", "b"), ("x", "y")),
    }
    for name, model in models.items():
        model.save(folder / name)
        record["numbers"][name] = forward_numbers(model, saved)
    for name, family in zip(LIVES, ("lognormal", "weibull", "empirical", "linked"), strict=True):
        prognosis = life(rng, family)
        prognosis.save(folder / name)
        record["numbers"][name] = life_numbers(prognosis, saved)
    for name, model_name in UNITS.items():
        unit = models[model_name].scorer().unit()
        for t in (0.5, 3.25, 7.0):
            unit.update(t, [0.1 * t, *[np.nan] * (models[model_name].n_channels - 2), 0.5])
        (folder / name).write_bytes(unit.to_bytes())
        record["numbers"][name] = unit_numbers(unit)
    panel = fleet(rng, failing=False)
    em = FailureModeEM(2, basis={"c": Constant(), None: Polynomial(1)}, n_init=2, random_state=0).fit(panel)
    for name, thing in {ESTIMATOR: em, MODEL: em.model_, PANEL: panel}.items():
        (folder / name).write_bytes(pickle.dumps(thing, protocol=4))
    record["numbers"][ESTIMATOR] = {
        "log_likelihood": em.log_likelihood_,
        "probabilities": em.predict_proba(panel).tolist(),
        "labels": em.predict(panel).tolist(),
        "means": float(np.nansum(np.abs(em.means_))),
    }
    record["numbers"][MODEL] = forward_numbers(em.model_, saved)
    record["numbers"][PANEL] = {"values": float(np.nansum(panel.values)), "times": panel.times.tolist()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    options = parser.parse_args()
    there = [name for name in (*FILES, RECORD.name) if (options.folder / name).exists()]
    if there and not options.overwrite:
        sys.exit(f"{options.folder} holds {', '.join(there)} already; golden files are not written anew")
    options.folder.mkdir(exist_ok=True)
    record = {"writer": f"cem {cem.__version__}", "panel": evaluation(np.random.default_rng(7)), "numbers": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.CemWarning)
        write(options.folder, record)
    (options.folder / RECORD.name).write_text(json.dumps(record, indent=None, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
