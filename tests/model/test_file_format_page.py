"""A reader written only from docs/file-format.md computes the check value of every kind of model file."""

import hashlib
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from golden_cases import DATA
from scipy.interpolate import BSpline as Spline
from scipy.stats import norm

from cem import RemainingLifeDistribution
from cem.calibration import Calibration

FILES = sorted(path.name for path in Path(DATA).glob("golden-*.cem") if "custom" not in path.name)


def read(content):
    """Version, header and arrays."""
    assert content[:8] == bytes.fromhex("89 43 45 4D 0D 0A 1A 0A")
    version, length = struct.unpack_from("<IQ", content, 8)
    assert version in (1, 2) and (20 + length) % 8 == 0
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    header = json.loads(content[20 : 20 + length])
    arrays, data, offset = {}, content[20 + length : -32], 0
    for entry in header["arrays"]:
        assert entry["offset"] == offset
        count = math.prod(entry["shape"])
        kind = {"f8": "<f8", "i8": "<i8"}[entry["dtype"]]
        arrays[entry["name"]] = np.frombuffer(data, kind, count, offset).reshape(entry["shape"])
        offset += 8 * count
    assert offset == len(data)
    return version, header, arrays


def basis_functions(basis, t):
    """φ(t), shape (n, p), by the page's table."""
    options, learned, (low, high) = basis["options"], basis["learned"], basis["domain"]
    start = low
    if low == high:
        half = max(1.0, 1e-6 * abs(low))
        low, high = low - half, high + half
    kind, one = basis["type"], np.ones_like(t)
    if kind == "Constant":
        return one[:, None]
    if kind == "Polynomial":
        return np.polynomial.legendre.legvander((t - (low + high) / 2) / ((high - low) / 2), options["degree"])
    if kind == "Fourier":
        period, origin = options["period"], start
        if period is None:
            period = high - low
        else:
            origin = start - math.fmod(start, period)
        theta = 2 * np.pi * (t - origin) / period
        waves = [wave(j * theta) for j in range(1, options["n_harmonics"] + 1) for wave in (np.cos, np.sin)]
        return np.stack([one, *waves], axis=1)
    if kind == "Exponential":
        rises = [np.exp((t - r) / c) for r, c in zip(learned, options["time_constants"], strict=True)]
        return np.stack([one, *rises], axis=1)
    assert kind == "BSpline"
    degree = options["degree"]
    knots = [*[low] * (degree + 1), *learned, *[high] * (degree + 1)]
    spline = Spline(knots, np.eye(len(knots) - degree - 1), degree)
    nearest = np.clip(t, low, high)
    return spline(nearest) + (t - nearest)[:, None] * spline.derivative()(nearest)


def log_likelihood(header, arrays):
    """Σ_u log Σ_k π_k P(x_u | k) of the check panel, from the covariance of all readings of a unit."""
    bases = header["model"]["bases"]
    sizes = [basis_functions(basis, np.zeros(1)).shape[1] for basis in bases]
    rows, squares = np.cumsum([0, *sizes]), np.cumsum([0, *np.square(sizes)])
    total = 0.0
    for first, last in zip(arrays["check_offsets"][:-1], arrays["check_offsets"][1:], strict=True):
        t, x = arrays["check_times"][first:last], arrays["check_values"][first:last]
        seen = ~np.isnan(x)
        logs = np.log(arrays["weights"])
        for k in range(len(logs)):
            means, own, shared, noise = [], [], [], []
            for c, (basis, p) in enumerate(zip(bases, sizes, strict=True)):
                row, square = slice(*rows[c : c + 2]), slice(*squares[c : c + 2])
                S, s = arrays["transforms"][square].reshape(p, p), arrays["scales"][c]
                L = arrays["factors"][k, square].reshape(p, p)
                phi = basis_functions(basis, t[seen[:, c]])
                means.append(phi @ (arrays["centres"][row] + s * np.linalg.solve(S, arrays["means"][k, row])))
                root = s * phi @ np.linalg.solve(S, L)
                own.append(root @ root.T)
                noise.append(np.full(len(phi), s**2 * arrays["noise_variances"][k, c]))
                if "loadings" in arrays:
                    shared.append(root @ arrays["loadings"][k, row])
            V, at = np.diag(np.concatenate(noise)), 0
            for block in own:
                V[at : at + len(block), at : at + len(block)] += block
                at += len(block)
            if shared:
                V += np.concatenate(shared) @ np.concatenate(shared).T
            r = x.T[seen.T] - np.concatenate(means)
            logs[k] -= 0.5 * (np.linalg.slogdet(2 * np.pi * V)[1] + r @ np.linalg.solve(V, r))
        total += np.logaddexp.reduce(logs)
    return total


@pytest.mark.parametrize("name", FILES)
def test_the_page_suffices_to_read_a_model(name):
    """A reader in another language, written from the page, would compute something else than cem."""
    version, header, arrays = read((DATA / name).read_bytes())
    assert version == (2 if "loadings" in arrays else 1)
    if header["model"]["time_axis"] == "to_failure":
        assert arrays["check_times"].max() <= 0
    assert log_likelihood(header, arrays) == pytest.approx(header["check"]["log_likelihood"], rel=1e-9)


def test_every_basis_of_the_page_and_both_versions_are_tried():
    """A row of the page's table that no file exercises could say anything."""
    headers = [read((DATA / name).read_bytes()) for name in FILES]
    kinds = {basis["type"] for _, header, _ in headers for basis in header["model"]["bases"]}
    assert kinds == {"Constant", "Polynomial", "Fourier", "Exponential", "BSpline"}
    assert {version for version, _, _ in headers} == {1, 2}
    assert {header["model"]["time_axis"] for _, header, _ in headers} == {"forward", "to_failure"}


def page_map(knots, images, z):
    """h of the page: linear between knots, its outermost pieces continued."""
    piece = np.clip(np.searchsorted(knots, z) - 1, 0, len(knots) - 2)
    slopes = np.diff(images) / np.diff(knots)
    return np.asarray(images)[piece] + slopes[piece] * (z - np.asarray(knots)[piece])


def test_the_page_suffices_to_calibrate_remaining_lives():
    """A reader that follows the page would give other intervals than `RemainingLife` does."""
    saved = {"temper": 0.5, "knots": [-1.0, 0.0, 2.0], "images": [-2.5, 0.3, 2.0], "before": None, "after": None}
    grid = np.array([0.0, 10.0, 25.0, 60.0, 100.0])
    pmf = np.random.default_rng(5).dirichlet(np.ones(10), size=3).reshape(3, 5, 2)
    law = RemainingLifeDistribution(grid, pmf)
    corrected = Calibration.from_dict(saved).corrected(law)
    inner = law.edges[1:-1]
    before = np.cumsum(pmf.sum(axis=2), axis=1)[:, :-1]
    expected = norm.cdf(page_map(saved["knots"], saved["images"], norm.ppf(before)))
    np.testing.assert_allclose(corrected.cdf(inner), expected, rtol=1e-10)
    shares = corrected.pmf / corrected.pmf.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(shares, pmf / pmf.sum(axis=2, keepdims=True), rtol=1e-10)
