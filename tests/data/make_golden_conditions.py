"""Write the golden files of format version 3, with numbers to compare by in golden-conditions.json.

As make_golden.py: run it with the release whose files they are to be. A file that is there is never written anew:

    PYTHONPATH=src python tests/data/make_golden_conditions.py FOLDER
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conditioned_fleets import MODELS as KINDS
from conditioned_fleets import conditioned_fleet, conditioned_lives
from golden_conditions import FILES, LIVES, MODELS, RECORD, life_numbers, model_numbers, panel_of, saved_panel

import cem


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    options = parser.parse_args()
    there = [name for name in (*FILES, RECORD.name) if (options.folder / name).exists()]
    if there and not options.overwrite:
        sys.exit(f"{options.folder} holds {', '.join(there)} already; golden files are not written anew")
    saved = saved_panel(conditioned_fleet(3, 4, 5))
    record = {"writer": f"cem {cem.__version__}", "panel": saved, "numbers": {}}
    panel = panel_of(saved)
    for name, kind in MODELS.items():
        model = KINDS[kind]()
        model.save(options.folder / name)
        record["numbers"][name] = model_numbers(model, panel)
    prognosis = conditioned_lives()
    prognosis.save(options.folder / LIVES)
    record["numbers"][LIVES] = life_numbers(prognosis, panel)
    (options.folder / RECORD.name).write_text(json.dumps(record, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
