"""The fleets on which the search for starts was chosen: 140, none of them in starts.py, measured in the same way.

60 are drawn as those of starts.py are, from other seeds. 80 are more varied and harder: 2 to 5 modes, 2 to 4
coefficients, 1 to 5 channels, 120 to 400 units, modes of 3 %, histories that are hardly longer than the basis. The file
of results has every fleet.
"""

from __future__ import annotations

import harness

from collections.abc import Iterator  # isort: skip

import numpy as np
from fleets import compressed, draw_fleet
from starts import measure, recipe_of, summary_of

from cem.statistics import SufficientStatistics


def data_sets(quick: bool) -> Iterator[tuple[str, SufficientStatistics, int]]:
    """Name, statistics, K."""
    for i in range(2 if quick else 80):
        n_modes = 2 + i % 4
        fleet = draw_fleet(
            n_units=(200, 200, 120, 400)[i // 5 % 4],
            readings=((4, 20), (10, 30), (3, 8))[i % 3],
            n_modes=n_modes,
            p=2 + i // 4 % 3,
            n_channels=1 + i // 2 % 5,
            separation=(0.4, 0.6, 0.9, 1.3)[i // 3 % 4],
            weights=np.array([0.03, *[0.97 / (n_modes - 1)] * (n_modes - 1)]) if i % 3 == 0 else None,
            seed=300 + i,
        )
        yield f"varied fleet {i + 1}", compressed(fleet), n_modes
    for i in range(0 if quick else 60):
        recipe = recipe_of(i)
        yield f"fleet {i + 1}", compressed(draw_fleet(**recipe, seed=400 + i)), recipe["n_modes"]


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    fleets = measure(data_sets(options.quick))
    rows = []
    for name in ("varied fleet", "fleet"):
        of_name = [fleet for fleet in fleets if str(fleet["data"]).rsplit(" ", 1)[0] == name]
        if of_name:
            rows.append({"drawn": "varied" if name != "fleet" else "as in starts.py", **summary_of(of_name)})
    harness.write_results(__file__, options, rows, load_before=before, summary=summary_of(fleets), fleets=fleets)
    print(summary_of(fleets))


if __name__ == "__main__":
    main()
