"""The ten questions of benchmarks/README.md, answered from results/*.json: answer, target, whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Records = Callable[[str], Record]


@dataclass(frozen=True)
class Question:
    """One row of the table.

    Parameters
    ----------
    text : str
        The reader's question.
    report : str
        Page in ``reports/``, without its suffix.
    answer : function of `Records`
        Gives answer, target, and whether it is met.
    """

    text: str
    report: str
    answer: Callable[[Records], tuple[str, str, str]]


def _met(*conditions: bool) -> str:
    if all(conditions):
        return "met"
    return "met in part" if any(conditions) else "**missed**"


def _row(record: Record, **wanted: object) -> Record:
    """The one row whose members are these."""
    found = [row for row in record["rows"] if all(row.get(key) == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{record['name']} has {len(found)} rows with {wanted}; one was expected")
    return dict(found[0])


def _unscaled(row: Record) -> bool:
    return "from 0 to" in row["question"]


def fits(records: Records) -> tuple[str, str, str]:
    parts, slower = [], {}
    for problem, name in (
        ("K = 3, 300 units × 30 readings", "Three modes, 300 units"),
        ("K = 1, 2,000 units × 100 readings", "One mode, 2,000 units"),
    ):
        rows = [row for row in records("peers")["rows"] if row["question"] == problem and row["times_ours"]]
        ours = rows.pop(0)
        slower |= {row["peer"]: row["times_ours"] for row in rows}
        listed = [f"{row['peer']} {int(row['times_ours']):,}" for row in sorted(rows, key=lambda r: r["times_ours"])]
        listed[0] = listed[0].replace(" ", " takes ") + " times as long"
        parts.append(f"{name}: {1e3 * ours['processor_seconds']:.1f} ms; {', '.join(listed)}")
    target = "5,000 times against mixtools and flexmix, 100 times against lme4"
    met = _met(min(slower["mixtools"], slower["flexmix"]) >= 5_000, slower["lme4"] >= 100)
    return ". ".join(parts), target, met


def likelihoods(records: Records) -> tuple[str, str, str]:
    rows = [row for row in records("peers")["rows"] if row["peer"] != "cem" and row.get("below") is not None]
    # lcmm's mixture is another model, a restriction of the others'.
    same = [
        row for row in rows if not _unscaled(row) and (row["peer"] != "lcmm" or row["question"].startswith("K = 1"))
    ]
    apart = max(abs(row["below"]) for row in same)
    narrower = max(row["below"] for row in rows if not _unscaled(row) and row not in same)
    below = [row["below"] for row in rows if _unscaled(row)]
    converged = [row for row in rows if _unscaled(row) and row["fate"] == "converged"]
    answer = (
        f"Yes, with scaled times: within {_up(apart)} nats of cem. Only lcmm's three modes, a narrower model, end "
        f"{narrower:,.0f} lower. With 1, t, t² of t in cycles every other package "
        f"ends lower, by {min(below):,.1f} to {max(below):,.0f} nats; {len(converged)} of {len(below)} "
        'such fits report "converged" without a warning'
    )
    return answer, "–", "–"


def _up(value: float) -> str:
    """Three decimals, never less than it is."""
    thousandths = int(1e3 * value) + (1e3 * value > int(1e3 * value))
    return f"{thousandths / 1e3:.3f}"


def one_reading(records: Records) -> tuple[str, str, str]:
    row = _row(records("scoring"), what="update, mode_probabilities", level="avx2")
    median, tail = row["p50_ns"] / 1e3, row["p99_ns"] / 1e3
    answer = f"15 channels, 3 modes, AVX2, from Python: {median:.2f} µs in the median, 99 % below {tail:.2f} µs"
    return answer, "2 µs; 99 % within twice the median", _met(median <= 2, tail <= 2 * median)


def large_fleets(records: Records) -> tuple[str, str, str]:
    row = _row(records("large_fits"), fleet="3.5 million units, 17.5 million rows")
    seconds, gigabytes = row["seconds"], row["peak_bytes"] / 1e9
    answer = f"3.5 million units with 17.5 million rows: {seconds:.1f} s and {gigabytes:.2f} GB on two threads"
    met = _met(seconds < row["target_seconds"], row["peak_bytes"] < row["target_bytes"])
    return answer, f"< {row['target_seconds']:g} s, < {row['target_bytes'] / 1e9:g} GB", met


def lives(records: Records) -> tuple[str, str, str]:
    parts = []
    for engines in ("FD001", "FD003"):
        row = _row(records("nested"), set=engines, laws="calibrated")
        parts.append(f"{row['rmse_capped']:.2f} ± {row['rmse_standard_error']:.2f} cycles on {engines}")
    answer = f"RMSE, capped at 125, on engines that neither fit, choice nor calibration had seen: {' and '.join(parts)}"
    return answer, "–", "–"


def intervals(records: Records) -> tuple[str, str, str]:
    parts, good = [], []
    for engines in ("FD001", "FD003"):
        row = _row(records("nested"), set=engines, laws="calibrated")
        plain = _row(records("nested"), set=engines, laws="plain")
        held = ", ".join(f"{100 * row[f'coverage_{level}']:.1f}" for level in (50, 80, 90))
        parts.append(f"{held} % of {engines} (uncalibrated, 90 %: {100 * plain['coverage_90']:.1f})")
        good += [abs(row[f"coverage_{level}"] - level / 100) <= 2 * row[f"error_{level}"] for level in (50, 80, 90)]
    answer = f"Calibrated ones are: those of 50, 80 and 90 % hold for {'; '.join(parts)}"
    return answer, "50, 80, 90 % within two standard errors", _met(*good)


def optimum(records: Records) -> tuple[str, str, str]:
    small, large = records("starts")["summary"], records("starts_large")["summary"]
    answer = (
        f"50 starts find it in {small['halving_found']} of {small['searches']} searches, 20 full fits in "
        f"{small['full_found']}; the cost is {small['median_cost_in_full_fits']:.1f} full fits in the median, "
        f"{small['total_cost_in_full_fits']:.1f} in all. Fleets of 4,000 units: {large['halving_found']} of "
        f"{large['searches']}, full fits {large['full_found']}; the cost is {large['median_cost_in_full_fits']:.1f} in "
        f"the median, {large['total_cost_in_full_fits']:.1f} in all"
    )
    target = f"as often as 20 full fits, for less than {small['target_cost_in_full_fits']:g}"
    often = [s["halving_found"] >= s["full_found"] for s in (small, large)]
    cheap = [s["total_cost_in_full_fits"] < s["target_cost_in_full_fits"] for s in (small, large)]
    return answer, target, _met(*often, *cheap)


def modes(records: Records) -> tuple[str, str, str]:
    rows: Sequence[Record] = records("simulations")["rows"]
    found = ", ".join(f"{row['accuracy']:.3f}" for row in rows)
    oracle = ", ".join(f"{row['oracle']:.3f}" for row in rows)
    ages = ", ".join(f"{row['age']:.0f}" for row in rows)
    answer = f"Accuracy without labels at ages {ages}: {found}; an oracle that knows every parameter: {oracle}"
    return answer, "–", "–"


def cold_start(records: Records) -> tuple[str, str, str]:
    row = _row(records("cold_start"), process="import cem, load, first score")
    answer = f"{1e3 * row['seconds']:.0f} ms, {row['against_numpy']:.2f} times `import numpy`; SciPy is not loaded"
    return answer, "1.3 times", _met(row["against_numpy"] <= 1.3)


def c_export(records: Records) -> tuple[str, str, str]:
    row = _row(records("c_export"), scalar="double")
    answer = (
        f"{row['instructions_per_reading']:,} instructions (double, {row['bytes_per_unit']:,} bytes a unit, "
        "no heap), for 15 channels and 3 modes"
    )
    limit = row["target_instructions"]
    return answer, f"{limit:,}", _met(row["instructions_per_reading"] <= limit)


QUESTIONS = (
    Question("How fast is a fit, against other packages?", "peers", fits),
    Question("Do they reach the same likelihood?", "peers", likelihoods),
    Question("How fast is one reading scored?", "scoring", one_reading),
    Question("How large a fleet fits?", "large-fleets", large_fleets),
    Question("How accurate are remaining lives?", "remaining-life", lives),
    Question("Are their intervals calibrated?", "remaining-life", intervals),
    Question("Does the search find the best optimum?", "search", optimum),
    Question("Does it find the modes that are there?", "modes", modes),
    Question("What does a cold start cost?", "deployment", cold_start),
    Question("What does a reading cost in exported C?", "deployment", c_export),
)


def table(records: Records) -> str:
    """The ten questions in Markdown."""
    lines = ["| | question | answer | target | |", "| --- | --- | --- | --- | --- |"]
    for number, question in enumerate(QUESTIONS, 1):
        answer, target, met = question.answer(records)
        lines.append(f"| {number} | [{question.text}](reports/{question.report}.md) | {answer} | {target} | {met} |")
    return "\n".join(lines)
