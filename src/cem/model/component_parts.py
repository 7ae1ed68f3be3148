"""The components of a model that averages over the law of its parameters, as parts of a model file (version 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.mixture.grouped import Components
from cem.mixture.parameters import Parameters
from cem.model import rules

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture

__all__ = ["COMPONENT_ARRAYS", "component_arrays", "restored_components", "work_of_components"]

_PLAIN = ("weights", "means", "factors", "noise_variances", "loadings")
COMPONENT_ARRAYS = {"component_starts", *(f"component_{name}" for name in _PLAIN)}
_MOST = 16
"""Components of a mode; more would make a file that takes long to check."""


def component_arrays(model: FittedMixture) -> dict[str, NDArray[Any]]:
    """The arrays of a file; ValueError if a reader would refuse them."""
    components: Components = model.components
    own = components.parameters
    arrays: dict[str, NDArray[Any]] = {"component_starts": components.starts}
    for name in _PLAIN:
        if (array := getattr(own, name)) is not None:
            arrays[f"component_{name}"] = array
    coordinates = model.coordinates
    place = {"centres": coordinates.centres, "scales": coordinates.scales, "transforms": coordinates.transforms}
    _require({**arrays, **place}, model.n_modes, own.sizes, own.rank)
    return arrays


def restored_components(model: FittedMixture, arrays: Mapping[str, NDArray[Any]], record: Any) -> Components:
    """The components in a file; ValueError if they break a rule of docs/file-format.md."""
    if not isinstance(record, dict):
        raise ValueError("uncertainty is no object")
    sizes, rank = model.internal_parameters.sizes, model.linking_rank
    _require(arrays, model.n_modes, sizes, rank)
    parameters = Parameters(
        arrays["component_weights"], arrays["component_means"], arrays["component_factors"],
        arrays["component_noise_variances"], sizes, arrays.get("component_loadings"),
    )  # fmt: skip
    if "lifetimes" in record:
        from cem.lifetimes.lifetimes import Lifetimes

        laws = Lifetimes.from_dict(record["lifetimes"])
        if laws.n_modes != parameters.n_modes or (laws.loadings is None) != (rank == 0):
            raise ValueError(f"uncertainty has laws of lifetimes that do not fit {parameters.n_modes} components")
    return Components(parameters, np.array(arrays["component_starts"]), record)


def work_of_components(arrays: Mapping[str, NDArray[Any]]) -> int:
    """The number of components, before they are checked."""
    weights = arrays["component_weights"]
    return int(weights.size)


def _require(arrays: Mapping[str, NDArray[Any]], n_modes: int, sizes: tuple[int, ...], rank: int) -> None:
    missing = {"component_starts", *(f"component_{name}" for name in _PLAIN[:4])} - arrays.keys()
    if missing:
        raise ValueError(f"there is no array {min(missing)!r}")
    if ("component_loadings" in arrays) != (rank > 0):
        raise ValueError("component_loadings must be there where loadings are, and only there")
    starts, n = arrays["component_starts"], len(arrays["component_weights"])
    if (
        starts.dtype.kind != "i"
        or starts.shape != (n_modes + 1,)
        or starts[0] != 0
        or starts[-1] != n
        or not (np.diff(starts) >= 1).all()
        or not (np.diff(starts) <= _MOST).all()
    ):
        raise ValueError(f"component_starts do not divide {n} components among {n_modes} modes, 1 to {_MOST} for each")
    own = {name: arrays[f"component_{name}"] for name in _PLAIN if f"component_{name}" in arrays}
    place = {name: arrays[name] for name in ("centres", "scales", "transforms")}
    try:
        rules.require_numbers({**own, **place}, sizes, may_be_singular=True)
    except ValueError as error:
        raise ValueError(f"of the components, {error}") from None
    if rank and own["loadings"].shape[-1] != rank:
        raise ValueError(f"component_loadings are of {own['loadings'].shape[-1]} factors; {rank} were expected")
