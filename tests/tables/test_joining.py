"""Files that were written at different times hold one column as several types; joined, the values are the same."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

import cem
from cem.errors import OptionError, PanelError

pa = pytest.importorskip("pyarrow")
pytest.importorskip("narwhals")
parquet = pytest.importorskip("pyarrow.parquet")

DAYS = [datetime.datetime(2024, 1, day) for day in (1, 2, 3)]


@pytest.fixture(params=["pyarrow", "polars", "pandas"], autouse=True)
def backend(request, monkeypatch):
    pytest.importorskip(request.param)
    monkeypatch.setattr("cem.tables.tables._BACKENDS", (request.param,))
    return request.param


@pytest.fixture
def read(tmp_path):
    def read_both(first, second, **options):
        for name, changes in (("a", first), ("b", second)):
            table = {"unit": [name] * 3, "time": [0.0, 1.0, 2.0], "x": [1.0, 2.0, 3.0], **changes}
            parquet.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        return cem.read(tmp_path, **options)

    return read_both


def test_ids_of_integers_keep_all_digits(read):
    """As float64 the second would be another unit."""
    wide = pa.array([2**60 + 1] * 3)
    assert read({"unit": pa.array([1] * 3, pa.int32())}, {"unit": wide}).units == (1, 2**60 + 1)
    small = {"unit": pa.array([7] * 3, pa.uint8())}
    assert read(small, {"unit": pa.array([2**64 - 1] * 3, pa.uint64())}).units == (7, 2**64 - 1)
    with pytest.raises(PanelError, match=r"'unit' is UInt64 in .*b.parquet.* do not fit Int64"):
        read({"unit": pa.array([1] * 3)}, {"unit": pa.array([2**64 - 1] * 3, pa.uint64())})


def test_texts_and_categories_are_texts(read):
    coded = {"unit": pa.array(["c"] * 3).dictionary_encode()}
    assert read({}, coded).units == ("a", "c")


def test_instants_of_several_resolutions_are_instants(read):
    first = {"time": pa.array(DAYS, pa.timestamp("ms"))}
    second = {"time": pa.array(DAYS, pa.timestamp("ns"))}
    panel = read(first, second, time_unit="d")
    assert panel.times.tolist() == [0.0, 1.0, 2.0] * 2
    far = {"time": pa.array([datetime.datetime(2400, 1, 1)] * 3, pa.timestamp("ms"))}
    with pytest.raises(PanelError, match=r"a.parquet.* do not fit"):
        read(far, second, time_unit="d")


def test_fractions_and_integers_beyond_them_are_refused(read):
    """An id would be rounded to another one."""
    with pytest.raises(PanelError, match=r"'unit' is Int64 in .*a.parquet.* do not fit Float64"):
        read({"unit": pa.array([2**60 + 1] * 3)}, {"unit": pa.array([1.5] * 3)})


def test_a_column_that_is_empty_in_a_file_has_the_type_of_the_others(read):
    """A sensor that was added later is written as nulls without a type."""
    panel = read({"x": pa.nulls(3), "y": [1.0, 2.0, 3.0]}, {"y": [4.0, 5.0, 6.0]})
    assert sorted(panel.channels) == ["x", "y"]
    x = panel.values[:, panel.channels.index("x")]
    assert np.isnan(x[:3]).all() and x[3:].tolist() == [1.0, 2.0, 3.0]
    sites = read({"site": pa.nulls(3)}, {"site": ["north"] * 3}, unit_covariates=["site"])
    assert sites.unit_covariates == ("site",)


@pytest.mark.parametrize("column", [pa.array(["1", "2", "3"]), pa.array([True, False, True])])
def test_types_that_do_not_go_together_are_refused_with_both_files(read, column):
    with pytest.raises(PanelError, match=r"'x' is .* in .*a.parquet.* and .* in .*b.parquet"):
        read({"x": column}, {})


def test_a_naive_instant_and_one_with_a_zone_are_refused(read):
    with pytest.raises(PanelError, match="'time' is Datetime"):
        read({"time": pa.array(DAYS, pa.timestamp("us"))}, {"time": pa.array(DAYS, pa.timestamp("us", "UTC"))})


def test_instants_of_two_zones_are_the_same_instants(read):
    berlin, utc = (pa.array(DAYS, pa.timestamp("us", zone)) for zone in ("Europe/Berlin", "UTC"))
    assert (
        read({"time": berlin}, {"time": utc}, time_unit="d", origin="2024-01-01").times.tolist() == [0.0, 1.0, 2.0] * 2
    )


def test_what_is_no_path_is_named(tmp_path, read):
    """A number or a frame would end in an error of Python, or in a file that is called like a column."""
    read({}, {})
    for given, found in (
        (None, "None"),
        (5, "5"),
        (b"x", "b'x'"),
        (pa.table({"x": [1]}), "Table; call Panel.from"),
        ([5], "5"),
    ):
        with pytest.raises(PanelError, match=rf"paths?.*{found}"):
            cem.read(given)
    with pytest.raises(OptionError, match="format='csv'"):
        cem.read(tmp_path, format="csv")
    with pytest.raises(PanelError, match=r"write \['x'\]"):
        cem.read(tmp_path, channels="x")


@pytest.mark.parametrize(("content", "found"), [(b"", "is empty"), (b"junk " * 9, "is no Parquet file")])
def test_a_file_that_is_named_as_parquet_and_is_none_is_named(tmp_path, read, content, found):
    (tmp_path / "c.parquet").write_bytes(content)
    with pytest.raises(PanelError, match=f"c.parquet' is named as a Parquet file and {found}"):
        read({}, {})


def test_one_file_in_a_list_may_have_any_format(tmp_path):
    (tmp_path / "fleet.csv").write_text("unit,time,x\na,0,1.5\na,1,2.5\n")
    assert cem.read([tmp_path / "fleet.csv"]).n_readings == 2


def test_folders_that_name_a_column_twice_are_refused(tmp_path):
    inside = tmp_path / "site=1" / "site=2"
    inside.mkdir(parents=True)
    parquet.write_table(pa.table({"unit": ["a"], "time": [0.0], "x": [1.0]}), inside / "a.parquet")
    with pytest.raises(PanelError, match="'site' twice"):
        cem.read(tmp_path)
