"""A model whose predictions average over the law of its parameters (model.md §9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.mixture.grouped import Components
from cem.mixture.parameters import Parameters
from cem.model.known_parameters import described
from cem.model.model import FailureModeModel
from cem.model.outputs import Axes, Data

if TYPE_CHECKING:
    from cem.mixture.prediction import Evidence, Posterior
    from cem.scoring.scorer import Scorer
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["UncertainModel", "with_uncertainty"]

FloatArray = NDArray[np.float64]

_MOST_COMPONENTS = 16
_SPREAD = 1.25  # of bootstrap replicates, where nobody has looked how sure calls turn out in fleets drawn from the fit
_LARGEST_SPREAD = 10.0


class UncertainModel(FailureModeModel):
    """A fitted model that knows how well its parameters are known; made by `FailureModeModel.with_uncertainty`.

    Its parameters, curves, summary and samples are those of the fit. Mode probabilities, likelihoods, forecasts,
    posteriors, novelty and remaining lives average over the law of the parameters: each mode is a mixture of a few
    components.

    Parameters
    ----------
    components : Components
        Of each mode, in the model's internal coordinates.
    **parts
        As for `FailureModeModel`.

    Attributes
    ----------
    components : Components
        As given; ``components.record`` says how they were made.

    Raises
    ------
    OptionError
        The parts do not fit each other.
    """

    __slots__ = ("components",)

    components: Components

    def __init__(self, *, components: Components, **parts: Any) -> None:
        super().__init__(**parts)
        own, fit = components.parameters, self.internal_parameters
        if components.n_modes != fit.n_modes or own.sizes != fit.sizes or own.rank != fit.rank:
            raise OptionError(
                f"components of {components.n_modes} modes, sizes {own.sizes} and {own.rank} shared factors do not fit "
                f"a model of {fit.n_modes} modes, sizes {fit.sizes} and {fit.rank} shared factors"
            )
        if int(components.starts[0]) != 0 or int(components.starts[-1]) != own.n_modes or (
            np.diff(components.starts) < 1
        ).any():  # fmt: skip
            raise OptionError("each mode needs components of its own, side by side and in the order of the modes")
        object.__setattr__(self, "components", components)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "components": self.components}

    @property
    def of_components(self) -> FailureModeModel:
        """The same mixture without uncertainty, each component a mode of its own: labels (mode, j)."""
        arguments = FailureModeModel._arguments(self)
        arguments["parameters"] = self.components.with_membership(self.internal_parameters.membership)
        counts = np.diff(self.components.starts).tolist()
        arguments["mode_labels"] = [
            (label, j) for label, n in zip(self.mode_labels, counts, strict=True) for j in range(n)
        ]
        return FailureModeModel(**arguments)

    @property
    def uncertainty(self) -> dict[str, Any]:
        """How the law of the parameters was found: a copy of ``components.record``."""
        return dict(self.components.record)

    def without_uncertainty(self) -> FailureModeModel:
        """Return the plain model, whose predictions take the parameters as known."""
        return FailureModeModel(**FailureModeModel._arguments(self))

    @property
    def _prior(self) -> Parameters:
        """Those of the fit, with π averaged over the law of the parameters, as in all predictions."""
        weights = self.components.summed(self.components.parameters.weights)
        return replace(self.internal_parameters, weights=weights)

    # -- predictions ------------------------------------------------------------------------------------------------

    def _evidence_of(self, statistics: SufficientStatistics, n_threads: int) -> Evidence:
        from cem.mixture import prediction

        parameters = self.components.with_membership(self.internal_parameters.membership)
        return prediction.evidence(self.components.widened(statistics), parameters, n_threads)

    def _evidence(self, X: Data, times: ArrayLike | None, n_jobs: int, axes: Axes) -> Evidence:
        from cem.mixture.grouped import grouped_evidence

        return grouped_evidence(super()._evidence(X, times, n_jobs, axes), self.components)

    def novelty(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> FloatArray:
        """Return how typical each unit is of its most probable mode: a tail probability, shape (L,).

        As for `FailureModeModel.novelty`, averaged over the law of the parameters.

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
        """
        from cem.mixture.grouped import grouped_novelty

        return grouped_novelty(super()._evidence(X, times, 1, axes), self.components)

    def posterior(self, X: Data, times: ArrayLike | None = None, *, axes: Axes = None) -> Posterior:
        """Return the posterior means and covariances of each unit's random effects under each mode.

        As for `FailureModeModel.posterior`: mean and covariance of the mixture of the mode's components.

        Parameters
        ----------
        X, times, axes
            As for `predict_proba`.
        """
        from cem.mixture import prediction
        from cem.mixture.grouped_forecast import grouped_posterior

        panel = self._as_panel(X, times, axes)
        found = grouped_posterior(self._component_posterior(panel), self.components, self.mode_labels)
        return prediction.of_backend(found, panel._backend)

    def _component_posterior(self, panel: Any) -> Posterior:
        """The posterior under each component, of a panel."""
        from cem.mixture import prediction

        own = self._aligned(panel)
        statistics = self.components.widened(self.compressed(own))
        parameters = self.components.with_membership(self.internal_parameters.membership)
        return prediction.posterior(statistics, parameters, tuple(range(parameters.n_modes)))

    def _forecast_of(self, statistics: SufficientStatistics, *arguments: Any) -> Any:
        from cem.mixture import prediction
        from cem.mixture.grouped_forecast import grouped_forecast

        parameters = self.components.with_membership(self.internal_parameters.membership)
        found = prediction.forecast_channel(
            self.components.widened(statistics), parameters, tuple(range(parameters.n_modes)), *arguments
        )
        return grouped_forecast(found, self.components, self.mode_labels)

    # -- streaming --------------------------------------------------------------------------------------------------

    def scorer(self) -> Scorer:
        """Return a scorer whose units average over the law of the parameters; as for `FailureModeModel.scorer`."""
        if self.processes is not None:
            from cem.scoring.wandering_scorer import GroupedWanderingScorer

            return GroupedWanderingScorer(self)
        from cem.scoring.grouped_scorer import grouped_scorer

        return grouped_scorer(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._arguments(),)

    def __setstate__(self, state: dict[str, Any]) -> None:
        UncertainModel.__init__(self, **state)

    def __repr__(self) -> str:
        return f"{super().__repr__()}, with the uncertainty of its parameters ({described(self.components)})"


def _restore(arguments: dict[str, Any]) -> UncertainModel:
    return UncertainModel(**arguments)


def with_uncertainty(
    model: FailureModeModel, law: Any, n_draws: int, n_components: int, spread: float | None, random_state: int
) -> UncertainModel:
    """See `FailureModeModel.with_uncertainty`."""
    from cem.mixture.component_draws import grouped_draws

    for name, value, most in (("n_draws", n_draws, 100_000), ("n_components", n_components, _MOST_COMPONENTS)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
            raise OptionError(f"{name} is {value!r}; a whole number from 1 to {most:,} was expected")
    number = isinstance(spread, int | float | np.number) and not isinstance(spread, bool)
    if spread is not None and not (number and 0 <= spread <= _LARGEST_SPREAD):
        raise OptionError(f"spread is {spread!r}; a number from 0 to {_LARGEST_SPREAD:g} was expected")
    _check_seed(random_state)
    _check_fit(law, model)
    draws, lives, method, reflect = _draws(law, int(n_draws), random_state)
    factor = (_SPREAD if reflect else 1.0) if spread is None else float(spread)
    fit = model.internal_parameters
    for draw in draws:
        if not isinstance(draw, Parameters) or draw.n_modes != fit.n_modes or draw.sizes != fit.sizes or (
            draw.rank != fit.rank
        ):  # fmt: skip
            raise OptionError(
                f"the law has draws of {draw!r}; parameters of {fit.n_modes} modes, sizes {fit.sizes} and {fit.rank} "
                "shared factors, in the model's internal coordinates, were expected: give the law of this model's fit"
            )
    if not draws:
        raise OptionError("the law has no draws of the parameters; at least 1 was expected")
    record: dict[str, Any] = {"method": method, "n_draws": len(draws), "reflected": reflect, "spread": factor}
    components, groups = grouped_draws(fit, draws, int(n_components), reflect=reflect, record=record, spread=factor)
    if lives and "lifetimes" in model._training:
        from cem.lifetimes.lifetimes import Lifetimes
        from cem.mixture.component_lives import laws_of_components

        own = Lifetimes.from_dict(model._training["lifetimes"])
        laws = laws_of_components(own, lives, components.modes, groups, reflect=reflect, spread=factor)
        if laws is not None:
            record["lifetimes"] = laws.to_dict()
    return UncertainModel(**FailureModeModel._arguments(model), components=components)


def _check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not (
        seed is None
        or isinstance(seed, np.random.Generator | np.random.SeedSequence)
        or (isinstance(seed, int | np.integer) and seed >= 0)
    ):
        raise OptionError(f"random_state={seed!r}: None, an integer of 0 or more, or a numpy Generator was expected")


def _check_fit(law: Any, model: FailureModeModel) -> None:
    """Refuse the uncertainty of another fit: its draws are in other coordinates, though their shapes may fit.

    `em.uncertainty(panel)` and its law know model or coordinates, replicates the parameters that they were drawn from;
    parameters alone know nothing of it.
    """
    fitted, replicated = getattr(law, "model", None), getattr(law, "fit", None)
    pairs: list[tuple[Any, Any]] = []
    if isinstance(fitted, FailureModeModel) and fitted is not model:
        pairs = [(fitted.channels, model.channels), (fitted.weights_, model.weights_)]
        pairs += [(fitted.internal_parameters.means, model.internal_parameters.means)]
    elif isinstance(replicated, Parameters):
        pairs = [(replicated.weights, model.internal_parameters.weights)]
        pairs += [(replicated.means, model.internal_parameters.means)]
    coordinates = fitted.coordinates if isinstance(fitted, FailureModeModel) else None
    if coordinates is None and hasattr(law, "forms"):
        coordinates = law.forms(1)[0].coordinates
    if coordinates is not None:
        names = ("centres", "scales", "transforms")
        pairs += [(getattr(coordinates, name), getattr(model.coordinates, name)) for name in names]
    if not all(np.array_equal(*pair) for pair in pairs):
        raise OptionError(
            "law is the uncertainty of another fit, whose draws mean nothing for this model; give "
            "em.uncertainty(panel) of the fit that made it"
        )


def _draws(law: Any, n_draws: int, random_state: int) -> tuple[Sequence[Parameters], Sequence[Any], str, bool]:
    """Draws of the parameters and of laws of lifetimes, the method, and whether they are bootstrap refits."""
    if isinstance(law, Sequence) and not isinstance(law, str):
        return list(law), (), "draws", False
    method = str(getattr(law, "method", "law"))
    while hasattr(law, "law"):  # em.uncertainty(panel) has the law of its parameters
        law = law.law
    if hasattr(law, "usable"):
        return list(law.usable), (), "bootstrap", True
    if hasattr(law, "forms"):
        refits = getattr(law, "points", None)
        forms = law.forms(n_draws if refits is None else len(refits), random_state)
        lives = [form.lifetimes for form in forms]
        return (
            [form.parameters for form in forms],
            () if any(laws is None for laws in lives) else lives,
            method if refits is None else "bootstrap",
            refits is not None,
        )
    if hasattr(law, "draws"):
        return list(law.draws(n_draws, random_state)), (), method, False
    raise OptionError(
        f"law is a {type(law).__name__}; bootstrap replicates, the uncertainty of a fit (em.uncertainty(panel)), or "
        "draws of the parameters in the model's internal coordinates were expected"
    )
