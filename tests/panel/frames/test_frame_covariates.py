"""Covariates in long and tall tables of every backend."""

from __future__ import annotations

import numpy as np
import pytest

from cem.errors import PanelError
from cem.panel.panel import Panel

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("narwhals")

NAN = np.nan
BACKENDS = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "pandas-nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pandas-arrow": lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda columns: pl.DataFrame(columns, strict=False),
    "pyarrow": lambda columns: pa.table(columns),
}
ROLES = {"unit": "unit", "time": "t"}


@pytest.fixture(params=BACKENDS)
def make(request):
    return BACKENDS[request.param]


def long(**changes):
    """Rows of two units, interleaved and out of order."""
    table = {
        "unit": ["b", "a", "b", "a", "a"],
        "t": [1.0, 2.0, 0.0, 0.0, 1.0],
        "s1": [10.0, 20.0, 11.0, 21.0, 22.0],
        "load": [1, 2, 3, 4, None],
        "mode": ["low", "high", "", None, "low"],
        "test": [True, False, False, True, True],
        "site": ["north", "south", None, "south", None],
        "mass": [7.5, None, None, 8.5, 8.5],
    }
    return {**table, **changes}


def test_covariates_of_every_kind_are_read_and_are_no_channels(make):
    """Named columns with a role of their own would become channels otherwise: the modes split by them."""
    panel = Panel.from_frame(
        make(long()), **ROLES, covariates=["load", "mode", "test"], unit_covariates=["site", "mass"]
    )
    assert panel.channels == ("s1",) and panel.units == ("b", "a")
    assert panel.values.ravel().tolist() == [11.0, 10.0, 21.0, 22.0, 20.0]
    np.testing.assert_array_equal(panel.covariate("load"), [3, 1, 4, NAN, 2])
    assert panel.covariate("mode").tolist() == [None, "low", None, "low", "high"]
    assert panel.covariate("test").tolist() == [False, True, True, True, False]
    assert panel.covariate("site").tolist() == ["north", "south"]
    assert panel.covariate("mass").tolist() == [7.5, 8.5]
    assert panel._covariate_columns["test"].levels == (False, True)


def test_categories_are_categories_whatever_they_look_like():
    """Six operating modes, 1 to 6, as numbers would get one slope."""
    frame = pd.DataFrame(long())
    frame["mode"] = pd.Categorical([3, 1, 3, 1, 2])
    panel = Panel.from_frame(frame, **ROLES, channels=["s1"], covariates=["mode"])
    assert panel._covariate_columns["mode"].levels == (1, 2, 3)
    frame = pl.DataFrame(long(mode=["2", "1", "2", "1", "2"]), strict=False)
    for kind in (pl.Enum(["2", "1"]), pl.Categorical, pl.String):
        panel = Panel.from_frame(
            frame.with_columns(pl.col("mode").cast(kind)), **ROLES, channels=["s1"], covariates=["mode"]
        )
        assert panel._covariate_columns["mode"].levels == ("1", "2")


