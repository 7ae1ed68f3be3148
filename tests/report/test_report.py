"""The page: self-contained, the same bytes every time, names escaped, and plain about what it lacks."""

from __future__ import annotations

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest
from conditioned_fleets import conditioned_fleet
from conditioned_fleets import fitted as conditioned_fit
from life_cases import fitted
from life_cases import fleet as life_fleet

import cem
from cem.basis.families import Polynomial
from cem.covariates import Linear, Regimes
from cem.errors import MissingPackageError, OptionError, PredictionError
from cem.prognosis.remaining_life import RemainingLife

EVIL = '<script>alert("x")</script>&$a_b$'
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Tags(HTMLParser):
    """Elements that are open, all tags, and ids; fails where a tag closes another one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert not tags.open
    return tags


@pytest.fixture(scope="module")
def page(model, fleet):
    return model.report(fleet)


@pytest.fixture(scope="module")
def lives():
    panel = life_fleet(30, 0, every=6.0)
    return fitted(panel).model_, panel


def test_a_reader_finds_every_section(page):
    tags = read(page)
    for key in ("warnings", "fitted", "data", "modes", "starts", "units", "lives"):
        assert key in tags.ids
    assert "vibration [mm/s]" in page and "Polynomial(degree=2)" in page and "Panel of 160 units" in page
    assert tags.tags.count("svg") >= 8 + 1 + 1  # channels, starts, novelty


def test_the_page_asks_for_nothing_from_elsewhere(page):
    """It opens on a machine without a network, and tells nobody that it was opened."""
    tags = read(page)
    assert not re.search(r"https?:|//[a-z]|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    assert "script" not in tags.tags and "iframe" not in tags.tags
    assert all(link.startswith(("#", "data:")) for link in tags.links)


def test_every_link_and_clip_leads_to_an_id_of_its_own(page):
    """Two pictures that share an id would take clips and markers from each other."""
    tags = read(page)
    assert len(set(tags.ids)) == len(tags.ids)
    wanted = {link[1:] for link in tags.links if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted and wanted <= set(tags.ids)


def test_the_same_input_gives_the_same_bytes(model, fleet, page):
    """Reports can be compared and kept under version control."""
    assert model.report(fleet) == page


def test_settings_of_the_users_own_pictures_do_not_reach_the_page(model, page, fleet):
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "lines.linewidth": 9}):
        assert model.report(fleet) == page
        assert matplotlib.rcParams["font.size"] == 30


def test_a_page_fits_a_phone_and_paper(page):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "@media print" in page and "overflow-x:auto" in page
    assert not re.search(r"[;{\" ](?:min-)?width:\s*\d+(?:px|rem|em|pt)", page.split("<svg")[0].replace("2rem", ""))
    assert not re.search(r"<svg[^>]* width=", page)


def test_names_are_shown_and_never_markup():
    """A file may come from anywhere, and with it the names of units, channels, modes and units of measurement."""
    rng = np.random.default_rng(0)
    offsets = np.arange(0, 121, 10)
    panel = cem.Panel(
        units=[f"{EVIL}{i}" for i in range(12)],
        channels=[EVIL, "b"],
        offsets=offsets,
        times=np.tile(np.arange(10.0), 12),
        values=rng.normal(size=(120, 2)) + np.repeat([0.0, 5.0], 60)[:, None],
        modes=[f"{EVIL}A"] * 6 + [f"{EVIL}B"] * 6,
        channel_units={EVIL: "<b>mm</b>"},
        time_unit="<i>h",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cem.FailureModeEM(2, basis=Polynomial(1), random_state=0, n_init=2).fit(panel).model_
        page = model.report(panel)
    tags = read(page)
    assert not {"script", "b", "i"} & set(tags.tags)
    assert "&lt;script&gt;" in page and "&lt;b&gt;mm" in page


def test_a_model_alone_says_what_is_missing(model):
    page = model.report()
    tags = read(page)
    assert "No data were given" in page and "units" not in tags.ids and "lives" not in tags.ids
    assert tags.tags.count("svg") >= 8


def test_a_model_without_a_record_of_its_fit_is_refused(model, fleet, tmp_path):
    """A page that describes a fit of which nothing is known would look like a complete one."""
    bare = cem.FailureModeModel(**{**model._arguments(), "training": {}})
    with pytest.raises(cem.OptionError, match=r"no record of its fit.*FailureModeEM"):
        bare.report(fleet, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
    bare.save(tmp_path / "bare.cem")
    from cem.cli.commands import main

    assert main(["report", str(tmp_path / "bare.cem"), "-o", str(tmp_path / "page.html")]) == 1
    assert not (tmp_path / "page.html").exists()


def test_what_an_older_record_lacks_is_said(model, fleet):
    """Model files of the first releases know the number of units, and nothing of the starts."""
    old = cem.FailureModeModel(**{**model._arguments(), "training": {"n_units": 160}})
    page = old.report(fleet)
    assert "no record of its starts" in page
    read(page)


def test_remaining_lives_are_those_of_the_prognosis(lives):
    """The unit that ends first is at the top, with the numbers that `predict` gives."""
    model, panel = lives
    running = panel[:6].until(0.6 * panel.failure_times[:6])
    running = running.with_failure_times(None) if not np.isnan(running.failure_times).all() else running
    page = model.report(running)
    law = RemainingLife(model).predict(running)
    first = int(np.argsort(law.median(), kind="stable")[0])
    rows = re.search(r'<section id="lives">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)[1].split("</tr>")
    assert f"<td>{running.units[first]}</td>" in rows[0]
    assert f"{law.median()[first]:.4g}" in rows[0]
    assert "not calibrated" in page and "still running" in page


def test_a_prognosis_reports_its_calibration(lives):
    from cem.prognosis.calibration import Calibration, reliability

    model, panel = lives
    running = panel.until(0.6 * panel.failure_times)
    plain = RemainingLife(model)
    truth = panel.failure_times - running.times[running.offsets[1:] - 1]
    measured = reliability([plain.predict(running)], truth, np.arange(panel.n_units))
    page = plain.replaced(calibration=Calibration(before=measured)).report(panel)
    section = re.search(r'<section id="calibration">.*?</section>', page, re.DOTALL)[0]
    assert f"{100 * measured.coverage[0.9]:.1f} %" in section and section.count("<svg") == 2
    assert "All units have failed" in page


def test_warnings_of_scoring_are_on_the_page_and_given_to_the_caller(lives):
    model, panel = lives
    old = panel[:2].with_failure_times(None)
    late = old._replace(times=old.times * 4.0)
    with pytest.warns(cem.errors.ClockWarning) as caught:
        page = model.report(late)
    assert cem.errors.html.html_text(str(caught[0].message)) in page


def test_a_page_is_written_whole_or_not_at_all(model, tmp_path):
    target = tmp_path / "report.html"
    page = model.report(path=target)
    assert target.read_bytes() == page.encode() and list(tmp_path.iterdir()) == [target]
    with pytest.raises(OptionError, match="there is no directory"):
        model.report(path=tmp_path / "no" / "report.html")
    with pytest.raises(OptionError, match="a directory"):
        model.report(path=tmp_path)


def test_what_cannot_be_reported_is_refused_by_name(model, fleet):
    with pytest.raises(OptionError, match="panel is of type ndarray"):
        model.report(fleet.values)
    with pytest.raises(OptionError, match="path is of type int"):
        model.report(path=7)
    stranger = fleet._replace(channels=("other", *fleet.channels[1:]))
    with pytest.raises(PredictionError, match="other"):
        model.report(stranger)


def test_without_matplotlib_the_message_says_how_to_get_it(model, monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"cem-failure-modes\[plot\]"):
        model.report(path=tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("time_axis", ["forward", "to_failure"])
@pytest.mark.parametrize("linked", [False, True])
def test_every_kind_of_model_has_its_page(time_axis, linked):
    """Under operating conditions the page shows what they do to the sensors; with shared factors it is drawn, too."""
    panel = conditioned_fleet(3, n_units=16, n_readings=8, failing=time_axis == "to_failure")
    conditions = {
        "covariates": {"b": [Linear("speed", by_mode=True), "stage"], "c": ["rate"]},
        "regimes": Regimes("load", n=3),
        "random_columns": {"a": [0], None: "all"},
        "noise": "pooled",
        "membership": ["site"],
    }
    more = {"linking_rank": 1} if linked else conditions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = conditioned_fit(panel, basis=Polynomial(1), max_iter=20, time_axis=time_axis, **more).model_
        page = model.report(panel)
    tags = read(page)
    assert ("conditions" in tags.ids) != linked
    if not linked:
        section = re.search(r'<section id="conditions">.*?</section>', page, re.DOTALL)[0]
        assert section.count("<figure") == 2 and "Effects of covariates" in section and "Log-odds" in section


def test_remaining_lives_until_a_threshold(model, fleet):
    """A forward model has remaining lives where the reader says what failure is."""
    running = fleet[:5].until(60.0)
    page = model.report(running, threshold=1.0, direction="upper")
    section = re.search(r'<section id="lives">.*?</section>', page, re.DOTALL)[0]
    law = model.remaining_life(running, 1.0, direction="upper")
    assert "wear rises to 1 mm," in section and "P(never)" in section and section.count("<svg") == 1
    assert f"{law.quantile(0.5).min():.4g}" in section
    assert model.report(running, threshold=1.0, direction="upper") == page
    each = model.report(running, threshold=np.full((5, 3), 1.0), direction="upper")
    assert each == page.replace("rises to 1 mm,", "rises to its threshold,")


def test_a_threshold_that_means_nothing_is_refused(model, lives):
    with pytest.raises(OptionError, match="no panel"):
        model.report(threshold=1.0)
    with pytest.raises(OptionError, match="direction is of a threshold"):
        model.report(direction="upper")
    with pytest.raises(OptionError, match="no option 'colour'"):
        model.report(colour="red")
    with pytest.raises(OptionError, match="for forward models"):
        lives[0].report(lives[1], threshold=1.0)


def test_units_and_channels_without_a_reading_are_no_obstacle(model):
    """A running fleet has sensors that are not fitted yet, and units that have not reported."""
    panel = cem.Panel(
        units=["a", "b"],
        channels=["vibration", "flow"],
        offsets=[0, 2, 4],
        times=[0.0, 10.0, 0.0, 10.0],
        values=[[2.0, np.nan], [2.1, np.nan], [np.nan, np.nan], [np.nan, np.nan]],
        allow_empty_channels=True,
        allow_empty_units=True,
        time_unit="d",
    )
    page = model.report(panel)
    assert "Channels of the model that the data lack" in page and ">nan<" not in page.lower()
    empty = model.report(panel.select_units(["b"]))
    assert "not drawn: they have no reading" in empty and ">nan<" not in empty.lower()


def test_readings_that_differ_a_little_are_told_apart_in_tables():
    """A core speed between 2387.9 and 2388.6 rpm is no constant channel."""
    panel = cem.Panel.from_arrays(
        [np.arange(6.0)] * 4, [2387.9 + 0.7 * np.linspace(0, 1, 6)[:, None] * (1 + 0.01 * i) for i in range(4)]
    )
    model = cem.FailureModeEM(1, basis=cem.Polynomial(1), random_state=0, n_init=1).fit(panel).model_
    page = model.report(panel)
    assert ">2387.9" in page and ">2388.6" in page and ">2388</td>" not in page
    assert "1 failure mode, 1 channel," in page


def test_a_long_id_does_not_hide_the_other_columns(model, fleet):
    """On a phone the table would be one column of one id."""
    one = cem.Panel.from_arrays(
        [fleet.times[:10]], [fleet.values[:10]], units=["x" * 200], channels=fleet.channels, time_unit="d",
        channel_units=fleet.channel_units,
    )  # fmt: skip
    page = model.report(one, threshold=1.0)
    assert f'<td class="w">{"x" * 200}</td>' in page and "td.w{white-space:normal" in page
    assert "Remaining life of 1 unit from its last reading" in page


def test_a_page_of_many_channels_says_what_it_leaves_out():
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(4, 41)) for _ in range(12)]
    panel = cem.Panel.from_arrays([np.arange(4.0)] * 12, values)
    model = cem.FailureModeEM(1, basis=cem.Polynomial(0), random_state=0, n_init=1).fit(panel).model_
    assert "novelty by channel is not drawn, because there are 41 channels" in model.report(panel)


def test_notes_are_texts_and_not_letters(model):
    with pytest.raises(OptionError, match="notes is 'read'"):
        model.report(notes="read")


def test_a_prognosis_takes_a_title_and_notes_as_a_model_does(lives):
    page = cem.RemainingLife(lives[0]).report(title="Line <2>", notes=["two rows were dropped"])
    assert "<h1>Line &lt;2&gt;</h1>" in page and "two rows were dropped" in page


def test_starts_of_a_linked_fit_are_said_to_be_without_factors(model, fleet):
    """Else the log-likelihood of the best start and that of the fit seem to contradict each other."""
    linked = cem.FailureModeEM(2, linking_rank=1, random_state=0, n_init=1, max_iter=20)
    assert "Starts are fits without shared factors" in linked.fit(fleet[:40]).model_.report()
    assert "without shared factors" not in model.report()


def test_the_page_says_whether_the_model_fits(model, fleet):
    """A reader of the page must see a wrong noise and unsure calls without asking for them."""
    page = model.report(fleet)
    section = page[page.index('<section id="checks">') :]
    section = section[: section.index("</section>")]
    assert "all points inside the band" in section and "above 0.9" in section
    values = fleet.values + np.random.default_rng(0).normal(0, 5 * np.nanstd(fleet.values, axis=0), fleet.values.shape)
    assert "of the points outside the band" in model.report(fleet._replace(values=values))
    assert '<section id="checks">' not in model.report()
