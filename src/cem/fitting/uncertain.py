"""`FailureModeEM.uncertainty`: standard errors, intervals, tests and bands of what a fit estimated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np

from cem.errors import OptionError, UncertaintyError
from cem.fitting.drawn_fleets import why_not_drawn
from cem.model.inputs import panel_to_fit
from cem.numerics.floating import underflow_is_zero
from cem.numerics.threads import threads_told

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.uncertainty.uncertainty import Uncertainty

__all__ = ["IS_KEPT", "Uncertain"]

METHODS = ("information", "robust", "bootstrap")
IN_A_FIT = ("information", "bootstrap")
_N_REPLICATES = 199
IS_KEPT = "The fit itself is kept; it takes its parameters as known"
_WITH_BOOTSTRAP = "em.model_.with_uncertainty(em.uncertainty(panel, 'bootstrap'))"
_KEY = 18  # of the seeds, which are none of those of starts

Function = TypeVar("Function", bound=Callable[..., Any])


class _MethodAndOption:
    """A method that leaves the option of its name, which is set on the estimator, alone."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.__doc__ = self.function.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.function if instance is None else MethodType(self.function, instance)

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.name] = value


def _method_and_option(function: Function) -> Function:
    return cast("Function", _MethodAndOption(function))


class Uncertain:
    """Base of `FailureModeEM`; NotFittedError before `fit`."""

    if TYPE_CHECKING:
        n_parameters_: int

        def _model(self) -> FailureModeModel: ...

        def _table(
            self, unit: str | None, time: str | None, columns: Mapping[str, Any] | None
        ) -> dict[str, Any] | None: ...

    @_method_and_option
    @underflow_is_zero
    def uncertainty(
        self,
        X: Any,
        method: Literal["information", "robust", "bootstrap"] = "information",
        *,
        n_replicates: int = 199,
        kind: Literal["units", "parametric"] = "units",
        random_state: int | np.random.Generator | np.random.SeedSequence | None = 0,
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
            Of the bootstrap; the other methods have none.
        kind : {"units", "parametric"}
            Of the bootstrap: units drawn with replacement, or fleets drawn from the fitted mixture.
        random_state : int, Generator, SeedSequence or None
            Of the bootstrap; None: another one each time.

        Returns
        -------
        Uncertainty

        Warns
        -----
        OverlapWarning
            Modes overlap so far, for so few units, that standard errors by information are too small. Those of a
            bootstrap of units hold better there.

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
            The method is unknown, an option has a value that it cannot take, or it has no effect with this method.

        Notes
        -----
        Parameters at a floor, and those of a channel that less than one unit of a mode reports, are held at their
        values and have a note in the table; refits of a bootstrap move those at a floor. Maps of readings by regime are
        held as the fit left them. With penalties (shrunk covariances, linked channels, membership, laws of lifetimes)
        the information is that of the penalised objective. After a fit with ``sample_weight`` it is that of all copies
        of units; "robust" takes the copies of a unit as one.

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
        if method != "bootstrap":
            _check_unused(method, n_replicates=(n_replicates, _N_REPLICATES), kind=(kind, "units"))
        self._model()
        panel = panel_to_fit(X, table=self._table(None, None, None))
        with threads_told(FitError):
            estimator = cast("FailureModeEM", self)
            fitted = fitted_problem(estimator, panel)
            if method == "bootstrap":
                return by_bootstrap(estimator, fitted, n_replicates=n_replicates, kind=kind, random_state=random_state)
            return by_information(estimator, fitted, robust=method == "robust")


def _check_unused(method: str, **options: tuple[Any, Any]) -> None:
    """OptionError if an option of the bootstrap, (value, default) by name, was given with another method."""
    for name, (value, default) in options.items():
        if not (isinstance(value, (type(default), np.integer)) and value == default):
            raise OptionError(
                f"{name}={value!r} with method={method!r}: it is an option of the bootstrap; take method='bootstrap', "
                f"or leave {name} out"
            )


def checked_option(value: Any) -> None:
    """OptionError if the option `uncertainty` of an estimator has a value that it cannot take.

    Parameters
    ----------
    value : object
        As given.
    """
    if value is not None and (not isinstance(value, str) or value not in IN_A_FIT):
        raise OptionError(f"uncertainty={value!r}: None, {' or '.join(map(repr, IN_A_FIT))} was expected")


def _as_of_a_fit(text: str, is_drawn: bool) -> str:
    """What `em.uncertainty` says, for a reader who gave the option of the fit."""
    text = text.replace(", or continue with fit(panel, init=em.model_)", "")
    return text.replace("method='bootstrap'", "uncertainty='bootstrap'" if is_drawn else _WITH_BOOTSTRAP)


def check_own_uncertainty(em: FailureModeEM, *, weights: bool) -> None:
    """UncertaintyError before a fit, if it asks for a bootstrap of copies of units.

    Parameters
    ----------
    em : FailureModeEM
        To be fitted.
    weights : bool
        Whether units count more than once, or not at all.
    """
    if weights and em.__dict__["uncertainty"] == "bootstrap":
        why = why_not_drawn(weights=True, lives=False, running=False)
        raise UncertaintyError(
            f"uncertainty='bootstrap' draws fleets from the fit, and {why}; take uncertainty='information'"
        )


def with_own_uncertainty(em: FailureModeEM, panel: Panel, seed: np.random.SeedSequence) -> FailureModeModel:
    """The model of a fit with the uncertainty that its option asks for.

    Parameters
    ----------
    em : FailureModeEM
        Just fitted.
    panel : Panel
        That it was fitted to, each unit once.
    seed : SeedSequence
        Of the fit.

    Raises
    ------
    UncertaintyError
        As for `FailureModeEM.uncertainty`.
    """
    from cem.fitting.fitted_problem import fitted_problem
    from cem.fitting.parameter_laws import by_bootstrap, by_information

    fitted = fitted_problem(em, panel)
    lives, some_run = fitted.form.lifetimes is not None, bool(np.isnan(panel.failure_times).any())
    why = why_not_drawn(weights=False, lives=lives, running=em.time_axis == "to_failure" and some_run)
    if em.__dict__["uncertainty"] == "information":
        try:
            return em.model_.with_uncertainty(by_information(em, fitted, robust=False))
        except UncertaintyError as error:
            is_drawn = fitted.counts is None
            raise UncertaintyError(_as_of_a_fit(str(error), is_drawn)) from None
    own = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _KEY))
    # Fleets that cannot be drawn from the fit are drawn from its units.
    kind: Literal["units", "parametric"] = "units" if why else "parametric"
    known = by_bootstrap(em, fitted, n_replicates=_N_REPLICATES, kind=kind, random_state=own)
    spread = None
    if kind == "parametric" and fitted.form.plan is None and fitted.form.family is None:
        from cem.uncertainty.spread import calibrated_spread

        spread = calibrated_spread(
            fitted.form.parameters, known.law.draws(_N_REPLICATES), fitted.setting.statistics, 3, own
        )
    return em.model_.with_uncertainty(known, spread=spread)
