"""Tables that are wider than the page: they scroll to the side rather than squeeze sentences to a word a line."""

from __future__ import annotations

from typing import Any

from docutils import nodes

__all__ = ["setup"]

# Tables with this many columns scroll on every screen, or on a phone's.
_WIDE, _WIDE_ON_A_PHONE = 6, 5
# A first column whose cells are this short, in characters, is a number or a mark.
_SHORT = 3


def _mark(app: Any, doctree: nodes.document) -> None:
    """Give each table the classes that cem.css knows."""
    for table in doctree.findall(nodes.table):
        rows = [list(row.findall(nodes.entry)) for row in table.findall(nodes.row)]
        n_columns = max(map(len, rows), default=0)
        if n_columns >= _WIDE:
            table["classes"].append("wide")
        elif n_columns >= _WIDE_ON_A_PHONE:
            table["classes"].append("wide-on-a-phone")
        if all(len(row[0].astext()) <= _SHORT for row in rows if row):
            table["classes"].append("numbered")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("doctree-read", _mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
