"""Files: CSV, Parquet and C-MAPSS text, by whichever of the backends is installed."""

from __future__ import annotations

import gzip
import sys

import numpy as np
import pytest

from cem.errors import OptionError, PanelError
from cem.tables import column_names, file_format, read_panel, read_table

pytest.importorskip("narwhals")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("pandas")
pytest.importorskip("polars")

CSV = """unit,time,s2,s3,label
b,2,1.5,10,fan
a,1,2.5,20,
b,1,,30,fan
a,2,4.5,40,
"""
CMAPSS = "".join(
    f"{unit} {cycle} 0.1 0.2 100.0 {' '.join(str(float(s * cycle)) for s in range(1, 22))}  \n"
    for unit, life in ((1, 3), (2, 2))
    for cycle in range(1, life + 1)
)


@pytest.fixture(params=["pyarrow", "polars", "pandas"])
def backend(request, monkeypatch):
    """One backend reads, though all are installed."""
    monkeypatch.setattr("cem.tables._BACKENDS", (request.param,))
    return request.param


def expect(panel):
    assert panel.units == ("b", "a") and panel.channels == ("s2", "s3") and panel.modes == ("fan", None)
    assert panel.times.tolist() == [1.0, 2.0, 1.0, 2.0]
    np.testing.assert_array_equal(panel.values, [[np.nan, 30], [1.5, 10], [2.5, 20], [4.5, 40]])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_csv_of_every_delimiter_plain_and_packed(backend, delimiter, packed, tmp_path):
    path = tmp_path / ("fleet.csv.gz" if packed else "fleet.csv")
    text = CSV.replace(",", delimiter).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    assert file_format(path) == "csv" and column_names(path) == ("unit", "time", "s2", "s3", "label")
    assert type(read_table(path)).__module__.split(".")[0] == backend
    expect(read_panel(path, mode="label"))
    expect(read_panel(path, mode="label", channels=["s2", "s3"]))


def test_a_byte_order_mark_is_no_part_of_the_first_name(backend, tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    expect(read_panel(path, mode="label"))


def test_parquet_whatever_the_file_is_called(tmp_path, monkeypatch):
    path = tmp_path / "fleet.dat"
    table = {"unit": ["b", "a", "b", "a"], "time": [2, 1, 1, 2], "s2": [1.5, 2.5, None, 4.5], "s3": [10, 20, 30, 40],
             "label": ["fan", None, "fan", None]}  # fmt: skip
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table(table), path)
    assert file_format(path) == "parquet" and column_names(path) == tuple(table)
    expect(read_panel(path, mode="label"))
    expect(read_panel(path, mode="label", channels=["s2", "s3"]))
    assert read_table(path, columns=["s3"]).column_names == ["s3"]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert column_names(path) == tuple(table)
    expect(read_panel(path, mode="label"))


def test_a_column_that_turns_from_whole_to_broken_numbers_late(backend, tmp_path):
    """The first 16 MB of the file hold integers and empty cells alone."""
    path = tmp_path / "fleet.csv"
    n_rows = 1_600_000
    with open(path, "w") as file:
        file.write("unit,time,x,z\n")
        file.write("".join(f"{row // 1000},{row % 1000},7,\n" for row in range(n_rows)))
        file.write("9999,0,7.5,3.5\n")
    assert path.stat().st_size > 1 << 24
    panel = read_panel(path, channels=["x", "z"])
    assert panel.values[-1].tolist() == [7.5, 3.5] and panel.n_readings == n_rows + 1


def test_dates_in_a_csv_are_times(backend, tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text("unit,time,x\n1,2024-05-01 06:00:00,1\n1,2024-05-01 00:00:00,2\n1,2024-05-02 00:00:00,3\n")
    assert read_panel(path, time_unit="h").times.tolist() == [0.0, 6.0, 24.0]


def test_cmapss_text_is_known_by_its_columns(tmp_path):
    path = tmp_path / "engines.txt"
    path.write_text(CMAPSS)
    assert file_format(path) == "cmapss" and column_names(path)[:3] == ("unit", "cycle", "setting1")
    panel = read_panel(path, channels=["s2", "s3"], response="s4")
    assert panel.channels == ("s2", "s3", "s4") and panel.failure_times.tolist() == [3.0, 2.0]
    assert "setting1" in read_panel(path, response="setting1").channels
    with pytest.raises(OptionError, match="mode"):
        read_panel(path, mode="label")
    with pytest.raises(PanelError, match="read_cmapss"):
        read_table(path)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "empty"),
        (b"\n\n", {}, "empty"),
        (b"just words\n", {}, "is not CSV"),
        (b"\x00\x01binary", {}, "neither text nor Parquet"),
        (b"PAR1 and then nothing", {}, "cannot be read as parquet"),
        (b"unit,time,x,x\n1,1,1,1\n", {}, "column 'x' occurs twice"),
        (b"unit,tiem,x\n1,1,1\n", {}, "time='time' is not a column of the frame; did you mean 'tiem'"),
        (b"unit,time,temp\n1,1,1\n", {"channels": ["tmp"]}, "no column 'tmp'; did you mean 'temp'"),
        (b"unit,time,x\n", {}, "empty"),
        (b"unit,time,x\n1,1,high\n1,2,3\n", {"channels": ["x"]}, "channel 'x' is not numeric: row 0 holds 'high'"),
        (b"\x1f\x8b\x08 not really", {}, "damaged gzip"),
    ],
)
def test_bad_files_are_named(content, options, message, tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_bytes(content)
    with pytest.raises(PanelError, match=message):
        read_panel(path, **options)


def test_ragged_rows_are_an_error_of_the_file(tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text("unit,time,x\n1,1,1\n1,2\n1,3,4,5,6\n")
    with pytest.raises(PanelError, match="cannot be read as csv"):
        read_panel(path)


def test_missing_files_and_unknown_formats(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_panel(tmp_path / "none.csv")
    with pytest.raises(OptionError, match="format='xlsx'"):
        read_panel(tmp_path / "none.csv", format="xlsx")


def test_without_any_backend_the_extra_is_named(tmp_path, monkeypatch):
    for name in ("pyarrow", "polars", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "fleet.csv"
    path.write_text(CSV)
    with pytest.raises(PanelError, match=r"cem-failure-modes\[frames\]"):
        read_panel(path)
