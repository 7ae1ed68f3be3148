"""What must hold of a file that loads: nothing silently changed, no NaN without an error, no two answers."""

import json

import numpy as np
from sealing import taken_apart
from seed_files import load

import cem
from cem.errors import CemError, OptionError
from cem.model.check_panel import check_panel

MEASURED = True
"""Whether time and memory count; the quick suite asserts neither, as it shares its machine."""

LOAD_SECONDS = 0.05
"""A file loads, or is refused, within this much processor time and a microsecond for each byte."""

LOAD_BYTES = 50_000_000
"""And within this much memory and ten times its size."""

TOLERANCE = 1e-9

loaded_from = load


def require(holds, what):
    if not holds:
        raise AssertionError(what)


def finite(what, *arrays):
    for array in arrays:
        if not np.isfinite(np.asarray(array, dtype=np.float64)).all():
            raise AssertionError(f"{what}: not finite without an error: {array}")


def require_same_parts(model, content):
    """Every number and name of the file is in the model, bit for bit."""
    parts = taken_apart(content)
    parameters, coordinates = model.internal_parameters, model.coordinates
    for name in ("weights", "means", "factors", "noise_variances", "loadings", "membership"):
        held, given = getattr(parameters, name), parts.arrays.get(name)
        require((held is None) == (given is None), f"{name} came or went")
        if held is not None:
            require(held.shape == given.shape and held.tobytes() == given.tobytes(), f"{name} changed on loading")
    for name in ("centres", "scales", "transforms"):
        require(getattr(coordinates, name).tobytes() == parts.arrays[name].tobytes(), f"{name} changed on loading")
    saved = parts.header["model"]
    require(list(model.channels) == saved["channels"], "channels changed on loading")
    require(all(type(name) is str for name in model.channels), "a channel's name is no text")
    if "conditions" in saved:
        for name in ("conditions", "of_units"):
            held = getattr(model, name)
            require((held is None) == (saved[name] is None), f"{name} came or went")
            if held is not None:
                require_same_numbers(name, held.to_dict(), saved[name])
    for name in ("response", "time_axis", "time_unit", "channel_units"):
        require(getattr(model, name) == saved[name], f"{name} changed on loading")
    require(model.time_unit is None or type(model.time_unit) is str, "the time unit is no text")
    for name, unit in model.channel_units.items():
        require(type(name) is str and type(unit) is str, "a channel's unit is no text")
    require(len(model.mode_labels) == len(saved["mode_labels"]), "mode labels came or went")
    for basis, given in zip(model.bases, saved["bases"], strict=True):
        held = basis.to_dict()
        if "size" not in given["options"] and given["type"] != "Custom":
            for name in ("domain", "learned"):  # whole numbers of any size are as good as floats
                require(list(held[name]) == list(map(float, given[name])), f"{name} changed on loading")
            options = dict(given["options"])
            if isinstance(options.get("time_constants"), (int, float)):  # a single one may stand for itself
                options["time_constants"] = [options["time_constants"]]
            for name in ("period", "reference", "time_constants"):
                if isinstance(options.get(name), list):
                    options[name] = list(map(float, options[name]))
                elif isinstance(options.get(name), int):
                    options[name] = float(options[name])
            require(held["options"] == options, f"options {options} changed on loading")


def require_same_numbers(where, held, given):
    """The same structure and numbers; whole numbers are as good as floats."""
    if isinstance(held, dict):
        for name in held:
            require_same_numbers(f"{where}.{name}", held[name], given[name])
    elif isinstance(held, list):
        require(len(held) == len(given), f"{where} changed on loading")
        for one, other in zip(held, given, strict=True):
            require_same_numbers(where, one, other)
    else:
        require(held == given, f"{where} changed on loading: {given!r} became {held!r}")


def use(model, folder):
    """Everything that a user does with a model; CemErrors are let through, all else is a failure."""
    str(model.summary()).encode()
    repr(model).encode()
    forward = model
    if model.time_axis == "to_failure":
        forward = type(model)(**{**model._arguments(), "time_axis": "forward"})
    resaved(model, folder)
    if model.conditions is not None or model.of_units is not None:
        under_conditions(forward, folder / "fuzzed.cem")
        return
    panel = small_panel(forward)
    probabilities, log_likelihoods = forward.predict_proba(panel), forward.score_samples(panel)
    finite("predict_proba", probabilities)
    finite("score_samples", log_likelihoods)
    stream(forward, panel, probabilities, log_likelihoods)
    channel = forward.channels[-1]
    forecast = forward.forecast(panel, [float(panel.times[0]), float(panel.times[-1])], channel)
    finite("forecast", forecast.mean, forecast.variance)
    require((np.asarray(forecast.variance) >= 0).all(), "a forecast's variance is negative")
    novelty = forward.novelty(panel)
    require(((novelty >= 0) & (novelty <= 1)).all(), f"novelty is {novelty}")
    finite("user's parameters", forward.user_parameters().marginal().factors)
    finite("curves", forward.curves(forward.domain))
    if model.time_axis == "to_failure" and "lifetimes" in model.training:
        remaining_life(cem.RemainingLife(model, n_points=40))


