"""Attributes of a fitted estimator that its model has: parameters in the panel's units, and conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import NotFittedError
from cem.errors.names import object_array

if TYPE_CHECKING:
    from cem.fitting.gross_errors import LeftOutReadings
    from cem.mixture.condition_records import ChannelRegimes
    from cem.model.model import FailureModeModel
    from cem.process.channel_process import ChannelProcess

__all__ = ["FittedAttributes", "as_labels"]

FloatArray = NDArray[np.float64]


def as_labels(labels: tuple[Any, ...]) -> NDArray[Any]:
    """Labels as an array: integers stay integers, anything else becomes objects."""
    are_numbers = all(isinstance(label, (int, np.integer)) for label in labels)
    return np.asarray(labels) if are_numbers else object_array(labels)


class FittedAttributes:
    """Base of `FailureModeEM`; NotFittedError before `fit`."""

    if TYPE_CHECKING:
        left_out_readings_: LeftOutReadings

    def _model(self) -> FailureModeModel:
        if "model_" not in self.__dict__:
            raise NotFittedError("this FailureModeEM has not been fitted; call fit(panel) first")
        model: FailureModeModel = self.__dict__["model_"]
        return model

    def _repr_html_(self) -> str:
        """The options, and the model once there is one."""
        from cem.errors.html import html_facts

        options: dict[str, Any] = self.get_params(deep=False)  # type: ignore[attr-defined]
        facts = {
            name: value if isinstance(value, (int, float)) else repr(value)
            for name, value in options.items()
            if value is not None
        }
        fitted = self._model()._repr_html_() if "model_" in self.__dict__ else "<p>not fitted</p>"
        return f"{html_facts(type(self).__name__, facts)}{fitted}"

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels of the modes, shape (K,), in the order of the columns of `predict_proba`."""
        return as_labels(self._model().mode_labels)

    @property
    def labels_(self) -> NDArray[Any]:
        """Label of each training unit's most probable mode, shape (L,)."""
        classes = self.classes_
        labels: NDArray[Any] = classes[self.__dict__["responsibilities_"].argmax(axis=1)]
        return labels

    @property
    def weights_(self) -> FloatArray:
        """π, mode probabilities, shape (K,)."""
        return self._model().weights_

    @property
    def means_(self) -> FloatArray:
        """Mean coefficients, shape (K, C, p), in units of the channel."""
        return self._model().means_

    @property
    def covariances_(self) -> FloatArray:
        """Random-effect covariances, shape (K, C, p, p)."""
        return self._model().covariances_

    @property
    def covariance_factors_(self) -> FloatArray:
        """Lower Cholesky factors of the random-effect covariances, shape (K, C, p, p)."""
        return self._model().covariance_factors_

    @property
    def noise_variances_(self) -> FloatArray:
        """Residual variances, shape (K, C), in squared units of the channel."""
        return self._model().noise_variances_

    @property
    def covariate_effects_(self) -> dict[str, dict[str, float | FloatArray]]:
        """Coefficients of covariates by channel and column; see `FailureModeModel.covariate_effects_`."""
        return self._model().covariate_effects_

    @property
    def regimes_(self) -> ChannelRegimes | None:
        """Operating regimes, with offsets and scales of the channels; None without regimes."""
        return self._model().regimes_

    @property
    def membership_(self) -> dict[str, FloatArray] | None:
        """Coefficients of the modes' log-odds by covariates of the unit; see `FailureModeModel.membership_`."""
        return self._model().membership_

    @property
    def random_columns_(self) -> dict[str, tuple[int, ...]]:
        """Functions of each channel's basis whose coefficients vary from unit to unit."""
        return self._model().random_columns_

    @property
    def process_(self) -> dict[str, ChannelProcess]:
        """How units wander about their curves, by channel; see `FailureModeModel.process_`."""
        return self._model().process_
