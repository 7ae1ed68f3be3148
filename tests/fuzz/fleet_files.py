"""Fuzz target: snapshots of fleets, damaged and put together again so that the checksum agrees."""

import hashlib
import io
import json
import struct

import numpy as np
from checks import finite, require
from oddities import INTEGERS, SPECIAL
from seed_files import one_channel

from cem.errors import ScorerError, SnapshotError
from cem.scoring.fleet import Fleet, ModeAlarm, NoveltyAlarm
from cem.scoring.scorer import Scorer

NAME = "fleet_files"

__all__ = ["NAME", "execute", "generate", "seeds"]

_PREFIX = struct.Struct("<8sIQ")
_SCORERS = {}


def _scorers():
    if not _SCORERS:
        model = one_channel()
        _SCORERS.update(plain=Scorer(model), forgetting=Scorer(model, forgetting=0.7))
    return _SCORERS


def _saved(fleet):
    file = io.BytesIO()
    fleet.save(file)
    return file.getvalue()


def seeds(folder):
    """(name of the scorer, a snapshot): an empty fleet, ids of text and of numbers, with rules and without."""
    found = []
    for name, scorer in _scorers().items():
        rules = [NoveltyAlarm(0.9), ModeAlarm(scorer.mode_labels[0], 0.1, 2)]
        for ids, alarms in (((), ()), (("a", "b c", ""), rules), ((3, -7, 2**40), ())):
            fleet = scorer.fleet(alarms=alarms)
            for i, id in enumerate(ids):
                for t in range(i):
                    fleet.update(id, float(t), np.full(scorer.n_channels, 0.1 * t))
                if not i:
                    fleet.begin(id)
            if ids:
                fleet.begin("gone" if isinstance(ids[0], str) else 99)
                fleet.evict([fleet.ids[-1]])
            found.append((name, _saved(fleet)))
    return found


def _sealed(version, header, data):
    text = (header if isinstance(header, str) else json.dumps(header)).encode("ascii", "backslashreplace")
    text += b" " * (-(len(text) + _PREFIX.size) % 8)
    body = _PREFIX.pack(b"\x89CFL\r\n\x1a\n", version, len(text)) + text + bytes(data)
    return body + hashlib.sha256(body).digest()


def generate(rng, seeds):
    """(name of the scorer, family of the change, bytes)."""
    name, content = rng.choice(seeds)
    _, version, length = _PREFIX.unpack_from(content)
    header = json.loads(content[_PREFIX.size : _PREFIX.size + length])
    data = bytearray(content[_PREFIX.size + length : -32])
    chance = rng.random()
    if chance < 0.1:
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return name, "bytes", bytes(damaged[: rng.choice((len(damaged), rng.randrange(len(damaged))))])
    if chance < 0.15:
        return name, "another fleet's", rng.choice(seeds)[1]
    if chance < 0.2:
        return name, "version", _sealed(rng.choice((0, 2, 2**31)), header, data)
    if chance < 0.5:
        odd = (None, "x", "text", [], {}, -1, 0, 1, 2**70, 0.5, True, [1], {"below": "x", "readings": 1}, float("nan"))
        key = rng.choice(sorted(header))
        if key == "options" and rng.random() < 0.7:
            header[key][rng.choice(sorted(header[key]))] = rng.choice(odd)
        elif rng.random() < 0.2:
            del header[key]
        else:
            header[key] = rng.choice((*odd, [rng.choice(odd)]))
        return name, "header", _sealed(version, header, data)
    if chance < 0.6:
        data = rng.choice((data[:-8], data + b"\0" * 8, data * 2, data[: rng.randrange(len(data) + 1)]))
        return name, "length", _sealed(version, header, data)
    for _ in range(rng.choice((1, 1, 3))):
        if len(data) >= 8:
            at = 8 * rng.randrange(len(data) // 8)
            change = rng.randrange(3)
            if change == 0:
                data[at : at + 8] = np.float64(rng.choice(SPECIAL)).tobytes()
            elif change == 1:
                data[at : at + 8] = (int(rng.choice(INTEGERS)) & (2**64 - 1)).to_bytes(8, "little")
            else:
                data[at + rng.randrange(8)] ^= 1 << rng.randrange(8)
    return name, "numbers", _sealed(version, header, data)


def execute(item, folder):
    """Refused with a SnapshotError, or a fleet whose answers are finite, and which saves what it read."""
    name, family, content = item
    scorer = _scorers()[name]
    try:
        fleet = Fleet.load(content, scorer)
    except SnapshotError:
        return f"refused: {family}"
    again = Fleet.load(_saved(fleet), scorer)
    require(again.ids == fleet.ids and again.evicted_ids == fleet.evicted_ids, "a fleet saves other ids")
    fleet.alarms()
    try:
        finite("probabilities", fleet.probabilities().mode_probabilities)
        for id in fleet:
            finite("probabilities", fleet.update(id, 3.0, np.full(scorer.n_channels, 0.2)))
    except ScorerError as error:
        return f"loaded: {family}, then {type(error).__name__}"
    return f"loaded: {family}"
