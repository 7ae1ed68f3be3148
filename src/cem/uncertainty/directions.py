"""Which directions of a fit's unconstrained vector its objective says nothing of, and why.

A shift of all ln π changes nothing, nor does a rotation of the factors that channels share. A variance at its floor has
gradient zero by construction. A channel that hardly any unit of a mode reports keeps its parameters. Such directions
are held; what concerns the user among them is named.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.sums import ExpectedStatistics
from cem.mixture.parameters import Parameters

__all__ = ["Held", "Parts", "held_directions", "names_of"]

FloatArray = NDArray[np.float64]

# Relative to the floor: a variance that exceeds it by less is at its floor.
_AT_FLOOR = 1e-3


@dataclass(frozen=True)
class Held:
    """Numbers of the fit that the objective does not inform.

    Parameters
    ----------
    reason : str
        "floor", "sparse" (less than one unit of the mode reports the channel) or "bound" (spread of a law of lives).
    kind : str
        Kind of the rows concerned: "noise", "variance", "mean", "loading", "life", or "" for all of the channel.
    mode : int or None
        Position; None: all modes.
    channel : int or None
    partly : bool
        Only some directions of a covariance are at the floor, and the others are free.
    """

    reason: str
    kind: str
    mode: int | None
    channel: int | None
    partly: bool = False


@dataclass(frozen=True, eq=False)
class Parts:
    """Where the parts of a fit's unconstrained vector are.

    Parameters
    ----------
    n : int
        Length of the vector.
    n_modes, n_channels, n_means, rank : int
        K, C, P and r.
    root_starts : ndarray of shape (C + 1,)
        Where each channel's roots begin, among those of one mode.
    weights, means, noise, roots, loadings, fixed, membership, laws : slice
        Of the vector.
    """

    n: int
    n_modes: int
    n_channels: int
    n_means: int
    rank: int
    root_starts: NDArray[np.int64] = field(repr=False)
    weights: slice
    means: slice
    noise: slice
    roots: slice
    loadings: slice
    fixed: slice
    membership: slice
    laws: slice

    @classmethod
    def of(cls, parameters: Parameters, constraints: Constraints, n: int, n_laws: int) -> Parts:
        """Of the vector of parameters like these.

        Parameters
        ----------
        parameters : Parameters
        constraints : Constraints
        n : int
            Length of the vector.
        n_laws : int
            Laws of lifetimes beside the mixture.
        """
        K, P, C = parameters.n_modes, parameters.means.shape[1], parameters.n_channels
        diagonal = constraints.covariance == "diagonal"
        sizes = [p if diagonal else p * (p + 1) // 2 for p in parameters.sizes]
        n_own = 1 if constraints.covariance == "pooled" else K
        lengths = [
            K,
            K * P,
            C if constraints.pooled_noise else K * C,
            n_own * sum(sizes),
            K * P * parameters.rank,
            0 if constraints.fixed is None else constraints.fixed.n_free(K),
            0 if parameters.membership is None else parameters.membership.size,
            2 * n_laws,
        ]
        starts = np.cumsum([0, *lengths]).tolist()
        if starts[-1] != n:
            raise ValueError(f"a vector of {n} numbers has parts of {starts[-1]}")
        parts = [slice(first, last) for first, last in pairwise(starts)]
        return cls(n, K, C, P, parameters.rank, np.cumsum([0, *sizes]).astype(np.int64), *parts)


def held_directions(
    parts: Parts,
    vector: FloatArray,
    parameters: Parameters,
    constraints: Constraints,
    sums: ExpectedStatistics,
    *,
    without_random: NDArray[np.bool_],
    untold: NDArray[np.bool_],
    counted: bool,
    minimum_spread: float,
) -> tuple[NDArray[np.bool_], FloatArray, tuple[Held, ...]]:
    """What is held.

    Parameters
    ----------
    parts : Parts
        Of the vector.
    vector : ndarray of shape (n,)
    parameters : Parameters
        Of the vector.
    constraints : Constraints
        Of the fit.
    sums : ExpectedStatistics
        At the parameters.
    without_random, untold : ndarray of shape (C,), bool
        Channels without a random column; channels whose noise is not identifiable.
    counted : bool
        Whether any unit informs π.
    minimum_spread : float
        Lower bound of the spread of laws of lives.

    Returns
    -------
    held : ndarray of shape (n,), bool
        Numbers of the vector that are held.
    redundant : ndarray of shape (n, m)
        Directions, beside these, that change nothing to first order.
    named : tuple of Held
        What concerns the user.
    """
    K, r = parts.n_modes, parts.rank
    held, redundant = np.zeros(parts.n, dtype=bool), []
    named: list[Held] = []
    has_membership = parts.membership.start < parts.membership.stop
    held[parts.weights] = has_membership or K == 1 or not counted
    if not held[parts.weights].all():
        redundant.append(_along(parts.n, np.arange(K), np.ones(K)))
    if has_membership:
        columns = np.arange(parts.membership.start, parts.membership.stop).reshape(K, -1)
        if not counted:
            held[parts.membership] = True
        redundant += [_along(parts.n, column, np.ones(K)) for column in columns.T if counted]
    sparse = (sums.channel_counts < 1.0) | (sums.observation_counts <= 0.0)
    _hold_noise(parts, held, named, parameters, constraints, sparse, untold)
    _hold_roots(parts, held, redundant, named, vector, constraints, sparse, without_random)
    layout = parameters.layout
    for k, c in np.argwhere(sparse | without_random).tolist():
        rows = np.arange(*layout.mean_offsets[c : c + 2])
        held[parts.means.start + k * parts.n_means + rows] = True
        for f in range(r):
            held[parts.loadings.start + (k * parts.n_means + rows) * r + f] = True
        if sparse[k, c]:
            named.append(Held("sparse", "", k, c))
            _hold_columns(parts, held, constraints, k, c)
    for k in range(K):
        W = vector[parts.loadings].reshape(K, parts.n_means, r)[k]
        for a in range(r):
            for b in range(a):
                turned = np.zeros((K, parts.n_means, r))
                turned[k, :, a], turned[k, :, b] = W[:, b], -W[:, a]
                redundant.append(_along(parts.n, np.arange(parts.loadings.start, parts.loadings.stop), turned.ravel()))
    for k in range((parts.laws.stop - parts.laws.start) // 2):
        place = parts.laws.start + 2 * k + 1
        if abs(vector[place]) <= 2e-4 * minimum_spread:
            held[place] = True
            named.append(Held("bound", "life", k, None))
    kept = [direction for direction in redundant if np.abs(direction[~held]).max(initial=0.0) > 0.0]
    return held, np.stack(kept, axis=1) if kept else np.zeros((parts.n, 0)), tuple(named)


def _along(n: int, places: NDArray[np.int64], values: FloatArray) -> FloatArray:
    direction = np.zeros(n)
    direction[places] = values
    return direction


def _hold_noise(
    parts: Parts,
    held: NDArray[np.bool_],
    named: list[Held],
    parameters: Parameters,
    constraints: Constraints,
    sparse: NDArray[np.bool_],
    untold: NDArray[np.bool_],
) -> None:
    """Noise variances at their floor, or without readings."""
    at_floor = parameters.noise_variances <= constraints.noise_floors * (1.0 + _AT_FLOOR)
    own = held[parts.noise].reshape(-1, parts.n_channels)
    if constraints.pooled_noise:
        own[0] = at_floor[0] | sparse.all(axis=0) | untold
        named += [Held("floor", "noise", None, int(c)) for c in np.flatnonzero(at_floor[0] & ~untold)]
    else:
        own[:] = at_floor | sparse | untold
        named += [Held("floor", "noise", k, c) for k, c in np.argwhere(at_floor & ~untold & ~sparse).tolist()]
    held[parts.noise] = own.ravel()


def _hold_roots(
    parts: Parts,
    held: NDArray[np.bool_],
    redundant: list[FloatArray],
    named: list[Held],
    vector: FloatArray,
    constraints: Constraints,
    sparse: NDArray[np.bool_],
    without_random: NDArray[np.bool_],
) -> None:
    """Directions in which a covariance is at its floor: there M is singular, and Σ = F + M Mᵀ does not move."""
    n_roots = int(parts.root_starts[-1])
    n_own = (parts.roots.stop - parts.roots.start) // n_roots if n_roots else 0
    pooled, diagonal = n_own < parts.n_modes, constraints.covariance == "diagonal"
    for k in range(n_own):
        for c in range(parts.n_channels):
            places = parts.roots.start + k * n_roots + np.arange(*parts.root_starts[c : c + 2])
            if without_random[c] or (sparse[:, c].all() if pooled else sparse[k, c]):
                held[places] = True
                continue
            # Steps of a converged fit leave an excess of about this share of the floor.
            smallest = 2.0 * np.sqrt(_AT_FLOOR * constraints.covariance_floors[c])
            mode = None if pooled and parts.n_modes > 1 else k
            if diagonal:
                still = np.abs(vector[places]) <= smallest * _lengths(constraints, parts, c)
                held[places[still]] = True
                n_free, n_still = int((~still).sum()), int(still.sum())
            else:
                _, values, directions = np.linalg.svd(_derivative(vector[places]))
                still = np.zeros(len(directions), dtype=bool)
                still[: len(values)] = values <= smallest
                redundant += [_along(parts.n, places, direction) for direction in directions[still]]
                n_free, n_still = int((~still).sum()), int(still.sum())
            if n_still:
                named.append(Held("floor", "variance", mode, c, partly=n_free > 0))


def _lengths(constraints: Constraints, parts: Parts, c: int) -> FloatArray:
    """Lengths of the rows of S⁻¹: floors of variances in the user's basis are the floor times their squares."""
    p = int(parts.root_starts[c + 1] - parts.root_starts[c])
    start = int(np.square(np.diff(parts.root_starts[: c + 1])).sum())
    S = constraints.transforms[start : start + p * p].reshape(p, p)
    lengths: FloatArray = np.sqrt(np.square(np.linalg.inv(S)).sum(axis=1))
    return lengths


