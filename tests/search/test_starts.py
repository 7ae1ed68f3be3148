"""Many starts: the best one wins, each one's fate is recorded, and an interruption keeps the best so far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import constraints_of, two_groups

from cem.em.loop import continue_em
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError
from cem.metrics.agreement import disagreement
from cem.search import starts as search
from cem.search.fresh import one_mode_run, starting_point
from cem.search.moves import moved_start
from cem.search.one_mode import OneModePosteriors, StartingPoint
from cem.search.starts import best_of_starts

OPTIONS = {"n_modes": 2, "max_iter": 400, "tolerance": 1e-6}


def setting(n_starts=8, n_modes=2, gap=2.0):
    expectation = two_groups(gap=gap)
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)

    def start(seed):
        rng = np.random.default_rng(seed)
        return lambda: starting_point("random", expectation, posteriors, constraints, n_modes, rng)

    return MixtureProblem(expectation, constraints), [("random", start(seed)) for seed in range(n_starts)]


def mover(problem, seed=0):
    posteriors = posteriors_of(problem)
    rng = np.random.default_rng(seed)
    return lambda rho: moved_start(rho, posteriors, problem.constraints, rng)


def posteriors_of(problem):
    expectation, constraints = problem.expectation, problem.constraints
    return OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)


def test_every_start_has_a_fate_and_the_best_has_converged():
    problem, starts = setting(n_modes=3)
    move = mover(problem)
    records, interrupted = best_of_starts(starts, problem, move=move, **OPTIONS | {"n_modes": 3})
    kinds = [record.kind for record in records]
    assert not interrupted and len(records) > 8 and kinds == ["random"] * 8 + ["moved"] * (len(records) - 8)
    for record in records:
        known = ("converged", "abandoned", "passed over", "same as start", "lost mode", "limit of passes")
        assert record.fate.startswith(known)
        assert np.isfinite(record.log_likelihood) == (record.fate != "passed over")
    best = max(records, key=lambda record: record.log_likelihood)
    assert best.fate in ("converged", "limit of passes")


def test_no_start_was_abandoned_above_the_winner():
    problem, starts = setting(n_starts=12, n_modes=3)
    records, _ = best_of_starts(starts, problem, **OPTIONS | {"n_modes": 3})
    winner = max(record.log_likelihood for record in records)
    assert all(record.log_likelihood <= winner for record in records if record.fate == "abandoned")
    assert sum(record.fate == "abandoned" for record in records) > 0
    passes = [record.run.n_passes for record in records if record.fate == "abandoned"]
    assert max(passes) <= sum(this.n_passes for this in search._FRESH_ROUNDS)


def test_the_starts_of_highest_score_run():
    """Otherwise fifty starts would no longer be cheap: the score selects the few that run."""
    problem, starts = setting(n_starts=12)
    points = [make() for _, make in starts]
    records, _ = best_of_starts([("random", lambda p=p: p) for p in points], problem, **OPTIONS)
    ran = [point.score for point, record in zip(points, records, strict=True) if record.run is not None]
    passed = [point.score for point, record in zip(points, records, strict=True) if record.run is None]
    assert len(ran) >= 6 and min(ran) >= max(passed)
    assert {record.fate for record in records if record.run is None} == {"passed over"}


def test_every_kind_is_among_those_that_run():
    """Scores are comparable only among starts of one kind, so kinds take turns."""
    problem, starts = setting(n_starts=12)
    points = [make() for _, make in starts]
    poor = [StartingPoint(point.parameters, point.score - 1e6) for point in points[6:]]
    kinds = [("rich", lambda p=p: p) for p in points[:6]] + [("poor", lambda p=p: p) for p in poor]
    records, _ = best_of_starts(kinds, problem, **OPTIONS)
    assert sum(record.run is not None for record in records[6:]) == 3


def test_moves_leave_a_stationary_point():
    """Modes that are equal stay equal under EM, whatever the data: only a move can part them."""
    problem, _ = setting(gap=6.0)
    posteriors = posteriors_of(problem)
    heights = []
    move = mover(problem)
    for rho, how in (
        (np.eye(2)[np.arange(40) % 2], None),
        (np.full((40, 2), 0.5), None),
        (np.full((40, 2), 0.5), move),
    ):
        starts = [("given", lambda rho=rho: posteriors.start(rho, problem.constraints))] * 2
        records, _ = best_of_starts(starts, problem, move=how, **OPTIONS)
        heights.append(max(record.log_likelihood for record in records))
    truth, stuck, moved = heights
    assert stuck < truth - 10 and moved == pytest.approx(truth, abs=1e-3)


def test_starts_on_their_way_to_one_optimum_are_run_once():
    """Two groups far apart: every start sees the same one optimum, and one full run is enough."""
    problem, starts = setting(n_starts=12, gap=6.0)
    counted = []

    def counting(index, start):
        def make():
            counted.append(index)
            return start()

        return make

    records, _ = best_of_starts(
        [(kind, counting(i, start)) for i, (kind, start) in enumerate(starts)],
        problem,
        **OPTIONS,
    )
    best = max(range(12), key=lambda i: records[i].log_likelihood)
    assert sorted(counted) == list(range(12))
    assert records[best].fate == "converged"
    for record in records:
        if record.fate.startswith("same as start "):
            leader = records[int(record.fate.removeprefix("same as start "))]
            assert disagreement(record.run.responsibilities, leader.run.responsibilities) < 0.1


def test_moves_stop_sooner_where_starts_agree():
    """Starts that led to one optimum leave little to look for: the moves after them are what an easy fleet costs."""
    n_moves = []
    for n_modes, gap in ((2, 6.0), (4, 0.0)):  # groups far apart, and four modes where there is one
        problem, starts = setting(n_starts=12, n_modes=n_modes, gap=gap)
        move = mover(problem)
        records, _ = best_of_starts(starts, problem, move=move, **OPTIONS | {"n_modes": n_modes})
        n_moves.append(len(records) - 12)
    effort = search._Effort.of(12, 40, 1, "full")
    assert effort.patience[-1] <= n_moves[0] < effort.patience[-1] + effort.at_once
    assert n_moves[1] >= effort.patience[0]


def test_a_generation_more_runs_only_where_starts_do_not_agree():
    ran = []
    for n_modes, gap in ((2, 6.0), (4, 0.0)):
        problem, starts = setting(n_starts=24, n_modes=n_modes, gap=gap)
        records, _ = best_of_starts(starts, problem, **OPTIONS | {"n_modes": n_modes})
        ran.append(sum(record.run is not None for record in records))
    assert ran[0] == search._FRESH and ran[1] > 2 * search._FRESH


def test_the_effort_grows_with_the_starts_and_shrinks_with_the_fleet():
    """As `n_init` says: from fifty on, twice the starts are twice the search; a large fleet is searched less."""
    few, usual, fifty, hundred = (search._Effort.of(n, 200, 6, "full") for n in (4, 10, 50, 100))
    assert usual == fifty and few.patience[0] < usual.patience[0]
    assert hundred.fresh == 2 * fifty.fresh and hundred.patience == tuple(2 * moves for moves in fifty.patience)
    assert search._Effort.of(50, 100_000, 1, "full").moves < fifty.moves
    assert search._Effort.of(1, 200, 1, "full").moves == 0


def test_small_fleets_are_searched_further_and_most_where_modes_have_their_own_covariance():
    """There the best optimum is met once in a hundred starts, and a pass costs next to nothing."""
    small, shrunk, usual = (
        search._Effort.of(10, *fleet) for fleet in ((200, 1, "full"), (200, 1, "shrunk"), (200, 14, "full"))
    )
    assert small.patience[0] > shrunk.patience[0] > usual.patience[0] == search._PATIENCE[0]
    assert search._Effort.of(10, 1500, 1, "full").patience == usual.patience


def test_starts_that_stand_for_each_other_do_not_go_round_in_circles():
    """The highest start may have been stopped for one about to be higher: they are twins, not rivals."""
    records = [search.Start("random", None, twin=1), search.Start("random", None), search.Start("random", None, twin=0)]
    room = search._Search(records, None, None, search._Effort.of(3, 40, 1, "full"), True, 100, 1, None)
    room.best = 0
    assert [room._leader(i) for i in range(3)] == [1, 1, 1] and room._followers() == 2


def test_what_is_still_to_come_counts():
    """Otherwise a start that still climbs would be stopped in favour of one that is nearly done."""

    def record(*heights):
        problem, starts = setting(n_starts=1)
        run = search.start_em(problem, starts[0][1]().parameters)
        return search.Start("random", search.replace(run, log_likelihoods=heights, objectives=heights))

    assert search.expected_height(record(-8.0, -4.0, -2.0)) == pytest.approx(0.0)  # halves: 2 to come
    assert search.expected_height(record(-8.0, -4.0, 0.0)) == pytest.approx(search.MOST_TO_COME)  # no telling
    assert search.expected_height(record(-1.0, -1.0, -1.0)) == -1.0


def test_threads_do_not_change_the_result():
    """Starts that run side by side are the same starts."""
    results = []
    for n_jobs in (1, 2, 3, 8):
        problem, starts = setting(n_starts=4)
        move = mover(problem)
        records, _ = best_of_starts(
            starts,
            problem,
            n_modes=2,
            move=move,
            n_jobs=n_jobs,
            max_iter=40,
            tolerance=1e-6,
        )
        results.append([(record.fate, record.log_likelihood) for record in records])
    assert results[0] == results[1] == results[2] == results[3]


def test_a_limit_of_passes_is_kept_and_told():
    problem, starts = setting(n_starts=2, gap=0.5)
    records, _ = best_of_starts(starts, problem, n_modes=2, max_iter=4, tolerance=1e-12)
    assert all(record.run.n_passes <= 4 for record in records)
    assert "limit of passes" in [record.fate for record in records]


def test_progress_counts_every_start_of_every_stage():
    problem, starts = setting(n_starts=10)
    seen = []
    best_of_starts(starts, problem, progress=lambda *event: seen.append(event), **OPTIONS)
    stages = list(dict.fromkeys(stage for stage, *_ in seen))
    assert stages[0] == "starts 1, round 1" and stages[-1] == "full run"
    for stage in stages:
        of_stage = [(done, total) for name, done, total, _ in seen if name == stage]
        assert of_stage == [(i + 1, of_stage[0][1]) for i in range(of_stage[0][1])]
    best = [event[3] for event in seen]
    assert best == sorted(best)


@pytest.mark.parametrize("after_moves", [False, True])
def test_a_search_whose_runs_all_lose_a_mode_in_the_end_is_told_as_any_other(after_moves, monkeypatch):
    """The best run is continued beside the moves; if it loses its mode there, an assertion left `fit`."""
    problem, starts = setting(n_starts=6)
    long = search.SHORT + (search._SETTLING if after_moves else 0)

    def losing(run, **options):
        further = continue_em(run, **options)
        return replace(further, lost_mode=0) if further.n_passes >= long else further

    monkeypatch.setattr(search, "continue_em", losing)
    monkeypatch.setattr(search, "_FRESH_ROUNDS", (search._Round(7, behind=np.inf),))
    records, interrupted = best_of_starts(starts, problem, move=mover(problem), **OPTIONS)
    assert not interrupted and any(record.fate == "lost mode 0" for record in records)


def test_progress_tells_no_height_of_starts_that_lost_a_mode(monkeypatch):
    """A watcher would see a likelihood that the fit does not have."""
    problem, starts = setting(n_starts=6)

    def losing(run, **options):  # the first start that goes on, and climbs above all others
        further = continue_em(run, **options)
        if not lost:
            lost.append(further.log_likelihoods[-1] + 1000.0)
            heights = (*further.log_likelihoods[:-1], lost[0])
            return replace(further, lost_mode=0, log_likelihoods=heights)
        return further

    lost, seen = [], []
    monkeypatch.setattr(search, "continue_em", losing)
    best_of_starts(starts, problem, progress=lambda *event: seen.append(event[3]), **OPTIONS)
    assert lost and max(seen) < lost[0]


def test_a_start_that_fails_is_recorded_and_the_others_go_on():
    problem, starts = setting(n_starts=3)

    def fails() -> StartingPoint:
        raise FitError("no such luck")

    records, _ = best_of_starts([("given", fails), *starts], problem, **OPTIONS)
    assert records[0].fate == "failed: no such luck" and records[0].log_likelihood == -np.inf
    assert any(record.fate == "converged" for record in records[1:])


def test_an_interruption_keeps_the_best_so_far():
    """Ctrl-C after an hour must not throw the hour away."""
    problem, starts = setting(n_starts=6)

    def stop(stage, done, total, best):
        if done == 3:
            raise KeyboardInterrupt

    records, interrupted = best_of_starts(starts, problem, progress=stop, **OPTIONS)
    assert interrupted
    assert sum(record.run is not None for record in records) == 3
    assert all(record.fate in ("interrupted", "converged") for record in records)


def test_an_interruption_before_anything_is_one():
    problem, _ = setting()

    def interrupted() -> StartingPoint:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        best_of_starts([("given", interrupted)], problem, **OPTIONS)
