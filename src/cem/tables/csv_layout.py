"""Layout of a CSV file: its separator, where the data begin, its column names.

All backends get the same layout, so none of them guesses.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cem.errors import OptionError, PanelError
from cem.panel.frames.cells import NULL_NUMBERS, is_number
from cem.tables.sources import LONGEST_HEADER, Text

__all__ = ["CsvLayout", "CsvOptions", "begins_as_csv", "csv_layout", "first_line", "head_of", "wrong_length"]

_HEAD = 1 << 16
_SEPARATORS = (",", ";", "\t", "|")
_NAMED_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "blank": " ", "space": " "}
_EXCEL = re.compile(r'"?sep=(.)"?[,;\t ]*', re.IGNORECASE)
_WIDE = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class CsvOptions:
    """The user's options for a CSV file; None means: detect it from the file.

    Attributes
    ----------
    separator : str or None
        One character, or "tab".
    decimal : str
        "." or ",".
    encoding : str or None
        None: UTF-8.
    comment : str or None
        Lines that begin with it are skipped.

    Raises
    ------
    OptionError
        An option has a value that it cannot take.
    """

    separator: str | None = None
    decimal: str = "."
    encoding: str | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        if self.separator is not None:
            named = _NAMED_SEPARATORS.get(self.separator) if isinstance(self.separator, str) else None
            object.__setattr__(self, "separator", named or self.separator)
            if not isinstance(self.separator, str) or len(self.separator) != 1 or not self.separator.isascii():
                raise OptionError(f"separator={self.separator!r} must be one ASCII character, such as ';', or 'tab'")
            if self.separator in '"\r\n.' or self.separator.isalnum():
                raise OptionError(f"separator={self.separator!r} cannot separate cells; give one such as ';' or 'tab'")
        if self.decimal not in (".", ","):
            raise OptionError(f"decimal={self.decimal!r} must be '.' or ','")
        if self.separator is not None and self.separator == self.decimal:
            raise OptionError(f"separator and decimal are both {self.decimal!r}; they must differ")
        if self.encoding is not None:
            object.__setattr__(self, "encoding", _checked_encoding(self.encoding))
        if self.comment is not None and (not isinstance(self.comment, str) or not self.comment.strip()):
            raise OptionError(f"comment={self.comment!r} must be what comment lines begin with, such as '#'")


def _checked_encoding(encoding: object) -> str | None:
    """The encoding's name; None for UTF-8."""
    try:
        info = codecs.lookup(encoding)  # type: ignore[arg-type]  # what is no text raises TypeError
        "a1,;\t\n".encode(info.name)
    except (LookupError, TypeError, ValueError):
        raise OptionError(
            f"encoding={encoding!r} is not an encoding of text; give one such as 'latin-1', 'cp1252' or 'utf-16'"
        ) from None
    return None if info.name in ("utf-8", "utf-8-sig", "ascii") else info.name


@dataclass(frozen=True)
class CsvLayout:
    """The layout of a CSV file. Attributes besides those of `CsvOptions`:

    names : tuple of str
        Without surrounding blanks; a nameless column is called "Unnamed: 3", after its position.
    start : int
        Byte of the text, in UTF-8, at which the data begin.
    n_lines : int or None
        Lines before the data; None if a quoted cell of the header has several.
    newline : bytes
        The line end.
    numeric : tuple of bool
        Columns with only numbers or empty cells in the first rows.
    is_empty : bool
        There are no rows.
    """

    options: CsvOptions
    names: tuple[str, ...]
    separator: str
    start: int
    n_lines: int | None
    newline: bytes
    numeric: tuple[bool, ...]
    is_empty: bool

    def text(self, path: Path, max_bytes: int | None) -> Text:
        """The data of the file: without the header and comments, and with lines that end in a line feed."""
        return Text(
            path,
            max_bytes,
            delimiter=self.separator,
            encoding=self.options.encoding,
            comment=self.options.comment,
            newline=self.newline,
            start=self.start,
        )


