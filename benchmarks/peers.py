"""Against the packages that fit such models today: same data, same start, and the log-likelihood that each reached.

- K = 3, p = 3, 300 units of 30 readings: mixtools `regmixEM.mixed`, flexmix `FLXMRlmm`, lcmm `hlme`. hlme's modes share
  one noise variance and have proportional covariances, so its model is a restriction of the others' and its best
  log-likelihood is lower.
- K = 1, 2,000 units of 100 readings: lme4 `lmer`, statsmodels `MixedLM`, lme-python `lmer`, interlace-lme `fit`.
- K = 1, 200 units of 30 readings: the same packages and lcmm. Then the same data again with times from 0 to 100, 200
  and 1,000 and the design 1, t, t² as it is (lcmm: 200 only). The model does not change, and neither does its best
  log-likelihood.

Nothing is installed: packages that are there are run, and missing ones are named. The parameters of every peer are put
into one exact formula with the dense covariance of a unit's readings, beside the log-likelihood that the peer claims.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.fleets import Fleet, draw_fleet
from common.peer_runs import (
    ENVIRONMENTS,
    PEERS,
    Problem,
    available,
    of_peer,
    ours,
    starting_responsibilities,
    write_readings,
    write_start,
)

ONE_MODE = ("lme4", "statsmodels", "lme-python", "interlace-lme")
SPANS = (100.0, 200.0, 1000.0)


def mixture_fleet(quick: bool) -> Fleet:
    return draw_fleet(60 if quick else 300, (30, 30), n_modes=3, p=3, seed=5)


def hierarchical_fleet(quick: bool) -> Fleet:
    return draw_fleet(100 if quick else 2_000, (100, 100), n_modes=1, p=3, seed=6)


def small_fleet(quick: bool) -> Fleet:
    return draw_fleet(50 if quick else 200, (30, 30), n_modes=1, p=3, seed=7)


def problems(quick: bool) -> Iterator[tuple[Problem, tuple[str, ...]]]:
    """Each data set, and the peers that fit it."""
    yield Problem("K = 3, 300 units × 30 readings", mixture_fleet(quick), 3), ("mixtools", "flexmix", "lcmm")
    yield Problem("K = 1, 2,000 units × 100 readings", hierarchical_fleet(quick), 1), ONE_MODE
    small = small_fleet(quick)
    yield Problem("K = 1, 200 units × 30 readings", small, 1), (*ONE_MODE, "lcmm")
    for span in SPANS[1:2] if quick else SPANS:
        # lcmm takes its 500 passes here, more than a minute: once is enough.
        slow = ("lcmm",) if span == 200.0 else ()
        yield Problem(f"the same, 1, t, t² of t from 0 to {span:,.0f}", small, 1, span), (*ONE_MODE, *slow)


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--environments", type=Path, default=ENVIRONMENTS)
    given, rest = extra.parse_known_args()
    sys.argv[1:] = rest
    options = harness.arguments(
        __doc__,
        passes=("flexmix and mixtools stop after so many", 2500),
        seconds=("no peer may take longer than this", 1800),
    )
    before = harness.load_average()
    passes = 5 if options.quick else options.passes
    missing = {peer: how for peer, how in PEERS.items() if not available(peer, given.environments)}
    for peer, how in missing.items():
        print(f"{peer} is not here, and is left out; to compare with it: {how}", file=sys.stderr)
    rows: list[dict[str, object]] = []
    for problem, peers in problems(options.quick):
        init = starting_responsibilities(problem.fleet, problem.n_modes) if problem.n_modes > 1 else None
        here = ours(problem, init, 2 if options.quick else 25)
        rows.append({"question": problem.name, **here, "times_ours": 1.0, "below": 0.0})
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_readings(problem.fleet, folder, problem.design)
            if init is not None:
                write_start(problem.fleet, init, folder)
            for peer in peers:
                if peer in missing:
                    continue
                limit = passes if peer in ("mixtools", "flexmix") else None
                row = of_peer(peer, problem, folder, limit, options.seconds, given.environments)
                cost = row.get("processor_seconds", row.get("seconds"))
                times = cost / here["processor_seconds"] if cost else None
                below = here["exact"] - row["exact"] if "exact" in row else None
                rows.append({"question": problem.name, **row, "times_ours": times, "below": below})
                print(f"{peer}: {row}", file=sys.stderr)
    harness.write_results(__file__, options, rows, load_before=before, missing=missing)


if __name__ == "__main__":
    main()
