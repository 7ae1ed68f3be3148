"""The rows of ``docs/reading-data.md``: a form of input, a snippet, and what comes of it.

A row is a heading of the third level, one fenced block, and a comment with the outcome::

    ### Dates in ISO 8601

    ```python
    panel = cem.Panel.from_frame(frame, unit="unit", time="time", time_unit="h")
    panel.times.tolist()  # -> [0.0, 1.5]
    ```

    <!-- read: hours since the unit's first reading -->

The other outcomes are ``<!-- warns: FarValuesWarning "phrase": what is read -->`` and
``<!-- refused: PanelError "phrase": why, or what to do -->``. In a block of ``python`` an expression with ``# -> text``
behind it must have that `repr`; in one of ``sh`` a phrase is looked for on standard error. Every row runs in an empty
folder, after the block of its section that follows ``<!-- setup -->`` and those of the page.

The table of a section stands between ``<!-- table -->`` and ``<!-- end of table -->`` and is made of its rows:
``python tests/reading_data.py`` writes the tables anew.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGE", "Row", "expectations", "rows_of", "with_tables"]

PAGE = Path(__file__).parents[1] / "docs" / "reading-data.md"

_SECTION = re.compile(r"^## (?P<title>.+)$", re.MULTILINE)
_ROW = re.compile(
    r"^### (?P<title>[^\n]+)\n+```(?P<language>python|sh)\n(?P<code>.*?)```\n+<!-- (?P<outcome>[^\n]*?) -->$",
    re.MULTILINE | re.DOTALL,
)
_SETUP = re.compile(r"^<!-- setup -->\n```python\n(?P<code>.*?)```$", re.MULTILINE | re.DOTALL)
_OUTCOME = re.compile(r'(?P<kind>read|warns|refused)(?:: (?P<type>\w+) "(?P<phrase>[^"]+)")?: (?P<text>.+)')


@dataclass(frozen=True)
class Row:
    """One row of the page.

    Attributes
    ----------
    kind : {"read", "warns", "refused"}
    type, phrase : str
        Of the warning or error; empty where the input is read without a word.
    text : str
        What is read, or what to do.
    """

    section: str
    title: str
    language: str
    setup: str
    code: str
    kind: str
    type: str
    phrase: str
    text: str

    def in_table(self) -> str:
        says = {"read": "read", "warns": f"read, with `{self.type}`", "refused": f"`{self.type}`"}[self.kind]
        return f"| [{self.title}](#{anchor(self.title)}) | {says} | {self.text} |"


def anchor(title: str) -> str:
    """The name that a heading has in links."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def rows_of(page: str) -> list[Row]:
    """The rows of a page, in their order; ValueError where a heading of the third level is none."""
    starts = [match.start() for match in _SECTION.finditer(page)]
    common = "".join(match["code"] for match in _SETUP.finditer(page[: starts[0]]))
    rows = []
    for start, end in zip(starts, [*starts[1:], len(page)], strict=True):
        section = page[start:end]
        title = section.splitlines()[0].removeprefix("## ")
        setup = common + "".join(match["code"] for match in _SETUP.finditer(section))
        found = list(_ROW.finditer(section))
        if len(found) != len(re.findall(r"^### ", section, re.MULTILINE)):
            known = {match["title"] for match in found}
            lost = [line for line in re.findall(r"^### (.+)$", section, re.MULTILINE) if line not in known]
            raise ValueError(f"section {title!r}: {lost} has no block of code with an outcome behind it")
        for match in found:
            outcome = _OUTCOME.fullmatch(match["outcome"])
            if outcome is None or (outcome["kind"] != "read") != (outcome["type"] is not None):
                raise ValueError(f"row {match['title']!r}: {match['outcome']!r} is no outcome")
            rows.append(
                Row(
                    title, match["title"], match["language"], setup, match["code"],
                    outcome["kind"], outcome["type"] or "", outcome["phrase"] or "", outcome["text"],
                )
            )  # fmt: skip
    return rows


def with_tables(page: str) -> str:
    """The page with the table of each section as its rows have it."""
    rows = rows_of(page)
    parts = re.split(r"(?=^## )", page, flags=re.MULTILINE)
    for i, part in enumerate(parts[1:], start=1):
        title = part.splitlines()[0].removeprefix("## ")
        lines = ["", "| form of input | | what is read, or what to do |", "|---|---|---|"]
        lines += [row.in_table() for row in rows if row.section == title]
        before, start, rest = part.partition("<!-- table -->\n")
        _, end, after = rest.partition("<!-- end of table -->")
        if not end:
            raise ValueError(f"section {title!r} has no <!-- table --> with an <!-- end of table -->")
        parts[i] = before + start + "\n".join(lines) + "\n\n" + end + after
    return "".join(parts)


def expectations(code: str) -> list[tuple[str, str | None]]:
    """The statements of a snippet, each with the text behind ``# ->`` where it has one."""
    lines = code.splitlines()
    found = []
    for statement in ast.parse(code).body:
        last = lines[(statement.end_lineno or 1) - 1]
        _, arrow, expected = last.partition("# -> ")
        found.append(("\n".join(lines[statement.lineno - 1 : statement.end_lineno]), expected if arrow else None))
    return found


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
