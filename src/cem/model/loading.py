"""Read model files, checking every part before use. Nothing in a file is executed or imported.

`cem.model.file` writes them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.basis.custom_functions import UnknownFunctionError, checked_functions, how_to_give
from cem.errors import CemError, ModelFileError
from cem.files.digest import sha256
from cem.files.whole_file import read_regular
from cem.mixture.parameters import Parameters
from cem.model import rules
from cem.model.check_panel import log_likelihood_of_check
from cem.model.file import (
    ALIGNMENT,
    CONDITIONS_VERSION,
    DIGEST_SIZE,
    DTYPES,
    FORMAT_VERSION,
    LINKED_VERSION,
    MAGIC,
    MAX_HEADER,
    PREFIX,
    PROCESS_VERSION,
    UNCERTAIN_VERSION,
    path_text,
)
from cem.model.model import FailureModeModel
from cem.statistics.coordinates import Coordinates

if TYPE_CHECKING:
    from typing import IO

    from numpy.typing import NDArray

    from cem.basis.family import Basis
    from cem.model.condition_parts import ConditionParts
    from cem.process.channel_process import ChannelProcess

__all__ = ["decode", "load", "load_by"]

_CHECK_TOLERANCE = 1e-9
_LONGEST_MESSAGE = 1000  # characters
_LONGEST_PATH = 4096  # bytes
_LARGEST_OF_PROCESS = 1e140
_LARGEST = float(np.finfo(np.float64).max)  # JSON has whole numbers beyond it
_HEADER_KEYS = {"arrays", "check", "model", "writer"}
_MODEL_KEYS = {"bases", "channel_units", "channels", "mode_labels", "response", "time_axis", "time_unit", "training"}
_CONDITION_KEYS = {"column_kinds", "conditions", "of_units"}
_CONDITION_ARRAYS = {"loadings", "membership", "check_covariates", "check_unit_covariates"}
_ARRAYS = {
    "weights", "means", "factors", "noise_variances", "centres", "scales", "transforms",
    "check_offsets", "check_times", "check_values",
}  # fmt: skip


def load(
    path: str | os.PathLike[str] | bytes | IO[bytes], *, functions: Mapping[str, Callable[..., Any]] | None = None
) -> FailureModeModel:
    """Load a model that `FailureModeModel.save` wrote.

    You can load a file from any source: nothing that it names is imported or run.

    Parameters
    ----------
    path : path-like, bytes, or binary file object
        The model file, its content, or an open file, which is read from its position to its end and stays open.
    functions : mapping of str to callable, optional
        The functions that `Custom` bases of the model call, by their names in the file ("module:name"). Functions given
        to `cem.register_function`, and those of a `Custom` basis of this process, are known already.

    Returns
    -------
    FailureModeModel

    Raises
    ------
    ModelFileError
        The file cannot be read, is not a regular file, is truncated or altered, breaks a rule of docs/file-format.md,
        has a newer format, names a function that was not given, or gives another log-likelihood on its check panel
        than the model did when it was saved.
    OptionError
        `path` is none of these, or `functions` is not a mapping of names to functions.

    Warns
    -----
    DeprecatedUseWarning
        The bytes are the path of an existing file, which is read in this release.
    """
    return load_by("cem.load", path, functions)


def load_by(
    call: str,
    path: str | os.PathLike[str] | bytes | IO[bytes],
    functions: Mapping[str, Callable[..., Any]] | None,
) -> FailureModeModel:
    """As `load`, for a function with another name; messages then show that name."""
    given = checked_functions(functions)
    content, name = _content(path)
    return decode(content, name, given, call)


def _content(path: Any) -> tuple[bytes, str]:
    """The bytes of a model file, and what messages call it."""
    if isinstance(path, (bytearray, memoryview)) or (isinstance(path, bytes) and not _is_path(path)):
        content = bytes(path)
        if content and not content.startswith(MAGIC[:1]) and _may_be_path(content):
            raise ModelFileError(
                f"the bytes of the model: this is not a cem model file, but {content!r:.200}; give a path as text"
            )
        return content, "the bytes of the model"
    if not isinstance(path, (str, bytes, os.PathLike)) and hasattr(path, "read"):
        from cem.files.open_file import read_from  # a model that is loaded from a path needs none of it

        shown = getattr(path, "name", None)
        what = f"the open file {shown!r}" if isinstance(shown, str) else f"the open {type(path).__name__}"
        try:
            return read_from(path, begins_with=MAGIC), what
        except (TypeError, ValueError, OSError) as error:
            raise ModelFileError(f"{what} cannot be read: {error}") from error
    name = path_text(path)
    try:
        return read_regular(name, begins_with=MAGIC), repr(name)
    except OSError as error:
        raise ModelFileError(f"the model file {name!r} cannot be read: {error.strerror or error}") from error


def _is_path(content: bytes) -> bool:
    """Whether bytes are the path of an existing file, as they could be up to release 0.6; True with a warning."""
    if content.startswith(MAGIC[:1]) or not _may_be_path(content) or not os.path.exists(content):
        return False
    from cem.errors import DeprecatedUseWarning
    from cem.errors.warning import warn

    name = os.fsdecode(content)
    warn(
        f"bytes will be read as the content of a model file, and not as a path; give the path as text: {name!r}",
        DeprecatedUseWarning,
    )
    return True


def _may_be_path(content: bytes) -> bool:
    return 0 < len(content) <= _LONGEST_PATH and b"\x00" not in content


def decode(
    content: bytes,
    name: str = "model file",
    functions: Mapping[str, Callable[..., Any]] | None = None,
    call: str = "cem.load",
) -> FailureModeModel:
    """The model in the bytes of a model file; if they are not valid, a ModelFileError that calls the file `name`."""

    def refuse(why: str) -> ModelFileError:
        return ModelFileError(f"{name}: {why}")

    if len(content) < PREFIX.size + DIGEST_SIZE or not content.startswith(MAGIC):
        if content and not content.startswith(MAGIC[: len(content)]):
            raise refuse("this is not a cem model file")
        raise refuse(f"the file is truncated: {len(content)} bytes")
    _, version, header_length = PREFIX.unpack_from(content)
    intact = sha256(memoryview(content)[:-DIGEST_SIZE]) == content[-DIGEST_SIZE:]
    if version > FORMAT_VERSION:
        raise refuse(
            f"its format version is {version}, and this release of cem reads versions up to {FORMAT_VERSION}; "
            "upgrade cem, or save the model with an older one"
        )
    if not intact:
        raise refuse("its checksum does not agree with its content; the file is truncated or was altered")
    if version < 1:
        raise refuse(f"its format version is {version}; 1 to {FORMAT_VERSION} was expected")
    start = PREFIX.size + header_length
    if header_length > MAX_HEADER or start > len(content) - DIGEST_SIZE:
        raise refuse(f"its header length of {header_length:,} bytes does not fit the file")
    header = _header(content[PREFIX.size : start], len(content), version, refuse)
    data = memoryview(content)[start:-DIGEST_SIZE]
    if start % ALIGNMENT:  # a file of another writer, without padding: kernels need aligned numbers
        data = memoryview(bytes(data))
    arrays = _arrays(header["arrays"], data, refuse)
    optional = _CONDITION_ARRAYS
    if "uncertainty" in header["model"]:
        from cem.model.component_parts import COMPONENT_ARRAYS

        optional = optional | COMPONENT_ARRAYS
    elif version < CONDITIONS_VERSION:
        optional, linked = {"loadings"}, version >= LINKED_VERSION
        if ("loadings" in arrays) != linked:
            raise refuse(f"format version {version} {'needs' if linked else 'has no'} array 'loadings'")
    missing, unknown = _ARRAYS - arrays.keys(), arrays.keys() - _ARRAYS - optional
    if missing or unknown:
        wrong = f"has no array {min(missing)!r}" if missing else f"has an array {min(unknown)[:80]!r}, which is unknown"
        raise refuse(f"it {wrong}")
    expected = _check_value(header["check"], refuse)
    try:
        # An overflow here ends as a log-likelihood other than the expected one.
        with np.errstate(all="ignore"):
            model = _model(header["model"], arrays, len(content), functions)
            found = log_likelihood_of_check(model, arrays)
    except ModelFileError:
        raise
    except UnknownFunctionError as error:
        raise refuse(
            f"a Custom basis calls the function {error.name[:300]!r}, and cem imports nothing that a file names; "
            + how_to_give(error.name, name, call)
        ) from None
    except (CemError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise refuse(f"its parts do not make a model: {type(error).__name__}: {_brief(str(error))}") from error
    if not abs(found - expected) <= _CHECK_TOLERANCE * max(1.0, abs(expected)):
        raise refuse(
            f"the log-likelihood of its check panel is {found!r} here and was {expected!r} when it was saved; "
            "this installation does not compute what the model's did"
        )
    return model


def _brief(text: str) -> str:
    """The beginning of a message; a message that quotes a file may be as long as the file."""
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """A JSON object, or the number that it encodes; see `_encoded`."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    if len(found) == 1 and found.get("float") in ("nan", "inf", "-inf"):
        return float(found["float"])
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _header(text: bytes, n_bytes: int, version: int, refuse: Callable[[str], ModelFileError]) -> dict[str, Any]:
    """The header, checked, of a file of this many bytes."""
    try:
        rules.require_plain(text, n_bytes)
        header = json.loads(text.decode("ascii"), object_pairs_hook=_object, parse_constant=_no_constant)
        rules.require_shallow([header])
    except (ValueError, RecursionError) as error:
        raise refuse(f"its header is not sound: {error}") from None
    parts = header if isinstance(header, dict) else {}
    keys = _MODEL_KEYS | _CONDITION_KEYS if version >= CONDITIONS_VERSION else _MODEL_KEYS
    keys = keys | {UNCERTAIN_VERSION: {"uncertainty"}, PROCESS_VERSION: {"processes"}}.get(version, set())
    if version == PROCESS_VERSION and isinstance(parts.get("model"), dict) and "uncertainty" in parts["model"]:
        keys = keys | {"uncertainty"}  # both
    if set(parts) != _HEADER_KEYS or not isinstance(parts["model"], dict) or set(parts["model"]) != keys:
        raise refuse(f"its header must have the keys {sorted(_HEADER_KEYS)} and its model {sorted(keys)}")
    if not isinstance(parts["writer"], str):
        raise refuse("its writer must be a text")
    return parts


