"""The candidates that `choose_basis` compares, made from the fleet alone: bases, links, covariances, processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.basis.families import Basis, BSpline, Exponential, Polynomial

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = [
    "MENU_OPTIONS",
    "PENALTIES",
    "Options",
    "default_bases",
    "default_ranks",
    "refined",
    "screened",
    "with_other_modes",
]

Options = dict[str, Any]

MENU_OPTIONS = ("basis", "n_modes", "linking_rank", "linking_penalty", "covariance", "process")
"""Options of an estimator that candidates may differ in."""
PENALTIES = (5.0, 50.0, 500.0)
"""Decades below the default penalty of loadings, and the default itself."""

_RANKS = (4, 8)
_LADDERS = (32.0, 16.0, 8.0)  # of the typical length: the shortest time constant of a ladder
_RUNGS = (1.0, 3.0, 10.0)
# Of bases, a third goes on to the second round, but no fewer than these; of pairs with links, these go on to other
# numbers of modes.
_SHARE_KEPT, _LEAST_KEPT, _MOST_REFINED = 3, 3, 4


def typical_length(panel: Panel, time_axis: str) -> float:
    """The median life of the units that failed, or on the forward axis the median length of the histories."""
    if time_axis == "to_failure":
        return float(np.nanmedian(panel.failure_times))
    ends = np.asarray(panel.offsets)
    lengths = panel.times[ends[1:] - 1] - panel.times[ends[:-1]]
    return float(np.median(lengths[lengths > 0])) if np.any(lengths > 0) else 0.0


def default_bases(panel: Panel, time_axis: str) -> tuple[Basis, ...]:
    """The bases of the menu, from simple to rich.

    Polynomials up to degree 4; exponentials whose time constants are shares of the typical length of a history, alone,
    in pairs of one to four, and in ladders of one to three to ten. On the forward axis also exponentials that level
    off, cubic splines, and hinges: two straight lines that meet at the median, or the upper quartile, of the times. On
    the time to failure a basis has to be shift-invariant, and a spline is not.

    Parameters
    ----------
    panel : Panel
        The training units.
    time_axis : {"forward", "to_failure"}

    Returns
    -------
    tuple of Basis
        Those with no more functions than half of the units have readings; a straight line and a parabola in any case.
    """
    length = typical_length(panel, time_axis)
    found: list[Basis] = [Polynomial(degree) for degree in (1, 2, 3, 4)]
    if length > 0:
        parts = [_rounded(length / share) for share in (16.0, 8.0, 4.0, 2.0)]
        found += [Exponential(c) for c in parts[1:]]
        found += [Exponential((_rounded(length / share), _rounded(4.0 * length / share))) for share in _LADDERS]
        if time_axis == "forward":
            found += [Exponential(-c) for c in parts[1:]]
        found += [Exponential(tuple(_rounded(rung * length / share) for rung in _RUNGS)) for share in _LADDERS]
    if time_axis == "forward":
        low, middle, late, high = np.quantile(panel.times, [0.0, 0.5, 0.75, 1.0])
        found += [BSpline(knots=(float(knot),), degree=1) for knot in (middle, late) if low < knot < high]
        found += [BSpline(n) for n in (5, 7)]
    readings = np.diff(panel.offsets)
    most = max(3.0, float(np.median(readings)) / 2.0)
    distinct = {basis: None for basis in found if basis.size <= most}
    return tuple(sorted(distinct, key=lambda basis: basis.size))


def _rounded(value: float) -> float:
    """To three digits, for a table that people read."""
    return float(f"{value:.3g}")


def default_ranks(given: Mapping[str, Any], n_channels: int) -> tuple[int, ...]:
    """Numbers of shared factors to compare: 0, 4 and 8, of which each is below the number of channels.

    A rank that the estimator has is kept. On the forward axis, and with options that links exclude, it is 0.
    """
    rank = int(given["linking_rank"])
    if rank:
        return (rank,)
    if given["time_axis"] != "to_failure" or given["covariance"] in ("pooled", "diagonal"):
        return (0,)
    linked = tuple(rank for rank in _RANKS if rank < n_channels)
    return linked if given["lifetimes"] == "linked" and linked else (0, *linked)


def screened(
    given: Mapping[str, Any], bases: Sequence[Basis], ranks: Sequence[int], penalties: Sequence[float], n_modes: int
) -> list[Options]:
    """Candidates of the first round: every basis without links, and with the most factors at a middling penalty.

    Parameters
    ----------
    given : mapping
        Options of the estimator.
    bases, ranks, penalties
        What the menu has.
    n_modes : int
        The smallest number of modes of the menu.

    Returns
    -------
    list of dict
        Options of each candidate, all of `MENU_OPTIONS`.
    """
    pairs = [(0, given["linking_penalty"])] if 0 in ranks else []
    if max(ranks):
        pairs.append((max(ranks), sorted(penalties)[len(penalties) // 2]))
    return [
        _candidate(given, basis=basis, linking_rank=rank, linking_penalty=penalty, n_modes=n_modes)
        for basis in bases
        for rank, penalty in pairs
    ]


def refined(
    given: Mapping[str, Any],
    scored: Sequence[tuple[Options, float]],
    ranks: Sequence[int],
    penalties: Sequence[float],
    processes: Sequence[str | None],
) -> list[Options]:
    """Candidates of the second round: the best third of the bases with the other links, covariance and processes.

    Parameters
    ----------
    given, ranks, penalties
        As for `screened`.
    scored : sequence of (options, loss)
        The first round; a smaller loss is better.
    processes : sequence of kind or None
        How units may wander about their curves.
    """
    bases: dict[Basis, float] = {}
    for options, loss in scored:
        bases[options["basis"]] = min(loss, bases.get(options["basis"], np.inf))
    kept = sorted(bases, key=lambda basis: bases[basis])[: max(_LEAST_KEPT, len(bases) // _SHARE_KEPT)]
    found = []
    n_modes = scored[0][0]["n_modes"]
    for basis in kept:
        found += [
            _candidate(given, basis=basis, linking_rank=rank, linking_penalty=penalty, n_modes=n_modes)
            for rank in ranks
            if rank
            for penalty in penalties
        ]
        plain = _candidate(
            given, basis=basis, linking_rank=0, linking_penalty=given["linking_penalty"], n_modes=n_modes
        )
        if 0 in ranks:
            if plain["covariance"] == "pooled" and given["covariance"] == "auto":
                found.append({**plain, "covariance": "shrunk"})
            found += [{**plain, "process": kind} for kind in processes if kind != plain["process"]]
    return _new(found, [options for options, _ in scored])


def with_other_modes(
    given: Mapping[str, Any], scored: Sequence[tuple[Options, float]], modes: Iterable[int]
) -> list[Options]:
    """Candidates of the third round: the best of all with other numbers of modes; arguments as for `refined`."""
    best = sorted(scored, key=lambda one: one[1])[:_MOST_REFINED]
    found = []
    for n_modes in modes:
        for options, _ in best:
            others = {name: options[name] for name in ("basis", "linking_rank", "linking_penalty")}
            shrunk = {"covariance": "shrunk"} if options["covariance"] == "shrunk" else {}
            found.append({**_candidate(given, **others, n_modes=n_modes), **shrunk, "process": options["process"]})
    return _new(found, [options for options, _ in scored])


def _candidate(given: Mapping[str, Any], **options: Any) -> Options:
    """All of `MENU_OPTIONS`; independent channels of several modes are compared with the cheaper pooled covariance."""
    covariance = given["covariance"]
    if covariance == "auto":
        covariance = "full" if options["linking_rank"] or options["n_modes"] == 1 else "pooled"
    return {"covariance": covariance, "process": given["process"], **options}


def _new(found: Iterable[Options], before: Iterable[Options]) -> list[Options]:
    seen = [*before]
    new: list[Options] = []
    for options in found:
        if options not in seen:
            new.append(options)
            seen.append(options)
    return new
