"""Checks of labels as people type them: one word in different spellings, and words for *unknown*."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from cem.errors import LabelWarning
from cem.errors.names import listed
from cem.errors.warning import warn

__all__ = ["warn_of_labels", "warn_of_levels"]

_WORDS = frozenset(
    [
        "",
        "nan",
        "none",
        "null",
        "na",
        "n/a",
        "<na>",
        "nat",
        "unknown",
        "unk",
        "undefined",
        "?",
        "-",
        "--",
        "-1",
        "missing",
    ]
)


def warn_of_labels(labels: Sequence[Hashable]) -> None:
    """Warn once of labels that differ only in case or blanks, and of words for *unknown*.

    Parameters
    ----------
    labels : sequence of hashable
        The distinct ones that occur.
    """
    parts = _doubts(labels, "mode", "give None, NaN or -1 if the mode is unknown")
    if parts:
        warn(f"labels of modes: {'. '.join(parts)}", LabelWarning)


def warn_of_levels(levels: Mapping[str, Sequence[Hashable]]) -> None:
    """Warn once of the levels of covariates, by the same rules.

    Parameters
    ----------
    levels : mapping of name to sequence of hashable
        The distinct ones that occur, by covariate.
    """
    found = []
    for name, of_one in levels.items():
        parts = _doubts(of_one, "level", "give None if the level is missing")
        if parts:
            found.append(f"covariate {name!r}: {'. '.join(parts)}")
    if found:
        shown = "; ".join(found[:5]) + (f"; and {len(found) - 5} more covariates" if len(found) > 5 else "")
        warn(f"levels of {shown}", LabelWarning)


def _doubts(labels: Sequence[Hashable], what: str, advice: str) -> list[str]:
    """What is doubtful about labels: spellings of one word, and words for *unknown*."""
    groups: dict[str, list[Hashable]] = {}
    for label in labels:
        if isinstance(label, (str, int, float)) and not isinstance(label, bool):
            groups.setdefault(" ".join(str(label).split()).casefold(), []).append(label)
    parts = []
    alike = [group for group in groups.values() if len(group) > 1]
    if alike:
        shown = "; ".join(" and ".join(repr(label) for label in group) for group in alike[:5])
        parts.append(
            f"{shown} differ only in case, blanks or type, and count as different {what}s; spell each label one way"
        )
    words = [label for key, group in groups.items() if key in _WORDS for label in group if isinstance(label, str)]
    if words:
        parts.append(f"{listed(words)} {'is' if len(words) == 1 else 'are'} taken for a {what} of that name; {advice}")
    return parts
