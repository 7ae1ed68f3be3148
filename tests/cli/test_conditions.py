"""Reading conditions on the command line: what is named at the fit is read again when units are scored."""

from __future__ import annotations

import json

import numpy as np
import pytest
from csv_files import write_csv

import cem
from cem.cli import commands as cli
from cem.cli.conditions import covariate_choice, regimes_choice
from cem.covariates import Category, Linear, Power, Spline

HEADER = ("unit", "time", "s1", "s2", "load", "speed", "opmode", "site", "age0", "ambient")
FIT = ["--channels", "s1,s2", "--modes", "2", "--basis", "polynomial:1", "--starts", "3", "--covariance", "pooled"]


def fleet_rows(n_units=24, seed=3):
    """Two modes that differ in the slope of s1. Three loads, the operating modes 1, 2 and 5, move it far more."""
    generator = np.random.default_rng(seed)
    rows = []
    for unit in range(n_units):
        slope, other, age0 = (1.0, -1.0)[unit % 2], 50 + generator.standard_normal(), generator.random()
        for t in range(12):
            place = generator.integers(3)
            load = (10.0, 40.0, 90.0)[place] + generator.standard_normal()
            ambient = 20 + 5 * generator.standard_normal()
            s1 = 10 + 2.0 * load + slope * t + 0.2 * generator.standard_normal()
            s2 = other - 0.5 * load + 0.4 * ambient + 0.3 * generator.standard_normal()
            rows.append(
                (f"m{unit}", t, round(s1, 4), round(s2, 4), round(load, 3), round(load * 20 + 100), (1, 2, 5)[place],
                 ("mill", "mine")[unit % 2] if unit % 5 else "mill", round(age0, 3),
                 round(ambient, 2))
            )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def fleet_csv(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("fleet") / "fleet.csv", fleet_rows(), HEADER)


def without(rows, *names):
    kept = [i for i, name in enumerate(HEADER) if name not in names]
    return [[row[i] for i in kept] for row in rows], [HEADER[i] for i in kept]


def run(*words):
    return cli.main([*map(str, words)])


