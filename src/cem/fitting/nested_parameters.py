"""Parameters of parameters by name, as scikit-learn writes them: ``basis__degree``, ``basis__vib__degree``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cem.errors import OptionError
from cem.errors.names import did_you_mean
from cem.errors.options import shortened

__all__ = ["nested_parameters", "with_nested"]


def nested_parameters(own: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of values that have parameters, under names with two underscores.

    Parameters
    ----------
    own : mapping of str to value
        Values, or mappings of channel to value. The key None of such a mapping has no name.
    """
    found: dict[str, Any] = {}
    for name, value in own.items():
        for key, part in _parts(value).items():
            prefix = name if key is None else f"{name}__{key}"
            if key is not None:
                found[prefix] = part
            found |= {f"{prefix}__{inner}": item for inner, item in part.get_params(deep=False).items()}
    return found


def with_nested(value: Any, path: str, new: Any, name: str) -> Any:
    """A copy of a value with one nested parameter replaced.

    Parameters
    ----------
    value : object
        The estimator's argument: a value with parameters, or a mapping of channel to such values.
    path : str
        What follows the first two underscores.
    new : object
        The new value of the parameter.
    name : str
        Name of the argument.

    Raises
    ------
    OptionError
        There is no such parameter.
    """
    if hasattr(value, "with_params"):
        return value.with_params(**{path: new})
    parts = _parts(value)
    for channel in sorted((key for key in parts if key is not None), key=len, reverse=True):  # the longest name first
        if path == channel:
            return {**value, channel: new}
        if path.startswith(f"{channel}__"):
            return {**value, channel: parts[channel].with_params(**{path[len(channel) + 2 :]: new})}
    if isinstance(value, Mapping):
        known = [str(key) for key in parts]
        raise OptionError(f"{name}__{path}: {name} has no entry of this name; {did_you_mean(path, known)}")
    raise OptionError(f"{name}__{path}: {name} is {shortened(value)}, which has no parameters of its own")


def _parts(value: Any) -> dict[str | None, Any]:
    """Values with parameters by channel; under None a value that is not in a mapping."""
    if hasattr(value, "with_params"):
        return {None: value}
    if isinstance(value, Mapping):
        return {key: part for key, part in value.items() if isinstance(key, str) and hasattr(part, "with_params")}
    return {}
