"""Covariates of a panel: what is read, what goes where its readings go, and what is refused."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cem.errors import FarValuesWarning, LabelWarning, OptionError, PanelError
from cem.panel.covariates import Covariate
from cem.panel.panel import Panel

NAN = np.nan


def fleet(**options):
    """Two units with unsorted times; the second reading of unit b has no observation."""
    times = [[2.0, 0.0, 1.0], [0.0, 1.0]]
    values = [[[3.0, 30.0], [1.0, NAN], [2.0, 20.0]], [[7.0, NAN], [NAN, NAN]]]
    defaults = {
        "units": ["a", "b"],
        "channels": ["s1", "s2"],
        "covariates": {
            "load": [[20.0, 0.0, 10.0], [5.0, 6.0]],
            "mode": [["high", "low", ""], [None, "off"]],
        },
        "unit_covariates": {"site": ["south", "north"], "mass": [1.5, NAN]},
    }
    return Panel.from_arrays(times, values, **{**defaults, **options})


def same(one: Panel, two: Panel) -> None:
    assert one.covariates == two.covariates and one.unit_covariates == two.unit_covariates
    for name in (*one.covariates, *one.unit_covariates):
        ours, theirs = one._column(name), two._column(name)
        assert ours.levels == theirs.levels, name
        np.testing.assert_array_equal(ours.values, theirs.values, err_msg=name)


# -- what is kept -----------------------------------------------------------------------------------------------


def test_covariates_stay_with_their_readings_where_these_are_sorted_and_left_out():
    """Else a load would be taken for another reading's."""
    panel = fleet()
    assert panel.times.tolist() == [0.0, 1.0, 2.0, 0.0]
    assert panel.covariate("load").tolist() == [0.0, 10.0, 20.0, 5.0]
    assert panel.covariate("mode").tolist() == ["low", None, "high", None]
    assert panel.covariate("site").tolist() == ["south", "north"]
    np.testing.assert_array_equal(panel.covariate("mass"), [1.5, NAN])
    assert panel.covariates == ("load", "mode") and panel.unit_covariates == ("site", "mass")


def test_levels_are_sorted_and_only_those_that_occur():
    """Else the coding of a model would depend on the order of the rows."""
    panel = fleet()
    assert panel._covariate_columns["mode"].levels == ("high", "low")
    np.testing.assert_array_equal(panel._covariate_columns["mode"].values, [1.0, NAN, 0.0, NAN])
    assert panel._covariate_columns["load"].levels is None


@pytest.mark.parametrize(
    ("values", "levels", "codes"),
    [
        (np.array([3, 1, 2], dtype=np.int8), None, [3.0, 1.0, 2.0]),
        (np.array([3.5, NAN, 2], dtype=np.float32), None, [3.5, NAN, 2.0]),
        ([3, None, 2.5], None, [3.0, NAN, 2.5]),
        (np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]), None, [1.0, NAN, 3.0]),
        (np.array([True, False, True]), (False, True), [1.0, 0.0, 1.0]),
        ([None, True, True], (True,), [NAN, 0.0, 0.0]),
        (np.array(["b", "a", ""]), ("a", "b"), [1.0, 0.0, NAN]),
        (["10", "9", "10"], ("10", "9"), [0.0, 1.0, 0.0]),
        ([None, None, NAN], None, [NAN, NAN, NAN]),
    ],
)
def test_values_of_every_kind_are_numbers_or_levels(values, levels, codes):
    """A column of a usual type that is read as something else, or refused, stops a user at the first line."""
    panel = Panel(["a"], [0, 3], [0, 1, 2], np.ones((3, 1)), ["s1"], covariates={"c": values})
    assert panel._covariate_columns["c"].levels == levels
    np.testing.assert_array_equal(panel._covariate_columns["c"].values, codes)


