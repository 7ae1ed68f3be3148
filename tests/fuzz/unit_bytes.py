"""Fuzz target: bytes of saved units, damaged and put together again so that the checksum agrees."""

from pathlib import Path

import numpy as np
from checks import finite, require
from oddities import INTEGERS, SPECIAL
from sealing import sealed_unit, unit_numbers
from seed_files import load, model_files, one_channel

from cem.errors import ScorerError
from cem.scoring.scorer import Scorer

NAME = "unit_bytes"

__all__ = ["NAME", "execute", "generate", "seeds"]

_SCORERS = {}


def _scorers(folder):
    """Scorers of a plain, a small, a linked model and one with many bases; and one that forgets."""
    if not _SCORERS:
        folder = Path(folder)
        model_files(folder)  # writes plain.cem
        data = Path(__file__).resolve().parent.parent / "data"
        plain = load(folder / "plain.cem")
        _SCORERS.update(
            plain=plain.scorer(), forgetting=Scorer(plain, forgetting=0.7), one=one_channel().scorer(),
            linked=load(data / "golden-2-linked.cem").scorer(), bases=load(data / "golden-1-labels.cem").scorer(),
        )  # fmt: skip
    return _SCORERS


def seeds(folder):
    """(name of the scorer, bytes of a unit with no, one and a few readings)."""
    found = []
    for name, scorer in _scorers(folder).items():
        unit = scorer.unit()
        found.append((name, unit.to_bytes()))
        for t in (0.5, 2.0, 7.5, 3.0):
            values = np.full(scorer.n_channels, 0.1 * t)
            values[0] = np.nan if t == 2.0 and scorer.n_channels > 1 else 1.0
            unit.update(t, values)
            found.append((name, unit.to_bytes()))
    return found


def generate(rng, seeds):
    """(name of the scorer, family of the change, bytes or another object)."""
    name, content = rng.choice(seeds)
    chance = rng.random()
    if chance < 0.1:
        data = bytearray(content)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return name, "bytes", bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
    if chance < 0.14:
        return (
            name,
            "type",
            rng.choice((None, "text", 3, [1], b"", bytearray(content), memoryview(content), content * 2)),
        )
    if chance < 0.2:
        return name, "another unit's", rng.choice(seeds)[1]
    numbers, fingerprint = unit_numbers(content)
    if chance < 0.3:
        numbers = rng.choice((numbers[:-1], np.append(numbers, 0.0), numbers[:0], np.tile(numbers, 3)))
        count = rng.choice((None, 0, len(numbers) + 1, 2**32 - 1))
        return name, "length", sealed_unit(numbers, fingerprint, count=count, version=rng.choice((1, 1, 0, 2, 7)))
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.choice((0, 1, rng.randrange(len(numbers)), rng.randrange(len(numbers))))
        change = rng.randrange(7)
        if change < 3:
            numbers[at] = rng.choice(SPECIAL)
        elif change == 3:
            numbers[at] = rng.choice(INTEGERS)
        elif change == 4:
            numbers[at] *= rng.choice((-1.0, 0.0, 1e10, 1e-10, 1e80, 1e-80, 1 + 1e-9))
        elif change == 5:
            numbers[8:] = numbers[8:][np.array(rng.sample(range(len(numbers) - 8), len(numbers) - 8))]
        else:
            numbers[8:] *= rng.choice((-1.0, 0.0, 1e20, 1e-20, 1e60, 1e150))
    return name, "numbers", sealed_unit(numbers, fingerprint)


def execute(item, folder):
    """Refused with a ScorerError, or a unit whose answers are finite, before and after more readings."""
    name, family, data = item
    scorer = _scorers(folder)[name]
    kind = type(scorer.unit())
    try:
        unit = kind.from_bytes(scorer, data)
    except ScorerError:
        return f"refused: {family}"
    require(unit.to_bytes() == bytes(data), "the unit that was read saves other bytes")
    try:
        answers(unit)
        last = unit.last_time
        require(np.isfinite(last) or unit.n_observations == 0, f"the last time is {last}")
        for t in (1.0, 8.0):
            unit.update(t, np.full(scorer.n_channels, 0.2))
            answers(unit)
        repr(unit.copy())
    except ScorerError as error:
        return f"loaded: {family}, then {type(error).__name__}"
    return f"loaded: {family}"


def answers(unit):
    shares = unit.mode_probabilities()
    finite("probabilities", shares)
    require(abs(shares.sum() - 1) <= 1e-9 and (shares >= 0).all(), f"probabilities are {shares}")
    finite("log-likelihood", unit.log_likelihood())
    novelty = unit.novelty()
    require(0 <= novelty <= 1, f"novelty is {novelty}")
    require(unit.n_observations >= 0, f"{unit.n_observations} observations")
    forecast = unit.forecast([2.0], 0)
    finite("forecast", forecast.mean, forecast.variance)
    require((forecast.variance >= 0).all(), "a forecast's variance is negative")
