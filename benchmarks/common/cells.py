"""Cells of the benchmarks' tables: functions of a row that print a figure of it; a dash where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "Row",
    "against_plain",
    "duration",
    "interval",
    "memory",
    "nanoseconds",
    "number",
    "passes",
    "plus_minus",
    "target_reached",
    "text",
    "whole",
    "with_error",
    "yes_or_no",
]

Row = Mapping[str, Any]


def number(key: str, form: str = ",.3g", scale: float = 1.0, unit: str = "") -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.get(key)
        return "–" if value is None else format(value / scale, form) + unit

    return cell


def text(key: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.get(key)
        return "–" if value is None else str(value)

    return cell


def whole(key: str) -> Callable[[Row], str]:
    """A multiple, never rounded up."""
    return lambda row: "–" if row.get(key) is None else f"{int(row[key]):,}"


def duration(key: str) -> Callable[[Row], str]:
    """Seconds, in the unit that suits them."""

    def cell(row: Row) -> str:
        value = row.get(key)
        if value is None:
            return "–"
        if value < 1e-3:
            return f"{1e6 * value:.{2 if value < 1e-5 else 0}f} µs"
        return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.3g} s"

    return cell


def nanoseconds(key: str) -> Callable[[Row], str]:
    return _where_known(key, lambda value: f"{value / 1e3:.2f} µs" if value < 1e5 else f"{value / 1e6:.2f} ms")


def memory(key: str) -> Callable[[Row], str]:
    return _where_known(key, lambda value: f"{value / 1e6:,.0f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB")


def _where_known(key: str, shown: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda row: "–" if row.get(key) is None else shown(row[key])


def target_reached(row: Row) -> str:
    limits = [f"< {row['target_seconds']:g} s"]
    reached = row["seconds"] < row["target_seconds"]
    if row.get("target_bytes"):
        limits.append(f"< {row['target_bytes'] / 1e9:g} GB")
        reached = reached and row["peak_bytes"] < row["target_bytes"]
    return ", ".join(limits) + (": reached" if reached else ": missed")


def against_plain(plain: str, ratio: str) -> Callable[[Row], str]:
    """Passes of the package against those of plain EM, of which there may be a lower bound only."""

    def cell(row: Row) -> str:
        if row[ratio] is None:
            return "–"
        return ("< " if row[plain] is None else "") + f"{row[ratio]:.3f}"

    return cell


def with_error(level: str) -> Callable[[Row], str]:
    return lambda row: f"{100 * row[f'coverage_{level}']:.1f} ± {100 * row[f'error_{level}']:.1f}"


def plus_minus(key: str, form: str, scale: float = 1.0, unit: str = "") -> Callable[[Row], str]:
    return lambda row: f"{row[key] / scale:{form}} ± {row[f'{key}_error'] / scale:{form}}{unit}"


def interval(key: str, form: str) -> Callable[[Row], str]:
    return lambda row: f"{row[key]:{form}} [{row[f'{key}_low']:{form}}, {row[f'{key}_high']:{form}}]"


def yes_or_no(key: str) -> Callable[[Row], str]:
    return lambda row: "–" if row.get(key) is None else "yes" if row[key] else "no"


def passes(way: str) -> Callable[[Row], str]:
    return lambda row: f"{row[f'{way}_passes']:,}" + ("" if row[f"{way}_converged"] else ", not converged")
