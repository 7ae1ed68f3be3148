"""``docs/reading-data.md``: every row does what the page says, and its tables say what the rows say."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import warnings

import pytest
from reading_data import PAGE, Row, expectations, rows_of, with_tables

import cem.errors

OPTIONAL = {"narwhals", "pandas", "polars", "pyarrow"}
PAGE_TEXT = PAGE.read_text(encoding="utf-8")
ROWS = rows_of(PAGE_TEXT)


def run_python(row: Row) -> tuple[Exception | None, list[warnings.WarningMessage]]:
    """The error of a snippet, if any, and cem's warnings; what it shows is compared on the way."""
    names: dict[str, object] = {}
    try:
        exec(compile(row.setup, "setup", "exec"), names)
    except ModuleNotFoundError as error:
        skip_without(error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = None
        try:
            for code, expected in expectations(row.code):
                if expected is None:
                    exec(compile(code, row.title, "exec"), names)
                else:
                    assert repr(eval(code, names)) == expected, code
        except ModuleNotFoundError as missing:
            skip_without(missing)
        except cem.errors.CemError as raised:
            error = raised
    return error, [warning for warning in caught if issubclass(warning.category, cem.errors.CemWarning)]


def skip_without(error: ModuleNotFoundError) -> None:
    if error.name not in OPTIONAL:
        raise error
    pytest.skip(f"{error.name} is not installed: the row was not run")


def run_shell(row: Row) -> subprocess.CompletedProcess[str]:
    names: dict[str, object] = {}
    try:
        exec(compile(row.setup, "setup", "exec"), names)
    except ModuleNotFoundError as error:
        skip_without(error)
    shell = f"cem() {{ '{sys.executable}' -m cem \"$@\"; }}\nset -e\n{row.code}"
    return subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=os.environ, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=[row.title for row in ROWS])
def test_a_row_does_what_the_page_says(row, tmp_path, monkeypatch):
    """The package must do what the page says."""
    monkeypatch.chdir(tmp_path)
    if row.type:
        known = getattr(cem.errors, row.type, None) or getattr(builtins, row.type)
        ours = issubclass(known, cem.errors.CemError if row.kind == "refused" else cem.errors.CemWarning)
        assert ours or (row.language == "sh" and known is OSError)  # of the system's, in one line
    if row.language == "sh":
        done = run_shell(row)
        lines = done.stderr.splitlines()
        assert "Traceback" not in done.stderr
        assert (done.returncode != 0) == (row.kind == "refused"), done.stderr
        if row.kind == "read":
            assert lines == []
        else:
            assert len(lines) == 1 and row.phrase in lines[0], done.stderr
        return
    error, caught = run_python(row)
    if row.kind == "refused":
        assert type(error).__name__ == row.type, error
        assert row.phrase in str(error)
        return
    if error is not None:
        raise error
    if row.kind == "warns":
        assert [warning.category.__name__ for warning in caught] == [row.type]
        assert row.phrase in str(caught[0].message)
    else:
        assert [str(warning.message) for warning in caught] == []


def test_the_tables_are_those_of_the_rows():
    """A table beside the rows would soon say something else; ``python tests/reading_data.py`` writes it anew."""
    assert with_tables(PAGE_TEXT) == PAGE_TEXT


def test_titles_are_distinct_since_links_lead_to_them():
    assert len({row.title.lower() for row in ROWS}) == len(ROWS)


def test_a_row_without_an_outcome_is_found():
    """A row that nobody runs would be worse than none."""
    page = "# Page\n\n## Part\n\n### A form\n\n```python\n1\n```\n\n## Other\n"
    with pytest.raises(ValueError, match="A form"):
        rows_of(page)
    with pytest.raises(ValueError, match="no outcome"):
        rows_of(page.replace("```\n\n## Other", "```\n\n<!-- refused: because -->\n\n## Other"))


def test_a_snippet_that_shows_another_value_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = Row("Part", "A form", "python", "", "1 + 1  # -> 3\n", "read", "", "", "")
    with pytest.raises(AssertionError, match=r"1 \+ 1"):
        run_python(row)
