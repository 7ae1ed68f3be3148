"""The reader of NASA's C-MAPSS text, on text made here and on the real files where they are present."""

from __future__ import annotations

import numpy as np
import pytest
from places import SHARED_DATA

from cem.errors import OptionError, PanelError
from cem.tables.cmapss import CMAPSS_COLUMNS, read_cmapss
from cem.tables.tables import file_format, read_panel

DATA = SHARED_DATA / "cmapss"
real = pytest.mark.skipif(
    not (DATA / "train_FD001.txt").is_file(),
    reason="the C-MAPSS files are not there; set CEM_SHARED_DATA to the folder that holds cmapss/train_FD001.txt",
)


@pytest.fixture
def engines(tmp_path):
    """Unit 2 of 3 cycles before unit 1 of 2, its cycles out of order; column j of cycle t holds 100 j + t."""
    lines = [[2, 3], [2, 1], [2, 2], [1, 1], [1, 2]]
    path = tmp_path / "train_small.txt"
    path.write_text(
        "".join(" ".join(map(str, [*row, *(100 * j + row[1] for j in range(24))])) + " \n" for row in lines)
    )
    return path


def test_columns_go_where_their_names_say(engines):
    panel = read_cmapss(engines, channels=["s21", "setting1", "s1"])
    assert panel.units == (1, 2) and panel.time_unit == "cycles" and panel.times.tolist() == [1, 2, 1, 2, 3]
    assert panel.values[:2].tolist() == [[2301, 1, 301], [2302, 2, 302]]
    assert panel.failure_times.tolist() == [2.0, 3.0]
    assert read_cmapss(engines).channels == CMAPSS_COLUMNS[5:]
    assert read_cmapss(engines, settings=True, response="s4").channels == CMAPSS_COLUMNS[2:]


def test_settings_are_covariates_where_engines_fly_at_several_conditions(engines):
    """As channels they split the modes by flight condition."""
    settings = ["setting1", "setting2", "setting3"]
    panel = read_cmapss(engines, covariates=settings)
    assert panel.covariates == tuple(settings) and panel.channels == CMAPSS_COLUMNS[5:]
    assert panel.covariate("setting2").tolist() == [101, 102, 101, 102, 103]
    assert "s1" not in read_cmapss(engines, covariates=["s1"], settings=True).channels
    same = read_panel(engines, covariates=settings, channels=["s1"], response="s2")
    assert same.channels == ("s1", "s2") and same.covariates == panel.covariates
    assert read_panel(engines, covariates=["setting1"], response="setting2").channels[-1] == "setting2"
    with pytest.raises(PanelError, match="'setting1' is a channel and is named in covariates too"):
        read_cmapss(engines, covariates=settings, settings=True)
    with pytest.raises(PanelError, match="'s1' is a channel and"):
        read_cmapss(engines, covariates=["s1"], channels=["s1", "s2"])
    with pytest.raises(PanelError, match="no covariate 'seting1'; did you mean 'setting1'"):
        read_cmapss(engines, covariates=["seting1"])
    with pytest.raises(PanelError, match=r"one string 'setting1': write \['setting1'\]"):
        read_cmapss(engines, covariates="setting1")
    with pytest.raises(OptionError, match=r"unit_covariates=.*C-MAPSS text has no such column"):
        read_panel(engines, unit_covariates=["site"])


def test_running_units_and_true_remaining_lives(engines, tmp_path):
    assert np.isnan(read_cmapss(engines, run_to_failure=False).failure_times).all()
    rul = tmp_path / "RUL.txt"
    rul.write_text("10 \n20 \n")
    assert read_cmapss(engines, rul=rul).failure_times.tolist() == [12.0, 23.0]
    test = engines.rename(tmp_path / "test_small.txt")
    assert np.isnan(read_cmapss(test).failure_times).all()
    assert read_cmapss(test, run_to_failure=True).failure_times.tolist() == [2.0, 3.0]


