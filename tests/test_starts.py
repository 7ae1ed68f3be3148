"""Many starts: the best one wins, each one's fate is told, and an interruption keeps what there is."""

from __future__ import annotations

import numpy as np
import pytest
from problems import constraints_of, two_groups

from cem.agreement import disagreement
from cem.errors import FitError
from cem.initialization import one_mode_run, starting_parameters
from cem.parameters import Parameters
from cem.starts import best_of_starts

OPTIONS = {"n_modes": 2, "max_iter": 400, "tolerance": 1e-6}


def setting(n_starts=8, n_modes=2, gap=2.0):
    expectation = two_groups(gap=gap)
    constraints = constraints_of(expectation)
    one_mode = one_mode_run(expectation, constraints).parameters

    def start(seed):
        rng = np.random.default_rng(seed)
        return lambda: starting_parameters("random", expectation, one_mode, constraints, n_modes, rng)

    return expectation, constraints, [("random", start(seed)) for seed in range(n_starts)]


def test_every_start_has_a_fate_and_the_best_has_converged():
    expectation, constraints, starts = setting(n_modes=3)
    records, interrupted = best_of_starts(starts, expectation, constraints, **OPTIONS)
    assert not interrupted and len(records) == 8
    for record in records:
        known = ("converged", "abandoned", "same as start", "lost mode", "limit of passes")
        assert record.fate.startswith(known) and np.isfinite(record.log_likelihood)
    best = max(records, key=lambda record: record.log_likelihood)
    assert best.fate in ("converged", "limit of passes")


def test_no_start_was_abandoned_above_the_winner():
    expectation, constraints, starts = setting(n_starts=12, n_modes=3)
    records, _ = best_of_starts(starts, expectation, constraints, **OPTIONS)
    winner = max(record.log_likelihood for record in records)
    assert all(record.log_likelihood <= winner for record in records if record.fate == "abandoned")
    assert sum(record.fate == "abandoned" for record in records) > 0
    passes = [record.run.n_passes for record in records if record.fate == "abandoned"]
    assert max(passes) <= 150  # the short rounds together


def test_starts_on_their_way_to_one_optimum_are_run_once():
    """Two groups far apart: every start sees the same one optimum, and one full run is enough."""
    expectation, constraints, starts = setting(n_starts=12, gap=6.0)
    counted = []

    def counting(index, start):
        def make():
            counted.append(index)
            return start()

        return make

    records, _ = best_of_starts(
        [(kind, counting(i, start)) for i, (kind, start) in enumerate(starts)], expectation, constraints, **OPTIONS
    )
    best = max(range(12), key=lambda i: records[i].log_likelihood)
    assert sorted(counted) == list(range(12))
    assert [record.fate for record in records].count("converged") == 1 and records[best].fate == "converged"
    twins = [record for record in records if record.fate.startswith("same as start ")]
    assert len(twins) >= 6
    for record in twins:
        leader = records[int(record.fate.removeprefix("same as start "))]
        assert disagreement(record.run.responsibilities, leader.run.responsibilities) < 0.1


def test_survivors_differ_from_one_another():
    """Two starts that agree up to the names of their modes are twins; the one further on stays."""
    expectation, constraints, starts = setting(n_starts=3, n_modes=3)
    first, other, third = (starts[i][1]() for i in range(3))
    renamed = first.ordered([2, 0, 1])
    records, _ = best_of_starts(
        [("given", lambda: first), ("given", lambda: renamed), ("given", lambda: other), ("given", lambda: third)],
        expectation,
        constraints,
        **{**OPTIONS, "n_modes": 3},
    )
    assert any(record.fate.startswith("same as start ") for record in records[:2])


def test_threads_do_not_change_the_result():
    """Starts that run side by side are the same starts."""
    results = []
    for n_jobs in (1, 2, 3, 8):
        expectation, constraints, starts = setting(n_starts=4)
        records, _ = best_of_starts(
            starts, expectation, constraints, n_modes=2, n_jobs=n_jobs, max_iter=40, tolerance=1e-6
        )
        results.append([(record.fate, record.log_likelihood) for record in records])
    assert results[0] == results[1] == results[2] == results[3]


def test_a_limit_of_passes_is_kept_and_told():
    expectation, constraints, starts = setting(n_starts=2, gap=0.5)
    records, _ = best_of_starts(starts, expectation, constraints, n_modes=2, max_iter=4, tolerance=1e-12)
    assert all(record.run.n_passes <= 4 and record.fate == "limit of passes" for record in records)


def test_progress_counts_every_start_of_every_stage():
    expectation, constraints, starts = setting(n_starts=10)
    seen = []
    best_of_starts(starts, expectation, constraints, progress=lambda *event: seen.append(event), **OPTIONS)
    stages = list(dict.fromkeys(stage for stage, *_ in seen))
    assert stages == [*(f"round {i}" for i in range(1, 7)), "full run"]
    assert [done for stage, done, *_ in seen if stage == "round 1"] == list(range(1, 11))
    best = [event[3] for event in seen]
    assert best == sorted(best)


def test_a_start_that_fails_is_recorded_and_the_others_go_on():
    expectation, constraints, starts = setting(n_starts=3)

    def fails() -> Parameters:
        raise FitError("no such luck")

    records, _ = best_of_starts([("given", fails), *starts], expectation, constraints, **OPTIONS)
    assert records[0].fate == "failed: no such luck" and records[0].log_likelihood == -np.inf
    assert any(record.fate == "converged" for record in records[1:])


def test_an_interruption_keeps_the_best_so_far():
    """Ctrl-C after an hour must not throw the hour away."""
    expectation, constraints, starts = setting(n_starts=6)

    def stop(stage, done, total, best):
        if done == 3:
            raise KeyboardInterrupt

    records, interrupted = best_of_starts(starts, expectation, constraints, progress=stop, **OPTIONS)
    assert interrupted
    assert sum(record.run is not None for record in records) == 3
    assert all(record.fate in ("interrupted", "converged") for record in records)


def test_an_interruption_before_anything_is_one():
    expectation, constraints, _ = setting()

    def interrupted() -> Parameters:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        best_of_starts([("given", interrupted)], expectation, constraints, **OPTIONS)
