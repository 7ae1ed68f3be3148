"""Basic checks of an installed wheel; run by .ci/run away from the sources.

Not collected by pytest: it tests the `cem` that the running interpreter has installed.
"""

import importlib
import json
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np

import cem

MODEL = Path(__file__).parents[1] / "data" / "golden-1.cem"


def score() -> str:
    """A loaded model recognises machines that follow its modes' curves, reading by reading and in batch."""
    model = cem.load(MODEL)
    times = np.linspace(*model.bases[0].domain, 9)
    curves = np.ascontiguousarray(model.curves(times).swapaxes(1, 2))  # modes x times x channels
    panel = cem.Panel.from_arrays([times] * model.n_modes, list(curves), channels=model.channels)
    expected = list(model.mode_labels)
    if list(model.predict(panel)) != expected:
        raise SystemExit(f"machines of the modes {expected} are taken for {list(model.predict(panel))}")
    probabilities, log_likelihoods = model.predict_proba(panel), model.score_samples(panel)
    forecast = model.forecast(panel, times[-1:])
    finite = (model.novelty(panel), log_likelihoods, forecast.mean, forecast.variance)
    if not all(np.isfinite(values).all() for values in finite):
        raise SystemExit("a novelty, a log-likelihood or a forecast is not finite")
    scorer = model.scorer()
    for values, row, log_likelihood in zip(curves, probabilities, log_likelihoods, strict=True):
        unit = scorer.unit()
        for t, x in zip(times, values, strict=True):
            unit.update(t, x)
        streamed = unit.mode_probabilities()
        if not np.allclose(streamed, row, rtol=0, atol=1e-12):
            raise SystemExit(f"streamed probabilities are {streamed}, those of the batch {row}")
        if not np.isclose(unit.log_likelihood(), log_likelihood, rtol=1e-9) or not np.isfinite(unit.novelty()):
            raise SystemExit(f"the streamed log-likelihood is {unit.log_likelihood()}, in batch {log_likelihood}")
    return f"{MODEL.name} scores {len(expected)} machines"


def main() -> None:
    package = Path(cem.__file__).parent
    if "site-packages" not in package.parts:
        raise SystemExit(f"cem is imported from {package}, not from an installed wheel")
    if version("cem-failure-modes") != cem.__version__:
        raise SystemExit(f"metadata says {version('cem-failure-modes')}, the package {cem.__version__}")
    modules = sorted(
        ".".join((*path.relative_to(package).parent.parts, path.name.split(".")[0])) for path in package.rglob("*.so")
    )
    for module in modules:
        importlib.import_module(f"cem.{module}")
    for name in cem.__all__:
        getattr(cem, name)
    if distribution("cem-failure-modes").read_text("provenance.json") is None:
        raise SystemExit("the wheel does not say what it was made from")
    scored = score()
    # The command that a user types, not `python -m cem`: the wheel's entry point is part of it.
    command = Path(sys.executable).parent / "cem"
    done = subprocess.run([command, "demo", "--json"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"cem demo failed: {done.stderr}")
    document = json.loads(done.stdout)
    agreement = document["truth"]["adjusted_rand_index"]
    if not agreement >= 0.95:
        raise SystemExit(f"the demo's modes agree with the truth to {agreement:.3f} only")
    print(f"cem {cem.__version__}: {', '.join(modules)} import; {scored}; the demo agrees to {agreement:.3f}")


if __name__ == "__main__":
    main()
