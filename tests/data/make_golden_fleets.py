"""Write the golden snapshots of fleets, with numbers to compare by in golden-fleets.json.

As make_golden.py: run it with the release whose files they are to be. A file that is there is never written anew:

    PYTHONPATH=src python tests/data/make_golden_fleets.py FOLDER
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden_fleets import RECORD, SNAPSHOTS, made, numbers

import cem


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    there = [name for name in (*SNAPSHOTS, RECORD.name) if (folder / name).exists()]
    if there:
        sys.exit(f"{folder} holds {', '.join(there)} already; golden files are not written anew")
    record = {"writer": f"cem {cem.__version__}", "numbers": {}}
    for name in SNAPSHOTS:
        fleet = made(name)
        fleet.save(folder / name)
        record["numbers"][name] = numbers(fleet)
    (folder / RECORD.name).write_text(json.dumps(record, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
