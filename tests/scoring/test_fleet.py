"""A fleet answers as its units would one by one, and refuses what does not fit without changing any of them."""

from __future__ import annotations

import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from condition_cases import conditioned_model, panel_for
from scorer_cases import draw, make_model

from cem.errors import OptionError, ScorerError
from cem.scoring.fleet import Fleet
from cem.scoring.scorer import Scorer

KINDS = ("polynomial", "spline", "line")


@pytest.fixture(scope="module", params=[None, 0.8], ids=["plain", "forgetting"])
def scorer(request):
    return Scorer(make_model(KINDS, n_modes=3), forgetting=request.param)


@pytest.fixture(scope="module")
def plain():
    return Scorer(make_model(KINDS, n_modes=3))


def batch_of(scorer, n=400, n_units=9, seed=0):
    """Ids, times and values of rows of some units, in no order."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 300, n)
    return [f"unit {i}" for i in rng.integers(0, n_units, n)], times, draw(scorer.model, times, seed)


def one_by_one(scorer, ids, times, values, units=None):
    """The units, each updated row by row."""
    units = {} if units is None else units
    for id, t, x in zip(ids, times, values, strict=True):
        units.setdefault(id, scorer.unit()).update(t, x)
    return units


def frame_of(scorer, ids, times, values):
    return pd.DataFrame({"unit": ids, "time": times, **dict(zip(scorer.channels, values.T, strict=True))})


def states_of(fleet):
    return {id: fleet.unit(id).to_bytes() for id in fleet}


def equal(found, units):
    assert found.ids == list(units)
    return np.array_equal(found.mode_probabilities, [unit.mode_probabilities() for unit in units.values()])


# -------------------------------------------------------------------------------------------------------- same answers


def test_batch_gives_the_bits_of_readings_one_by_one(scorer):
    rows = batch_of(scorer)
    fleet = scorer.fleet()
    units = one_by_one(scorer, *rows)
    assert equal(fleet.update_many(rows), units)
    assert states_of(fleet) == {id: unit.to_bytes() for id, unit in units.items()}
    more = batch_of(scorer, n=50, n_units=4, seed=1)
    touched = one_by_one(scorer, *more, units)
    found = fleet.update_many(more)
    assert equal(found, {id: touched[id] for id in dict.fromkeys(more[0])})
    assert equal(fleet.probabilities(), touched)


def test_fleet_updated_reading_by_reading_is_the_fleet_of_the_batch(scorer):
    ids, times, values = batch_of(scorer, n=60)
    one, many = scorer.fleet(), scorer.fleet()
    found = many.update_many((ids, times, values))
    for id, t, x in zip(ids, times, values, strict=True):
        last = one.update(id, t, x)
    assert states_of(one) == states_of(many)
    assert np.array_equal(last, found.mode_probabilities[found.ids.index(ids[-1])])


@pytest.mark.parametrize(
    "kind",
    [
        lambda frame: frame,
        pl.from_pandas,
        pa.Table.from_pandas,
        pa.RecordBatch.from_pandas,
        lambda frame: pa.concat_tables([pa.Table.from_pandas(frame[:70]), pa.Table.from_pandas(frame[70:])]),
        lambda frame: {name: frame[name].to_numpy() for name in frame},
        lambda frame: {name: frame[name].to_list() for name in frame},
        lambda frame: frame.astype({"unit": "category"}),
        lambda frame: pa.Table.from_pandas(frame.astype({"unit": "category"})),
        lambda frame: pa.RecordBatchReader.from_batches(
            pa.Table.from_pandas(frame).schema, pa.Table.from_pandas(frame).to_batches()
        ),
        lambda frame: frame.convert_dtypes(),
    ],
    ids=[
        "pandas",
        "polars",
        "table",
        "batch",
        "chunks",
        "dict",
        "lists",
        "category",
        "dictionary",
        "stream",
        "nullable",
    ],
)
def test_every_kind_of_frame_reads_the_same(plain, kind):
    rows = batch_of(plain)
    frame = frame_of(plain, *rows)
    fleet = plain.fleet()
    assert equal(fleet.update_many(kind(frame)), one_by_one(plain, *rows))


def test_columns_in_any_order_and_named_as_the_fleet_says(plain):
    rows = batch_of(plain, n=20)
    frame = frame_of(plain, *rows).rename(columns={"unit": "engine", "time": "cycle"})
    fleet = plain.fleet(unit="engine", time="cycle")
    assert equal(fleet.update_many(frame[frame.columns[::-1]]), one_by_one(plain, *rows))


def test_long_batch_of_columns_is_the_batch_of_rows(plain):
    """Columns enter by blocks; a unit goes on from one block to the next."""
    ids, times, values = batch_of(plain, n=140_000, n_units=300)
    by_rows, by_columns = plain.fleet(), plain.fleet()
    a, b = by_rows.update_many((ids, times, values)), by_columns.update_many(frame_of(plain, ids, times, values))
    assert a.ids == b.ids
    assert np.array_equal(a.mode_probabilities, b.mode_probabilities)
    assert states_of(by_rows) == states_of(by_columns)


def test_more_units_than_sixteen_bits_number_keep_their_own_rows(plain):
    n = 2**16 + 50
    ids = np.concatenate([np.arange(n), np.arange(n)[::-1]])
    times = np.arange(2.0 * n) % 300
    values = np.full((2 * n, 3), 9062.0) + (ids % 7)[:, None] * 0.1
    fleet = plain.fleet()
    found = fleet.update_many((ids, times, values))
    for id in (0, 50, 2**16 - 1, 2**16, n - 1):
        unit = plain.unit()
        for row in (id, 2 * n - 1 - id):
            unit.update(times[row], values[row])
        assert fleet.unit(id).to_bytes() == unit.to_bytes()
        assert np.array_equal(found.mode_probabilities[id], unit.mode_probabilities())


@pytest.mark.parametrize("n_threads", [2, 8])
def test_threads_do_not_change_the_bits(plain, n_threads):
    rows = batch_of(plain, n=3000, n_units=700)
    one, many = plain.fleet(), plain.fleet()
    a, b = one.update_many(rows), many.update_many(rows, n_threads=n_threads)
    assert np.array_equal(a.mode_probabilities, b.mode_probabilities)
    assert states_of(one) == states_of(many)


def test_custom_bases_enter_a_batch():
    scorer = Scorer(make_model(("custom", "line", "custom")))
    rows = batch_of(scorer, n=80)
    fleet, units = scorer.fleet(), one_by_one(scorer, *rows)
    found = fleet.update_many(frame_of(scorer, *rows))
    assert found.ids == list(units)
    expected = [unit.mode_probabilities() for unit in units.values()]
    np.testing.assert_allclose(found.mode_probabilities, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_covariates_of_readings_and_units_enter_as_they_do_one_by_one(seed):
    model = conditioned_model(seed)
    panel = panel_for(model, seed + 50)
    scorer, fleet = model.scorer(), model.scorer().fleet()
    units = {}
    for l, id in enumerate(panel.units):
        own = {name: panel.covariate(name)[l] for name in model.unit_covariates} or None
        units[id] = scorer.unit(own)
        fleet.begin(id, own)
    rows = np.random.default_rng(seed).permutation(len(panel.times))
    ids = np.repeat(panel.units, np.diff(panel.offsets))[rows].tolist()
    w = {name: np.asarray(panel.covariate(name))[rows] for name in model.covariates}
    for i, row in enumerate(rows):
        units[ids[i]].update(panel.times[row], panel.values[row], {name: w[name][i] for name in w} or None)
    found = fleet.update_many((ids, panel.times[rows], panel.values[rows]), covariates=w or None)
    for id, row in zip(found.ids, found.mode_probabilities, strict=True):
        assert np.array_equal(row, units[id].mode_probabilities())
        assert fleet.unit(id).to_bytes() == units[id].to_bytes()
    again = Fleet.load(_saved(fleet), model)
    assert states_of(again) == states_of(fleet)


def test_covariates_may_be_columns_of_the_frame():
    model = next(model for model in map(conditioned_model, range(20)) if model.covariates)
    panel = panel_for(model, 3)
    ids = np.repeat(panel.units, np.diff(panel.offsets))
    w = {name: np.asarray(panel.covariate(name)) for name in model.covariates}
    frame = {"unit": ids, "time": panel.times, **dict(zip(panel.channels, panel.values.T, strict=True))}
    one, two = model.scorer().fleet(), model.scorer().fleet()
    for l, id in enumerate(panel.units):
        own = {name: panel.covariate(name)[l] for name in model.unit_covariates} or None
        one.begin(id, own)
        two.begin(id, own)
    one.update_many({**frame, **w})
    two.update_many((ids, panel.times, panel.values), covariates=w)
    assert one.unit(panel.units[0]).n_observations > 0
    assert states_of(one) == states_of(two)
    refused(one, lambda: one.update_many(frame), f"no column '{next(iter(w))}'")


def _saved(fleet):
    import io

    file = io.BytesIO()
    fleet.save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "x",
    [
        [9062.0, 9061.5, np.nan],
        (9062, 9061.5, None),
        {"s0": 9062, "s1": 9061.5},
        pd.Series({"s1": 9061.5, "s0": 9062.0}),
        np.array([9062.0, 9061.5, np.nan], dtype=np.float32),
        np.ma.masked_array([9062.0, 9061.5, 1.0], mask=[0, 0, 1]),
    ],
)
def test_update_takes_every_form_that_a_unit_takes(plain, x):
    fleet, unit = plain.fleet(), plain.unit()
    unit.update(3, x)
    assert np.array_equal(fleet.update("a", 3, x), unit.mode_probabilities())
    assert fleet.unit("a").to_bytes() == unit.to_bytes()


def test_empty_batch_touches_nothing(plain):
    fleet = plain.fleet()
    for batch in (([], [], np.empty((0, 3))), frame_of(plain, [], np.empty(0), np.empty((0, 3)))):
        found = fleet.update_many(batch)
        assert (found.ids, found.mode_probabilities.shape, len(fleet)) == ([], (0, 3), 0)


# -------------------------------------------------------------------------------------------------- refused, unchanged


@pytest.fixture
def running(plain):
    fleet = plain.fleet()
    fleet.update_many(batch_of(plain, n=30, n_units=3))
    return fleet


def refused(fleet, call, match, error=ScorerError):
    """The call is refused, and every state is as before."""
    before, gone = states_of(fleet), fleet.evicted_ids
    with pytest.raises(error, match=match):
        call()
    assert (states_of(fleet), fleet.evicted_ids) == (before, gone)


def test_one_bad_row_in_the_midst_leaves_every_unit_as_it_was(running, plain):
    for bad, why in ((np.inf, "infinite"), (1e300, "too far")):
        ids, times, values = batch_of(plain, n=100, n_units=5, seed=2)
        values[57, 1] = bad
        refused(
            running, lambda r=(ids, times, values): running.update_many(r), rf"row 57, unit '{ids[57]}'.*'s1'.*{why}"
        )
        refused(
            running, lambda i=ids, t=times, v=values: running.update(i[57], t[57], v[57]), f"unit '{ids[57]}'.*{why}"
        )
    times[3] = np.nan
    refused(running, lambda: running.update_many((ids, times, values)), "row 3: the time")


def test_schema_drift_is_named(running, plain):
    frame = frame_of(plain, *batch_of(plain, n=10))
    for changed, match in (
        (frame.drop(columns="s1"), "no column 's1'"),
        (frame.drop(columns="unit"), "no column 'unit'"),
        (frame.rename(columns={"s1": "S1"}), r"no column 's1'.*did you mean 'S1'\?"),
        (frame.assign(pressure=1.0), "column 'pressure'"),
        (frame.assign(s1="high"), "row 0: channel 's1' is 'high'"),
        (frame.assign(s1=pd.Timestamp("2026-01-01")), "channel 's1' is Timestamp"),
        (
            frame.assign(time=pd.Timestamp("2026-01-01")),
            "the time: datetimes were given",
        ),
        (pd.concat([frame, frame[["s1"]]], axis=1), "two columns of one name"),
        (pa.Table.from_pandas(frame.assign(s1="high"), preserve_index=False), "row 0: channel 's1' is 'high'"),
        (pl.from_pandas(frame).lazy(), "collect"),
        ({**{name: frame[name] for name in frame}, "s1": [1.0]}, r"channel 's1' has shape \(1,\)"),
        (frame.to_numpy(), "ndarray"),
        (3, "a int"),
        ((frame["unit"], frame["time"]), "2 items"),
        ((frame["unit"], frame["time"], np.zeros((10, 2))), r"shape \(10, 2\)"),
        ((frame["unit"][:3], frame["time"], np.zeros((10, 3))), "the time has shape"),
    ):
        refused(running, lambda changed=changed: running.update_many(changed), match)


@pytest.mark.parametrize("id", [None, 1.5, True, b"unit 1", ("unit", 1), 2**63, datetime.date(2026, 1, 1)])
def test_id_that_is_no_text_or_number_is_refused(running, id):
    refused(running, lambda: running.update(id, 1.0, [9062.0] * 3), "id of a unit")
    refused(running, lambda: running.update_many((["unit 1", id], [1.0, 2.0], np.zeros((2, 3)))), "row 1|id of a unit")


def dictionary(indices, ids):
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), ids)


@pytest.mark.parametrize(
    "ids",
    [
        pa.array(["unit 1", None]),
        dictionary([0, None], ["unit 1", "unit 2"]),
        dictionary([0, 1], ["unit 1", None]),
        pa.array([1.5, 2.5]),
        pa.array([b"a", b"b"]),
        pa.array([1, 2**63], pa.uint64()),
        np.ma.masked_array(["unit 1", "unit 2"], [False, True]),
        np.ma.masked_array([1, 2], [False, True]),
        np.array([1, 2**63], dtype=np.uint64),
    ],
    ids=["null", "null index", "null entry", "floats", "bytes", "uint64", "masked text", "masked", "numpy uint64"],
)
def test_id_that_is_missing_or_wrong_is_named_by_its_row(running, ids):
    """A masked id would be the unit of whatever is behind the mask."""
    call = lambda: running.update_many((ids, [1.0, 2.0], np.zeros((2, 3))))  # noqa: E731
    refused(running, call, r"row [01]: the id")


@pytest.mark.parametrize(
    "ids",
    [
        dictionary([2, 0, 2], ["b", "of no row", "a"]),
        dictionary([1, 2, 0, 2], ["b", "of no row", "a"]).slice(1),
        dictionary([0, 1, 2], ["a", "b", "a"]),
        dictionary([2, 0, 2], ["b", None, "a"]),
        pa.chunked_array([dictionary([0], ["a"]), dictionary([0, 1], ["b", "a"])]),
        pa.chunked_array([["a"], [], ["b", "a"]]),
        pa.array(["x", "a", "b", "a"]).slice(1),
        pa.RunEndEncodedArray.from_arrays([1, 2, 3], ["a", "b", "a"]),
        pd.Series(["a", "b", "a"], dtype="category"),
        pl.Series(["a", "b", "a"], dtype=pl.Categorical),
    ],
    ids=["unused", "sliced", "twice", "null unused", "chunks", "texts", "offset", "run ends", "pandas", "polars"],
)
def test_every_encoding_of_ids_names_the_same_rows(plain, ids):
    values = np.array([[9062.0, 9061.0, 9063.0]] * 3)
    found = plain.fleet().update_many((ids, [1.0, 2.0, 3.0], values))
    assert equal(found, one_by_one(plain, ["a", "b", "a"], [1.0, 2.0, 3.0], values))


def test_ids_without_an_order_are_refused(running):
    """Rows of a set would go to units at random."""
    refused(running, lambda: running.update_many(({"a", "b"}, [1.0, 2.0], np.zeros((2, 3)))), "one id for each row, in")


def test_pandas_parts_of_different_rows_are_refused(running, plain):
    """By position, a machine would get the readings of another one."""
    ids, times = pd.Series(["unit 1", "unit 2"]), pd.Series([1.0, 2.0], index=[1, 0])
    values = pd.DataFrame(np.full((2, 3), 9062.0), columns=plain.channels)
    refused(running, lambda: running.update_many((ids, times, values)), "the ids and the times have different indexes")
    refused(running, lambda: running.update_many((ids, [1.0, 2.0], values[::-1])), "the ids and the values have")
    columns = {"unit": ids, "time": [1.0, 2.0], **values} | {"s1": values["s1"][::-1]}
    refused(running, lambda: running.update_many(columns), "'unit' and column 's1' have different indexes")
    again = ids.set_axis([7, 8]), times.set_axis([7, 8]), values.set_axis([7, 8])
    assert running.update_many(again).ids == ["unit 1", "unit 2"]


def test_ids_of_two_types_are_refused(running):
    values = np.full((2, 3), 9062.0)
    refused(running, lambda: running.update(7, 1.0, values[0]), "7 is of type int.*text")
    refused(running, lambda: running.update_many(([7, 8], [1.0, 2.0], values)), "of type int.*text")
    refused(running, lambda: running.update_many((["a", 8], [1.0, 2.0], values)), "8 is of type int")
    refused(running, lambda: running.update_many((pa.array([7, 8]), [1.0, 2.0], values)), "of type int.*text")
    refused(running, lambda: running.begin(7), "of type int")


def test_numpy_ids_are_those_of_python(plain):
    fleet = plain.fleet()
    fleet.update(np.int32(3), 1.0, [9062.0] * 3)
    fleet.update_many((np.array([3, 4], dtype=np.uint8), [1.0, 2.0], np.full((2, 3), 9062.0)))
    assert fleet.ids == [3, 4]
    assert {type(id) for id in fleet} == {int}


def test_unknown_ids_begin_or_are_refused_by_name(plain):
    fleet = plain.fleet(new="refuse")
    fleet.begin("a")
    fleet.update("a", 1.0, [9062.0] * 3)
    refused(fleet, lambda: fleet.update("b", 1.0, [9062.0] * 3), "unit 'b' is unknown")
    refused(fleet, lambda: fleet.update_many((["a", "b", "c"], [1, 2, 3], np.zeros((3, 3)))), "units 'b', 'c' are unk")
    refused(fleet, lambda: fleet.begin("a"), "'a' runs already")


def test_evicted_ids_are_refused_until_they_begin_again(running):
    assert running.evict(["unit 1"]) == ["unit 1"]
    assert "unit 1" not in running
    assert len(running) == 2
    refused(running, lambda: running.update("unit 1", 1.0, [9062.0] * 3), "'unit 1' is evicted")
    refused(running, lambda: running.update_many((["unit 1"], [1.0], np.zeros((1, 3)))), "'unit 1' is evicted")
    refused(running, lambda: running.unit("unit 1"), "unknown")
    running.begin("unit 1")
    assert running.unit("unit 1").n_observations == 0
    assert running.evicted_ids == set()


def test_evicted_ids_begin_anew_where_the_fleet_says_so(plain):
    fleet = plain.fleet(evicted="begin")
    fleet.update("a", 1.0, [9062.0] * 3)
    fleet.evict(["a"])
    fleet.update("a", 2.0, [9062.0, np.nan, np.nan])
    assert fleet.unit("a").n_observations == 1
    assert fleet.evicted_ids == set()


def test_silent_units_are_evicted_by_time_and_those_without_readings_stay(plain):
    fleet = plain.fleet()
    fleet.begin("fresh")
    for id, t in (("old", 3.0), ("new", 9.0)):
        fleet.update(id, t, [9062.0] * 3)
    assert fleet.evict(before=9.0) == ["old"]
    assert fleet.ids == ["fresh", "new"]
    refused(fleet, lambda: fleet.evict(["new", "nowhere"]), "'nowhere' is unknown")
    for call in (fleet.evict, lambda: fleet.evict(["new"], before=3.0), lambda: fleet.evict("new"),
                 lambda: fleet.evict(before=np.nan)):  # fmt: skip
        refused(fleet, call, "evict|ids|before", OptionError)


def test_place_of_an_evicted_unit_holds_nothing_of_it(plain):
    fleet = plain.fleet()
    fleet.update("a", 1.0, [9062.0] * 3)
    fleet.evict(["a"])
    fleet.begin("b")
    assert fleet.unit("b").to_bytes() == plain.unit().to_bytes()


def test_late_readings_are_refused_where_the_fleet_says_so(plain):
    fleet = plain.fleet(late="refuse")
    x = np.full(3, 9062.0)
    fleet.update("a", 5.0, x)
    refused(fleet, lambda: fleet.update("a", 4.0, x), "unit 'a': time 4.0 is before")
    for ids, times, row in (("aa", [6.0, 5.5], 1), ("ab", [4.0, 9.0], 0), ("bab", [3.0, 7.0, 2.0], 2)):
        batch = (list(ids), times, np.tile(x, (len(ids), 1)))
        refused(fleet, lambda batch=batch: fleet.update_many(batch), f"row {row}, unit '{ids[row]}': time")
    fleet.update_many((list("aba"), [5.0, 1.0, 6.0], np.tile(x, (3, 1))))
    assert fleet.unit("a").n_observations == 9


def test_row_without_a_value_makes_no_later_row_late(plain):
    """A batch would be refused whose rows are accepted one by one."""
    ids, times = list("ababaa"), [5.0, 1.0, 9.0, 0.5, 7.0, 8.0]
    values = np.full((6, 3), 9062.0)
    values[[2, 5]] = np.nan
    one, two = plain.fleet(late="refuse"), plain.fleet(late="refuse")
    for i in (0, 1, 2, 4, 5):
        one.update(ids[i], times[i], values[i])
    refused(one, lambda: one.update("b", 0.5, values[3]), "before the latest")
    refused(two, lambda: two.update_many((ids, times, values)), "row 3, unit 'b': time 0.5 is before")
    kept = [0, 1, 2, 4, 5]
    two.update_many(([ids[i] for i in kept], np.array(times)[kept], values[kept]))
    assert states_of(one) == states_of(two)
    for call in (lambda: one.update("a", 6.5, [np.nan] * 3), lambda: two.update_many((["a"], [6.5], values[2:3]))):
        refused(one, call, "at 7")
    assert two.update_many((["a"], [7.5], values[:1])).ids == ["a"]


@pytest.mark.parametrize("t", [10**400, None, "3", [1.0], pd.NaT], ids=repr)
def test_time_that_is_no_number_is_refused_also_where_late_ones_are(plain, t):
    fleet = plain.fleet(late="refuse")
    fleet.update("a", 5.0, [9062.0] * 3)
    refused(fleet, lambda: fleet.update("a", t, [9062.0] * 3), "unit 'a': ")


@pytest.mark.parametrize("ids", [3, "a"])
def test_probabilities_are_asked_of_lists_of_ids(plain, ids):
    """A text would be asked letter by letter."""
    with pytest.raises(OptionError, match="a list of ids"):
        plain.fleet().probabilities(ids)


def test_late_readings_are_accepted_otherwise(plain):
    one, two = plain.fleet(), plain.fleet()
    x = draw(plain.model, np.array([1.0, 2.0]), missing=0.0)
    one.update_many((["a", "a"], [1.0, 2.0], x))
    two.update_many((["a", "a"], [2.0, 1.0], x[::-1]))
    np.testing.assert_allclose(
        one.probabilities().mode_probabilities, two.probabilities().mode_probabilities, rtol=1e-9
    )


def test_units_with_covariates_of_their_own_begin_with_them():
    model = next(m for m in map(conditioned_model, range(20)) if m.unit_covariates)
    fleet = model.scorer().fleet()
    panel = panel_for(model, 1)
    with pytest.raises(ScorerError, match=r"covariates of their own; call fleet\.begin"):
        fleet.update("a", 1.0, panel.values[0])
    with pytest.raises(ScorerError, match="needs the covariates"):
        fleet.begin("a")
    assert len(fleet) == 0


@pytest.mark.parametrize("options", [{"new": "x"}, {"evicted": None}, {"late": 3}, {"unit": "s0"}, {"time": ""},
                                     {"unit": "t", "time": "t"}, {"alarms": 3}, {"alarms": [3]}])  # fmt: skip
def test_wrong_options_are_named(plain, options):
    with pytest.raises(OptionError, match=next(iter(options))):
        plain.fleet(**options)


def test_remaining_lives_have_no_fleet():
    with pytest.raises(ScorerError, match="Remaining lives"):
        Fleet(object())


def test_fleet_goes_to_other_processes(running):
    assert states_of(pickle.loads(pickle.dumps(running))) == states_of(running)


def test_unit_of_a_fleet_is_a_copy(running):
    before = states_of(running)
    running.unit("unit 1").update(1.0, [9062.0] * 3)
    assert states_of(running) == before


# ------------------------------------------------------------------------------------------------------- for the reader


def test_probabilities_of_a_fleet_become_a_frame_and_print_short(plain):
    """A notebook would show an array of a hundred thousand rows, and a dashboard would need a table of its own."""
    fleet = plain.fleet()
    found = fleet.update_many(batch_of(plain))
    names = ["unit", *map(str, plain.mode_labels)]
    for backend in ("pandas", "polars", "pyarrow"):
        frame = found.to_frame(backend)
        columns = frame.column_names if backend == "pyarrow" else list(frame.columns)
        assert columns == names and len(frame) == len(found.ids)
    np.testing.assert_array_equal(found.to_frame("pandas")[names[1:]].to_numpy(), found.mode_probabilities)
    assert found.to_frame("pandas")["unit"].tolist() == found.ids
    assert len(repr(found)) < 200 and "9 units" in repr(found)
    with pytest.raises(OptionError, match="did you mean 'pandas'"):
        found.to_frame("panda")


def test_a_batch_with_columns_of_other_names_says_how_to_name_them(plain):
    """The user would rename the columns of each batch, where one option of the fleet is enough."""
    ids, times, values = batch_of(plain, n=4)
    frame = frame_of(plain, ids, times, values)
    with pytest.raises(
        ScorerError, match=r"no column 'unit'.*there are 'pump'; rename it, .*scorer\.fleet\(unit=\.\.\.\)"
    ):
        plain.fleet().update_many(frame.rename(columns={"unit": "pump"}))
    with pytest.raises(ScorerError, match=r"did you mean 'times'\? rename it, .*scorer\.fleet\(time=\.\.\.\)"):
        plain.fleet().update_many(frame.rename(columns={"time": "times"}))
    assert len(plain.fleet(unit="pump").update_many(frame.rename(columns={"unit": "pump"})).ids) > 0


def test_late_readings_are_refused_with_the_option_that_takes_them(plain):
    fleet = plain.fleet(late="refuse")
    values = [1.0] * plain.n_channels
    fleet.update("a", 5.0, values)
    before = states_of(fleet)
    with pytest.raises(ScorerError, match=r"time 4.0 is before the latest reading.*late='accept'"):
        fleet.update("a", 4.0, values)
    with pytest.raises(ScorerError, match=r"row 1, unit 'a': time 5.5 is before the latest reading.*late='accept'"):
        fleet.update_many((["a", "a"], [6.0, 5.5], [values, values]))
    assert states_of(fleet) == before


def test_a_path_in_place_of_the_model_is_pointed_out(plain, tmp_path):
    fleet = plain.fleet()
    fleet.save(tmp_path / "fleet.snapshot")
    with pytest.raises(ScorerError, match=r"a str was given; load a file by cem\.load\(path\)"):
        Fleet.load(tmp_path / "fleet.snapshot", "model.cem")
