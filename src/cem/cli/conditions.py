"""Options of ``cem fit`` for reading conditions (covariates, regimes) and for what differs between units."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cem.cli.options import names
from cem.errors import OptionError

if TYPE_CHECKING:
    from cem.basis.families import Basis
    from cem.covariates.regimes import Regimes
    from cem.covariates.terms import Term
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = [
    "add_at",
    "add_conditions",
    "conditions_at",
    "described_conditions",
    "estimator_options",
    "read_columns",
    "read_unit_columns",
    "sampled_at",
    "with_categories",
    "with_random_degree",
]

FORMS = "linear, power=DEGREE, spline, spline=KNOTS, category, by-mode, by-time"
_BY_MODE, _BY_TIME = "by-mode", "by-time"
LAST = "last"
Choice = tuple[str, str]
"""A column, and the form in which it enters: words of FORMS separated by commas, or nothing."""
RegimesChoice = tuple[tuple[str, ...], int | None, tuple[float, ...] | None]


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of ``cem fit``."""
    group = parser.add_argument_group(
        "reading conditions",
        "What is read with the sensors and moves them, such as a load or an operating mode. The model keeps the names "
        "of these columns: `cem score` and `cem rul` read them without further options.",
    )
    group.add_argument(
        "--covariate",
        type=covariate_choice,
        action="append",
        default=[],
        metavar="COLUMN[:FORM]",
        help=f"a column that explains part of every sensor; may be repeated. FORM is one or more of: {FORMS}, "
        "separated by commas. Without a form a number is linear, and a text is a category. power and spline are curves "
        "of a number; by-mode: a coefficient for each mode in place of one for the fleet; by-time: its effect changes "
        "over time. Examples: load, load:power=2, load:spline=5,by-mode",
    )
    group.add_argument(
        "--unit-covariate",
        type=covariate_choice,
        action="append",
        default=[],
        metavar="COLUMN[:FORM]",
        help="the same for a column that is constant within a unit, such as a site. Without a form, a column that "
        "--membership or --regimes also names serves only there",
    )
    group.add_argument(
        "--regimes",
        type=regimes_choice,
        metavar="REGIMES",
        help="operating regimes, in each of which every sensor has an offset and a scale of its own. COLUMN,...:N: N "
        "regimes recognised from these columns; COLUMN@CUT,...: intervals between cuts; COLUMN: a category, such as a "
        "number or name of the operating mode. Examples: setting1,setting2,setting3:6, load@20,60, opmode",
    )
    group.add_argument(
        "--unknown-regime",
        choices=("error", "nearest"),
        default="error",
        help="what a later reading far from all regimes gets: an error, or the nearest regime (default: error)",
    )
    group.add_argument(
        "--membership",
        type=membership_choice,
        action="append",
        default=[],
        metavar="COLUMN[:FORM]",
        help="a column, constant within a unit, on which the probabilities of the modes depend; may be repeated",
    )
    random = parser.add_mutually_exclusive_group()
    random.add_argument(
        "--random-degree",
        type=degree,
        metavar="N",
        help="with polynomial bases: only coefficients up to this degree differ between units of a mode (default: all)",
    )
    random.add_argument(
        "--random",
        choices=("all", "none"),
        help="none: units of a mode share its curve, and differ only by noise (default: all)",
    )
    parser.add_argument(
        "--noise",
        choices=("own", "pooled"),
        default="own",
        help="pooled: one noise variance per channel for all modes (default: own, one for each mode)",
    )


def add_at(parser: argparse.ArgumentParser) -> None:
    """Add ``--at``, the conditions of a prediction, to the parser of ``cem rul``."""
    parser.add_argument(
        "--at",
        type=at_choice,
        metavar="CONDITIONS",
        help="with --threshold, for a model with covariates or regimes: the conditions at which the channel crosses "
        "it, such as load=40,opmode=2; last: those that each unit read last",
    )


# ---- types of the options' values ------------------------------------------------------------------------------------