def head_of(path: Path, options: CsvOptions) -> tuple[bytes, bytes]:
    """The first 64 KiB of the text in UTF-8 (more if the first line is longer), and the file's line end."""
    if options.encoding is None:
        with Text(path, checks_text=False) as raw:
            start = raw.read(2)
        for mark, name in _WIDE:
            if start == mark:
                raise PanelError(
                    f"{str(path)!r} is neither plain text nor Parquet: it begins as {name.upper()}; give "
                    f"encoding={name!r} (on the command line: --encoding {name})"
                )
    head = _read_head(path, options.encoding, None, b"\n")
    newline = b"\r" if b"\r" in head and b"\n" not in head else b"\n"
    if options.comment is not None:
        head = _read_head(path, options.encoding, options.comment, newline)
    return head.replace(newline, b"\n"), newline


def _read_head(path: Path, encoding: str | None, comment: str | None, newline: bytes) -> bytes:
    with Text(path, encoding=encoding, comment=comment, newline=newline, whole_letters=False) as text:
        head = text.read(_HEAD)
        while len(head) <= LONGEST_HEADER and not _has_line(head):
            more = text.read(_HEAD)
            if not more:
                break
            head += more
    return head


def _has_line(head: bytes) -> bool:
    stripped = head.lstrip()
    return b"\n" in stripped or b"\r" in stripped


def first_line(path: Path, head: bytes) -> str:
    """The first line that is not blank, with letters that are not UTF-8 replaced."""
    if len(head) > LONGEST_HEADER and not _has_line(head):
        raise PanelError(
            f"the first line of {str(path)!r} has more than {LONGEST_HEADER:,} bytes; expected one row per line"
        )
    lines = re.split("[\r\n]", head.decode("utf-8-sig", errors="replace"))
    return next((line for line in lines if line.strip()), "")


def begins_as_csv(path: Path, head: bytes, options: CsvOptions) -> bool:
    """True if the first line has columns, or states their separator."""
    line = first_line(path, head)
    return (
        options.separator is not None
        or _separator(line) is not None
        or _EXCEL.fullmatch(line.strip()) is not None
        or line.lstrip().startswith("#")
    )


def _separator(line: str) -> str | None:
    unquoted = re.sub(r'"[^"]*"', "", line)
    counts = {separator: unquoted.count(separator) for separator in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda separator: counts[separator])
    return best if counts[best] else None


