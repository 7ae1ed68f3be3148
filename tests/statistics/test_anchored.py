"""Compression at the last reading: what predictions rest on, against one QR in NumPy a unit and channel."""

from __future__ import annotations

import numpy as np
import pytest
import reference_lives
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.basis.families import Constant, Exponential, Polynomial
from cem.errors import PanelError
from cem.panel.panel import Panel
from cem.statistics import _householder
from cem.statistics.anchored import anchored_statistics, distinct


def assert_same(found, wanted) -> None:
    """R and w are unique up to the signs of rows: compare RᵀR and Rᵀw, column by column."""
    np.testing.assert_array_equal(found.counts, wanted.counts)
    scale = np.maximum(wanted.residual_norms.max(), 1.0)
    np.testing.assert_allclose(found.residual_norms, wanted.residual_norms, rtol=1e-10, atol=1e-10 * scale)
    for R, w, other, v in zip(found.triangles, found.projections, wanted.triangles, wanted.projections, strict=True):
        assert not np.tril(R, -1).any()
        size = np.maximum(np.linalg.norm(other, axis=1, keepdims=True), 1e-300)  # of each column
        gram = np.einsum("lij,lik->ljk", R / size, R / size)
        np.testing.assert_allclose(gram, np.einsum("lij,lik->ljk", other / size, other / size), atol=1e-12)
        length = np.maximum(np.linalg.norm(v, axis=1), 1e-300)[:, None]
        cross = np.einsum("lij,li->lj", R / size, w / length)
        np.testing.assert_allclose(cross, np.einsum("lij,li->lj", other / size, v / length), atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    n_channels=st.integers(1, 19),
    size=st.integers(1, 7),
    missing=st.sampled_from([0.0, 0.1, 0.9]),
)
def test_the_kernel_is_one_qr_a_unit_and_channel(seed, lengths, n_channels, size, missing) -> None:
    """p = 1 … 7, n < p, more channels than a register holds, patterns of missing cells, two bases, sensors at 9062."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, 300, n)) for n in lengths]
    values = [rng.normal(size=(n, n_channels)) + rng.choice([0.0, 9062.0], n_channels) for n in lengths]
    for block in values:
        block[rng.random(block.shape) < missing] = np.nan
        block[0, np.isnan(block).all(axis=0)] = 1.0
    panel = Panel.from_arrays(times, values)
    far = np.array([-300.0, 0.0])
    first = (Exponential(np.geomspace(5.0, 200.0, size - 1)) if size > 1 else Constant()).bind(far)
    bases = [first if c % 3 else Polynomial(1).bind(far) for c in range(n_channels)]
    assert_same(anchored_statistics(panel, bases), reference_lives.anchored_statistics(panel, bases))


def test_designs_whose_squares_are_no_numbers() -> None:
    """Exponentials that vanish, or that no square of float64 holds, lose their digits to neither."""
    panel = Panel.from_arrays([np.arange(0.0, 1500.0, 30.0)], [np.random.default_rng(0).normal(size=(50, 3))])
    for constant, reference in ((2.0, None), (4.0, -2000.0)):
        bases = [Exponential([constant], reference=reference).bind(np.array([-2000.0, 0.0]))] * 3
        with np.errstate(under="ignore"):
            found, wanted = anchored_statistics(panel, bases), reference_lives.anchored_statistics(panel, bases)
            for c in range(3):
                R, other = found.triangles[c], wanted.triangles[c]
                signs = np.sign(R[:, [0, 1], [0, 1]]) * np.sign(other[:, [0, 1], [0, 1]])
                np.testing.assert_allclose(R, signs[..., None] * other, rtol=1e-10, atol=1e-12)
                np.testing.assert_allclose(found.projections[c], signs * wanted.projections[c], rtol=1e-10, atol=1e-12)


def test_equal_bases_are_one() -> None:
    """Channels of equal bases share a factorisation, whether or not they are one object."""
    far = np.array([-10.0, 0.0])
    one, same, other = Polynomial(1).bind(far), Polynomial(1).bind(far), Polynomial(2).bind(far)
    assert distinct([one, other, same]) == ([one, other], [0, 1, 0])


def test_another_number_of_channels_is_refused() -> None:
    panel = Panel.from_arrays([np.arange(3.0)], [np.zeros((3, 2))])
    with pytest.raises(PanelError, match="2 channels and there are 1 bases"):
        anchored_statistics(panel, [Constant().bind(np.array([-1.0, 0.0]))])


def test_the_kernel_refuses_arrays_that_do_not_fit() -> None:
    """It reads them without looking: a wrong array must end in a message that names it."""

    def call(**changed: object) -> None:
        arguments: dict[str, object] = {
            "design": np.ones((3, 2)), "values": np.ones((3, 4)), "row_offsets": np.array([0, 3]),
            "columns": np.array([1, 3], dtype=np.int32), "triangles_out": np.empty((1, 2, 2, 2)),
            "projections_out": np.empty((1, 2, 2)), "residual_norms_out": np.empty((1, 2)),
            "counts_out": np.empty((1, 2), dtype=np.int64), "shape": (3, 4, 1, 2, 2),
        }  # fmt: skip
        _householder.compress_units(**{**arguments, **changed})  # type: ignore[arg-type]

    call()
    for name, wrong, message in (
        ("design", np.ones((3, 3)), "design holds 9 numbers"),
        ("design", np.ones((3, 2), dtype=np.float32), "design holds 6 numbers of type 'f'"),
        ("values", np.ones((4, 3))[:3], "values holds 9"),
        ("row_offsets", np.array([0, 4]), "rows 0 to 4 of 3"),
        ("columns", np.array([1, 4], dtype=np.int32), "column 4 of 4"),
        ("columns", np.array([1, 3]), "columns holds 2 numbers"),
        ("counts_out", np.empty((1, 3), dtype=np.int64), "counts_out holds 3"),
        ("shape", (3, 4, 1, 0, 2), "a channel and a coefficient"),
    ):
        with pytest.raises(ValueError, match=message):
            call(**{name: wrong})
