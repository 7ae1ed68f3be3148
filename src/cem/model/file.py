"""Write model files: arrays and JSON in one checked file, as docs/file-format.md specifies it.

magic | version | header length | header (JSON) | arrays | SHA-256 of all before it

`cem.model.loading` reads them.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import CemError, ModelFileError, OptionError
from cem.files.digest import sha256
from cem.files.whole_file import RefusedPath, write_whole
from cem.model import rules
from cem.model.check_panel import log_likelihood_of_check

if TYPE_CHECKING:
    from typing import IO

    from numpy.typing import NDArray

    from cem.mixture.fitted import FittedMixture

__all__ = ["FORMAT_VERSION", "encode", "save"]

MAGIC = b"\x89CEM\r\n\x1a\n"  # a non-ASCII byte and both line ends reveal a transfer in text mode
FORMAT_VERSION = 5  # newest version read; each model is written as the oldest version that can hold it
LINKED_VERSION = 2
CONDITIONS_VERSION = 3
UNCERTAIN_VERSION = 4
PROCESS_VERSION = 5
MAX_HEADER = 16 * 2**20
PREFIX = struct.Struct("<8sIQ")  # magic, version, header length
DIGEST_SIZE = 32
ALIGNMENT = 8
DTYPES = {"f8": "<f8", "i8": "<i8"}


def save(model: FittedMixture, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write a model; see `FailureModeModel.save`."""
    if not isinstance(path, (str, bytes, os.PathLike)) and hasattr(path, "write"):  # an open file
        from cem.files.open_file import write_to

        try:
            write_to(path, encode(model))
        except (TypeError, ValueError, OSError) as error:
            raise ModelFileError(
                f"the model cannot be written to the open {type(path).__name__}: {error}; it may hold a part"
            ) from error
        return
    name = path_text(path)  # which refuses what is neither
    if isinstance(path, bytes):  # `load` will take them as the content of a file
        from cem.errors import DeprecatedUseWarning
        from cem.errors.warning import warn

        warn(f"a path that is given as bytes will be refused; give it as text: {name!r}", DeprecatedUseWarning)
    content = encode(model)
    try:
        write_whole(name, content)
    except RefusedPath as error:
        raise ModelFileError(f"the model cannot be written to {name!r}: {error}") from None
    except OSError as error:
        raise ModelFileError(
            f"the model cannot be written to {name!r}: {error.strerror or error}; an existing file has not changed"
        ) from error


