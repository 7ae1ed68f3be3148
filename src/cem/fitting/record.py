"""What a model remembers of its fit: what `summary` reports, and what later panels are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cem.fitting.warm_start import UNLABELLED
from cem.model.clock_match import CLOCK, clock_record

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.fitting.result import FitResult
    from cem.panel.panel import Panel

__all__ = ["training_record"]


def training_record(em: FailureModeEM, result: FitResult, panel: Panel) -> dict[str, Any]:
    """What the model remembers of its fit: numbers only, nothing of a unit's data."""
    from cem.em.kernels._maximisation import COVARIANCE_FLOOR, NOISE_FLOOR

    responsibilities = result.run.responsibilities
    assigned = responsibilities.argmax(axis=1)
    n_modes = responsibilities.shape[1]
    status = result.run.status
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
        "log_likelihood": float(em.log_likelihood_),
        "n_parameters": int(em.n_parameters_),
        "n_iter": int(em.n_iter_),
        "converged": bool(em.converged_),
        "covariance": em.covariance,
        "kernel": em.kernel_,
        "starts": em.starts_,
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
            {"linking_rank": em.linking_rank, "linking_penalty": float(em.linking_penalty)}
            if result.run.parameters.rank
            else {}
        ),
    }
