"""Threads that share a fleet: no reading is lost or counted twice, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scorer_cases import draw, make_model

from cem.errors import ScorerError
from cem.scoring.fleet import Fleet
from cem.scoring.scorer import Scorer

KINDS = ("polynomial", "spline", "line")
N_THREADS = 8


@pytest.fixture(scope="module")
def scorer():
    return Scorer(make_model(KINDS))


def in_threads(calls):
    """Start all calls at the same time; their results."""
    start = threading.Barrier(len(calls))

    def run(call):
        start.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(60) for future in [pool.submit(run, call) for call in calls]]


def test_threads_with_units_of_their_own_leave_the_bits_of_one_thread(scorer):
    times = np.linspace(0, 300, 400)
    batches = []
    for i in range(N_THREADS):
        ids = [f"{i}-{j % 50}" for j in range(len(times))]
        batches.append((ids, times, draw(scorer.model, times, seed=i)))
    fleet, alone = scorer.fleet(), scorer.fleet()

    def feed(batch):
        for start in range(0, 400, 40):
            fleet.update_many(tuple(part[start : start + 40] for part in batch))

    in_threads([lambda batch=batch: feed(batch) for batch in batches])
    for batch in batches:
        alone.update_many(batch)
    assert set(fleet) == set(alone)
    assert {id: fleet.unit(id).to_bytes() for id in fleet} == {id: alone.unit(id).to_bytes() for id in fleet}


def test_threads_that_share_units_lose_no_reading(scorer):
    fleet = scorer.fleet()
    ids = [f"u{j}" for j in range(20)]
    x = np.full((20, 3), 9062.0)

    def batches(i):
        for t in range(30):
            fleet.update_many((ids if i % 2 else ids[::-1], np.full(20, float(t)), x))

    def singles(i):
        for t in range(30):
            for id in ids:
                fleet.update(id, float(t), x[0])

    in_threads([lambda i=i: (batches if i < 6 else singles)(i) for i in range(N_THREADS)])
    assert {fleet.unit(id).n_observations for id in ids} == {3 * 30 * N_THREADS}


def test_snapshot_amid_batches_has_whole_batches_only(scorer):
    import io

    fleet = scorer.fleet()
    ids = list(range(40))
    stop = threading.Event()

    def feed():
        t = 0.0
        while not stop.is_set():
            t += 1.0
            fleet.update_many((ids, np.full(40, t), np.full((40, 3), 9062.0)))

    def save():
        found = []
        for _ in range(20):
            file = io.BytesIO()
            fleet.save(file)
            found.append(file.getvalue())
        stop.set()
        return found

    for content in in_threads([feed, save])[1]:
        saved = Fleet.load(content, scorer)
        assert len({saved.unit(id).last_time for id in saved}) <= 1


def test_snapshot_gets_its_turn_however_busy_the_fleet_is(scorer):
    import io

    fleet = scorer.fleet()
    stop = threading.Event()

    def feed(i):
        ids, t = [f"{i}-{j}" for j in range(200)], 0.0
        while not stop.is_set():
            t += 1.0
            fleet.update_many((ids, np.full(200, t), np.full((200, 3), 9062.0)))

    def save():
        try:
            for _ in range(5):
                fleet.save(io.BytesIO())
            return fleet.evict(before=-1.0)
        finally:
            stop.set()

    assert in_threads([*[lambda i=i: feed(i) for i in range(6)], save])[-1] == []


def test_all_units_are_asked_for_while_some_are_evicted(scorer):
    """Asked for all, the fleet would refuse a unit that went away after the list of ids was made."""
    fleet, x = scorer.fleet(evicted="begin"), np.full((1, 3), 9062.0)
    first, ask = fleet.__class__.ids.fget, fleet.probabilities

    class Racing(type(fleet)):
        @property
        def ids(self):
            found = first(self)
            self.evict(found)  # what another thread may do at this very moment
            return found

    fleet.update_many((["a", "b"], [1.0, 1.0], np.tile(x, (2, 1))))
    fleet.__class__ = Racing
    assert ask().ids == ["a", "b"]


def in_child(call):
    """Status of a forked process that makes a call; it is killed if it waits for ever."""
    process = os.fork()
    if process == 0:
        signal.alarm(10)
        try:
            call()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(process, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_does_not_wait_for_threads_that_it_has_not(scorer):
    """A pool of processes hung where another thread was in the midst of a batch."""
    fleet, x = scorer.fleet(), np.full(3, 9062.0)
    fleet.update("a", 1.0, x)
    has_lock = threading.Event()

    def hold():
        with fleet._free:
            has_lock.set()
            time.sleep(0.05)

    def use():
        fleet.update("a", 2.0, x)
        fleet.update("b", 2.0, x)
        assert fleet.probabilities().ids == ["a", "b"]

    thread = threading.Thread(target=hold)
    thread.start()
    has_lock.wait(30)
    assert in_child(use) == 0
    thread.join(30)
    with fleet._claimed(["a", "b"], may_begin=True):  # as a batch of another thread has them
        assert in_child(use) == 0
        assert fleet._states.busy.any()
    use()


def test_ids_of_two_types_do_not_enter_while_a_batch_begins_the_first_ones(scorer):
    """The fleet would have ids of two types, and could not be saved."""
    fleet = scorer.fleet()
    with fleet._claimed([1, 2], may_begin=True):
        for call in (lambda: fleet.begin("a"), lambda: fleet.update("a", 1.0, [9062.0] * 3)):
            with pytest.raises(ScorerError, match="whole numbers"):
                call()


def test_units_that_are_evicted_and_begin_again_amid_readings_keep_the_fleet_whole(scorer):
    fleet = scorer.fleet(evicted="begin")
    ids = [f"u{j}" for j in range(10)]

    def feed():
        for t in range(60):
            fleet.update_many((ids, np.full(10, float(t)), np.full((10, 3), 9062.0)))

    def evict():
        for _ in range(60):
            fleet.evict([id for id in ids[:5] if id in fleet and id in fleet.ids])

    def tolerant():
        for _ in range(60):
            try:
                fleet.evict(ids[5:])
            except ScorerError:
                continue

    in_threads([feed, feed, evict, tolerant])
    feed()
    assert set(fleet) == set(ids)
    assert len(fleet._states.vacant) + len(ids) == len(fleet._states.numbers)
    assert not fleet._states.busy.any()
