"""`transform` and what scikit-learn asks of transformers: names of the features, and data frames as output."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.errors.names import listed, object_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from cem.fitting.fit_keywords import FitKeywords
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["FeatureOutput"]

FloatArray = NDArray[np.float64]
_OUTPUTS = ("default", "pandas", "polars")


class FeatureOutput:
    """Base of `FailureModeEM`: each unit as a row of features for a classifier or a regression."""

    if TYPE_CHECKING:

        def _model(self) -> FailureModeModel: ...

        def _to_score(
            self, X: Any, times: Any, axes: Any, covariates: Any = None, unit_covariates: Any = None
        ) -> Panel: ...

        fit: Callable[..., Any]

    def transform(
        self,
        X: Any,
        *,
        times: ArrayLike | None = None,
        axes: str | Sequence[str] | None = None,
        covariates: Any = None,
        unit_covariates: Any = None,
    ) -> FloatArray | Any:
        """Return features of each unit: its mode probabilities, then the coefficients of its curves.

        The coefficients are posterior means, model.md (4), averaged over the modes by their probabilities, in units of
        the channel: ``model_.bases[c](t) @ coefficients`` is the unit's curve. They do not depend on how many readings
        a unit has, so units of unequal length become rows of equal length. A channel without readings has the
        coefficients that the modes expect, never NaN.

        Parameters
        ----------
        X, times, axes, covariates, unit_covariates
            As for `predict`.

        Returns
        -------
        ndarray of shape (L, K + Σ p_c)
            Or a data frame, after ``set_output(transform="pandas")`` or ``"polars"``. Columns: `get_feature_names_out`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        PredictionError, PanelError
            As for `predict`.
        """
        model = self._model()
        panel = self._to_score(X, times, axes, covariates, unit_covariates)
        posterior = model.posterior(panel)
        rho = posterior.mode_probabilities
        means = np.einsum("lk,lkcp->lcp", rho, np.nan_to_num(posterior.means, copy=False, nan=0.0))
        used = np.arange(means.shape[2]) < np.asarray(posterior.sizes)[:, None]  # (C, p)
        return self._as_output(np.hstack([rho, means[:, used]]), panel, X)

    def fit_transform(self, X: Any, y: object = None, **options: Unpack[FitKeywords]) -> FloatArray | Any:
        """Fit, and return the features of the training units; arguments as for `fit`, result as for `transform`.

        Parameters
        ----------
        X
            As for `fit`.
        y
            Ignored. In a pipeline it belongs to the step that follows, so there is no warning.
        **options
            Keyword arguments of `fit`.
        """
        self.fit(X, **options)
        of_arrays = ("times", "axes", "covariates", "unit_covariates")
        given: dict[str, Any] = {name: value for name, value in options.items() if name in of_arrays}
        return self.transform(X, **given)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns of `transform`: ``mode_0``, ..., then ``vib_0``, ``vib_1``, ... by channel.

        Names are distinct: where a channel is called "mode", or a mode "0" beside a mode 0, the later name ends in
        ``_again``.

        Parameters
        ----------
        input_features : sequence of str, optional
            For scikit-learn's signature; must equal `feature_names_in_`, if there is one.

        Raises
        ------
        NotFittedError
            Before `fit`.
        OptionError
            `input_features` are not the names that the estimator was fitted with.
        """
        model = self._model()
        if input_features is not None:
            self._check_names_in(np.atleast_1d(np.asarray(input_features, dtype=object)).tolist())
        names = [f"mode_{label}" for label in model.mode_labels]
        for channel, basis in zip(model.channels, model.bases, strict=True):
            names += [f"{channel}_{j}" for j in range(basis.size)]
        return object_array(_distinct(names))

    def _check_names_in(self, given: list[Any]) -> None:
        own, n_own = self.__dict__.get("feature_names_in_"), self.__dict__.get("n_features_in_", len(given))
        if own is not None and given != list(own):
            raise OptionError(
                f"input_features is not equal to feature_names_in_: found {listed(given, 8)}, fitted with "
                f"{listed(list(own), 8)}; leave it out"
            )
        if len(given) != n_own:
            raise OptionError(
                f"input_features should have length equal to number of features, {n_own}; found {len(given)}; "
                "leave it out"
            )

    def set_output(self, *, transform: Literal["default", "pandas", "polars"] | None = None) -> Self:
        """Choose what `transform` and `fit_transform` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            "default" is an array. None leaves the choice as it is; scikit-learn's ``transform_output`` counts if none
            was made.

        Raises
        ------
        OptionError
            Another value was given.
        """
        if transform is None:
            return self
        if transform not in _OUTPUTS:
            raise OptionError(f"set_output(transform={transform!r}): one of {listed(_OUTPUTS)} was expected")
        # sklearn.clone copies the attribute of this name.
        self._sklearn_output_config = {"transform": transform}
        return self

    def _as_output(self, features: FloatArray, panel: Panel, X: Any) -> FloatArray | Any:
        chosen = self.__dict__.get("_sklearn_output_config", {}).get("transform")
        if chosen is None:
            loaded = sys.modules.get("sklearn")
            chosen = loaded.get_config().get("transform_output", "default") if loaded is not None else "default"
        if chosen == "default":
            return features
        if chosen not in _OUTPUTS:
            raise OptionError(f"transform_output={chosen!r}: transform gives one of {listed(_OUTPUTS)}")
        try:
            library = importlib.import_module(chosen)
        except ImportError:
            raise OptionError(
                f"transform gives a {chosen} data frame, and {chosen} is not installed: pip install {chosen}, or "
                'set_output(transform="default")'
            ) from None
        columns = list(self.get_feature_names_out())
        if chosen == "polars":
            return library.DataFrame(features, schema=columns, orient="row")
        return library.DataFrame(features, columns=columns, index=list(panel.units))


def _distinct(names: list[str]) -> list[str]:
    """Data frames need distinct columns."""
    found: dict[str, None] = {}
    for name in names:
        while name in found:
            name = f"{name}_again"
        found[name] = None
    return list(found)
