"""One scorer, many threads: each with units of its own, the same bits as one thread after the other."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scorer_cases import HORIZON, draw, make_model

from cem.errors import ScorerError
from cem.scoring.scorer import Scorer

N_THREADS, N_UPDATES = 8, 100_000


def run(scorer, values, times, thread):
    """N_UPDATES single updates of one unit, with a look at the probabilities now and then."""
    unit, out, seen = scorer.unit(), np.empty(scorer.n_modes), []
    n = len(times)
    for i in range(N_UPDATES):
        unit.update(times[i % n], values[(i + thread) % n])
        if i % 1000 == 0:
            seen.append(unit.mode_probabilities(out).copy())
    seen.append(unit.mode_probabilities())
    return np.array(seen), unit.to_bytes()


@pytest.mark.slow
def test_eight_threads_are_bit_identical_to_one():
    model = make_model(["polynomial", "line", "polynomial"], 3)
    times = np.random.default_rng(0).uniform(0, HORIZON, 500)
    values = draw(model, times)
    scorer = Scorer(model)
    serial = [run(scorer, values, times, thread) for thread in range(N_THREADS)]
    with ThreadPoolExecutor(N_THREADS) as pool:
        threaded = list(pool.map(lambda thread: run(scorer, values, times, thread), range(N_THREADS)))
    for (expected, state), (found, same_state) in zip(serial, threaded, strict=True):
        np.testing.assert_array_equal(expected, found)
        assert state == same_state


def test_a_unit_shared_by_two_threads_loses_no_reading_or_refuses():
    """update holds the GIL; while update_many has released it, the unit refuses everyone else."""
    model = make_model(["polynomial"], 2)
    unit = Scorer(model).unit()
    times = np.zeros(20_000)
    values = np.full((20_000, 1), 9062.0)
    counted, refused = [], []

    def work():
        mine = 0
        for _ in range(40):
            try:
                unit.update_many(times, values)
                mine += len(times)
            except ScorerError as error:
                refused.append(str(error))
            try:
                unit.update(1.0, [9062.0])
                mine += 1
            except ScorerError as error:
                refused.append(str(error))
        counted.append(mine)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unit.n_observations == sum(counted)
    assert all("another thread" in message for message in refused)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scorer_works_after_fork():
    """A service that forks its workers shares the packed model with them."""
    model = make_model(["polynomial", "line"], 2)
    scorer = Scorer(model)
    unit = scorer.unit()
    unit.update(3.0, [9062.0, 9063.0])
    expected = unit.mode_probabilities().tobytes()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            twin = scorer.unit()
            twin.update(3.0, [9062.0, 9063.0])
            os.write(writer, twin.mode_probabilities().tobytes())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, len(expected)) == expected
    os.close(reader)
    os.close(writer)
