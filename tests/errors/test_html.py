"""Tables for notebooks: numbers are readable, and no name is markup."""

from __future__ import annotations

import math

import numpy as np

from cem.errors.html import html_facts, html_table


def test_names_and_cells_are_escaped_wherever_they_stand():
    bad = "<img src=x onerror=alert(1)>\u202e"
    pages = [html_table(bad, {bad: [bad]}, 3, bad), html_facts(bad, {bad: bad})]
    for page in pages:
        assert "<img" not in page and "\u202e" not in page and "&lt;img" in page
    assert '"' not in html_table("x", {'a"b': ['"']}).replace('style="text-align: left"', "")


def test_numbers_are_rounded_and_missing_ones_are_empty():
    page = html_table("t", {"x": np.array([0.123456, math.nan, -28671.5, 1e12]), "n": [1, 2000, None, True]})
    cells = [cell.partition(">")[2] for cell in page.replace("</td>", "\n").split("\n") if "<td" in cell]
    cells = [cell.rpartition(">")[2] for cell in cells]
    assert cells == ["0.1235", "1", "", "2,000", "-28,671.50", "", "1e+12", "True"]


def test_rows_that_are_not_shown_are_counted():
    assert "and 1,998 more units" in html_table("t", {"x": [1, 2]}, 2000, "units")
    assert "more" not in html_table("t", {"x": [1, 2]}, 2, "units")
