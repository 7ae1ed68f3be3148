"""Hostile inputs for everything that reads files, bytes or tables: refused with a typed error, or valid.

    python tests/fuzz/run.py --inputs 100000 [--target NAME ...] [--seed S] [--jobs J] [--keep FOLDER]
    python tests/fuzz/run.py --seed S --only NAME:i

`--inputs` is the total over all targets, shared out by `harness.SHARES`. Input i of a target depends on the seed, the
target and i alone; `--only` runs it by itself and shows the traceback. A failure is an error without a type, a crash,
more than 5 s of processor time, more than 1 GB of memory, or an answer that cannot be.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from harness import HERE, SHARES, item, shares, target, targets

SILENCE_SECONDS = 60.0
"""A worker without output for this long hangs."""


class Tally:
    """Outcomes and failures of one target."""

    def __init__(self):
        self.outcomes, self.failures, self.lock = Counter(), [], threading.Lock()

    def add(self, i, outcome, why):
        with self.lock:
            self.outcomes[outcome] += 1
            if why is not None:
                self.failures.append((i, why))

    def count(self, start):
        return sum(n for outcome, n in self.outcomes.items() if outcome.startswith(start))

    def row(self):
        """Inputs, those that were taken, those that were refused, failures."""
        return sum(self.outcomes.values()), self.count(("loaded", "read")), self.count("refused"), len(self.failures)


def run_part(name, seed, first, stop, step, folder, keep, tally):
    """Every step-th input from first on; a worker that dies costs the input that it was at, and another takes over."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    while first < stop:
        arguments = [sys.executable, str(HERE / "worker.py"), name, seed, *map(str, (first, stop, step)), str(folder)]
        # Errors go to a file: a pipe that nobody reads meanwhile would block the worker once it is full.
        with (
            tempfile.TemporaryFile() as said_of_errors,
            subprocess.Popen(
                [*arguments, str(keep or "")], stdout=subprocess.PIPE, stderr=said_of_errors, env=environment
            ) as process,
        ):
            silent = threading.Event()
            current, said = first, [time.monotonic()]
            over = threading.Event()

            def watch(process=process, said=said, silent=silent, over=over):
                while not over.wait(1.0):
                    if time.monotonic() - said[0] > SILENCE_SECONDS:
                        silent.set()
                        process.kill()
                        return

            threading.Thread(target=watch, daemon=True).start()
            begun = False
            for line in process.stdout:
                said[0] = time.monotonic()
                current, outcome, why = json.loads(line)
                begun = outcome is None
                if not begun:
                    tally.add(current, outcome, why)
            over.set()
            status = process.wait()
            said_of_errors.seek(max(0, said_of_errors.seek(0, os.SEEK_END) - 4000))
            errors = said_of_errors.read().decode(errors="replace")
        if status == 0:
            return
        if not begun and current == first and not tally.outcomes:
            sys.exit(f"a worker for {name} could not start:\n{errors}")
        tally.add(current, "failure", death(status, silent.is_set(), errors))
        first = current + step


def death(status, silent, errors):
    if silent:
        return f"hang: nothing for {SILENCE_SECONDS:g} s"
    if status == -signal.SIGPROF:
        return "hang: more than 5 s of processor time"
    last = errors.strip().splitlines()[-1:] or [""]
    return f"crash: {signal.Signals(-status).name if status < 0 else f'exit status {status}'} {last[0][:200]}"


def run_target(name, n_inputs, seed, jobs, folder, keep):
    tally = Tally()
    target_folder = folder / name
    target_folder.mkdir(parents=True)
    target(name).seeds(target_folder)  # made once, before the workers read them
    threads = []
    for job in range(min(jobs, n_inputs)):
        own = target_folder / f"worker-{job}"
        own.mkdir()
        for made in target_folder.iterdir():
            if made.is_file():
                (own / made.name).write_bytes(made.read_bytes())
        threads.append(threading.Thread(target=run_part, args=(name, seed, job, n_inputs, jobs, own, keep, tally)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def only(which, seed, folder):
    """One input, in this process, with its traceback."""
    name, _, number = which.partition(":")
    module = target(name)
    (folder / name).mkdir(parents=True)
    thing = item(module, seed, int(number), module.seeds(folder / name))
    print(f"{which}: {thing!r:.1000}")
    print("outcome:", module.execute(thing, folder / name))


def report(tallies, seconds):
    print(f"{'target':<16}{'inputs':>9}{'loaded':>9}{'refused':>9}{'failed':>9}")
    for name, tally in tallies.items():
        print(f"{name:<16}" + "".join(f"{n:>9,}" for n in tally.row()))
    for name, tally in tallies.items():
        print(f"\n{name}")
        for outcome, n in tally.outcomes.most_common():
            print(f"{n:>9,}  {outcome}")
    n_inputs = sum(sum(tally.outcomes.values()) for tally in tallies.values())
    print(f"\n{n_inputs:,} inputs in {seconds:.0f} s, {n_inputs / max(seconds, 1e-9):.0f} a second")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000, help="total over all targets")
    parser.add_argument("--target", nargs="+", choices=sorted(SHARES), help="these targets alone")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where inputs that fail are kept")
    parser.add_argument("--only", metavar="TARGET:NUMBER", help="one input, with its traceback")
    options = parser.parse_args()
    memory = Path("/dev/shm")  # saving synchronises to disk, which is not what is tested here
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as temporary:
        folder = Path(temporary)
        if options.only:
            only(options.only, options.seed, folder)
            return
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
        tallies, start = {}, time.monotonic()
        for name, n_inputs in shares(options.target or targets(), options.inputs).items():
            tallies[name] = run_target(name, n_inputs, options.seed, options.jobs, folder, options.keep)
        report(tallies, time.monotonic() - start)
    failures = [(name, i, why) for name, tally in tallies.items() for i, why in sorted(tally.failures)]
    for name, i, why in failures:
        print(f"--seed {options.seed} --only {name}:{i}  {why}")
    if failures:
        print(f"{len(failures):,} failures")
        sys.exit(1)
    print("no failure: every input was refused with a type, or was sound")


if __name__ == "__main__":
    main()
