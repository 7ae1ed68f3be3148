"""Output for people: plain where nobody looks, a bar and tables where a terminal is."""

import importlib.util
import io
import json
import re
import sys

import pytest

from cem.cli.terminal import Terminal, bar
from cem.errors.display import encodable, escaped, json_safe, safe


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


def test_a_log_gets_a_line_of_progress_now_and_then(monkeypatch):
    """A job of an hour shows that it goes on; one of seconds leaves an empty log."""
    clock, err = [100.0], io.StringIO()
    monkeypatch.setattr("cem.cli.terminal.time.monotonic", lambda: clock[0])
    with Terminal(out=io.StringIO(), err=err).fitting() as progress:
        for seconds, done in ((1, 1), (5, 2), (20, 3), (21, 4), (36, 5)):
            clock[0] = 100.0 + seconds
            progress("round 1", done, 10, -1234.5)
    assert err.getvalue().splitlines() == [
        "round 1: 3 of 10 starts, best log-likelihood -1234.5",
        "round 1: 5 of 10 starts, best log-likelihood -1234.5",
    ]


@pytest.mark.parametrize(("verbosity", "lines"), [(1, ["2 of 2"]), (2, ["1 of 2", "2 of 2"])])
def test_verbose_shows_stages_and_more_verbose_starts_as_lines_also_on_a_terminal(verbosity, lines):
    err = Screen()
    with Terminal(out=io.StringIO(), err=err, verbosity=verbosity).fitting() as progress:
        progress("round 1", 1, 2, -3.0)
        progress("round 1", 2, 2, -2.0)
    shown = err.getvalue().splitlines()
    assert [line.split(": ")[1].split(" starts")[0] for line in shown] == lines
    assert "\x1b" not in err.getvalue() and "\r" not in err.getvalue()


def test_quiet_keeps_results_and_drops_warnings_notes_and_progress():
    out, err = Screen(), Screen()
    terminal = Terminal(out=out, err=err, verbosity=-1)
    terminal.warn("warning: w")
    terminal.done("written: f")
    terminal.detail("read: f")
    with terminal.fitting() as progress:
        assert progress is None
    assert out.getvalue() == err.getvalue() == ""
    terminal.say("result")
    terminal.note("cem: error")
    assert out.getvalue() == "result\n" and err.getvalue() == "cem: error\n"


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


# ---- names from files ------------------------------------------------------------------------------------------------

HOSTILE = [
    "\x1b]0;title\x07\x1b[2J",  # sets the window's title and clears the screen
    "\x9b31m",  # the same begin of a sequence in one character
    "a\nb\rc\td\x0be\x85f\u2028g",  # line ends of every kind: a name that looks like two rows
    "\u202egnp.exe\u2066\u200f",  # shown backwards
    "\u200b\ufeff\xad\xa0\u3000",  # shown as nothing, or as a space
    "\ud800 \udcff",  # halves of characters, which no encoding has
    "\U000e0041\U0010ffff",
    "\x00\x7f",
    "back\\slash \\x1b \\",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_an_escaped_name_steers_nothing_and_says_what_it_is(name):
    shown = escaped(name)
    assert shown.isprintable() and shown.encode("utf-8")
    assert shown.encode("ascii").decode("unicode_escape") == name
    assert escaped(shown) != shown  # what looks like an escape and is none looks different


def test_ordinary_names_are_shown_as_they_are():
    for name in ("oil temperature", "Öl-Druck [bar]", "轴承", "μ̃", "a'b\"c", "", "[red]", "100 %"):
        assert escaped(name) == safe(name) == json_safe(name) == name
    assert escaped(7) == "7"


def test_what_an_encoding_lacks_is_escaped_and_stays_json():
    assert escaped("Öl 轴", "latin-1") == "Öl \\u8f74"
    assert escaped("Öl", "ascii") == encodable("Öl", "no-such-encoding") == "\\u00d6l"
    value = {"Öl": "𝛼 \ud800 \x9b \u202e \x7f \n"}
    for encoding in ("ascii", "latin-1", "utf-8"):
        text = encodable(json_safe(json.dumps(value, ensure_ascii=False)), encoding)
        assert json.loads(text) == value and text.encode(encoding)
        assert text.isprintable()


def every_output(terminal):
    for name in HOSTILE:
        terminal.say(f"say {name}")
        terminal.note(f"note {name}")
        terminal.table(name, ["a", name], [[name, "1"], ["long enough", name]])
        terminal.document(f"title {name}\n\n  {name}")
    with terminal.fitting() as progress:
        if progress is not None:
            progress("round 1", 1, 2, 0.0)


@pytest.mark.parametrize("stream", [io.StringIO, Screen])
def test_no_output_for_people_lets_a_name_through(stream):
    """With rich and without: a channel called ESC ] 0 ; ... must not retitle the operator's window."""
    out, err = stream(), io.StringIO()
    every_output(Terminal(out=out, err=err))
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # rich's own bold
    assert "\x1b]" not in out.getvalue() and "\x1b[2J" not in out.getvalue()
    assert all(c.isprintable() or c == "\n" for c in text + err.getvalue())
    assert len(err.getvalue().splitlines()) == len(HOSTILE)


def test_columns_stand_in_line_below_escaped_names():
    out = io.StringIO()
    Terminal(out=out).table("t", ["mode", "\x1b"], [["a\nb", "1"], ["c", "2"]])
    assert out.getvalue().splitlines() == ["t", "  mode  \\x1b", "  ----  ----", "  a\\nb     1", "  c        2", ""]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_terminal_of_ascii_is_no_error(is_terminal):
    class Ascii(io.TextIOWrapper):
        def isatty(self):
            return is_terminal

    out, err = Ascii(io.BytesIO(), encoding="ascii"), Ascii(io.BytesIO(), encoding="ascii")
    terminal = Terminal(out=out, err=err)
    every_output(terminal)
    terminal.table("Öl → 轴", ["Öl"], [["轴"]])
    out.flush()
    assert b"\\u00d6l" in out.buffer.getvalue()


def test_work_in_stages_is_a_bar_on_a_terminal_and_leaves_nothing_behind():
    err = Screen()
    with pytest.raises(ValueError), Terminal(out=io.StringIO(), err=err).stages() as show:
        show("tests", 1, 2)
        assert "tests      ############............ 1/2" in err.getvalue()
        raise ValueError
    assert err.getvalue().endswith("\r\x1b[K")


def test_work_in_stages_is_a_line_for_each_with_v_and_silent_elsewhere():
    err = io.StringIO()
    with Terminal(out=io.StringIO(), err=err, verbosity=1).stages() as show:
        show("folds", 1, 2)
        show("folds", 2, 2)
    assert err.getvalue() == "folds: 2 of 2\n"
    for options in ({}, {"verbosity": -1}, {"quiet": True}):
        with Terminal(out=io.StringIO(), err=Screen() if options else io.StringIO(), **options).stages() as show:
            assert show is None
