"""Where each channel lies in the blocks of four of `_blocks`, and the constants of a model in that layout.

Computed once for a scorer or a prediction. Compiled, it would only make the wheel larger.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LANES", "BlockLayout", "block_layout", "unit_upper"]

LANES = 4  # of _blocks.pxd

FloatArray = NDArray[np.float64]
Triple = tuple[FloatArray, FloatArray, FloatArray]


class BlockLayout:
    """What `blocks_t` and the kernels' own view point to; a block is a row of ``LANES`` channels of one size."""

    n_channels: int
    n_modes: int
    sizes: NDArray[np.intc]  # (n_blocks,) intc
    channel_of_lane: NDArray[np.intc]  # (n_blocks LANES,) intc; -1: padding
    lane_of_channel: NDArray[np.intc]  # (n_channels,) intc
    phi_of_lane: NDArray[np.intc]  # (n_blocks LANES,) intc; padding takes a basis of the right size
    x_of_lane: NDArray[np.intc]  # (n_blocks LANES,) intc; padding takes the missing value behind the channels
    one_basis: NDArray[np.intc]  # (n_blocks,) intc
    coordinate_starts: NDArray[np.intp]  # (n_blocks + 1,) intp, as the following
    mode_starts: NDArray[np.intp]
    row_starts: NDArray[np.intp]
    state_starts: NDArray[np.intp]
    n_scratch: int
    n_pivots: int  # of all lanes: each adds a biased exponent
    log_priors: FloatArray  # (K,)  log |Sigma / s2| over channels
    constants: FloatArray  # coordinates, then modes


def unit_upper(lower: FloatArray) -> FloatArray:
    """U and d with U diag(d) U' = lower lower' for a stack (K, p, p), U unit upper triangular with d on its diagonal.

    QR of the rows in reverse order. A direction without any variance gets a standard deviation of 1e-12 of the largest,
    or 1e-12 if none varies: a coefficient that belongs to the mode is one of no variance.
    """
    turned = np.asarray(np.linalg.qr(np.swapaxes(lower[:, ::-1, :], 1, 2), mode="r"))
    root = np.swapaxes(turned[:, ::-1, ::-1], 1, 2)
    diagonal = np.diagonal(root, axis1=1, axis2=2)
    largest = np.abs(root).max(axis=(1, 2))
    smallest = np.where(largest > 0.0, np.maximum(1e-12 * largest, 1e-150), 1e-12)[..., None]
    diagonal = np.where(np.abs(diagonal) < smallest, smallest, diagonal)
    unit: FloatArray = root / diagonal[..., None, :]
    indices = np.arange(len(unit[0]))
    unit[..., indices, indices] = diagonal**2
    return unit


