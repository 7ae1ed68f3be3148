"""`FailureModeEM.uncertainty`: standard errors, intervals, tests and bands of what a fit estimated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from cem.errors import OptionError
from cem.model.inputs import panel_to_fit
from cem.numerics.floating import underflow_is_zero
from cem.numerics.threads import threads_told

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.model.model import FailureModeModel
    from cem.uncertainty.uncertainty import Uncertainty

__all__ = ["Uncertain"]

METHODS = ("information", "robust", "bootstrap")


class Uncertain:
    """Base of `FailureModeEM`; NotFittedError before `fit`."""

    if TYPE_CHECKING:
        n_parameters_: int

        def _model(self) -> FailureModeModel: ...

        def _table(
            self, unit: str | None, time: str | None, columns: Mapping[str, Any] | None
        ) -> dict[str, Any] | None: ...

    @underflow_is_zero
    def uncertainty(
        self,
        X: Any,
        method: Literal["information", "robust", "bootstrap"] = "information",
        *,
        n_replicates: int = 199,
        kind: Literal["units", "parametric"] = "units",
        random_state: int | np.random.SeedSequence = 0,
    ) -> Uncertainty:
        """Return what the fit does not know of its parameters: covariance, intervals, tests, bands (model.md §9).

        Parameters
        ----------
        X : Panel, data frame or array
            That the estimator was fitted to, read as by `fit`, each unit once. Labels that `fit` got as ``modes`` must
            be in the panel: ``panel.with_modes(labels)``.
        method : {"information", "robust", "bootstrap"}
            "information": the inverse of minus the Hessian of the objective that the fit maximised. "robust": I⁻¹ J I⁻¹
            with the scores of units, which holds if the model is only an approximation. "bootstrap": refits of fleets
            drawn from the fit.
        n_replicates : int
            Of the bootstrap.
        kind : {"units", "parametric"}
            Of the bootstrap: units drawn with replacement, or fleets drawn from the fitted mixture.
        random_state : int or SeedSequence
            Of the bootstrap.

        Returns
        -------
        Uncertainty

        Raises
        ------
        UncertaintyError
            The information cannot carry standard errors: there are more than half as many parameters as distinct
            units; the fit has not converged to a maximum (the message names the parameters at fault); scores of units
            do not span the parameters; laws of lifetimes are empirical, without parameters. Or too many replicates
            lost a mode.
        PanelError
            X is not the panel of the fit.
        OptionError
            The method is unknown, or an option has a value that it cannot take.

        Notes
        -----
        Parameters at a floor, and those of a channel that less than one unit of a mode reports, are held at their
        values and have a note in the table. Maps of readings by regime are held as the fit left them. With penalties
        (linked channels, membership, laws of lifetimes) the information is that of the penalised objective. After a
        fit with ``sample_weight`` the information is that of all copies of units; "robust" takes the copies of a unit
        as one.

        Examples
        --------
        >>> import cem
        >>> panel = cem.datasets.load_demo_fleet().select_channels(["vibration", "flow"])
        >>> em = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(panel)
        >>> known = em.uncertainty(panel)
        >>> known.names[:3] == tuple(f"weight[{label}]" for label in em.classes_)
        True
        """
        from cem.errors import FitError
        from cem.fitting.fitted_problem import fitted_problem
        from cem.fitting.parameter_laws import by_bootstrap, by_information

        if not isinstance(method, str) or method not in METHODS:
            raise OptionError(f"method={method!r}: one of {', '.join(map(repr, METHODS))} was expected")
        self._model()
        panel = panel_to_fit(X, table=self._table(None, None, None))
        with threads_told(FitError):
            estimator = cast("FailureModeEM", self)
            fitted = fitted_problem(estimator, panel)
            if method == "bootstrap":
                return by_bootstrap(estimator, fitted, n_replicates=n_replicates, kind=kind, random_state=random_state)
            return by_information(estimator, fitted, robust=method == "robust")
