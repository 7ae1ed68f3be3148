"""Parameters of parameters by name, as scikit-learn writes them: ``basis__degree``, ``basis__vib__degree``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cem.errors import OptionError
from cem.errors.names import did_you_mean
from cem.errors.options import shortened

__all__ = ["check_nested", "nested_parameters", "with_nested"]


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


def check_nested(own: Mapping[str, Any], nested: Mapping[str, Any]) -> None:
    """Refuse nested parameters of a constructor that are not those of the values beside them.

    Parameters
    ----------
    own : mapping of str to value
        The arguments of the constructor.
    nested : mapping of str to value
        Other keyword arguments.

    Raises
    ------
    OptionError
        A nested parameter has another value there. Taking either would silently undo the other.
    TypeError
        There is no such parameter.
    """
    known = nested_parameters(own)
    for name, value in nested.items():
        first = name.partition("__")[0]
        if name not in known and (first not in own or first == name):
            raise TypeError(f"FailureModeEM.__init__() got an unexpected keyword argument {name!r}")
        if name not in known or not (known[name] is value or known[name] == value):
            raise OptionError(
                f"{name}={shortened(value)} contradicts {first}={shortened(own[first])}; "
                f"give a new {first} to a copy of get_params(deep=False), or call set_params({name}=...)"
            )


def with_nested(value: Any, changes: Mapping[str, Any], name: str) -> Any:
    """A copy of a value with some nested parameters replaced, all at once.

    Parameters
    ----------
    value : object
        The estimator's argument: a value with parameters, or a mapping of channel to such values.
    changes : mapping of str to object
        By what follows the first two underscores of the name: the new value.
    name : str
        Name of the argument.

    Raises
    ------
    OptionError
        There is no such parameter.
    """
    if hasattr(value, "with_params"):
        return value.with_params(**changes)
    first = next(iter(changes))
    if not isinstance(value, Mapping):
        raise OptionError(f"{name}__{first}: {name} is {shortened(value)}, which has no parameters of its own")
    parts = _parts(value)
    channels = sorted((key for key in parts if key is not None), key=len, reverse=True)  # the longest name first
    whole: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for path, new in changes.items():
        channel = next((key for key in channels if path == key or path.startswith(f"{key}__")), None)
        if channel is None:
            named = did_you_mean(path, channels) if channels else "only channels have names; give a new mapping"
            raise OptionError(f"{name}__{path}: {name} has no entry of this name; {named}")
        if path == channel:
            whole[channel] = new
        else:
            inner.setdefault(channel, {})[path[len(channel) + 2 :]] = new
    changed = {**value, **whole}
    for channel, more in inner.items():
        changed[channel] = with_nested(changed[channel], more, f"{name}__{channel}")
    return changed


def _parts(value: Any) -> dict[str | None, Any]:
    """Values with parameters by channel; under None a value that is not in a mapping."""
    if hasattr(value, "with_params"):
        return {None: value}
    if isinstance(value, Mapping):
        return {key: part for key, part in value.items() if isinstance(key, str) and hasattr(part, "with_params")}
    return {}
