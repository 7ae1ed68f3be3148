"""Write the golden file of format version 5, with numbers to compare by in golden-process.json.

As make_golden.py: run it with the release whose file it is to be. A file that is there is never written anew:

    PYTHONPATH=src python tests/data/make_golden_process.py FOLDER
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wandering_fleets import four_channels, model_of

FILES = ("golden-5-process.cem", "golden-process.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        sys.exit(f"{folder} holds {', '.join(there)} already; golden files are not written anew")
    panel = four_channels()
    model = model_of(panel)
    model.save(folder / FILES[0])
    forecast = model.forecast(panel, [10.0, 60.0], "x2")
    numbers = {"score_samples": model.score_samples(panel).tolist(), "variance": forecast.variance.tolist()}
    (folder / FILES[1]).write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
