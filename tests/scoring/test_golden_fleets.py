"""Snapshots of fleets load for ever, and know what they knew when they were written.

They are never written anew (tests/data/make_golden_fleets.py); a failure here loses the state of users' machines.
"""

import numpy as np
import pytest
from golden_fleets import SNAPSHOTS, loaded, numbers, record

RECORD = record()


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_snapshot_of_an_old_release_is_the_fleet_that_it_was(name):
    found, expected = numbers(loaded(name)), RECORD["numbers"][name]
    assert set(found) == set(expected)
    for key in ("ids", "evicted", "observations", "alarms", "options"):
        assert found[key] == expected[key], key
    for key in ("probabilities", "novelty"):
        np.testing.assert_allclose(
            np.array(found[key], dtype=float), np.array(expected[key], dtype=float), rtol=1e-8, atol=1e-12, err_msg=key
        )


def test_what_a_snapshot_can_hold_is_in_one_of_the_files():
    text, linked = (RECORD["numbers"][name] for name in SNAPSHOTS)
    assert text["alarms"] and text["evicted"] and any(n == 0 for n in text["observations"])
    assert any(not id.isascii() for id in text["ids"]) and min(linked["ids"]) < 0 < max(linked["ids"])
