"""Streaming remaining life: after every reading the same law as in batch, in any state of the unit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import reference_lives
from candidate_cases import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from life_cases import fitted, fleet

from cem.basis.families import Constant, Exponential, Fourier, Polynomial
from cem.errors import BasisError, OptionError, ScorerError
from cem.panel.panel import Panel
from cem.prognosis import _rul
from cem.prognosis.calibration import Calibration
from cem.prognosis.candidates import candidate_log_densities
from cem.prognosis.remaining_life import RemainingLife
from cem.statistics.anchored import anchored_statistics


@pytest.fixture(scope="module")
def prognosis() -> RemainingLife:
    return RemainingLife(fitted(fleet(40, 0)).model_, n_points=296)


def by_kernel(statistics, shifts, means, factors, noise, level):
    """ln P(x | k, r) by the compiled kernel at an instruction level, (L, G, K)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CEM_INSTRUCTION_LEVEL", level)
        return candidate_log_densities(statistics, shifts, means, factors, noise)


@pytest.mark.parametrize("level", _rul.LEVELS)
def test_kernel_is_its_twin_in_numpy(level) -> None:
    """ln P(x | k, r) of ragged units with missing cells and a sensor at 9062, against its twin in NumPy."""
    panel, bases, means, factors, noise, _ = problem()
    grid = np.linspace(0.5, 90.0, 24)
    statistics = anchored_statistics(panel, bases)
    shifts = [b.shift_matrix(grid) for b in bases]
    expected = reference_lives.candidate_log_densities(statistics, shifts, means, factors, noise)
    got = by_kernel(statistics, shifts, means, factors, noise, level)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(1, 8), n=st.integers(1, 30), spread=st.floats(0.0, 5.0), seed=st.integers(0, 2**32 - 1))
def test_kernel_at_every_level_and_size(size, n, spread, seed) -> None:
    """p = 1 … 8, fewer readings than coefficients, covariances whose eigenvalues are up to ten decades apart."""
    rng = np.random.default_rng(seed)
    basis = Exponential(np.geomspace(5.0, 200.0, size - 1)) if size > 1 else Constant()
    basis = basis.bind(np.array([-100.0, 0.0]))
    grid = np.linspace(0.5, 120.0, 16)
    panel = Panel.from_arrays([np.sort(rng.uniform(0, 60, n))], [rng.normal(size=(n, 1))])
    statistics = anchored_statistics(panel, [basis])
    means = [rng.normal(size=(2, size))]
    factor = np.tril(rng.normal(size=(2, size, size))) * 10.0 ** rng.uniform(-spread, 0.0, size=(2, size, 1))
    noise = rng.uniform(0.1, 2.0, size=(2, 1))
    shifts = [basis.shift_matrix(grid)]
    expected = reference_lives.candidate_log_densities(statistics, shifts, means, [factor], noise)
    for level in _rul.LEVELS:
        got = by_kernel(statistics, shifts, means, [factor], noise, level)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_a_level_that_is_not_there(monkeypatch) -> None:
    """CEM_INSTRUCTION_LEVEL chooses; what cannot run here is refused by name."""
    monkeypatch.setenv("CEM_INSTRUCTION_LEVEL", "baseline")
    assert _rul.level_number() == 0
    monkeypatch.setenv("CEM_INSTRUCTION_LEVEL", "sse9")
    with pytest.raises(OptionError, match="'sse9' cannot run here"):
        _rul.level_number()


@pytest.mark.parametrize("basis", [Exponential([40.0]), Polynomial(2), Exponential([12.0, 35.0, 100.0])])
def test_after_every_reading_the_batch_law(basis) -> None:
    """Anchors moved a hundred times, cells missing: the law of all readings so far, to 1e-3 of the probability."""
    panel = fleet(30, 0).with_modes(None)
    prognosis = RemainingLife(fitted(panel, 1, basis=basis, max_iter=60).model_, n_points=96)
    values = panel[3].values.copy()
    values[::7, 0] = np.nan
    holed = panel[3]._replace(values=values)
    unit = prognosis.unit()
    for i, (t, x) in enumerate(zip(holed.times, holed.values, strict=True)):
        unit.update(float(t), x)
        if i % 12 == 1:
            grid, masses = unit.pmf()
            batch = prognosis.predict(holed.until(float(t)), grid=grid)
            np.testing.assert_allclose(masses.T, batch.pmf[0], atol=1e-3)
            assert unit.distribution().median()[0] == pytest.approx(batch.median()[0], rel=2e-3, abs=0.02)
    assert unit.age == holed.times[-1] and "values seen" in repr(unit)


def test_a_law_asked_for_once_is_that_of_the_batch(prognosis) -> None:
    """The same machine on the bench and on line: candidates are those of its age, whoever else is in the batch."""
    prognosis = prognosis.replaced(n_points=96)
    panel = fleet(6, 3)
    cut = panel.until(0.7 * panel.failure_times)
    batch = prognosis.predict(cut)
    for i in range(cut.n_units):
        one = cut[i]
        unit = prognosis.unit()
        for t, x in zip(one.times, one.values, strict=True):
            unit.update(float(t), x)
        law = unit.distribution()
        np.testing.assert_allclose(law.grid, batch.grid[i], rtol=1e-12)
        # The law of lives is tabulated between two renewals of the grid.
        np.testing.assert_allclose(law.median(), batch.median()[i : i + 1], rtol=1e-3)


