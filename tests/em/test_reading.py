"""Each form of input is read as meant, or refused by name, and alike whichever library parses the file."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import cem.numerics.threads
from cem.errors import ColumnsLeftOutWarning, OptionError, PanelError
from cem.tables.tables import column_names, read_panel, read_table

pytest.importorskip("narwhals")
pytest.importorskip("pyarrow")
pytest.importorskip("pandas")
pytest.importorskip("polars")

BACKENDS = ("pyarrow", "polars", "pandas")
ROWS = [
    (f"m{l}", t, round((l % 2) * t * 0.5 + 0.01 * t * t + l, 3), 1500 + 7 * l + t) for l in range(3) for t in range(5)
]
CSV = "unit,time,vib,rpm\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)
GERMAN = CSV.replace(",", ";").replace(".", ",")
HEAD, BODY = CSV.split("\n", 1)


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "fleet.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def outcome(path, backend, monkeypatch, **options):
    """What a user gets: the panel, or the message without the file's name; and the warnings."""
    monkeypatch.setattr("cem.tables.tables._BACKENDS", (backend,))
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            panel = read_panel(path, **options)
        except (PanelError, OptionError) as error:
            return f"{type(error).__name__}: {error}".replace(str(path), "FILE"), [str(one.message) for one in noted]
    values = [[None if cell != cell else cell for cell in row] for row in panel.values.tolist()]
    told = (panel.units, panel.channels, panel.modes, panel.times.tolist(), values)
    return told, [str(one.message) for one in noted]


def in_all(path, monkeypatch, **options):
    """The outcome, which is the same in all backends."""
    found = {backend: outcome(path, backend, monkeypatch, **options) for backend in BACKENDS}
    assert found["polars"] == found["pyarrow"] and found["pandas"] == found["pyarrow"], found
    return found["pyarrow"]


