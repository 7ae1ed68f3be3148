"""What a fitted estimator says of units: their modes, their likelihood, and criteria of the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.fitting.criteria import panel_likelihood
from cem.fitting.input_columns import check_n_columns
from cem.fitting.unit_weights import counts_of_units
from cem.model.inputs import panel_to_score, table_options
from cem.panel.panel import Panel

if TYPE_CHECKING:
    from cem.fitting.stability import Stability
    from cem.model.model import FailureModeModel

__all__ = ["Predictions"]

FloatArray = NDArray[np.float64]
# A Panel, an array, or a data frame of any library.
Data = Any
Axes = str | Sequence[str] | None


class Predictions:
    """Base of `FailureModeEM`; NotFittedError before `fit`."""

    if TYPE_CHECKING:
        unit: str | None
        time: str | None
        columns: Mapping[str, Any] | None
        n_parameters_: int
        log_likelihood_: float
        responsibilities_: FloatArray

        def _model(self) -> FailureModeModel: ...

    def predict(
        self,
        X: Data,
        *,
        times: ArrayLike | None = None,
        axes: Axes = None,
        covariates: Any = None,
        unit_covariates: Any = None,
    ) -> NDArray[Any]:
        """Return the label of the most probable mode of each unit, shape (L,).

        Parameters
        ----------
        X : Panel, data frame, or array of shape (units, times) or (units, times, channels)
            Channels are matched by name; an array has the model's channels in order. A data frame is read as in `fit`,
            its units in order of first appearance.
        times : array_like of shape (times,) or (units, times), optional
            Times of an array's readings. You may leave them out if the fit was at 0, 1, 2, ... as well.
        axes, covariates, unit_covariates : optional
            As for `fit`.

        Raises
        ------
        PredictionError
            An array came without times though the model was fitted with times; a channel that the model does not know;
            a clock or a unit of measurement other than the training panel's.
        PanelError
            X cannot be read as a panel.
        """
        model = self._model()
        return model.predict(self._to_score(X, times, axes, covariates, unit_covariates))

    def predict_proba(
        self,
        X: Data,
        *,
        times: ArrayLike | None = None,
        axes: Axes = None,
        covariates: Any = None,
        unit_covariates: Any = None,
    ) -> FloatArray:
        """Return the posterior mode probabilities of each unit, model.md (3), shape (L, K).

        Arguments and errors as for `predict`.
        """
        model = self._model()
        return model.predict_proba(self._to_score(X, times, axes, covariates, unit_covariates))

    def score_samples(
        self,
        X: Data,
        *,
        times: ArrayLike | None = None,
        axes: Axes = None,
        covariates: Any = None,
        unit_covariates: Any = None,
    ) -> FloatArray:
        """Return the marginal log-likelihood of each unit, in the panel's units, shape (L,).

        Arguments and errors as for `predict`.
        """
        model = self._model()
        return model.score_samples(self._to_score(X, times, axes, covariates, unit_covariates))

    def score(
        self,
        X: Data,
        y: object = None,
        *,
        times: ArrayLike | None = None,
        axes: Axes = None,
        covariates: Any = None,
        unit_covariates: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the mean marginal log-likelihood per unit; arguments as for `predict`, and `y` is ignored.

        Parameters
        ----------
        X, times, axes, covariates, unit_covariates
            As for `predict`.
        y
            For scikit-learn's signature; not used.
        sample_weight : array_like of shape (units,), optional
            How often each unit counts in the mean: whole numbers, as for `fit`.
        """
        model = self._model()
        panel = self._to_score(X, times, axes, covariates, unit_covariates)
        counts = counts_of_units(sample_weight, panel)
        return float(np.average(model.score_samples(panel), weights=counts))

    def bic(self, X: Data | None = None, *, times: ArrayLike | None = None, axes: Axes = None) -> float:
        """Return the BIC, −2 ℓ + `n_parameters_` · log L with L the number of units; lower is better (Schwarz 1978).

        ℓ is `log_likelihood_`, the log-likelihood that the fit maximises, without any penalty. After a fit with
        ``sample_weight``, L is the sum of the weights. Units of known mode
        count with that mode only. On the time to failure, ℓ includes the lives of failed and of running units.
        `FailureModeModel.summary` and ``cem fit`` show the same number.

        Parameters
        ----------
        X : Panel, data frame, or array of shape (units, times) or (units, times, channels), optional
            Another panel to evaluate at the parameters of this fit. Its own labels and failure times count in the same
            way, and L is its number of units. Default: the training panel, which you need not keep.
        times : array_like of shape (times,) or (units, times), optional
            Times of an array's readings.
        axes : sequence of str, optional
            As for `fit`.

        Raises
        ------
        OptionError
            The covariances are shrunk. The criteria count the parameters of a fit by maximum likelihood.
        PanelError
            A unit of X has a label that the model does not know, or the model is on the time to failure and no unit of
            X has failed.
        """
        log_likelihood, responsibilities = self._likelihood(X, times, axes)
        return float(-2.0 * log_likelihood + self.n_parameters_ * np.log(len(responsibilities)))

    def aic(self, X: Data | None = None, *, times: ArrayLike | None = None, axes: Axes = None) -> float:
        """Return the AIC, −2 ℓ + 2 `n_parameters_`; lower is better (Akaike 1974). ℓ and arguments as for `bic`."""
        return float(-2.0 * self._likelihood(X, times, axes)[0] + 2.0 * self.n_parameters_)

    def icl(self, X: Data | None = None, *, times: ArrayLike | None = None, axes: Axes = None) -> float:
        """Return the ICL: BIC plus twice the entropy of the responsibilities; lower is better (Biernacki et al. 2000).

        It prefers well separated modes. Arguments as for `bic`. Units of known mode have no entropy, and on the time
        to failure the lives help to tell the modes apart.
        """
        log_likelihood, responsibilities = self._likelihood(X, times, axes)
        logs = np.log(np.where(responsibilities > 0, responsibilities, 1.0))
        bic = -2.0 * log_likelihood + self.n_parameters_ * np.log(len(responsibilities))
        return float(bic - 2.0 * (responsibilities * logs).sum())

    def _likelihood(self, X: Data | None, times: ArrayLike | None, axes: Axes) -> tuple[float, FloatArray]:
        """ℓ and responsibilities: of the fit, or of a panel at the parameters of the fit."""
        model = self._model()
        if model.training.get("covariance") == "shrunk":
            raise OptionError(
                "AIC, BIC and ICL count the parameters of a fit by maximum likelihood, and the covariances of this one "
                "are shrunk (covariance='shrunk', the default). For a criterion fit again with covariance='full' or "
                "'pooled', fit(X, init=model_) to start from here; to compare shrunk fits take the log-likelihood of "
                "held-out units, cem.selection.cross_validate"
            )
        if X is None:
            if times is not None or axes is not None:
                raise OptionError("times and axes go with an array; give it as X")
            counts = self.__dict__.get("_counts")  # a pickle of an earlier release has none
            if counts is None:
                return self.log_likelihood_, self.responsibilities_
            return self.log_likelihood_, np.repeat(self.responsibilities_, counts, axis=0)
        return panel_likelihood(model, self._to_score(X, times, axes))

    def _table(self, unit: str | None, time: str | None, columns: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Arguments of `Panel.from_frame`: those of the call, else those of the constructor."""
        if unit is None and time is None and columns is None:
            return table_options(self.unit, self.time, self.columns)
        return table_options(
            self.unit if unit is None else unit,
            self.time if time is None else time,
            self.columns if columns is None else columns,
        )

    def _to_score(
        self,
        X: Data,
        times: ArrayLike | None,
        axes: Axes,
        covariates: Any = None,
        unit_covariates: Any = None,
    ) -> Panel:
        table = None if self.unit is None and self.time is None else self._table(None, None, None)
        model = self._model()
        if times is None and axes is None:
            check_n_columns(X, self.__dict__.get("_n_columns"), type(self).__name__)
        return panel_to_score(
            model, X, times=times, axes=axes, table=table, covariates=covariates, unit_covariates=unit_covariates
        )

    def stability(
        self,
        X: Data,
        *,
        n_starts: int = 30,
        n_replicates: int = 20,
        within: float = 3.0,
        random_state: int | np.random.Generator | None = 0,
    ) -> Stability:
        """Ask how far other optima and bootstrap replicates agree on the mode of each training unit.

        EM runs to its end from many starts in the problem of the fit, and the optima near the best one are kept. Then
        units are drawn with replacement, the model is refitted from the fit, and the training units are scored by it.
        Modes are matched before anything is compared. It costs a few fits.

        Parameters
        ----------
        X : Panel or data frame
            The training units, with their labels, covariates and failure times.
        n_starts : int
            Fresh starts; half as many more begin next to the fit.
        n_replicates : int
            Bootstrap replicates, of which 80 % have to agree with a call that is firm; 0: none, and no call is firm.
        within : float
            How many nats below the best optimum another one may be.
        random_state : int, Generator or None
            Seed of starts and draws.

        Returns
        -------
        Stability

        Raises
        ------
        NotFittedError
            There has been no fit, or one by an earlier release.
        PanelError
            X is not the training panel.
        OptionError
            An option has a value that it cannot take.
        """
        from cem.fitting.stability import stability_of

        panel = self._to_score(X, None, None)
        return stability_of(
            self,  # type: ignore[arg-type]  # the estimator is the one subclass
            panel,
            n_starts=n_starts,
            n_replicates=n_replicates,
            within=within,
            random_state=random_state,
        )
