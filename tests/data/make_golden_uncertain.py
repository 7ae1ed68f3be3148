"""Write the golden files of format version 4, with numbers to compare by in golden-uncertain.json.

As make_golden.py: run it with the release whose files they are to be. A file that is there is never written anew:

    PYTHONPATH=src python tests/data/make_golden_uncertain.py FOLDER
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conditioned_fleets import conditioned_fleet, fitted
from golden_uncertain import FILES, LIVES, MODELS, RECORD, life_numbers, model_numbers, panel_of, saved_panel
from uncertain_cases import uncertain

import cem
from cem.covariates import Linear, Regimes

OPTIONS = {
    "golden-4.cem": {},
    "golden-4-linked.cem": {"linking_rank": 1, "covariance": "full"},
    "golden-4-conditions.cem": {
        "covariates": {"b": [Linear("speed", by_mode=True), "stage"]},
        "regimes": Regimes("load", n=3),
        "membership": ["site"],
    },
    "golden-4-life.cem": {"time_axis": "to_failure"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    options = parser.parse_args()
    there = [name for name in (*FILES, RECORD.name) if (options.folder / name).exists()]
    if there and not options.overwrite:
        sys.exit(f"{options.folder} holds {', '.join(there)} already; golden files are not written anew")
    saved = {name: saved_panel(conditioned_fleet(3, 4, 5)) for name in FILES}
    record = {"writer": f"cem {cem.__version__}", "panels": saved, "numbers": {}}
    for name in FILES:
        fleet = conditioned_fleet(3, n_units=20, n_readings=8, failing=name == LIVES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = {"covariance": "pooled", **OPTIONS[name], "max_iter": 30}
            model = uncertain(fitted(fleet, basis=cem.Polynomial(1), **given).model_)
        panel = panel_of(saved[name])
        if name in MODELS:
            model.save(options.folder / name)
            record["numbers"][name] = model_numbers(model, panel)
        else:
            prognosis = cem.RemainingLife(model)
            prognosis.save(options.folder / name)
            record["numbers"][name] = life_numbers(prognosis, panel)
    (options.folder / RECORD.name).write_text(json.dumps(record, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