READ = {
    "plain": (CSV, {}),
    "byte order mark": ("\ufeff" + CSV, {}),
    "CRLF": (CSV.replace("\n", "\r\n"), {}),
    "old Mac line ends": (CSV.replace("\n", "\r"), {}),
    "blank lines": (CSV.replace("\n", "\n\n"), {}),
    "blank lines of Windows": (CSV.replace("\n", "\r\n\r\n"), {}),
    "no line end at the end": (CSV[:-1], {}),
    "ctrl-Z at the end": (CSV + "\x1a", {}),
    "blanks after commas": (CSV.replace(",", ", "), {}),
    "blanks before commas": (CSV.replace(",", " ,"), {}),
    "quoted cells": ("\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in CSV.split("\n")[:-1]), {}),
    "Excel's sep=;": ("sep=;\n" + CSV.replace(",", ";"), {}),
    "Excel's quoted sep": ('"sep=;"\r\n' + CSV.replace(",", ";").replace("\n", "\r\n"), {}),
    "tabs": (CSV.replace(",", "\t"), {}),
    "a separator that was named": (CSV.replace(",", "^"), {"separator": "^"}),
    "decimal commas": (GERMAN, {"decimal": ","}),
    "decimal commas and a named separator": (GERMAN, {"decimal": ",", "separator": ";"}),
    "a separator at the end of each line": (CSV.replace("\n", ",\n"), {}),
    "comment lines": ("# export 2024\n" + HEAD + "\n# second\n" + BODY + "# end\n", {"comment": "#"}),
    "comment lines of an old Mac": (("# export\n" + CSV).replace("\n", "\r"), {"comment": "#"}),
    "numbers with a plus": (CSV.replace(",150", ",+150").replace(",151", ",+151"), {}),
    "UTF-16": (("\ufeff" + CSV).encode("utf-16-le"), {"encoding": "utf-16"}),
}  # fmt: skip


@pytest.mark.parametrize("form", READ)
def test_a_csv_of_any_shape_is_the_same_table(form, tmp_path, monkeypatch):
    text, options = READ[form]
    found, noted = in_all(written(tmp_path, text), monkeypatch, **options)
    expected = [list(map(float, row[2:])) for row in ROWS]
    assert found[:2] == (("m0", "m1", "m2"), ("vib", "rpm")) and found[4] == expected and noted == []


REFUSED = {
    "a comment that was not declared": ("# export 2024\n" + CSV, {}, "looks like a comment; give comment='#'"),
    "a row of units": (HEAD + "\n,h,mm/s,1/min\n" + BODY, {}, r"row of units of measurement.*channel_units="),
    "decimal commas that were not declared": (GERMAN, {}, r"'vib' holds numbers with a decimal comma.*decimal=','"),
    "a separator too many in rows": (HEAD + "\n" + BODY.replace("\n", ",\n"), {}, "row 0 has 5 cells and the header 4"),
    "one long row": (CSV + "m9,1,2,3,4\n", {}, "row 15 has 5 cells and the header 4"),
    "one short row": (CSV + "m9,1,2\n" + BODY, {}, "row 15 has 3 cells and the header 4"),
    "Latin-1": (CSV.replace("vib", "T_°C").encode("latin-1"), {}, "is not UTF-8.*encoding='latin-1'"),
    "Latin-1 in a cell": (CSV.replace("m2,4", "ü2,4").encode("latin-1"), {}, "is not UTF-8: byte .*encoding='latin-1'"),
    "UTF-16 that was not declared": (("\ufeff" + CSV).encode("utf-16-le"), {}, "UTF-16.*encoding='utf-16'"),
    "another encoding than declared": (b"\xff\xfe\xff" + CSV.encode(), {"encoding": "utf-16"}, "encoding"),
    "an open quote": (CSV + 'm9,1,"2,3\n', {}, "quot|cells"),
    "a header alone": (HEAD + "\n", {}, "empty"),
    "a repeated column": (CSV.replace("rpm", "vib"), {}, "'vib' occurs twice"),
    "decimal and separator alike": (CSV, {"decimal": ","}, "decimal=','.*separat"),
    "an unknown encoding": (CSV, {"encoding": "latin-99"}, "encoding='latin-99'"),
    "an impossible separator": (CSV, {"separator": ",,"}, "separator=',,'"),
    "a decimal point among decimal commas": (
        GERMAN.replace("2,04", "2.04"), {"decimal": ","}, "'vib' holds numbers with a decimal point.*row 7 holds '2.04'"
    ),
    "an infinite reading": (CSV.replace("1511", "Inf"), {}, "channel 'rpm' of unit 'm1' is infinite at row 9"),
    "a time that is text": (CSV.replace("m1,3,", "m1,soon,"), {}, "'time'.*item 0 is '0'"),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSED)
def test_a_csv_that_cannot_be_meant_is_refused_by_name(form, tmp_path, monkeypatch):
    text, options, message = REFUSED[form]
    path = written(tmp_path, text)
    for backend in BACKENDS:
        found, _ = outcome(path, backend, monkeypatch, **options)
        assert isinstance(found, str), (backend, found)
        assert re.search(message, found), (backend, found)


@pytest.mark.parametrize("cell", ["-", "?", "OFF", "<0.1", "#DIV/0!", "1,5", "−1.5", "Bad Input", "1.5 mm", "12:30"])
@pytest.mark.parametrize("named", [False, True])
def test_one_cell_that_is_no_number_does_not_take_a_sensor_away(cell, named, tmp_path, monkeypatch):
    rows = CSV.split("\n")
    rows[8] = f'm1,2,"{cell}",1509'
    options = {"channels": ["vib", "rpm"]} if named else {}
    found, _ = in_all(written(tmp_path, "\n".join(rows)), monkeypatch, **options)
    assert found.startswith("PanelError") and "'vib'" in found and f"row 7 holds {cell!r}" in found
    assert ("decimal=','" if cell == "1,5" else f"missing=[{cell!r}]") in found


@pytest.mark.slow
@pytest.mark.parametrize("separator", [",", " ", "\N{NO-BREAK SPACE}", "'"])
@pytest.mark.parametrize("n_rows", [15, 12_000])
def test_a_sensor_with_separated_thousands_is_not_taken_for_notes(separator, n_rows, tmp_path, monkeypatch):
    rows = [f'm{row // 500},{row},{row % 7}.5,"1{separator}{500 + row % 97}.25"\n' for row in range(n_rows)]
    found, _ = in_all(written(tmp_path, HEAD + "\n" + "".join(rows)), monkeypatch)
    cell = f"1{separator}500.25"
    assert f"column 'rpm' holds numbers with separators between thousands: row 0 holds {cell!r}" in found


def test_text_that_has_separated_digits_now_and_then_is_text(tmp_path, monkeypatch):
    rows = [f'm{row // 5},{row},{row % 7}.5,"{"1,500.25" if row % 3 == 0 else "no. 12-345.6"}"\n' for row in range(15)]
    found, told = in_all(written(tmp_path, HEAD.replace("rpm", "note") + "\n" + "".join(rows)), monkeypatch)
    assert found[1] == ("vib",) and "'note' (text)" in told[0]


def test_declared_codes_are_missing(tmp_path, monkeypatch):
    text = CSV.replace("m1,2,2.04,1509", "m1,2,Bad Input,-999").replace("m0,3,0.09,1503", "m0,3,No Data,1503")
    found, noted = in_all(written(tmp_path, text), monkeypatch, missing=[-999, "Bad Input", "No Data"])
    assert found[1] == ("vib", "rpm") and noted == [] and found[4][3] == [None, 1503.0]
    assert len(found[4]) == 14, "a row of which nothing is left is no reading"


def test_columns_that_are_no_sensors_are_named_in_one_warning(tmp_path, monkeypatch):
    """A row number that was saved with a frame is no sensor, with or without a name."""
    lines = [
        f"{row},{line},{note},2024-01-01"
        for row, (line, note) in enumerate(zip(BODY.split("\n"), "ab" * 9, strict=False))
    ]
    text = f",{HEAD},note,when\n" + "\n".join(lines[:-3]) + "\n"
    found, noted = in_all(written(tmp_path, text), monkeypatch)
    assert found[1] == ("vib", "rpm") and len(noted) == 1
    assert "'Unnamed: 0' (a row index without a name), 'note' (text), 'when' (text)" in noted[0]
    many = HEAD + ",row\n" + "".join(f"m{i // 10},{i % 10},{i * i % 7},{i * i % 5},{i}\n" for i in range(30))
    found, noted = in_all(written(tmp_path, many), monkeypatch)
    assert found[1] == ("vib", "rpm") and "'row' (it numbers the rows)" in noted[0]
    found, noted = in_all(written(tmp_path, many), monkeypatch, channels=["row", "vib"])
    assert found[1] == ("row", "vib") and noted == []


IDS = {
    "twenty digits": ([f"8949020000000000{i:04d}" for i in range(8)], str),
    "hexadecimal serials": (["1E2", "10E1", "0E7", "0E8"], str),
    "leading zeros": (["001", "1", "002", "2"], str),
    "numbers": (["17", "-3", "0", "9223372036854775807"], int),
    "one that is no number": (["17", "A7", "18", "19"], str),
    "one with a plus": (["17", "+17", "18"], str),
    "whole numbers with a point": (["1.0", "2.0"], float),
    "numbers with a point": (["1.0", "2.50", "2.5"], str),
    "hashes": (["18446744073709551615", "9223372036854775813"], str),
    "truth values": (["true", "false"], str),
    "dates": (["2024-01-01", "01/02/2024"], str),
}  # fmt: skip


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("role", ["unit", "mode"])
def test_ids_and_labels_are_the_text_that_they_are(kind, role, tmp_path, monkeypatch):
    """Guessed to be numbers, 1E2 and 10E1 were one machine, and 007 came back as 7."""
    names, as_id = IDS[kind]
    rows = [f"{name},{t},{t + l}" for l, name in enumerate(names) for t in range(3)]
    if role == "unit":
        found, _ = in_all(written(tmp_path, "unit,time,x\n" + "\n".join(rows)), monkeypatch)
        assert found[0] == tuple(map(as_id, names)) and [type(name) for name in found[0]] == [as_id] * len(names)
    else:
        rows = [f"u{row // 3},{line}" for row, line in enumerate(rows)]
        found, _ = in_all(written(tmp_path, "unit,kind,time,x\n" + "\n".join(rows)), monkeypatch, mode="kind")
        assert found[2] == tuple(map(as_id, names))


def test_empty_labels_are_unknown_and_empty_ids_refused(tmp_path, monkeypatch):
    text = "unit,time,x,kind\n1,0,1,7\n1,1,2,\n2,0,3,\n3,0,4,-1\n"
    found, _ = in_all(written(tmp_path, text), monkeypatch, mode="kind")
    assert found[0] == (1, 2, 3) and found[2] == (7, None, None)
    found, _ = in_all(written(tmp_path, text.replace("\n2,", "\n,")), monkeypatch, mode="kind")
    assert "missing at row 2" in found


DATES = ["2024-04-05", "2024-04-06T00:00", "2024-04-07 00:00:00", "2024-04-08T00:00:00.000", "20240409"]


def test_dates_of_iso_8601_are_read_and_other_forms_must_be_named(tmp_path, monkeypatch):
    text = "unit,time,x\n" + "".join(f"a,{date},{i}\n" for i, date in enumerate(DATES))
    found, _ = in_all(written(tmp_path, text), monkeypatch, time_unit="d")
    assert found[3] == [0, 1, 2, 3, 4]
    zoned = "unit,time,x\na,2024-03-31T00:00+01:00,0\na,2024-03-31T04:00+02:00,1\na,2024-03-31T03:00Z,2\n"
    assert in_all(written(tmp_path, zoned), monkeypatch)[0][3] == [0.0, 3.0, 4.0]
    mixed = zoned.replace("03:00Z", "03:00")
    assert "item 2 is '2024-03-31T03:00', which has none" in in_all(written(tmp_path, mixed), monkeypatch)[0]
    for form, cells in {
        "%d/%m/%Y %H:%M:%S": [f"{5 + i:02d}/04/2024 00:00:00" for i in range(4)],
        "%d.%m.%Y %H:%M": [f"{5 + i:02d}.04.2024 00:00" for i in range(4)],
        "%m/%d/%Y": [f"04/{5 + i:02d}/2024" for i in range(4)],
        "%d-%b-%Y": [f"{5 + i:02d}-Apr-2024" for i in range(4)],
        "%Y%m%d": [f"202404{5 + i:02d}" for i in range(4)],
    }.items():
        path = written(tmp_path, "unit,time,x\n" + "".join(f"a,{cell},{i}\n" for i, cell in enumerate(cells)))
        refused, _ = in_all(path, monkeypatch, time_unit="d")
        assert isinstance(refused, str) and "time_format='%" in refused, refused
        assert in_all(path, monkeypatch, time_unit="d", time_format=form)[0][3] == [0, 1, 2, 3]
    assert "which does not match time_format=" in in_all(path, monkeypatch, time_format="%d.%m.%Y")[0]
    with pytest.raises(OptionError, match="time_format='dmy'"):
        read_panel(path, time_format="dmy")
    absent = "unit,time,x\na,2024-02-28,0\na,2024-02-30,1\n"
    assert "does not exist" in in_all(written(tmp_path, absent), monkeypatch)[0]


TALL = "unit,time,tag,value\n" + "".join(
    f"{unit},{t},{tag},{value}\n"
    for unit in ("007", "7")
    for t in range(6)
    for tag, value in (("vib", t * 0.5), ("state", "RUN"), ("temp", 20 + t))
    if tag != "temp" or t % 3 == 0
)


def test_a_tall_table_is_spread_and_never_read_as_if_its_rows_were_readings(tmp_path, monkeypatch):
    """The export of every historian; sensors that were read less often are missing in between."""
    path = written(tmp_path, TALL)
    found, noted = in_all(path, monkeypatch, sensor="tag", value="value", channels=["vib", "temp"])
    assert found[:2] == (("007", "7"), ("vib", "temp")) and noted == []
    assert found[4][:4] == [[0.0, 20.0], [0.5, None], [1.0, None], [1.5, 23.0]]
    text, _ = in_all(path, monkeypatch, sensor="tag", value="value")
    assert "for the sensors 'state': row 1 holds 'RUN'" in text
    numbers = written(tmp_path, TALL.replace("RUN", "1"))
    refused, _ = in_all(numbers, monkeypatch)
    assert "looks tall" in refused and "sensor='tag', value='value'" in refused
    assert in_all(numbers, monkeypatch, sensor="tag", value="value")[0][1] == ("vib", "state", "temp")
    assert "no sensor 'tmp'" in in_all(numbers, monkeypatch, sensor="tag", value="value", channels=["tmp"])[0]
    assert "sensor is given without value" in in_all(numbers, monkeypatch, sensor="tag")[0]


def test_a_sensor_has_one_value_at_a_time(tmp_path, monkeypatch):
    text = "unit,time,tag,value\na,0,p,1\na,0,q,2\na,1,p,3\na,1,q,4\n"
    options = {"sensor": "tag", "value": "value"}
    found, noted = in_all(written(tmp_path, text + "a,1,q,4\n"), monkeypatch, **options)
    assert found[4] == [[1, 2], [3, 4]] and len(noted) == 1 and "1 rows repeat another row" in noted[0]
    found, _ = in_all(written(tmp_path, text + "a,1,q,5\n"), monkeypatch, **options)
    assert "'q' of unit 'a' at time 1.0 has the values 4 (row 3) and 5 (row 4)" in found


def test_a_wide_table_with_a_text_column_is_not_taken_for_a_tall_one(tmp_path, monkeypatch):
    text = "unit,time,shift,x\n" + "".join(f"a,{t},{'early' if t % 2 else 'late'},{t * t}\n" for t in range(8))
    found, noted = in_all(written(tmp_path, text), monkeypatch)
    assert found[1] == ("x",) and "'shift' (text)" in noted[0]


def test_a_header_with_a_line_break_in_a_name(tmp_path, monkeypatch):
    path = written(tmp_path, CSV.replace("vib", '"vib\n[mm/s]"'))
    found, _ = in_all(path, monkeypatch)
    assert found[1] == ("vib\n[mm/s]", "rpm") and len(found[4]) == 15
    assert column_names(path)[2] == "vib\n[mm/s]"


def test_encodings_when_told(tmp_path, monkeypatch):
    path = written(tmp_path, CSV.replace("vib", "T_°C").replace("m1", "mü"), "cp1252")
    found, _ = in_all(path, monkeypatch, encoding="latin-1")
    assert found[:2] == (("m0", "mü", "m2"), ("T_°C", "rpm"))
    assert column_names(path, encoding="cp1252") == ("unit", "time", "T_°C", "rpm")


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_are_those_of_python_to_the_last_bit(backend, tmp_path, monkeypatch):
    monkeypatch.setattr("cem.tables.tables._BACKENDS", (backend,))
    rng = np.random.default_rng(0)
    cells = [f"{x:.{d}f}" for x, d in zip(rng.normal(0, 1e3, 500), rng.integers(1, 17, 500), strict=True)]
    cells += [repr(x) for x in (rng.normal(0, 1, 300) * 10.0 ** rng.integers(-300, 300, 300)).tolist()]
    path = written(tmp_path, "unit,time,x\n" + "".join(f"1,{t},{cell}\n" for t, cell in enumerate(cells)))
    assert read_panel(path).values[:, 0].tolist() == list(map(float, cells))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bad_cell_far_behind_the_first_rows_is_found(backend, tmp_path, monkeypatch):
    monkeypatch.setattr("cem.tables.tables._BACKENDS", (backend,))
    rows = [f"{i // 100},{i % 100},{i},{i * 7 % 13}\n" for i in range(40_000)]
    rows[31_234] = "312,34,Bad,3\n"
    path = written(tmp_path, "unit,time,x,y\n" + "".join(rows))
    with pytest.raises(PanelError, match="1 of 40,000 cells do not: row 31234 holds 'Bad'"):
        read_panel(path)
    rows[31_234] = "A312,34,5,3\n"
    assert read_panel(written(tmp_path, "unit,time,x,y\n" + "".join(rows)), channels=["x"]).units[:2] == ("0", "1")


def test_a_table_read_without_roles_has_float64_and_text_alone(tmp_path):
    path = written(tmp_path, "id,flag,x\n007,true,1\n1e5,false,2\n")
    assert read_table(path, ids=["id"]).to_pylist() == [
        {"id": "007", "flag": True, "x": 1},
        {"id": "1e5", "flag": False, "x": 2},
    ]
    assert read_table(path)["id"].to_pylist() == [7.0, 1e5]


# ---- standard input --------------------------------------------------------------------------------------------------


class _Stream:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("backend", BACKENDS)
def test_standard_input_is_read_like_a_file(backend, monkeypatch):
    monkeypatch.setattr("cem.tables.tables._BACKENDS", (backend,))
    monkeypatch.setattr(sys, "stdin", _Stream(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()))
    assert read_panel("-").channels == ("vib", "rpm")
    monkeypatch.setattr(sys, "stdin", _Stream(CSV.replace("1511", "OFF").encode()))
    with pytest.raises(PanelError, match="row 9 holds 'OFF'"):
        read_panel("-")
    monkeypatch.setattr(sys, "stdin", _Stream(CSV.encode()))
    with pytest.raises(PanelError, match="standard input has no column 'x'"):
        read_panel("-", channels=["x"])
    monkeypatch.setattr(sys, "stdin", _Stream(CSV.encode()))
    with pytest.raises(PanelError, match=r"standard input brought more than 100 bytes.*max_bytes"):
        read_panel("-", max_bytes=100)
    monkeypatch.setattr(sys, "stdin", _Stream(b""))
    with pytest.raises(PanelError, match="standard input is empty"):
        read_panel("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(PanelError, match="standard input is closed"):
        read_panel("-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_when_its_writer_comes_later(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(CSV,))
    writer.start()
    assert read_panel(pipe).n_readings == 15
    writer.join()


@pytest.mark.slow
def test_the_command_line_reads_standard_input_and_all_that_it_is_told(tmp_path):
    text = "export of today\n".replace("export", "# export") + TALL.replace(",", ";").replace(".", ",").replace(
        "RUN", "Bad Input"
    )
    command = [sys.executable, "-m", "cem", "fit", "-", "-k", "1", "--starts", "1", "--basis", "constant", "--json",
               "--sensor-column", "tag", "--value-column", "value", "--channels", "vib,temp", "--decimal", ",",
               "--encoding", "utf-16", "--comment", "#", "--missing=-999,Bad Input"]  # fmt: skip
    run = subprocess.run(command, input=text.encode("utf-16"), capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr.decode()
    assert b'"vib"' in run.stdout and b'"007"' in run.stdout


def test_the_left_out_columns_are_a_warning_of_their_own_class(tmp_path):
    path = written(tmp_path, "unit,time,x,note\na,0,1,hm\na,1,2,so\n")
    with pytest.warns(ColumnsLeftOutWarning, match=r"'note' \(text\)"):
        read_panel(path)


@pytest.mark.parametrize("n_started", [0, 2])
def test_a_file_is_not_waited_for_where_threads_cannot_start(n_started, tmp_path, monkeypatch):
    """pyarrow would hang waiting for a thread that the limits on memory do not allow."""
    started = []

    class Limited(cem.numerics.threads._Helper):
        def start(self):
            if len(started) >= n_started:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    monkeypatch.setattr("cem.numerics.threads._Helper", Limited)
    found, _ = outcome(written(tmp_path, CSV), "pyarrow", monkeypatch)
    assert "'FILE' cannot be read: a thread could not be started (can't start new thread)" in found
    assert len(started) == n_started
    for thread in started:
        thread.join(10.0)
        assert not thread.is_alive()
