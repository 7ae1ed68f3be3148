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
    assert version in (1, 2, 3, 4, 5) and (20 + length) % 8 == 0
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


def features(part, w):
    """Features (n, F) of rows of covariates (n, m)."""
    found = []
    for feature in part["features"]:
        own, numbers = w[:, feature["column"]], feature["numbers"]
        if feature["kind"] == "level":
            found.append((own == numbers[0]) * 1.0)
            continue
        z, c = (own - numbers[0]) * numbers[1], numbers[2]
        if feature["kind"] == "power":
            found.append(z ** numbers[3] - c)
            continue
        assert feature["kind"] == "spline"
        x1, x2, x3, a, b, e = numbers[3:]
        inside = np.minimum(z, x3)
        cubes = a * np.maximum(inside - x1, 0) ** 3 - b * np.maximum(inside - x2, 0) ** 3
        found.append(cubes + e * np.maximum(z - x3, 0) - c)
    return np.stack(found, axis=1) if found else np.zeros((len(w), 0))


def regimes_of(regimes, w):
    """The regime of each row of covariates, all of which are known."""
    w = w[:, regimes["columns"]]
    if regimes["kind"] == "levels":
        return w[:, 0].astype(int)
    if regimes["kind"] == "cuts":
        return np.searchsorted(regimes["cuts"], w[:, 0], side="right")
    v = (w - regimes["origin"]) / regimes["spread"]
    return np.square(v[:, None] - np.array(regimes["places"])).sum(axis=2).argmin(axis=1)


def columns(entries, f, phi):
    """Columns (n, q) of a channel from features (n, F) and its basis (n, p)."""
    found = [f[:, i] * (1.0 if j < 0 else phi[:, j]) for i, j in entries]
    return np.stack(found, axis=1) if found else np.zeros((len(phi), 0))


def read_under_conditions(header, arrays):
    """x′ of the check panel, ln |dx′/dx| of its readings, and each channel's columns behind its basis."""
    conditions, x, t = header["model"].get("conditions"), arrays["check_values"], arrays["check_times"]
    if conditions is None:
        return x, np.zeros_like(x), [np.zeros((len(x), 0))] * x.shape[1]
    w = arrays["check_covariates"]
    f, phi = features(conditions, w), [basis_functions(basis, t) for basis in header["model"]["bases"]]
    logs = np.zeros_like(x)
    if conditions["regimes"] is not None:
        g = regimes_of(conditions["regimes"], w)
        scales = np.array(conditions["scales"])[g]
        x, logs = (x - np.array(conditions["offsets"])[g]) / scales, -np.log(scales)
    common = zip(conditions["common"], conditions["coefficients"], phi, strict=True)
    x = x - np.stack([columns(entries, f, own) @ np.array(beta) for entries, beta, own in common], axis=1)
    return x, logs, [columns(entries, f, own) for entries, own in zip(conditions["by_mode"], phi, strict=True)]


def log_weights(header, arrays):
    """ln π_k(u) of the units of the check panel, (U, K)."""
    of_units = header["model"].get("of_units")
    n_units = len(arrays["check_offsets"]) - 1
    if of_units is None:
        return np.tile(np.log(arrays["weights"]), (n_units, 1))
    f = features(of_units, arrays["check_unit_covariates"])
    scores = np.concatenate([np.ones((n_units, 1)), f], axis=1) @ arrays["membership"].T
    return scores - np.logaddexp.reduce(scores, axis=1)[:, None]


def with_components(header, arrays):
    """Components in place of modes, and ln of their probabilities for each unit of the check panel."""
    found = {**arrays, "log_weights": log_weights(header, arrays)}
    if "uncertainty" not in header["model"]:
        return found
    starts, w = arrays["component_starts"], arrays["component_weights"]
    modes = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    totals = np.array([w[modes == k].sum() for k in range(len(starts) - 1)])
    prior = np.tile(np.log(totals), (len(found["log_weights"]), 1))
    if header["model"]["of_units"] is not None:
        prior = found["log_weights"]
    own = {name.removeprefix("component_"): array for name, array in arrays.items() if name.startswith("component_")}
    return {**found, **own, "log_weights": prior[:, modes] + np.log(w / totals[modes])}


