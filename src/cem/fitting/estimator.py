"""`FailureModeEM`: the fit with the face of a scikit-learn estimator."""

from __future__ import annotations

import inspect
import os
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.basis.families import Basis, Polynomial
from cem.em.constraints import COVARIANCE_STRUCTURES, CovarianceStructure
from cem.errors import DeprecatedUseWarning, FitError, NotFittedError, OptionError
from cem.errors.names import object_array
from cem.errors.warning import warn
from cem.fitting.criteria import n_free_parameters, panel_likelihood
from cem.fitting.fit import fit_mixture
from cem.fitting.options import FitOptions, Progress, printer, seed_of
from cem.fitting.record import training_record
from cem.fitting.result import FitResult
from cem.fitting.sklearn_face import SklearnFace, check_scores_get_times
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.parameters import Parameters
from cem.model.clock_match import check_clock, check_measures
from cem.model.inputs import COLUMNS, columns_record, is_frame, panel_to_fit, panel_to_score, table_options
from cem.numerics.floating import underflow_is_zero
from cem.numerics.threads import threads_told
from cem.panel.panel import Panel

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel

__all__ = ["FailureModeEM"]

FloatArray = NDArray[np.float64]
# A Panel, an array, or a data frame of whichever library.
Data = Any
Axes = str | Sequence[str] | None
Labels = ArrayLike | Sequence[Hashable | None]


