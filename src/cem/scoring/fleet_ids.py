"""Ids of running units, as a user and a batch give them: text or whole numbers, of one type in a fleet."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError
from cem.errors.names import listed

__all__ = ["Id", "batch_ids", "named_units", "one_id", "require_one_type"]

Id = str | int

_LOW, _HIGH = -(2**63), 2**63 - 1
_WORDS = {str: "text", int: "whole numbers"}


def one_id(given: object) -> Id:
    """An id as a fleet keeps it.

    Raises
    ------
    ScorerError
        It is neither text nor a whole number of 64 bits.
    """
    if type(given) is str:
        return given
    if isinstance(given, str):
        return str(given)
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        number = int(given)
        if _LOW <= number <= _HIGH:
            return number
    raise ScorerError(
        f"the id of a unit is {given!r:.80}, of type {type(given).__name__}; text or a whole number of 64 bits was "
        "expected"
    )


def named_units(ids: list[Id]) -> str:
    """The beginning of a message: ``unit 'a' is``, ``units 'a', 'b' are``."""
    return f"unit{'s' * (len(ids) > 1)} {listed(ids)} {'are' if len(ids) > 1 else 'is'}"


def require_one_type(ids: Iterable[Id], known: type | None) -> type | None:
    """The type of all ids, str or int; None where there are none and nothing is known.

    Raises
    ------
    ScorerError
        They differ from each other, or from the type that the fleet has.
    """
    for given in ids:
        if known is None:
            known = type(given)
        elif type(given) is not known:
            raise ScorerError(
                f"the id {given!r} is of type {type(given).__name__}, and the fleet's ids are {_WORDS[known]}; ids of "
                "two types would make one machine two, so convert them to one"
            )
    return known


def batch_ids(ids: Any) -> tuple[list[Id], NDArray[np.int32]]:
    """The different ids of a batch, in the order of their first rows, and the position of each row's id among them.

    Parameters
    ----------
    ids : array, Series, Arrow array, or sequence of shape (N,)

    Raises
    ------
    ScorerError
        An id is missing, or neither text nor a whole number; the message names the row.
    """
    if hasattr(ids, "dictionary_encode"):  # Arrow: text is compared once for each id and not for each row
        return _of_arrow(ids)
    if hasattr(ids, "to_list") and not isinstance(ids, np.ndarray):  # Series of pandas and Polars
        ids = ids.to_list()
    elif hasattr(ids, "__array__") or isinstance(ids, np.ndarray):
        if isinstance(ids, np.ma.MaskedArray) and np.ma.getmaskarray(ids).any():
            raise _missing(int(np.argmax(np.ma.getmaskarray(ids))))
        array = np.asarray(ids)
        if array.ndim != 1:
            raise ScorerError(f"the ids of a batch have {array.ndim} dimensions; one id for each row was expected")
        ids = array.tolist()
    elif isinstance(ids, (str, bytes, Set)) or not isinstance(ids, Iterable):
        raise ScorerError(f"the ids of a batch are {ids!r:.80}; one id for each row, in order, was expected")
    given = ids if isinstance(ids, list) else list(ids)
    kinds = set(map(type, given))
    if not kinds <= {str} and not kinds <= {int}:
        given = [_row_id(row, value) for row, value in enumerate(given)]
        require_one_type(given, None)
    different: dict[Id, int] = dict.fromkeys(given, 0)
    for place, value in enumerate(different):
        different[value] = place
    codes = np.fromiter(map(different.__getitem__, given), dtype=np.int32, count=len(given))
    names = list(different)
    if kinds == {int}:  # of 64 bits?
        wrong = next((name for name in names if not _LOW <= int(name) <= _HIGH), None)
        if wrong is not None:
            _row_id(given.index(wrong), wrong)
    return names, codes


def _row_id(row: int, value: Hashable) -> Id:
    try:
        return one_id(value)
    except ScorerError as error:
        raise ScorerError(f"row {row}: {error}") from None


def _of_arrow(ids: Any) -> tuple[list[Id], NDArray[np.int32]]:
    if hasattr(ids, "combine_chunks"):
        ids = ids.combine_chunks()
    if ids.null_count:
        raise _missing(ids.is_null().to_pylist().index(True))
    if hasattr(ids, "run_ends"):
        return batch_ids(ids.to_pylist())
    encoded = ids if hasattr(ids, "dictionary") else ids.dictionary_encode()
    if hasattr(encoded, "num_chunks"):  # of no chunk at all
        return [], np.empty(0, dtype=np.int32)
    codes = np.ascontiguousarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int32)
    values = encoded.dictionary.to_pylist()
    if encoded is ids:  # a dictionary of the user's, in any order and with entries that no row has
        return batch_ids(_looked_up(values, codes))
    if set(map(type, values)) <= {str}:
        return values, codes
    for place, value in enumerate(values):
        if type(value) is not int or not _LOW <= value <= _HIGH:
            _row_id(codes.tolist().index(place), value)
    return values, codes


def _missing(row: int) -> ScorerError:
    return ScorerError(f"row {row}: the id of the unit is missing; text or a whole number was expected")


def _looked_up(values: Sequence[Any], codes: NDArray[np.int32]) -> list[Any]:
    return [values[code] for code in codes.tolist()]
