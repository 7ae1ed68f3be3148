"""`FailureModeEM`: fit the mixture with a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Never, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.basis.families import Basis
from cem.em.constraints import CovarianceStructure
from cem.errors import FitError, IgnoredLabelsWarning, OptionError, PanelError, UncertaintyError
from cem.errors.warning import warn
from cem.fitting.automatic_basis import chosen_for, is_automatic, settings_of
from cem.fitting.bases import DEFAULT_BASIS
from cem.fitting.checked_options import checked_options
from cem.fitting.conditioning import membership_conditions, membership_design
from cem.fitting.criteria import n_free_parameters
from cem.fitting.embedding import column_kinds, model_parts
from cem.fitting.feature_output import FeatureOutput
from cem.fitting.fit import fit_mixture
from cem.fitting.fit_keywords import FitKeywords
from cem.fitting.fitted_attributes import FittedAttributes
from cem.fitting.fitted_form import FittedForm
from cem.fitting.input_columns import as_read, n_columns
from cem.fitting.nested_parameters import check_nested
from cem.fitting.options import FitOptions, Progress, printer
from cem.fitting.predictions import Predictions
from cem.fitting.record import training_record
from cem.fitting.result import FitResult
from cem.fitting.sklearn_face import SklearnFace, check_scores_get, warn_of_split_units
from cem.fitting.uncertain import IS_KEPT, Uncertain
from cem.fitting.unit_weights import DISTINCT, Weights, counts_of_units, one_row_each, weights_in, with_copies
from cem.fitting.warm_start import checked_start, membership_of
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.parameters import Parameters
from cem.model.clock_match import check_clock, check_measures
from cem.model.inputs import COLUMNS, columns_record, is_frame, panel_to_fit
from cem.numerics.floating import underflow_is_zero
from cem.numerics.threads import threads_told
from cem.panel.panel import Panel

if TYPE_CHECKING:
    from cem.covariates.regimes import Regimes
    from cem.fitting.columns import ColumnChoice
    from cem.model.model import FailureModeModel
    from cem.process.channel_process import ProcessKind

__all__ = ["FailureModeEM"]

FloatArray = NDArray[np.float64]
# A Panel, an array, or a data frame of any library.
Data = Any
Axes = str | Sequence[str] | None
Labels = ArrayLike | Sequence[Hashable | None]
_OF_SOME_FITS = ("lifetimes_", "basis_choice_")


class FailureModeEM(Predictions, Uncertain, FeatureOutput, FittedAttributes, SklearnFace):
    """Find the failure modes of a fleet: a mixture of linear mixed-effects models, fitted by EM.

    Each channel of each unit has its own curve. Its coefficients are random effects: they come from a normal
    distribution that belongs to the channel and to the unit's failure mode (the latent class), model.md §2. The fit
    estimates the weight of each mode, its mean curves, how much its units differ, its noise, and the probability that
    each unit belongs to it.

    Parameters
    ----------
    n_modes : int
        K, the number of failure modes. If you do not know it, `cem.selection.choose_modes` compares several numbers and
        recommends one.
    basis : Basis, mapping of channel to Basis, or "auto", default Polynomial(2, lower=True)
        The functions of time that curves are made of. A mapping gives channels a basis each; its key None stands for
        the channels not named. Choose a larger basis if curves bend more than a parabola, a smaller one for short
        units. "auto" compares bases on units that are left out, and takes the simplest that is near the best, by
        default as `cem.selection.choose_basis`: with it `linking_rank` and `linking_penalty`, where the rank is 0 and
        the axis is the time to failure, and `covariance`, where that is "auto". It takes as long as some hundred fits.
    init : {"mixed", "kmeans", "prototypes", "random", "tempered"}, default "mixed"
        How fresh starts are made: "kmeans" by k-means++ on the units' shrunken coefficients, "prototypes" from units
        drawn at random, each other unit going to the nearest, "random" from random responsibilities, "tempered" from
        annealed ones. "mixed" is up to a third k-means of single coefficients, those that part the units most clearly;
        the others cycle through one k-means start and seven prototype starts. Rarely worth changing.
    n_init : int, default 10
        Number of fresh starts. EM finds a local optimum, so several are needed. The most likely starts get a short run,
        the best of these a longer run, and one a full run. With two starts or more, and wherever `shrinkage` is
        chosen, the search also moves modes of the best solution, and from one solution to another, more often where
        starts disagree and where the fleet is small.
        From 10 to 50, more starts mean a better choice of where to begin; beyond 50 the whole search grows in
        proportion. Raise it if two seeds give different log-likelihoods.
    max_iter : int, default 1000
        Largest number of EM passes of one start. Raise it after a `ConvergenceWarning`. With 0, ``fit(panel,
        init=model)`` evaluates the likelihood at given parameters: no step is made, floors give way to them,
        `converged_` is False, and there is no warning about it.
    tol : float, default 1e-9
        Convergence tolerance. The fit stops when the log-likelihood it can still gain (Aitken extrapolation, in nats)
        is below ``tol`` times the number of observed values.
    noise_floor : float or mapping of channel to float, optional
        Smallest residual variance, in squared units of the channel; in a mapping, None stands for channels not named.
        Without a floor the likelihood is unbounded where a sensor is stuck. The default is the larger of δ²/12, with δ
        the decimal step of the channel's readings, and a tenth of the channel's residual variance in the one-mode fit.
        Where the second of these binds a mode whose units are quiet one by one, it drops to a tenth of that mode's own
        noise. Set it if a stuck sensor still makes a mode of its own, or if you know the sensor's resolution.
    covariance_floor : float or mapping of channel to float, optional
        Smallest eigenvalue of the random-effect covariance, in internal coordinates (channels scaled to variance 1,
        basis orthonormal over the pooled times). Default 1e-6. Rarely worth changing.
    covariance : {"auto", "shrunk", "full", "pooled", "diagonal"}, default "auto"
        Random-effect covariance. "full" has its own for every mode and channel, "pooled" has one per channel that all
        modes share, and "shrunk" lies between them, by as much as suits units that were held out (`shrinkage`).
        "diagonal" has uncorrelated coefficients. "auto" is "shrunk", or "full" with one mode, without random columns,
        or with linked channels and no `shrinkage`. Criteria such as `bic` need a fit by maximum likelihood: "full",
        "pooled" or "diagonal".
    shrinkage : "auto" or float, default "auto"
        How many units of every mode the common covariance of "shrunk" counts as, model.md (25). "auto" chooses it by
        the likelihood of units that were held out; a fit with ``init=model`` keeps the model's. ``max_iter=0`` chooses
        nothing: unless the number or a shrunk model is given, the objective is the likelihood alone, as for "full".
    linking_rank : int, default 0
        r, the number of latent factors that the channels of a unit share (model.md, "Linked channels"). With 0,
        channels are independent given the mode, and intervals of units with many channels are too narrow. Needs
        ``covariance="full"`` or "shrunk".
    linking_penalty : float, default 500.0
        Ridge penalty on the loadings: ``linking_penalty`` / N for a mode of N units, so small modes are linked with
        caution. The default suits modes of a dozen units. With many units in every mode a lower penalty predicts
        better; choose it with `cem.selection.cross_validate`.
    accelerate : {"auto", "none"}, default "auto"
        "auto" adds quasi-Newton steps to EM. They never lower the objective, and save most passes of a slow fit.
    kernel : {"auto", "lapack"}, default "auto"
        Code for the E step: the fastest for the panel, or LAPACK unit by unit. Both give the same numbers.
    n_jobs : int, default 1
        Number of threads; -1 means one per core. The result is the same to the bit for any number.
    time_axis : {"forward", "to_failure"}, default "forward"
        "forward" models the time as given. "to_failure" models the time to failure, τ = t − t_failure ≤ 0, and each
        mode's law of lifetimes; `RemainingLife` needs it. Units still running (right-censored) then take part at every
        remaining life that they may have, model.md (19).
    lifetimes : {"auto", "lognormal", "weibull", "empirical", "linked"}, default "auto"
        Family of the laws of lifetimes; used only with ``time_axis="to_failure"``. "linked" is lognormal, and the log
        life depends on the factors that the channels share, so how a unit wears says how long it lives. "empirical"
        smooths the observed lives; its objective may fall in some passes. "auto" is "linked" if ``linking_rank`` is
        above 0, else "lognormal"; with ``max_iter=0`` it is that of `init`.
    unit, time : str, optional
        Columns of the unit's id and of the time. Name them to pass data frames to `fit`, `predict` and the other
        methods: long tables with one row per reading, as for `Panel.from_frame`.
    columns : mapping, optional
        Further arguments of `Panel.from_frame`, such as ``{"channels": ["s2", "s3"], "failure_time": "died"}``.
    covariates : str, term, list of these, or mapping of channel to these, optional
        What is read with the sensors and explains part of their readings, such as a load: names of covariates of the
        panel, or terms of `cem.covariates`. A mapping gives channels terms each; its key None stands for the channels
        not named; a channel without an entry has no terms. Each term has one coefficient for all modes, or with
        ``by_mode=True`` one for each. Levels, means and scales are learned here and kept in the model.
    regimes : cem.Regimes, optional
        Operating regimes, recognised from covariates. Every channel gets an offset and a scale in each regime, and the
        model is one of (reading − offset) / scale.
    random_columns : "all", "none", sequence of int, or mapping of channel to these, optional
        The basis functions whose coefficients vary from unit to unit. Each mode has one coefficient of the others.
        "none" gives group-based trajectories. Default: all, or up to the ``random_degree`` of a `Polynomial`.
    common_columns : the same, optional
        Basis functions that have one coefficient for all units of all modes; they are not among `random_columns`.
    noise : {"own", "pooled"}, default "own"
        "own" has a residual variance for every mode and channel, "pooled" one for every channel.
    membership : str, term, or list of these, optional
        Covariates of units by which the probabilities of the modes depend on the unit, before any reading.
    random_state : None, int, numpy.random.Generator or RandomState
        Seed of the starts. The same int gives the same result to the bit.
    verbose : int, default 0
        1 prints a line for each stage of the search, 2 one for each start.
    **nested
        None; ``FailureModeEM(**em.get_params())`` passes ``basis__degree`` and the like, which must agree with `basis`.
    uncertainty : {"information", "bootstrap"}, optional
        Give ``model_`` the uncertainty of its parameters (`FailureModeModel.with_uncertainty`): by the information of
        the fit, or by 199 refits of fleets drawn from it, which also serve where units are few. On the time to failure,
        where lives are not linked to the channels or units still run, fleets are drawn from the units with replacement.
        A fit with ``sample_weight`` has no bootstrap. Default: predictions take the parameters as known.
    process : {"wiener", "integrated", "ou", "auto"} or mapping of channel to these, optional
        A unit wanders about its own curve, and forecasts start from where it is (model.md, "A unit wanders about its
        curve"): as a Wiener process, as a smooth integrated one, or as an Ornstein-Uhlenbeck process, which returns.
        The key None of a mapping stands for channels not named. How much units wander is chosen by the likelihood.
        "auto": one of these or none, by likelihood and forecasts of units that are left out; ``model_.summary()`` says
        what was tried. Only on the forward time axis, without covariates of readings, regimes and linked channels.
        Default: what a curve leaves is white noise.
    gross_errors : {"warn", "leave_out", "keep"}, default "warn"
        What to do with readings far outside every mode, such as one ten times too large. "warn" takes a quick look, and
        a `GrossErrorsWarning` names the worst. "leave_out" fits without those that are more than 8 robust standard
        deviations from their unit's own curve, and repeats the fit until they are the same; it costs two to four fits.
        "keep" does not look.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
        π, mode probabilities.
    means_ : ndarray of shape (K, C, p)
        Mean coefficients (fixed effects) in units of the channel: ``model_.bases[c](t) @ means_[k, c]`` is the mean
        curve of mode k. NaN beyond ``basis_sizes_[c]``.
    covariances_, covariance_factors_ : ndarray of shape (K, C, p, p)
        Random-effect covariances and their lower Cholesky factors; NaN beyond ``basis_sizes_[c]``.
    noise_variances_ : ndarray of shape (K, C)
        Residual variances, in squared units of the channel.
    covariate_effects_ : dict
        Channel → column → effect: a number, or an array (K,) where it is one for each mode.
    regimes_ : ChannelRegimes or None
        Regimes, with the offsets and scales of the channels.
    membership_ : dict or None
        Column → coefficients of the modes' log-odds, shape (K,).
    random_columns_ : dict
        Channel → functions of its basis whose coefficients vary from unit to unit.
    basis_choice_ : cem.selection.BasisChoice
        What ``basis="auto"`` compared, and took; print it for the table. Only after such a fit from scratch.
    process_ : dict
        Channel → its process with kind, ratio ϱ and rate λ, as `FailureModeModel.process_`.
    responsibilities_ : ndarray of shape (L, K)
        ρ̂, posterior mode probabilities of the training units; 0 or 1 where the mode was known. Units of weight 0 have
        theirs at the fitted parameters.
    log_likelihood_ : float
        Total log-likelihood at the fitted parameters (natural logarithm, all constants, the panel's own units). On the
        time to failure it is model.md (19), lives included.
    log_likelihoods_ : ndarray
        Log-likelihood by pass of the best start; with linked channels, from where the links were added.
    objectives_ : ndarray
        The objective by pass: the log-likelihood, less the penalties of shrunk covariances, of the loadings and of the
        laws of lifetimes. It never falls, except with ``lifetimes="empirical"``, where smoothed lives are not maximum
        likelihood; a `ConvergenceWarning` says so if it did.
    converged_ : bool
        Whether the best start reached `tol`.
    interrupted_ : bool
        Whether Ctrl-C ended the search early; the best start so far was kept.
    n_iter_ : int
        EM passes of the best start.
    left_out_readings_ : LeftOutReadings
        Readings that ``gross_errors="leave_out"`` left out, with `counts`, `to_frame` and `removed_from`.
    starts_ : list of dict
        kind, log_likelihood, n_iter and fate of each start. Starts of the kinds "moved" and "crossed" come on top
        of `n_init`, and so does one of kind "quiet": the best start fitted again after a noise floor was lowered for a
        quiet mode, and one of kind "known": the best of the search before `shrinkage` was chosen. The fate of the one
        kept is "best". One "overtaken by start i" was the best until start i, which had been stopped near it, was run
        to its end.
    kernel_ : str
        The kernel used: "lapack", or "lanes" or "shared" (shared designs) with the instruction set.
    lifetimes_ : cem.lifetimes.Lifetimes
        Law of lifetimes of each mode; only on the time to failure.
    mode_labels_ : tuple
        Labels of the modes: known labels first, sorted; then numbers from 0, by falling weight. A fit that continues
        from `init` keeps the given order, and from a model also its labels.
    shrinkage_ : float
        Weight of the common covariance, in units of every mode; 0 where covariances are not shrunk.
    n_parameters_ : int
        Free parameters: weights, means, covariances and residual variances, with linked channels the identifiable part
        of the loadings, and on the time to failure the laws of lifetimes.
    basis_sizes_ : tuple of int
        p_c, number of coefficients of each channel.
    channels_ : tuple of str
        The channels fitted: those of the panel that vary.
    classes_ : ndarray of shape (K,)
        `mode_labels_` as an array, in the order of the columns of `predict_proba`.
    labels_ : ndarray of shape (L,)
        Label of each training unit's most probable mode.
    n_features_in_ : int
        Number of channels of the panel; of an array (units, times) its number of columns.
    feature_names_in_ : ndarray of str
        Channels of the panel; absent after a fit to an array.
    model_ : FailureModeModel
        The fitted model. It is immutable; it predicts, forecasts, samples and saves.

    See Also
    --------
    FailureModeModel : the fitted model.
    RemainingLife : remaining useful life, from a fit with ``time_axis="to_failure"``.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> em = cem.FailureModeEM(3, random_state=0).fit(panel)
    >>> em.weights_.shape
    (3,)

    Machines that run at three loads, of which the site decides how likely each mode is:

    >>> fleet = cem.datasets.load_compressor_fleet()
    >>> regimes = cem.Regimes(["speed", "valve"], n=3)
    >>> em = cem.FailureModeEM(3, covariance="pooled", regimes=regimes, membership=["site"], random_state=0).fit(fleet)
    >>> em.regimes_.offsets.shape
    (3, 6)
    >>> list(em.membership_)
    ['intercept', 'site=mill', 'site=mine']
    """

    _estimator_type = "clusterer"

    def __init__(
        self,
        n_modes: int,
        *,
        basis: Basis | Mapping[str | None, Basis] | Literal["auto"] = DEFAULT_BASIS,
        init: Literal["mixed", "kmeans", "prototypes", "random", "tempered"] = "mixed",
        n_init: int = 10,
        max_iter: int = 1000,
        tol: float = 1e-9,
        noise_floor: float | Mapping[str | None, float] | None = None,
        covariance_floor: float | Mapping[str | None, float] | None = None,
        covariance: CovarianceStructure | Literal["auto"] = "auto",
        shrinkage: float | Literal["auto"] = "auto",
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
        covariates: Any = None,
        regimes: Regimes | None = None,
        random_columns: ColumnChoice = None,
        common_columns: ColumnChoice = None,
        noise: Literal["own", "pooled"] = "own",
        membership: Any = None,
        uncertainty: Literal["information", "bootstrap"] | None = None,
        process: ProcessKind
        | Literal["auto"]
        | Mapping[str | None, ProcessKind | Literal["auto"] | None]
        | None = None,
        gross_errors: Literal["warn", "leave_out", "keep"] = "warn",
        **nested: Never,
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
        self.shrinkage = shrinkage
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
        self.covariates = covariates
        self.regimes = regimes
        self.random_columns = random_columns
        self.common_columns = common_columns
        self.noise = noise
        self.membership = membership
        self.__dict__["uncertainty"] = uncertainty  # beside the method of this name
        self.process = process
        self.gross_errors = gross_errors
        if nested:
            check_nested(self.get_params(deep=False), nested)

    # -- fit ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Data,
        y: object = None,
        *,
        modes: Labels | None = None,
        times: ArrayLike | None = None,
        axes: Axes = None,
        covariates: Any = None,
        unit_covariates: Any = None,
        unit: str | None = None,
        time: str | None = None,
        columns: Mapping[str, Any] | None = None,
        init: FloatArray | Parameters | FailureModeModel | None = None,
        progress: Progress | None = None,
        **weights: Unpack[Weights],
    ) -> Self:
        """Fit the mixture to a fleet.

        If `fit` raises an exception, KeyboardInterrupt included, the estimator stays as it was.

        Parameters
        ----------
        X : Panel, data frame, or array of shape (units, times) or (units, times, channels)
            The fleet; NaN cells are missing. A data frame has one row per reading, and needs `unit` and `time`, here or
            in the constructor.
        y
            For scikit-learn's signature; ignored, with a warning. Known labels are given as `modes`.
        modes : sequence of labels of length units, optional
            Known failure modes, labels of any kind; None, NaN and -1 mean unknown. Default: the panel's own labels.
        times : array_like of shape (times,) or (units, times), optional
            Times of an array's readings; 0, 1, 2, … by default.
        axes : sequence of str, optional
            What the axes of a three-dimensional array are, as for `Panel.from_arrays`.
        covariates, unit_covariates : mapping, structured array or data frame, optional
            Covariates of an array's readings and of its units by name, as for `Panel.from_arrays`. In a search of
            scikit-learn give them in arrays with named fields, of shape (units, times) and (units,), which it slices.
        unit, time, columns : optional
            As for the constructor; they take precedence over its values.
        init : ndarray of shape (L, K), Parameters or FailureModeModel, optional
            A warm start in place of the search: responsibilities; parameters as `FailureModeModel.user_parameters`
            returns them; or a fitted model. Modes keep the given order. A model's modes keep their labels too: a known
            label of the panel means the mode of that label, and a new label names the unlabelled mode that describes
            its units best. A model's bases, covariates, regimes and membership are kept as it has them. Parameters do
            not hold the coefficients that are common to all modes, which then start at those of the pooled curves.
        progress : callable, optional
            Called with (stage, starts done, starts in the stage, best log-likelihood so far).
        sample_weight, **weights : array_like of shape (units,), optional
            How often each unit counts: whole numbers. The fit is that of the fleet in which a unit of weight 3 is there
            three times, and one of weight 0 is not; it takes the time and memory of that fleet.

        Returns
        -------
        FailureModeEM
            The estimator itself.

        Raises
        ------
        OptionError
            An option has a value that it cannot take.
        PanelError
            The data cannot be fitted, or the columns of a data frame are not named; the message names the unit,
            channel or row at fault.
        PredictionError
            The panel's clock or units of measurement differ from those of the model given as `init`.
        FitError
            No start could be completed.
        UncertaintyError
            The parameters cannot have the uncertainty that the option asks for. If it takes the fit to know, the fit is
            kept.

        Warns
        -----
        IgnoredLabelsWarning
            `y` was given.
        SuspectDataWarning
            A search of scikit-learn cut a data frame through its units.
        """
        sample_weight = weights_in(weights)
        if y is not None:
            warn(
                "y is ignored, as by every clusterer; to fit with known modes give fit(X, modes=labels), or labels in "
                "the panel: panel.with_modes(labels)",
                IgnoredLabelsWarning,
            )
        table = self._table(unit, time, columns)
        panel = panel_to_fit(
            X,
            table=table,
            modes=modes,
            times=times,
            axes=axes,
            covariates=covariates,
            unit_covariates=unit_covariates,
        )
        of_arrays = {"times": times, "covariates": covariates, "unit_covariates": unit_covariates}
        if any(given is not None for given in of_arrays.values()):
            check_scores_get(of_arrays, panel)
        if table is not None and is_frame(X):
            warn_of_split_units(table["unit"], panel)
        counts = counts_of_units(sample_weight, panel)
        # Fit another object and take over its attributes in one step. An interruption then leaves all of the old fit
        # or all of the new one.
        fresh = object.__new__(type(self))
        fresh.__dict__.update({name: value for name, value in self.__dict__.items() if name not in _OF_SOME_FITS})
        fresh._see_columns(X, panel)
        try:
            refused = fresh._fit_to(
                panel, init, progress, columns_record(table, panel) if is_frame(X) else None, counts
            )
        except PanelError as error:
            read = as_read(X, panel)
            if not read:
                raise
            raise type(error)(f"{error}{read}") from None
        self.__dict__ = fresh.__dict__
        if refused is not None:
            raise UncertaintyError(f"{refused}. {IS_KEPT}") from None
        return self

    def _see_columns(self, X: Data, panel: Panel) -> None:
        columns = n_columns(X)
        self._n_columns, self.n_features_in_ = columns, panel.n_channels if columns is None else columns
        self.__dict__.pop("feature_names_in_", None)
        if isinstance(X, Panel) or is_frame(X):
            self.feature_names_in_ = np.asarray(panel.channels, dtype=object)

    @underflow_is_zero
    def _fit_to(
        self,
        panel: Panel,
        init: FloatArray | Parameters | FailureModeModel | None,
        progress: Progress | None,
        columns: dict[str, Any] | None,
        counts: NDArray[np.int64] | None,
    ) -> UncertaintyError | None:
        """Fit; returns why the parameters cannot have the uncertainty that was asked for, if so."""
        record: dict[str, Any] = {} if columns is None else {COLUMNS: columns}
        if is_automatic(self.basis) and self.gross_errors != "leave_out":  # there each fit without them chooses
            each_once = panel if counts is None else panel[counts > 0]
            self.__dict__.update(chosen_for(self, each_once, init, record))
        options = self._options()
        self.__dict__.pop("left_out_readings_", None)
        if self.gross_errors == "leave_out":
            from cem.fitting.gross_errors import fit_leaving_out

            return fit_leaving_out(self, panel, (init, progress, columns, counts))
        given, refused = panel, None
        init = checked_start(init, panel, options, counts)
        if not options.max_iter and (init is None or isinstance(init, np.ndarray)):
            raise OptionError(
                "max_iter=0 evaluates given parameters: give init=model, or init=model.user_parameters(), to fit"
            )
        if self.__dict__["uncertainty"] is not None:
            from cem.fitting.uncertain import check_own_uncertainty

            check_own_uncertainty(self, weights=counts is not None)
        if counts is not None:
            panel = with_copies(counts, given)
        if progress is None and self.verbose:
            progress = printer(self.verbose)
        _check_init(init, panel)
        if counts is not None:
            record[DISTINCT] = int(np.count_nonzero(counts))
        of_units = membership_of(init, options) or membership_conditions(panel, options)
        design = membership_design(of_units, panel)
        with threads_told(FitError):
            if self.time_axis == "to_failure":
                from cem.fitting.lives import fit_with_lives
                from cem.panel.life_checks import check_lives

                check_lives(panel)
                fit = fit_with_lives(
                    panel, options, family=self.lifetimes, init=init, progress=progress, membership_design=design
                )
                result, self.lifetimes_ = fit.result, fit.lifetimes
                form = FittedForm.of_lives(fit)
                record["lifetimes"] = fit.lifetimes.to_dict()
                record["n_failed"] = int((~np.isnan(panel.failure_times)).sum())
            else:
                result = fit_mixture(panel, options, init=init, progress=progress, membership_design=design)
                form = FittedForm.of(result)
        self._form = form
        self._keep(replace(result, of_units=of_units), panel, options, record)
        if self.time_axis == "to_failure":
            from cem.model.fit_reference import with_reference

            self.model_ = with_reference(self.__dict__["model_"], given)
        self._counts = counts
        if self.gross_errors == "warn" and options.max_iter:
            from cem.fitting.gross_errors import warn_of_gross_errors

            warn_of_gross_errors(result, panel)
        if self.__dict__["uncertainty"] is not None:
            from cem.fitting.uncertain import with_own_uncertainty

            try:
                self.model_ = with_own_uncertainty(self, given, options.seed)
            except UncertaintyError as error:
                refused = error
        if counts is not None:
            self.responsibilities_ = one_row_each(counts, self.responsibilities_, self.model_, given)
        return refused

    def _keep(self, result: FitResult, panel: Panel, options: FitOptions, record: Mapping[str, Any]) -> None:
        from cem.model.model import FailureModeModel

        run, statistics = result.run, result.statistics
        parameters = run.parameters
        self.n_parameters_ = n_free_parameters(
            parameters.n_modes,
            statistics.sizes,
            result.constraints.covariance,
            parameters.rank,
            lifetimes=Lifetimes.from_dict(record["lifetimes"]) if "lifetimes" in record else None,
            n_untold=int(statistics.noise_is_untold.sum()),
            plan=result.plan,
            pooled_noise=options.noise == "pooled",
            regimes=0 if result.conditioning is None else result.conditioning.n_map_parameters(),
            n_membership=1 if parameters.membership is None else parameters.membership.shape[1],
            processes=result.processes,
        )
        self.responsibilities_ = run.responsibilities
        self.log_likelihood_ = result.log_likelihood
        self.log_likelihoods_ = np.asarray(run.log_likelihoods) + result.log_jacobian
        self.objectives_ = np.asarray(run.objectives) + result.log_jacobian
        self.converged_ = run.converged
        self.interrupted_ = result.interrupted
        self.n_iter_ = run.n_passes
        self.kernel_ = result.kernel
        self.shrinkage_ = result.constraints.shrinkage
        self.mode_labels_ = result.mode_labels
        self.basis_sizes_ = tuple(basis.size for basis in statistics.bases)
        self.channels_ = statistics.channels
        self.starts_ = [
            {
                "kind": start.kind,
                "log_likelihood": start.log_likelihood + result.log_jacobian,
                "n_iter": start.run.n_passes if start.run is not None else 0,
                "fate": "best" if index == result.best else start.fate,
            }
            for index, start in enumerate(result.starts)
        ]
        parameters, coordinates, conditions = model_parts(result)
        self.model_ = FailureModeModel(
            parameters=parameters,
            coordinates=coordinates,
            conditions=conditions,
            of_units=result.of_units,
            column_kinds=column_kinds(result),
            processes=result.processes,
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

    def fit_predict(self, X: Data, y: object = None, **options: Unpack[FitKeywords]) -> NDArray[Any]:
        """Fit, and return the label of each training unit's most probable mode, shape (L,); arguments as for `fit`.

        Parameters
        ----------
        X, y
            As for `fit`.
        **options
            Keyword arguments of `fit`.
        """
        return self.fit(X, y, **options).labels_

    # -- checks -----------------------------------------------------------------------------------------------------

    def _options(self) -> FitOptions:
        return checked_options(self._settings())

    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments, with what ``basis="auto"`` chose in their place."""
        return settings_of(self.get_params(deep=False), self.__dict__.get("basis_choice_"))


def _check_init(init: object, panel: Panel) -> None:
    """Refuse a warm start from a model with another clock or other units of measurement."""
    from cem.model.model import FailureModeModel

    if isinstance(init, FailureModeModel):
        check_measures(init, panel)
        check_clock(init, panel)
