"""Convert the input of `fit`, `predict` and `score` to a panel, by the same rules for estimator and model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import OptionError, PanelError, PredictionError
from cem.errors.names import did_you_mean
from cem.model.clock_match import check_times_given
from cem.panel.containers import column_names, is_table, refuse_table
from cem.panel.frames.foreign import refuse_foreign
from cem.panel.given import panel_of_arrays
from cem.panel.panel import Panel

if TYPE_CHECKING:
    from cem.model.outputs import ModelOutputs

__all__ = ["COLUMNS", "columns_record", "is_frame", "panel_to_fit", "panel_to_score", "table_options"]

COLUMNS = "columns"
"""Key of a model's record: how the training frame was read."""

Table = Mapping[str, Any]

# Arguments that a frame to be scored does not need, or takes from the model.
_OF_TRAINING = (
    *("mode", "channels", "response", "channel_units", "allow_empty_channels", "allow_empty_units"),
    *("last_row_is_failure", "running"),
)


def is_frame(X: Any) -> bool:
    """Whether X is a table with named columns, of pandas, polars, pyarrow or another library."""
    return not isinstance(X, Panel) and is_table(X)


def table_options(unit: str | None, time: str | None, columns: Table | None, where: str = "") -> dict[str, Any] | None:
    """The arguments of `Panel.from_frame`, checked; None if no columns are named.

    Raises
    ------
    OptionError
        One of unit and time is missing, or `columns` holds an argument that `Panel.from_frame` does not take.
    """
    if unit is None and time is None and columns is None:
        return None
    if unit is None or time is None:
        missing = "unit" if unit is None else "time"
        raise OptionError(f"{where}{missing}=None: name both columns, unit= and time=")
    if columns is not None and not isinstance(columns, Mapping):
        raise OptionError(
            f"{where}columns={columns!r}: a dict of further arguments of Panel.from_frame was expected, such as "
            '{"channels": ["s2", "s3"]}'
        )
    taken = [name for name in inspect.signature(Panel.from_frame).parameters if name not in ("frame", "unit", "time")]
    for name in columns or {}:
        if name not in taken:
            raise OptionError(
                f"{where}columns names {name!r}, which Panel.from_frame does not take; {did_you_mean(name, taken)}"
            )
    return {"unit": unit, "time": time, **(columns or {})}


def panel_to_fit(
    X: Any,
    *,
    table: Table | None,
    modes: Any = None,
    times: Any = None,
    axes: str | Sequence[str] | None = None,
    covariates: Any = None,
    unit_covariates: Any = None,
) -> Panel:
    """The training panel of `fit`.

    Parameters
    ----------
    X : Panel, data frame or array
        The fleet.
    table : mapping, optional
        Arguments of `Panel.from_frame`.
    modes : sequence of labels, optional
        One per unit.
    times, axes, covariates, unit_covariates
        As for `panel_of_arrays`; only with arrays.

    Raises
    ------
    PanelError
        X is not a panel, or it is a data frame and its columns are not named.
    OptionError
        times or axes were given without an array.
    """
    X = _joined(X)
    if is_frame(X):
        _check_for_arrays(times=times, axes=axes, covariates=covariates, unit_covariates=unit_covariates)
        panel = _of_frame(X, table)
        return panel if modes is None else panel.with_modes(_as_labels(modes))
    return panel_of_arrays(
        X,
        times=times,
        axes=axes,
        modes=None if modes is None else _as_labels(modes),
        covariates=covariates,
        unit_covariates=unit_covariates,
    )


def panel_to_score(
    model: ModelOutputs,
    X: Any,
    *,
    times: Any = None,
    axes: str | Sequence[str] | None = None,
    table: Table | None = None,
    what: str = "X",
    covariates: Any = None,
    unit_covariates: Any = None,
) -> Panel:
    """The panel of `predict` and similar methods: channels by name, arrays in the order of the model's channels.

    Parameters
    ----------
    model : ModelOutputs
        The model that will score the panel.
    X : Panel, data frame or array
        The units.
    times, axes
        Only with arrays; times may be left out if the model was fitted at 0, 1, 2, ...
    table : mapping, optional
        Arguments of `Panel.from_frame`; by default those that the model was fitted with.
    what : str
        Name of X in messages.
    covariates, unit_covariates
        As for `panel_of_arrays`; only with arrays.

    Raises
    ------
    PanelError
        X is not a panel, or it is a data frame and its columns are not named.
    PredictionError
        An array came without times though the model was fitted with times, or for a model that needs covariates; a
        frame lacks a sensor or a covariate of the model.
    OptionError
        times or axes were given without an array.
    """
    X = _joined(X)
    if isinstance(X, Panel):
        return panel_of_arrays(X, times=times, axes=axes, covariates=covariates, unit_covariates=unit_covariates)
    if is_frame(X):
        _check_for_arrays(times=times, axes=axes, covariates=covariates, unit_covariates=unit_covariates)
        return _of_frame(X, _for_scoring(model, X, table))
    if (model.covariates and covariates is None) or (model.unit_covariates and unit_covariates is None):
        from cem.mixture.conditioned import needed_covariates

        raise PredictionError(f"{what} is a {type(X).__name__}, which has no covariates; {needed_covariates(model)}")
    if times is None:
        check_times_given(model, what)
    return panel_of_arrays(
        X, times=times, axes=axes, channels=model.channels, may_lack=model.response, allow_empty_channels=True,
        covariates=covariates, unit_covariates=unit_covariates,
    )  # fmt: skip