def _check_value(check: Any, refuse: Callable[[str], ModelFileError]) -> float:
    value = check.get("log_likelihood") if isinstance(check, dict) and len(check) == 1 else None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= _LARGEST:
        raise refuse("its check must be a log_likelihood, a finite number")
    return float(value)


def _arrays(entries: Any, data: memoryview, refuse: Callable[[str], ModelFileError]) -> dict[str, NDArray[Any]]:
    """The arrays; each begins where the one before it ends, and the last ends with the data."""
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    if not isinstance(entries, list):
        raise refuse("its header has no list of arrays")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape", "offset"}:
            raise refuse(f"an array must have name, dtype, shape and offset; found {str(entry)[:80]}")
        name, kind, shape = entry["name"], entry["dtype"], entry["shape"]
        if not isinstance(name, str) or name in arrays:
            raise refuse(f"array {str(name)[:80]!r} occurs twice or has no name")
        if not isinstance(kind, str) or kind not in DTYPES:
            raise refuse(f"array {name[:80]!r} has dtype {str(kind)[:80]!r}; one of {list(DTYPES)} was expected")
        if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise refuse(f"array {name[:80]!r} has shape {str(shape)[:80]}")
        size = 8 * math.prod(shape)
        if type(entry["offset"]) is not int or entry["offset"] != offset or offset + size > len(data):
            raise refuse(f"array {name[:80]!r} does not begin where the one before it ends, or ends after the data")
        arrays[name] = np.frombuffer(data[offset : offset + size], dtype=DTYPES[kind]).reshape(shape)
        offset += size
    if offset != len(data):
        raise refuse(f"{len(data) - offset} bytes of data belong to no array")
    return arrays