def covariate_choice(text: str) -> Choice:
    """(column, form) of ``load``, ``load:power=2`` or ``mode:category,by-mode``."""
    name, colon, form = text.rpartition(":")
    if not colon:
        name, form = text, ""
    if not name.strip() or (colon and not form.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form COLUMN or COLUMN:FORM; forms are {FORMS}")
    name, form = name.strip(), ",".join(word.strip() for word in form.split(",")) if form else ""
    try:
        _term(name, form, is_category=False)
    except OptionError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    return name, form


def membership_choice(text: str) -> Choice:
    """As `covariate_choice`, without words about modes and time."""
    name, form = covariate_choice(text)
    for word in form.split(","):
        if word in (_BY_MODE, _BY_TIME):
            raise argparse.ArgumentTypeError(
                f"{text!r}: {word!r} is no form of --membership; its coefficients belong to modes, not to sensors"
            )
    return name, form


def regimes_choice(text: str) -> RegimesChoice:
    """(columns, number of regimes, cuts) of ``a,b:6``, ``load@20,60`` or ``opmode``."""
    head, _, tail = text.rpartition(":")
    n, cuts, columns = None, None, text
    if head and tail.strip().isdecimal():
        n, columns = int(tail), head
    elif "@" in text:
        columns, _, tail = text.rpartition("@")
        cuts = tuple(_number(cell) for cell in tail.split(","))
        if any(math.isnan(cut) for cut in cuts):
            raise argparse.ArgumentTypeError(f"{text!r}: numbers separated by commas were expected behind @")
    choice = (tuple(names(columns)), n, cuts)
    try:
        _regimes(choice, "error")
    except OptionError as error:
        form = "COLUMN,...:N, COLUMN@CUT,... or COLUMN"
        raise argparse.ArgumentTypeError(f"{text!r}: {error}; regimes have the form {form}") from error
    return choice


def at_choice(text: str) -> str | list[tuple[str, str]]:
    """ "last", or (column, value) of each of ``load=40,opmode=2``."""
    if text.strip() == LAST:
        return LAST
    pairs = []
    for pair in text.split(","):
        name, equals, value = pair.rpartition("=")
        if not equals or not name.strip() or not value.strip():
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form COLUMN=VALUE,... or {LAST}")
        pairs.append((name.strip(), value.strip()))
    if len({name for name, _ in pairs}) < len(pairs):
        raise argparse.ArgumentTypeError(f"{text!r} gives a column twice")
    return pairs


def degree(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _regimes(choice: RegimesChoice, unknown: Any) -> Regimes:
    from cem.covariates.regimes import Regimes

    columns, n, cuts = choice
    return Regimes(columns, n, cuts=cuts, unknown=unknown)


def _term(name: str, form: str, *, is_category: bool) -> Term:
    """The term of a column.

    Raises
    ------
    OptionError
        A word of the form is unknown, occurs twice or contradicts another, or its number cannot be.
    """
    from cem.covariates.terms import Category, Linear, Power, Spline

    words = form.split(",") if form else []
    more: dict[str, Any] = {"by_mode": _BY_MODE in words, "basis_functions": "all" if _BY_TIME in words else None}
    kinds = [word for word in words if word not in (_BY_MODE, _BY_TIME)]
    for word in kinds:
        kind, equals, number = word.partition("=")
        if kind not in ("linear", "power", "spline", "category"):
            raise OptionError(
                f"{word!r} is not a form of a covariate; forms are {FORMS}. If the column's name has a colon, put a "
                "form behind the name"
            )
        if equals and (kind not in ("power", "spline") or not number.isdecimal()):
            raise OptionError(f"{word!r} is not a form of a covariate; forms are {FORMS}")
        if kind == "power" and not equals:
            raise OptionError("power needs a degree, such as power=2")
    if len(kinds) > 1 or len(set(words)) < len(words):
        raise OptionError(f"{form!r} names more than one curve, or a word twice; give one of linear, power, spline and "
                          "category")  # fmt: skip
    kind, _, number = (kinds[0] if kinds else "category" if is_category else "linear").partition("=")
    if kind == "category":
        return Category(name, **more)
    if kind == "power":
        return Power(name, int(number), **more)
    if kind == "spline":
        return Spline(name, int(number), **more) if number else Spline(name, **more)
    return Linear(name, **more)


# ---- what a fit reads and is given -----------------------------------------------------------------------------------


def read_columns(options: argparse.Namespace) -> list[str] | None:
    """Columns to read with the sensors; None if there are none.

    Raises
    ------
    OptionError
        A column is given as one that varies within a unit and as one that does not.
    """
    of_units = read_unit_columns(options) or []
    given = [name for name, _ in options.covariate]
    for name in given:
        if name in of_units:
            option = "--membership" if name in [other for other, _ in options.membership] else "--unit-covariate"
            raise OptionError(
                f"--covariate and {option} both name {name!r}; give a column that is constant within each unit as "
                "--unit-covariate, and any other one as --covariate"
            )
    regimes = [] if options.regimes is None else options.regimes[0]
    return list(dict.fromkeys([*given, *(name for name in regimes if name not in of_units)])) or None


def read_unit_columns(options: argparse.Namespace) -> list[str] | None:
    """Columns that are constant within a unit; None if there are none."""
    return list(dict.fromkeys(name for name, _ in (*options.unit_covariate, *options.membership))) or None


def with_categories(options: argparse.Namespace, panel: Panel) -> Panel:
    """The panel, in which columns that serve as categories are categories also if a file writes them as numbers.

    Raises
    ------
    OptionError
        A column for regimes holds fractions, or more distinct numbers than there can be regimes.
    PanelError
        A column for a term holds fractions.
    """
    from cem.covariates.regimes import MAX_REGIMES

    terms = (*options.covariate, *options.unit_covariate, *options.membership)
    wanted = [name for name, form in terms if "category" in form.split(",")]
    if options.regimes is not None and options.regimes[1:] == (None, None):
        (name,) = options.regimes[0]
        numbers = _distinct_numbers(panel, name)
        if numbers is not None:
            found = None
            if any(number != math.floor(number) for number in numbers):
                found = "fractions"
            elif len(numbers) > MAX_REGIMES:
                found = f"{len(numbers):,} distinct numbers"
            if found is not None:
                raise OptionError(
                    f"--regimes {name}: the column holds {found}, so it does not name regimes; give {name}:N to have N "
                    f"regimes recognised, or {name}@CUT,... for the intervals between cuts"
                )
        wanted.append(name)
    chosen = [name for name in dict.fromkeys(wanted) if _distinct_numbers(panel, name) is not None]
    if not chosen:
        return panel
    of_readings = {name: _category(panel, name) for name in chosen if name in panel.covariates}
    of_units = {name: _category(panel, name) for name in chosen if name in panel.unit_covariates}
    return panel.with_covariates(of_readings or None, of_units or None)


def _distinct_numbers(panel: Panel, name: str) -> Sequence[float] | None:
    """The distinct numbers of a covariate; None of a category."""
    import numpy as np

    values = panel.covariate(name)
    if values.dtype == object:
        return None
    numbers: list[float] = np.unique(values[~np.isnan(values)]).tolist()
    return numbers


def _category(panel: Panel, name: str) -> Any:
    """A covariate of whole numbers as a category with these levels."""
    from cem.panel.covariates import covariate_of, places_of_readings, places_of_units

    is_of_unit, ids = name in panel.unit_covariates, panel._unit_ids
    where = places_of_units(ids) if is_of_unit else places_of_readings(ids, panel.offsets)
    what = "unit covariate" if is_of_unit else "covariate"
    return covariate_of(name, panel.covariate(name).tolist(), where, what, declared=True)


def estimator_options(options: argparse.Namespace, panel: Panel) -> dict[str, Any]:
    """The arguments of `FailureModeEM` for these options, except for bases."""
    columns = (*panel.covariates, *panel.unit_covariates)
    is_category = {name: panel.covariate(name).dtype == object for name in columns}
    elsewhere = {name for name, _ in options.membership}
    elsewhere.update(() if options.regimes is None else options.regimes[0])
    terms = [
        *options.covariate,
        *((name, form) for name, form in options.unit_covariate if form or name not in elsewhere),
    ]
    return {
        "covariates": [_term(name, form, is_category=is_category[name]) for name, form in terms] or None,
        "membership": [_term(name, form, is_category=is_category[name]) for name, form in options.membership] or None,
        "regimes": None if options.regimes is None else _regimes(options.regimes, options.unknown_regime),
        "random_columns": "none" if options.random == "none" else None,
        "noise": options.noise,
    }


def with_random_degree(basis: Basis, n: int | None, channel: str | None) -> Basis:
    """The basis of which only coefficients up to a degree differ between units.

    Raises
    ------
    OptionError
        The basis is not polynomial, or of a lower degree.
    """
    from cem.basis.families import Polynomial

    if n is None:
        return basis
    whose = "" if channel is None else f" of channel {channel!r}"
    if not isinstance(basis, Polynomial):
        raise OptionError(f"--random-degree {n} is for polynomial bases; the basis{whose} is {basis!r}")
    if n > basis.degree:
        raise OptionError(f"--random-degree {n}: the basis{whose}, {basis!r}, has a lower degree")
    return basis.with_params(random_degree=n)


# ---- what a prediction is given --------------------------------------------------------------------------------------


def conditions_at(
    given: str | list[tuple[str, str]] | None, model: FailureModeModel, channel: str | None
) -> str | dict[str, Any] | None:
    """The argument ``covariates`` of `FailureModeModel.remaining_life`; None if nothing is needed.

    Parameters
    ----------
    given : "last", list of (column, value), or None
        The option ``--at``.
    model : FailureModeModel
    channel : str or None
        Of the threshold.

    Raises
    ------
    OptionError
        The channel depends on conditions and they are not given, or a value is no number or level.
    """
    if given is None:
        needed = _depends_on(model, channel)
        if needed:
            values = ",".join(f"{name}=VALUE" for name in needed)
            raise OptionError(
                f"channel {channel!r} depends on {', '.join(map(repr, needed))}: give --at {values}, the conditions at "
                f"which it crosses the threshold, or --at {LAST} to take those that each unit read last"
            )
        return None
    if isinstance(given, str):
        return given
    columns = {column.name: column for column in _columns(model)}
    return {name: _value(columns[name], text) if name in columns else text for name, text in given}


def sampled_at(given: str | list[tuple[str, str]] | None, model: FailureModeModel) -> dict[str, dict[str, Any]]:
    """The arguments ``covariates`` and ``unit_covariates`` of `FailureModeModel.sample`.

    Parameters
    ----------
    given : list of (column, value), "last", or None
        The option ``--at``.
    model : FailureModeModel

    Raises
    ------
    OptionError
        A covariate of the model is not given, a name is none of them, or a value is no number or level.
    """
    from cem.errors.names import did_you_mean, listed

    if isinstance(given, str):
        raise OptionError(
            f"--at {given} is for units that were read; simulated units need values, --at COLUMN=VALUE,..."
        )
    columns = {column.name: column for column in _columns(model)}
    values: dict[str, Any] = {}
    for name, text in given or ():
        if name not in columns:
            hint = did_you_mean(name, list(columns)) if columns else "it has none; leave --at out"
            raise OptionError(f"--at {name}={text}: the model has no such covariate; {hint}")
        levels = columns[name].levels
        values[name] = _value(columns[name], text)
        if levels is not None and values[name] not in levels:
            raise OptionError(f"--at {name}={text}: the levels of {name!r} are {listed(levels, 12)}")
    lacking = [name for name in columns if name not in values]
    if lacking:
        needed = ",".join(f"{name}=VALUE" for name in lacking)
        raise OptionError(
            f"the model depends on {listed(lacking, 12)}: give --at {needed}, the conditions under which the "
            "simulated units run"
        )
    return {
        "covariates": {name: value for name, value in values.items() if name in model.covariates},
        "unit_covariates": {name: value for name, value in values.items() if name in model.unit_covariates},
    }


def _depends_on(model: FailureModeModel, channel: str | None) -> list[str]:
    """The covariates of readings on which a channel depends."""
    conditions = model.conditions
    if conditions is None or channel not in conditions.channels:
        return []
    c = conditions.channels.index(channel)
    used = {conditions.features[f].column for f, _ in (*conditions.common[c], *conditions.by_mode[c])}
    if conditions.regimes is not None:
        used.update(conditions.regimes.columns)
    return [column.name for j, column in enumerate(conditions.columns) if j in used and not column.of_unit]


def _value(column: Any, text: str) -> Any:
    """A number, or the level that is written so."""
    if column.levels is not None:
        return {str(level): level for level in column.levels}.get(text, text)
    number = _number(text)
    if not math.isfinite(number):
        raise OptionError(f"--at {column.name}={text}: a number was expected")
    return number


# ---- what a model says of its conditions -----------------------------------------------------------------------------


def described_conditions(model: FailureModeModel) -> dict[str, Any]:
    """Covariates and regimes of a model, as `cem info --json` prints them."""
    regimes = None if model.conditions is None else model.conditions.regimes
    return {
        "covariates": [
            {
                "name": column.name,
                "of_unit": column.of_unit,
                "levels": None if column.levels is None else list(column.levels),
                "range": None if column.levels is not None else [column.low, column.high],
            }
            for column in _columns(model)
        ],
        "regimes": None
        if regimes is None
        else [
            {"label": label, "readings": count}
            for label, count in zip(regimes.labels, regimes.counts.tolist(), strict=True)
        ],
    }


def _columns(model: FailureModeModel) -> list[Any]:
    """The covariates of a model, each once."""
    own = [] if model.conditions is None else list(model.conditions.columns)
    of_units = [] if model.of_units is None else list(model.of_units.columns)
    return list({column.name: column for column in (*own, *of_units)}.values())
