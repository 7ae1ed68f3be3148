from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from cem.covariates.conditions import Conditions
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Coordinates

__all__ = ["PackedScorer"]

_Float = NDArray[np.float64]

@disjoint_base
class PackedScorer:
    channels: tuple[str, ...]
    covariate_names: tuple[str, ...]
    def __init__(
        self,
        parameters: Parameters,
        coordinates: Coordinates,
        bases: Sequence[Any],
        channels: Sequence[str],
        forgetting: float = 1.0,
        conditions: Conditions | None = None,
        of_units: Conditions | None = None,
    ) -> None: ...
    @property
    def n_channels(self) -> int: ...
    @property
    def n_modes(self) -> int: ...
    @property
    def unit_bytes(self) -> int: ...
    def _channel_number(self, channel: object) -> int: ...
    def _custom_rows(self, times: _Float) -> _Float | None: ...
    def _score_rows(
        self,
        times: _Float,
        values: _Float,
        row_offsets: NDArray[np.int64],
        probabilities_out: _Float,
        n_threads: int,
        w: _Float | None = None,
        unit_w: _Float | None = None,
        custom_rows: _Float | None = None,
    ) -> tuple[int, int, int, int] | None: ...
    def _log_likelihood_rows(
        self,
        times: _Float,
        values: _Float,
        row_offsets: NDArray[np.int64],
        log_likelihoods_out: _Float,
        w: _Float | None = None,
        unit_w: _Float | None = None,
    ) -> tuple[int, int, int, int] | None: ...
    def _advance(
        self,
        times: _Float,
        values: _Float,
        order: NDArray[np.int32],
        offsets: NDArray[np.int64],
        states: _Float,
        probabilities_out: _Float | None,
        rows_out: _Float | None,
        n_threads: int,
        w: _Float | None = None,
        custom_rows: _Float | None = None,
    ) -> tuple[int, int, int] | None: ...

def chi_square_tail(x: float, degrees_of_freedom: float) -> float: ...
