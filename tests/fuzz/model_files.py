"""Fuzz target: model files, damaged and put together again so that lengths, digest and check value agree."""

import contextlib
import copy
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import checks
from checks import LOAD_BYTES, LOAD_SECONDS, loaded_from, require_same_parts, use
from oddities import SPECIAL, Marks, change_array, change_tree, near, odd
from sealing import Parts, sealed, taken_apart, with_digest
from seed_files import model_files

from cem.errors import CemError, ModelFileError

NAME = "model_files"

__all__ = ["NAME", "execute", "generate", "seeds"]


def seeds(folder):
    """Valid files of every kind: (bytes, parts) each."""
    return [(content, taken_apart(content)) for content in model_files(Path(folder))]


def generate(rng, seeds):
    """(family of the change, bytes)."""
    content, parts = rng.choice(seeds)
    family = rng.choices(("bytes", "header", "arrays", "consistent", "both"), (12, 30, 20, 28, 10))[0]
    if family == "bytes":
        return family, change_bytes(rng, content, rng.choice(seeds)[0])
    parts = Parts(parts.version, copy.deepcopy(parts.header), dict(parts.arrays))
    marks = Marks(parts.raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice(("header", "arrays", "consistent")) if family == "both" else family
        {"header": change_header, "arrays": change_arrays, "consistent": change_model}[kind](rng, marks, parts)
    if family in ("consistent", "both") or rng.random() < 0.4:
        with_own_check_value(parts)
    return family, sealed(parts)


def change_bytes(rng, content, other):
    """Flips, cuts and joins; half of them with a digest that agrees."""
    change = rng.randrange(6)
    data = bytearray(content)
    if change < 2:
        for _ in range(rng.choice((1, 1, 3, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif change == 2:
        data = data[: rng.randrange(len(data) + 1)]
    elif change == 3:
        at = rng.randrange(len(data))
        data[at : at + rng.choice((1, 8, 64))] = bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 8, 64))))
    elif change == 4:
        data = data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    else:
        data[8 + rng.randrange(12)] = rng.randrange(256)
    return with_digest(bytes(data[:-32])) if rng.random() < 0.5 else bytes(data)


def change_header(rng, marks, parts):
    """One place of the header; or one of the entries that say where arrays are."""
    header, chance = parts.header, rng.random()
    if not isinstance(header, dict):
        return
    if chance < 0.12 and parts.arrays:
        name = rng.choice(list(parts.arrays))
        entry = {"dtype": "f8", "shape": list(parts.arrays[name].shape), "offset": 8, "name": name}
        key = rng.choice(list(entry))
        value = near(rng, marks, entry[key]) if rng.random() < 0.5 else odd(rng, marks)
        parts.entries[name] = {**parts.entries.get(name, {}), key: value}
        return
    if chance < 0.2:
        change_tree(rng, marks, header)
        return
    model = header.get("model")
    if not isinstance(model, dict) or not model:
        parts.header = odd(rng, marks)
        return
    section = rng.choice(list(model))
    if chance < 0.35:
        model[section] = rng.choice((near(rng, marks, model[section]), odd(rng, marks)))
    elif chance < 0.6 and isinstance(model.get("bases"), list) and model["bases"]:
        change_tree(rng, marks, rng.choice(model["bases"]))
    elif chance < 0.8:
        change_tree(rng, marks, model.get("training"))
    else:
        change_tree(rng, marks, model[section])


def change_arrays(rng, marks, parts):
    """One array: its numbers, its shape, its name, or its place."""
    if not parts.arrays:
        return
    name = rng.choice(list(parts.arrays))
    chance = rng.random()
    if chance < 0.85:
        parts.arrays[name] = change_array(rng, parts.arrays[name])
    elif chance < 0.89:
        del parts.arrays[name]
    elif chance < 0.93:
        parts.arrays[rng.choice(("extra", "loadings", name + "s", "check_values"))] = parts.arrays.pop(name)
    elif chance < 0.96:
        items = list(parts.arrays.items())
        rng.shuffle(items)
        parts.arrays = dict(items)
    else:
        parts.arrays[name] = parts.arrays[name].astype("i8" if parts.arrays[name].dtype.kind == "f" else "f8")


