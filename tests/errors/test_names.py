"""Names and labels: which ones are distinct, and the cost of finding out."""

import datetime
import itertools
from decimal import Decimal

import numpy as np
import pytest

from cem.errors.names import _spread, all_distinct, listed

NAN = float("nan")


@pytest.mark.parametrize(
    ("labels", "distinct"),
    [
        (["a", "b"], True),
        (["a", "a"], False),
        ([1, 1.0], False),
        ([1, True], False),
        ([0.5, 0.5], False),
        ([0.0, -0.0], False),
        ([2**70, 2.0**70], False),
        ([2**70, 2**70 + 1], True),
        ([float("inf"), float("-inf")], True),
        ([float("inf"), float("inf")], False),
        ([NAN, float("nan")], True),
        ([NAN, NAN], False),
        ([None, "None", 0, "0", (), "tuple "], True),
        ([None, None], False),
        ([("a", 1), ("a", True)], False),
        ([("a", "b"), ("a b",), ("a", "b", ""), (("a",), "b"), ("a", ("b",))], True),
        ([("1", 1), (1, "1"), ("1",), (1,)], True),
        ([-1, -2, (-1,), (-2,)], True),
        ([f"{2**70:x}", 2**70], True),
        ([datetime.date(2026, 1, 1), "a", 2**70], True),
        ([Decimal(1), 1], False),
        ([np.int64(3), 3], False),
        ([np.float64(0.5), 0.5], False),
    ],
)
def test_labels_are_told_apart_as_a_set_does(labels, distinct):
    """Two modes of one label, or a model refused although all of its labels differ."""
    assert all_distinct(labels) is distinct
    assert (len(set(labels)) == len(labels)) is distinct


@pytest.mark.parametrize(
    "labels",
    [
        [i * (2**61 - 1) for i in range(10, 1000)],
        list(itertools.product((-1, -2), repeat=10)),
        list(itertools.product([2.0 ** (61 * j) for j in range(10)], repeat=3)),
        [(i * (2**61 - 1), "a") for i in range(1000)],
    ],
)
def test_labels_that_share_a_hash_are_spread(labels):
    """A small model file whose labels share one hash takes minutes to load."""
    assert len({hash(label) for label in labels}) == 1
    assert len({hash(_spread(label)) for label in labels}) == len(labels)


def test_a_date_outside_the_years_of_datetime_is_named_in_messages():
    """pandas raises from the repr of such a Timestamp, in the midst of a message about the unit that it names."""
    pd = pytest.importorskip("pandas")
    late = pd.Timestamp(np.datetime64("12024-05-01T06:00", "s")).tz_localize("UTC")
    assert listed([late, 3]) == "Timestamp('12024-05-01T06:00:00'), 3"