def csv_layout(path: Path, options: CsvOptions) -> CsvLayout:
    """Detect the layout of a file from its first 64 KiB.

    Raises
    ------
    PanelError
        The header cannot be read, is followed by a row of units of measurement, or rows have other numbers of cells.
    """
    head, newline = head_of(path, options)
    first_line(path, head)  # refuses an endless line
    lines = head.split(b"\n")
    is_whole = len(head) < _HEAD
    complete = lines if is_whole else lines[:-1] or lines
    position, start = 0, 0
    while position < len(complete) and not _decoded(path, complete[position], position).strip():
        start += len(complete[position]) + 1
        position += 1
    if position == len(complete):
        raise PanelError(f"{str(path)!r} is empty; expected CSV, Parquet or C-MAPSS text")
    separator = options.separator
    line = _decoded(path, complete[position], position)
    excel = _EXCEL.fullmatch(line.strip())
    if excel is not None and position + 1 < len(complete):
        separator = separator or excel[1]
        start += len(complete[position]) + 1
        position += 1
        line = _decoded(path, complete[position], position)
    separator = separator or _separator(line) or ","
    if options.decimal == separator:
        raise OptionError(
            f"decimal={options.decimal!r}: the cells of {str(path)!r} are separated by it; "
            "give separator too (on the command line: --separator)"
        )
    texts = [_decoded(path, text, row + position, errors="replace") for row, text in enumerate(complete[position:])]
    texts[0] = line
    try:
        reader = csv.reader((f"{text}\n" for text in texts), delimiter=separator)
        header = next(reader, [])
    except csv.Error as error:
        raise PanelError(f"the header of {str(path)!r} cannot be read: {error}") from None
    n_header = reader.line_num
    rows = list[list[str]]()
    with suppress(csv.Error):  # the backend will name the fault
        rows = [row for row in reader if row]
    _check_comment(path, line, separator, header, rows, options)
    names = tuple(cell.strip() or f"Unnamed: {place}" for place, cell in enumerate(header))
    start += sum(len(text) + 1 for text in complete[position : position + n_header])
    first = position + n_header
    while first < len(complete) and complete[first] in (b"", b"\r"):  # polars counts the columns of the very first line
        start += len(complete[first]) + 1
        first += 1
    if rows and not is_whole:
        rows.pop()  # may be cut within a quoted cell
    if rows and len(rows[0]) != len(header):
        raise PanelError(wrong_length(path, 0, len(rows[0]), len(header)))
    sample = [[cell.strip() for cell in row] for row in rows if len(row) == len(header)]
    _check_units_row(path, names, sample, options.decimal)
    numeric = tuple(_all_numbers([row[place] for row in sample], options.decimal) for place in range(len(header)))
    n_lines = first if n_header == 1 else None
    return CsvLayout(options, names, separator, start, n_lines, newline, numeric, is_whole and not rows)


def wrong_length(path: Path, row: int, n_cells: int, n_columns: int) -> str:
    more = " (does each row end in a separator?);" if n_cells == n_columns + 1 else ";"
    return (
        f"{str(path)!r} cannot be read as csv: row {row} has {n_cells:,} cells and the header {n_columns:,}{more} "
        "give every row as many cells as the header"
    )


def _decoded(path: Path, line: bytes, position: int, errors: str = "strict") -> str:
    try:
        return line.decode("utf-8-sig" if position == 0 else "utf-8", errors=errors)
    except UnicodeDecodeError:
        shown = line.decode("utf-8", errors="replace").strip()[:60]
        raise PanelError(
            f"the header of {str(path)!r} is not UTF-8: {shown!a}; give its encoding, such as encoding='latin-1' "
            "(on the command line: --encoding latin-1), or save the file as UTF-8"
        ) from None


def _check_comment(
    path: Path, line: str, separator: str, header: Sequence[str], rows: Sequence[Sequence[str]], options: CsvOptions
) -> None:
    if options.comment is None and line.lstrip().startswith("#") and (not rows or len(rows[0]) != len(header)):
        raise PanelError(
            f"{str(path)!r} begins with {line.strip()[:60]!r}, which looks like a comment; give comment='#' "
            "(on the command line: --comment '#') to skip lines that begin so, or remove them"
        )


def _check_units_row(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], decimal: str) -> None:
    """Refuse a first row that has text in numeric columns and no number at all."""
    if len(rows) < 2:
        return
    units = {}
    for place, name in enumerate(names):
        below = [row[place] for row in rows[1:] if row[place] not in NULL_NUMBERS]
        if not below or not all(is_number(cell, decimal) for cell in below):
            continue
        cell = rows[0][place]
        if is_number(cell, decimal):
            return
        if cell not in NULL_NUMBERS:
            units[name] = cell
    if len(units) > 1 or (units and sum(bool(cell) for cell in rows[0]) == 1):
        shown = ", ".join(f"{name!r} {unit!r}" for name, unit in list(units.items())[:6])
        raise PanelError(
            f"{str(path)!r}: the first row under the header holds text and no numbers ({shown}), like a row of units "
            "of measurement; remove it, and give the units by channel_units= if they matter"
        )


def _all_numbers(cells: Sequence[str], decimal: str) -> bool:
    return all(cell in NULL_NUMBERS or is_number(cell, decimal) for cell in cells)
