"""Made-up models without covariates for the exported C header, their readings, and the C program that scores these."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from cem.basis.families import BSpline, Constant, Exponential, Fourier, Polynomial
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Coordinates, Layout

DOMAIN = (0.0, 200.0)


# ----------------------------------------------------------------------------------------------------- models to export


def make_model(specs, n_modes, *, level=9062.0, apart=0.3, seed=0, spoil=()):
    """A fleet around `level` with noise of about 0.5, its modes `apart` standard deviations from one another.

    Channels in `spoil` have an orthonormalisation of their own, as when they were missing at other times.
    """
    rng = np.random.default_rng(seed)
    times = np.linspace(*DOMAIN, 401)
    bases = tuple(spec.bind(times) for spec in specs)
    sizes = tuple(basis.size for basis in bases)
    layout, n_channels = Layout(sizes), len(sizes)
    size, square = int(layout.mean_offsets[-1]), int(layout.factor_offsets[-1])
    centres, transforms, scales = np.zeros(size), np.zeros(square), rng.uniform(1.0, 3.0, n_channels)
    means, factors = np.zeros((n_modes, size)), np.zeros((n_modes, square))
    for c, basis in enumerate(bases):
        design, p = basis(times), basis.size
        curve = level + 0.01 * times
        layout.vector(centres, c)[:] = np.linalg.lstsq(design, curve, rcond=None)[0]
        triangle = np.linalg.qr(design, mode="r")
        triangle *= np.sign(np.diagonal(triangle))[:, None] / np.sqrt(len(times))
        if c in spoil:
            triangle = triangle @ np.triu(np.eye(p) * spoil[c] + 0.3 * rng.normal(size=(p, p)))
            triangle[np.diag_indices(p)] = np.abs(np.diagonal(triangle)) + 0.1
        layout.matrix(transforms, c)[:] = triangle
        shared = rng.normal(size=p)
        for k in range(n_modes):
            layout.vector(means[k], c)[:] = shared + apart * rng.normal(size=p)
            layout.matrix(factors[k], c)[:] = np.tril(0.3 * rng.normal(size=(p, p))) + 0.4 * np.eye(p)
    noise = rng.uniform(0.03, 0.06, (1, n_channels)) * rng.uniform(0.9, 1.1, (n_modes, n_channels))
    weights = rng.dirichlet(np.full(n_modes, 5.0))
    return SimpleNamespace(
        internal_parameters=Parameters(weights, means, factors, noise, sizes),
        coordinates=Coordinates(centres, scales, transforms, sizes),
        bases=bases,
        channels=tuple(f"s{c + 2}" for c in range(n_channels)),
        response=None,
        mode_labels=tuple(range(n_modes)),
        time_unit="h",
        time_axis="forward",
    )


@dataclass(frozen=True)
class Case:
    """A model in the test program, and the readings it is given."""

    name: str
    scalar: str
    model: SimpleNamespace
    n_units: int = 8
    n_readings: int = 200

    def readings(self):
        """(restart, t, x) rows of `n_units` units in random order of time; some cells and one channel missing."""
        rng = np.random.default_rng(len(self.name))
        model, rows = self.model, []
        parameters, coordinates = model.internal_parameters, model.coordinates
        for unit in range(self.n_units):
            mode = rng.choice(parameters.n_modes, p=parameters.weights)
            times = rng.uniform(-10.0, 230.0, self.n_readings)
            values = np.empty((self.n_readings, len(model.bases)))
            for c, basis in enumerate(model.bases):
                whitened = parameters.factor(mode, c) @ rng.normal(size=basis.size)
                curve = orthonormal(model, c, times) @ (parameters.mean(mode, c) + whitened)
                noise = np.sqrt(parameters.noise_variances[mode, c]) * rng.normal(size=self.n_readings)
                values[:, c] = basis(times) @ coordinates.centre(c) + coordinates.scales[c] * (curve + noise)
            values[rng.random(values.shape) < 0.2] = np.nan
            if len(model.bases) > 1:
                values[:, unit % len(model.bases)] = np.nan
            if self.scalar == "float":
                values = values.astype(np.float32).astype(np.float64)
            restart = np.zeros(self.n_readings)
            restart[0] = 1.0
            rows.append(np.column_stack([restart, times, values]))
        return np.vstack(rows)


POLYNOMIALS = [Polynomial(6), Polynomial(2), Polynomial(2)]
MIXED = [Polynomial(2), BSpline(4), Fourier(2, 80.0), Exponential([40.0, 150.0]), Constant(), *POLYNOMIALS]


def orthonormal(model, channel, times):
    """φ̃ᵀ = φᵀ S⁻¹ in rows."""
    return np.linalg.solve(model.coordinates.transform(channel).T, model.bases[channel](times).T).T


# ------------------------------------------------------------------------------------------------- the program in C

RUN = """
#include "{name}.h"
/* Rows in: restart, t, x.
 * Rows out: status, changed, probabilities, log-likelihood, status of the forecast, mean, variance. */
static int run_{name}(void)
{{
    {name}_unit unit, before;
    double in[2 + {upper}_N_CHANNELS], out[6 + {upper}_N_MODES];
    {name}_scalar x[{upper}_N_CHANNELS], probabilities[{upper}_N_MODES];
    int i, channel = 0;
    {name}_init(&unit);
    while (fread(in, sizeof in, 1, stdin) == 1) {{
        if (in[0] != 0.0) {{
            {name}_init(&unit);
        }}
        for (i = 0; i < {upper}_N_CHANNELS; ++i) {{
            x[i] = ({name}_scalar)in[2 + i];
        }}
        memcpy(&before, &unit, sizeof unit);
        out[0] = {name}_update(&unit, in[1], x);
        out[1] = memcmp(&before, &unit, sizeof unit) != 0;
        {name}_probabilities(&unit, probabilities);
        for (i = 0; i < {upper}_N_MODES; ++i) {{
            out[2 + i] = (double)probabilities[i];
        }}
        out[2 + {upper}_N_MODES] = {name}_log_likelihood(&unit);
        out[4 + {upper}_N_MODES] = out[5 + {upper}_N_MODES] = -1.0;
        out[3 + {upper}_N_MODES] = {name}_forecast(&unit, in[1] + 7.0, channel, out + 4 + {upper}_N_MODES,
                                                   out + 5 + {upper}_N_MODES);
        channel = (channel + 1) % {upper}_N_CHANNELS;
        fwrite(out, sizeof out, 1, stdout);
    }}
    return {name}_channel_name(0)[0] == 0 || {name}_mode_name({upper}_N_MODES)[0] != 0;
}}
"""

MAIN = """
int main(int argc, char **argv)
{{
    if (argc != 2) {{
        return 2;
    }}
    {choices}
    return 3;
}}
"""


def answers(program, case, rows):
    """Columns of the program's answers to the rows."""
    run = subprocess.run([*program, case.name], input=np.ascontiguousarray(rows).tobytes(), capture_output=True)
    assert run.returncode == 0, run.stderr.decode()[:4000]
    n_modes = case.model.internal_parameters.n_modes
    table = np.frombuffer(run.stdout).reshape(len(rows), 6 + n_modes)
    return SimpleNamespace(
        status=table[:, 0].astype(int),
        changed=table[:, 1].astype(bool),
        probabilities=table[:, 2 : 2 + n_modes],
        log_likelihood=table[:, 2 + n_modes],
        forecast_status=table[:, 3 + n_modes].astype(int),
        mean=table[:, 4 + n_modes],
        variance=table[:, 5 + n_modes],
    )