# -- changes that leave a file that fits together ---------------------------------------------------------------------


def change_model(rng, marks, parts):
    """A change to all parts that depend on each other: modes, channels, ranks, domains, check panels, extremes."""
    with contextlib.suppress(
        KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError
    ):  # damaged before
        rng.choice(_MODEL_CHANGES)(rng, parts)


def _modes(rng, parts):
    """Modes left out, repeated, or in another order."""
    K = len(parts.arrays["weights"])
    kept = [rng.randrange(K) for _ in range(rng.choice((1, 2, K, K, 30)))]
    for name in ("weights", "means", "factors", "noise_variances", "loadings", "membership"):
        if name in parts.arrays:
            parts.arrays[name] = parts.arrays[name][kept]
    parts.arrays["weights"] = parts.arrays["weights"] / parts.arrays["weights"].sum()
    parts.header["model"]["mode_labels"] = list(range(len(kept)))
    parts.header["model"]["training"] = {}


def _weights(rng, parts):
    weights = parts.arrays["weights"].copy()
    K = len(weights)
    weights = rng.choice((
        np.eye(K)[rng.randrange(K)], np.full(K, 1.0 / K), weights * (1 + 1e-10), weights * 2,
        np.where(np.arange(K) == 0, 1.0, rng.choice((5e-324, 1e-300, -1e-12))),
    ))  # fmt: skip
    parts.arrays["weights"] = weights


def _extreme(rng, parts):
    """One quantity of one channel at an extreme, in all modes or one."""
    name = rng.choice(("scales", "noise_variances", "factors", "transforms", "centres", "means", "loadings"))
    array = parts.arrays[name].copy()
    columns = slice(None) if rng.random() < 0.5 else rng.randrange(array.shape[-1])
    rows = slice(None) if array.ndim < 2 or rng.random() < 0.5 else rng.randrange(len(array))
    at = (columns,) if array.ndim < 2 else (rows, ..., columns)
    if rng.random() < 0.7:
        array[at] *= 10.0 ** rng.uniform(-40, 40)
    else:
        array[at] = array[at] * rng.choice(SPECIAL)
    parts.arrays[name] = array


def _sizes(parts):
    total = {
        "Constant": lambda options: 1,
        "Polynomial": lambda options: options["degree"] + 1,
        "Fourier": lambda options: 2 * options["n_harmonics"] + 1,
        "Exponential": lambda options: 1 + len(options["time_constants"]),
        "BSpline": lambda options: options["n_basis"],
        "Custom": lambda options: 2,
    }
    model = parts.header["model"]
    sizes = [total[basis["type"]](basis["options"]) for basis in model["bases"]]
    if model.get("conditions") is None:
        return sizes
    return [p + len(own) for p, own in zip(sizes, model["conditions"]["by_mode"], strict=True)]


def _triangle(rng, parts):
    """A matrix that is no longer triangular, or whose diagonal is not positive, or nearly singular."""
    name = rng.choice(("factors", "transforms"))
    sizes, array = _sizes(parts), np.atleast_2d(parts.arrays[name]).copy()
    c = rng.randrange(len(sizes))
    p, start = sizes[c], sum(q * q for q in sizes[:c])
    matrix = array[rng.randrange(len(array)), start : start + p * p].reshape(p, p)
    i, j = rng.randrange(p), rng.randrange(p)
    change = rng.randrange(4)
    if change == 0:
        matrix[i, j] = rng.choice((*SPECIAL, -matrix[i, j], 1.5, 1e-14))
    elif change == 1:
        matrix[i, i] *= rng.choice((-1.0, 0.0, 1e-12, 1e-16, 1e12, 1e-100))
    elif change == 2:
        matrix[:] = matrix.T.copy()
    else:
        matrix[i, j] += rng.choice((1e6, 1e-6, 1e12, -3.0))
    parts.arrays[name] = array.reshape(parts.arrays[name].shape)


