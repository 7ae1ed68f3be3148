"""Inputs by number: input i of a target depends only on the seed, the target and i."""

import importlib
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

SHARES = {"model_files": 6, "unit_bytes": 2, "fleet_files": 1, "remaining_life": 2, "tables": 3}
"""Parts of all inputs that go to each target, where no targets are named."""


def targets():
    """Names of the targets that are there, in the order of `SHARES`."""
    return [name for name in SHARES if (HERE / f"{name}.py").exists()]


def target(name):
    """The module of a target: NAME, seeds(folder), generate(rng, seeds), execute(item, folder)."""
    module = importlib.import_module(name)
    if name != module.NAME:
        raise ValueError(f"the target in {name}.py calls itself {module.NAME!r}")
    return module


def shares(names, n_inputs):
    """How many inputs each target gets; at least one."""
    total = sum(SHARES[name] for name in names)
    return {name: max(1, round(n_inputs * SHARES[name] / total)) for name in names}


def item(module, seed, i, seeds):
    return module.generate(random.Random(f"{seed}:{module.NAME}:{i}"), seeds)


def run_quickly(name, n_inputs, folder, seed=0):
    """Outcomes of a target's first inputs, in this process; a failure is raised with the input's number."""
    module = target(name)
    importlib.import_module("checks").MEASURED = False
    (folder / name).mkdir(parents=True, exist_ok=True)
    seeds, outcomes = module.seeds(folder / name), {}
    for i in range(n_inputs):
        try:
            outcome = module.execute(item(module, seed, i, seeds), folder / name)
        except Exception as error:
            raise AssertionError(f"python tests/fuzz/run.py --seed {seed} --only {name}:{i}") from error
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes
