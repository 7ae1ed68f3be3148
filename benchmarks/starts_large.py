"""Many starts on fleets of 4,000 units, measured as in `starts.py`: what time goes into there is E steps.

Twelve fleets, drawn as those of starts.py are but for their size, three times over. The search was not chosen on them.
"""

from __future__ import annotations

from common import harness

from collections.abc import Iterator  # isort: skip

from starts import DataSet, drawn, measure, recipe_of, summary_of

REPEATS = 3
N_UNITS = 4000


def data_sets(quick: bool) -> Iterator[DataSet]:
    for i in range(1 if quick else 12):
        yield drawn(f"large fleet {i + 1}", {**recipe_of(i), "n_units": N_UNITS}, 600 + i)


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = measure(data_sets(options.quick), 1 if options.quick else REPEATS)
    harness.write_results(__file__, options, rows, load_before=before, summary=summary_of(rows))
    print(summary_of(rows))


if __name__ == "__main__":
    main()
