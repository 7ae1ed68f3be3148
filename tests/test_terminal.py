"""Output for people: plain where nobody looks, a bar and tables where a terminal is."""

import importlib.util
import io
import re
import sys

import pytest

from cem.terminal import Terminal, bar


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_a_piped_table_is_plain_and_aligned():
    out = io.StringIO()
    Terminal(out=out).table("Modes", ["mode", "weight"], [["bearing", "0.5"], ["fan", "0.25"]])
    lines = out.getvalue().splitlines()
    assert lines == ["Modes", "  mode     weight", "  -------  ------", "  bearing     0.5", "  fan        0.25", ""]
    assert "\x1b" not in out.getvalue()


def test_a_table_on_a_terminal_shows_brackets_of_labels_as_they_are():
    """Labels such as [red] are markup to rich; a user's label must come out unchanged."""
    pytest.importorskip("rich")
    screen = Screen()
    Terminal(out=screen).table("Modes [all]", ["mode", "[w]"], [["[red]", "[/]"]])
    for text in ("Modes [all]", "[w]", "[red]", "[/]"):
        assert text in screen.getvalue()


def test_a_document_on_a_terminal_has_bold_headings_and_no_line_lost():
    pytest.importorskip("rich")
    screen, text = Screen(), "Title\n\nunits  3\n\nModes [all]\n  mode  weight\n     0  " + "1" * 200
    Terminal(out=screen).document(text)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert plain.splitlines() == text.splitlines()
    out = io.StringIO()
    Terminal(out=out).document(text)
    assert out.getvalue() == text + "\n"


def test_quiet_says_nothing_on_the_output_so_that_json_stays_json():
    out, err = Screen(), Screen()
    terminal = Terminal(out=out, err=err, quiet=True)
    terminal.say("text")
    terminal.table("t", ["a"], [["1"]])
    with terminal.fitting() as progress:
        assert progress is None
    assert out.getvalue() == "" and err.getvalue() == ""


def test_no_progress_is_asked_for_where_nobody_looks():
    with Terminal(out=io.StringIO(), err=io.StringIO()).fitting() as progress:
        assert progress is None


def test_a_bar_is_drawn_by_rich_on_a_terminal():
    pytest.importorskip("rich")
    err = Screen()
    with Terminal(out=io.StringIO(), err=err).fitting() as progress:
        progress("round 1", 3, 10, -1234.5)
    assert "round 1" in err.getvalue() and "3/10" in err.getvalue() and "-1234.5" in err.getvalue()


def test_without_rich_the_bar_is_plain_and_wiped_at_the_end(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "rich" else find_spec(name))
    monkeypatch.setitem(sys.modules, "rich", None)
    err = Screen()
    with Terminal(out=io.StringIO(), err=err).fitting() as progress:
        progress("round 1", 5, 10, -1234.5)
    assert f"round 1    {'#' * 12}{'.' * 12} 5/10  best log-likelihood -1234.5" in err.getvalue()
    assert err.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("fraction, drawn", [(0.0, "...."), (0.5, "##.."), (1.0, "####"), (1.7, "####"), (-1, "....")])
def test_a_bar_never_leaves_its_width(fraction, drawn):
    assert bar(fraction, 4) == drawn