def under_conditions(model, path):
    """Scores of the file's own check panel, whose readings have covariates."""
    panel = check_panel(model, taken_apart(path.read_bytes()).arrays)
    probabilities = model.predict_proba(panel)
    finite("predict_proba", probabilities)
    require(np.abs(probabilities.sum(axis=1) - 1).max() <= TOLERANCE, "mode probabilities do not sum to 1")
    finite("score_samples", model.score_samples(panel))
    novelty = model.novelty(panel)
    require(((novelty >= 0) & (novelty <= 1)).all(), f"novelty is {novelty}")
    finite("user's parameters", model.user_parameters().marginal().factors)
    require((np.nan_to_num(model.noise_variances_) >= 0).all(), "a noise variance is negative")


def small_panel(model):
    """Three units of one to four readings drawn from the model, a cell missing."""
    low, high = model.domain
    times = [np.linspace(low, high, n) for n in (4, 2, 1)]
    panel = model.sample(3, times, random_state=0)
    finite("sample", panel.values)
    values = panel.values.copy()
    values[1, -1] = np.nan
    return cem.Panel(
        list(panel.units), panel.offsets, panel.times, values, panel.channels, allow_empty_channels=True,
    )  # fmt: skip


def stream(model, panel, probabilities, log_likelihoods):
    """Reading by reading a unit is what it is in batch; its bytes come back."""
    scorer = model.scorer()
    for l in range(panel.n_units):
        unit = scorer.unit()
        for i in range(int(panel.offsets[l]), int(panel.offsets[l + 1])):
            unit.update(float(panel.times[i]), panel.values[i])
        log_likelihood, shares = unit.log_likelihood(), unit.mode_probabilities()
        finite("a unit", log_likelihood, shares)
        apart = max(abs(log_likelihood - log_likelihoods[l]), np.abs(shares - probabilities[l]).max())
        # Densities of the modes are kept as differences, so the least probable mode decides how many digits they have.
        slack = TOLERANCE * max(1.0, abs(log_likelihoods[l])) + 1e-14 * np.abs(unit._log_densities()[0]).max()
        require(
            apart <= slack or apart <= slack + 1000 * sensitivity(model, panel[[l]]),
            f"log-likelihood {log_likelihood!r} reading by reading, {log_likelihoods[l]!r} in batch; "
            f"probabilities {shares} and {probabilities[l]}",
        )
    require(0.0 <= unit.novelty() <= 1.0, f"a unit's novelty is {unit.novelty()}")
    forecast = unit.forecast([float(panel.times[-1])], model.channels[0])
    finite("a unit's forecast", forecast.mean, forecast.variance)
    again = type(unit).from_bytes(scorer, unit.to_bytes())
    require(np.array_equal(again.mode_probabilities(), shares), "a unit's bytes give another unit")


