"""What the commands read and write: tables in, text, CSV and JSON out, whole or not at all."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.errors import OptionError, PanelError

if TYPE_CHECKING:
    from cem.model import FailureModeModel
    from cem.panel import Panel

__all__ = ["as_csv", "check_writable", "dump", "read_for_fit", "read_for_scoring", "write_text"]


def read_for_fit(options: argparse.Namespace) -> Panel:
    from cem.tables import column_names, read_panel

    return read_panel(
        options.file,
        format=options.format,
        max_bytes=options.max_bytes,
        unit=options.unit,
        time=options.time or _time_column(column_names(options.file, format=options.format)),
        time_unit=options.time_unit,
        channels=options.channels,
        response=options.response,
        mode=options.mode,
        failure_time=options.failure_time,
    )


def read_for_scoring(options: argparse.Namespace, model: FailureModeModel) -> Panel:
    """Those of the model's channels that the file has; units in the field often lack the response, for one."""
    from cem.tables import column_names, read_panel

    columns = column_names(options.file, format=options.format)
    channels = [name for name in model.channels if name in columns]
    if not channels:
        raise PanelError(
            f"{options.file} has none of the model's channels ({', '.join(model.channels)}); "
            f"its columns are {', '.join(columns)}"
        )
    return read_panel(
        options.file,
        format=options.format,
        max_bytes=options.max_bytes,
        unit=options.unit,
        time=options.time or _time_column(columns),
        time_unit=options.time_unit or model.time_unit,
        channels=channels,
        allow_empty_channels=True,
    )


def _time_column(columns: Sequence[str]) -> str:
    return next((name for name in ("time", "cycle") if name in columns), "time")


def check_writable(path: Path | None) -> None:
    """Say before the work, not after it, that the result cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise OptionError(f"--output {path} is a directory; name a file in it")
    if not path.absolute().parent.is_dir():
        raise OptionError(f"--output {path}: there is no directory {path.absolute().parent}; make it first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise OptionError(f"--output {path}: the directory {path.absolute().parent} cannot be written")


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def dump(document: dict[str, Any] | list[Any]) -> str:
    """JSON text; what is not a number becomes null, since JSON has no NaN."""
    return json.dumps(_jsonable(document), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if isinstance(value, str | int) or value is None else str(value)


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