def path_text(path: Any) -> str:
    """The path as text; OptionError if it is not a path."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise OptionError(
            f"path is a {type(path).__name__}; a path such as 'fleet.cem' or a file opened in binary mode was expected"
        ) from None


# -- writing ----------------------------------------------------------------------------------------------------------


def encode(model: FittedMixture) -> bytes:
    """The bytes of a model file."""
    from cem import __version__
    from cem.model.check_draws import drawn_check_panel

    bases = [basis.to_dict() for basis in model.bases]  # first, because a function without a name cannot be saved
    parameters, coordinates = model.internal_parameters, model.coordinates
    arrays: dict[str, NDArray[Any]] = {
        "weights": parameters.weights,
        "means": parameters.means,
        "factors": parameters.factors,
        "noise_variances": parameters.noise_variances,
        "centres": coordinates.centres,
        "scales": coordinates.scales,
        "transforms": coordinates.transforms,
        **({} if parameters.loadings is None else {"loadings": parameters.loadings}),
        **({} if parameters.membership is None else {"membership": parameters.membership}),
    }
    version = _version(model)
    try:
        with np.errstate(all="ignore"):
            rules.require_numbers(arrays, parameters.sizes, may_be_singular=version >= CONDITIONS_VERSION)
            conditional = _conditional(model) if version >= CONDITIONS_VERSION else {}
            if version == PROCESS_VERSION:
                conditional["processes"] = _processes(model)
            if model.components is not None:
                from cem.model import component_parts

                arrays.update(component_parts.component_arrays(model))
                conditional["uncertainty"] = _encoded(model.components.record)
    except (CemError, ValueError) as error:
        raise ModelFileError(f"the model breaks a rule of model files: {error}") from None
    arrays.update(drawn_check_panel(model, sum(array.nbytes for array in arrays.values())))
    try:
        check_value = log_likelihood_of_check(model, arrays)
    except (CemError, ValueError) as error:
        raise ModelFileError(
            f"units drawn from the model cannot be scored by it, so no reader could check the file: {error}"
        ) from None
    header = {
        "writer": f"cem {__version__}",
        "model": {
            "bases": bases,
            "channels": list(model.channels),
            "response": model.response,
            "mode_labels": [_encoded_label(label) for label in model.mode_labels],
            "time_axis": model.time_axis,
            "time_unit": model.time_unit,
            "channel_units": model.channel_units,
            "training": _encoded(model.training),
            **conditional,
        },
        "check": {"log_likelihood": check_value},
    }
    entries, chunks, offset = [], [], 0
    for name, array in arrays.items():
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        data = np.ascontiguousarray(array, dtype=DTYPES[kind]).tobytes()
        entries.append({"name": name, "dtype": kind, "shape": list(array.shape), "offset": offset})
        chunks.append(data)
        offset += len(data)
    try:
        text = json.dumps({**header, "arrays": entries}, sort_keys=True, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the record of the fit cannot be kept in JSON: {error}") from None
    encoded = text.encode("ascii")
    try:
        rules.require_plain(encoded, len(encoded) + offset)
        rules.require_shallow(header)
    except ValueError as error:
        raise ModelFileError(f"the record of the fit cannot be kept in a model file: {error}") from None
    encoded += b" " * (-(len(encoded) + PREFIX.size) % ALIGNMENT)
    if len(encoded) > MAX_HEADER:
        raise ModelFileError(
            f"the header would take {len(encoded):,} bytes, more than the {MAX_HEADER:,} that a model file may have"
        )
    body = b"".join([PREFIX.pack(MAGIC, version, len(encoded)), encoded, *chunks])
    return body + sha256(body)


def _version(model: FittedMixture) -> int:
    """The oldest version that can hold the model."""
    parameters = model.internal_parameters
    if model.processes is not None:
        return PROCESS_VERSION
    if model.components is not None:
        return UNCERTAIN_VERSION
    parts = (model.conditions, model.of_units, model.column_kinds, parameters.membership)
    if any(part is not None for part in parts) or rules.is_singular(parameters.factors, parameters.sizes):
        return CONDITIONS_VERSION
    return 1 if parameters.loadings is None else LINKED_VERSION


def _conditional(model: FittedMixture) -> dict[str, Any]:
    """What the header of version 3 has besides; ValueError or OptionError if a reader would refuse it."""
    from cem.model import condition_parts

    return condition_parts.saved_condition_parts(model)


def _processes(model: FittedMixture) -> list[Any]:
    """How units wander about their curves, by channel: null, or kind, ratio and rate."""
    return [
        None if own is None else {"kind": own.kind, "ratio": float(own.ratio), "rate": own.rate}
        for own in model.processes or ()
    ]


def _encoded_label(label: Hashable) -> Any:
    """A label as JSON: null, booleans, numbers and strings unchanged, tuples as {"tuple": [...]}."""
    if label is None or isinstance(label, (bool, int, str)):
        return label
    if isinstance(label, np.generic):
        return _encoded_label(label.item())
    if isinstance(label, float):
        return _encoded(label)
    if isinstance(label, tuple):
        return {"tuple": [_encoded_label(part) for part in label]}
    raise ModelFileError(
        f"mode label {label!r} is a {type(label).__name__}, which a model file cannot keep; "
        "use strings, numbers or tuples of them as labels"
    )


def _encoded(value: Any) -> Any:
    """Encode numbers that JSON lacks as {"float": "nan"}, and NumPy numbers as Python's; keep everything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, Mapping):
        return {str(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    if isinstance(value, np.ndarray):
        return _encoded(value.tolist())
    return value
