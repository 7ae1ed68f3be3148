"""Files, units and snapshots of 0.9.0, which users have on their disks, answer as the release that wrote them."""

import golden_lives as golden
import numpy as np
import pytest


@pytest.fixture(scope="module")
def record():
    return golden.record()


def compare(found, expected):
    """Text as it was; numbers within what another instruction level or library changes."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name in ("flags", "left_out"):
            assert found[name] == value
        elif name == "forecast":
            np.testing.assert_allclose(np.array(found[name]), np.array(value), rtol=1e-7)
        else:
            np.testing.assert_allclose(found[name], value, rtol=1e-7, err_msg=name)


def test_gated_and_calibrated_lives_answer_as_they_did(record):
    """The gate's record, the correction by predicted life and the table of bases are read as they were meant."""
    compare(golden.failed_numbers(record["engines"]), record["failed"])
    assert np.any(record["failed"]["left_out"]) and record["failed"]["medians"]


def test_calibrated_lives_to_a_threshold_answer_as_they_did(record):
    compare(golden.threshold_numbers(record["wanderers"]), record["threshold"])


def test_units_and_fleets_that_wander_go_on_from_their_bytes(record):
    """A process restarts with what it saved under the last version."""
    unit, fleet = golden.restored()
    compare(golden.unit_numbers(unit), record["unit"])
    for found, expected in zip(golden.fleet_numbers(fleet), record["fleet"], strict=True):
        compare(found, expected)
    unit.update(200.0, [1.0] * 4)
    assert unit.n_observations == record["unit"]["observations"] + 4