def test_series_and_categories_of_the_frame_libraries_are_read():
    """A category of whole numbers would become a number: 6 operating modes a slope."""
    pd = pytest.importorskip("pandas")

    def read(values):
        panel = Panel(["a"], [0, 3], [0, 1, 2], np.ones((3, 1)), ["s1"], covariates={"c": values})
        column = panel._covariate_columns["c"]
        return column.levels, column.values.tolist()

    assert read(pd.Series([3, 1, 3], dtype="category")) == ((1, 3), [1.0, 0.0, 1.0])
    assert read(pd.Categorical(["x", "y", "x"], categories=["z", "y", "x"])) == (("x", "y"), [0.0, 1.0, 0.0])
    assert read(pd.Series([3, 1, 3], dtype="Int64")) == (None, [3.0, 1.0, 3.0])
    assert read(pd.Series([0.5, 1.5, 0.5]).astype(str).astype("category")) == (("0.5", "1.5"), [0.0, 1.0, 0.0])
    pl = pytest.importorskip("polars")
    assert read(pl.Series(["b", "a", "b"], dtype=pl.Enum(["b", "a"]))) == (("a", "b"), [1.0, 0.0, 1.0])
    pa = pytest.importorskip("pyarrow")
    assert read(pa.array(["b", "a", "b"])) == (("a", "b"), [1.0, 0.0, 1.0])
    assert read(pa.array([7, 5, 7]).dictionary_encode()) == ((5, 7), [1.0, 0.0, 1.0])


def test_arrays_for_all_units_and_dicts_by_unit():
    """Rectangular arrays padded with NaN keep the covariates of the readings that are left."""
    values = np.arange(6.0).reshape(2, 3)
    values[0, 2] = NAN
    panel = Panel.from_arrays(
        [[0.0, 1.0, NAN], [0.0, 1.0, 2.0]], values, covariates={"load": np.arange(6).reshape(2, 3) * 10}
    )
    assert panel.covariate("load").tolist() == [0.0, 10.0, 30.0, 40.0, 50.0]
    by_unit = {"p": [1.0, 2.0], "q": [3.0]}
    panel = Panel.from_arrays(by_unit, by_unit, covariates={"load": {"q": ["y"], "p": ["x", "y"]}},
                              unit_covariates={"site": {"q": "north"}})  # fmt: skip
    assert panel.covariate("load").tolist() == ["x", "y", "y"]
    assert panel.covariate("site").tolist() == [None, "north"]


def test_arrays_of_the_caller_stay_the_callers():
    load = np.array([1.0, 2.0])
    panel = Panel([1], [0, 2], [0, 1], np.ones((2, 1)), ["s1"], covariates={"load": load})
    load[0] = 99.0
    assert panel.covariate("load").tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        panel.covariate("load")[0] = 3.0


def test_readings_at_one_time_that_differ_in_a_covariate_only_are_not_repeats():
    """Else a reading at another load would be dropped as a copy."""

    def read(load, **options):
        return Panel(["a"], [0, 3], [0, 0, 1], [[1.0], [1.0], [2.0]], ["s1"], covariates={"load": load}, **options)

    assert read([1.0, 2.0, 1.0], duplicates="drop").n_readings == 3
    dropped = read([2.0, 2.0, 1.0], duplicates="drop")
    assert dropped.n_readings == 2 and dropped.covariate("load").tolist() == [2.0, 1.0]
    assert read([NAN, NAN, 1.0], duplicates="drop").n_readings == 2


# -- derived panels ---------------------------------------------------------------------------------------------


