"""Threads that cannot start, die or are not wanted any more end a fit; none is waited for.

What would hang runs in a process of its own, which is killed after a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from cem.numerics import threads
from cem.numerics.threads import Stopped, Team, ThreadsFailed, checkpoint, in_order

SETUP = """
import threading, warnings
import numpy as np
import cem
from cem.numerics import threads
from cem.prognosis.calibration import calibrate
from cem.errors import FitError, PredictionError
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)

def fleet(n_units, n=12, p=2):
    values = rng.normal(size=(n_units, n, p)) + 3.0 * (np.arange(n_units) % 2)[:, None, None]
    times = np.arange(1.0, n + 1) + 0.5 * rng.random((n_units, n))
    return cem.Panel.from_arrays(times, values, failure_times=n + 2 + rng.random(n_units))

def fit(panel, **options):
    arguments = {"basis": cem.Polynomial(1), "n_init": 4, "n_jobs": 4, "random_state": 0, **options}
    return cem.FailureModeEM(2, **arguments).fit(panel)

small, large = fleet(40), fleet(30_000)   # starts side by side, and chunks of one E step
estimator = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=1)
lives = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=1, time_axis="to_failure")
plain, linked = (fit(small, linking_rank=rank, n_jobs=1).model_ for rank in (0, 1))

def prognosis(part):
    return cem.RemainingLife(cem.FailureModeEM(**lives.get_params()).fit(part).model_)