def _starts(lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.concatenate([[0], np.cumsum(LANES * lengths)]).astype(np.intp)


def block_layout(
    sizes: Sequence[int],
    phi_starts: Sequence[int],
    parameters: Triple | None = None,
    coordinates: Triple | None = None,
) -> BlockLayout:
    """Channels sorted into blocks by the size and the place of their bases.

    Parameters
    ----------
    sizes : sequence of int
        p_c.
    phi_starts : sequence of int
        Where the basis of each channel begins in phi; channels with the same basis are put side by side.
    parameters : (means (K, P), factors (K, P2), noise_variances (K, C)) or None
        Internal coordinates; None if only (9) is needed.
    coordinates : (centres (P,), scales (C,), transforms (P2,)) or None
        None: readings are in internal coordinates already.
    """
    of_channels = np.asarray(sizes, dtype=np.intp)
    n_channels = len(of_channels)
    order = sorted(range(n_channels), key=lambda c: (of_channels[c], phi_starts[c], c))
    blocks: list[tuple[int, list[int]]] = []
    for size in sorted(set(of_channels.tolist())):
        members = [c for c in order if of_channels[c] == size]
        blocks.extend((size, members[i : i + LANES]) for i in range(0, len(members), LANES))
    p = np.array([size for size, _ in blocks], dtype=np.intp)
    T = p * (p + 1) // 2
    n_modes = 0 if parameters is None else len(parameters[0])

    channel_of_lane = np.full(LANES * len(blocks), -1, dtype=np.intc)
    phi_of_lane = np.empty(LANES * len(blocks), dtype=np.intc)
    for i, (_, members) in enumerate(blocks):
        channel_of_lane[LANES * i : LANES * i + len(members)] = members
        padded = members + members[:1] * (LANES - len(members))
        phi_of_lane[LANES * i : LANES * (i + 1)] = [phi_starts[c] for c in padded]
    used = channel_of_lane >= 0
    lane_of_channel = np.empty(n_channels, dtype=np.intc)
    lane_of_channel[channel_of_lane[used]] = np.flatnonzero(used)

    coordinate_starts, mode_starts = _starts(p + T + 1), _starts(2 + n_modes * (T + p + 3))
    modes_start = coordinate_starts[-1]
    log_priors = np.zeros(max(n_modes, 1))
    constants = np.zeros(modes_start + mode_starts[-1])
    mean_starts = np.concatenate([[0], np.cumsum(of_channels)])
    factor_starts = np.concatenate([[0], np.cumsum(of_channels * of_channels)])
    for i, (q, members) in enumerate(blocks):
        upper = np.triu_indices(q)
        of_modes = constants[modes_start + mode_starts[i] : modes_start + mode_starts[i + 1]]
        for lane in range(len(members), LANES):  # padding: A = I where R is 0
            column = np.zeros(2 + n_modes * (T[i] + q + 3))
            for k in range(n_modes):
                column[2 + k * (T[i] + q + 3) + 3 :][: T[i]][upper[0] == upper[1]] = 1.0
            of_modes[lane::LANES] = column
        for lane, c in enumerate(members):
            vector = slice(mean_starts[c], mean_starts[c + 1])
            matrix = slice(factor_starts[c], factor_starts[c + 1])
            if coordinates is not None:
                centres, scales, transforms = coordinates
                S = np.array(transforms[matrix]).reshape(q, q)
                S[np.diag_indices(q)] = 1.0 / np.diagonal(S)
                column = np.concatenate([centres[vector], S[upper], [1.0 / scales[c]]])
                constants[coordinate_starts[i] + lane : coordinate_starts[i + 1] : LANES] = column
            if parameters is not None:
                means, factors, noise = parameters
                units = unit_upper(np.asarray(factors[:, matrix]).reshape(n_modes, q, q))
                diagonal = np.arange(q)
                units[:, diagonal, diagonal] = noise[:, c, None] / units[:, diagonal, diagonal]
                log_priors -= np.log(units[:, diagonal, diagonal]).sum(axis=1)
                parts: list[ArrayLike] = [[1.0 / noise[0, c], np.log(2 * np.pi * noise[0, c])]]
                for k in range(n_modes):
                    precision = 1.0 / noise[k, c]
                    parts.append([precision, precision - 1.0 / noise[0, c], np.log(noise[k, c] / noise[0, c])])
                    parts += [units[k][upper], means[k, vector]]
                of_modes[lane::LANES] = np.concatenate(parts)
    layout = BlockLayout()
    layout.n_channels, layout.n_modes = n_channels, n_modes
    layout.sizes = p.astype(np.intc)
    layout.channel_of_lane, layout.lane_of_channel = channel_of_lane, lane_of_channel
    layout.phi_of_lane = phi_of_lane
    layout.x_of_lane = np.where(used, channel_of_lane, n_channels).astype(np.intc)
    layout.one_basis = (phi_of_lane.reshape(-1, LANES) == phi_of_lane[::LANES, None]).all(axis=1).astype(np.intc)
    layout.coordinate_starts, layout.mode_starts = coordinate_starts, mode_starts
    layout.row_starts, layout.state_starts = _starts(p + 2), _starts(T + p + 3)
    layout.n_scratch = LANES * int((2 * p * p + 2 * p).max())
    layout.n_pivots = LANES * int(((p + 2) // 3).sum())
    layout.log_priors, layout.constants = log_priors, constants
    return layout
