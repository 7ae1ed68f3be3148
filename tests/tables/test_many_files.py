"""`cem.read`: one call for a file, several files, and a folder whose folders' names hold ids."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.errors import OptionError, PanelError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("narwhals")


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two units in folders, one of them in two files; other writers' files beside them."""
    root = tmp_path / "lake"
    write(root / "unit=007" / "part-0.parquet", time=[0.0, 1.0], flow=[1.0, 2.0])
    write(root / "unit=007" / "part-1.parquet", time=[2.0], flow=[3.0])
    write(root / "unit=a%2Fb" / "part-0.parquet", time=[0.5], flow=[9.0])
    (root / "_SUCCESS").write_text("")
    (root / ".crc").write_text("x")
    return root


def test_a_folder_is_one_panel_and_ids_in_its_folders_names_are_texts(folder):
    """A unit 007 must not become 7, nor join another unit of that number."""
    panel = cem.read(folder)
    assert panel.units == ("007", "a/b") and panel.channels == ("flow",)
    assert panel.times.tolist() == [0.0, 1.0, 2.0, 0.5] and panel.values.ravel().tolist() == [1.0, 2.0, 3.0, 9.0]
    assert cem.read(str(folder), channels=["flow"]).values.tolist() == panel.values.tolist()


def test_numbers_in_names_of_folders_are_numbers_where_they_are_no_ids(tmp_path):
    for load, mode in (("40", "1"), ("60.5", "2")):
        write(tmp_path / f"load={load}" / f"mode={mode}" / "x.parquet", unit=[f"u{load}"], time=[0.0], flow=[1.0])
    panel = cem.read(tmp_path, channels=["flow"], covariates=["load"], mode="mode")
    assert panel.covariate("load").tolist() == [40.0, 60.5] and panel.modes == ("1", "2")


def test_a_folder_that_stands_for_null_is_a_missing_value(tmp_path):
    for site in ("x", "__HIVE_DEFAULT_PARTITION__"):
        write(tmp_path / f"site={site}" / "x.parquet", unit=[site[:3]], time=[0.0], flow=[1.0])
    panel = cem.read(tmp_path, unit_covariates=["site"])
    assert dict(zip(panel.units, panel.covariate("site"), strict=True)) == {"x": "x", "__H": None}


def test_several_files_are_one_panel_and_whole_numbers_join_fractions(tmp_path):
    one = write(tmp_path / "1.parquet", unit=[1, 1], time=[0, 1], flow=[1, 2])
    two = write(tmp_path / "2.parquet", unit=[2], time=[0.5], flow=[0.5])
    panel = cem.read([one, str(two)])
    assert panel.units == (1, 2) and panel.times.tolist() == [0.0, 1.0, 0.5]
    np.testing.assert_array_equal(panel.values.ravel(), [1.0, 2.0, 0.5])


def test_a_single_file_of_any_format_is_read_by_the_same_call(tmp_path, folder):
    table = tmp_path / "fleet.csv"
    table.write_text("pump;hours;flow\n007;0;1,5\n007;1;1,6\n")
    panel = cem.read(table, unit="pump", time="hours", decimal=",")
    assert panel.units == ("007",) and panel.values.ravel().tolist() == [1.5, 1.6]
    text = tmp_path / "train_FD001.txt"
    text.write_text("".join(f"1 {t} " + " ".join(str(t + s) for s in range(24)) + "\n" for t in (1, 2)))
    assert cem.read(text).n_channels == 21
    file = folder / "unit=007" / "part-1.parquet"
    with pytest.raises(PanelError, match="'unit' is not a column"):
        cem.read(file)  # given by itself, its folder is not part of the data


def test_what_cannot_be_one_table_is_refused_by_file_and_column(tmp_path, folder):
    csv = tmp_path / "1.csv"
    csv.write_text("unit,time,flow\n1,0,1\n")
    number = write(tmp_path / "n.parquet", unit=[1], time=[0.0], flow=[1.0])
    text = write(tmp_path / "t.parquet", unit=["2"], time=[0.0], flow=[1.0])
    more = write(tmp_path / "m.parquet", unit=[3], time=[0.0], flow=[1.0], wear=[1.0])
    (tmp_path / "empty").mkdir()
    (tmp_path / "csvs").mkdir()
    (tmp_path / "csvs" / "1.csv").write_text(csv.read_text())
    cases = [
        ([number, text], r"column 'unit' is Int64 in '.*n\.parquet' and String in '.*t\.parquet'"),
        ([number, more], r"n\.parquet' has no column 'wear', which '.*m\.parquet' has"),
        ([number, csv], r"1\.csv' is csv; several files"),
        ([], "no file was given"),
        (tmp_path / "empty", "it is empty"),
        (tmp_path / "csvs", r"holds '1\.csv'.*concatenate"),
    ]
    for path, message in cases:
        with pytest.raises(PanelError, match=message):
            cem.read(path)
    assert cem.read([number, more], channels=["flow"]).n_units == 2
    write(folder / "unit=8" / "x.parquet", unit=["8"], time=[0.0], flow=[1.0])
    with pytest.raises(PanelError, match=r"has a column 'unit', and so has the name of its folder"):
        cem.read(folder)


def test_files_in_folders_for_different_columns_are_refused(folder):
    write(folder / "x.parquet", time=[0.0], flow=[1.0])
    with pytest.raises(PanelError, match="all files need the same"):
        cem.read(folder)


def test_an_unknown_option_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(OptionError, match=r"'covariate'.*'covariates'"):
        cem.read(tmp_path, covariate=["x"])
    with pytest.raises(FileNotFoundError):
        cem.read(tmp_path / "none.csv")


def test_a_panel_of_files_leaves_in_the_usual_library_and_not_in_the_one_that_read_them(folder, tmp_path):
    pytest.importorskip("pandas")
    (tmp_path / "fleet.csv").write_text("unit,time,flow\n1,0,1.5\n1,1,1.6\n")
    for panel in (cem.read(folder), cem.read(tmp_path / "fleet.csv")):
        assert type(panel.to_frame()).__module__.startswith("pandas")


@pytest.mark.parametrize("backend", ["polars", "pandas"])
def test_folders_are_read_by_each_library_alone(folder, monkeypatch, backend):
    pytest.importorskip(backend)
    from cem.tables import tables

    monkeypatch.setattr(tables, "_BACKENDS", (backend,))
    panel = cem.read(folder)
    assert panel.units == ("007", "a/b") and panel.values.ravel().tolist() == [1.0, 2.0, 3.0, 9.0]
