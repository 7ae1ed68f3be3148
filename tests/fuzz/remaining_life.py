"""Fuzz target: files of `RemainingLife.save`, whose record of the fit, laws and calibration are damaged."""

import copy
from pathlib import Path

from checks import finite, remaining_life, require
from oddities import Marks, change_tree, near, odd
from sealing import Parts, sealed, taken_apart
from seed_files import life_files

from cem.errors import CemError, ModelFileError, OptionError
from cem.prognosis.remaining_life import RemainingLife

NAME = "remaining_life"

__all__ = ["NAME", "execute", "generate", "seeds"]


def seeds(folder):
    return [taken_apart(content) for content in life_files()]


def generate(rng, seeds):
    """(entry that is damaged, bytes)."""
    parts = rng.choice(seeds)
    parts = Parts(parts.version, copy.deepcopy(parts.header), parts.arrays)
    marks, training = Marks(parts.raw), parts.header["model"]["training"]
    other = rng.choice(seeds).header["model"]["training"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not training:
            break
        held = [name for name in ("lifetimes", "calibration", "information") if name in training]
        entry = rng.choice(held) if held and rng.random() < 0.75 else rng.choice(list(training))
        chance = rng.random()
        if chance < 0.08:
            training[entry] = odd(rng, marks)
        elif chance < 0.16:
            training[entry] = near(rng, marks, training[entry])
        elif chance < 0.2:
            del training[entry]
        elif chance < 0.28 and entry in other:
            training[entry] = copy.deepcopy(other[entry])
        elif isinstance(training[entry], (dict, list)):
            change_tree(rng, marks, training[entry])
        else:
            training[entry] = near(rng, marks, training[entry])
    return entry, sealed(parts)


def execute(item, folder):
    """Refused with a typed error, or valid laws, which are the same when saved again."""
    entry, content = item
    path = Path(folder) / "fuzzed.cem"
    path.write_bytes(content)
    try:
        prognosis = RemainingLife.load(path)
    except (ModelFileError, OptionError) as error:
        return f"refused: {entry}, {type(error).__name__}"
    str(prognosis.model.summary()).encode()
    if prognosis.calibration is not None:
        str(prognosis.calibration).encode()
    finite("information", prognosis.information)
    again = Path(folder) / "again.cem"
    prognosis.save(again)
    found = RemainingLife.load(again)
    require(found.lifetimes == prognosis.lifetimes, "laws changed on saving")
    require(found.calibration == prognosis.calibration, "the calibration changed on saving")
    require(found.information.tobytes() == prognosis.information.tobytes(), "information changed on saving")
    try:
        remaining_life(prognosis.replaced(n_points=40))
    except CemError as error:
        return f"loaded: {entry}, then {type(error).__name__}"
    return f"loaded: {entry}"
