"""NASA C-MAPSS FD003: two failure modes, 100 engines run to failure; labels are looked at only after the fit.

The data are no part of the package: they are found at $CEM_SHARED_DATA/cmapss, or at ../shared/data/cmapss from the
repository's root.
"""

from __future__ import annotations

import csv
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from cem.basis.families import Exponential, Polynomial
from cem.cli import main
from cem.errors import CemWarning
from cem.fitting.estimator import FailureModeEM
from cem.panel.panel import Panel

SENSORS = (2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)


def folder() -> Path:
    given = os.environ.get("CEM_SHARED_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not (root / "cmapss" / "train_FD003.txt").exists():
        pytest.skip(
            f"C-MAPSS FD003 is not at {root / 'cmapss'}: set CEM_SHARED_DATA to the folder that holds cmapss/, "
            "or lay the data at ../shared/data beside the repository"
        )
    return root / "cmapss"


@pytest.fixture(scope="module")
def fleet() -> tuple[Panel, np.ndarray]:
    """The 15 sensors against cycles, and each unit's failure mode by the published rule of signs."""
    table = np.loadtxt(folder() / "train_FD003.txt")
    starts = np.flatnonzero(np.diff(table[:, 0], prepend=-1))
    columns = [4 + s for s in SENSORS]  # unit, cycle, three settings, s1 …
    panel = Panel.from_arrays(
        np.split(table[:, 1], starts[1:]),
        np.split(table[:, columns], starts[1:]),
        units=table[starts, 0].astype(int),
        channels=[f"s{s}" for s in SENSORS],
    )
    with (folder() / "fd003_train_modes.csv").open() as lines:
        labels = {int(row["unit"]): row["mode"] for row in csv.DictReader(lines)}
    return panel, np.array([labels[unit] for unit in panel.units])


def fitted(panel, n_modes, seed, given=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)  # s6 is stuck on 18 units, and the floor holds it: as it should
        return FailureModeEM(n_modes, basis=Polynomial(2), random_state=seed, **options).fit(panel, init=given)


def agreement(em, labels):
    """Units whose mode's majority label is theirs."""
    assigned = em.responsibilities_.argmax(axis=1)
    return sum(np.unique(labels[assigned == k], return_counts=True)[1].max() for k in np.unique(assigned))


@pytest.mark.parametrize("seed", range(5))
def test_three_modes_find_the_failure_modes_of_every_unit(fleet, seed):
    """At the highest log-likelihood every mode holds one label only: 100 of 100."""
    panel, labels = fleet
    em = fitted(panel, 3, seed, n_init=20)
    assert em.converged_
    assert agreement(em, labels) == 100


@pytest.mark.parametrize("covariance", ["auto", "full"])
def test_two_modes_show_where_likelihood_and_labels_disagree(fleet, record_property, covariance):
    """An optimum is 56/44 and 100 of 100; the best one, about 1,028 nats higher, splits off 13 fan units.

    That is the data, not a fault: both are reported, and what the documentation says of them must stay true. A single
    k-means start of a fit by maximum likelihood leads to the lower one, and a fit of either kind that starts there
    stays: it is an optimum, not a way station.
    """
    panel, labels = fleet
    kmeans = [fitted(panel, 2, seed, n_init=1, init="kmeans", covariance="full") for seed in (0, 1)]
    lower = [fitted(panel, 2, 0, given=em.responsibilities_, covariance=covariance) for em in kmeans]
    highest = fitted(panel, 2, 0, n_init=20, covariance=covariance)
    assert all(em.converged_ for em in (*lower, highest))
    sizes = [sorted(np.bincount(em.responsibilities_.argmax(axis=1)).tolist()) for em in (*kmeans, *lower, highest)]
    gains = [highest.log_likelihood_ - em.log_likelihood_ for em in lower]
    record_property("sizes of the modes", sizes)
    record_property("gain in nats", gains)
    assert sizes[:4] == [[44, 56]] * 4
    assert [agreement(em, labels) for em in (*kmeans, *lower)] == [100] * 4
    small = highest.responsibilities_.argmax(axis=1) == np.argmin(highest.weights_)
    assert sizes[4] == [13, 87] and set(labels[small]) == {"fan"}
    assert agreement(highest, labels) == 69
    assert all(1027 < gain < 1029 for gain in gains)


def test_the_command_line_finds_them_too(fleet, capsys):
    """What a reliability engineer types, on NASA's own text file, must not be a poorer fit than the estimator's."""
    _, labels = fleet
    sensors = ",".join(f"s{s}" for s in SENSORS)
    path = str(folder() / "train_FD003.txt")
    main(["fit", path, "--modes", "3", "--channels", sensors, "--starts", "20", "--seed", "0", "--json"])
    assigned = [row["mode"] for row in json.loads(capsys.readouterr().out)["assignments"]]
    assert len(set(assigned)) == 3
    assert all(len(set(labels[np.array(assigned) == mode])) == 1 for mode in set(assigned))


def test_a_fit_with_lives_ends_where_nothing_is_left_to_gain(fleet):
    """Curves of three time constants leave covariances near their floors, where an ascent may think itself done."""
    panel, _ = fleet
    channels = [name for name in panel.channels if name != "s6"]
    failed = panel.select_channels(channels).with_failure_times([panel.times[end - 1] for end in panel.offsets[1:]])
    em = FailureModeEM(
        3, basis=Exponential([15.0, 50.0, 200.0]), time_axis="to_failure", n_init=1, max_iter=400, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        em.fit(failed)
    assert em.converged_
