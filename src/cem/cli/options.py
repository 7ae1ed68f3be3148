"""Command-line arguments that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import math
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cem.errors import OptionError

if TYPE_CHECKING:
    from cem.basis.families import Basis

__all__ = [
    "AUTOMATIC",
    "BASES",
    "FLEETS",
    "STANDARD_INPUT",
    "STANDARD_OUTPUT",
    "add_ends",
    "add_json",
    "add_model",
    "add_output",
    "add_search",
    "add_table",
    "add_verbosity",
    "basis_choice",
    "codes",
    "count",
    "ends_of",
    "in_words_of_the_command",
    "names",
    "not_negative",
    "positive",
    "process_choice",
    "readable",
    "seed",
    "share",
    "size",
]

BASES = "polynomial:DEGREE, bspline:N_BASIS, fourier:HARMONICS[,PERIOD], exponential:C1,C2,..., constant"
AUTOMATIC: Final = "auto"
FLEETS = ("pumps", "compressors")

# Arguments of Python functions, by the names of a command's options.
_ARGUMENTS = {
    "modes": "n_modes",
    "starts": "n_init",
    "seed": "random_state",
    "jobs": "n_jobs",
    "folds": "n_folds",
    "replicates": "n_replicates",
}
_SAME = (
    *("covariance", "level", "lifetimes", "linking_penalty", "linking_rank", "max_iter", "noise", "shrinkage"),
    *("time_axis", "uncertainty", "failure_time", "last_row_is_failure", "running", "until_failure"),
    "gross_errors",
)

STANDARD_INPUT = STANDARD_OUTPUT = "-"  # never equal to a Path, so ./- is still a file


def add_output(parser: argparse.ArgumentParser, text: str, *, metavar: str = "FILE", required: bool = False) -> None:
    """Add ``--output``: a path, STANDARD_OUTPUT, or None if it is left out."""
    parser.add_argument("-o", "--output", type=_output, required=required, metavar=metavar, help=text)


def _output(text: str) -> Path | str:
    return STANDARD_OUTPUT if text == STANDARD_OUTPUT else Path(text)


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file written by `cem fit --output` or by Python")
    parser.add_argument(
        "--function",
        type=function_choice,
        action="append",
        default=[],
        metavar="[NAME=]MODULE:NAME",
        help="import a function that a Custom basis of the model calls; may be repeated. Functions that a model file "
        "names are imported only with this option",
    )


def add_table(parser: argparse.ArgumentParser, *, optional: bool = False, remembered: bool = False) -> None:
    """Add FILE and how to read it.

    Parameters
    ----------
    parser : ArgumentParser
    optional : bool
        FILE may be left out.
    remembered : bool
        There is a model, which keeps the names of its training table's columns.
    """
    first = "as in the table of the fit, else " if remembered else ""
    parser.add_argument(
        "file",
        type=_input,
        nargs="?" if optional else None,
        metavar="FILE",
        help="CSV, Parquet, or C-MAPSS text; one row per reading; -: standard input",
    )
    parser.add_argument(
        "--format", choices=("csv", "parquet", "cmapss"), help="default: detected from the file's content"
    )
    parser.add_argument("--unit", metavar="COLUMN", help=f"id of the unit (default: {first}unit)")
    parser.add_argument("--time", metavar="COLUMN", help=f"time of the reading (default: {first}time, or cycle)")
    parser.add_argument("--time-unit", metavar="UNIT", help="unit of time in which to count dates, such as h or d")
    parser.add_argument(
        "--time-format", metavar="FORM", help="format of dates other than ISO 8601, such as '%%d.%%m.%%Y %%H:%%M'"
    )
    parser.add_argument(
        "--sensor-column", metavar="COLUMN", help="in a table with one row per unit, time and sensor: the sensor's name"
    )
    parser.add_argument("--value-column", metavar="COLUMN", help="in such a table: the reading")
    parser.add_argument(
        "--missing",
        type=codes,
        action="extend",
        metavar="A,B,...",
        help="codes for missing values, such as --missing='-999,Bad Input'; may be repeated",
    )
    parser.add_argument(
        "--duplicates",
        choices=("keep", "drop"),
        help="what to do with rows that repeat another row of the unit (default: keep a few, refuse many)",
    )
    parser.add_argument("--separator", metavar="C", help="separator of CSV cells (default: detected from the header)")
    parser.add_argument("--decimal", default=".", metavar="C", help="decimal mark of CSV: . or , (default: .)")
    parser.add_argument("--encoding", metavar="NAME", help="encoding of CSV, such as latin-1 (default: utf-8)")
    parser.add_argument("--comment", metavar="TEXT", help="skip CSV lines that begin with this text, such as '#'")
    parser.add_argument(
        "--max-bytes",
        type=size,
        metavar="SIZE",
        help="largest size of an uncompressed file or of standard input, such as 500M or 4G (default: 1G, or 200 times "
        "the size of the file)",
    )


def _input(text: str) -> Path | str:
    return STANDARD_INPUT if text == STANDARD_INPUT else Path(text)


def add_ends(parser: argparse.ArgumentParser) -> None:
    """Add what says when units failed."""
    parser.add_argument("--failure-time", metavar="COLUMN", help="failure time of a unit; empty cells: still running")
    parser.add_argument(
        "--last-row-is-failure", action="store_true", help="in its place: the last row of each unit is its failure"
    )
    parser.add_argument(
        "--running", metavar="COLUMN", help="with it: whether a unit still runs, as true or false, 1 or 0, yes or no"
    )
    parser.add_argument("--running-units", type=names, metavar="A,B,...", help="in its place: ids of these units")
    parser.add_argument(
        "--until-failure", action="store_true", help="cut readings after the failure time (default: refuse them)"
    )


def ends_of(options: argparse.Namespace) -> dict[str, Any]:
    """These options, as `cem.tables.read_panel` takes them.

    Raises
    ------
    OptionError
        Units that still run are given twice.
    """
    if options.running is not None and options.running_units is not None:
        raise OptionError("--running and --running-units both say which units still run; leave one out")
    return {
        "failure_time": options.failure_time,
        "last_row_is_failure": options.last_row_is_failure,
        "running": options.running_units if options.running is None else options.running,
        "until_failure": options.until_failure,
    }


def codes(text: str) -> list[float | str]:
    """Numbers and texts, separated by commas."""
    from cem.panel.frames.cells import is_number  # imported here: it needs NumPy, `cem --help` does not

    return [float(cell) if is_number(cell) else cell for cell in names(text)]


def add_search(parser: argparse.ArgumentParser, starts: int) -> None:
    parser.add_argument(
        "--starts", type=count, default=starts, metavar="N", help=f"number of starts (default: {starts})"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the starts (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="threads; -1: one per core (default: 1)")


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add ``-v`` and ``-q``, which every command has: `verbosity` is -1, 0, 1 or more."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        dest="verbosity",
        help="show what was read, and a line for each stage of a search; -vv: for each start",
    )
    group.add_argument(
        "-q",
        "--quiet",
        action="store_const",
        const=-1,
        dest="verbosity",
        help="results and errors only: no progress, warnings or notes",
    )


def add_json(parser: Any) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document on standard output and nothing else"
    )


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def size(text: str) -> int:
    """Bytes of ``4G``, ``1.5GB``, ``500MiB`` or ``1000000``: K, M, G and T are powers of 1000, or of 1024 with an i."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([KMGT])(I?))?B?", text.strip().upper())
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size above 0 such as 500M, 4G or a number of bytes")
    step, power = 1024 if found[3] else 1000, "KMGT".index(found[2]) + 1 if found[2] else 0
    unit: int = step**power
    return max(1, int(found[1]) * unit if found[1].isdecimal() else round(float(found[1]) * unit))