def test_every_derived_panel_takes_its_covariates_along():
    panel = fleet(failure_times=[2.0, 1.0])
    assert panel[1].covariate("load").tolist() == [5.0] and panel[1].covariate("site").tolist() == ["north"]
    assert panel[1].conditions(["mode"]).shape == (1, 1) and panel[1]._covariate_columns["mode"].levels == ()
    turned = panel[[1, 0]]
    assert turned.covariate("load").tolist() == [5.0, 0.0, 10.0, 20.0]
    assert turned.covariate("site").tolist() == ["north", "south"]
    assert panel.select_units(["b"]).covariate("load").tolist() == [5.0]
    cut = panel.until(1.0)
    assert cut.covariate("load").tolist() == [0.0, 10.0, 5.0] and cut._covariate_columns["mode"].levels == ("low",)
    assert panel[:1].select_channels(["s2"]).covariate("load").tolist() == [10.0, 20.0]
    for derived in (panel.aligned_at_failure(), panel.with_modes(["x", None]), panel.with_failure_times(None)):
        same(derived, panel)
    assert [unit.covariate("site").tolist() for unit in panel] == [["south"], ["north"]]


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_covariates_travel_to_other_processes(make):
    panel = fleet()
    other = pickle.loads(make(panel)) if make is pickle.dumps else make(panel)
    same(other, panel)
    assert not other.covariate("load").flags.writeable


def test_to_arrays_is_the_way_back():
    """A category of whole numbers, too, is one again."""
    panel = fleet()
    panel = panel.with_covariates({"gear": Covariate("gear", np.array([0.0, 1.0, NAN, 1.0]), (3, 5))})
    again = Panel.from_arrays(**panel.to_arrays())
    same(again, panel)
    assert again._covariate_columns["gear"].levels == (3, 5)


def test_panels_of_earlier_releases_have_no_covariates():
    """Pickles of fleets must load for ever."""
    parts = fleet()._parts()
    for name in ("_covariate_columns", "_unit_covariate_columns"):
        del parts[name]
    old = Panel._trusted(**parts)
    assert old.covariates == () and old.unit_covariates == () and old.conditions().shape == (4, 0)
    same(pickle.loads(pickle.dumps(old)), old)


def test_concatenate_merges_levels():
    given = {"load": [[1, 2, 3], [4, 5]], "mode": [["off", "low", "a"], ["low", "x"]]}
    one, two = fleet()[0], fleet(units=["c", "d"], covariates=given)
    joined = Panel.concatenate([one, two])
    assert joined._covariate_columns["mode"].levels == ("a", "high", "low", "off")
    assert joined.covariate("mode").tolist() == [*one.covariate("mode"), *two.covariate("mode")]
    assert joined.covariate("site").tolist() == ["south", "south", "north"]
    same(Panel.concatenate([fleet()[0], fleet()[1]]), fleet())


def test_concatenate_refuses_panels_with_other_covariates():
    one = fleet()
    two = fleet(units=["c", "d"])
    with pytest.raises(PanelError, match=r"panel 1 lacks the covariate 'load', which panel 0 has; .*'load': None"):
        Panel.concatenate([one, two.with_covariates({"load": None})])
    with pytest.raises(PanelError, match="panel 0 lacks the unit covariate 'mass', which panel 1 has"):
        Panel.concatenate([one.with_covariates(unit_covariates={"mass": None}), two])
    other = two.with_covariates({"load": ["x", "y", "z", "x"]})
    with pytest.raises(PanelError, match="covariate 'load' holds numbers in panel 0 and a category of texts in panel"):
        Panel.concatenate([one, other])
    truth = two.with_covariates({"mode": [True, False, True, True]})
    with pytest.raises(PanelError, match="'mode' holds a category of truth values in panel 1 and a category of texts"):
        Panel.concatenate([one, truth])


def test_with_covariates_adds_replaces_and_removes():
    panel = fleet()
    more = panel.with_covariates({"speed": [1, 2, 3, 4], "load": panel.covariate("load") * 2, "mode": None},
                                 {"age": {"b": 3.0}})  # fmt: skip
    assert more.covariates == ("load", "speed") and more.covariate("load").tolist() == [0.0, 20.0, 40.0, 10.0]
    np.testing.assert_array_equal(more.covariate("age"), [NAN, 3.0])
    assert panel.covariates == ("load", "mode"), "the panel itself does not change"
    coded = panel.with_covariates({"speed": [1.0, -999.0, 3.0, 4.0]}, missing=-999)
    np.testing.assert_array_equal(coded.covariate("speed"), [1.0, NAN, 3.0, 4.0])
    with pytest.raises(PanelError, match="unit_covariates names 'load', which the panel has in covariates; remove"):
        panel.with_covariates(unit_covariates={"load": [1, 2]})
    with pytest.raises(PanelError, match="none to remove; did you mean 'load'"):
        panel.with_covariates({"laod": None})
    with pytest.raises(OptionError, match="missing names 's1', which is not given"):
        panel.with_covariates({"speed": [1, 2, 3, 4]}, missing={"s1": -999})