def as_json(capsys, *words):
    assert run(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def error_of(capsys, *words):
    assert run(*words) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("cem: ") and captured.out == ""
    return lines[0]


def usage_error_of(capsys, *words):
    with pytest.raises(SystemExit) as raised:
        run(*words)
    assert raised.value.code == 2
    return capsys.readouterr().err


def is_by_slope(document):
    modes = {entry["unit"]: entry["mode"] for entry in document["assignments"]}
    return (
        len({modes[f"m{unit}"] for unit in range(0, 24, 2)})
        == len({modes[f"m{unit}"] for unit in range(1, 24, 2)})
        == 1
    )


# ---- what the options mean ---------------------------------------------------------------------------------------


FORMS = [
    (["--covariate", "load"], {"covariates": [Linear("load")]}),
    (["--covariate", "load:power=2"], {"covariates": [Power("load", 2)]}),
    (["--covariate", "load:spline=5,by-mode"], {"covariates": [Spline("load", 5, by_mode=True)]}),
    (["--covariate", "load:by-time"], {"covariates": [Linear("load", basis_functions="all")]}),
    (["--covariate", "load", "--covariate", "site"], {"covariates": [Linear("load"), Category("site")]}),
    (["--covariate", "load", "--unit-covariate", "age0"], {"covariates": [Linear("load"), Linear("age0")]}),
    (["--regimes", "load,speed:3"], {"regimes": cem.Regimes(["load", "speed"], 3)}),
    (["--regimes", "load@20,60"], {"regimes": cem.Regimes("load", cuts=[20, 60])}),
    (["--regimes", "load:3", "--unknown-regime", "nearest"], {"regimes": cem.Regimes("load", 3, unknown="nearest")}),
    (["--regimes", "load:3", "--membership", "site"],
     {"regimes": cem.Regimes("load", 3), "membership": [Category("site")]}),
    (["--regimes", "load:3", "--random", "none"], {"regimes": cem.Regimes("load", 3), "random_columns": "none"}),
    (["--covariate", "load", "--noise", "pooled"], {"covariates": [Linear("load")], "noise": "pooled"}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")
@pytest.mark.parametrize(("words", "options"), FORMS, ids=[" ".join(words) for words, _ in FORMS])
def test_options_mean_the_estimators_own(fleet_csv, words, options, capsys):
    """Otherwise the command line fits another model than the one that its help describes."""
    document = as_json(capsys, "fit", fleet_csv, *FIT, *words)
    panel = cem.tables.read_panel(
        fleet_csv, channels=["s1", "s2"], covariates=["load", "speed"], unit_covariates=["site", "age0"]
    )
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=3, covariance="pooled", random_state=0, **options)
    assert document["training"]["log_likelihood"] == pytest.approx(em.fit(panel).log_likelihood_, rel=1e-10)
    assert document["training"]["n_parameters"] == em.n_parameters_


def test_random_degree_is_the_bases_own(fleet_csv, capsys):
    words = ["--covariate", "load", "--random-degree", "0"]
    document = as_json(capsys, "fit", fleet_csv, *FIT, *words)
    panel = cem.tables.read_panel(fleet_csv, channels=["s1", "s2"], covariates=["load"])
    em = cem.FailureModeEM(
        2, basis=cem.Polynomial(1, random_degree=0), n_init=3, covariance="pooled", random_state=0, covariates="load"
    )
    assert document["training"]["log_likelihood"] == pytest.approx(em.fit(panel).log_likelihood_, rel=1e-10)


@pytest.mark.parametrize("words", [["--covariate", "load"], ["--regimes", "load:3"], ["--regimes", "opmode"]])
def test_the_modes_are_those_of_the_slopes(fleet_csv, words, capsys):
    """Without a load the modes follow it, and the fit warns of a common cause."""
    assert is_by_slope(as_json(capsys, "fit", fleet_csv, *FIT, *words))
    alone = as_json(capsys, "fit", fleet_csv, *FIT)
    assert any(text.startswith("CommonCauseWarning") for text in alone["warnings"])


def test_numbers_of_operating_modes_are_a_category(fleet_csv, capsys):
    """Plants number their operating modes, and a file cannot say that these are names."""
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--regimes", "opmode")
    assert [regime["label"] for regime in document["regimes"]] == ["opmode=1", "opmode=2", "opmode=5"]
    assert document["covariates"] == [{"name": "opmode", "of_unit": False, "levels": [1, 2, 5], "range": None}]
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--covariate", "opmode:category")
    assert document["covariates"][0]["levels"] == [1, 2, 5] and document["regimes"] is None


def test_a_column_of_a_tall_table_or_one_of_its_sensors_is_a_covariate(tmp_path, capsys):
    """Historians export one row per reading of a sensor, the load among them."""
    rows, more = fleet_rows(), []
    for unit, t, s1, s2, load, _, opmode, *_ in rows:
        more += [(unit, t, tag, value, opmode) for tag, value in (("s1", s1), ("s2", s2), ("load", load))]
    tall = write_csv(tmp_path / "tall.csv", more, ("unit", "time", "tag", "value", "opmode"))
    columns = ["--sensor-column", "tag", "--value-column", "value"]
    assert is_by_slope(as_json(capsys, "fit", tall, *FIT, *columns, "--covariate", "load"))
    document = as_json(capsys, "fit", tall, *FIT, *columns, "--regimes", "opmode")
    assert is_by_slope(document) and len(document["regimes"]) == 3


def test_a_tall_table_is_scored_like_a_wide_one(fleet_csv, model_file, tmp_path, capsys):
    """And a covariate that is neither a sensor nor a column is named."""
    rows, columns = [], ["--sensor-column", "tag", "--value-column", "value"]
    for unit, t, s1, s2, _, _, opmode, site, _, ambient in fleet_rows():
        rows += [(unit, t, tag, x, opmode, site) for tag, x in (("s1", s1), ("s2", s2), ("ambient", ambient))]
    header = ("unit", "time", "tag", "value", "opmode", "site")
    tall = write_csv(tmp_path / "tall.csv", rows, header)
    wide = {entry["unit"]: entry for entry in as_json(capsys, "score", model_file, fleet_csv)["units"]}
    for entry in as_json(capsys, "score", model_file, tall, *columns)["units"]:
        assert entry == wide[entry["unit"]]
    short = write_csv(tmp_path / "short.csv", [row for row in rows if row[2] != "ambient"], header)
    assert "no column 'ambient'" in error_of(capsys, "score", model_file, short, *columns)


def cmapss_text(path):
    generator = np.random.default_rng(0)
    rows = []
    for unit in range(1, 13):
        for cycle in range(1, 11):
            altitude = 20.0 * generator.integers(3)
            wear = (unit % 2 - 0.5) * cycle
            sensors = [600 - 8.0 * altitude + wear * (s == 1) + generator.random() for s in range(21)]
            rows.append([unit, cycle, altitude, 0.1 * generator.random(), 100, *sensors])
    np.savetxt(path, rows, fmt=["%d", "%d", *["%.4f"] * 24])
    return path


def test_settings_of_c_mapss_text_are_covariates_by_name(tmp_path, capsys):
    """Engines of FD002 fly at six conditions."""
    fleet = cmapss_text(tmp_path / "train.txt")
    words = ["fit", fleet, "--channels", "s2,s3", "-k", 2, "--basis", "polynomial:1", "--starts", 3]
    document = as_json(capsys, *words, "--regimes", "setting1:3")
    modes = {entry["unit"]: entry["mode"] for entry in document["assignments"]}
    assert all(modes[unit] == modes[1 + (unit + 1) % 2] for unit in range(1, 13))
    assert [regime["label"] for regime in document["regimes"]] == ["setting1=0", "setting1=20", "setting1=40"]
    assert "no such column" in error_of(capsys, *words, "--unit-covariate", "setting1")


# ---- scores ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_file(fleet_csv, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "fleet.cem"
    words = ["--regimes", "opmode", "--covariate", "ambient", "--membership", "site"]
    assert run("fit", fleet_csv, *FIT, *words, "--output", path) == 0
    return path


def test_scoring_needs_no_options(fleet_csv, model_file, capsys):
    document = as_json(capsys, "score", model_file, fleet_csv)
    panel = cem.tables.read_panel(
        fleet_csv, channels=["s1", "s2"], covariates=["opmode", "ambient"], unit_covariates=["site"]
    )
    model = cem.load(model_file)
    got = [list(entry["probabilities"].values()) for entry in document["units"]]
    np.testing.assert_allclose(got, model.predict_proba(panel), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose([entry["novelty"] for entry in document["units"]], model.novelty(panel), rtol=1e-12)


def test_a_missing_column_is_named(model_file, tmp_path, capsys):
    """A score without the load would be that of another load."""
    for name, whose in (("ambient", "with every reading"), ("opmode", "with every reading"), ("site", "of every unit")):
        path = write_csv(tmp_path / "short.csv", *without(fleet_rows(2), name))
        line = error_of(capsys, "score", model_file, path)
        assert f"no column {name!r}" in line and whose in line


def test_a_cell_or_level_that_the_model_cannot_read_is_named(model_file, tmp_path, capsys):
    rows = fleet_rows(2)
    rows[3] = (*rows[3][:9], "")
    line = error_of(capsys, "score", model_file, write_csv(tmp_path / "gap.csv", rows, HEADER))
    assert "'ambient'" in line and "'m0'" in line and "time 3" in line
    rows = fleet_rows(2)
    rows[3] = (*rows[3][:6], 7, *rows[3][7:])
    line = error_of(capsys, "score", model_file, write_csv(tmp_path / "level.csv", rows, HEADER))
    assert "'opmode'" in line and "'m0'" in line and "7" in line


def test_levels_that_look_like_numbers_stay_levels(tmp_path, capsys):
    """The field has only machines of the sites 1 and 2, the training fleet had one of site 2b too."""
    sites = ("1", "2", "2b")
    rows = [(*row[:7], sites[int(row[0][1:]) % 3], *row[8:]) for row in fleet_rows()]
    fleet, model = write_csv(tmp_path / "fleet.csv", rows, HEADER), tmp_path / "fleet.cem"
    assert run("fit", fleet, *FIT, "--covariate", "load", "--unit-covariate", "site", "--output", model) == 0
    capsys.readouterr()
    whole = {entry["unit"]: entry for entry in as_json(capsys, "score", model, fleet)["units"]}
    field = write_csv(tmp_path / "field.csv", [row for row in rows if row[7] != "2b"], HEADER)
    for entry in as_json(capsys, "score", model, field)["units"]:
        assert entry == whole[entry["unit"]]


def test_info_says_what_the_model_reads(model_file, capsys):
    document = as_json(capsys, "info", model_file)
    assert {entry["name"]: entry["of_unit"] for entry in document["covariates"]} == {
        "ambient": False, "opmode": False, "site": True,
    }  # fmt: skip
    assert run("info", model_file) == 0
    text = capsys.readouterr().out
    assert "'mill', 'mine'" in text and "opmode=5" in text


def test_a_plain_model_reads_no_conditions(fleet_csv, tmp_path, capsys):
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--output", tmp_path / "plain.cem")
    assert document["covariates"] == [] and document["regimes"] is None
    assert run("info", tmp_path / "plain.cem") == 0
    assert "Reading conditions" not in capsys.readouterr().out


def test_skill_is_stated_with_lives(tmp_path, capsys):
    """Lives that follow the load look like any others."""
    fleet = cem.datasets.load_compressor_fleet()[:40]
    options = {"basis": cem.Exponential([60.0]), "covariance": "pooled", "time_axis": "to_failure", "random_state": 0}
    running, files = tmp_path / "running.csv", {}
    for name, more in (("alone", {}), ("loads", {"regimes": cem.Regimes("speed", n=3)})):
        em = cem.FailureModeEM(2, n_init=3, **options, **more)
        with pytest.warns() if name == "alone" else _nothing():
            lives = cem.RemainingLife(em.fit(fleet).model_).calibrated(fleet, em, ages=2, n_folds=2, correct=False)
        files[name] = tmp_path / f"{name}.cem"
        lives.save(files[name])
    unit = fleet[0].until(100.0)
    names = (*fleet.channels, "speed")
    columns = np.column_stack([unit.values, unit.covariate("speed")])
    rows = [["c", t, *("" if np.isnan(x) else x for x in row)] for t, row in zip(unit.times, columns, strict=True)]
    write_csv(running, rows, ("unit", "time", *names))
    assert run("rul", files["loads"], running) == 0
    captured = capsys.readouterr()
    assert "skill against no sensors: 0." in captured.out and captured.err == ""
    assert run("rul", files["loads"], running, "--output", tmp_path / "lives.txt") == 0
    assert (tmp_path / "lives.txt").read_text() == captured.out
    assert as_json(capsys, "rul", files["loads"], running)["skill"] > 0
    document = as_json(capsys, "rul", files["alone"], running)
    assert document["skill"] <= 0 and document["warnings"][0].startswith("NoSkillWarning")


def test_a_threshold_is_crossed_at_given_conditions(fleet_csv, model_file, tmp_path, capsys):
    """At another load the same machine reaches the limit at another time, or never."""
    words = ["rul", model_file, fleet_csv, "--channel", "s1", "--threshold", 120, "--direction", "upper"]
    line = error_of(capsys, *words)
    assert "--at ambient=VALUE,opmode=VALUE" in line or "--at opmode=VALUE,ambient=VALUE" in line
    assert "--at last" in line
    assert "a number was expected" in error_of(capsys, *words, "--at", "ambient=warm,opmode=1")
    assert "'opmode'" in error_of(capsys, *words, "--at", "ambient=20,opmode=9")
    assert "'lode'" in error_of(capsys, *words, "--at", "lode=20")
    units = as_json(capsys, *words, "--at", "ambient=20,opmode=2")["units"]
    model = cem.load(model_file)
    panel = cem.tables.read_panel(
        fleet_csv, channels=["s1", "s2"], covariates=["opmode", "ambient"], unit_covariates=["site"]
    )
    passage = model.remaining_life(
        panel, 120, channel="s1", direction="upper", covariates={"ambient": 20.0, "opmode": 2}
    )
    np.testing.assert_allclose([unit["p_crossed"] for unit in units], passage.probability_crossed, rtol=1e-12)
    last = as_json(capsys, *words, "--at", "last")["units"]
    passage = model.remaining_life(panel, 120, channel="s1", direction="upper", covariates="last")
    np.testing.assert_allclose([unit["p_never"] for unit in last], passage.probability_never, rtol=1e-12)


def test_conditions_without_a_threshold_are_refused(fleet_csv, model_file, capsys):
    assert "--threshold" in error_of(capsys, "rul", model_file, fleet_csv, "--at", "last")
    for text in ("load", "=3", "load=1,load=2", "load="):
        assert "argument --at" in usage_error_of(capsys, "rul", model_file, fleet_csv, "--at", text)


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--covariate", "load:cubic"], "'cubic' is not a form"),
        (["--covariate", "load:power"], "power=2"),
        (["--covariate", "load:power=x"], "'power=x' is not a form"),
        (["--covariate", "load:power=99"], "degree"),
        (["--covariate", "load:linear,spline"], "more than one curve"),
        (["--covariate", "load:by-mode,by-mode"], "twice"),
        (["--covariate", ":linear"], "COLUMN:FORM"),
        (["--covariate", "load:"], "COLUMN:FORM"),
        (["--unit-covariate", "site:level"], "'level' is not a form"),
        (["--membership", "site:by-mode"], "'by-mode' is no form of --membership"),
        (["--regimes", "load,speed"], "need n"),
        (["--regimes", "load@low"], "behind @"),
        (["--regimes", "load@60,20"], "ascending"),
        (["--regimes", "load,speed@20"], "cuts limit the regimes of one covariate"),
        (["--regimes", "load:1"], "2 to 100"),
        (["--random-degree", "-1"], "whole number"),
        (["--random", "none", "--random-degree", "1"], "not allowed with"),
    ],
)
def test_wrong_forms_are_named(words, said, capsys):
    """A form that is not understood must not become a column's name, or another form."""
    assert said in usage_error_of(capsys, "fit", "fleet.csv", *FIT, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--covariate", "lode"], "no column 'lode'; did you mean 'load'"),
        (["--covariate", "s1"], "both a covariate and a channel"),
        (["--covariate", "load", "--unit-covariate", "load"], "--covariate and --unit-covariate both name 'load'"),
        (["--covariate", "site", "--membership", "site"], "--covariate and --membership both name 'site'"),
        (["--unit-covariate", "load"], "varies within unit 'm0'"),
        (["--covariate", "site:spline"], "'site' is a category"),
        (["--covariate", "load:category"], "'load' is a category with the level"),
        (["--regimes", "load"], "load:N"),
        (["--regimes", "site:2"], "is a category"),
        (["--random-degree", "2"], "lower degree"),
        (["--random-degree", "1", "--basis", "s2=constant"], "'s2' is Constant()"),
        (["--covariate", "load", "--covariate", "load"], "twice"),
    ],
)
def test_options_that_the_file_does_not_allow_are_one_line(fleet_csv, words, said, capsys):
    assert said in error_of(capsys, "fit", fleet_csv, *FIT, *words)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("load:kW:linear", ("load:kW", "linear")),
        ("oil level", ("oil level", "")),
        ("a=b", ("a=b", "")),
        (" load : spline = 5", None),
    ],
)
def test_names_with_marks_of_their_own(text, choice):
    if choice is None:
        with pytest.raises(cli.argparse.ArgumentTypeError):
            covariate_choice(text)
    else:
        assert covariate_choice(text) == choice


def test_names_of_regimes_with_marks_of_their_own():
    assert regimes_choice("op:mode") == (("op:mode",), None, None)
    assert regimes_choice("a, b:6") == (("a", "b"), 6, None)
    assert regimes_choice("load:kW@-1,2.5") == (("load:kW",), None, (-1.0, 2.5))


def test_options_are_read_as_utf_8_in_the_c_locale():
    """Services run in it: a column Druck (Öl) would not be found."""
    from cem.cli.options import readable

    options = cli._parser().parse_args(
        ["fit", "f.csv", "-k", "1", "--covariate", "\udcc3\udc96l", "--regimes", "\udcc3\udc96l:3"]
    )
    options = readable(options)
    assert options.covariate == [("Öl", "")] and options.regimes == (("Öl",), 3, None)
