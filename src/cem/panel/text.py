"""A panel in a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.panel.covariates import Covariate
    from cem.panel.panel import Panel

__all__ = ["described", "described_in_html"]


_MOST_CHANNELS = 30


def described(panel: Panel) -> str:
    """Units, readings, times, channels, missing cells, known modes and failures of a panel."""
    lengths = np.diff(panel.offsets)
    in_units = f" {escaped(panel.time_unit)}" if panel.time_unit else ""
    names = [escaped(f"{name} [{panel._channel_units[name]}]" if name in panel._channel_units else name)
             for name in panel.channels if name != panel.response]  # fmt: skip
    shown = ", ".join(names if len(names) <= 12 else [*names[:10], f"... {len(names) - 10} more"])
    if panel.response is not None:
        response = f"response {escaped(panel.response)}"
        shown = f"{shown}; {response}" if names else response
    observed = int(panel.counts.sum())
    lines = [
        f"Panel of {_plural(panel.n_units, 'unit')}, {_plural(panel.n_readings, 'reading')}, "
        f"{_plural(panel.n_channels, 'channel')}",
        f"  readings a unit  {lengths.min():,} to {lengths.max():,}, median {np.median(lengths):g}",
        f"  times            {panel.times.min():g} to {panel.times.max():g}{in_units}, origin: {panel.origin}",
        f"  channels         {shown}",
        f"  missing cells    {100.0 * (1.0 - observed / panel.values.size):.3g} %",
    ]
    for columns, label in (
        (panel._covariate_columns, "covariates     "),
        (panel._unit_covariate_columns, "unit covariates"),
    ):
        if columns:
            named = [_covariate(column) for column in list(columns.values())[:10]]
            more = [f"... {len(columns) - 10} more"] if len(columns) > 10 else []
            lines.append(f"  {label}  {', '.join([*named, *more])}")
    if panel.mode_labels:
        sizes = np.bincount(panel.mode_codes + 1, minlength=len(panel.mode_labels) + 1)
        known = [f"{label!r} {size:,}" for label, size in zip(panel.mode_labels, sizes[1:], strict=True)]
        known = known if len(known) <= 8 else [*known[:8], f"... {len(known) - 8} more labels"]
        lines.append(f"  known modes      {', '.join(known)}, unknown {sizes[0]:,}")
    if not np.isnan(panel.failure_times).all():
        lines.append(f"  failed           {int((~np.isnan(panel.failure_times)).sum()):,} of {panel.n_units:,}")
    return "\n".join(lines)


def described_in_html(panel: Panel) -> str:
    """The same for a notebook: facts, and what each channel holds."""
    from cem.errors.html import html_facts, html_table

    title, *lines = described(panel).split("\n")
    facts = {line[2:19].strip(): line[19:] for line in lines if not line.startswith("  channels  ")}
    shown = panel.channels[:_MOST_CHANNELS]
    readings = panel.counts.sum(axis=0)[: len(shown)]
    measures = {"unit": [panel._channel_units.get(name, "") for name in shown]} if panel._channel_units else {}
    columns = {"channel": shown, **measures, "readings": readings}
    for name, function in (("lowest", np.fmin), ("highest", np.fmax)):
        columns[name] = function.reduce(panel.values[:, : len(shown)], axis=0)
    return html_facts(title, facts) + html_table("Channels", columns, panel.n_channels, "channels")


def _covariate(column: Covariate) -> str:
    """Name, range or number of levels, and the share that is missing."""
    given = column.values[~np.isnan(column.values)]
    if not given.size:
        held = "all missing"
    elif column.levels is None:
        held = f"{given.min():g} to {given.max():g}"
    else:
        held = _plural(len(column.levels), "level")
    share = 100.0 * (1.0 - given.size / column.values.size)
    missing = f", {share:.3g} % missing" if 0 < share < 100 else ""
    return f"{escaped(column.name)} ({held}{missing})"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