@settings(max_examples=60)
@given(st.data())
def test_no_operation_parts_a_reading_from_its_covariates(data):
    """Any sorting, cutting, choosing and joining: each reading still has the number and the level that it came with."""
    cell = st.one_of(st.none(), st.integers(0, 4))
    units = data.draw(st.lists(st.lists(st.tuples(st.integers(0, 5), cell), min_size=1, max_size=6), min_size=2,
                               max_size=5))  # fmt: skip
    assume(any(number is not None for unit in units for _, number in unit))  # else no level makes it a category
    times = [[float(time) for time, _ in unit] for unit in units]
    words = [[None if number is None else "abcde"[number] for _, number in unit] for unit in units]
    # The first channel and both covariates hold one number each; the second channel is always observed at first.
    values = [[[NAN if number is None else number, i == 0 or NAN] for i, (_, number) in enumerate(unit)]
              for unit in units]  # fmt: skip
    panel = Panel.from_arrays(
        times, values, channels=["s1", "s2"], duplicates=data.draw(st.sampled_from(["keep", "drop"])), missing=(),
        allow_empty_channels=True, allow_empty_units=True,
        covariates={"number": [[number for _, number in unit] for unit in units],
                    "level": words},
        unit_covariates={"place": [f"u{l}" for l in range(len(units))]},
    )  # fmt: skip
    order = data.draw(st.permutations(range(len(panel))))
    derived = Panel.concatenate([panel[[l]] for l in order]).until(data.draw(st.integers(5, 9)))
    derived = pickle.loads(pickle.dumps(derived))
    for one in (panel, derived, derived.select_channels(["s1"]) if (derived.counts[:, 0] > 0).all() else panel):
        column = one.values[:, 0]
        np.testing.assert_array_equal(one.covariate("number"), column)
        expected = [None if np.isnan(number) else "abcde"[int(number)] for number in column]
        assert one.covariate("level").tolist() == expected
        assert one.covariate("place").tolist() == [f"u{unit}" for unit in one.units]


# -- as a matrix ------------------------------------------------------------------------------------------------


def test_conditions_repeat_the_units_and_count_levels_as_the_model_does():
    """A model's level 1 must be the same word on every panel."""
    panel = fleet()
    found = panel.conditions(["site", "load", "mode"], {"mode": ("off", "low", "high"), "load": None})
    np.testing.assert_array_equal(
        found, [[1, 0, 1], [1, 10, NAN], [1, 20, 2], [0, 5, NAN]]
    )  # fmt: skip
    assert found.dtype == np.float64
    np.testing.assert_array_equal(panel.conditions(), panel.conditions(["load", "mode", "site", "mass"]))


def test_numbers_are_looked_up_in_levels_that_are_numbers():
    """A CSV file in the field holds the operating modes 1 to 6 as numbers."""
    panel = fleet().with_covariates({"gear": [5.0, 3.0, NAN, 5.0]})
    np.testing.assert_array_equal(panel.conditions(["gear"], {"gear": (3, 4, 5)}).ravel(), [2, 0, NAN, 2])
    with pytest.raises(PanelError, match=r"covariate 'gear' of unit 'a' at row 0 is 5, a level that is not known \(2"):
        panel.conditions(["gear"], {"gear": (3, 4)})