def _channels(rng, parts):
    """Channels left out or in another order."""
    sizes, model = _sizes(parts), parts.header["model"]
    C = len(sizes)
    kept = rng.sample(range(C), rng.randrange(1, C + 1))
    vectors, squares = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]), np.cumsum(np.square(sizes))
    squares = np.split(np.arange(squares[-1]), squares[:-1])
    P, Q = np.concatenate([vectors[c] for c in kept]), np.concatenate([squares[c] for c in kept])
    arrays = parts.arrays
    arrays["means"], arrays["factors"] = arrays["means"][:, P], arrays["factors"][:, Q]
    arrays["noise_variances"], arrays["scales"] = arrays["noise_variances"][:, kept], arrays["scales"][kept]
    arrays["centres"], arrays["transforms"] = arrays["centres"][P], arrays["transforms"][Q]
    arrays["check_values"] = arrays["check_values"][:, kept]
    if "loadings" in arrays:
        arrays["loadings"] = arrays["loadings"][:, P]
    names = [model["channels"][c] for c in kept]
    model.update(channels=names, bases=[model["bases"][c] for c in kept], response=None, channel_units={})
    model["training"].pop("information", None)


def _rank(rng, parts):
    """More shared factors, or factors where there were none, or none where there were."""
    K, P = parts.arrays["means"].shape
    r = rng.choice((1, 2, 3, P, P + 5, 60))
    if rng.random() < 0.2:
        parts.arrays.pop("loadings", None)
        parts.version = min(parts.version, 1) if parts.version < 3 else 3
    else:
        values = [rng.choice((0.0, rng.gauss(0, 0.3))) for _ in range(K * P * r)]
        parts.arrays["loadings"] = np.array(values).reshape(K, P, r)
        parts.version = max(parts.version, 2)
    parts.header["model"]["training"] = {}


def _domain(rng, parts):
    """A basis on another domain."""
    basis = rng.choice(parts.header["model"]["bases"])
    low, high = basis["domain"]
    basis["domain"] = rng.choice((
        [low, low], [high, low], [low, high + 1e-9], [low - 1e6, high], [-1e300, 1e300], [low, 1e300], [0.0, 5e-324],
        [low, high * 3], [1e15, 1e15 + 1],
    ))  # fmt: skip


def _check_panel(rng, parts):
    """Another check panel: short, long, empty, far away."""
    arrays = parts.arrays
    C, change = arrays["check_values"].shape[1], rng.randrange(8)
    if change == 0:
        units, times = 1, np.array([float(arrays["check_times"][0])])
    elif change == 1:
        units, times = 0, np.zeros(0)
    elif change == 2:
        units, times = 300, np.resize(arrays["check_times"], 300)
    elif change == 3:
        units, times = 2000, np.resize(arrays["check_times"], 2000)
    elif change == 4:
        arrays["check_values"] = np.full_like(arrays["check_values"], np.nan)
        return
    elif change == 5:
        arrays["check_times"] = arrays["check_times"] * rng.choice((3.0, -1.0, 1e6, 1e100))
        return
    elif change == 6:
        arrays["check_values"] = arrays["check_values"] * rng.choice((0.0, 1e6, 1e29, 1e200))
        return
    else:
        arrays["check_offsets"] = np.repeat(arrays["check_offsets"], 2)[1:]  # units without readings
        return
    arrays["check_times"], arrays["check_offsets"] = times, np.linspace(0, len(times), units + 1).astype("i8")
    arrays["check_values"] = np.resize(arrays["check_values"], (len(times), C))


def _axis(rng, parts):
    model = parts.header["model"]
    model["time_axis"] = "forward" if model["time_axis"] == "to_failure" else "to_failure"


