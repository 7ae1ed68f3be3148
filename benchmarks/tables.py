"""The tables of benchmarks/README.md and reports/*.md, from results/*.json: writes them; with --check, compares."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import answers, summary_words
from common.columns import TABLES

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
QUESTIONS = "questions"  # the block of README.md with the ten questions

# Results that fill a page of their own.
PAGES = {"cmapss": "docs/howto/turbofan.md", "capping": "docs/limitations.md"}


def rows_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a file of results."""
    return [dict(row) for row in record.get("rows", ())]


def table(name: str, record: Mapping[str, Any]) -> str:
    """A table in Markdown, and the line that says where its figures come from."""
    columns = TABLES[name]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row) for cell in columns.values()) + " |" for row in rows_of(record)]
    for key, value in record.get("summary", {}).items():
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        lines += ["", f"{summary_words.label(key)}: {shown}."]
    if record.get("kernel_counted"):
        lines += ["", f"Instructions are those of `{record['kernel_counted']}`."]
    for peer, how in record.get("missing", {}).items():
        lines += ["", f"{peer} was not there and was not run ({how})."]
    machine = {**record.get("versions", {}), **record.get("machine", record)}
    load = record.get("load_average", machine.get("load_average"))
    if isinstance(load, Mapping):
        load = ", ".join(f"{load[when]} {when}" for when in ("before", "after") if load[when] is not None)
    elif load is not None:
        load = f"{load:.2g}"
    facts = {
        "commit": record.get("commit"),
        "processor": machine.get("processor"),
        "cores": machine.get("cores"),
        "instruction level": machine.get("instruction_level"),
        "compiler": record.get("compiler"),
        "Python": machine.get("python"),
        "NumPy": machine.get("numpy"),
        "SciPy": machine.get("scipy"),
        "load": load,
    }
    source = "; ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
    lines += ["", f"{record['date']}; {source}." if "date" in record else f"{source[0].upper()}{source[1:]}."]
    return "\n".join(lines)


def pages() -> list[Path]:
    """The pages with tables."""
    return [HERE / "README.md", *sorted((HERE / "reports").glob("*.md"))]


def record_of(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def block(name: str) -> str:
    """What is between the markers of this name; a table without results says so."""
    if name == QUESTIONS:
        return answers.table(record_of)
    return table(name, record_of(name)) if (RESULTS / f"{name}.json").exists() else "No results yet."


def markers(page: str) -> list[str]:
    """Names of the tables that a page has room for."""
    return re.findall(r"<!-- begin (\w+) -->", page)


def with_tables(page: str) -> str:
    """A page with every table between its markers made anew."""
    for name in markers(page):
        if name != QUESTIONS and name not in TABLES:
            raise SystemExit(f"a page has markers of {name}, which is no table: one of {', '.join(TABLES)}")
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(page):
            raise SystemExit(f"a page has {begin} without {end}")
        body = block(name)
        page = pattern.sub(lambda _, begin=begin, body=body, end=end: f"{begin}\n{body}\n{end}", page)
    return page


def main() -> None:
    stale = []
    for path in pages():
        old = path.read_text(encoding="utf-8")
        new = with_tables(old)
        if old == new:
            continue
        stale.append(f"{path.relative_to(HERE.parent)}")
        if "--check" not in sys.argv[1:]:
            path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        raise SystemExit(f"{', '.join(stale)}: not what results/*.json say; run benchmarks/tables.py")


if __name__ == "__main__":
    main()
