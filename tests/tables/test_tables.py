"""Files: CSV, Parquet and C-MAPSS text, by whichever of the backends is installed."""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import os
import random
import sys
import warnings

import numpy as np
import pytest
from places import FUZZ

from cem.cli import main
from cem.cli.options import size
from cem.errors import CemError, MissingPackageError, OptionError, PanelError
from cem.tables.cmapss import read_cmapss
from cem.tables.sources import Bound, Text
from cem.tables.tables import column_names, file_format, read_panel, read_table

pytest.importorskip("narwhals")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("pandas")
pytest.importorskip("polars")

sys.path.insert(0, str(FUZZ))
import compact  # noqa: E402
import tables as fuzz_tables  # noqa: E402

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
    monkeypatch.setattr("cem.tables.tables._BACKENDS", (request.param,))
    return request.param


def expect(panel):
    assert panel.units == ("b", "a") and panel.channels == ("s2", "s3") and panel.modes == ("fan", None)
    assert panel.times.tolist() == [1.0, 2.0, 1.0, 2.0]
    np.testing.assert_array_equal(panel.values, [[np.nan, 30], [1.5, 10], [2.5, 20], [4.5, 40]])


WITH_COVARIATES = """unit,time,s2,load,mode,test,site,note
b,2,1.5,10,low,True,N,x
a,1,2.5,20,high,False,,y
b,1,3.5,NA,,True,,z
a,2,4.5,40,low,False,S,w
"""


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_covariates_of_files(tmp_path, backend, format):
    """Numbers are numbers, truth values and words are categories, whichever backend reads."""
    path = tmp_path / f"fleet.{format}"
    (tmp_path / "fleet.csv").write_text(WITH_COVARIATES)
    given = {"covariates": ["load", "mode", "test"], "unit_covariates": ["site"]}
    if format == "parquet":
        import pyarrow.parquet

        table = read_table(tmp_path / "fleet.csv")
        pyarrow.parquet.write_table(table.to_arrow() if backend == "polars" else pa.table(table), path)
    for channels in (["s2"], None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            panel = read_panel(path, channels=channels, **given)
        assert panel.channels == ("s2",)
        np.testing.assert_array_equal(panel.covariate("load"), [np.nan, 10, 20, 40])
        assert panel.covariate("mode").tolist() == [None, "low", "high", "low"]
        assert panel.covariate("test").tolist() == [True, True, False, False]
        assert panel.covariate("site").tolist() == ["N", "S"]
    with pytest.raises(PanelError, match="has no column 'lod'; did you mean 'load'"):
        read_panel(path, channels=["s2"], covariates=["lod"])
    with pytest.raises(PanelError, match="'lod' is not a column of the frame; did you mean 'load'"):
        read_panel(path, covariates=["lod"])


def test_covariates_of_a_tall_file_are_sensors_or_columns(tmp_path, backend):
    path = tmp_path / "tall.csv"
    path.write_text("unit,time,tag,value,mode,site\n" + "".join(
        f"{unit},{t},{tag},{value},{'low' if t else 'high'},{unit}{unit}\n"
        for unit in "ab" for t in (0, 1) for tag, value in (("p", t), ("load", 10 * t), ("q", 5))
    ))  # fmt: skip
    panel = read_panel(path, sensor="tag", value="value", covariates=["load", "mode"], unit_covariates=["site"])
    assert panel.channels == ("p", "q") and panel.covariate("load").tolist() == [0, 10, 0, 10]
    assert panel.covariate("mode").tolist() == ["high", "low"] * 2 and panel.covariate("site").tolist() == ["aa", "bb"]
    with pytest.raises(PanelError, match="'lod' is neither a sensor in column 'tag' nor a column"):
        read_panel(path, sensor="tag", value="value", covariates=["lod"])


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


@pytest.mark.slow
def test_a_column_that_turns_from_whole_to_broken_numbers_late(backend, tmp_path):
    """The first 16 MB of the file hold only integers and empty cells."""
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
    with pytest.raises(MissingPackageError, match=r"cem-failure-modes\[frames\]"):
        read_panel(path)


# ---- compressed tables have a bound ----------------------------------------------------------------------------------


def parquet_of(columns, path, **options):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table(columns), path, **options)
    return path