def test_levels_and_covariates_that_a_model_does_not_know_are_named():
    panel = fleet()
    with pytest.raises(PanelError, match=r"'mode' of unit 'a' at row 0 is 'low', a level that is not known .*'high'"):
        panel.conditions(["mode"], {"mode": ("high", "off")})
    with pytest.raises(PanelError, match="covariate 'site' of unit 'b' is 'north', a level that is not known"):
        panel.conditions(["site"], {"site": ("south",)})
    with pytest.raises(PanelError, match="the panel has no covariate 'laod'; did you mean 'load'"):
        panel.conditions(["laod"])
    with pytest.raises(PanelError, match="no covariate 'load'; it has none at all: give it by"):
        Panel.from_arrays([[0.0]], [[1.0]]).conditions(["load"])
    with pytest.raises(PanelError, match="covariate 'mode' is a category of texts here, 'high', 'low'; numbers were"):
        panel.conditions(["mode"], {"mode": None})
    with pytest.raises(PanelError, match="covariate 'load' holds numbers here; one of the levels 'a', 'b' was"):
        panel.conditions(["load"], {"load": ("a", "b")})


# -- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariates": {"s1": [[1, 2, 3], [4, 5]]}}, "'s1' is a channel and is named in covariates too; leave it out"),
        ({"unit_covariates": {"s2": [1, 2]}}, "'s2' is a channel and is named in unit_covariates"),
        ({"unit_covariates": {"load": [1, 2]}}, "'load' is named in covariates and in unit_covariates"),
        ({"covariates": {"load": [[1, 2, 3], [4]]}}, r"'load' of unit 'b' has shape \(1,\); one value for each of"),
        ({"covariates": {"load": [[1, 2, 3]]}}, "one array for each unit, 2; found 1"),
        ({"covariates": {"load": {"a": [1, 2, 3]}}}, "no array for unit 'b'"),
        ({"covariates": {"load": {"c": [1, 2, 3]}}}, "covariate 'load' names unit 'c'"),
        ({"covariates": {"load": np.ones((2, 4))}}, r"one array for each unit, .*found shape \(2, 4\)"),
        ({"covariates": {"load": np.ones(5)}}, r"one array for each unit, .*found shape \(5,\)"),
        ({"covariates": ["load"]}, "covariates must be a mapping of name to values, .*found a list"),
        ({"covariates": {3: [[1, 2, 3], [4, 5]]}}, "covariates are named by texts; found 3"),
        ({"covariates": {"load": [[1, np.inf, 3], [4, 5]]}}, "'load' of unit 'a' at row 1 is infinite"),
        ({"covariates": {"load": [[1, 2, 10**400], [4, 5]]}}, "'load' of unit 'a' at row 2 is infinite"),
        ({"covariates": {"load": [[1, 2.5, 3], [4, "full"]]}},
         r"'load' holds 1 \(unit 'a' at row 0\), a number, and 'full' \(unit 'b' at row 1\), a text"),
        ({"covariates": {"load": [[1, True, 3], [4, 5]]}}, "a number, and True .*a truth value"),
        ({"covariates": {"load": [["1.5", "2", "3"], ["4", "5"]]}}, r"numbers written as text, such as '1.5' \(unit"),
        ({"covariates": {"load": [[1, 2, [3]], [4, 5]]}}, r"'load' of unit 'a' at row 2 is \[3\], a list"),
        ({"covariates": {"load": [[1, 2, 3j], [4, 5]]}}, "at row 2 is 3j, a complex"),
        ({"covariates": {"load": [np.array(["2024"] * n, dtype="M8[D]") for n in (3, 2)]}}, "at row 0 is .*, a date"),
        ({"unit_covariates": {"site": ["north"]}}, r"'site' must hold one value for each unit, shape \(2,\); found"),
        ({"unit_covariates": {"site": {"c": "north"}}}, "unit covariate 'site' names unit 'c'"),
        ({"unit_covariates": {"mass": [1.0, -np.inf]}}, "unit covariate 'mass' of unit 'b' is infinite"),
    ],
)  # fmt: skip
def test_bad_covariates_are_named(options, message):
    with pytest.raises(PanelError, match=message):
        fleet(**options)


