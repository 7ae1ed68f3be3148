"""``cem plot``: each picture is written, whole, and what cannot be drawn is refused by name."""

from __future__ import annotations

import pytest

import cem
from cem.cli import commands as cli

FIT = ["--modes", "2", "--basis", "polynomial:1", "--starts", "2", "--covariance", "pooled", "--max-iter", "30"]
BEGINS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    pytest.importorskip("matplotlib", minversion="3.8")
    folder = tmp_path_factory.mktemp("plot")
    assert cli.main(["demo", "--write", str(folder / "fleet"), "--json"]) == 0
    table = str(folder / "fleet" / "fleet.csv")
    life = ["--failure-time", "failure_time", "--response", "wear", "--channels", "wear,debris,noise"]
    for name, axis in (("forward.cem", "forward"), ("lives.cem", "to_failure")):
        assert cli.main(["fit", table, *FIT, *life, "--time-axis", axis, "--output", str(folder / name)]) == 0
    return folder


def plotted(work, output, model, *more):
    from matplotlib import pyplot

    code = cli.main(["plot", str(work / f"{model}.cem"), *map(str, more), "-o", str(output)])
    pyplot.close("all")
    return code


def units(work, name="running"):
    lines = (work / "fleet" / f"{name}.csv").read_text().splitlines()
    return list(dict.fromkeys(line.split(",")[0] for line in lines[1:]))


@pytest.mark.parametrize(
    ("what", "model", "needs_file", "more"),
    [
        ("trajectories", "forward", True, []),
        ("trajectories", "lives", False, ["--channel", "wear,noise"]),
        ("probabilities", "forward", True, ["--id"]),
        ("probabilities", "lives", True, ["--id"]),
        ("lives", "forward", True, ["--threshold", "1", "--id"]),
        ("lives", "lives", True, ["--id"]),
        ("residuals", "forward", True, ["--channel", "debris"]),
        ("quantiles", "forward", True, ["--channel", "debris"]),
        ("quantiles", "forward", True, []),  # all channels together
        ("novelty", "forward", True, []),
        ("coefficients", "forward", True, []),
        ("starts", "forward", False, []),
    ],
)
def test_each_picture_is_written(work, tmp_path, what, model, needs_file, more):
    table = [work / "fleet" / "fleet.csv" if what == "trajectories" else work / "fleet" / "running.csv"]
    if "--id" in more:
        more = [*more, units(work)[0]]
    output = tmp_path / "picture.png"
    assert plotted(work, output, model, *(table if needs_file else []), "--what", what, *more) == 0
    assert output.read_bytes().startswith(BEGINS["png"]) and len(output.read_bytes()) > 5000


def test_regimes_are_drawn(tmp_path):
    assert cli.main(["demo", "--fleet", "compressors", "--write", str(tmp_path), "--json"]) == 0
    regimes = ["--channels", "temperature,power", "--regimes", "speed,valve:3"]
    fit = ["fit", str(tmp_path / "fleet.csv"), "-k", "1", "--basis", "polynomial:1", "--starts", "1", *regimes]
    assert cli.main([*fit, "-o", str(tmp_path / "r.cem")]) == 0
    assert plotted(tmp_path, tmp_path / "r.svg", "r", "--what", "regimes") == 0
    assert (tmp_path / "r.svg").read_bytes().startswith(BEGINS["svg"])


@pytest.mark.parametrize("kind", BEGINS)
def test_the_ending_chooses_the_format_and_the_same_model_gives_the_same_picture(work, tmp_path, kind, capsys):
    """A picture kept under version control must not change with the time of day."""
    output = tmp_path / f"starts.{kind}"
    assert plotted(work, output, "forward", "--what", "starts") == 0
    assert f"written: {output}" in capsys.readouterr().out
    first = output.read_bytes()
    assert first.startswith(BEGINS[kind])
    if kind != "svg":  # matplotlib draws new ids into every SVG
        assert plotted(work, output, "forward", "--what", "starts") == 0
        assert output.read_bytes() == first


def test_a_calibrated_prognosis_is_drawn(work, tmp_path):
    panel = cem.datasets.load_demo_fleet(modes=False)[:40]
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=1, covariance="pooled", time_axis="to_failure")
    prognosis = cem.RemainingLife(em.fit(panel).model_).calibrated(panel, em, ages=2, n_folds=2, correct=False)
    prognosis.save(tmp_path / "calibrated.cem")
    assert plotted(tmp_path, tmp_path / "c.png", "calibrated", "--what", "calibration") == 0
    assert (tmp_path / "c.png").read_bytes().startswith(BEGINS["png"])


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("forward", ["--what", "novelty"], "give a FILE"),
        ("forward", ["FILE", "--what", "starts"], "leave the file"),
        ("forward", ["FILE", "--what", "residuals", "--channel", "wear,noise"], "names 2"),
        ("forward", ["FILE", "--what", "novelty", "--channel", "wear"], "leave --channel out"),
        ("forward", ["FILE", "--what", "residuals", "--channel", "wera"], "did you mean 'wear'"),
        ("forward", ["FILE", "--channel", "wera"], "'wera'"),
        ("forward", ["FILE", "--what", "novelty", "--id", "P1"], "leave --id out"),
        ("forward", ["FILE", "--what", "probabilities"], "--id "),
        ("forward", ["FILE", "--what", "probabilities", "--id", "nobody"], "no such unit"),
        ("forward", ["FILE", "--what", "lives", "--id", "FIRST"], "--threshold"),
        ("lives", ["FILE", "--what", "lives", "--threshold", "1", "--id", "FIRST"], "leave them out"),
        ("forward", ["FILE", "--what", "novelty", "--threshold", "1"], "--what lives"),
        ("forward", ["--what", "calibration"], "forward time axis"),
        ("lives", ["--what", "calibration"], "has no calibration"),
        ("forward", ["--what", "regimes"], "no regimes"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(work, tmp_path, capsys, model, more, said):
    words = {"FILE": work / "fleet" / "running.csv", "FIRST": units(work)[0]}
    capsys.readouterr()
    assert plotted(work, tmp_path / "p.png", model, *(words.get(word, word) for word in more)) == 1
    err = capsys.readouterr().err
    assert said in err and err.splitlines()[-1].startswith("cem: ")
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize("name", ["picture.jpg", "picture"])
def test_an_unknown_format_is_refused_before_the_work(work, tmp_path, capsys, name):
    assert plotted(work, tmp_path / name, "missing-model", "--what", "starts") == 1
    assert ".png, .svg or .pdf" in capsys.readouterr().err


def test_without_matplotlib_the_way_to_install_it_is_named(work, tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["plot", str(work / "forward.cem"), "--what", "starts", "-o", str(tmp_path / "p.png")]) == 1
    assert "cem-failure-modes[plot]" in capsys.readouterr().err