def sensitivity(model, panel):
    """How far rounding of what is given may move the answers for one unit: no way of computing them does better.

    Numbers of the model and of the panel are moved by some units in the last place, each by its own amount: of equal
    moves those of a reading and of its curve would cancel each other as often as not. Where both are 1e24, the last
    place of the reading is worth 1e8, and decides whether the log-likelihood is -6 or -1e17. The way that moves less
    counts, so that one which is unstable does not excuse itself. Both ways form I + BᵀB of model.md (10), B = R Λ / σ,
    whose 1 has the fewer digits the larger B is.
    """
    rng = np.random.default_rng(0)

    def moved(array):
        return array * (1.0 + np.finfo(np.float64).eps * rng.uniform(-8.0, 8.0, np.shape(array)))

    def both(model, panel):
        unit = model.scorer().unit()
        unit.update_many(panel.times, panel.values)
        return np.array([model.score_samples(panel)[0], unit.log_likelihood()])

    parameters, coordinates, here = model.internal_parameters, model.coordinates, both(model, panel)
    apart = []
    for _ in range(4):
        arguments = {
            **model._arguments(),
            "parameters": type(parameters)(
                parameters.weights, moved(parameters.means), moved(parameters.factors),
                moved(parameters.noise_variances), parameters.sizes,
                None if parameters.loadings is None else moved(parameters.loadings),
            ),
            "coordinates": type(coordinates)(
                moved(coordinates.centres), moved(coordinates.scales), moved(coordinates.transforms), coordinates.sizes
            ),
        }  # fmt: skip
        beside = panel._replace(times=np.sort(moved(panel.times)), values=moved(panel.values))
        apart.append(np.abs(both(type(model)(**arguments), beside) - here))
    unit = model.scorer().unit()
    unit.update_many(panel.times, panel.values)
    signal = 0.0
    for c in range(model.n_channels):
        B = unit._channel_statistics(c)[0] @ parameters.layout.matrix(parameters.factors, c)
        signal = max(signal, (np.square(B).sum(axis=(1, 2)) / parameters.noise_variances[:, c]).max())
    # Where a mode's noise is far below the rounding of the readings, it is chance whether they are on its curve: either
    # way, and on either side of a move.
    rounding = np.finfo(np.float64).eps * np.nanmax(np.abs(panel.values), axis=0) / coordinates.scales
    beyond = float((np.square(rounding) / parameters.noise_variances).max())
    return float(np.max(apart, axis=0).min() + np.finfo(np.float64).eps * signal + beyond)


def resaved(model, folder):
    """Saved and loaded once more it is the same model."""
    path = folder / "again.cem"
    model.save(path)
    again = load(path)
    for name in ("weights", "means", "factors", "noise_variances", "loadings", "membership"):
        held, found = getattr(model.internal_parameters, name), getattr(again.internal_parameters, name)
        require((held is None) == (found is None), f"{name} came or went on saving")
        require(held is None or held.tobytes() == found.tobytes(), f"{name} changed on saving")
    for name in ("centres", "scales", "transforms"):
        held, found = getattr(model.coordinates, name), getattr(again.coordinates, name)
        require(held.tobytes() == found.tobytes(), f"{name} changed on saving")
    for name in (
        "bases", "channels", "response", "channel_units", "time_axis", "time_unit", "conditions", "of_units",
        "column_kinds",
    ):  # fmt: skip
        require(getattr(model, name) == getattr(again, name), f"{name} changed on saving")
    require(repr(model.mode_labels) == repr(again.mode_labels), "mode labels changed on saving")
    records = (json.dumps(held.training, sort_keys=True) for held in (model, again))
    require(len(set(records)) == 1, "the record of the fit changed on saving")


def remaining_life(prognosis):
    """Laws of three running units, and of one that is read value by value."""
    model = prognosis.model
    medians = prognosis.lifetimes.quantile(0.5)
    finite("median life", medians)
    ages = [0.7 * float(medians.max()), float(medians.min()), 0.1]
    rng = np.random.default_rng(0)
    times = [np.linspace(0.3 * age, age, 3) for age in ages]
    curves = [float(x) for x in model.curves([model.domain[0]])[0, :, 0]]
    values = [np.array(curves) + 0.01 * rng.normal(size=(3, model.n_channels)) for _ in ages]
    covariates = {}
    for part in (model.conditions, model.of_units):
        for column in () if part is None else part.columns:
            value = 0.5 * (column.low + column.high) if column.levels is None else column.levels[0]
            own = covariates.setdefault("unit_covariates" if column.of_unit else "covariates", {})
            own[column.name] = [value] * 3 if column.of_unit else [np.array([value] * 3, dtype=object)] * 3
    panel = cem.Panel.from_arrays(times, values, channels=model.channels, allow_empty_channels=True, **covariates)
    law = prognosis.predict(panel)
    require((law.pmf >= 0).all(), "a law has a negative mass")
    finite("remaining life", law.pmf, law.median(), *law.interval(0.9), law.mode_probabilities)
    require(np.abs(law.pmf.sum(axis=(1, 2)) - 1).max() <= TOLERANCE, "a law's masses do not sum to 1")
    repr(prognosis).encode()
    try:
        unit = prognosis.unit()
    except (OptionError, CemError):
        return
    for t, x in zip(times[0], values[0], strict=True):
        unit.update(float(t), x)
    running = unit.distribution()
    finite("a running unit's law", running.pmf, running.median(), running.mode_probabilities)
