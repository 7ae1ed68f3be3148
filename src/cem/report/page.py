"""The page: which sections it has, and how it is written."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cem import __version__
from cem.errors import CemWarning, OptionError
from cem.errors.display import encodable
from cem.errors.html import html_text
from cem.errors.warning import warn
from cem.files.whole_file import check_destination, write_whole
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel
from cem.plot.display import checked
from cem.prognosis.remaining_life import RemainingLife
from cem.prognosis.threshold_life import ThresholdLife
from cem.report.html import Section, chips, paragraph
from cem.report.pictures import Pictures
from cem.report.section_of_checks import checks
from cem.report.sections_of_fit import calibration, conditions, data, fitted, modes, starts
from cem.report.sections_of_units import lives, units
from cem.report.style import CSS
from cem.report.warnings_of_fit import advice, notes_of

if TYPE_CHECKING:
    StrPath = str | os.PathLike[str]

__all__ = ["report"]

_OF_THRESHOLD = ("channel", "direction", "covariates")


def report(
    of: FailureModeModel | RemainingLife,
    panel: Panel | None = None,
    path: StrPath | None = None,
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    threshold: Any = None,
    **options: Any,
) -> str:
    """Describe a model, and the units of a panel under it, on one self-contained HTML page.

    The page needs no network and no other file. The same model and panel give the same bytes.

    Parameters
    ----------
    of : FailureModeModel or RemainingLife
        What was fitted.
    panel : Panel, optional
        Units to score and to draw, as for `FailureModeModel.predict_proba`; of a model on the time to failure, also
        running units, as for `RemainingLife.predict`. Without it, the page has the model alone.
    path : path-like, optional
        Where to write the page, whole or not at all.
    title : str, optional
        Heading of the page.
    notes : sequence of str
        Warnings that were given when the panel was read; the page repeats them.
    threshold
        Failure threshold for the remaining lives of a model on the forward time axis. Default: the one that
        `ThresholdLife.save` kept in it.
    options
        channel, direction, covariates of the threshold: as for `FailureModeModel.remaining_life`.

    Returns
    -------
    str
        The page.

    Raises
    ------
    OptionError
        An argument is of another type, the model has no record of its fit (``training`` is empty), a threshold is given
        without a panel or for a model on the time to failure, or the file cannot be written.
    PredictionError, PanelError
        The model cannot read the panel.
    MissingPackageError
        matplotlib is not installed.

    Warns
    -----
    CemWarning
        What predictions for the panel warn of; the page repeats it.
    """
    checked(of, "model", FailureModeModel, RemainingLife)
    if panel is not None:
        checked(panel, "panel", Panel)
    unknown = [name for name in options if name not in _OF_THRESHOLD]
    if unknown:
        raise OptionError(f"a report has no option {unknown[0]!r}; of a threshold it has {', '.join(_OF_THRESHOLD)}")
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise OptionError(f"path is of type {type(path).__name__}; a path was expected")
    if isinstance(notes, str) or not all(isinstance(note, str) for note in notes):
        raise OptionError(f"notes is {notes!r}; a sequence of texts was expected")
    if threshold is None and options:
        raise OptionError(
            f"{next(iter(options))} is of a threshold, and no threshold is given; give one, or leave it out"
        )
    if threshold is not None and panel is None:
        raise OptionError("a threshold is given and no panel, so there are no units that could cross it; give both")
    if path is not None:
        _as_option_error(lambda: check_destination(path), path)
    pictures = Pictures()
    prognosis = of if isinstance(of, RemainingLife) else _prognosis(of)
    model = of.model if isinstance(of, RemainingLife) else of
    if not model.training:
        raise OptionError(
            "the model has no record of its fit, and a report describes one: which options, how many units, which "
            "starts. One that FailureModeEM fitted has it, also after save and load; model.plot(panel) draws any model"
        )
    if threshold is not None and model.time_axis == "to_failure":
        raise OptionError("a threshold is for forward models; this one is aligned at failure, leave the threshold out")
    until = None if threshold is None else {"threshold": threshold, **options}
    held = ThresholdLife(model) if "threshold" in model.training and model.time_axis == "forward" else None
    if until is None and held is not None:
        until = {"threshold": held.threshold, "channel": held.channel, "direction": held.direction}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CemWarning)
        scored = [
            *checks(model, panel, pictures),
            *units(model, panel, pictures),
            *lives(model, prognosis, panel, pictures, until),
        ]
        described = [
            fitted(model),
            data(model, panel),
            *modes(model, panel, pictures),
            *conditions(model, pictures),
            starts(model, pictures),
            *calibration(model, prognosis if prognosis is not None else held, pictures),
        ]
    seen = _given(caught)
    told = [*notes, *(text for text, _ in seen if text not in notes)]
    found = [advice([*notes_of(model, prognosis if prognosis is not None else held), *told]), *described, *scored]
    page = _page(model, title or "Failure modes of a fleet", found)
    if path is not None:
        _as_option_error(lambda: write_whole(path, encodable(page, "utf-8").encode("utf-8")), path)
    for text, kind in seen:  # at the user's line, once the page is there
        warn(text, kind)
    return page


def _prognosis(model: FailureModeModel) -> RemainingLife | None:
    """The prognosis that the model holds; None on the forward time axis, or without laws of lifetimes."""
    if model.time_axis != "to_failure" or "lifetimes" not in model.training:
        return None
    return RemainingLife(model)


def _given(caught: Sequence[warnings.WarningMessage]) -> list[tuple[str, type[CemWarning]]]:
    found: dict[str, type[CemWarning]] = {}
    for one in caught:
        if issubclass(one.category, CemWarning):
            found.setdefault(str(one.message), one.category)
    return list(found.items())


def _as_option_error(do: Callable[[], Any], path: StrPath) -> None:
    try:
        do()
    except OSError as error:
        raise OptionError(f"the report {os.fspath(path)!r} cannot be written: {error.strerror or error}") from None


def _page(model: FailureModeModel, title: str, sections: Sequence[Section]) -> str:
    name = html_text(title)
    links = "".join(f'<a href="#{one.key}">{html_text(one.title)}</a>' for one in sections)
    body = "".join(map(str, sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{name}</title>\n<link rel="icon" href="data:,">\n<style>\n{CSS}\n</style>\n</head>\n<body>\n'
        f"<header><h1>{name}</h1>{paragraph(model.summary().title)}"
        f"{chips(model.mode_labels, model.weights_.tolist())}<nav>{links}</nav></header>\n"
        f"<main>\n{body}</main>\n<footer>Written by cem {html_text(__version__)}.</footer>\n</body>\n</html>\n"
    )