def readable(options: argparse.Namespace) -> argparse.Namespace:
    """The options, with names as the user typed them.

    In the C locale, which services and scheduled jobs use, Python decodes each non-ASCII byte of the command line to a
    character of its own, and no column would match. Names are then decoded as UTF-8, as in files. Paths keep the bytes
    by which the system knows them.
    """
    for name, value in vars(options).items():
        setattr(options, name, _from_bytes(value))
    return options


def _from_bytes(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_from_bytes(item) for item in value)
    if isinstance(value, str) and any("\udc80" <= letter <= "\udcff" for letter in value):
        with suppress(UnicodeError):
            return os.fsencode(value).decode("utf-8")
    return value


def in_words_of_the_command(text: str, options: argparse.Namespace) -> str:
    """A message with the options that a command has, in place of the arguments of the Python function behind it.

    Parameters
    ----------
    text : str
        Of an error: "n_folds=1: ...", "take uncertainty='bootstrap'".
    options : argparse.Namespace
        The command's; an argument without an option stays as it is.
    """
    for name, argument in (*_ARGUMENTS.items(), *zip(_SAME, _SAME, strict=True)):
        if name in vars(options):
            option = f"--{name.replace('_', '-')}"
            text = text.replace(f"{argument}=True", option)
            for words in re.findall(rf"\b{argument}=('[^']*'(?:(?:, | or )'[^']*')*)", text):
                text = text.replace(f"{argument}={words}", f"{option} {words}".replace("'", ""))
            text = re.sub(rf"^{argument} is ", f"{option} is ", re.sub(rf"\b{argument}=", f"{option} ", text))
    return text


