"""Write the golden files of gated and calibrated lives, and of units and fleets that wander.

As make_golden.py: run it with the release whose files they are to be. A file that is there is never written anew:

    PYTHONPATH=src python tests/data/make_golden_lives.py FOLDER
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import golden_lives as golden

import cem


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    there = [name for name in (*golden.FILES, golden.RECORD.name) if (folder / name).exists()]
    if there:
        sys.exit(f"{folder} holds {', '.join(there)} already; golden files are not written anew")
    lives, crossing = golden.fitted()
    lives.save(folder / golden.FAILED)
    crossing.save(folder / golden.THRESHOLD)
    unit, fleet = golden.made_unit(), golden.made_fleet()
    (folder / golden.UNIT).write_bytes(unit.to_bytes())
    fleet.save(folder / golden.SNAPSHOT)
    engines, wanderers = (golden.readings(panel) for panel in golden.running())
    record = {
        "writer": f"cem {cem.__version__}",
        "engines": engines,
        "wanderers": wanderers,
        "failed": golden.failed_numbers(engines, folder),
        "threshold": golden.threshold_numbers(wanderers, folder),
        "unit": golden.unit_numbers(unit),
        "fleet": golden.fleet_numbers(fleet),
    }
    (folder / golden.RECORD.name).write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
