"""Model files: arrays and JSON in one checked file, as docs/file-format.md specifies it. Nothing in it is executed, and
nothing that it names is imported.

magic | version | header length | header (JSON) | arrays | SHA-256 of all before it
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.basis.custom_functions import UnknownFunctionError, checked_functions, how_to_give
from cem.errors import CemError, ModelFileError, OptionError
from cem.files.digest import sha256
from cem.files.whole_file import RefusedPath, read_regular, write_whole
from cem.mixture.parameters import Coordinates, Parameters
from cem.model import rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.basis.family import Basis
    from cem.model.model import FailureModeModel

__all__ = ["FORMAT_VERSION", "load", "save"]

MAGIC = b"\x89CEM\r\n\x1a\n"  # a byte that is not ASCII and both line ends: a transfer as text is noticed
FORMAT_VERSION = 2  # the newest that is read; a model without linked channels is written as version 1
_LINKED_VERSION = 2
MAX_HEADER = 16 * 2**20
_PREFIX = struct.Struct("<8sIQ")  # magic, version, header length
_DIGEST = 32
_ALIGNMENT = 8
_DTYPES = {"f8": "<f8", "i8": "<i8"}
_CHECK_SEED = 20150204
_CHECK_TOLERANCE = 1e-9
_LONGEST_MESSAGE = 1000  # characters
_LARGEST = float(np.finfo(np.float64).max)  # JSON has whole numbers beyond it
_HEADER_KEYS = {"arrays", "check", "model", "writer"}
_ARRAYS = {
    "weights", "means", "factors", "noise_variances", "centres", "scales", "transforms",
    "check_offsets", "check_times", "check_values",
}  # fmt: skip
_MODEL_KEYS = {"bases", "channel_units", "channels", "mode_labels", "response", "time_axis", "time_unit", "training"}


def save(model: FailureModeModel, path: str | os.PathLike[str]) -> None:
    """Write a model; see `FailureModeModel.save`."""
    name = _path(path)
    content = encode(model)
    try:
        write_whole(name, content)
    except RefusedPath as error:
        raise ModelFileError(f"the model cannot be written to {name!r}: {error}") from None
    except OSError as error:
        raise ModelFileError(
            f"the model cannot be written to {name!r}: {error.strerror or error}; "
            "a file that was there before is as it was"
        ) from error


def load(
    path: str | os.PathLike[str], *, functions: Mapping[str, Callable[..., Any]] | None = None
) -> FailureModeModel:
    """Read a model that `FailureModeModel.save` wrote.

    Nothing that the file names is imported or run, so a file from anywhere can be loaded.

    Parameters
    ----------
    path : path-like
    functions : mapping of str to callable, optional
        The functions that `Custom` bases of the model call, by the names that the file has for them
        ("module:name"), beside those given to `cem.register_function` and those that a `Custom` of this process holds.

    Returns
    -------
    FailureModeModel

    Raises
    ------
    ModelFileError
        The file cannot be read, is no regular file, is truncated or altered, breaks a rule of docs/file-format.md, is
        of a newer format, names a function that was not given, or gives another log-likelihood on its check panel
        than the model had when it was saved.
    OptionError
        `path` is no path, or `functions` is not a mapping of names to functions.
    """
    return load_by("cem.load", path, functions)


def load_by(
    call: str, path: str | os.PathLike[str], functions: Mapping[str, Callable[..., Any]] | None
) -> FailureModeModel:
    """As `load`, for a function that users call by another name: messages show that call."""
    name, given = _path(path), checked_functions(functions)
    try:
        content = read_regular(name, begins_with=MAGIC)
    except OSError as error:
        raise ModelFileError(f"the model file {name!r} cannot be read: {error.strerror or error}") from error
    return decode(content, repr(name), given, call)


def _path(path: str | os.PathLike[str]) -> str:
    """The path as text; OptionError where it is none (an open file, for one)."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise OptionError(f"path is a {type(path).__name__}; a path such as 'fleet.cem' was expected") from None


# -- writing ----------------------------------------------------------------------------------------------------------


def encode(model: FailureModeModel) -> bytes:
    """The bytes of a model file."""
    from cem import __version__

    bases = [basis.to_dict() for basis in model.bases]  # first: a function without a name ends here
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
    }
    try:
        with np.errstate(all="ignore"):
            rules.require_numbers(arrays, parameters.sizes)
    except ValueError as error:
        raise ModelFileError(f"the model breaks a rule of model files: {error}") from None
    arrays.update(_check_panel(model, sum(array.nbytes for array in arrays.values())))
    try:
        check_value = _log_likelihood(model, arrays)
    except (CemError, ValueError) as error:
        raise ModelFileError(
            f"units drawn from the model cannot be scored by it, so no reader could check the file: {error}"
        ) from None
    version = 1 if parameters.loadings is None else _LINKED_VERSION
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
        },
        "check": {"log_likelihood": check_value},
    }
    entries, chunks, offset = [], [], 0
    for name, array in arrays.items():
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        data = np.ascontiguousarray(array, dtype=_DTYPES[kind]).tobytes()
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
    encoded += b" " * (-(len(encoded) + _PREFIX.size) % _ALIGNMENT)
    if len(encoded) > MAX_HEADER:
        raise ModelFileError(
            f"the header would take {len(encoded):,} bytes, more than the {MAX_HEADER:,} that a model file may have"
        )
    body = b"".join([_PREFIX.pack(MAGIC, version, len(encoded)), encoded, *chunks])
    return body + sha256(body)


