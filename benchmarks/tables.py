"""The tables of benchmarks/README.md and reports/*.md, from results/*.json: writes them; with --check, compares."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common import answers, summary_words
from common.cells import (
    Row,
    against_plain,
    duration,
    interval,
    memory,
    nanoseconds,
    number,
    passes,
    plus_minus,
    target_reached,
    text,
    whole,
    with_error,
    yes_or_no,
)

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
QUESTIONS = "questions"  # the block of README.md with the ten questions

Columns = Mapping[str, Callable[[Row], str]]

_PEERS: Columns = {
    "package": lambda row: f"{row['peer']} {row.get('version', '')}".strip(),
    "processor time": duration("processor_seconds"),
    "passes": text("passes"),
    "end": text("fate"),
    "ℓ, its own claim": number("claimed", ",.3f"),
    "ℓ, exact": number("exact", ",.3f"),
    "below ours": number("below", ",.3f"),
    "× ours": whole("times_ours"),
}
_LARGE: Columns = {
    "fleet": text("fleet"),
    "K": text("n_modes"),
    "p": text("p"),
    "starts": text("starts"),
    "threads": text("threads"),
    "time": duration("seconds"),
    "of the processor": duration("processor_seconds"),
    "peak memory": memory("peak_bytes"),
    "passes": text("passes"),
    "ℓ": number("log_likelihood", ",.1f"),
    "ℓ of the truth": number("true_log_likelihood", ",.1f"),
    "agreement": number("agreement", ".3f"),
    "target": target_reached,
}

_STARTS: Columns = {
    "data": text("data"),
    "K": text("n_modes"),
    "searches": text("repeats"),
    "50 starts: found": text("halving_found"),
    "20 full fits: found": text("full_found"),
    "cost of the 50, in full fits": number("cost_in_full_fits", ".1f"),
    "in calls": number("cost_of_calls", ".1f"),
    "in E steps": number("cost_in_passes", ".1f"),
    "10 starts: found": text("10_found"),
    "cost of the 10": number("10_cost_in_full_fits", ".1f"),
    "150 starts: found": text("150_found"),
    "cost of the 150": number("150_cost_in_full_fits", ".1f"),
    "k-means": text("kmeans_found"),
    "prototypes": text("prototypes_found"),
    "tempered": text("tempered_found"),
    "random": text("random_found"),
    "of": text("fits_of_a_kind"),
}

TABLES: dict[str, Columns] = {
    "convergence": {
        "measured": text("measured"),
        "fits": text("fits"),
        "“not converged”": text("not converged"),
    },
    "noise_floors": {
        "noise variances": number("ratio", ",.0f", unit=" : 1"),
        "fits": text("fits"),
        "σ² off, median": number("median error", ".2g", scale=0.01, unit=" %"),
        "95 % of channels": number("error, 95 %", ".2g", scale=0.01, unit=" %"),
        "most": number("largest error", ".2g", scale=0.01, unit=" %"),
        "fits with a floor that binds": text("on a floor"),
    },
    "compression": {
        "units of": text("units"),
        "coordinates": text("coordinates"),
        "p": text("p"),
        "cores": text("cores"),
        "GB/s": number("gigabytes_per_second", ".2f"),
        "units/s": number("units_per_second", ",.0f"),
    },
    "expectation": {
        "L": number("n_units", ",.0f"),
        "C": text("n_channels"),
        "K": text("n_modes"),
        "p": text("p"),
        "kernel": text("kernel"),
        "cores": text("cores"),
        "ns per (unit, channel, mode)": number("nanoseconds", ".1f"),
        "× dgemm": number("multiple_of_dgemm", ".2f"),
        "target": number("target_multiple", "g", unit=" ×"),
        "packing, ns per (unit, channel)": number("packing_nanoseconds", ".0f"),
    },
    "shared_designs": {
        "L": number("n_units", ",.0f"),
        "C": text("n_channels"),
        "K": text("n_modes"),
        "p": text("p"),
        "designs": number("n_designs", ",.0f"),
        "level": text("level"),
        "cores": text("cores"),
        "against": text("against"),
        "ns per (unit, channel, mode), own design": number("own_nanoseconds", ".1f"),
        "shared design": number("shared_nanoseconds", ".1f"),
        "gain": number("gain", ".2f", unit=" ×"),
        "packing, ns per (unit, channel)": number("packing_nanoseconds", ".0f"),
    },
    "anatomy": {
        "L": number("n_units", ",.0f"),
        "C": text("n_channels"),
        "K": text("n_modes"),
        "p": text("p"),
        "kernel": text("kernel"),
        "cores": text("cores"),
        "one pass": duration("seconds"),
        "arithmetic": number("arithmetic_share", ".0%"),
        "weighing modes": number("weighing_share", ".0%"),
        "memory": number("memory_share", ".0%"),
        "once per pass": number("once_share", ".0%"),
    },
    "fit_k1": {
        "units": number("n_units", ",.0f"),
        "readings of each": text("readings"),
        "p": text("p"),
        "package": lambda row: f"{row['package']} {row['version']}",
        "time": duration("seconds"),
        "of the processor": duration("processor_seconds"),
        "memory beyond the data": memory("bytes_beyond_data"),
        "ℓ": number("log_likelihood", ",.3f"),
        "× ours": number("times_ours", ",.0f"),
    },
    "peers": {"problem": text("question"), **_PEERS},
    "large_fits": _LARGE,
    "growth": {
        "units": number("n_units", ",.0f"),
        "C": number("n_channels", "g"),
        "threads": text("threads"),
        "one pass": lambda row: duration("two" if row["question"] == "threads" else "seconds")(row),
        "ns per unit": number("nanoseconds_per_unit", ".0f"),
        "time ÷ linear": number("time_against_linear", ".2f"),
        "bytes per unit": number("bytes_per_unit", ",.0f"),
        "memory ÷ linear": number("memory_against_linear", ".2f"),
        "speed-up of two threads": number("speed_up", ".2f"),
        "of two processes": number("ceiling", ".2f"),
        "processor time ÷ that of one thread": number("processor_of_two_threads", ".2f"),
    },
    "linking": {
        "channels are": text("truth"),
        "`linking_penalty`": number("penalty", ",.0f"),
        "fleets": text("fleets"),
        "mode of 65": number("gain_a", "+.2f"),
        "mode of 44": number("gain_b", "+.2f"),
        "mode of 11": number("gain_rare", "+.2f"),
    },
    "acceleration": {
        "problem": text("problem"),
        "plain EM": lambda row: f"> {row['most_passes']:,}" if row["plain"] is None else f"{row['plain']:,}",
        "quasi-Newton (cem)": number("accelerated", ",.0f"),
        "Anderson, damped": number("damped", ",.0f"),
        "SQUAREM": number("squarem", ",.0f"),
        "Anderson, undamped": number("undamped", ",.0f"),
        "parameter-expanded": number("expanded", ",.0f"),
        "cem ÷ plain": against_plain("plain", "accelerated_ratio"),
        "the same, ℓ* of these two": against_plain("plain_alone", "alone_ratio"),
        "plain ended below ℓ* by": number("plain_below_best", ".4f"),
        "cem ended below ℓ* by": number("accelerated_below_best", ".4f"),
    },
    "starts": _STARTS,
    "starts_large": _STARTS,
    "small_fleets": {
        "covariance": text("covariance"),
        "fits": text("fits"),
        "found": text("hits_here"),
        "milliseconds": number("milliseconds_here", ".0f"),
        "found before": text("hits_there"),
        "milliseconds before": number("milliseconds_there", ".0f"),
        "ratio of medians": number("ratio_of_medians", ".2f"),
        "of totals": number("ratio_of_totals", ".2f"),
    },
    "short_runs": {
        "passes": text("way"),
        "starts": text("starts"),
        "nats to come after 6": number("after_6", ".2f"),
        "10": number("after_10", ".2f"),
        "16": number("after_16", ".2f"),
        "24": number("after_24", ".2f"),
        "40": number("after_40", ".2f"),
        "µs a pass": number("microseconds", ".0f"),
    },
    "small_fits": {
        "fits drawn": number("draws", ",.0f"),
        "fitted": number("fitted", ",.0f"),
        "left a channel out": number("left_out", ",.0f"),
        "refused": number("refused", ",.0f"),
        "agree to what float64 leaves, not to 1e-8": number("loose", ",.0f"),
        "disagree": number("disagree", ",.0f"),
        "largest difference, of what is tolerated": number("worst", ".2f"),
    },
    "starts_development": {
        "drawn": text("drawn"),
        "searches": text("searches"),
        "3 starts: found": text("3_found"),
        "10 starts": text("10_found"),
        "20 starts": text("20_found"),
        "50 starts": text("halving_found"),
        "150 starts": text("150_found"),
        "20 full fits": text("full_found"),
        "cost of the 50, in full fits: median": number("median_cost_in_full_fits", ".1f"),
        "of all together": number("total_cost_in_full_fits", ".1f"),
        "in calls": number("total_cost_of_calls", ".1f"),
        "in E steps": number("total_cost_in_passes", ".1f"),
    },
    "ingest": {
        "from": text("source"),
        "rows": number("n_rows", ",.0f"),
        "columns": text("columns"),
        "time": duration("seconds"),
        "memory beyond the frame ÷ columns": number("beyond_multiple", ".2f"),
        "frame counted": number("total_multiple", ".2f"),
        "target": number("target_multiple", ".0f"),
    },
    "scoring": {
        "what": text("what"),
        "level": text("level"),
        "median": nanoseconds("p50_ns"),
        "99 %": nanoseconds("p99_ns"),
        "99.9 %": nanoseconds("p99.9_ns"),
        "median, collecting": nanoseconds("p50_ns_collecting"),
        "99 %, collecting": nanoseconds("p99_ns_collecting"),
        "99.9 %, collecting": nanoseconds("p99.9_ns_collecting"),
        "instructions": number("instructions", ",.0f"),
        "target": number("target_instructions", ",.0f"),
        "heap calls": number("heap_calls", ".0f"),
        "system calls": number("system_calls", ".0f"),
    },
    "batch_scoring": {
        "level": text("level"),
        "run by": text("how"),
        "units per second, best": number("units_per_second", ",.0f"),
        "median": number("median_units_per_second", ",.0f"),
        "units per processor second": number("units_per_processor_second", ",.0f"),
        "target": number("target_per_second", ",.0f"),
    },
    "c_export": {
        "scalar": text("scalar"),
        "instructions per reading": number("instructions_per_reading", ",.0f"),
        "target": number("target_instructions", ",.0f"),
        "bytes per unit": number("bytes_per_unit", ",.0f"),
    },
    "embedded": {
        "dialect": text("dialect"),
        "states keep what they round away": yes_or_no("carry"),
        "instructions of an update": number("instructions_of_update", ",.0f"),
        "of the probabilities": number("instructions_of_probabilities", ",.0f"),
        "together": number("instructions", ",.0f"),
        "target": number("target_instructions", ",.0f"),
        "bytes of code and constants": number("bytes_of_code_and_constants", ",.0f"),
        "bytes per unit": number("bytes_per_unit", ",.0f"),
        "bytes of stack": number("bytes_of_stack", ",.0f"),
    },
    "cold_start": {
        "fresh process": text("process"),
        "median": duration("seconds"),
        "÷ import numpy": number("against_numpy", ".2f"),
        "repeats": number("repeats", ".0f"),
    },
    "linked_and_gaps": {
        "what": text("question"),
        "processor time": duration("seconds"),
        "GB/s": number("gigabytes_per_second", ".2f"),
        "passes": text("passes"),
        "ℓ": number("log_likelihood", ",.3f"),
    },
    "running_life": {
        "instruction level": text("level"),
        "shared factors": number("linking_rank", ".0f"),
        "remaining life of a running unit": text("what"),
        "median": number("median_microseconds", ",.0f", unit=" µs"),
        "90 %": number("p90_microseconds", ",.0f", unit=" µs"),
        "readings": number("readings", ".0f"),
    },
    "nested": {
        "engines": text("set"),
        "laws": text("laws"),
        "RMSE, capped": number("rmse_capped", ".2f"),
        "±": number("rmse_standard_error", ".2f"),
        "50 %": with_error("50"),
        "80 %": with_error("80"),
        "90 %": with_error("90"),
        "interval score": number("interval_score_90", ",.0f"),
        "CRPS": number("crps", ".2f"),
        "chosen (outer folds)": text("chosen"),
    },
    "nested_modes": {
        "share of life": number("share_of_life", ".0%"),
        "accuracy": number("accuracy", ".2f"),
        "mean probability of the mode named": number("mean_probability_of_the_mode_named", ".3f"),
        "Brier score": number("brier", ".4f"),
        "log score": number("log_score", ".4f"),
        "untempered": number("log_score_plain", ".4f"),
        "chosen (outer folds)": text("chosen"),
    },
    "lives": {
        "problem": text("problem"),
        "units": number("units", ".0f"),
        "running": number("running", ".0f"),
        "K": number("modes", ".0f"),
        "lives": text("lives"),
        "plain passes": passes("plain"),
        "time": duration("plain_seconds"),
        "lower by": number("plain_below", ".2g"),
        "accelerated passes": passes("accelerated"),
        "time ": duration("accelerated_seconds"),
        "lower by ": number("accelerated_below", ".2g"),
    },
    "coloured_noise": {
        "units": text("set"),
        "K": number("modes", ".0f"),
        "time constants": text("basis"),
        "noise": text("way"),
        "ln P of a unit left out": number("log_likelihood", ",.1f"),
        "50 %": number("coverage_50", ".0%"),
        "80 %": number("coverage_80", ".0%"),
        "90 %": number("coverage_90", ".0%"),
        "interval score": number("interval_score_90", ",.0f"),
        "CRPS": number("crps", ".2f"),
        "RMSE, capped": number("rmse_capped", ".2f"),
        "κ or memory": number("worth", ".2f"),
        "most extreme": number("extreme_worth", ".2f"),
    },
    "simulations": {
        "alive at": number("age", ".0f"),
        "units": number("alive", ",.0f"),
        "mode accuracy": number("accuracy", ".3f"),
        "least of the fleets": number("least_accuracy", ".3f"),
        "oracle": number("oracle", ".3f"),
        "lognormal lives": number("mae_lognormal", ".2f"),
        "Weibull lives": number("mae_weibull", ".2f"),
        "empirical lives": number("mae_empirical", ".2f"),
        "aligned at failure": number("mae_to_failure", ".2f"),
        "true means apart (sd)": number("spread_of_means", ".2f"),
        "life from its own mean": number("realised", ".2f"),
        "training fleets": number("training_fleets", ".0f"),
    },
    "regimes_inside": {
        "engines": text("set"),
        "seed": text("seed"),
        "RMSE by hand": number("rmse_by_hand", ".2f"),
        "inside": number("rmse_inside", ".2f"),
        "90 % by hand": number("coverage_by_hand", ".1%"),
        "90 % inside": number("coverage_inside", ".1%"),
    },
    "regimes_test_units": {
        "arm": text("arm"),
        "units": number("units", ".0f"),
        "RMSE": number("rmse", ".2f"),
        "NASA score": number("nasa_score", ".0f"),
        "90 % held": number("held", ".0f"),
        "coverage": number("coverage", ".1%"),
        "a right one holds from": number("fewest", ".0f"),
        "to": number("most", ".0f"),
    },
    "load_drives_wear": {
        "seed": text("seed"),
        "correlation of load and wear": number("correlation_of_load_and_wear", ".2f"),
        "ARI without the load": number("ari_without", ".3f"),
        "with it": number("ari_with", ".3f"),
        "warned without": yes_or_no("warned_without"),
        "warned with": yes_or_no("warned_with"),
    },
    "never_falls": {
        "part": text("part"),
        "problems": number("problems", ",.0f"),
        "ascents": number("runs", ",.0f"),
        "passes": number("passes", ",.0f"),
        "falls": number("falls", ",.0f"),
        "largest, of the objective's size": number("worst", ".1g"),
        "refused by a typed error": number("refused", ",.0f"),
    },
    "covariate_peers": {**_PEERS, "target": number("target", ",.0f", unit=" ×")},
    "fixed_columns": {
        "step": text("question"),
        "units": number("n_units", ",.0f"),
        "columns": text("columns"),
        "processor time": number("processor_milliseconds", ",.3g", unit=" ms"),
        "÷ plain": number("times_plain", ".2f"),
        "target": number("target", ".1f"),
        "bytes a unit": number("bytes_of_a_unit", ",.0f"),
        "bytes ÷ plain": number("bytes_times_plain", ".2f"),
        "target of bytes": number("target_bytes", ".1f"),
    },
    "condition_scoring": {
        "what": text("what"),
        "model": text("form"),
        "processor time": number("processor_ns", ",.0f", unit=" ns"),
        "÷ plain": number("times_plain", ".2f"),
        "target": number("target_times_plain", ".2f"),
        "instructions (AVX2)": number("instructions_avx2", ",.0f"),
    },
    "running_fleet": {
        "what": text("what"),
        "time": duration("seconds"),
        "readings": number("readings", ",.0f"),
        "readings a second": number("per_second", ",.3g"),
        "÷ kernel alone": number("against_kernel", ".2f"),
        "units": number("units", ",.0f"),
        "size": number("megabytes", ",.0f", unit=" MB"),
        "same bits": yes_or_no("equal"),
    },
    "service": {
        "run": text("run"),
        "answers": number("answers", ",.0f"),
        "median": number("p50_ms", ".2f", unit=" ms"),
        "99 %": number("p99_ms", ".2f", unit=" ms"),
        "99.9 %": number("p99.9_ms", ".2f", unit=" ms"),
        "errors": text("errors"),
        "readings lost": text("lost"),
        "units that differ": text("units_that_differ"),
        "sent again": text("sent_again"),
        "away": number("seconds_away", ".1f", unit=" s"),
    },
    "pictures": {
        "what": text("what"),
        "units": number("units", ",.0f"),
        "time": duration("seconds"),
        "target": number("target_seconds", "g", unit=" s"),
        "size": number("bytes", ",.0f", scale=1e3, unit=" kB"),
        "target of the size": number("target_bytes", ",.0f", scale=1e3, unit=" kB"),
    },
    "wheel_latency": {
        "wheel": text("wheel"),
        "Python": text("python"),
        "size": number("kilobytes", ",.0f", unit=" kB"),
        "p50": number("p50_ns", ".2f", scale=1e3, unit=" µs"),
        "p99": number("p99_ns", ".2f", scale=1e3, unit=" µs"),
        "p99.9": number("p99.9_ns", ".2f", scale=1e3, unit=" µs"),
    },
    "standard_errors": {
        "modes": text("modes"),
        "parameters": number("parameters", ".0f"),
        "passes of the fit": number("passes_of_the_fit", ".0f"),
        "fit": number("fit_ms", ".1f", unit=" ms"),
        "information": number("information_ms", ".1f", unit=" ms"),
        "robust": number("robust_ms", ".1f", unit=" ms"),
        "information by fit": number("information_by_fit", ".2f"),
        "robust by fit": number("robust_by_fit", ".2f"),
        "replicates": text("replicates"),
        "information by bootstrap": interval("by_bootstrap", ".2f"),
    },
    "coverage": {
        "fleets": text("fleets"),
        "units": text("units"),
        "method": text("method"),
        **{f"{level} %": number(f"coverage_{level / 100:g}", ".1%") for level in (50, 80, 90, 95)},
        "warned": number("warned", ".0%"),
        "90 % as advised": number("as_advised_90", ".1%"),
        "probabilities": number("probability_90", ".1%"),
        **{
            f"{shown}, {known}": number(f"{what}{key}_90", ".1%")
            for shown, what in (("modes", "mode"), ("forecasts", "forecast"), ("lives", "life"))
            for known, key in (("plug-in", "_known"), ("with uncertainty", ""))
        },
    },
    "overconfidence": {
        "curves": text("curves"),
        "units": text("units"),
        "covariances": text("covariances"),
        "uncertainty": text("uncertainty"),
        "fleets": text("fleets"),
        "log score above the truth's": plus_minus("log_score_excess", ".3f"),
        "sure calls": number("sure", ".0%"),
        "claimed wrong": number("claimed", ".2%"),
        "wrong": number("wrong", ".2%"),
        "wrong ÷ claimed": interval("ratio", ".2f"),
        "novelty ≤ .01": plus_minus("novel", ".1f", 0.01, " %"),
        "90 % forecasts hold": plus_minus("held", ".1f", 0.01, " %"),
    },
    "choose_modes": {
        "what": text("what"),
        "covariance": text("covariance"),
        "fleets": text("fleets"),
        "rejects": number("share", ".1%"),
        "200 starts reject": number("reference", ".1%"),
        "replicates": number("replicates", ".0f"),
        "one thread": duration("seconds, one thread"),
        "two threads": duration("seconds, two threads"),
        "peer": text("peer"),
        "a replicate of the peer": duration("seconds a replicate"),
        "ours": duration("ours"),
        "× ours": number("times", ",.0f"),
    },
    "shrinkage": {
        "curves": text("curves"),
        "units": text("units"),
        "covariances": text("covariances"),
        "fleets": text("fleets"),
        "default": plus_minus("auto", ".3f"),
        "full": plus_minus("full", ".3f"),
        "pooled": plus_minus("pooled", ".3f"),
        "default ÷ the better": plus_minus("ratio", ".2f"),
        "weight": number("weight", ".0f"),
        "time ÷ full": number("time_by_full", ".1f"),
    },
}


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
        load = f"{load['before']} before, {load['after']} after"
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