class FailureModeEM(SklearnFace):
    """A finite mixture of linear mixed-effects models, fitted by EM: one latent class per failure mode.

    Every unit has, for every channel, a curve with coefficients of its own, drawn from the normal distribution that
    its failure mode has for that channel (model.md §2). The fit finds the modes, what their curves look like, how
    much units of a mode differ, and to which mode each unit belongs.

    Parameters
    ----------
    n_modes : int
        K, the number of failure modes.
    basis : Basis or mapping of channel to Basis
        What curves are made of; the key None of a mapping stands for all channels not named.
    init : {"mixed", "kmeans", "prototypes", "random", "tempered"}
        Kind of start: k-means++ on each unit's shrunken coefficients, units drawn at random that the others are given
        to by nearness, random responsibilities, tempered ones; "mixed" takes the first once and the second
        seven times in turn.
    n_init : int
        Number of fresh starts. The most promising get a short run, the best of these longer ones, one a full one. With
        two starts or more the search also tries moves of the best one so far, the more the less starts agree. From ten
        to fifty, more starts make it choose better where to begin; beyond, the search grows with them.
    max_iter : int
        Passes of one start, at most.
    tol : float
        A fit has converged when what the log-likelihood has still to gain (Aitken) is below ``tol`` times the number
        of observed values.
    noise_floor : float or mapping of channel to float, optional
        Smallest noise variance, in squared units of the channel; in a mapping, None is for channels not named. By
        default the larger of δ²/12, with δ the decimal step of the channel's readings, and a tenth of the channel's
        noise variance in the one-mode fit: without a floor the likelihood is unbounded where a sensor is stuck. The
        latter makes way, to a tenth of the mode's own noise, where it holds a mode whose units are quiet one by one.
    covariance_floor : float or mapping of channel to float, optional
        Smallest eigenvalue of the coefficients' covariance in internal coordinates (channels of variance 1, basis
        orthonormal over the pooled times); 1e-6 by default.
    covariance : {"full", "diagonal", "pooled"}
        Covariance of the coefficients: its own for every mode and channel; that with uncorrelated coefficients; or
        one a channel, shared by the modes. A mode of few units wants the latter two.
    linking_rank : int
        r, how many factors the channels of a unit share: given the mode their coefficients are then correlated
        (model.md §6). 0: independent. Intervals of units with many channels are too narrow without.
    linking_penalty : float
        Strength of the ridge on the loadings: it is ``linking_penalty`` / N for a mode of N units, so that a mode of a
        few units is linked with caution. The default is for modes of a dozen units; where every mode has many, a lower
        one predicts better: let `cem.selection.cross_validate` choose.
    accelerate : {"auto", "none"}
        Whether to take quasi-Newton steps beside EM's own: they never lower ℓ, and save most passes of a slow fit.
    kernel : {"auto", "lapack"}
        The kernel of the E step: the fastest for the panel, or LAPACK unit by unit; both give the same numbers.
    n_jobs : int
        Threads; -1 for one a core. The result is the same to the bit for any number.
    time_axis : {"forward", "to_failure"}
        Fit on the time as given, or on the time to failure, τ = t − t_failure ≤ 0, together with the law of lifetimes
        of each mode. Units still running then take part at every remaining life that they may have, model.md (19).
    lifetimes : {"auto", "lognormal", "weibull", "empirical", "linked"}
        Family of the laws of lifetimes; looked at on the time to failure alone. With "empirical", smoothed lives, the
        objective need not rise in every pass. "linked" is a lognormal law whose log
        life depends on the factors that channels share: how a unit wears tells how old it will be. "auto" is "linked"
        where ``linking_rank`` is above 0, and "lognormal" elsewhere.
    unit, time : str, optional
        Columns of the unit's id and of the time, for data frames: `fit`, `predict` and the others then take long
        tables, one row per reading, as `Panel.from_frame` does.
    columns : mapping, optional
        Further arguments of `Panel.from_frame`, such as ``{"channels": ["s2", "s3"], "failure_time": "died"}``.
    random_state : None, int, numpy.random.Generator or RandomState
        Seed of the starts; the same int gives the same result to the bit.
    verbose : int
        1 prints a line for each stage of the search, 2 one for each start.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
        π, mode probabilities.
    means_ : ndarray of shape (K, C, p)
        Mean coefficients, in units of the channel: ``model_.bases[c](t) @ means_[k, c]`` is a mode's mean curve.
        NaN beyond ``basis_sizes_[c]``.
    covariances_, covariance_factors_ : ndarray of shape (K, C, p, p)
        Covariances of the coefficients, and their lower Cholesky factors; NaN beyond ``basis_sizes_[c]``.
    noise_variances_ : ndarray of shape (K, C)
        In squared units of the channel.
    responsibilities_ : ndarray of shape (L, K)
        ρ̂ of the training units; 0 or 1 where the mode was known.
    log_likelihood_ : float
        Of the parameters returned: total, natural logarithm, all constants, in the panel's own units. On the time to
        failure it is (19), lives included.
    log_likelihoods_ : ndarray
        Its history over the passes of the best start; where channels are linked, from where the links are added.
    objectives_ : ndarray
        What never falls, over the same passes: the log-likelihood, less the penalty of the loadings where channels are
        linked and with that of the laws on the time to failure. With ``lifetimes="empirical"`` it may fall, for
        smoothed lives are not maximum likelihood; a `ConvergenceWarning` says so where it did.
    converged_ : bool
    interrupted_ : bool
        Ctrl-C ended the search; the best so far was kept.
    n_iter_ : int
        Passes of the best start.
    starts_ : list of dict
        kind, log_likelihood, n_iter and fate of each start; those of kind "moved" are beside `n_init`, and so is one of
        kind "quiet": the best one fitted again after a noise floor made way for a quiet mode.
    kernel_ : str
        The kernel that ran: "lapack", or "lanes" or "shared" (designs) with the instruction level.
    lifetimes_ : cem.lifetimes.Lifetimes
        Law of lifetimes of each mode; on the time to failure alone.
    mode_labels_ : tuple
        Labelled modes first, in sorted order; the others, numbered from 0, by falling weight. A fit that goes on from
        `init` keeps the order given, and that from a model its labels.
    n_parameters_ : int
        Free parameters: weights, means, covariances and noise variances; what links channels, less what does not show
        between them; on the time to failure those of the laws of lifetimes.
    basis_sizes_ : tuple of int
        p_c.
    channels_ : tuple of str
        The channels fitted: those of the panel that vary.
    n_features_in_ : int
        Number of channels of the panel.
    model_ : FailureModeModel
        The fitted model: immutable, predicts, forecasts, samples, saves.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> em = cem.FailureModeEM(3, random_state=0).fit(panel)
    >>> em.weights_.shape
    (3,)
    """

    _estimator_type = "clusterer"

    def __init__(
        self,
        n_modes: int,
        *,
        basis: Basis | Mapping[str | None, Basis] = Polynomial(2),  # noqa: B008 (immutable)
        init: Literal["mixed", "kmeans", "prototypes", "random", "tempered"] = "mixed",
        n_init: int = 10,
        max_iter: int = 1000,
        tol: float = 1e-9,
        noise_floor: float | Mapping[str | None, float] | None = None,
        covariance_floor: float | Mapping[str | None, float] | None = None,
        covariance: CovarianceStructure = "full",
        linking_rank: int = 0,
        linking_penalty: float = 500.0,
        accelerate: Literal["auto", "none"] = "auto",
        kernel: Literal["auto", "lapack"] = "auto",
        n_jobs: int = 1,
        time_axis: Literal["forward", "to_failure"] = "forward",
        lifetimes: Literal["auto", "lognormal", "weibull", "empirical", "linked"] = "auto",
        unit: str | None = None,
        time: str | None = None,
        columns: Mapping[str, Any] | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_modes = n_modes
        self.basis = basis
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.noise_floor = noise_floor
        self.covariance_floor = covariance_floor
        self.covariance = covariance
        self.linking_rank = linking_rank
        self.linking_penalty = linking_penalty
        self.accelerate = accelerate
        self.kernel = kernel
        self.n_jobs = n_jobs
        self.time_axis = time_axis
        self.lifetimes = lifetimes
        self.unit = unit
        self.time = time
        self.columns = columns
        self.random_state = random_state
        self.verbose = verbose

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Estimators pickled by earlier releases knew of no columns.
        self.__dict__.update({"unit": None, "time": None, "columns": None, **state})

    # -- fit ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Data,
        y: ArrayLike | None = None,
        *,
        modes: Labels | None = None,
        times: ArrayLike | None = None,
        axes: Axes = None,
        unit: str | None = None,
        time: str | None = None,
        columns: Mapping[str, Any] | None = None,
        init: FloatArray | Parameters | FailureModeModel | None = None,
        progress: Progress | None = None,
    ) -> FailureModeEM:
        """Fit the mixture.

        An exception, Ctrl-C among them, leaves the estimator as it was.

        Parameters
        ----------
        X : Panel, data frame, or array of shape (units, times) or (units, times, channels)
            The fleet; NaN cells are missing. A data frame has a row per reading, and needs `unit` and `time`, here or
            in the constructor.
        y : None
            For scikit-learn's signature. Labels given here are taken as `modes`, with a warning: a later release will
            not look at them.
        modes : sequence of labels of length units, optional
            Known failure modes, labels of any kind; None, NaN and -1 are unknown. A panel's own labels serve where
            none are given.
        times : array_like of shape (times,) or (units, times), optional
            Times of an array's readings; 0, 1, 2, … by default.
        axes : sequence of str, optional
            What the axes of a three-dimensional array are, as for `Panel.from_arrays`.
        unit, time, columns : optional
            As for the constructor, whose values serve where none are given.
        init : ndarray of shape (L, K), Parameters or FailureModeModel, optional
            One start instead of many: responsibilities; parameters in the user's terms (as
            `FailureModeModel.user_parameters`); or a fitted model to go on from. Modes keep the order that they are
            given in. Those of a model keep their labels too: labels of the panel are found among them, and a label
            that is new names the mode without one of its own that describes its units best.
        progress : callable, optional
            Called with (stage, starts done, starts in the stage, best log-likelihood so far).

        Returns
        -------
        FailureModeEM
            Itself.

        Raises
        ------
        OptionError
            An option has a value that it cannot take.
        PanelError
            The data cannot carry such a model; names the unit, channel or row. Or a data frame whose columns are not
            known.
        PredictionError
            The clock or a unit of measurement is not that of the model to go on from.
        FitError
            No start could be completed.

        Warns
        -----
        DeprecatedUseWarning
            Labels came as `y`.
        """
        if y is not None:
            if modes is not None:
                raise OptionError("y and modes are both given; labels go into modes alone")
            warn("labels as y are deprecated, and a later release will not look at them; give fit(X, modes=labels)",
                 DeprecatedUseWarning)  # fmt: skip
            modes = y
        table = self._table(unit, time, columns)
        panel = panel_to_fit(X, table=table, modes=modes, times=times, axes=axes)
        if times is not None:
            check_scores_get_times(panel)
        # The fit is another object's, whose attributes are taken over in one step: whatever interrupts leaves all of
        # the old fit, or all of this one.
        fresh = object.__new__(type(self))
        fresh.__dict__.update({name: value for name, value in self.__dict__.items() if name != "lifetimes_"})
        fresh._fit_to(panel, init, progress, columns_record(table, panel) if is_frame(X) else None)
        self.__dict__ = fresh.__dict__
        return self

    @underflow_is_zero
    def _fit_to(
        self,
        panel: Panel,
        init: FloatArray | Parameters | FailureModeModel | None,
        progress: Progress | None,
        columns: dict[str, Any] | None,
    ) -> None:
        options = self._options()
        if progress is None and self.verbose:
            progress = printer(self.verbose)
        _check_init(init, panel)
        record: dict[str, Any] = {} if columns is None else {COLUMNS: columns}
        with threads_told(FitError):
            if self.time_axis == "to_failure":
                from cem.fitting.lives import fit_with_lives
                from cem.panel.life_checks import check_lives

                check_lives(panel)
                fit = fit_with_lives(panel, options, family=self.lifetimes, init=init, progress=progress)
                result, self.lifetimes_ = fit.result, fit.lifetimes
                record["lifetimes"] = fit.lifetimes.to_dict()
                record["n_failed"] = int((~np.isnan(panel.failure_times)).sum())
            else:
                result = fit_mixture(panel, options, init=init, progress=progress)
        self.n_features_in_ = panel.n_channels
        self._keep(result, panel, options, record)

    def _keep(self, result: FitResult, panel: Panel, options: FitOptions, record: Mapping[str, Any]) -> None:
        from cem.model.model import FailureModeModel

        run, statistics = result.run, result.statistics
        parameters = run.parameters
        self.n_parameters_ = n_free_parameters(
            parameters.n_modes,
            statistics.sizes,
            self.covariance,
            parameters.rank,
            lifetimes=Lifetimes.from_dict(record["lifetimes"]) if "lifetimes" in record else None,
            n_untold=int(statistics.noise_is_untold.sum()),
        )
        self.responsibilities_ = run.responsibilities
        self.log_likelihood_ = result.log_likelihood
        self.log_likelihoods_ = np.asarray(run.log_likelihoods) + statistics.log_jacobian
        self.objectives_ = np.asarray(run.objectives) + statistics.log_jacobian
        self.converged_ = run.converged
        self.interrupted_ = result.interrupted
        self.n_iter_ = run.n_passes
        self.kernel_ = result.kernel
        self.mode_labels_ = result.mode_labels
        self.basis_sizes_ = statistics.sizes
        self.channels_ = statistics.channels
        self.starts_ = [
            {
                "kind": start.kind,
                "log_likelihood": start.log_likelihood + statistics.log_jacobian,
                "n_iter": start.run.n_passes if start.run is not None else 0,
                "fate": "best" if index == result.best else start.fate,
            }
            for index, start in enumerate(result.starts)
        ]
        self.model_ = FailureModeModel(
            parameters=parameters,
            coordinates=statistics.coordinates,
            bases=statistics.bases,
            channels=statistics.channels,
            response=panel.response if panel.response in statistics.channels else None,
            mode_labels=self.mode_labels_,
            time_unit=panel.time_unit,
            channel_units={name: unit for name, unit in panel.channel_units.items() if name in statistics.channels},
            time_axis=self.time_axis,
            training={
                **training_record(result, panel, options, n_parameters=self.n_parameters_, starts=self.starts_),
                **record,
            },
        )

    # -- fitted attributes in the user's terms --------------------------------------------------------------------

    def _model(self) -> FailureModeModel:
        if "model_" not in self.__dict__:
            raise NotFittedError("this FailureModeEM has not been fitted; call fit(panel) first")
        model: FailureModeModel = self.__dict__["model_"]
        return model

    @property
    def weights_(self) -> FloatArray:
        return self._model().weights_

    @property
    def means_(self) -> FloatArray:
        return self._model().means_

    @property
    def covariances_(self) -> FloatArray:
        return self._model().covariances_

    @property
    def covariance_factors_(self) -> FloatArray:
        return self._model().covariance_factors_

    @property
    def noise_variances_(self) -> FloatArray:
        return self._model().noise_variances_

    # -- prediction -----------------------------------------------------------------------------------------------

    def fit_predict(self, X: Data, y: ArrayLike | None = None, **options: Any) -> NDArray[Any]:
        """Fit, and give the label of each training unit's most probable mode; shape (L,). Arguments as for `fit`.

        Parameters
        ----------
        X, y
            As for `fit`.
        **options
            Keyword arguments of `fit`.
        """
        self.fit(X, y, **options)
        labels: NDArray[Any] = _as_labels(self.mode_labels_)[self.responsibilities_.argmax(axis=1)]
        return labels

    def predict(self, X: Data, *, times: ArrayLike | None = None, axes: Axes = None) -> NDArray[Any]:
        """Label of the most probable mode of each unit; shape (L,).

        Parameters
        ----------
        X : Panel, data frame, or array of shape (units, times) or (units, times, channels)
            Channels are matched by name; arrays hold those of the model in order. A data frame is read as in `fit`,
            its units in order of first appearance.
        times : array_like of shape (times,) or (units, times), optional
            Times of an array's readings; may be left out where the fit was at 0, 1, 2, ... as well.
        axes : sequence of str, optional
            As for `fit`.

        Raises
        ------
        PredictionError
            An array without times for a model that was fitted with times; a channel that the model does not know; a
            clock or a unit of measurement that is not that of the training panel.
        PanelError
            X cannot be read as a panel.
        """
        model = self._model()
        return model.predict(self._to_score(X, times, axes))

    def predict_proba(self, X: Data, *, times: ArrayLike | None = None, axes: Axes = None) -> FloatArray:
        """Mode probabilities of each unit, (3) of model.md; shape (L, K). Arguments as for `predict`."""
        model = self._model()
        return model.predict_proba(self._to_score(X, times, axes))

    def score_samples(self, X: Data, *, times: ArrayLike | None = None, axes: Axes = None) -> FloatArray:
        """Marginal log-likelihood of each unit, in the panel's units; shape (L,). Arguments as for `predict`."""
        model = self._model()
        return model.score_samples(self._to_score(X, times, axes))

    def score(self, X: Data, y: object = None, *, times: ArrayLike | None = None, axes: Axes = None) -> float:
        """Mean marginal log-likelihood per unit; arguments as for `predict`, `y` is not looked at.

        Parameters
        ----------
        X, times, axes
            As for `predict`.
        y
            For scikit-learn's signature; not used.
        """
        return float(np.mean(self.score_samples(X, times=times, axes=axes)))

    def bic(self, X: Data | None = None, *, times: ArrayLike | None = None, axes: Axes = None) -> float:
        """−2 ℓ + `n_parameters_` · log L, with L the number of units; lower is better (Schwarz 1978).

        ℓ is the log-likelihood that the fit maximises, `log_likelihood_`, without any penalty: units of known mode
        count with that mode alone, and on the time to failure lives of failed and of running units are part of it.
        `FailureModeModel.summary` and ``cem fit`` state the same number.

        Parameters
        ----------
        X : Panel, data frame, or array of shape (units, times) or (units, times, channels), optional
            Another panel, at the parameters of this fit: its own labels and failure times count in the same way, and L
            is its number of units. By default the panel of the fit, which need not be at hand.
        times : array_like of shape (times,) or (units, times), optional
            Times of an array's readings.
        axes : sequence of str, optional
            As for `fit`.

        Raises
        ------
        PanelError
            A unit of X has a label that is none of the model's modes, or the model is over the time to failure and no
            unit of X has failed.
        """
        log_likelihood, responsibilities = self._likelihood(X, times, axes)
        return float(-2.0 * log_likelihood + self.n_parameters_ * np.log(len(responsibilities)))

    def aic(self, X: Data | None = None, *, times: ArrayLike | None = None, axes: Axes = None) -> float:
        """−2 ℓ + 2 `n_parameters_`; lower is better (Akaike 1974). ℓ and arguments are those of `bic`."""
        return float(-2.0 * self._likelihood(X, times, axes)[0] + 2.0 * self.n_parameters_)

    def icl(self, X: Data | None = None, *, times: ArrayLike | None = None, axes: Axes = None) -> float:
        """BIC plus twice the entropy of the mode probabilities; lower is better (Biernacki et al. 2000).

        Both are those of `bic`: units of known mode have no entropy, and on the time to failure lives tell of modes.
        """
        log_likelihood, responsibilities = self._likelihood(X, times, axes)
        logs = np.log(np.where(responsibilities > 0, responsibilities, 1.0))
        bic = -2.0 * log_likelihood + self.n_parameters_ * np.log(len(responsibilities))
        return float(bic - 2.0 * (responsibilities * logs).sum())

    def _likelihood(self, X: Data | None, times: ArrayLike | None, axes: Axes) -> tuple[float, FloatArray]:
        """ℓ and responsibilities, of the fit or of a panel at its parameters."""
        model = self._model()
        if X is None:
            if times is not None or axes is not None:
                raise OptionError("times and axes go with an array; give it as X")
            return self.log_likelihood_, self.responsibilities_
        return panel_likelihood(model, self._to_score(X, times, axes))

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [repr(self.n_modes)]
        for name, parameter in defaults.items():
            if name in ("self", "n_modes"):
                continue
            value = getattr(self, name)
            if not (value is parameter.default or value == parameter.default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    # -- checks -----------------------------------------------------------------------------------------------------

    def _table(self, unit: str | None, time: str | None, columns: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Arguments of `Panel.from_frame`: those of the call, else the constructor's."""
        if unit is None and time is None and columns is None:
            return table_options(self.unit, self.time, self.columns)
        return table_options(
            self.unit if unit is None else unit,
            self.time if time is None else time,
            self.columns if columns is None else columns,
        )

    def _to_score(self, X: Data, times: ArrayLike | None, axes: Axes) -> Panel:
        table = None if self.unit is None and self.time is None else self._table(None, None, None)
        return panel_to_score(self._model(), X, times=times, axes=axes, table=table)

    def _options(self) -> FitOptions:
        def positive(name: str, kind: type = int) -> Any:
            value = getattr(self, name)
            number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if kind is float:
                number = number or isinstance(value, (float, np.floating))
            if not number or not value > 0 or not np.isfinite(value):
                article = "an integer above 0" if kind is int else "a number above 0"
                raise OptionError(f"{name}={value!r}: {article} was expected")
            return kind(value)

        def one_of(name: str, allowed: tuple[str, ...]) -> Any:
            value = getattr(self, name)
            if not isinstance(value, str) or value not in allowed:
                raise OptionError(f"{name}={value!r}: one of {', '.join(map(repr, allowed))} was expected")
            return value

        if self.time_axis not in ("forward", "to_failure"):
            raise OptionError(f"time_axis={self.time_axis!r}: 'forward' or 'to_failure' was expected")
        n_jobs = self.n_jobs
        if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
            raise OptionError(f"n_jobs={n_jobs!r}: a number of threads, or -1 for one a core, was expected")
        for option in ("noise_floor", "covariance_floor"):
            floor = getattr(self, option)
            if not (floor is None or isinstance(floor, (int, float, np.number, Mapping))) or isinstance(floor, bool):
                raise OptionError(f"{option}={floor!r}: None, a positive number, or a dict by channel was expected")
        rank, penalty = self.linking_rank, self.linking_penalty
        if not isinstance(rank, (int, np.integer)) or isinstance(rank, bool) or rank < 0:
            raise OptionError(f"linking_rank={rank!r}: a number of shared factors, 0 for none, was expected")
        number = isinstance(penalty, (int, float, np.number)) and not isinstance(penalty, bool)
        if not number or not 0 <= penalty < np.inf:
            raise OptionError(f"linking_penalty={penalty!r}: a finite number of 0 or more was expected")
        if rank and self.covariance != "full":
            raise OptionError(
                f"linking_rank={rank} with covariance={self.covariance!r}: linked channels need covariance='full'; "
                "or take linking_rank=0"
            )
        return FitOptions(
            n_modes=positive("n_modes"),
            basis=self.basis,
            init=one_of("init", ("mixed", "kmeans", "prototypes", "random", "tempered")),
            n_init=positive("n_init"),
            max_iter=positive("max_iter"),
            tol=positive("tol", float),
            noise_floor=self.noise_floor,
            covariance_floor=self.covariance_floor,
            covariance=one_of("covariance", COVARIANCE_STRUCTURES),
            accelerate=one_of("accelerate", ("auto", "none")),
            kernel=one_of("kernel", ("auto", "lapack")),
            n_jobs=os.cpu_count() or 1 if n_jobs == -1 else int(n_jobs),
            seed=seed_of(self.random_state),
            verbose=int(self.verbose),
            linking_rank=rank,
            linking_penalty=float(penalty),
        )


def _check_init(init: object, panel: Panel) -> None:
    """Refuse to go on from a model of another clock or other units of measurement."""
    from cem.model.model import FailureModeModel

    if isinstance(init, FailureModeModel):
        check_measures(init, panel)
        check_clock(init, panel)


def _as_labels(labels: tuple[Any, ...]) -> NDArray[Any]:
    """Labels as an array: numbers stay numbers, mixtures become objects."""
    are_numbers = all(isinstance(label, (int, np.integer)) for label in labels)
    return np.asarray(labels) if are_numbers else object_array(labels)
