"""Reports draw, so they need matplotlib."""

from __future__ import annotations

import pytest

import cem


@pytest.fixture(autouse=True)
def with_matplotlib():
    pytest.importorskip("matplotlib", minversion="3.8")


@pytest.fixture(scope="session")
def fleet():
    return cem.datasets.load_demo_fleet()


@pytest.fixture(scope="session")
def model(fleet):
    return cem.FailureModeEM(3, covariance="pooled", random_state=0, n_init=4).fit(fleet).model_