def columns_record(table: Table | None, panel: Panel) -> dict[str, Any] | None:
    """The record of how the training frame was read, as JSON can hold it."""
    if table is None:
        return None
    kept = {name: value for name, value in table.items() if name not in _OF_TRAINING and value is not None}
    if "origin" in kept:
        kept["origin"] = panel.origin if isinstance(panel.origin, (str, float)) else str(panel.origin)
    if panel.time_unit is not None:
        kept["time_unit"] = panel.time_unit
    return {name: value for name, value in kept.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def _as_labels(modes: Any) -> Any:
    """Labels one by one: rows of an array are not hashable, and `encode_labels` names the first of them."""
    return modes if isinstance(modes, Mapping) else np.asarray(modes, dtype=object).tolist()


def _joined(X: Any) -> Any:
    """Join a list of panels: scikit-learn's searches split a Panel into its units."""
    if isinstance(X, Panel):
        return X
    if isinstance(X, memoryview):
        X = np.asarray(X)
    refuse_foreign(X, "X")
    if isinstance(X, Iterator):
        X = list(X)
        refuse_foreign(X, "X")
    if isinstance(X, (list, tuple)) and X and all(isinstance(part, Panel) for part in X):
        return Panel.concatenate(X)
    return X


def _check_for_arrays(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            own = "columns of covariates, named in columns=" if "covariates" in name else "a column of times"
            raise OptionError(f"{name} is for arrays; a data frame has {own}")


def _of_frame(X: Any, table: Table | None) -> Panel:
    if table is None:
        try:
            refuse_table(X, "X")
        except PanelError as error:
            raise PanelError(
                f"{error}; or name the columns once: FailureModeEM(..., unit=..., time=...), or fit(frame, unit=..., "
                "time=...)"
            ) from None
    return Panel.from_frame(X, **(table or {}))


def _for_scoring(model: ModelOutputs, X: Any, table: Table | None) -> Table | None:
    """How to read a frame for a model: the model's channels, and the other columns if they are present."""
    remembered = model._training.get(COLUMNS)
    if table is None and remembered is None:
        return None
    options = {
        name: value
        for name, value in {**(remembered or {}), **(table or {})}.items()
        if name not in _OF_TRAINING
    }  # fmt: skip
    names = column_names(X) or ()
    if options.get("failure_time") not in names:
        options.pop("failure_time", None)
        options.pop("until_failure", None)
    options["allow_empty_channels"] = options["allow_empty_units"] = True
    is_tall = options.get("sensor") is not None
    needed = () if is_tall or not names else (*model.covariates, *model.unit_covariates)
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise PredictionError(
            f"the frame has no column {lacking[0]!r}, a covariate that the model needs; "
            f"{did_you_mean(lacking[0], names)}"
        )
    _settle_covariates(options, model, names)
    if options.get("sensor") is not None or not names:  # a tall table, with sensor names in cells; or not in memory
        return options
    absent = [name for name in model.channels if name not in names and name != model.response]
    if absent:
        raise PredictionError(
            f"the frame has no column {absent[0]!r}, a channel of the model; {did_you_mean(absent[0], names)} "
            "If it is missing on purpose, give Panel.from_frame(...), which may lack channels"
        )
    options["channels"] = [name for name in model.channels if name in names]
    return options


def _settle_covariates(options: dict[str, Any], model: ModelOutputs, names: Sequence[Any]) -> None:
    """Read the covariates that the model needs, and of the others those that the frame has."""
    by_option = {"covariates": model.covariates, "unit_covariates": model.unit_covariates}
    for option, names_needed in by_option.items():
        other = options.get("unit_covariates" if option == "covariates" else "covariates")
        needed = [name for name in names_needed if isinstance(other, str) or name not in (other or ())]
        given = options.get(option)
        if isinstance(given, str) or (given is None and not needed):
            continue  # a string is refused with the way to write it
        is_tall = options.get("sensor") is not None
        kept = [name for name in given or () if is_tall or not names or name in names or name in needed]
        options[option] = [*kept, *(name for name in needed if name not in kept)]
