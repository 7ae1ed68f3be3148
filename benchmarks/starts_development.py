"""The fleets on which the search for starts was chosen: 140, none of them in starts.py, measured in the same way.

60 are drawn as those of starts.py are, from other seeds. 80 are more varied and harder: 2 to 5 modes, 2 to 4
coefficients, 1 to 5 channels, 120 to 400 units, modes of 3 %, histories that are hardly longer than the basis. The file
of results has every fleet.
"""

from __future__ import annotations

from common import harness

from collections.abc import Iterator  # isort: skip

import numpy as np
from starts import DataSet, drawn, measure, recipe_of, summary_of

REPEATS = 3


def data_sets(quick: bool) -> Iterator[DataSet]:
    for i in range(2 if quick else 80):
        n_modes = 2 + i % 4
        recipe = {
            "n_units": (200, 200, 120, 400)[i // 5 % 4],
            "readings": ((4, 20), (10, 30), (3, 8))[i % 3],
            "n_modes": n_modes,
            "p": 2 + i // 4 % 3,
            "n_channels": 1 + i // 2 % 5,
            "separation": (0.4, 0.6, 0.9, 1.3)[i // 3 % 4],
            "weights": np.array([0.03, *[0.97 / (n_modes - 1)] * (n_modes - 1)]) if i % 3 == 0 else None,
        }
        yield drawn(f"varied fleet {i + 1}", recipe, 300 + i)
    for i in range(0 if quick else 60):
        yield drawn(f"fleet {i + 1}", recipe_of(i), 400 + i)


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    fleets = measure(data_sets(options.quick), 1 if options.quick else REPEATS)
    rows = []
    for name in ("varied fleet", "fleet"):
        of_name = [fleet for fleet in fleets if str(fleet["data"]).rsplit(" ", 1)[0] == name]
        if of_name:
            rows.append({"drawn": "varied" if name != "fleet" else "as in starts.py", **summary_of(of_name)})
    harness.write_results(__file__, options, rows, load_before=before, summary=summary_of(fleets), fleets=fleets)
    print(summary_of(fleets))


if __name__ == "__main__":
    main()