def test_codes_for_missing_are_read_as_missing(make):
    """A text code among numbers makes the column text, and must not make the load a category."""
    frame = make(long(load=["1", "2", "Bad", "4", "5"], mode=["low", "?", "low", "low", "high"]))
    panel = Panel.from_frame(frame, **ROLES, channels=["s1"], covariates=["load", "mode"], missing=["Bad", "?", -999])
    np.testing.assert_array_equal(panel.covariate("load"), [NAN, 1, 4, 5, 2])
    assert panel._covariate_columns["mode"].levels == ("high", "low")
    panel = Panel.from_frame(make(long(load=[1, 2, -1, 4, 5])), **ROLES, channels=["s1"], covariates=["load", "mode"],
                             missing={"load": -1, "mode": "low"})  # fmt: skip
    assert np.isnan(panel.covariate("load")).sum() == 1 and panel._covariate_columns["mode"].levels == ("high",)


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"covariates": "load"}, {}, r"covariates must be a list of columns; .*write \['load'\]"),
        ({"unit_covariates": 3}, {}, "unit_covariates must be a list of columns; found 3"),
        ({"covariates": {"load": [1]}}, {}, r"found a mapping with the keys 'load'.*with_covariates\(covariates=...\)"),
        ({"covariates": ["load", "load"]}, {}, "covariates names 'load' twice"),
        ({"covariates": [3]}, {}, "names columns by strings; found 3"),
        ({"covariates": ["lod"]}, {}, "covariates='lod' is not a column of the frame; did you mean 'load'"),
        ({"unit_covariates": ["sit"]}, {}, "unit_covariates='sit' is not a column of the frame; did you mean 'site'"),
        ({"covariates": ["load"], "channels": ["s1", "load"]}, {}, "'load' cannot be both a covariate and a channel"),
        ({"covariates": ["s1"], "response": "s1"}, {}, "'s1' cannot be both a covariate and a channel"),
        ({"unit_covariates": ["mass"], "channels": ["s1", "mass"]}, {}, "both a unit covariate and a channel"),
        ({"covariates": ["t"]}, {}, "column 't' cannot be both time and a covariate"),
        ({"covariates": ["site"], "unit_covariates": ["site"]}, {}, "'site' is named in covariates and in unit_cov"),
        ({"unit_covariates": ["site"]}, {"site": ["north", "south", "east", None, None]},
         "unit covariate 'site' varies within unit 'b': 'east' and 'north' occur; .*or name the column in covariates"),
        ({"unit_covariates": ["mass"]}, {"mass": [1.0, 7.0, 1.0, 8.0, 8.0]},
         "unit covariate 'mass' varies within unit 'a': 7.0 and 8.0 occur"),
        ({"covariates": ["load"]}, {"load": [1.0, 2.0, np.inf, 4.0, 5.0]}, "'load' of unit 'b' at row 2 is infinite"),
        ({"covariates": ["mode"]}, {"mode": ["1.5", "2", "3", "4", "5"]}, "numbers written as text, such as '1.5'"),
        ({"covariates": ["mode"]}, {"mode": ["2", "1,5", "3", "4", "5"]}, r"such as '1,5' .* decimal=','"),
        ({"covariates": ["mode"]}, {"mode": np.array(["2024"] * 5, dtype="M8[s]")}, "'mode' has type Datetime"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_covariates_are_named(options, changes, message):
    with pytest.raises(PanelError, match=message):
        Panel.from_frame(pd.DataFrame(long(**changes)), **ROLES, **options)


def test_numbers_among_texts_are_named_by_their_rows():
    frame = pd.DataFrame(long(mode=["low", 2, None, "low", "high"]))
    with pytest.raises(PanelError, match=r"holds 'low' \(unit 'b' at row 0\), a text, and 2 \(unit 'a' at row 1\)"):
        Panel.from_frame(frame, **ROLES, channels=["s1"], covariates=["mode"])


def tall(**changes):
    """Sensors p and q with the load as a tag of its own, and columns of the reading and of the unit."""
    table = {
        "unit": ["a", "a", "a", "a", "a", "b", "b", "b"],
        "t": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 5.0],
        "tag": ["p", "p", "load", "q", "load", "p", "load", "load"],
        "v": [2.0, 1.0, 50.0, 9.0, 60.0, 7.0, 70.0, 80.0],
        "mode": ["low", "high", None, "high", "low", "off", None, "off"],
        "site": ["n", "n", None, "n", "n", "s", "s", "s"],
    }
    return {**table, **changes}


TALL = {**ROLES, "sensor": "tag", "value": "v"}


