"""Real data are read without one warning about suspicious data, and fits on them are not refused."""

import warnings

import numpy as np
import pandas as pd
import pytest
from places import DATA, SHARED_DATA

import cem
from cem.panel.life_checks import check_lives


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", ["train_FD001.txt", "test_FD001.txt", "train_FD003.txt", "train_FD004_part.txt"])
def test_turbofan_engines(name):
    path = SHARED_DATA / "cmapss" / name
    if not path.exists():
        pytest.skip("the C-MAPSS files are not there; set CEM_SHARED_DATA to the folder that holds cmapss")
    panel = cem.datasets.read_cmapss(path)
    check_lives(panel)
    assert panel.n_channels == 21


@pytest.mark.parametrize(
    ("folder", "name", "unit", "time", "channel"),
    [
        (SHARED_DATA / "degradation", "laser.csv", "unit", "hours", "increase"),
        (SHARED_DATA / "degradation", "virkler.csv", "unit", "cycles", "crack"),
        (SHARED_DATA / "degradation", "virkler.csv", "unit", "crack", "cycles"),
        (DATA, "sleepstudy.csv", "Subject", "Days", "Reaction"),
        (DATA, "orthodont.csv", "Subject", "age", "distance"),
    ],
)
def test_degradation_and_growth(folder, name, unit, time, channel):
    if not (folder / name).exists():
        pytest.skip(f"{name} is not there; set CEM_SHARED_DATA to the folder that holds degradation")
    frame = pd.read_csv(folder / name)
    panel = cem.Panel.from_frame(frame, unit=unit, time=time, channels=[channel])
    assert panel.n_units == frame[unit].nunique()
    failed = panel.with_failure_times(panel.times[panel.offsets[1:] - 1])
    if time != "age":
        check_lives(failed)


def test_the_demo_fleet_by_every_way_in():
    fleet = cem.datasets.load_demo_fleet()
    again = cem.Panel.from_arrays(
        np.split(fleet.times, fleet.offsets[1:-1]), np.split(fleet.values, fleet.offsets[1:-1]), modes=fleet.modes,
        failure_times=fleet.failure_times,
    )  # fmt: skip
    assert again.n_readings == fleet.n_readings
