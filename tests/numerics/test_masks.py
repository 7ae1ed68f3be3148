"""Masked arrays: a masked cell is missing, and -999 or 99 stored beneath the mask never reaches a result."""

import numpy as np
import pytest

import cem
from cem import Panel, PanelError
from cem.numerics.masks import unmasked

HOLE = np.zeros((6, 5, 2), dtype=bool)
HOLE[::2, 1, 0] = HOLE[1::3, 3, 1] = HOLE[4, 2] = True
PLAIN = np.arange(60.0).reshape(6, 5, 2)
MASKED = np.ma.array(np.where(HOLE, -999.0, PLAIN), mask=HOLE)
EXPECTED = np.where(HOLE, np.nan, PLAIN)
TIMES = np.arange(5.0)


def readings(panel):
    return panel.offsets.tolist(), panel.times.tolist(), panel.values


@pytest.mark.parametrize(
    "make",
    [
        lambda x: Panel.from_arrays(TIMES, x),
        lambda x: Panel.from_arrays(None, x),
        lambda x: Panel.from_arrays(TIMES, list(x)),
        lambda x: Panel.from_arrays(None, list(x)),
        lambda x: Panel.from_arrays([TIMES] * 6, list(x)),
        lambda x: Panel.from_arrays([TIMES] * 6, [list(unit) for unit in x]),
        lambda x: Panel(range(6), np.arange(7) * 5, np.tile(TIMES, 6), x.reshape(-1, 2), ["a", "b"]),
        lambda x: Panel(range(6), np.arange(7) * 5, np.tile(TIMES, 6), list(x.reshape(-1, 2)), ["a", "b"]),
    ],
)
def test_masked_values_are_missing_by_every_way_in(make):
    found, expected = readings(make(MASKED)), readings(make(EXPECTED))
    assert found[:2] == expected[:2]
    np.testing.assert_array_equal(found[2], expected[2])


def test_masked_failure_times_modes_and_times():
    running = [False, True, False, True, True, False]
    failed = np.ma.array(np.full(6, 20.0), mask=running)
    failed.data[running] = 99.0
    panel = Panel.from_arrays(TIMES, PLAIN, failure_times=failed, modes=np.ma.array([0, 1] * 3, mask=running))
    assert np.isnan(panel.failure_times).tolist() == running
    assert panel.modes == (0, None, 0, None, None, 1)
    text = np.ma.array(["a", "b"] * 3, mask=running)
    assert panel.with_modes(text).modes == ("a", None, "a", None, None, "b")
    days = np.ma.array(np.arange(5), mask=[0, 0, 1, 0, 0]).astype("M8[D]")
    with pytest.raises(PanelError, match=r"time of unit 0 at row 2 is missing"):
        Panel.from_arrays(days, PLAIN)
    with pytest.raises(PanelError, match=r"no id"):
        Panel.from_arrays(TIMES, PLAIN, np.ma.array(np.arange(6), mask=running))


def test_masks_in_the_middle_of_lists_are_found_and_other_data_are_not_copied():
    assert np.isnan(unmasked([1.0, np.ma.masked])[1])
    nested = unmasked([[np.ma.array([1, 2], mask=[0, 1])]])
    assert np.isnan(nested[0][0][1])
    plain = [[1.0], [2.0]]
    assert unmasked(plain) is plain


def test_a_masked_reading_of_a_running_unit_is_missing(model):
    masked, plain, one = (model.scorer().unit() for _ in range(3))
    x = np.ma.array([1.0, -999.0], mask=[False, True])
    masked.update(3.0, x)
    plain.update(3.0, np.array([1.0, np.nan]))
    one.update_many([3.0], np.ma.array([[1.0, -999.0]], mask=[[False, True]]))
    np.testing.assert_array_equal(masked._get_state(), plain._get_state())
    np.testing.assert_array_equal(one._get_state(), plain._get_state())
    assert masked.n_observations == 1


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    slopes = np.repeat([0.0, 1.0], 10)[:, None, None]
    values = slopes * np.arange(8.0)[:, None] * [1, 2] + rng.normal(0, 0.3, (20, 8, 2)) + rng.normal(0, 0.3, (20, 1, 2))
    values += rng.normal(0, 0.05, (20, 1, 2)) * np.arange(8.0)[:, None]
    return cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=1, random_state=0).fit(values).model_