def test_what_is_not_cmapss_is_refused(engines, tmp_path):
    with pytest.raises(PanelError, match="did you mean 's2'"):
        read_cmapss(engines, channels=["s2x"])
    with pytest.raises(PanelError, match="not both"):
        read_cmapss(engines, rul=engines, run_to_failure=True)
    rul = tmp_path / "RUL.txt"
    rul.write_text("10\n")
    with pytest.raises(PanelError, match="each of the 2 units"):
        read_cmapss(engines, rul=rul)
    rul.write_text("10\n-1\n")
    with pytest.raises(PanelError, match="row 1 is negative"):
        read_cmapss(engines, rul=rul)
    for text, message in (("", "empty"), ("1 2 3\n", "3 columns"), ("1 2 x\n", "not blank-separated"),
                          ("1 2\n1 2 3\n", "equal length")):  # fmt: skip
        rul.write_text(text)
        with pytest.raises(PanelError, match=message):
            read_cmapss(rul)
    with pytest.raises(OSError, match="none"):
        read_cmapss(tmp_path / "none.txt")


@real
@pytest.mark.parametrize(
    ("name", "rows", "lives"), [("train_FD001.txt", 20_631, (128, 362)), ("train_FD003.txt", 24_720, (145, 525))]
)
def test_real_training_files_hold_the_published_numbers(name, rows, lives):
    panel = read_cmapss(DATA / name)
    assert (panel.n_units, panel.n_readings, panel.n_channels) == (100, rows, 21)
    assert (panel.failure_times.min(), panel.failure_times.max()) == lives
    assert np.all(panel.counts == np.diff(panel.offsets)[:, None])
    constant = {name for c, name in enumerate(panel.channels) if np.ptp(panel.values[:, c]) == 0}
    assert {"s1", "s5", "s16", "s18", "s19"} <= constant


@real
def test_real_test_file_with_its_remaining_lives():
    panel = read_cmapss(DATA / "test_FD001.txt", rul=DATA / "RUL_FD001.txt")
    assert (panel.n_units, panel.n_readings) == (100, 13_096)
    last = panel.times[panel.offsets[1:] - 1]
    assert (panel.failure_times - last)[:5].tolist() == [112, 98, 69, 82, 91]


@real
def test_real_labels_join_by_unit():
    table = np.genfromtxt(DATA / "fd003_train_modes.csv", delimiter=",", dtype=None, encoding="utf-8", names=True)
    unit, mode = table.dtype.names[:2]
    panel = read_cmapss(DATA / "train_FD003.txt").with_modes(
        dict(zip(table[unit].tolist(), table[mode].tolist(), strict=True))
    )
    assert panel.mode_labels == ("fan", "hpc") and np.bincount(panel.mode_codes).tolist() == [44, 56]


_LINES = [
    f"{unit} {cycle} " + " ".join(str(unit + cycle + s) for s in range(24)) for unit in (1, 2) for cycle in (1, 2, 3)
]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + "\n".join(_LINES),
        "\r\n".join(_LINES) + "\r\n",
        "\r".join(_LINES),
        "\n".join(_LINES) + "\n\x1a",
        " ".join(["unit", "cycle", *"abcdefghijklmnopqrstuvwx"]) + "\n" + "\n".join(_LINES),
        "\ufeff" + " ".join(CMAPSS_COLUMNS) + "\r\n" + "\r\n".join(_LINES),
    ],
    ids=["byte order mark", "CRLF", "old Mac", "ctrl-Z", "header", "header and mark"],
)
def test_text_with_a_mark_a_header_or_other_line_ends(text, tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(text.encode())
    assert file_format(path) == "cmapss"
    for panel in (read_cmapss(path), read_panel(path)):
        assert (
            panel.units == (1, 2) and panel.n_readings == 6 and panel.values[0, 0] == 5 and panel.failure_times[0] == 3
        )


def test_a_header_in_another_order_is_refused(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text(" ".join(["cycle", "unit", *CMAPSS_COLUMNS[2:]]) + "\n" + "\n".join(_LINES))
    with pytest.raises(PanelError, match="calls column 1 'cycle', but of C-MAPSS text that is column 2"):
        read_cmapss(path)


def test_a_header_over_the_remaining_lives_is_skipped(tmp_path):
    (tmp_path / "test.txt").write_text("\n".join(_LINES))
    (tmp_path / "RUL.txt").write_text("RUL\n10\n20\n")
    assert read_cmapss(tmp_path / "test.txt", rul=tmp_path / "RUL.txt").failure_times.tolist() == [13.0, 23.0]
