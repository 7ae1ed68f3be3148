"""`RemainingLife`: the remaining useful life of running units, learned from failed units (model.md (18))."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import CemWarning, OptionError, PanelError, PredictionError
from cem.errors.names import listed
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.fitted import require_model
from cem.model.fit_reference import FIT_REFERENCE
from cem.numerics.floating import underflow_is_zero
from cem.process.channel_process import refuse_process
from cem.prognosis.calibration import Calibration, calibrate
from cem.prognosis.candidates import SharedEvidence
from cem.prognosis.distribution import RemainingLifeDistribution, remaining_life_posterior
from cem.prognosis.evidence import LifeEvidence
from cem.prognosis.running_life import RunningLife

if TYPE_CHECKING:
    import os
    from typing import IO

    from cem.fitting.estimator import FailureModeEM
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["RemainingLife"]

FloatArray = NDArray[np.float64]

_GATE = "gate"
"""Key of a model's record: the gate of a saved prognosis, unless it is "auto"; None is "off" there."""

OF_A_REFIT = ("linking_penalty", "random_columns", "common_columns", "noise")
"""Entries of a model's record that are options of a fit which continues it."""


class RemainingLife:
    """Predict how long running units will last, from units that ran to failure (model.md (18)); immutable.

    Fit `FailureModeEM` with ``time_axis="to_failure"`` first. The prediction is a distribution of the remaining useful
    life (RUL), together with the failure mode. Check its coverage on held-out units with `calibrated` before you rely
    on its intervals.

    Parameters
    ----------
    model : FailureModeModel
        Fitted with ``time_axis="to_failure"``.
    lifetimes : Lifetimes, optional
        f_k, one law of lifetimes per mode. Default: those that the fit stored in the model.
    information : array_like of shape (C,) or mapping of channel to float, optional
        κ_c in (0, 1]: how many independent readings one reading of the channel is worth. Lower it if residuals are
        correlated in time; `cem.diagnostics.time_correlation` estimates it. Default: the value in the model (see
        `calibrated`), else 1.
    calibration : Calibration, optional
        Correction of the distributions, from `cem.calibration.calibrate`. Default: the one in the model, else none.
    n_points : int
        Number of candidate remaining lives. More make the distribution finer and the prediction slower.
    gate : {"auto", "on"}, optional
        Leave out readings and channels that no training unit resembles, and flag units that none resembles; see `flags`
        of the distribution. "auto", the default: if the model's fit recorded how well its own units are explained
        (since 0.9.0). "on": for any model; without such a record `fit` is NaN. None: every reading counts in full.

    Raises
    ------
    OptionError
        The model's time axis is not the time to failure, it has no laws of lifetimes and none were given, or an
        option does not fit the model.

    Examples
    --------
    >>> import cem
    >>> fleet = cem.datasets.load_demo_fleet()                                          # doctest: +SKIP
    >>> em = cem.FailureModeEM(2, basis=cem.Polynomial(2), time_axis="to_failure")      # doctest: +SKIP
    >>> left = cem.RemainingLife(em.fit(failed).model_).predict(running)                # doctest: +SKIP
    >>> left.median(), left.interval(0.9), left.mode_probabilities                      # doctest: +SKIP
    """

    __slots__ = ("calibration", "gate", "information", "life_evidence", "lifetimes", "model", "n_points")

    model: FailureModeModel
    lifetimes: Lifetimes
    information: FloatArray
    calibration: Calibration | None
    n_points: int
    gate: str | None
    life_evidence: LifeEvidence
    """What all of this says before calibration."""

    def __init__(
        self,
        model: FailureModeModel,
        *,
        lifetimes: Lifetimes | None = None,
        information: ArrayLike | Mapping[str, float] | None = None,
        calibration: Calibration | None = None,
        n_points: int = 300,
        gate: str | None = "auto",
    ) -> None:
        require_model(model)
        refuse_process(
            model, "RemainingLife", "fit with process=None and time_axis='to_failure', and take information= (κ) there"
        )
        if model.time_axis != "to_failure":
            raise OptionError(
                f"the model's time axis is {model.time_axis!r}; RemainingLife needs a model fitted with "
                'time_axis="to_failure". For a threshold, call model.remaining_life(panel, threshold=...)'
            )
        held = model.training
        if lifetimes is None:
            if "lifetimes" not in held:
                raise OptionError(
                    "the model holds no laws of lifetimes; take RemainingLife.fit(model, panel) with the training "
                    "units, or give lifetimes="
                )
            lifetimes = Lifetimes.from_dict(held["lifetimes"])
        for name, given, kind in (("lifetimes", lifetimes, Lifetimes), ("calibration", calibration, Calibration)):
            if given is not None and not isinstance(given, kind):
                raise OptionError(f"{name} is {given!r}; a {kind.__name__} was expected")
        if lifetimes.n_modes != model.n_modes:
            raise OptionError(f"lifetimes has {lifetimes.n_modes} laws; the model has {model.n_modes} modes")
        directions = lifetimes.loadings
        if directions is not None and directions.shape[1] != model.linking_rank:
            raise OptionError(
                f"lifetimes are linked to {directions.shape[1]} factors; the model's channels share "
                f"{model.linking_rank}: give the laws of the same fit"
            )
        if information is None:
            information = held.get("information")
        if calibration is None and "calibration" in held:
            calibration = Calibration.from_dict(held["calibration"])
        if not isinstance(n_points, (int, np.integer)) or isinstance(n_points, bool) or n_points < 2:
            raise OptionError(f"n_points is {n_points!r}; a whole number of at least 2 was expected")
        if gate not in ("auto", "on", None):
            raise OptionError(f"gate is {gate!r}; 'auto', 'on' or None was expected")
        if gate == "auto" and held.get(_GATE) is not None:
            gate = None if held[_GATE] == "off" else held[_GATE]
        gated = gate == "on" or (gate == "auto" and FIT_REFERENCE in held)
        worth = _information(information, model.channels)
        worth.setflags(write=False)
        for name, value in {
            "model": model, "lifetimes": lifetimes, "information": worth, "calibration": calibration,
            "n_points": int(n_points), "gate": gate,
            "life_evidence": LifeEvidence.of(model, lifetimes, worth, int(n_points), gated),
        }.items():  # fmt: skip
            object.__setattr__(self, name, value)

    @classmethod
    def fit(
        cls,
        model: FailureModeModel,
        panel: Panel,
        *,
        family: str = "lognormal",
        prior_weight: float = 1.0,
        minimum_spread: float = 0.05,
        **options: Any,
    ) -> RemainingLife:
        """Fit laws of lifetimes to units that ran to failure, weighted by their posterior mode probabilities.

        You need this only for a model without laws, or for another family than the fit's.

        Parameters
        ----------
        model : FailureModeModel
            Fitted with ``time_axis="to_failure"``.
        panel : Panel
            Units with failure times; units still running are left out.
        family : {"lognormal", "weibull", "empirical"}
            Family of the laws.
        prior_weight, minimum_spread : float
            As in `cem.lifetimes.Lifetimes.fit`.
        options
            As for `RemainingLife`.

        Returns
        -------
        RemainingLife

        Raises
        ------
        PanelError
            No unit of the panel has failed, or one failed at an age that is not above 0.
        """
        failed = ~np.isnan(panel.failure_times)
        if not failed.any():
            raise PanelError(
                f"none of the {panel.n_units} units has a failure time; the laws of lifetimes need units that failed"
            )
        panel = panel[failed]
        young = np.flatnonzero(~(panel.failure_times > 0))
        if young.size:
            raise PanelError(
                f"unit {panel.units[young[0]]!r} failed at {panel.failure_times[young[0]]:g}; ages count from the time "
                "axis' zero and must be above it: choose origin= so that time 0 is when the unit was new"
            )
        lifetimes = Lifetimes.fit(
            panel.failure_times,
            model.predict_proba(panel),
            family=family,
            prior_weight=prior_weight,
            minimum_spread=minimum_spread,
        )
        return cls(model, lifetimes=lifetimes, **options)

    # -- prediction -------------------------------------------------------------------------------------------------

    @underflow_is_zero
    def predict(self, panel: Panel, *, grid: ArrayLike | None = None) -> RemainingLifeDistribution:
        """Predict the remaining lives of running units, jointly with their failure modes.

        Each unit counts as alive at its last reading, and its remaining life counts from there. Failure times in the
        panel are ignored, so you can predict from the past of a unit that failed: ``predict(panel.until(ages))``.

        Parameters
        ----------
        panel : Panel
            Running units on the forward clock. Ages count from when the unit was new, as in training. Channels are
            matched by name; absent ones count as missing.
        grid : array_like of shape (G,), or (L, G) for candidates of each unit's own, optional
            Candidate remaining lives. Default: `n_points` for every unit on its own, up to the laws' 99.9 % quantile
            of the remaining life at its age. So the prediction for a unit does not depend on the other units.

        Returns
        -------
        RemainingLifeDistribution
            Of L units. Its `grid` has shape (L, G) if units of different ages have candidates of their own.

        Raises
        ------
        PredictionError
            A channel that the model does not know; a unit of time, an origin or a unit of measurement other than that
            of the training units; a unit whose age is negative, or whose readings no candidate explains (the message
            names it).
        PanelError
            The times are clock times rather than ages.

        Warns
        -----
        ClockWarning
            Units are older than 1.5 times the longest training life.
        """
        from cem.model.clock_match import check_running_ages

        ages = _ages(panel)
        own = self.life_evidence
        check_running_ages(self.model, panel, ages, answered=own.gated)
        points = self.grids(ages) if grid is None else np.asarray(grid, dtype=np.float64)
        log_densities, shared, fits = own.of_panel(panel, points)
        weights, known = own.weights(self.model._mode_weights(panel)), own.known_ages(ages)
        law, _ = remaining_life_posterior(
            log_densities,
            weights,
            own.lifetimes,
            known,
            points,
            shared=shared,
            temper=1.0 if self.calibration is None else self.calibration.temper,
            units=panel.units,
            mode_labels=own.model.mode_labels,
            time_unit=self.model.time_unit or panel.time_unit,
        )
        masses = own.averaged(law.pmf, fits, weights, known, law.grid)
        if own.components is not None or masses is not law.pmf:
            law = RemainingLifeDistribution.trusted(
                law.grid, own.summed(masses), law.units, own.mode_labels, law.time_unit
            )
        corrected = law if self.calibration is None else self.calibration.corrected(law)
        return corrected._with_fits(fits)._of_backend(panel._backend)

    def unit(self, covariates: object = None) -> RunningLife:
        """Start following one running unit; its distribution is updated with each reading.

        Parameters
        ----------
        covariates : mapping of name to value, or sequence, optional
            The unit's own covariates, by name or in the order of `model.unit_covariates`. A model that has some needs
            them.

        Raises
        ------
        ScorerError
            They are missing or unknown, or the model has none.
        """
        return RunningLife(self, covariates)

    def grid(self, ages: ArrayLike, n_points: int | None = None) -> FloatArray:
        """Return candidates that suit all units of these ages, shape (G,); `n_points` of them if given.

        ``predict(panel, grid=prognosis.grid(ages))`` uses one grid for all units. For a single age it equals that of
        `grids`.

        Parameters
        ----------
        ages : array_like of shape (L,)
            Ages of the units, in the panel's time unit.
        n_points : int, optional
            Number of candidates; that of the object by default.
        """
        return self.life_evidence.grid(ages, n_points)

    def grids(self, ages: ArrayLike, n_points: int | None = None) -> FloatArray:
        """Return the candidates that `predict` uses for units of these ages, shape (L, G); `n_points` if given.

        Parameters
        ----------
        ages, n_points
            As for `grid`.
        """
        return self.life_evidence.grids(ages, n_points)

    def log_densities(self, panel: Panel, grid: ArrayLike) -> FloatArray:
        """Return ln P(x | k, r) of every unit, candidate and mode, in the panel's units, shape (L, G, K).

        Parameters
        ----------
        panel : Panel
            Running units.
        grid : array_like of shape (G,) or (L, G)
            Candidate remaining lives.
        """
        found, own = self.evidence(panel, grid)[0], self.life_evidence
        if own.components is None:
            return found
        # The average density of a mode's components.
        joint = found + own.components.log_shares
        highest = np.maximum.reduceat(joint, own.components.starts[:-1], axis=-1)
        total = own.summed(np.exp(joint - highest[..., own.components.modes]))
        result: FloatArray = highest + np.log(total)
        return result

    def evidence(self, panel: Panel, grid: ArrayLike) -> tuple[FloatArray, SharedEvidence | None]:
        """Return the terms of (18) that depend on the readings.

        Parameters
        ----------
        panel : Panel
            Running units.
        grid : array_like of shape (G,) or (L, G)
            Candidate remaining lives, common or each unit's own.

        Returns
        -------
        log_densities : ndarray of shape (L, G, K)
            ln P(x | k, r), in the panel's units; of the n components of the modes, if the model has some.
        shared : SharedEvidence or None
            The posterior of the shared factors, for lives linked to them; None if lives are not linked.
        """
        return self.life_evidence.of_panel(panel, grid)[:2]

    @underflow_is_zero
    def calibrated(self, panel: Panel, estimator: FailureModeEM | None = None, **options: Any) -> RemainingLife:
        """Measure coverage on held-out units, and return a prognosis that is corrected towards the nominal coverage.

        The panel is split into folds of whole units. Each fold is predicted by a fit to the others, and the correction
        is learned from these predictions. Print the result's `calibration` to see the coverage before and after.

        Parameters
        ----------
        panel : Panel
            The training units.
        estimator : FailureModeEM, optional
            Fitted from scratch without each fold; with ``basis="auto"`` each fold chooses again. Default: a warm start
            from this model's parameters for each fold, with its bases, which is faster.
        options
            ages, n_folds, correct, tempers, degrees, random_state, n_jobs, progress: as for
            `cem.calibration.calibrate`.

        Returns
        -------
        RemainingLife
            The same prognosis with its `calibration`, which reports the coverage on held-out units before and after.

        Raises
        ------
        PredictionError, PanelError
            The panel has a channel that the model does not know, or lacks one of the model's.
        OptionError, FitError
            As for `cem.calibration.calibrate`.
        """
        if self.model.components is not None:
            raise OptionError(
                "the model carries the uncertainty of its parameters, and the fits without each fold do not; calibrate "
                "cem.RemainingLife(model.without_uncertainty())"
            )
        if panel.channels != self.model.channels:
            self.model.with_own_channels(panel)  # refuses channels that neither the model nor its fit knows
        return self.replaced(calibration=calibrate(panel, self.recipe(estimator), **options))

    def recipe(self, estimator: FailureModeEM | None = None) -> Callable[[Panel], RemainingLife]:
        """Return a function that fits the same prognosis to other training units; see `calibrated`.

        Parameters
        ----------
        estimator : FailureModeEM, optional
            As for `calibrated`.
        """
        from cem.fitting.estimator import FailureModeEM

        family, held = self.lifetimes.laws[0].family, self.model.training
        if estimator is None:
            warm = FailureModeEM(
                self.model.n_modes,
                covariance=self.model.training.get("covariance", "full"),
                linking_rank=self.model.linking_rank,
                **{name: held[name] for name in OF_A_REFIT if name in held},
                time_axis="to_failure",
                lifetimes=family,  # type: ignore[arg-type]  # one of the names
            )
        elif estimator.time_axis != "to_failure":
            raise OptionError(f"the estimator's time_axis is {estimator.time_axis!r}; 'to_failure' was expected")

        def fit(part: Panel) -> RemainingLife:
            part = part.select_channels(self.model.channels)
            with warnings.catch_warnings():
                # The whole fit has given these warnings already.
                warnings.simplefilter("ignore", CemWarning)
                if estimator is None:
                    em = FailureModeEM(**warm.get_params(deep=False)).fit(part, init=self.model)
                else:
                    em = FailureModeEM(**{**estimator.get_params(deep=False), "uncertainty": None}).fit(part)
            model = em.model_
            worth = [self.information[self.model.channels.index(name)] for name in model.channels]
            return RemainingLife(model, information=worth, n_points=self.n_points, gate=self.gate)

        return fit

    # -- variants, files ----------------------------------------------------------------------------------------------

    def replaced(self, **options: Any) -> RemainingLife:
        """Return the prognosis with other ``lifetimes``, ``information``, ``calibration``, ``n_points`` or ``gate``.

        Parameters
        ----------
        **options
            Arguments of the constructor and their new values.
        """
        kept = {name: getattr(self, name) for name in ("lifetimes", "information", "calibration", "n_points", "gate")}
        return type(self)(self.model, **{**kept, **options})

    def report(
        self,
        panel: Panel | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str | None = None,
        notes: Sequence[str] = (),
    ) -> str:
        """Describe the prognosis, and the units of a panel under it, on one self-contained HTML page.

        Parameters
        ----------
        panel, path, title, notes
            As for `cem.FailureModeModel.report`.

        Returns
        -------
        str
            The page.

        Raises
        ------
        OptionError, PredictionError, PanelError, MissingPackageError
            As for `cem.FailureModeModel.report`.
        """
        from cem.extras import room

        page: str = room("report").report(self, panel, path, title=title, notes=notes)
        return page

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Save the model with the laws, κ and calibration in its record; `load` and `cem.load` read it.

        The file is written whole or not at all, with the errors and warnings of `FailureModeModel.save`.

        Parameters
        ----------
        path : path-like or binary file object
            File to write.
        """
        self._model_with_all().save(path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | bytes | IO[bytes],
        *,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> RemainingLife:
        """Load a prognosis that `save` wrote, or a model file of a fit on the time to failure.

        Parameters
        ----------
        path : path-like, bytes, or binary file object
            The model file, its content, or an open file, as for `cem.load`.
        functions : mapping of str to callable, optional
            The functions that `Custom` bases call, as for `cem.load`.

        Raises
        ------
        ModelFileError
            The file is not a valid model file.
        OptionError
            Its model is not on the time to failure.
        """
        from cem.model.loading import load_by

        return cls(load_by("cem.RemainingLife.load", path, functions))

    def _model_with_all(self) -> FailureModeModel:
        """The model, with the laws, κ and calibration of this prognosis added to its training record."""
        added: dict[str, Any] = {"lifetimes": self.lifetimes.to_dict(), "information": self.information.tolist()}
        training = {name: value for name, value in self.model.training.items() if name not in ("calibration", _GATE)}
        if self.gate != "auto":
            added[_GATE] = self.gate or "off"
        if self.calibration is not None:
            added["calibration"] = self.calibration.to_dict()
        return type(self.model)(**{**self.model._arguments(), "training": {**training, **added}})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"RemainingLife is immutable; make another one with replaced({name}=...)")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.model, self.lifetimes, self.information, self.calibration, self.n_points, self.gate)

    # Pickles use __reduce__; other libraries, such as skops, use these two.

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self._model_with_all(), "n_points": self.n_points}

    def __setstate__(self, state: dict[str, Any]) -> None:
        RemainingLife.__init__(self, state["model"], n_points=state["n_points"])

    def __repr__(self) -> str:
        laws = ", ".join(
            f"{label!r}: {law.family}, median {law.median():.4g}"
            for label, law in zip(self.model.mode_labels, self.lifetimes.laws, strict=True)
        )
        calibrated = "" if self.calibration is None else ", calibrated"
        return f"RemainingLife({laws}; {self.model.n_channels} channels{calibrated})"

    def _repr_html_(self) -> str:
        from cem.prognosis.law_table import prognosis_html

        return prognosis_html(self)


def _restored(
    model: FailureModeModel,
    lifetimes: Lifetimes,
    information: FloatArray,
    calibration: Calibration | None,
    n_points: int,
    gate: str | None = "auto",  # absent in pickles from before 0.9.0
) -> RemainingLife:
    return RemainingLife(
        model, lifetimes=lifetimes, information=information, calibration=calibration, n_points=n_points, gate=gate
    )


def _ages(panel: Panel) -> FloatArray:
    """Time of each unit's last reading; PredictionError if it is before the unit was new."""
    ages = np.array(panel.times[np.asarray(panel.offsets[1:]) - 1], dtype=np.float64)
    early = np.flatnonzero(ages < 0)
    if early.size:
        raise PredictionError(
            f"unit {panel.units[early[0]]!r} has its last reading at {ages[early[0]]:g}; ages count from the time "
            "axis' zero, when a unit is new: give times on the clock of the training units, not times to failure"
        )
    return ages


def _information(given: ArrayLike | Mapping[str, float] | None, channels: Sequence[str]) -> FloatArray:
    """κ of every channel, from one number, one per channel, or a mapping."""
    if given is None:
        return np.ones(len(channels))
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in channels]
        if unknown:
            raise OptionError(f"information names channel {unknown[0]!r}; the channels are {listed(channels, 20)}")
        given = [given.get(name, 1.0) for name in channels]
    try:
        worth = np.array(np.broadcast_to(np.asarray(given, dtype=np.float64), (len(channels),)))
    except (TypeError, ValueError):
        raise OptionError(
            f"information is {given!r}; a number, {len(channels)} of them, or a dict by channel was expected"
        ) from None
    wrong = np.flatnonzero(~((worth > 0) & (worth <= 1)))
    if wrong.size:
        raise OptionError(
            f"information of channel {channels[wrong[0]]!r} is {worth[wrong[0]]}; above 0 and at most 1 was expected"
        )
    return worth