def test_in_a_tall_table_a_sensor_or_a_column_is_a_covariate(make):
    """A reading with the load alone is none of the sensors'."""
    options = {"covariates": ["load", "mode"], "unit_covariates": ["site"]}
    for chosen in ({}, {"channels": ["p", "q"]}, {"channels": ["p"], "response": "q"}):
        panel = Panel.from_frame(make(tall()), **TALL, **options, **chosen)
        assert panel.channels == ("p", "q") and panel.times.tolist() == [0.0, 1.0, 0.0]
        np.testing.assert_array_equal(panel.values, [[1, 9], [2, NAN], [7, NAN]])
        assert panel.covariate("load").tolist() == [50.0, 60.0, 70.0]
        assert panel.covariate("mode").tolist() == ["high", "low", "off"]
        assert panel.covariate("site").tolist() == ["n", "s"]


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"covariates": ["lod"]}, {}, "'lod' is neither a sensor in column 'tag' nor a column .*did you mean 'load'"),
        ({"covariates": ["load"], "channels": ["p", "load"]}, {}, "sensor 'load' cannot be both a covariate"),
        ({"covariates": ["load"], "response": "load"}, {}, "sensor 'load' cannot be both"),
        ({"covariates": ["load", "p", "q"]}, {}, "every sensor of the table is a covariate"),
        ({"covariates": ["mode"]}, {"tag": ["p", "p", "mode", "q", "mode", "p", "mode", "mode"]}, "column of the table "
         "and a sensor too"),
        ({"covariates": ["mode"]}, {"mode": ["low", "high", "off", "high", "low", "off", None, "off"]},
         "'mode' of unit 'a' at t 0.0 is 'high' in one row and 'off' in another"),
        ({"unit_covariates": ["load"]}, {}, "unit_covariates='load' is not a column"),
        ({"unit_covariates": ["mode"]}, {}, "varies within unit 'a'"),
    ],
)  # fmt: skip
def test_bad_covariates_of_tall_tables_are_named(options, changes, message):
    with pytest.raises(PanelError, match=message):
        Panel.from_frame(pd.DataFrame(tall(**changes)), **TALL, **options)


def test_covariates_are_not_reported_as_columns_left_out(recwarn):
    """They are read; a warning about them would send the user to channels=[...]."""
    given = {"covariates": ["load", "mode", "test"], "unit_covariates": ["site", "mass"]}
    Panel.from_frame(pd.DataFrame(long()), **ROLES, **given)
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["Enum", "Categorical", "String"])
def test_levels_of_a_polars_enum_are_not_swapped_for_each_other(kind):
    """An Enum sorts by its own order and text by the alphabet: every reading got another level, without an error."""
    dtype = pl.Enum(["off", "on", "7"]) if kind == "Enum" else getattr(pl, kind)

    def column(items):
        return pl.Series(items, dtype=dtype)

    words = ["on", "off", "7"]
    twice = [word for word in words for _ in range(2)]
    frame = pl.DataFrame(
        {
            "unit": column(twice),
            "time": [0.0, 1.0] * 3,
            "x": [1.0, 1.0, 2.0, 2.0, 3.0, 3.0],
            "valve": column([*words, None, *words[:2]]),
            "site": column(twice),
            "mode": column(twice),
        }
    )
    panel = Panel.from_frame(
        frame, unit="unit", time="time", channels=["x"], mode="mode", covariates=["valve"], unit_covariates=["site"]
    )
    assert panel.units == panel.modes == ("on", "off", "7")
    assert panel.values.ravel().tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert panel.covariate("valve").tolist() == [*words, None, *words[:2]]
    assert panel.covariate("site").tolist() == words
    tall = pl.DataFrame({"unit": [1] * 6, "time": [0.0, 1.0] * 3, "tag": column(twice), "value": [1, 1, 2, 2, 3, 3]})
    spread = Panel.from_frame(tall, unit="unit", time="time", sensor="tag", value="value")
    assert dict(zip(spread.channels, spread.values[0].tolist(), strict=True)) == {"on": 1.0, "off": 2.0, "7": 3.0}