def test_lengths_and_levels_of_the_constructor():
    def read(values):
        return Panel(["a"], [0, 2], [0, 1], np.ones((2, 1)), ["s1"], covariates={"c": values})

    with pytest.raises(PanelError, match=r"'c' must hold one value for each reading, shape \(2,\); found shape \(3,\)"):
        read([1, 2, 3])
    with pytest.raises(PanelError, match=r"type datetime64\[D\]; .*give dates as numbers"):
        read(np.array(["2024", "2025"], dtype="M8[D]"))
    pd = pytest.importorskip("pandas")
    with pytest.raises(PanelError, match=r"a category with the level 1.5 \(unit 'a' at row 0\); levels are texts"):
        read(pd.Categorical([1.5, 2.0]))
    with pytest.raises(PanelError, match="'c' of unit 'a' at row 0 is Interval"):
        read(pd.cut(pd.Series([1.0, 9.0]), [0, 5, 10]))


def test_codes_for_missing_are_refused_or_declared():
    """A load of -999 would be centred with the others, and shift every fit."""
    load = np.tile([10.0, 20.0, 30.0, 40.0], 25)
    load[::10] = -999.0
    times = np.tile(np.arange(50.0), 2)

    def read(**options):
        return Panel(["a", "b"], [0, 50, 100], times, np.ones((100, 1)), ["s1"], **options)

    with pytest.raises(PanelError, match=r"covariate 'load' holds -999 10 times, .*\(first of unit 'a' at row 0\).*"):
        read(covariates={"load": load})
    for missing in (-999, [-999, 1e20], {"load": -999}):
        panel = read(covariates={"load": load}, missing=missing)
        assert np.isnan(panel.covariate("load")).sum() == 10
        assert np.isnan(panel.values).sum() == 0
    assert np.isnan(read(covariates={"load": load}, missing=()).covariate("load")).sum() == 0
    with pytest.raises(OptionError, match="missing names 'laod', which is not a channel; did you mean 'load'"):
        read(covariates={"load": load}, missing={"laod": -999})


def test_a_load_with_few_far_values_is_no_reason_to_warn(recwarn):
    """Test runs at full load are readings; a warning by name on every such fleet would be ignored soon."""
    rng = np.random.default_rng(1)
    load = 20.0 + 0.1 * rng.standard_normal(200)
    load[::20] = 100.5
    Panel(["a"], [0, 200], np.arange(200.0), np.ones((200, 1)), ["s1"], covariates={"load": load})
    assert not [warning for warning in recwarn if issubclass(warning.category, FarValuesWarning)]


def test_levels_in_two_spellings_are_one_warning():
    with pytest.warns(LabelWarning, match="covariate 'mode': 'High' and 'high' differ only in case.*'site'") as caught:
        fleet(covariates={"mode": [["high", "High", None], ["x", "y"]]}, unit_covariates={"site": ["unknown", "N"]})
    assert len(caught) == 1


def test_repr_names_the_covariates():
    text = repr(fleet())
    assert "covariates       load (0 to 20), mode (2 levels, 50 % missing)" in text
    assert "unit covariates  site (2 levels), mass (1.5 to 1.5, 50 % missing)" in text
    assert "covariates" not in repr(fleet(covariates=None, unit_covariates=None))


def test_a_panel_without_covariates_imports_nothing_for_them():
    """Scoring and simulation build many panels and would pay for every one."""
    code = (
        "import sys, numpy as np; from cem import Panel;"
        "p = Panel.from_arrays([[0., 1.]], [[1., 2.]]); p[0]; p.until(1);"
        "Panel.concatenate([p, Panel.from_arrays([[0., 1.]], [[1., 2.]], units=['b'])]);"
        "print([m for m in sys.modules if m.startswith('cem.panel.covariate') or m == 'cem.panel.condition_columns'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['cem.panel.covariate_access']"
