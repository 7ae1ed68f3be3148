"""The record of a fit that a model keeps: for `summary`, and to compare later panels with the training panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cem.fitting.warm_start import UNLABELLED
from cem.model.clock_match import CLOCK, clock_record

if TYPE_CHECKING:
    from cem.fitting.options import FitOptions
    from cem.fitting.result import FitResult
    from cem.panel.panel import Panel

__all__ = ["training_record"]


def training_record(
    result: FitResult,
    panel: Panel,
    options: FitOptions,
    *,
    n_parameters: int,
    starts: list[dict[str, Any]],
) -> dict[str, Any]:
    """Make the record of a fit: numbers only, and no data of any unit."""
    from cem.em.kernels._maximisation import COVARIANCE_FLOOR, NOISE_FLOOR

    run = result.run
    responsibilities = run.responsibilities
    assigned = responsibilities.argmax(axis=1)
    n_modes = responsibilities.shape[1]
    status = run.status
    floors = [
        {"mode": int(k), "channel": panel_channel, "floor": name}
        for name, bit in (
            ("noise_floor", NOISE_FLOOR),
            ("covariance_floor", COVARIANCE_FLOOR),
        )
        for k, c in zip(*(status & bit).nonzero(), strict=True)
        for panel_channel in [result.statistics.channels[c]]
    ]
    logs = np.log(np.where(responsibilities > 0, responsibilities, 1.0))
    counts = np.bincount(assigned, minlength=n_modes).tolist()
    # Sums over the units assigned to each mode, in rows.
    together = np.stack([np.bincount(assigned, column, n_modes) for column in responsibilities.T], axis=1)
    return {
        "n_units": int(result.statistics.n_units),
        "n_observations": int(result.statistics.n_observations),
        "log_likelihood": float(result.log_likelihood),
        "n_parameters": int(n_parameters),
        "n_iter": int(run.n_passes),
        "converged": bool(run.converged),
        "covariance": result.constraints.covariance,
        **_shrinkage(result),
        **({} if options.noise == "own" else {"noise": options.noise}),
        "kernel": result.kernel,
        "starts": starts,
        "floors": floors,
        "entropy": abs(float((responsibilities * logs).sum())),
        "classification": [
            [float(x / count) for x in row] if count else None for row, count in zip(together, counts, strict=True)
        ],
        "assigned": counts,
        "left_out_channels": list(result.left_out),
        UNLABELLED: list(result.unlabelled),
        CLOCK: clock_record(panel),
        **(
            {"linking_rank": options.linking_rank, "linking_penalty": options.linking_penalty}
            if run.parameters.rank
            else {}
        ),
        **_columns(result, options),
        **({"processes": [trial.record() for trial in result.trials]} if result.trials else {}),
    }


def _shrinkage(result: FitResult) -> dict[str, Any]:
    """ν of shrunk covariances, and for each value tried: ν, held-out ℓ less that of the best, its standard error.

    No value at all means that the fit was interrupted before one was chosen.
    """
    if not result.constraints.shrinkage:
        return {}
    found: dict[str, Any] = {"shrinkage": result.constraints.shrinkage}
    chosen = result.shrinkage
    if chosen is not None:
        found["held_out"] = [
            list(map(float, row)) for row in zip(chosen.menu, chosen.differences, chosen.errors, strict=True)
        ]
    return found


def _columns(result: FitResult, options: FitOptions) -> dict[str, Any]:
    """Which basis functions are random and which common, by channel, and the noise, where a refit has to know."""
    found: dict[str, Any] = {} if options.noise == "own" else {"noise": options.noise}
    plan = result.plan
    if plan is None or not any(x.feature < 0 for columns in plan.fixed for x in columns):
        return found
    channels = result.statistics.channels
    common = [[x.function for x in columns if x.feature < 0 and not x.by_mode] for columns in plan.fixed]
    return {
        **found,
        "random_columns": {name: list(own) for name, own in zip(channels, plan.random, strict=True)},
        "common_columns": {name: own for name, own in zip(channels, common, strict=True) if own},
    }