def _derivative(roots: FloatArray) -> FloatArray:
    """The derivative of M Mᵀ by the lower triangle of M, (p², q)."""
    q = len(roots)
    p = int(np.sqrt(2 * q))
    rows, columns = np.tril_indices(p)
    M = np.zeros((p, p))
    M[rows, columns] = roots
    moved = np.zeros((q, p, p))
    moved[np.arange(q), rows, columns] = 1.0
    products = moved @ M.T
    return (products + np.swapaxes(products, -1, -2)).reshape(q, -1).T


def _hold_columns(parts: Parts, held: NDArray[np.bool_], constraints: Constraints, k: int, c: int) -> None:
    """The coefficients of a mode's fixed columns in a channel without readings of the mode."""
    fixed = constraints.fixed
    if fixed is None:
        return
    n_common = int(np.count_nonzero(~fixed.by_mode))
    n_own = int(np.count_nonzero(fixed.by_mode))
    of_channel = np.repeat(np.arange(len(fixed.sizes)), fixed.sizes)[fixed.by_mode]
    held[parts.fixed.start + n_common + k * n_own + np.flatnonzero(of_channel == c)] = True


def names_of(parts: Parts, modes: Sequence[Hashable], channels: Sequence[str], weights: FloatArray) -> str:
    """What a direction of the vector is mostly made of, for messages.

    Parameters
    ----------
    parts : Parts
    modes, channels : sequences
        Labels and names.
    weights : ndarray of shape (n,)
        Squared entries of the direction.
    """
    K, C, P = parts.n_modes, parts.n_channels, parts.n_means
    found: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        found[name] = found.get(name, 0.0) + value

    add("the weights of the modes", float(weights[parts.weights].sum() + weights[parts.membership].sum()))
    sizes = np.diff(parts.root_starts)
    full = np.array([int(np.sqrt(2 * q)) for q in sizes]) if int(sizes.sum()) != P else sizes
    channel_of = np.repeat(np.arange(C), full)
    for what, part in (("the mean curve", parts.means), ("the loadings", parts.loadings)):
        values = weights[part].reshape(K, P, -1).sum(axis=2) if part.start < part.stop else np.zeros((K, P))
        for k, c in np.ndindex(K, C):
            add(f"{what} of mode {modes[k]!r}, channel {channels[c]!r}", float(values[k, channel_of == c].sum()))
    noise = weights[parts.noise].reshape(-1, C)
    roots = weights[parts.roots].reshape(-1, int(parts.root_starts[-1]))
    for what, own in (("the noise", noise), ("the covariance", np.add.reduceat(roots, parts.root_starts[:-1], axis=1))):
        for k, c in np.ndindex(own.shape):
            of_mode = f"mode {modes[k]!r}, " if len(own) == K else ""
            add(f"{what} of {of_mode}channel {channels[c]!r}", float(own[k, c]))
    add("the coefficients of fixed columns", float(weights[parts.fixed].sum()))
    for k in range((parts.laws.stop - parts.laws.start) // 2):
        first = parts.laws.start + 2 * k
        add(f"the law of lifetimes of mode {modes[k]!r}", float(weights[first : first + 2].sum()))
    ranked = sorted(found.items(), key=lambda item: -item[1])[:3]
    return ", ".join(name for name, value in ranked if value > 0.1 * ranked[0][1])
