"""Valid files from which the targets start: the golden ones, and small ones written here."""

import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import golden_conditions
from golden_cases import CUSTOM, DATA, FORWARD, LIVES
from golden_functions import wearing
from model_cases import example_model

import cem
from cem.basis.families import Constant, Custom, basis_from_dict
from cem.mixture.parameters import Parameters
from cem.model.check_panel import log_likelihood_of_check
from cem.model.condition_parts import restored_condition_parts
from cem.model.model import FailureModeModel
from cem.statistics.coordinates import Coordinates

FUNCTIONS = {"golden_functions:wearing": wearing}
_MOST_CHECKED = 4000
CONDITIONED = golden_conditions.FILES


def model_files(folder):
    """The bytes of one file of every kind."""
    named = {
        "one.cem": one_channel(),
        "plain.cem": example_model(),
        "failure.cem": example_model(time_axis="to_failure"),
    }
    written = []
    for name, model in named.items():
        path = folder / name
        if not path.exists():
            model.save(path)
        written.append(path.read_bytes())
    golden = ("golden-1.cem", *FORWARD, CUSTOM, *LIVES, *CONDITIONED)
    return [*written, *((DATA / name).read_bytes() for name in golden)]


def life_files():
    """The bytes of files that hold laws of lifetimes."""
    return [(DATA / name).read_bytes() for name in (*LIVES, golden_conditions.LIVES)]


def one_channel():
    """One mode, one channel, one coefficient: the smallest model."""
    bases = (Constant().bind([0.0, 1.0]),)
    parameters = Parameters([1.0], [[0.5]], [[0.25]], [[0.5]], (1,))
    return FailureModeModel(
        parameters=parameters, coordinates=Coordinates([3.0], [2.0], [1.5], (1,)), bases=bases, channels=("x",)
    )


def load(path):
    """`cem.load`, with the function that the custom seed names."""
    return cem.load(path, functions=FUNCTIONS)


def check_value(parts):
    """Log-likelihood of the check panel, reading by reading, of parts that need not be sound."""
    arrays, header = parts.arrays, parts.header["model"]
    offsets, times, values = arrays["check_offsets"], arrays["check_times"], arrays["check_values"]
    if len(times) > _MOST_CHECKED or len(offsets) > _MOST_CHECKED or not 0 < len(arrays["weights"]) < 100:
        raise ValueError("too large to be checked here")
    bases = []
    for basis in header["bases"]:
        if basis["type"] == "Custom":
            bases.append(Custom(wearing).bind(basis["domain"]))
        else:
            bases.append(basis_from_dict(basis))
    sizes = tuple(basis.size for basis in bases)
    channels, conditioned = tuple(map(str, range(len(bases)))), {}
    if parts.version == 3:
        channels = tuple(header["channels"])
        names = ("conditions", "of_units", "column_kinds")
        conditioned = dict(zip(names, restored_condition_parts(header, channels, sizes), strict=True))
        if conditioned["conditions"] is not None:
            by_mode = conditioned["conditions"].by_mode
            sizes = tuple(p + len(own) for p, own in zip(sizes, by_mode, strict=True))
    model = FailureModeModel(
        parameters=Parameters(
            arrays["weights"], arrays["means"], arrays["factors"], arrays["noise_variances"], sizes,
            arrays.get("loadings"), membership=arrays.get("membership"),
        ),
        coordinates=Coordinates(arrays["centres"], arrays["scales"], arrays["transforms"], sizes),
        bases=bases,
        channels=channels,
        **conditioned,
    )  # fmt: skip
    if max(sizes) > 60 or model.linking_rank > 60:
        raise ValueError("too large to be checked here")
    if conditioned:
        with np.errstate(all="ignore"):
            return log_likelihood_of_check(model, arrays)
    unit, total = model.scorer().unit(), 0.0
    with np.errstate(all="ignore"):
        for first, last in itertools.pairwise(offsets):
            unit.reset()
            unit.update_many(times[first:last], values[first:last])
            total += unit.log_likelihood()
    return float(total)