def wander(process, t):
    """K of the page at times t, those of one unit's readings of a channel; (n, n)."""
    if process is None:
        return np.zeros((len(t), len(t)))
    ratio, age = process["ratio"], t - t[0] if len(t) else t
    low, high = np.minimum.outer(age, age), np.maximum.outer(age, age)
    if process["kind"] == "wiener":
        return ratio * low
    if process["kind"] == "integrated":
        return ratio * low**2 * (3 * high - low) / 6
    assert process["kind"] == "ou"
    return ratio / (2 * process["rate"]) * np.exp(-process["rate"] * (high - low))


def log_likelihood(header, arrays):
    """Σ_u log Σ_k π_k P(x_u | k) of the check panel, from the covariance of all readings of a unit."""
    bases = header["model"]["bases"]
    arrays = with_components(header, arrays)
    mapped, log_jacobian, behind = read_under_conditions(header, arrays)
    widths = [own.shape[1] for own in behind]
    sizes = [basis_functions(basis, np.zeros(1)).shape[1] + q for basis, q in zip(bases, widths, strict=True)]
    prior = arrays["log_weights"]
    rows, squares = np.cumsum([0, *sizes]), np.cumsum([0, *np.square(sizes)])
    total = 0.0
    for u, (first, last) in enumerate(zip(arrays["check_offsets"][:-1], arrays["check_offsets"][1:], strict=True)):
        t, x = arrays["check_times"][first:last], mapped[first:last]
        seen = ~np.isnan(x)
        logs = prior[u].copy()
        for k in range(len(logs)):
            means, own, shared, noise = [], [], [], []
            for c, (basis, p) in enumerate(zip(bases, sizes, strict=True)):
                row, square = slice(*rows[c : c + 2]), slice(*squares[c : c + 2])
                S, s = arrays["transforms"][square].reshape(p, p), arrays["scales"][c]
                L = arrays["factors"][k, square].reshape(p, p)
                own_rows = np.arange(first, last)[seen[:, c]]
                phi = np.concatenate([basis_functions(basis, t[seen[:, c]]), behind[c][own_rows]], axis=1)
                means.append(phi @ (arrays["centres"][row] + s * np.linalg.solve(S, arrays["means"][k, row])))
                root = s * phi @ np.linalg.solve(S, L)
                process = header["model"].get("processes", [None] * len(bases))[c]
                K = s**2 * arrays["noise_variances"][k, c] * wander(process, t[seen[:, c]])
                own.append(root @ root.T + K)
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
        total += np.logaddexp.reduce(logs) + log_jacobian[first:last][seen].sum()
    return total


@pytest.mark.parametrize("name", FILES)
def test_the_page_suffices_to_read_a_model(name):
    """A reader in another language, written from the page, would compute something else than cem."""
    version, header, arrays = read((DATA / name).read_bytes())
    expected = 4 if "uncertainty" in header["model"] else 3 if "conditions" in header["model"] else None
    expected = 5 if "processes" in header["model"] else expected
    assert version == (expected or (2 if "loadings" in arrays else 1))
    if header["model"]["time_axis"] == "to_failure":
        assert arrays["check_times"].max() <= 0
    assert log_likelihood(header, arrays) == pytest.approx(header["check"]["log_likelihood"], rel=1e-9)


def test_every_basis_of_the_page_and_all_versions_are_tried():
    """A row of the page's table that no file exercises could say anything."""
    headers = [read((DATA / name).read_bytes()) for name in FILES]
    kinds = {basis["type"] for _, header, _ in headers for basis in header["model"]["bases"]}
    assert kinds == {"Constant", "Polynomial", "Fourier", "Exponential", "BSpline"}
    assert {version for version, _, _ in headers} == {1, 2, 3, 4, 5}
    models = [header["model"] for version, header, _ in headers if version == 3]
    conditions = [model["conditions"] for model in models if model["conditions"] is not None]
    assert {feature["kind"] for part in conditions for feature in part["features"]} == {"power", "spline", "level"}
    assert {part["regimes"]["kind"] for part in conditions if part["regimes"]} == {"centres", "cuts", "levels"}
    assert any(model["of_units"] for model in models) and any(model["column_kinds"] for model in models)
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
    np.testing.assert_allclose(corrected.cdf(inner), expected, atol=1e-5)
    shares = corrected.pmf / corrected.pmf.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(shares, pmf / pmf.sum(axis=2, keepdims=True), rtol=1e-10)
