"""Pictures are drawn without a screen, and figures do not pile up."""

from __future__ import annotations

import pytest

import cem


@pytest.fixture(autouse=True)
def without_screen():
    matplotlib = pytest.importorskip("matplotlib", minversion="3.8")
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture(scope="session")
def fleet():
    return cem.datasets.load_demo_fleet()


@pytest.fixture(scope="session")
def estimator(fleet):
    return cem.FailureModeEM(3, covariance="pooled", random_state=0, n_init=4).fit(fleet)


@pytest.fixture(scope="session")
def model(estimator):
    return estimator.model_
