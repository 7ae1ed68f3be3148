"""What every benchmark needs: one thread of BLAS, interleaved timing, peak memory, the machine, a file of results.

Import this module before numpy: it holds BLAS to one thread, so that what is measured is this package's own threads.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ[_variable] = "1"

HERE = Path(__file__).resolve().parents[1]  # the folder of the scripts
RESULTS = HERE / "results"
SHARED_DATA = Path(os.environ.get("CEM_SHARED_DATA", HERE.parents[1] / "shared" / "data"))


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median over repeats and the least, by the clock and of the processor.

    On a machine that does other work the clock counts that too; the processor's time does not, but adds up threads.
    """

    seconds: float
    least_seconds: float
    processor_seconds: float
    repeats: int

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError("a timing needs at least one repeat")


def interleaved(candidates: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Time several things in turn, so that a slow minute of the machine falls on all of them.

    Parameters
    ----------
    candidates : mapping of name to function
        Each is called once without being timed (caches, lazy imports), then `repeats` times.
    repeats : int
        Rounds.

    Returns
    -------
    dict of name to Timing
    """
    clock: dict[str, list[float]] = {name: [] for name in candidates}
    processor: dict[str, list[float]] = {name: [] for name in candidates}
    for function in candidates.values():
        function()
    for _ in range(repeats):
        for name, function in candidates.items():
            started, started_processor = time.perf_counter(), time.process_time()
            function()
            clock[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - started_processor)
    return {
        name: Timing(statistics.median(clock[name]), min(clock[name]), statistics.median(processor[name]), repeats)
        for name in candidates
    }


def once(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a function returns, its seconds by the clock, and its processor seconds."""
    started, started_processor = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - started, time.process_time() - started_processor


def peak_bytes() -> int:
    """The largest resident size that this process has had."""
    try:
        # ru_maxrss of a child counts the parent's pages between fork and exec; VmHWM does not.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def settled_bytes() -> int:
    """The resident size now, freed memory handed back first where the system can; the peak is reset to it on Linux."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, AttributeError):
        return peak_bytes()
    return pages * resource.getpagesize()


def in_subprocess(script: str | Path, case: str, *arguments: object, timeout: float | None = None) -> dict[str, Any]:
    """Run one case of a script in a process of its own and return what it reported.

    Parameters
    ----------
    script : path
        A benchmark that hands its arguments to `case_main`.
    case : str
        Name of the case.
    *arguments
        Passed on as JSON.
    timeout : float, optional
        Seconds.

    Raises
    ------
    RuntimeError
        The case failed; the message is what it wrote.
    subprocess.TimeoutExpired
        It took too long.
    """
    command = [sys.executable, str(script), "--case", case, json.dumps(list(arguments))]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if finished.returncode != 0:
        raise RuntimeError(f"case {case} of {script} failed:\n{finished.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return report


def case_main(cases: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Where the process was started by `in_subprocess`: run the case, print its report, and exit."""
    if len(sys.argv) == 4 and sys.argv[1] == "--case":
        report = cases[sys.argv[2]](*json.loads(sys.argv[3]))
        report["peak_bytes"] = peak_bytes()
        print(json.dumps(report))
        sys.exit(0)


def arguments(description: str | None, **limits: tuple[str, int]) -> argparse.Namespace:
    """The options that every benchmark has, and limits of its own by name: (what it limits, default)."""
    parser = argparse.ArgumentParser(description=(description or "").strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small problems, to see that it runs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/NAME.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    for name, (help_text, default) in limits.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{help_text} (default: {default})")
    return parser.parse_args()


def _git(*command: str) -> str:
    try:
        answer = subprocess.run(["git", "-C", str(HERE), *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _instruction_level() -> str:
    try:
        from cem.em.kernels import _lanes
    except ImportError:
        return "unknown"
    return str(_lanes.instruction_level())


def machine() -> dict[str, Any]:
    """Processor, cores, instruction level, and versions."""
    import numpy as np
    import scipy

    import cem

    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_level": _instruction_level(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "cem": cem.__version__,
    }


def load_average() -> float | None:
    """How many processes wanted to run in the last minute; None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def commit() -> str:
    """The commit that is checked out; "+changes" where the sources differ from it."""
    changed = bool(_git("status", "--porcelain", "--untracked-files=no", "--", "../src", "../setup.py"))
    return _git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")


def date() -> str:
    """The date of that commit."""
    return _git("log", "-1", "--format=%cs")


def write_results(
    script: str | Path,
    options: argparse.Namespace,
    rows: Sequence[Mapping[str, Any]],
    *,
    load_before: float | None = None,
    **more: Any,
) -> None:
    """Write the figures of a benchmark, and print them.

    Parameters
    ----------
    script : path
        ``__file__`` of the benchmark.
    options : argparse.Namespace
        Of `arguments`.
    rows : sequence of mappings
        One for each row of the table.
    load_before : float, optional
        `load_average` at the start.
    **more
        Further members of the file: versions of peers, remarks.
    """
    name = Path(script).stem
    for row in rows:
        print("  ".join(f"{key}={_short(value)}" for key, value in row.items()))
    if options.quick and options.output is None:
        return
    record = {
        "name": name,
        "date": options.date or date(),
        "commit": commit(),
        "quick": options.quick,
        "machine": machine(),
        "load_average": {"before": load_before, "after": load_average()},
        **more,
        "rows": list(rows),
    }
    path = options.output or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def write(path: Path, text: str) -> None:
    """A whole file, or none."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
