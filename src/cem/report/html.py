"""Tables, notes and sections of a page; every name in them is escaped."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cem.errors.html import html_text
from cem.plot.style import mode_colour, mode_style

__all__ = ["Section", "chips", "facts", "missing", "number", "paragraph", "table", "told_apart"]

_LONGEST_CELL = 64
_DASHES = {"-": "", "--": "5 3", "-.": "5 2 1 2", ":": "1 2"}


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    key : str
        Id within the page.
    title : str
    body : str
        HTML.
    """

    key: str
    title: str
    body: str

    def __str__(self) -> str:
        return f'<section id="{self.key}"><h2>{html_text(self.title)}</h2>{self.body}</section>\n'


def number(value: float) -> str:
    """A number as people read it: four digits, or all of them before the point."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


@dataclass(frozen=True)
class Shown:
    """A number as it is to be read, for a cell of a table."""

    text: str


def told_apart(values: Sequence[float | None]) -> list[Shown | None]:
    """Numbers of one kind with so many digits that their differences are seen: 2387.9 and 2388.6, not twice 2388."""
    known = [abs(x) for x in values if x is not None and math.isfinite(x)]
    finite = [x for x in values if x is not None and math.isfinite(x)]
    span = max(finite) - min(finite) if finite else 0.0
    needed = 1 + math.floor(math.log10(max(known) / span)) if span > 0 else 0
    digits = min(max(4, needed + 2), 12)
    found: list[Shown | None] = []
    for x in values:
        plain = x is None or not math.isfinite(x) or digits == 4
        found.append(None if x is None else Shown(number(x) if plain else f"{x:.{digits}g}"))
    return found


def table(columns: Mapping[str, Sequence[Any]], *, rest: str = "") -> str:
    """A table that scrolls by itself where the screen is narrow; columns without any content are left out.

    Parameters
    ----------
    columns : mapping of str to sequence
        Of equal length.
    rest : str
        A line below it.
    """
    filled = {name: [_cell(value) for value in values] for name, values in columns.items()}
    filled = {name: column for name, column in filled.items() if any(text for text, _ in column) or not column}
    names, cells = list(filled), list(filled.values())
    numeric = [all(is_number or not text for text, is_number in column) for column in cells]
    right = [' class="n"' if all_numbers else "" for all_numbers in numeric]
    head = "".join(f"<th{side}>{html_text(name)}</th>" for name, side in zip(names, right, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{_long(text) or side}>{text}</td>' for text, side in zip(row, right, strict=True))}</tr>"
        for row in zip(*([text for text, _ in column] for column in cells), strict=True)
    )
    more = f'<p class="small">{html_text(rest)}</p>' if rest else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def _long(text: str) -> str:
    """Class of a cell whose text is broken, so that it does not push the other columns off the screen."""
    return ' class="w"' if len(text) > _LONGEST_CELL else ""


def _cell(value: Any) -> tuple[str, bool]:
    """(HTML, whether it is a number)."""
    if isinstance(value, Shown):
        return value.text, True
    value = value.item() if hasattr(value, "item") else value
    if value is None:
        return "", False
    if isinstance(value, bool):
        return ("yes" if value else "no"), False
    if isinstance(value, int):
        return f"{value:,}", True
    if isinstance(value, float):
        return number(value), True
    return html_text(value), False


def facts(values: Mapping[str, Any]) -> str:
    """A table of names and values."""
    rows = "".join(f"<tr><th>{html_text(name)}</th><td>{_cell(value)[0]}</td></tr>" for name, value in values.items())
    return f'<div class="scroll"><table class="facts"><tbody>{rows}</tbody></table></div>'


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html_text(text)}</p>"


def missing(text: str) -> str:
    """A paragraph that says what the page lacks, and how to get it."""
    return f'<p class="missing">{html_text(text)}</p>'


def chips(labels: Sequence[Hashable], shares: Sequence[float]) -> str:
    """The modes, with the colour and the line that each has in every picture of the page."""
    items = []
    for k, (label, share) in enumerate(zip(labels, shares, strict=True)):
        dashes = _DASHES[mode_style(k)]
        broken = f' stroke-dasharray="{dashes}"' if dashes else ""
        line = (
            '<svg viewBox="0 0 32 10" aria-hidden="true">'
            f'<path d="M0 5h32" stroke="{mode_colour(k)}" stroke-width="4"{broken}/></svg>'
        )
        name = f"mode {label}" if isinstance(label, int) else label
        items.append(f"<li>{line}{html_text(name)} ({100 * share:.0f} %)</li>")
    return f'<ul class="chips">{"".join(items)}</ul>'
