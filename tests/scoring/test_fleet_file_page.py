"""A reader written only from docs/file-format.md finds in a snapshot what the fleet has."""

import hashlib
import io
import json
import struct

import numpy as np
import pytest
from model_cases import example_model

from cem.scoring.fleet import NoveltyAlarm


@pytest.mark.parametrize("ids", [("a", "b é", ""), (3, -1, 2**40)])
def test_snapshot_is_laid_out_as_the_page_says(ids):
    scorer = example_model().scorer()
    fleet = scorer.fleet(alarms=[NoveltyAlarm(1.0)])
    for t, id in enumerate(ids[:2]):
        fleet.update(id, float(t), [9062.0, 0.3, 1.0])
    fleet.begin(ids[2])
    fleet.evict([ids[2]])
    file = io.BytesIO()
    fleet.save(file)
    content = file.getvalue()
    assert content[:8] == bytes.fromhex("89 43 46 4C 0D 0A 1A 0A")
    version, length = struct.unpack_from("<IQ", content, 8)
    assert version == 1
    assert (20 + length) % 8 == 0
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    header = json.loads(content[20 : 20 + length])
    assert header["fingerprint"] == scorer.fingerprint().hex()
    n_units, n = header["units"], header["numbers"]
    at = 20 + length
    states = np.frombuffer(content, "<f8", n_units * n, at).reshape(n_units, n)
    at += states.nbytes
    notes = np.frombuffer(content, "<i8", n_units * (1 + len(header["alarms"])), at).reshape(n_units, -1)
    at += notes.nbytes
    assert (notes[:, 0] == -(2**63)).all()
    counts = notes[:, 1:]
    for row, id in zip(states, ids, strict=False):
        assert row.tobytes() == fleet.unit(id).to_bytes()[32:-16]
    assert [alarm.readings for alarm in fleet.alarms()] == counts[counts > 0].tolist()
    for n_ids, expected in ((n_units, ids[:2]), (header["evicted"], ids[2:])):
        numbers = np.frombuffer(content, "<i8", n_ids, at).tolist()
        at += 8 * n_ids
        if header["ids"] == "integers":
            assert numbers == list(expected)
            continue
        assert [content[at + a : at + b].decode() for a, b in zip([0, *numbers], numbers, strict=False)] == list(
            expected
        )
        at += -(-numbers[-1] // 8) * 8
    assert at == len(content) - 32
