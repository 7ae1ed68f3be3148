"""One reading of a running unit: names are heeded, number types do not matter, and float64 arrays stay as they were."""

import array
from collections import namedtuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import cem
from cem import ScorerError


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    slopes = np.repeat([0.0, 1.0], 10)[:, None, None]
    shape = (20, 1, 2)
    values = slopes * np.arange(8.0)[:, None] * [1, -2] + rng.normal(0, 0.3, (20, 8, 2)) + rng.normal(0, 0.3, shape)
    values += rng.normal(0, 0.05, shape) * np.arange(8.0)[:, None]
    with_constant = np.concatenate([values, np.full((20, 8, 1), 7.0)], axis=2)
    panel = cem.Panel.from_arrays(None, with_constant, channels=["vib", "temp", "fixed"])
    with pytest.warns(cem.errors.CemWarning):
        return cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=1, random_state=0).fit(panel).model_


def state(model, x):
    unit = model.scorer().unit()
    unit.update(2.0, x)
    return unit._get_state()


Row = namedtuple("Row", ["temp", "vib"])
FULL = np.array([5.0, -10.0])


@pytest.mark.parametrize(
    "x",
    [
        {"temp": -10, "vib": 5},
        {"temp": -10.0, "vib": 5.0, "fixed": 7.0},
        pd.Series({"temp": -10.0, "vib": 5.0}),
        pd.Series([5.0, -10.0]),
        pd.DataFrame({"temp": [-10.0], "vib": [5.0]}),
        pd.DataFrame({"temp": [-10.0], "vib": [5.0]}).iloc[0],
        next(pd.DataFrame({"temp": [-10.0], "vib": [5.0]}).itertuples(index=False)),
        pl.DataFrame({"temp": [-10.0], "vib": [5.0]}),
        pl.DataFrame({"temp": [-10.0], "vib": [5.0]}).row(0, named=True),
        pa.table({"temp": [-10.0], "vib": [5.0]}),
        pd.DataFrame({"temp": [-10.0], "vib": [5.0]}).to_records(index=False)[0],
        Row(-10.0, 5.0),
        np.array([5, -10]),
        np.array([5, -10], dtype=np.float32),
        np.array([5, -10], dtype=np.float16),
        np.array([5, -10], dtype=">f8"),
        np.array([5.0, -10.0], dtype=object),
        array.array("d", [5.0, -10.0]),
        array.array("i", [5, -10]),
        memoryview(FULL),
        np.array([5.0, 0.0, -10.0])[::2],
        pl.Series([5.0, -10.0]),
        [5, -10.0],
        (np.float32(5), np.int8(-10)),
        iter([5.0, -10.0]),
        np.ma.array([5.0, -10.0]),
        np.asmatrix([5.0, -10.0]).A1,
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_reading_is_read_as_meant(model, x):
    np.testing.assert_array_equal(state(model, x), state(model, FULL))


def test_no_text_is_made_of_a_reading_that_is_right(model):
    """The words of an error that there is not took twenty times as long as the reading."""

    class Wordless(np.ndarray):
        def __repr__(self):
            raise AssertionError("a message was made")

    np.testing.assert_array_equal(state(model, np.array([5, -10]).view(Wordless)), state(model, FULL))


@pytest.mark.parametrize(
    "x",
    [
        {"vib": 5.0}, {"vib": 5.0, "temp": None}, {"vib": 5.0, "temp": pd.NA}, pd.Series({"vib": 5.0}), [5.0, None],
        [5.0, np.ma.masked], {"vib": 5.0, "temp": np.ma.masked}, np.ma.array([5.0, -999.0], mask=[0, 1]),
        np.ma.array([5, -999], mask=[0, 1]), pd.array([5.0, None], dtype="Float64"),
    ],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_what_is_not_named_masked_or_none_is_missing(model, x):
    np.testing.assert_array_equal(state(model, x), state(model, np.array([5.0, np.nan])))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"Vib": 5.0}, "names 'Vib', which is not a channel of the model; did you mean 'vib'"),
        (pd.Series({"vib": 5.0, "unit": 3.0}), "names 'unit'"),
        ({"vib": "high"}, "value of channel 'vib' is 'high'"),
        ({"vib": "5.0"}, "value of channel 'vib' is '5.0'"),
        (pd.DataFrame({"vib": [1.0, 2.0], "temp": [1.0, 2.0]}), "one row .* update_many"),
        (pd.DataFrame({"vib": [1.0, 2.0]}).to_records(index=False), "2 rows"),
        (np.array([1, 2, 3]), r"shape \(3,\); \(2,\), one per channel \('vib', 'temp'\)"),
        (np.array([[1, 2]]), r"shape \(1, 2\)"),
        (np.array(["1", "2"]), "sequence of 2 numbers"),
        ({1.0, 2.0}, "sequence of 2 numbers"),
        ("ab", "sequence of 2 numbers"),
        (np.float64(3.0), r"shape \(\)"),
    ],
)
def test_what_is_no_reading_is_refused_and_changes_nothing(model, x, message):
    unit = model.scorer().unit()
    unit.update(1.0, FULL)
    before = unit._get_state()
    with pytest.raises(ScorerError, match=message):
        unit.update(2.0, x)
    np.testing.assert_array_equal(unit._get_state(), before)


def test_many_readings_by_name_and_of_any_number_type(model):
    frame = pd.DataFrame({"temp": [1, 2, 3], "vib": [4.0, np.nan, 6.0]})
    units = [model.scorer().unit() for _ in range(6)]
    expected = frame[["vib", "temp"]].to_numpy()
    units[0].update_many([0.0, 1.0, 2.0], expected)
    units[1].update_many([0, 1, 2], frame)
    units[2].update_many(np.arange(3), pl.from_pandas(frame))
    units[3].update_many(np.arange(3, dtype=np.float32), expected.astype(np.float32))
    units[4].update_many(pd.Series([0, 1, 2]), pa.Table.from_pandas(frame, preserve_index=False))
    units[5].update_many([0, 1, 2], frame.assign(fixed=7.0))
    for unit in units[1:]:
        np.testing.assert_array_equal(unit._get_state(), units[0]._get_state())
    with pytest.raises(ScorerError, match=r"a column 'heat', which is not a channel"):
        units[1].update_many([0, 1, 2], frame.rename(columns={"temp": "heat"}))


def test_a_linked_unit_reads_by_name_too(model):
    rng = np.random.default_rng(3)
    level = rng.normal(size=(30, 1, 1))
    values = rng.normal(0, 0.2, (30, 8, 2)) + level + rng.normal(0, 0.1, (30, 1, 2))
    panel = cem.Panel.from_arrays(None, values, channels=["vib", "temp"])
    em = cem.FailureModeEM(1, basis=cem.Polynomial(0), linking_rank=1, n_init=1, random_state=0)
    linked = em.fit(panel).model_
    np.testing.assert_array_equal(state(linked, pd.Series({"temp": -1.0, "vib": 0.5})), state(linked, [0.5, -1.0]))