def _labels(rng, parts):
    K, marks = len(parts.arrays["weights"]), Marks(parts.raw)
    parts.header["model"]["mode_labels"] = [
        rng.choice((k, str(k), k + 0.5, {"tuple": [k, {"tuple": []}]}, None, True, {"float": "nan"}, odd(rng, marks)))
        for k in range(K)
    ]


def _conditions(rng, parts):
    """Numbers of conditions at an extreme, other positions, levels or names, or a part that is gone."""
    model, arrays, marks = parts.header["model"], parts.arrays, Marks(parts.raw)
    part = model[rng.choice(("conditions", "conditions", "of_units"))]
    change = rng.randrange(8)
    if change == 0:
        model[rng.choice(("conditions", "of_units", "column_kinds"))] = None
    elif change == 1:
        change_tree(rng, marks, part)
    elif change == 2:
        name = rng.choice(("offsets", "scales", "coefficients"))
        row = rng.choice([row for row in part[name] if row])
        at = rng.randrange(len(row))
        row[at] = row[at] * 10.0 ** rng.uniform(-40, 40) if rng.random() < 0.7 else rng.choice(SPECIAL[:20])
    elif change == 3:
        feature = rng.choice(part["features"])
        at = rng.randrange(len(feature["numbers"]))
        feature["numbers"][at] *= rng.choice((-1.0, 0.0, 2.0, 1e-30, 1e30, 1e150))
    elif change == 4:
        name = rng.choice(("membership", "check_covariates", "check_unit_covariates"))
        arrays[name] = arrays[name] * rng.choice((0.0, -1.0, 3.0, 1e6, 1e150))
    elif change == 5:
        kinds = rng.choice(model["column_kinds"] or [[0]])
        kinds[rng.randrange(len(kinds))] = rng.choice(("random", "by mode", "common"))
    elif change == 6:
        column = rng.choice(part["columns"])
        column.update(name=rng.choice(("load", "speed", "a", "site", "x\x1b")), of_unit=rng.random() < 0.5)
    elif part["regimes"] is not None:
        key = rng.choice(list(part["regimes"]))
        part["regimes"][key] = near(rng, marks, part["regimes"][key])


def _nothing(rng, parts):
    """The file as it is."""


_MODEL_CHANGES = (
    _modes, _weights, _extreme, _extreme, _extreme, _triangle, _triangle, _channels, _rank, _domain, _check_panel,
    _axis, _labels, _nothing, _conditions, _conditions, _conditions,
)  # fmt: skip


def with_own_check_value(parts):
    """The check value that the changed parts have, where they have one: the file then agrees with itself."""
    from seed_files import check_value

    try:
        value = check_value(parts)
    except Exception:  # parts that make no model have no check value
        return
    if np.isfinite(value) and isinstance(parts.header, dict):
        parts.header["check"] = {"log_likelihood": value}


def execute(item, folder):
    """Load the file; where it loads, everything that a user does with a model, and no two parts may disagree."""
    family, content = item
    path = Path(folder) / "fuzzed.cem"
    path.write_bytes(content)
    model, highest = None, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):  # another process may have been in the way
        start = time.process_time()
        with contextlib.suppress(ModelFileError):
            model = loaded_from(path)
        spent = time.process_time() - start
        if spent <= LOAD_SECONDS + 1e-6 * len(content) or not checks.MEASURED:
            break
    else:
        raise AssertionError(f"{len(content)} bytes took {spent:.3f} s of processor time, three times")
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - highest)
    if grown > LOAD_BYTES + 10 * len(content) and checks.MEASURED:
        raise AssertionError(f"{len(content)} bytes took {grown / 1e6:.0f} MB of memory")
    if model is None:
        return f"refused: {family}"
    require_same_parts(model, content)
    try:
        use(model, Path(folder))
    except CemError as error:
        return f"loaded: {family}, then {type(error).__name__}"
    return f"loaded: {family}"