def _decoded_label(value: Any) -> Hashable:
    if isinstance(value, dict) and value.keys() == {"tuple"} and isinstance(value["tuple"], list):
        return tuple(_decoded_label(part) for part in value["tuple"])
    if isinstance(value, (dict, list)):
        raise ValueError(f"{str(value)[:80]} is not a mode label")
    label: Hashable = value
    return label


def _model(
    saved: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    n_bytes: int,
    functions: Mapping[str, Callable[..., Any]] | None,
) -> FailureModeModel:
    """The model that a header and its arrays describe."""
    from cem.model.training_record import require_sound

    rules.require_names(saved)
    bases = _bases(saved["bases"], arrays["transforms"].size, functions)
    sizes = tuple(basis.size for basis in bases)
    parts: ConditionParts = (None, None, None)
    with_conditions = "conditions" in saved  # as all headers from version 3
    if with_conditions:
        from cem.model import condition_parts

        parts = condition_parts.restored_condition_parts(saved, saved["channels"], sizes)
        if parts[0] is not None:
            sizes = tuple(p + len(own) for p, own in zip(sizes, parts[0].by_mode, strict=True))
    rules.require_numbers(arrays, sizes, may_be_singular=with_conditions)
    loadings = arrays.get("loadings")
    rank = 0 if loadings is None else loadings.shape[-1]
    n_modes = len(arrays["weights"])
    per_reading = condition_parts.work_per_reading(parts[:2]) if with_conditions else 0
    n_evaluated = n_modes
    if "uncertainty" in saved:
        from cem.model import component_parts

        n_evaluated = component_parts.work_of_components(arrays)
    rules.require_check_panel(arrays, n_evaluated, sizes, rank, n_bytes, per_reading)
    require_sound(saved["training"], n_modes=n_modes, n_channels=len(sizes), rank=rank)
    parameters = Parameters(
        arrays["weights"], arrays["means"], arrays["factors"], arrays["noise_variances"], sizes, loadings,
        membership=arrays.get("membership"),
    )  # fmt: skip
    coordinates = Coordinates(arrays["centres"], arrays["scales"], arrays["transforms"], sizes)
    if with_conditions:
        has_more = "uncertainty" in saved or "processes" in saved
        condition_parts.require_parts(arrays, parameters, coordinates, parts, has_more=has_more)
    model = FailureModeModel(
        parameters=parameters,
        coordinates=coordinates,
        bases=bases,
        channels=tuple(saved["channels"]),
        response=saved["response"],
        mode_labels=tuple(_decoded_label(label) for label in saved["mode_labels"]),
        time_unit=saved["time_unit"],
        channel_units=saved["channel_units"],
        time_axis=saved["time_axis"],
        conditions=parts[0],
        of_units=parts[1],
        column_kinds=parts[2],
        processes=_processes(saved["processes"], bases) if "processes" in saved else None,
    )
    if "uncertainty" in saved:
        from cem.model.uncertain import UncertainModel

        components = component_parts.restored_components(model, arrays, saved["uncertainty"])
        model = UncertainModel(**model._arguments(), components=components)
    model._adopt_record(saved["training"])
    return model