def _check_panel(model: FailureModeModel, n_bytes: int) -> dict[str, NDArray[Any]]:
    """A small panel drawn from the model, as arrays: no customer's data travel in a model file."""
    low, high = model.domain
    rng = np.random.default_rng(_CHECK_SEED)
    times = low + (high - low) * np.sort(rng.uniform(size=(rules.CHECK_UNITS, rules.CHECK_TIMES)), axis=1)
    if model.time_axis == "to_failure":
        times = np.minimum(times, 0.0)
    # Modes in turn, so that a rare one is checked too.
    n_units = rules.check_units(model.n_modes, model.basis_sizes_, model.linking_rank, n_bytes)
    modes = [model.mode_labels[l % model.n_modes] for l in range(n_units)]
    panel = model.sample(n_units, [times[l % rules.CHECK_UNITS] for l in range(n_units)], modes=modes, random_state=rng)
    values = panel.values.copy()
    if model.n_channels > 1:  # some channels missing at some times
        rows = np.arange(2, len(values), 5)
        values[rows, rows % model.n_channels] = np.nan
    return {"check_offsets": panel.offsets, "check_times": panel.times, "check_values": values}


def _log_likelihood(model: FailureModeModel, arrays: Mapping[str, NDArray[Any]]) -> float:
    """Marginal log-likelihood of the check panel, reading by reading: what a scoring process loads anyway.

    Times to failure are counted from the failure, so they are on the model's axis as they stand.
    """
    from cem.scoring._scorer import PackedScorer

    offsets, times, values = arrays["check_offsets"], arrays["check_times"], arrays["check_values"]
    if model.linking_rank:  # reading by reading channels are independent
        from cem.panel.panel import Panel

        failure_times = np.zeros(len(offsets) - 1) if model.time_axis == "to_failure" else None
        units = np.arange(len(offsets) - 1)
        panel = Panel(
            units, offsets, times, values, model.channels, failure_times=failure_times, allow_empty_channels=True,
            missing=(), duplicates="keep",
        )  # fmt: skip
        return float(model.score_samples(panel).sum())
    scorer = PackedScorer(model.internal_parameters, model.coordinates, model.bases, model.channels)
    found = np.empty(len(offsets) - 1)
    if scorer._log_likelihood_rows(times, values, offsets, found) is not None:
        raise ValueError("the check panel holds a reading that cannot be scored")
    return float(found.sum())


def _encoded_label(label: Hashable) -> Any:
    """A label as JSON: null, booleans, numbers and strings as they are, tuples as {"tuple": [...]}."""
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
    """Numbers that JSON has not, as {"float": "nan"}; NumPy's as Python's; all else as it is."""
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


# -- reading ----------------------------------------------------------------------------------------------------------


