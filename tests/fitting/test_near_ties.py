"""The warning of a near-tie: given where another seed finds other modes, and not where modes are apart."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

import cem
from cem.errors import NearTieWarning
from cem.fitting import near_ties
from cem.fitting.near_ties import near_tie, past_near_tie
from cem.search.starts import Start

# Two modes in the middle of each other: with thirty units the likelihood has several optima of about one height.
CLOSE = ((0.0, 1.0), (0.5, 0.6))


def close_fleet(seed: int, n_units: int = 40) -> cem.Panel:
    rng = np.random.default_rng(seed)
    times, values = [], []
    for l in range(n_units):
        t = np.sort(rng.uniform(-1, 1, 6))
        level, slope = np.array(CLOSE[l % 2]) + 0.4 * rng.normal(size=2)
        times.append(t)
        values.append((level + slope * t + 0.4 * rng.normal(size=6))[:, None])
    return cem.Panel.from_arrays(times, values)


def warned(estimator, panel) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", NearTieWarning)
        estimator.fit(panel)
    return [str(one.message) for one in caught]


def test_a_fleet_of_modes_that_are_apart_is_not_warned_of():
    """A warning that everybody sees is read by nobody."""
    fleet = cem.datasets.load_demo_fleet()
    for k in (2, 3):
        assert not warned(cem.FailureModeEM(k, random_state=0), fleet)


def test_a_fleet_of_modes_that_nothing_separates_is_warned_of():
    """Three modes of one cloud: which unit is in which mode is a matter of the seed."""
    options = {"basis": cem.Polynomial(1), "covariance": "full"}
    found = [warned(cem.FailureModeEM(3, random_state=0, **options), close_fleet(seed)) for seed in range(6)]
    said = [one[0] for one in found if one]
    assert len(said) >= 3
    assert "of 40 units another mode" in said[0] and "em.stability(panel)" in said[0]
    assert "covariance='shrunk'" in said[0]
    options["covariance"] = "pooled"  # which is not recommended again
    found = [warned(cem.FailureModeEM(3, random_state=0, **options), close_fleet(seed)) for seed in range(6)]
    assert any(found) and not any("covariance=" in text for texts in found for text in texts)


def test_an_interrupt_while_ties_are_looked_for_keeps_the_fit(monkeypatch):
    """Ctrl-C at the last moment must not lose a search of an hour."""

    def interrupted(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(near_ties, "near_tie", interrupted)
    em = cem.FailureModeEM(3, basis=cem.Polynomial(1), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em.fit(close_fleet(0))
    assert em.interrupted_ and em.converged_


def test_the_warning_does_not_depend_on_the_number_of_threads():
    panel = close_fleet(0, 300)
    one, two = (cem.FailureModeEM(3, basis=cem.Polynomial(1), random_state=0, n_jobs=n) for n in (1, 2))
    assert warned(one, panel) == warned(two, panel)
    np.testing.assert_array_equal(one.responsibilities_, two.responsibilities_)


@dataclass(eq=False)
class Run:
    """What a start knows, as far as near-ties need it."""

    objective: float
    calls: np.ndarray
    n_modes: int = 2
    pace: None = None
    lost_mode, converged, n_passes = None, True, 2

    def __post_init__(self):
        self.objectives = (self.objective,) * 3
        self.responsibilities = np.eye(self.n_modes)[self.calls]
        self.parameters = SimpleNamespace(n_modes=self.n_modes)


@pytest.fixture
def ended(monkeypatch):
    """All starts have come to their ends."""
    monkeypatch.setattr(near_ties, "continue_em", lambda run, problem, **options: run)


CALLS = np.arange(40) % 2
OTHER = np.where(np.arange(40) < 10, 1 - CALLS, CALLS)  # a quarter of the units moved


def starts(gap, calls=OTHER, **options):
    return [
        Start("kmeans", Run(-100.0, CALLS), "converged"),
        replace(Start("kmeans", Run(-100.0 - gap, calls)), **options),
    ]


def test_a_tie_is_near_and_moves_units(ended):
    found = near_tie(starts(0.5), 0, None)
    assert found.gap == pytest.approx(0.5) and found.moved == pytest.approx(0.25)
    assert (found.n_met, found.n_starts) == (1, 2)


@pytest.mark.parametrize(
    "records",
    [
        starts(3.0),  # far below
        starts(0.5, CALLS),  # the same story
        starts(0.5, 1 - CALLS),  # the same story with the modes in another order
        starts(0.5, twin=0, fate="same as start 0"),
        starts(0.5, fate="failed: no"),
        [Start("kmeans", Run(-100.0, CALLS * 0, 1)), Start("kmeans", Run(-100.1, CALLS * 0, 1))],  # one mode
    ],
)
def test_what_is_no_tie_is_not_warned_of(records, ended):
    assert near_tie(records, 0, None) is None


def test_a_start_that_comes_to_the_best_one_is_no_tie(monkeypatch):
    """Most starts that were dropped on the way would have; a guess of their ends is not enough for a warning."""
    monkeypatch.setattr(near_ties, "continue_em", lambda run, problem, **options: Run(-100.0, CALLS))
    assert near_tie(starts(0.5), 0, None) is None


OPTIONS = SimpleNamespace(accelerate="auto", max_iter=100)


def test_a_tie_that_ends_higher_is_kept(monkeypatch):
    """Nobody would understand a warning of a better solution that the fit knows and does not return."""
    monkeypatch.setattr(near_ties, "continue_em", lambda run, problem, **options: Run(-99.0, OTHER))
    records = starts(0.5)
    best, run, tie, interrupted = past_near_tie(records, 0, None, OPTIONS, 1e-3)
    assert (best, run.objective, interrupted) == (1, -99.0, False)
    assert records[1].run is run
    assert [record.fate for record in records] == ["overtaken by start 1", "converged"]
    assert tie.gap == pytest.approx(1.0) and tie.start == 0 and tie.run is records[0].run
    monkeypatch.setattr(near_ties, "continue_em", lambda run, problem, **options: Run(-95.0, OTHER))
    assert past_near_tie(starts(0.5), 0, None, OPTIONS, 1e-3)[2] is None  # then the first one is far below


def test_a_tie_that_ends_higher_by_no_more_than_rounding_changes_nothing(monkeypatch):
    """The same data would else give other modes on another machine."""
    monkeypatch.setattr(near_ties, "continue_em", lambda run, problem, **options: Run(-100.0 + 1e-6, OTHER))
    best, run, tie, _ = past_near_tie(records := starts(0.5), 0, None, OPTIONS, 1e-3)
    assert best == 0 and run is records[0].run and tie.start == 1
    assert records[0].fate == "converged"


def test_a_tie_that_ends_higher_and_then_loses_a_mode_is_not_said_to_be_below(monkeypatch):
    """It was above the best one where it was left, and it is no solution."""
    ends = iter([Run(-99.0, OTHER), SimpleNamespace(lost_mode=1)])
    monkeypatch.setattr(near_ties, "continue_em", lambda run, problem, **options: next(ends))
    best, _, tie, _ = past_near_tie(starts(0.5), 0, None, OPTIONS, 1e-3)
    assert best == 0 and tie is None


def test_starts_that_led_to_the_tie_count_for_it_once_it_is_the_best(monkeypatch):
    """The warning says how many starts led to the best solution: of the solution that is returned."""
    monkeypatch.setattr(near_ties, "continue_em", lambda run, problem, **options: Run(-99.0, OTHER))
    records = [*starts(0.5), Start("moved", Run(-101.0, OTHER), "same as start 1", 1)]
    assert past_near_tie(records, 0, None, OPTIONS, 1e-3)[2].n_met == 2


@pytest.mark.parametrize(("rank", "begins"), [(0, "another solution is"), (1, "before channels were linked, another")])
def test_a_tie_of_the_unlinked_model_is_not_said_of_the_linked_one(rank, begins):
    """Links can change which solution is the best, and the search knows only those without."""
    tie = near_ties.NearTie(0.5, 0.25, 1, Run(-100.5, OTHER), 2, 30)
    problem = SimpleNamespace(expectation=SimpleNamespace(statistics=SimpleNamespace(n_units=40)))
    with pytest.warns(NearTieWarning, match=f"^{begins}.*0.5 nats below the best one, and gives 10 of 40 units"):
        near_ties.warn_of_near_tie(tie, problem, SimpleNamespace(covariance="pooled", linking_rank=rank))


def test_a_quiet_mode_changes_the_likelihood_and_ends_the_comparison(monkeypatch):
    """Floors were lowered after the search: nats of its starts mean nothing beside the fit."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 12)
    values = rng.normal(size=(40, 1)) + np.where(np.arange(40) < 20, 1e-3, 1.0)[:, None] * rng.normal(size=(40, 12))
    panel = cem.Panel.from_arrays(t, values[:, :, None])
    monkeypatch.setattr("cem.fitting.fit.warn_of_near_tie", lambda *given: pytest.fail("compared"))
    em = cem.FailureModeEM(2, basis=cem.Constant(), covariance="full", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em.fit(panel)
    assert em.starts_[-1]["kind"] == "quiet"