def _processes(saved: Any, bases: tuple[Basis, ...]) -> tuple[ChannelProcess | None, ...]:
    """How units wander about their curves, by channel; ValueError or OptionError if no writer makes them."""
    from cem.process.channel_process import ChannelProcess

    if not isinstance(saved, list) or len(saved) != len(bases) or not any(saved):
        raise ValueError(f"processes is {str(saved)[:80]}; an entry for each of {len(bases)} channels was expected")
    found: list[ChannelProcess | None] = []
    for own in saved:
        if own is None:
            found.append(None)
            continue
        if not isinstance(own, dict) or own.keys() != {"kind", "ratio", "rate"}:
            raise ValueError(f"a process is {str(own)[:80]}; kind, ratio and rate were expected")
        numbers = [own["ratio"], *([] if own["rate"] is None else [own["rate"]])]
        if any(not isinstance(number, (int, float)) or isinstance(number, bool) for number in numbers) or not all(
            number <= _LARGEST_OF_PROCESS for number in numbers
        ):
            raise ValueError(f"a process is {str(own)[:80]}; its ratio and rate must be numbers up to 1e140")
        rate = None if own["rate"] is None else float(own["rate"])
        found.append(ChannelProcess(own["kind"], float(own["ratio"]), rate))
    return tuple(found)


def _bases(saved: list[Any], room: int, functions: Mapping[str, Callable[..., Any]] | None) -> tuple[Basis, ...]:
    """The bases, whose transforms fill `room` numbers; a basis that does not fit is refused before it is made."""
    from cem.basis.families import basis_from_dict

    made: dict[str, Basis] = {}  # channels with the same basis share one object
    bases: list[Basis] = []
    for part in saved:
        # Keyed by its text: the hash of a basis comes from numbers, so a file could give thousands of bases one hash.
        text = repr(part)
        basis = made.get(text)
        if basis is None:
            basis = made[text] = basis_from_dict(part, functions)
        if not basis.is_bound:
            raise ValueError(f"the basis of channel {len(bases)} (from 0), {basis!r}, has no domain")
        room -= basis.size**2
        if room < 0:
            raise ValueError(f"transforms hold too few numbers for the basis of channel {len(bases)} (from 0)")
        bases.append(basis)
    return tuple(bases)
