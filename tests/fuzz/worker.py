"""One process of the fuzzer: a range of inputs of one target, within limits that end it; a line of JSON for each.

What cannot be caught in Python ends the process, and `run.py` sees it: a crash by its signal, a loop by SIGPROF after
`HANG_SECONDS` of processor time, memory beyond the limit by MemoryError or by the allocator's abort.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path

from harness import item, target

HANG_SECONDS = 5.0
MEMORY_GROWTH = 1 << 30


def limited():
    """At most a gigabyte more than now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def reason(error):
    """The exception and the innermost frames, short enough for a table."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__}: {str(error)[:300]} ({where})"


def work(name, seed, numbers, folder, keep, send):
    """Execute the inputs; `send` gets number, outcome or None, and reason."""
    module = target(name)
    seeds = module.seeds(folder)
    warm_up(module, seeds, folder)
    limited()
    for i in numbers:
        send(i, None, None)  # begun
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        thing = None
        try:
            thing = item(module, seed, i, seeds)
            outcome, why = module.execute(thing, folder), None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of compiled code is no Exception
            outcome, why = None, reason(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if keep is not None and why is not None:
            (keep / f"{name}-{seed}-{i}.txt").write_text(f"{why}\n{thing!r}", errors="backslashreplace")
        send(i, outcome or "failure", why)


def warm_up(module, seeds, folder):
    """Imports and caches, before anything is measured."""
    for i in range(3):
        with contextlib.suppress(Exception):  # what is wrong is found where it is an input
            module.execute(item(module, "warm", i, seeds), folder)


def main():
    name, seed, first, stop, step, folder, keep = sys.argv[1:]
    warnings.simplefilter("ignore")
    pipe = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing but results goes to the parent

    def send(i, outcome, why):
        os.write(pipe, (json.dumps([i, outcome, why]) + "\n").encode())

    work(name, seed, range(int(first), int(stop), int(step)), Path(folder), Path(keep) if keep else None, send)


if __name__ == "__main__":
    main()
