"""Read a file, several files or a folder of Parquet as one panel; names of folders may hold columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean, listed
from cem.panel.frames.columns import narwhals_module
from cem.panel.panel import Panel
from cem.tables.joining import joined
from cem.tables.tables import column_names, file_format, read_panel, read_table, wanted_columns

__all__ = ["read"]

_SUFFIXES = (".parquet", ".parq", ".pq")
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


def read(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    unit: str = "unit",
    time: str = "time",
    channels: Sequence[str] | None = None,
    **options: Any,
) -> Panel:
    """Read data from files as a Panel: CSV, Parquet, C-MAPSS text, a folder of Parquet files, or several of these.

    Parameters
    ----------
    path : path, "-", or sequence of paths
        A file, of which the format is detected; "-" for standard input; a folder with Parquet files, also in folders
        inside it; or a sequence of Parquet files. Files of a folder are read in the order of their names; those whose
        names begin with a dot or an underscore are left out. Folders that are called ``name=value`` make a column
        ``name``. Ids and labels in names of folders are texts; other columns are numbers if all of them can be.
        A column may be of several types of numbers, of texts or of instants, and without a value in some files.
    unit, time : str
        Columns of the unit's id and of the time.
    channels : sequence of str, optional
        Columns to read as channels; default: all numeric columns without another role.
    **options
        As for `cem.tables.read_panel`; ``max_bytes`` is a bound for each file.

    Returns
    -------
    Panel

    Raises
    ------
    PanelError
        A folder has no Parquet files, one that is named so is none, files lack a column that others have or hold it as
        a type that does not go with theirs, a file has a column that its folder's name has too, or what was given is no
        path; or as for `cem.tables.read_panel`.
    OptionError
        An option is unknown, or as for `cem.tables.read_panel`.
    MissingPackageError
        No library that reads the files is installed.
    OSError
        A file cannot be opened or read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import cem
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "pumps.csv"
    ...     _ = path.write_text("unit,time,flow\\n007,0,1.5\\n007,1,1.6\\n")
    ...     cem.read(path).units
    ('007',)
    """
    _check_options(options)
    _check_path(path)
    if isinstance(path, (str, os.PathLike)):
        if path == "-" or not os.path.isdir(path):
            return read_panel(path, unit=unit, time=time, channels=channels, **options)
        root = Path(path)
        if options.get("format") not in (None, "parquet"):
            raise OptionError(f"format={options['format']!r}: of a folder, cem reads the Parquet files only")
        files = _files_of(root)
        named = [_columns_of_folders(file.parent.relative_to(root)) for file in files]
        return _of_files(files, named, unit, time, channels, options)
    files = [_checked(one) for one in path]
    if not files:
        raise PanelError("no file was given; a path, or a sequence of at least one, was expected")
    if len(files) == 1 and not files[0].is_dir():
        return read_panel(files[0], unit=unit, time=time, channels=channels, **options)
    return _of_files(files, [{} for _ in files], unit, time, channels, options)


def _check_options(options: Mapping[str, Any]) -> None:
    import inspect

    known = inspect.signature(read_panel).parameters
    for name in options:
        if name not in known:
            raise OptionError(f"read has no option {name!r}; {did_you_mean(name, list(known))}")


def _check_path(path: Any) -> None:
    """Refuse what is neither a path nor a sequence of paths."""
    if isinstance(path, (str, os.PathLike)):
        return
    is_table = hasattr(type(path), "columns") or isinstance(path, Mapping)
    if is_table or hasattr(type(path), "read") or isinstance(path, bytes) or not isinstance(path, Iterable):
        advice = "; call Panel.from_frame for a table in memory" if is_table else ""
        is_plain = path is None or isinstance(path, (int, float, bytes))
        found = f"{path!r:.60}" if is_plain else f"a {type(path).__name__}"
        raise PanelError(f"a path, or a sequence of paths, was expected; found {found}{advice}")


def _checked(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise PanelError(f"a sequence of paths was expected; it holds {path!r:.60}")
    return Path(path)


def _files_of(root: Path) -> list[Path]:
    files: list[Path] = []
    others: list[Path] = []
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(name for name in inside if name[0] not in "._")
        for name in sorted(names):
            if name[0] not in "._":
                (files if name.lower().endswith(_SUFFIXES) else others).append(Path(folder, name))
    if not files:
        found = f"it holds {listed([other.name for other in others], 4)}" if others else "it is empty"
        raise PanelError(
            f"the folder {str(root)!r} has no Parquet files ({', '.join(_SUFFIXES)}); {found}. Read files of other "
            "formats one by one, and join them: cem.Panel.concatenate([cem.read(path) for path in paths])"
        )
    return files


def _columns_of_folders(path: Path) -> dict[str, str | None]:
    """Columns in the names of the folders on the way to a file, such as ``unit=007/day=3``."""
    pairs = [part.partition("=") for part in path.parts if "=" in part[1:]]
    names = [unquote(name) for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PanelError(f"the folders of {str(path)!r} name the column {twice!r} twice; rename one")
    return {unquote(name): None if value == _NULL_FOLDER else unquote(value) for name, _, value in pairs}


def _of_files(
    files: Sequence[Path],
    named: Sequence[Mapping[str, str | None]],
    unit: str,
    time: str,
    channels: Sequence[str] | None,
    options: Mapping[str, Any],
) -> Panel:
    in_folders = list(named[0])
    for file, columns in zip(files, named, strict=True):
        if list(columns) != in_folders:
            raise PanelError(
                f"{str(file)!r} lies in folders for the columns {listed(list(columns)) or 'none'}, and "
                f"{str(files[0])!r} in folders for {listed(in_folders) or 'none'}; all files need the same"
            )
    get = options.get
    still = get("running") if isinstance(get("running"), str) else None
    roles = (unit, time, get("response"), get("mode"), get("failure_time"), get("sensor"), get("value"), still)
    wanted = wanted_columns(
        roles, channels, get("covariates"), get("unit_covariates"),
        is_tall=get("sensor") is not None or get("value") is not None,
        columns=lambda: (*in_folders, *column_names(files[0])),
    )  # fmt: skip
    texts = {name for name in (unit, get("mode"), get("sensor")) if name is not None}
    values = {name: _values([columns[name] for columns in named], name in texts) for name in in_folders}
    tables = []
    for i, file in enumerate(files):
        if (found := _format_of(file)) != "parquet":
            raise PanelError(
                f"{str(file)!r} is {found}; several files are read together only if all of them are Parquet. Join "
                "others by cem.Panel.concatenate([cem.read(path) for path in paths])"
            )
        both = next((name for name in column_names(file, format="parquet") if name in in_folders), None)
        if both is not None:
            raise PanelError(
                f"{str(file)!r} has a column {both!r}, and so has the name of its folder; drop one of them"
            )
        inside = None if wanted is None else [name for name in wanted if name not in in_folders]
        table = read_table(file, columns=inside, format="parquet", max_bytes=get("max_bytes"))
        tables.append(_with_columns(table, {name: cells[i] for name, cells in values.items()}))
    arguments = {name: value for name, value in options.items() if name not in _OF_FILES}
    panel = Panel.from_frame(joined(tables, files), unit=unit, time=time, channels=channels, **arguments)
    return panel._replace(_backend=None)  # the user did not choose the library that read the files


_OF_FILES = ("format", "max_bytes", "separator", "decimal", "encoding", "comment", "texts")


def _format_of(file: Path) -> str:
    """The format of a file; of one that is named as Parquet and is none, an error that says so."""
    try:
        return file_format(file)
    except PanelError:
        if not file.is_file() or not file.name.lower().endswith(_SUFFIXES):
            raise
        found = "is no Parquet file" if file.stat().st_size else "is empty"
        raise PanelError(
            f"{str(file)!r} is named as a Parquet file and {found}; write it again, or move it away"
        ) from None


def _values(cells: Sequence[str | None], are_texts: bool) -> Sequence[Any]:
    """Values of a column in folders' names: numbers if all of them can be, unless they are ids."""
    if are_texts:
        return cells
    try:
        return [float("nan") if cell is None else float(cell) for cell in cells]
    except ValueError:
        return cells


def _with_columns(table: Any, columns: Mapping[str, Any]) -> Any:
    nw = narwhals_module()
    frame = nw.from_native(table, eager_only=True)
    made = []
    for name, value in columns.items():
        kind = nw.Float64 if isinstance(value, float) else nw.String
        made.append(nw.lit(value, dtype=kind).alias(name))
    return frame.with_columns(*made) if made else frame