def fleet_columns(n=5000):
    return {"unit": np.arange(n) // 100, "time": np.arange(n) % 100, "s2": np.zeros(n)}


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_text_that_grows_beyond_its_bound_is_refused(backend, pack, tmp_path):
    """Otherwise a file of some kilobytes fills the memory."""
    path = tmp_path / "fleet.csv.gz"
    path.write_bytes(pack(b"unit,time,s2\n" + b"".join(b"%d,%d,0\n" % (i // 100, i % 100) for i in range(5000))))
    with pytest.raises(PanelError, match=r"fleet.csv.gz' grows beyond its bound.*at most 100,000.*--max-bytes"):
        read_panel(path, max_bytes=100_000)
    assert read_panel(path, max_bytes=400_000).n_readings == 5000
    assert read_panel(path).n_readings == 5000


def test_members_of_a_gzip_file_share_the_bound(backend, tmp_path):
    path = tmp_path / "fleet.csv.gz"
    path.write_bytes(gzip.compress(b"unit,time,s2\n") + 500 * gzip.compress(b"1,1,0\n" * 100))
    with pytest.raises(PanelError, match="grows beyond its bound"):
        read_table(path, max_bytes=1_000_000)
    assert len(read_table(path, max_bytes=2_000_000)) == 50_000


def test_plain_csv_has_no_bound(backend, tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text(CSV)
    expect(read_panel(path, mode="label", max_bytes=1))


def test_the_default_bound_grows_with_the_file(tmp_path):
    assert Bound(tmp_path, 1000, None).max_bytes == 1_000_000_000
    assert Bound(tmp_path, 10**8, None).max_bytes == 2 * 10**10
    for wrong in (0, -1, 1.5, "4G", True):
        with pytest.raises(OptionError, match="max_bytes"):
            read_table(tmp_path / "none.csv", max_bytes=wrong)


def test_parquet_of_many_equal_values_is_refused_by_its_pages(backend, tmp_path):
    """200 million readings in a file of some kilobytes, which no page may hold before they are counted."""
    n = 5000
    path = parquet_of(fleet_columns(n), tmp_path / "fleet.parquet", compression="zstd")
    with pytest.raises(PanelError, match=r"grows beyond its bound.*by the headers of its pages.*--max-bytes"):
        read_panel(path, max_bytes=20 * n)
    assert read_panel(path, max_bytes=40 * n).n_readings == n
    assert read_table(path, columns=["s2"], max_bytes=20 * n).shape == (n, 1)  # what is not read does not count


@pytest.mark.parametrize("encoding", [None, "DELTA_BYTE_ARRAY"])
def test_strings_that_a_page_shares_count_as_often_as_they_occur(backend, encoding, tmp_path):
    """Otherwise one long string and a million references to it fill the memory."""
    columns = {**fleet_columns(), "note": ["x" * 1000] * 5000}
    options = {} if encoding is None else {"use_dictionary": False, "column_encoding": {"note": encoding}}
    path = parquet_of(columns, tmp_path / "fleet.parquet", **options)
    with pytest.raises(PanelError, match="grows beyond its bound"):
        read_table(path, max_bytes=3_000_000)
    table = read_table(path, max_bytes=6_000_000)
    assert {str(note) for note in table["note"][:50]} == {"x" * 1000} and len(table) == 5000
    assert read_panel(path, channels=["s2"], max_bytes=3_000_000).n_readings == 5000


def test_strings_read_within_the_bound_are_those_of_the_file(backend, tmp_path):
    """The careful way to read shared strings gives the same table as the quick one."""
    names = [None if i % 7 == 0 else f"engine {i % 50:05}" for i in range(5000)]
    columns = {**fleet_columns(), "name": names, "kind": pa.array(names).dictionary_encode()}
    path = parquet_of(columns, tmp_path / "fleet.parquet")
    careful, quick = read_table(path, max_bytes=700_000), read_table(path)
    if backend == "pyarrow":
        assert careful.equals(quick) and careful.schema.equals(quick.schema, check_metadata=True)
        assert careful["name"].to_pylist() == names
    else:
        assert careful.equals(quick)
        assert [name if isinstance(name, str) else None for name in careful["name"]] == names


def test_a_footer_that_lies_about_its_sizes_changes_nothing(tmp_path):
    """The bound counts what pages hold: a footer may say anything."""
    path = parquet_of(fleet_columns(), tmp_path / "fleet.parquet")
    data = path.read_bytes()
    tree, start = compact.footer(data)
    for group in compact.get(tree, 4)[1]:
        for column in compact.get(group, 1)[1]:
            next(entry for entry in compact.get(column, 3) if entry[0] == 6)[2] = 1  # total_uncompressed_size
    path.write_bytes(compact.sealed(data[:start], tree))
    assert read_panel(path).n_readings == 5000
    with pytest.raises(PanelError, match="grows beyond its bound"):
        read_panel(path, max_bytes=100_000)


def test_a_page_that_says_more_than_it_holds_is_refused_before_anything_is_unpacked(backend, tmp_path):
    path = parquet_of(fleet_columns(), tmp_path / "fleet.parquet")
    data = path.read_bytes()
    header = compact.Reader(data, 4)
    tree = header.struct()
    for length, message in ((2**31 - 1, "grows beyond its bound"), (2**33, "32 bits"), (-5, "reaches beyond")):
        changed = [[key, kind, length if key == 2 else value] for key, kind, value in tree]
        footer, start = compact.footer(data)
        new = compact.written(compact.STRUCT, changed)
        step = len(new) - (header.at - 4)
        for column in compact.get(compact.get(footer, 4)[1][0], 1)[1]:
            for entry in compact.get(column, 3):
                entry[2] = entry[2] + step if entry[0] in (9, 11) and entry[2] > 4 else entry[2]
        for entry in compact.get(compact.get(compact.get(footer, 4)[1][0], 1)[1][0], 3):
            entry[2] = entry[2] + step if entry[0] == 7 else entry[2]
        path.write_bytes(compact.sealed(data[:4] + new + data[header.at : start], footer))
        with pytest.raises(PanelError, match=message):
            read_table(path)


def test_cmapss_text_that_is_packed_has_the_bound_too(tmp_path):
    path = tmp_path / "train.txt.gz"
    path.write_bytes(gzip.compress(CMAPSS.encode()))
    assert read_panel(path).n_readings == read_cmapss(path).n_readings == 5
    with pytest.raises(PanelError, match="grows beyond its bound"):
        read_panel(path, max_bytes=1000)


# ---- whatever is wrong with a file is said by type -------------------------------------------------------------------

# Without the time of day, which gzip writes into its header: pytest names a test by its parameters, and processes that
# share the tests must agree on the names.
GZIPPED = gzip.compress(CSV.encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CSV.encode().replace(b"20", b"2\x000"), "byte .* is NUL"),
        (CSV.encode().replace(b"2.5,20,", b"2.5"), "cannot be read as csv"),
        (CSV.encode().replace(b"2.5,20,", b"2.5,20,,,"), "cannot be read as csv"),
        (CSV.encode().replace(b"\n", b",\n").replace(b"label,", b"label"), "cannot be read as csv"),
        (CSV.encode().replace(b"fan", b'"fan', 1), "cannot be read as csv|odd number of quotation marks"),
        (CSV.encode().replace(b"fan", b"f\xe4n"), "utf-8|UTF-8"),
        (CSV.encode().replace(b"label", b"l\xe4bel"), "the header of .* is not UTF-8"),
        (CSV.encode("utf-16"), "neither plain text nor Parquet"),
        (b"unit,time,s2\n", "empty"),
        (b"unit,time,s2", "empty|cannot be read as csv"),
        (b"unit,time,s2\n1,1," + b"7" * (1 << 25), "line of more than 16,777,216 bytes"),
        (b"unit,time," + b"x" * (1 << 21), "first line .* more than 1,048,576 bytes"),
        (",".join(map(str, range(60_000))).encode() + b"\n1\n", "60,000 columns"),
        (GZIPPED[:-9], "damaged gzip"),
        (GZIPPED[:-5] + b"12345", "damaged gzip"),
        (GZIPPED + b"garbage", "damaged gzip"),
        (lzma.compress(CSV.encode())[:-9], "damaged xz"),
        (bz2.compress(CSV.encode())[:-9], "damaged bzip2"),
        (gzip.compress(GZIPPED, mtime=0), "neither text nor Parquet"),
    ],
)
def test_malformed_text_is_a_panel_error_of_every_backend(backend, content, message, tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_bytes(content)
    with pytest.raises(PanelError, match=message):
        read_panel(path)


def test_empty_lines_are_no_rows(backend, tmp_path):
    """Else polars makes rows of them, whose units are missing."""
    path = tmp_path / "fleet.csv"
    path.write_text(CSV.replace("\na,1", "\n\na,1") + "\n\n")
    expect(read_panel(path, mode="label"))


def test_a_quoted_cell_may_hold_delimiters_and_ends_of_lines(backend, tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text('unit,time,s2,note\n1,1,2.5,"a, ""b""\n,c"\n1,2,3.5,d\n')
    assert read_panel(path).values.tolist() == [[2.5], [3.5]]


@pytest.mark.parametrize("at", ["start", "middle", "end", "footer", "cut", "short"])
def test_damaged_parquet_is_a_panel_error_of_every_backend(backend, at, tmp_path):
    path = parquet_of(fleet_columns(), tmp_path / "fleet.parquet")
    data = bytearray(path.read_bytes())
    second = pa.parquet.ParquetFile(path).metadata.row_group(0).column(1)  # the header of its first page
    middle = second.dictionary_page_offset or second.data_page_offset
    place = {"start": 5, "middle": middle, "footer": len(data) - 300, "end": len(data) - 7}.get(at)
    if place is None:
        data = data[: len(data) // 2 if at == "cut" else 9]
    else:
        data[place : place + 3] = b"\xff\xff\x7f"
    path.write_bytes(data)
    with pytest.raises(PanelError, match=r"fleet.parquet"):
        read_panel(path)


def test_text_of_parquet_that_is_not_utf8_is_refused_by_column(backend, tmp_path):
    """Each backend would raise an error of its own, and at some later use of the column."""
    notes = pa.array([b"ok", b"\xff\xfe", b"ok"]).view(pa.string())
    columns = {"unit": [1, 1, 2], "time": [0.0, 1.0, 0.0], "s": [1.0, 2.0, 3.0], "note": notes}
    with pytest.raises(PanelError, match=r"fleet.parquet.*(?i:utf-?8)"):
        read_panel(parquet_of(columns, tmp_path / "fleet.parquet"), unit="unit", time="time")


def test_parquet_without_columns_rows_or_single_names(backend, tmp_path):
    path = tmp_path / "fleet.parquet"
    with pytest.raises(PanelError, match="no columns"):
        read_panel(parquet_of({}, path))
    with pytest.raises(PanelError, match="no rows"):
        read_panel(parquet_of({"unit": np.empty(0), "time": np.empty(0), "x": np.empty(0)}, path))
    twice = pa.Table.from_arrays([pa.array([1])] * 4, names=["unit", "time", "x", "x"])
    pa.parquet.write_table(twice, path)
    with pytest.raises(PanelError, match="'x' occurs twice"):
        read_panel(path)
    data = parquet_of(fleet_columns(), path, store_schema=False).read_bytes()
    path.write_bytes(data.replace(b"s2", b"\xff\xfe"))
    with pytest.raises(PanelError, match="not UTF-8"):
        read_panel(path)


def test_parquet_that_polars_wrote_is_read_by_every_backend(backend, tmp_path):
    """It says that strings are views, of which pyarrow can take no rows."""
    import polars

    path = tmp_path / "fleet.parquet"
    polars.DataFrame({**fleet_columns(), "unit": [f"u{i // 100}" for i in range(5000)]}).write_parquet(path)
    assert read_panel(path).units[:2] == ("u0", "u1")


@pytest.mark.slow
@pytest.mark.parametrize("role", ["channels", "unit", "time", "mode", "failure_time"])
def test_columns_of_every_type_in_every_role(backend, role, tmp_path):
    """Lists, structs, durations, bytes, dates beyond the year 9999: a panel, or an error with a type."""
    table = fuzz_tables._parquet_table()
    refused = set()
    for name in table.column_names[3:]:
        path = parquet_of({key: table[key] for key in ("unit", "time", "s2", name)}, tmp_path / "fleet.parquet")
        try:
            read_panel(path, **{"channels": ["s2"], role: [name] if role == "channels" else name})
        except CemError:
            refused.add(name)
    assert {"lists", "structs", "maps"} <= refused and len(refused) < len(table.column_names) - 3


def test_a_crash_of_a_backend_is_a_panel_error_but_ctrl_c_and_lack_of_memory_are_not(monkeypatch, tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text(CSV)

    class PanicException(BaseException):
        """As polars raises it."""

    monkeypatch.setattr("cem.tables.tables._BACKENDS", ("pandas",))
    for raised, expected in (
        (PanicException("overflow"), PanelError),
        (ValueError("no"), PanelError),
        (OSError("corrupt"), PanelError),
        (OSError(5, "Input/output error"), OSError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ):
        monkeypatch.setattr("pandas.read_csv", raiser(raised))
        with pytest.raises(expected) as caught:
            read_table(path)
        assert type(caught.value) is expected


def raiser(error):
    def read_csv(*arguments, **options):
        raise error

    return read_csv


# ---- files that are none ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("read", [file_format, column_names, read_table, read_panel, read_cmapss])
def test_directories_pipes_and_devices_are_refused_by_name(read, tmp_path):
    """A pipe without a writer would hang."""
    with pytest.raises(PanelError, match="is a directory"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(PanelError, match=r"pipe.csv' is a pipe"):
        read(tmp_path / "pipe.csv")
    with pytest.raises(PanelError, match="/dev/zero' is a device"):
        read("/dev/zero")
    with pytest.raises(PanelError, match="not a valid file name"):
        read("a\0b")


def test_names_that_look_like_patterns_are_names(backend, tmp_path):
    path = tmp_path / "fleet[1]*.csv"
    path.write_text(CSV)
    expect(read_panel(path, mode="label"))
    path = parquet_of(fleet_columns(), tmp_path / "fleet[1]*.parquet")
    assert read_panel(path).n_readings == 5000


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["pyarrow", "polars", "pandas"])
def test_ctrl_c_ends_a_long_read(slow, monkeypatch, tmp_path):
    """The text asks for Ctrl-C itself, wherever the backend is: nothing depends on the speed of a machine."""
    monkeypatch.setattr("cem.tables.tables._BACKENDS", (slow,))
    path = tmp_path / "fleet.csv.gz"
    path.write_bytes(gzip.compress(b"unit,time,s2\n" + b"1,1,0\n" * 400_000))
    scan = Text._scan

    def interrupted(text, data):
        scan(text, data)
        if text.n_bytes > 1_500_000:
            raise KeyboardInterrupt

    monkeypatch.setattr(Text, "_scan", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_table(path)


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4G", 4 * 10**9), ("1.5GB", 1_500_000_000), ("500m", 500_000_000), ("2KiB", 2048), ("1000000", 10**6), ("7B", 7)],
)
def test_sizes_on_the_command_line(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "G", "4X", "nan", "1e9", "4 G G"])
def test_what_is_no_size_on_the_command_line(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        size(text)


def test_the_command_line_passes_the_bound_on(tmp_path, capsys):
    path = tmp_path / "fleet.csv.gz"
    path.write_bytes(gzip.compress(b"unit,time,s2\n" + b"1,1,0\n" * 10_000))
    assert main(["fit", str(path), "-k", "1", "--max-bytes", "50K"]) == 1
    assert "at most 50,000 are allowed" in capsys.readouterr().err
    assert main(["fit", str(tmp_path), "-k", "1"]) == 1
    assert "is a directory" in capsys.readouterr().err


@pytest.mark.slow
def test_the_fuzz_target_of_tables(tmp_path):
    """A few of its inputs; tests/fuzz/run.py has as many as one likes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seeds = fuzz_tables.seeds(tmp_path)
        outcomes = [fuzz_tables.execute(fuzz_tables.generate(random.Random(i), seeds), tmp_path) for i in range(60)]
    assert {outcome.partition(":")[0] for outcome in outcomes} == {"read", "refused"}


@pytest.mark.parametrize("version", ["13.0.0", "14.0.0"])
def test_parquet_is_not_read_by_a_pyarrow_that_unpickles_it(tmp_path, monkeypatch, version):
    """CVE-2023-47248: the metadata of a Parquet file named a class that pyarrow called."""
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "fleet.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"unit": [1], "time": [0.0], "x": [1.0]}), path)
    for name in ("polars", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    assert read_panel(path).n_channels == 1
    monkeypatch.setattr(pyarrow, "__version__", version)
    with pytest.raises(PanelError, match="could run its author's code"):
        read_panel(path)
