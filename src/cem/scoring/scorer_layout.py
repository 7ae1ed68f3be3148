"""What a packed scorer points to: its distinct bases, the channels in blocks, constants in logarithms.

Computed once for a scorer. Compiled, it would only make the wheel larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError
from cem.statistics.block_layout import BlockLayout, block_layout

if TYPE_CHECKING:
    from cem.covariates.conditions import Conditions
    from cem.mixture.parameters import Parameters
    from cem.scoring.condition_layout import ConditionLayout
    from cem.statistics.coordinates import Coordinates

__all__ = ["ScorerLayout", "scorer_layout"]


class ScorerLayout:
    """The arrays of `scorer_t`."""

    bases: list[Any]  # the different ones
    basis_starts: NDArray[np.intc]  # of each of them in phi
    numbers: list[NDArray[np.float64]]  # of each of them
    first_channels: list[int]  # a channel of each of them
    n_custom: int
    n_phi: int
    blocks: BlockLayout
    log_weights: NDArray[np.float64]
    log_scales: NDArray[np.float64]
    conditions: ConditionLayout | None


def scorer_layout(
    parameters: Parameters,
    coordinates: Coordinates,
    bases: Sequence[Any],
    channels: Sequence[str],
    conditions: Conditions | None,
    of_units: Conditions | None,
) -> ScorerLayout:
    """Lay out a model for its scorer; the parameters are those of `PackedScorer`.

    Raises
    ------
    ScorerError
        The model's parts do not fit each other.
    """
    sizes = parameters.sizes
    n_channels = len(sizes)
    if not len(bases) == len(channels) == n_channels or tuple(coordinates.sizes) != tuple(sizes):
        raise ScorerError(
            f"the model has {n_channels} channels in its parameters, {len(bases)} bases, {len(channels)} names and "
            f"{len(coordinates.sizes)} channels in its coordinates; these must agree"
        )
    for c, (basis, size) in enumerate(zip(bases, sizes, strict=True)):
        own = basis.size + (0 if conditions is None else len(conditions.by_mode[c]))
        if own != size:
            raise ScorerError(
                f"the columns of channel {channels[c]!r} have {own} coefficients; its parameters have {size}"
            )
    different: list[Any] = []
    number_of: dict[Any, int] = {}
    numbers_of_channels = []
    for basis in bases:
        kind = int(basis.kind)
        key = (kind, basis.size, np.asarray(basis.numbers).tobytes()) if kind >= 0 else basis
        if key not in number_of:
            number_of[key] = len(different)
            different.append(basis)
        numbers_of_channels.append(number_of[key])
    custom_first = sorted(range(len(different)), key=lambda b: different[b].kind >= 0)
    basis_starts = np.zeros(len(different), dtype=np.intc)
    n_phi = 0
    for b in custom_first:
        basis_starts[b] = n_phi
        n_phi += different[b].size
    phi_starts = [int(basis_starts[b]) for b in numbers_of_channels]
    laid = None
    if conditions is not None or of_units is not None:
        from cem.scoring.condition_layout import condition_layout  # imports what a plain model does without

        laid = condition_layout(
            conditions,
            of_units,
            parameters.membership,
            numbers_of_channels,
            [basis.size for basis in bases],
            basis_starts.tolist(),
            n_phi,
        )
        phi_starts, n_phi = laid.phi_starts, laid.n_phi
    layout = ScorerLayout()
    layout.bases, layout.basis_starts = different, basis_starts
    layout.numbers = [np.array(one.numbers, np.float64) if one.kind >= 0 else np.zeros(1) for one in different]
    layout.first_channels = [numbers_of_channels.index(b) for b in range(len(different))]
    layout.n_custom = sum(basis.size for basis in different if basis.kind < 0)
    layout.n_phi = n_phi
    layout.blocks = block_layout(
        sizes,
        phi_starts,
        (parameters.means, parameters.factors, parameters.noise_variances),
        (coordinates.centres, coordinates.scales, coordinates.transforms),
    )
    with np.errstate(divide="ignore"):
        layout.log_weights = np.log(parameters.weights)
    layout.log_scales = np.log(coordinates.scales)
    layout.conditions = laid
    return layout
