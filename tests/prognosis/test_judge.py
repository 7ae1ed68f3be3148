"""The kernels of the gate against plain NumPy: densities of single channels, and who takes part in a law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from candidate_cases import linked_problem
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.errors import OptionError
from cem.model.fit_reference import FitReference, fit_score
from cem.numerics.normal import normal_cdf, normal_quantile
from cem.prognosis import _rul
from cem.prognosis.candidates import Candidates, Shifts

TOLERANCE, STRANGE = 13.8, 3.5
SCORES = np.array([-2.0, -0.5, 0.0, 1.0, 2.0])


def judged(logs, misfits, counts, modes=None, reference=None):
    """What the kernel says: fit, fit of channels, channels left out, unlike."""
    n_units, n_channels = counts.shape
    modes = np.arange(logs.shape[2]) if modes is None else modes
    none = (np.empty(0), np.empty((0, 0, 0)), np.empty((0, 0, 0)))
    maps = none if reference is None else (reference.scores, reference.knots, reference.slopes)
    found = (
        np.empty(n_units), np.empty((n_units, n_channels)), np.empty((n_units, n_channels), np.uint8),
        np.empty(n_units, np.uint8),
    )  # fmt: skip
    _rul.judge(logs, misfits, counts, TOLERANCE, STRANGE, modes.astype(np.int32), *maps, *found)
    return found


def scored(reference, mode, place, z):
    """The map of a mode and of all channels (0) or one (1 + c), with its outermost pieces going on."""
    if reference is None:
        return np.nan
    knots, slopes = reference.knots[mode, place], reference.slopes[mode, place]
    piece = int(np.clip(np.searchsorted(knots, z, side="right") - 1, 0, len(slopes) - 1))
    return reference.scores[piece] + slopes[piece] * (z - knots[piece])


def plainly(logs, misfits, counts, modes, reference):
    """The same for one unit, step by step."""
    seen = counts > 0
    best = logs.max(axis=(1, 2), keepdims=True)
    bounded = np.maximum(logs, best - TOLERANCE)
    taken = np.ones(len(counts), dtype=bool)
    for _ in range(2):
        k, g = np.unravel_index(bounded[taken].sum(axis=0).argmax(), logs.shape[1:])
        own = misfits[:, k, g]
        scores = np.array([scored(reference, modes[k], 1 + c, fit_score(own[c], n)) for c, n in enumerate(counts)])
        left = seen & (~(best[:, 0, 0] - logs[:, k, g] <= TOLERANCE) | (np.abs(scores) > STRANGE))
        kept = seen & ~left
        if kept.sum() in (0, seen.sum()):
            break
        taken = ~left
    score = scored(reference, modes[k], 0, fit_score(own[kept].sum(), counts[kept].sum()))
    unlike = 2 * kept.sum() < seen.sum() or abs(score) > STRANGE
    return 2 * normal_cdf(-abs(score)), np.where(seen, 2 * normal_cdf(-np.abs(scores)), np.nan), left, unlike


@pytest.mark.parametrize("level", _rul.LEVELS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=5),
    n_modes=st.integers(1, 3),
    n_grid=st.integers(2, 19),
    plain=st.booleans(),
)
def test_densities_of_single_channels_are_those_without_the_others(level, seed, sizes, n_modes, n_grid, plain):
    """A channel would be found broken by what another one reads."""
    statistics, linked, matrices, worth, _ = linked_problem(seed, tuple(sizes), 2, n_modes, n_grid)
    worth = np.ones(len(sizes)) if plain else worth
    parameters = linked.marginal()
    found, misfits = Candidates(parameters, None, worth).by_channel(
        *statistics.packed(np.ones(len(sizes))), Shifts.of_matrices(matrices), _rul.LEVELS.index(level)
    )
    for c in range(len(sizes)):
        own = replace(statistics, counts=np.where(np.arange(len(sizes)) == c, statistics.counts, 0))
        wanted = Candidates(parameters, None, worth).one_by_one(own, matrices)[0]
        of_all = Candidates(parameters).one_by_one(own, matrices)[1]
        np.testing.assert_allclose(np.moveaxis(found[:, c, :, :n_grid], 1, 2), wanted, rtol=1e-8, atol=1e-7)
        np.testing.assert_allclose(np.moveaxis(misfits[:, c, :, :n_grid], 1, 2), of_all, rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("seed", range(40))
def test_the_kernel_decides_as_plain_numpy(seed):
    """Channels would be left out that contradict nothing, or a broken one would take part."""
    rng = np.random.default_rng(seed)
    n_units, n_channels, n_modes, n_grid = 4, int(rng.integers(1, 6)), int(rng.integers(1, 4)), 7
    shape = (n_units, n_channels, n_modes, n_grid)
    counts = rng.integers(0, 9, shape[:2]).astype(float)
    spread = rng.choice([1.0, 30.0])
    logs = np.where((counts > 0)[..., None, None], rng.normal(0.0, spread, shape), 0.0)
    misfits = rng.gamma(2.0, size=shape) * (0.5 * counts * rng.choice([1.0, 6.0], counts.shape))[..., None, None]
    modes = rng.integers(0, 2, n_modes)
    knots = np.sort(rng.normal(0.0, 2.0, (2, 1 + n_channels, len(SCORES))), axis=-1)
    for reference in (None, FitReference(SCORES, knots)):
        fit, channel_fit, left_out, unlike = judged(logs, misfits, counts, modes, reference)
        for l in range(n_units):
            wanted = plainly(logs[l], misfits[l], counts[l], modes, reference)
            np.testing.assert_allclose(fit[l], wanted[0], rtol=1e-9)
            np.testing.assert_allclose(channel_fit[l], wanted[1], rtol=1e-9)
            np.testing.assert_array_equal(left_out[l], wanted[2])
            assert unlike[l] == wanted[3]


def test_the_map_of_fits_is_straight_between_its_knots_and_beyond():
    """A unit's fit would be compared with training units at the wrong quantile."""
    knots = np.array([[[-3.0, -1.0, 0.0, 1.0, 5.0], [-3.0, -1.0, 0.0, 1.0, 5.0]]])
    reference = FitReference(SCORES, knots)
    z = np.array([-3.5, -3.0, -2.0, -0.5, 0.0, 3.0, 5.0, 7.0])
    n = 400.0
    misfits = n * (z * np.sqrt(2 / (9 * n)) + 1 - 2 / (9 * n)) ** 3
    counts = np.full((len(z), 1), n)
    fit, channel_fit, *_ = judged(
        np.zeros((len(z), 1, 1, 1)), misfits.reshape(-1, 1, 1, 1), counts, np.zeros(1), reference
    )
    expected = np.interp(z, knots[0, 0], SCORES)
    expected[[0, -1]] = [-2.375, 2.5]
    np.testing.assert_allclose(-normal_quantile(fit / 2), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(channel_fit[:, 0], fit, rtol=1e-12)


def test_a_channel_without_a_finite_density_takes_no_part():
    """One number that overflows would decide, or hide, the life of its unit."""
    logs = np.zeros((1, 3, 1, 4))
    logs[0, 0] = [-9.0, -1.0, -9.0, -9.0]
    logs[0, 1] = [-9.0, -1.0, -9.0, -9.0]
    for broken in (np.nan, -np.inf):
        logs[0, 2] = broken
        fit, _, left_out, unlike = judged(logs, np.ones(logs.shape), np.full((1, 3), 5.0))
        assert left_out[0].tolist() == [0, 0, 1] and not unlike[0] and np.isnan(fit).all()


def test_the_kernels_refuse_arrays_that_do_not_fit():
    """They read them without looking: a wrong shape must end in a message, not in memory that is not their own."""
    knots = np.sort(np.random.default_rng(0).normal(size=(1, 3, 5)), axis=-1)
    own = {
        "log_densities": np.zeros((1, 2, 1, 4)), "misfits": np.ones((1, 2, 1, 4)), "counts": np.ones((1, 2)),
        "tolerance": 1.0, "strange": 3.0, "modes": np.zeros(1, np.int32), "scores": SCORES, "knots": knots,
        "slopes": FitReference(SCORES, knots).slopes, "fit_out": np.empty(1), "channel_fit_out": np.empty((1, 2)),
        "left_out": np.empty((1, 2), np.uint8), "unlike_out": np.empty(1, np.uint8),
    }  # fmt: skip
    _rul.judge(**own)
    for name, wrong, message in (
        ("misfits", np.ones((1, 2, 1, 3)), "misfits has the shape"),
        ("counts", np.ones((1, 3)), "counts has the shape"),
        ("modes", np.ones(1, np.int32), r"modes\[0\] is 1; 0 to 0"),
        ("modes", np.zeros(2, np.int32), "modes has the shape"),
        ("slopes", np.ones((1, 3, 5)), "maps of fits"),
        ("knots", np.ones((1, 4, 5)), "maps of fits"),
        ("fit_out", np.empty(2), "fit_out has the shape"),
        ("left_out", np.empty((2, 2), np.uint8), "left_out has the shape"),
    ):
        with pytest.raises(OptionError, match=message):
            _rul.judge(**{**own, name: wrong})
    with pytest.raises(OptionError, match="no candidates"):
        _rul.judge(**{**own, "log_densities": np.zeros((1, 2, 1, 0)), "misfits": np.ones((1, 2, 1, 0))})
    statistics, parameters, matrices, worth, _ = linked_problem(1, (2, 3), 1, 1, 5)
    packed, shifts = statistics.packed(np.ones(2)), Shifts.of_matrices(matrices)
    candidates = Candidates(parameters.marginal())
    with pytest.raises(OptionError, match="triangles has the shape"):
        candidates.by_channel(packed[0][:, :-1].copy(), *packed[1:], shifts)
    candidates.information = worth[:1]
    with pytest.raises(OptionError, match="information has the shape"):
        candidates.by_channel(*packed, shifts)
