"""What a model says of itself and of units, as frames and for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cem.errors.html import html_table
from cem.panel.frames.out import frame_of, mode_columns

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.model.outputs import ModelOutputs
    from cem.panel.panel import Panel

__all__ = ["model_html", "probability_frame"]


def probability_frame(model: ModelOutputs, panel: Panel, n_jobs: int, backend: str | None) -> Any:
    """The frame that `FailureModeModel.probability_frame` returns; see there."""
    probabilities = model.predict_proba(panel, n_jobs=n_jobs)
    columns: dict[str, Any] = {"unit": panel._unit_ids}
    columns.update(zip(mode_columns(model.mode_labels, ("unit",)), probabilities.T.copy(), strict=True))
    return frame_of(columns, backend, panel._backend)


def model_html(model: FailureModeModel) -> str:
    """The modes and their weights, below a line about the model."""
    columns = {"mode": [str(label) for label in model.mode_labels], "weight": model.weights_}
    return html_table(repr(model), columns)