@pytest.mark.parametrize("n_points", [96, 101])
def test_linked_channels_stream_as_in_batch(n_points) -> None:
    """Where channels and lives share factors no table stands between: every digit but rounding's is the batch's."""
    model = fitted(fleet(30, 1), basis=Exponential([15.0, 50.0]), linking_rank=2, max_iter=30).model_
    prognosis = RemainingLife(
        model,
        n_points=n_points,
        information=[0.5, 0.25],
        calibration=Calibration(0.4, (-2.0, 0.0, 2.0), (-1.0, 0.1, 1.1)),
    )
    panel = fleet(4, 5)
    values = panel.values.copy()
    values[::7, 1] = np.nan
    cut = panel._replace(values=values).until(0.6 * panel.failure_times)
    for i in range(cut.n_units):
        unit = prognosis.unit()
        for t, x in zip(cut[i].times, cut[i].values, strict=True):
            unit.update(float(t), x)
        law = unit.distribution()
        assert law.grid.shape == (n_points + -n_points % 8,)
        batch = prognosis.predict(cut[i], grid=law.grid)
        np.testing.assert_allclose(law.pmf, batch.pmf, atol=1e-10)


def test_information_and_calibration_are_applied(prognosis) -> None:
    """The same corrections as in batch."""
    panel = fleet(3, 5)
    cut = panel[:1].until(0.6 * panel.failure_times[:1])
    corrected = prognosis.replaced(
        information=[0.5, 0.25], calibration=Calibration(0.4, (-2.0, 0.0, 2.0), (-1.0, 0.1, 1.1))
    )
    unit = corrected.unit()
    for t, x in zip(cut.times, cut.values, strict=True):
        unit.update(float(t), x)
    law = unit.distribution()
    batch = corrected.predict(cut, grid=law.grid)
    np.testing.assert_allclose(law.pmf, batch.pmf, atol=1e-3)
    assert not np.allclose(law.median(), prognosis.predict(cut).median(), rtol=1e-3)


def test_a_unit_that_outlives_all_others(prognosis) -> None:
    """The candidates are renewed as it ages: at ten times the longest life there is still a law."""
    unit = prognosis.unit()
    for t in (1.0, 100.0, 400.0, 1500.0, 1501.0):
        unit.update(t, [np.nan, np.nan])
        law = unit.distribution()
        assert np.isfinite(law.mean()[0]) and law.median()[0] > 0


def test_a_wrong_reading_is_named(prognosis) -> None:
    """Whoever reads the log would not know whether the length or a value was wrong, nor which channel."""
    unit, channels = prognosis.unit(), prognosis.model.channels
    with pytest.raises(ScorerError, match=rf"x has shape \({len(channels) + 1},\); {len(channels)} numbers"):
        unit.update(1.0, np.zeros(len(channels) + 1))
    values = np.zeros(len(channels))
    values[-1] = np.inf
    with pytest.raises(ScorerError, match=f"channel {channels[-1]!r} is infinite at time 1.0"):
        unit.update(1.0, values)


def test_what_is_wrong_is_said_and_changes_nothing(prognosis) -> None:
    """A reading out of order or of another width is refused, and the unit does not change."""
    unit = prognosis.unit()
    with pytest.raises(ScorerError, match="no reading yet"):
        unit.distribution()
    unit.update(10.0, [9062.0, 0.1])
    before = unit.pmf()[1].copy()
    for t, x in ((9.0, [9062.0, 0.0]), (np.nan, [9062.0, 0.0]), (11.0, [9062.0]), (11.0, [np.inf, 0.0])):
        with pytest.raises(ScorerError):
            unit.update(t, x)
    for t in ("x", None):
        with pytest.raises(ScorerError, match="the time of a reading is"):
            unit.update(t, [9062.0, 0.0])
    np.testing.assert_array_equal(unit.pmf()[1], before)


def test_a_time_to_failure_is_no_age(prognosis) -> None:
    """A batch refuses it; a running unit would answer for a machine of an age below zero."""
    unit = prognosis.unit()
    unit.update(-5.0, [9062.0, 0.1])
    with pytest.raises(ScorerError, match="ages count from the time axis' zero"):
        unit.distribution()
    unit.update(5.0, [9062.0, 0.1])  # readings before the machine was put to work are readings
    assert unit.distribution().median() > 0


def test_bases_that_cannot_stream() -> None:
    """Sine–cosine pairs and large bases are for batches; the message says so."""
    panel = fleet(20, 1).with_modes(None)
    with pytest.raises(BasisError, match="in batches"):
        RemainingLife(fitted(panel, 1, basis=Fourier(1, 400.0), max_iter=20).model_).unit()
    with pytest.raises(OptionError, match="at most 8"):
        RemainingLife(fitted(panel, 1, basis=Polynomial(8), max_iter=5).model_).unit()


@pytest.mark.parametrize("moment", ["new", "mid-life, asked", "mid-life, not asked"])
def test_a_pickled_unit_goes_on_as_the_unit_itself(prognosis, moment) -> None:
    """A monitor that is restarted from its pickle gives the same laws, at the same candidates."""
    panel = fleet(2, 5)[:1]
    unit = prognosis.unit()
    half = 0 if moment == "new" else len(panel.times) // 2
    for t, x in zip(panel.times[:half], panel.values[:half], strict=True):
        unit.update(t, x)
        if moment == "mid-life, asked":
            unit.pmf()
    again = pickle.loads(pickle.dumps(unit))
    aside = copy.deepcopy(unit)
    for t, x in zip(panel.times[half:], panel.values[half:], strict=True):
        for each in (unit, again):
            each.update(t, x)
        for found, expected in zip(again.pmf(), unit.pmf(), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert again.age == unit.age == panel.times[-1]
    assert aside.age == (panel.times[half - 1] if half else None)