def names(text: str) -> list[str]:
    """Names separated by commas; one with a comma in it stands in double quotes, as in CSV."""
    cells = text.split(",")
    if '"' in text:
        import csv  # here: few command lines have such names

        cells = next(csv.reader([text], skipinitialspace=True), [])
    names = [name.strip() for name in cells]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name; names are separated by single commas")
    return names


def basis_choice(text: str) -> tuple[str | None, Basis | Literal["auto"]]:
    """(channel or None for all, basis) of ``s2=bspline:6``, ``polynomial:2`` or ``auto``."""
    if text == AUTOMATIC:
        return None, AUTOMATIC
    channel, equals, spec = text.rpartition("=")
    return (channel if equals else None), _basis(spec)


def process_choice(text: str) -> tuple[str | None, str | None]:
    """(channel or None for all, kind or None) of ``s2=wiener`` or ``auto``."""
    from cem.process.channel_process import KINDS

    channel, equals, kind = text.rpartition("=")
    if kind not in (*KINDS, "auto", "none"):
        raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(KINDS)}, auto and none")
    return (channel if equals else None), (None if kind == "none" else kind)


def function_choice(text: str) -> tuple[str, str]:
    """(name in the model file, "module:name" to import) of ``module:name`` or ``name=module:name``."""
    name, equals, path = text.rpartition("=")
    module, colon, attribute = path.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form module:name, such as plant.curves:wear")
    return (name if equals else path), path


def _basis(spec: str) -> Basis:
    from cem.basis.families import BSpline, Constant, Exponential, Fourier, Polynomial

    family, _, rest = spec.partition(":")
    numbers = [word.strip() for word in rest.split(",")] if rest else []
    try:
        if family == "polynomial" and len(numbers) == 1:
            return Polynomial(int(numbers[0]))
        if family == "bspline" and len(numbers) == 1:
            return BSpline(int(numbers[0]))
        if family == "fourier" and len(numbers) in (1, 2):
            return Fourier(int(numbers[0]), *map(float, numbers[1:]))
        if family == "exponential" and numbers:
            return Exponential([float(number) for number in numbers])
        if family == "constant" and not numbers:
            return Constant()
    except OptionError as error:
        raise argparse.ArgumentTypeError(f"basis {spec!r}: {error}") from error
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{spec!r} is not a basis; bases are {BASES}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def share(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1, both excluded")
    return value


def not_negative(text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value


def positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