def decode(
    content: bytes,
    name: str = "model file",
    functions: Mapping[str, Callable[..., Any]] | None = None,
    call: str = "cem.load",
) -> FailureModeModel:
    """The model in the bytes of a model file; ModelFileError, which calls the file `name`, where they are not sound."""

    def refuse(why: str) -> ModelFileError:
        return ModelFileError(f"{name}: {why}")

    if len(content) < _PREFIX.size + _DIGEST or not content.startswith(MAGIC):
        if content and not content.startswith(MAGIC[: len(content)]):
            raise refuse("this is not a cem model file")
        raise refuse(f"the file is truncated: {len(content)} bytes")
    _, version, header_length = _PREFIX.unpack_from(content)
    intact = sha256(memoryview(content)[:-_DIGEST]) == content[-_DIGEST:]
    if version > FORMAT_VERSION:
        raise refuse(
            f"its format version is {version}, and this release of cem reads versions up to {FORMAT_VERSION}; "
            "upgrade cem, or save the model with an older one"
        )
    if not intact:
        raise refuse("its checksum does not agree with its content; the file is truncated or was altered")
    if version < 1:
        raise refuse(f"its format version is {version}; 1 to {FORMAT_VERSION} was expected")
    start = _PREFIX.size + header_length
    if header_length > MAX_HEADER or start > len(content) - _DIGEST:
        raise refuse(f"its header length of {header_length:,} bytes does not fit the file")
    header = _header(content[_PREFIX.size : start], len(content), refuse)
    data = memoryview(content)[start:-_DIGEST]
    if start % _ALIGNMENT:  # of another writer, without padding: kernels read numbers at their alignment only
        data = memoryview(bytes(data))
    arrays = _arrays(header["arrays"], data, refuse)
    linked = version >= _LINKED_VERSION
    if ("loadings" in arrays) != linked:
        raise refuse(f"format version {version} {'needs' if linked else 'has no'} array 'loadings'")
    missing, unknown = _ARRAYS - arrays.keys(), arrays.keys() - _ARRAYS - {"loadings"}
    if missing or unknown:
        wrong = f"has no array {min(missing)!r}" if missing else f"has an array {min(unknown)[:80]!r}, which is unknown"
        raise refuse(f"it {wrong}")
    expected = _check_value(header["check"], refuse)
    try:
        # What overflows here ends as a log-likelihood that is not the expected one.
        with np.errstate(all="ignore"):
            model = _model(header["model"], arrays, len(content), functions)
            found = _log_likelihood(model, arrays)
    except ModelFileError:
        raise
    except UnknownFunctionError as error:
        raise refuse(
            f"a Custom basis calls the function {error.name[:300]!r}, and nothing that a file names is imported; "
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
    """The beginning of a message: one that quotes what a file holds may be as long as the file."""
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """A JSON object, or the number that it stands for; see `_encoded`."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    if len(found) == 1 and found.get("float") in ("nan", "inf", "-inf"):
        return float(found["float"])
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _header(text: bytes, n_bytes: int, refuse: Callable[[str], ModelFileError]) -> dict[str, Any]:
    """The header of a file of so many bytes."""
    try:
        rules.require_plain(text, n_bytes)
        header = json.loads(text.decode("ascii"), object_pairs_hook=_object, parse_constant=_no_constant)
        rules.require_shallow([header])
    except (ValueError, RecursionError) as error:
        raise refuse(f"its header is not sound: {error}") from None
    parts = header if isinstance(header, dict) else {}
    if set(parts) != _HEADER_KEYS or not isinstance(parts["model"], dict) or set(parts["model"]) != _MODEL_KEYS:
        raise refuse(f"its header must have the keys {sorted(_HEADER_KEYS)} and its model {sorted(_MODEL_KEYS)}")
    if not isinstance(parts["writer"], str):
        raise refuse("its writer must be a text")
    return parts


def _check_value(check: Any, refuse: Callable[[str], ModelFileError]) -> float:
    value = check.get("log_likelihood") if isinstance(check, dict) and len(check) == 1 else None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= _LARGEST:
        raise refuse("its check must be a log_likelihood, a finite number")
    return float(value)


def _arrays(entries: Any, data: memoryview, refuse: Callable[[str], ModelFileError]) -> dict[str, NDArray[Any]]:
    """The arrays, each where the one before it ends, the last where the data ends."""
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
        if not isinstance(kind, str) or kind not in _DTYPES:
            raise refuse(f"array {name[:80]!r} has dtype {str(kind)[:80]!r}; one of {list(_DTYPES)} was expected")
        if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise refuse(f"array {name[:80]!r} has shape {str(shape)[:80]}")
        size = 8 * math.prod(shape)
        if type(entry["offset"]) is not int or entry["offset"] != offset or offset + size > len(data):
            raise refuse(f"array {name[:80]!r} does not begin where the one before it ends, or ends after the data")
        arrays[name] = np.frombuffer(data[offset : offset + size], dtype=_DTYPES[kind]).reshape(shape)
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
    from cem.model.model import FailureModeModel
    from cem.model.training_record import require_sound

    rules.require_names(saved)
    bases = _bases(saved["bases"], arrays["transforms"].size, functions)
    sizes = tuple(basis.size for basis in bases)
    rules.require_numbers(arrays, sizes)
    loadings = arrays.get("loadings")
    rank = 0 if loadings is None else loadings.shape[-1]
    n_modes = len(arrays["weights"])
    rules.require_check_panel(arrays, n_modes, sizes, rank, n_bytes)
    require_sound(saved["training"], n_modes=n_modes, n_channels=len(sizes), rank=rank)
    model = FailureModeModel(
        parameters=Parameters(
            arrays["weights"], arrays["means"], arrays["factors"], arrays["noise_variances"], sizes, loadings
        ),
        coordinates=Coordinates(arrays["centres"], arrays["scales"], arrays["transforms"], sizes),
        bases=bases,
        channels=tuple(saved["channels"]),
        response=saved["response"],
        mode_labels=tuple(_decoded_label(label) for label in saved["mode_labels"]),
        time_unit=saved["time_unit"],
        channel_units=saved["channel_units"],
        time_axis=saved["time_axis"],
    )
    model._adopt_record(saved["training"])
    return model


def _bases(saved: list[Any], room: int, functions: Mapping[str, Callable[..., Any]] | None) -> tuple[Basis, ...]:
    """The bases, whose transforms fill `room` numbers: none is made that could not have its own."""
    from cem.basis.families import basis_from_dict

    made: dict[str, Basis] = {}  # channels of one basis share one object again
    bases: list[Basis] = []
    for part in saved:
        # By its text: the hash of a basis is one of numbers, so a file could give thousands of bases the same one.
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
