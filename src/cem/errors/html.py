"""Results as small HTML tables for notebooks: self-contained, and with every name escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cem.errors.display import escaped, short_number

__all__ = ["MOST_ROWS", "html_facts", "html_table", "html_text"]

MOST_ROWS = 10
"""Rows that a notebook shows of a table with one row for each unit."""


def html_text(text: object) -> str:
    """Return a name as HTML that shows it and is never markup."""
    from html import escape  # imported when a notebook asks: a process that scores does not need it

    return escape(escaped(text))


def html_table(title: str, columns: Mapping[str, Any], n_rows: int | None = None, rest: str = "rows") -> str:
    """Return a table of columns.

    Parameters
    ----------
    title : str
        One line above the table.
    columns : mapping of str to sequence or ndarray
        Of equal length; numbers are rounded and aligned right.
    n_rows : int, optional
        How many rows there are, if the columns hold only the first ones.
    rest : str
        What the rows are, in the plural.
    """
    rows = list(zip(*map(_plain, columns.values()), strict=True))
    head = "".join(f"<th>{html_text(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    left = 0 if n_rows is None else n_rows - len(rows)
    more = f"<p>and {left:,} more {html_text(rest)}</p>" if left > 0 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><p>{html_text(title)}</p>{table}{more}</div>"


def html_facts(title: str, facts: Mapping[str, Any]) -> str:
    """Return a table of two columns, names and values."""
    body = "".join(f"<tr><th {_LEFT}>{html_text(name)}</th>{_cell(value, _LEFT)}</tr>" for name, value in facts.items())
    return f"<div><p>{html_text(title)}</p><table><tbody>{body}</tbody></table></div>"


def _plain(column: Any) -> Any:
    """An array as Python's own numbers."""
    return column.tolist() if hasattr(column, "tolist") else column


_LEFT, _RIGHT = 'style="text-align: left"', 'style="text-align: right"'


def _cell(value: Any, style: str | None = None) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"<td {style or _LEFT}>{'' if value is None else html_text(value)}</td>"
    if isinstance(value, int):
        return f"<td {style or _RIGHT}>{value:,}</td>"
    return f"<td {style or _RIGHT}>{'' if math.isnan(value) else short_number(value)}</td>"