CASES = {
    "starts": lambda: fit(small),
    "chunks": lambda: fit(large, n_init=1, max_iter=3),
    "lives": lambda: fit(large, n_init=1, max_iter=3, time_axis="to_failure"),
    "calibration": lambda: calibrate(small, prognosis, ages=2, n_folds=3, n_jobs=3),
    "selection": lambda: cem.selection.cross_validate(
        small, {"one": estimator}, score="log_likelihood", n_folds=3, n_jobs=3
    ),
    "scoring": lambda: plain.score_samples(large, n_jobs=3),
    "linked scoring": lambda: linked.score_samples(large, n_jobs=3),
}
"""

NAMES = ("starts", "chunks", "lives", "calibration", "selection", "scoring", "linked scoring")


def run(script: str, timeout: float = 60.0) -> str:
    """Standard output of a script in a process of its own."""
    source = str(Path(threads.__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": source, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 2])
def test_a_thread_that_cannot_start_ends_the_work(nth):
    """Under a limit of processes the system refuses: the error must say what to do, and nothing may wait."""
    told = run(f"""
        whole = threading.Thread.start
        for name, case in CASES.items():
            left = [{nth}]
            def start(self):
                left[0] -= 1
                if not left[0]:
                    raise RuntimeError("can't start new thread")
                whole(self)
            threading.Thread.start = start
            try:
                case()
                print(name, "went on")
            except (FitError, PredictionError) as error:
                print(name, "n_jobs=1" in str(error) and "can't start new thread" in str(error))
    """)
    assert told.splitlines() == [f"{name} True" for name in NAMES]


@pytest.mark.slow
def test_a_thread_that_dies_as_it_begins_is_not_waited_for():
    """A thread out of memory before its first line: `Thread.start` would hang, as in 3 of 225 fits."""
    told = run("""
        threads._START_LIMIT = 0.3
        threading.Thread._bootstrap = lambda self: None
        for name, case in CASES.items():
            try:
                case()
                print(name, "went on")
            except (FitError, PredictionError) as error:
                print(name, "n_jobs=1" in str(error))
    """)
    assert told.splitlines() == [f"{name} True" for name in NAMES]


@pytest.mark.slow
def test_a_thread_that_runs_out_of_memory_ends_the_fit():
    """The first helper that gets work finds no room for it; other starts must not hide that."""
    told = run("""
        from cem.em import loop as em
        from cem.em.kernels import choice as expectation_kernels
        from cem.search import starts
        def hungry(function):
            def taking(*arguments, **options):
                if threading.current_thread() is not threading.main_thread():
                    raise MemoryError
                return function(*arguments, **options)
            return taking
        begin, work = starts.run_of_passes, expectation_kernels.LanesKernel.work
        def in_helper(*arguments):
            import time
            if threading.current_thread() is threading.main_thread():
                time.sleep(0.2)  # so that a helper gets some
            return hungry(work)(*arguments)
        for name, patch in (("starts", (starts, "run_of_passes", hungry(begin))),
                            ("chunks", (expectation_kernels.LanesKernel, "work", in_helper))):
            kept = getattr(*patch[:2])
            setattr(*patch)
            try:
                CASES[name]()
                print(name, "went on")
            except FitError as error:
                print(name, "ran out of memory" in str(error) and "n_jobs=1" in str(error))
            setattr(*patch[:2], kept)
        print(fit(small).converged_)
    """)
    assert told.splitlines() == ["starts True", "chunks True", "True"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child there")
@pytest.mark.parametrize("width", [1, 4])
def test_an_interruption_ends_a_fit_with_threads(width):
    """Ctrl-C waited until every start in progress had done all its passes: here a million."""
    script = f"""
        import os, signal, time
        def interrupt():
            time.sleep(1.0)
            os.kill(os.getpid(), signal.SIGINT)
        from cem.em import loop as em
        em._only_rounding_is_left = lambda *_: False
        em.remaining_gain = lambda *_: 1.0
        threading.Thread(target=interrupt, daemon=True).start()
        em = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=4, n_jobs={width}, max_iter=10**9, random_state=0,
                               accelerate="none")
        em.fit(small)
        print(em.interrupted_)
    """
    assert run(script).split() == ["True"]


def test_results_come_in_order_whoever_takes_part():
    """Starts are compared in their order: any other would make a fit depend on the threads."""
    for take_part in (True, False):
        for width in (1, 3, 50):
            found = list(in_order(lambda i: (time.sleep(0.001 * (i % 3)), i)[1], range(20), width, take_part=take_part))
            assert found == list(range(20))
    used = set(in_order(lambda i: threading.get_ident(), range(30), 4, take_part=False))
    assert threading.get_ident() not in used


def test_what_an_item_raises_is_raised_where_its_result_is_due():
    """As by `map`: results before it are not lost, and later ones are not begun."""
    begun = []

    def item(i):
        begun.append(i)
        if i == 2:
            raise ValueError("of item 2")
        time.sleep(0.01)
        return i

    results, found = in_order(item, range(1000), 2), []
    with closing(results), pytest.raises(ValueError, match="of item 2"):
        found.extend(results)
    time.sleep(0.05)
    assert len(begun) < 20


def test_helpers_stop_at_their_next_checkpoint():
    """Work that nobody waits for would go on in the background for as long as a fit takes."""
    ended = threading.Event()

    def item(i):
        try:
            while True:
                checkpoint()
                time.sleep(0.001)
        except Stopped:
            ended.set()
            raise

    results = in_order(lambda i: item(i) if i else time.sleep(0.05), range(2), 2, take_part=False)
    next(results)
    results.close()
    assert ended.wait(10.0)
    checkpoint()  # not of a helper: goes on


def test_an_interruption_of_the_callers_own_item_is_at_once():
    """It must not wait for the result of the items before it to be due."""

    def item(i):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        while True:
            checkpoint()
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        list(in_order(item, range(10), 2))


def test_a_team_shares_work_again_and_again():
    """Every piece is done once, by any thread; a helper's error is raised here, and the next work succeeds."""
    team, lock = Team(3), threading.Lock()
    for repeat in range(200):
        left, done = list(range(50)), []

        def work(left=left, done=done):
            while True:
                with lock:
                    if not left:
                        return
                    piece = left.pop()
                done.append(piece)

        team.share(work, 1 + repeat % 3)
        assert sorted(done) == list(range(50))

    def failing():
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError
        time.sleep(0.2)

    with pytest.raises(ThreadsFailed, match="n_jobs=1"):
        team.share(failing, 2)
    team.share(lambda: None, 3)


def test_helpers_end_with_their_team():
    """A fit in a service would leave threads behind, one set after the other."""
    before = set(threading.enumerate())
    team = Team(4)
    team.share(lambda: None, 4)
    own = set(threading.enumerate()) - before
    assert len(own) == 4
    del team
    for thread in own:
        thread.join(10.0)
    assert not any(thread.is_alive() for thread in own)
