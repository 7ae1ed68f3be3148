"""Which basis: a menu made from the fleet, compared on units that were left out; the simplest that is near the best."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.basis.families import Basis
from cem.errors import CemError, CemWarning, FitError, OptionError, PanelError
from cem.errors.names import counted
from cem.errors.options import shortened
from cem.fitting.estimator import FailureModeEM
from cem.fitting.options import seed_of
from cem.model.inputs import panel_to_fit
from cem.numerics.threads import in_order, threads_told
from cem.panel.mode_priors import all_mode_labels
from cem.prognosis.heldout import cut_off_ages, folds_of_units
from cem.selection.basis_choice import BasisCandidate, BasisChoice
from cem.selection.basis_menu import (
    PENALTIES,
    Options,
    default_bases,
    default_ranks,
    refined,
    screened,
    with_other_modes,
)
from cem.selection.basis_scores import Losses, losses_of

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["automatic_basis", "choose_basis"]

FloatArray = NDArray[np.float64]
Step = Callable[[str, int, int], None]
Score = Literal["crps", "rmse", "forecast", "log_likelihood"]

_OF_AXIS: dict[str, tuple[Score, ...]] = {"to_failure": ("crps", "rmse"), "forward": ("forecast", "log_likelihood")}
_MOST_STARTS = 3
_LEAST_UNITS = 4
_PROCESSES = ("wiener", "integrated")


def choose_basis(
    estimator: FailureModeEM,
    panel: Any,
    *,
    bases: Iterable[Basis] | None = None,
    modes: Iterable[int] | None = None,
    ranks: Iterable[int] | None = None,
    penalties: Iterable[float] = PENALTIES,
    processes: Iterable[str | None] | None = None,
    score: Score | None = None,
    ages: Mapping[Hashable, ArrayLike] | ArrayLike | int = 10,
    cap: float | None = None,
    n_folds: int = 5,
    standard_errors: float = 1.0,
    random_state: int = 0,
    n_jobs: int = 1,
    progress: Step | None = None,
) -> BasisChoice:
    """Compare bases, and the links, covariance and process that go with them; take the simplest that is near the best.

    The menu is made from the fleet alone: polynomials, exponentials whose time constants are shares of the median life,
    and on the forward axis splines and hinges. Every candidate is fitted without each fold of units and scored on the
    fold, at the same cut-offs. See "Which basis" in model.md.

    There are up to three rounds. The first has every basis, without links and with the most factors at a middling
    penalty. The second has the best third of the bases with the other links, covariances and processes. The third has
    the four best so far with other numbers of modes. Taken is the candidate with the fewest parameters of those within
    a standard error of the best; it is the error of the difference to the best, paired by unit. With few units that is
    a wide margin, and the simple model may predict noticeably worse: `standard_errors=0` takes the best score.

    Parameters
    ----------
    estimator : FailureModeEM
        All options but `basis`; it is not changed. A rank above 0, a process and a covariance that is not "auto" are
        kept. To save time candidates have at most three starts; the fit that is returned has all.
    panel : Panel or data frame
        The fleet.
    bases : iterable of Basis, optional
        In place of the menu.
    modes : iterable of int, optional
        Numbers of modes to compare as well. Default: the estimator's.
    ranks : iterable of int, optional
        Numbers of shared factors; 0: channels are independent. Default: on the time to failure 0, 4 and 8, as far as
        there are more channels; on the forward axis 0.
    penalties : iterable of float
        Of their loadings.
    processes : iterable of {"wiener", "integrated", "ou"} or None, optional
        How units may wander about their curves, for independent channels on the forward axis. Default there: None,
        "wiener" and "integrated", where the estimator's options allow a process.
    score : {"crps", "rmse", "forecast", "log_likelihood"}, optional
        On the time to failure "crps", the default, or "rmse" of the remaining lives of units that failed, cut off at
        `ages`. On the forward axis "forecast", the default: the CRPS of a unit's later readings, at up to eight times,
        after a quarter, a half and three quarters of its record. Models with covariates or regimes have
        "log_likelihood" there: minus the log density of the later readings.
    ages : int, array_like of shape (F, m), or mapping of unit to m ages
        Ages at which failed units are cut off: see `cem.prognosis.heldout.cut_off_ages`.
    cap : float, optional
        Remaining lives beyond it count as `cap` in the RMSE.
    n_folds : int
        Number of folds; of fewer units, one each.
    standard_errors : float
        How far from the best score a simpler candidate may be, in standard errors of the difference. 0: the best score.
    random_state : int
        Seed of the folds, and of the ages if they are drawn.
    n_jobs : int
        Threads, for candidates side by side; -1: one per core. The result is the same for any number.
    progress : callable, optional
        Called with (round, candidates done, of how many).

    Returns
    -------
    BasisChoice
        Its `estimator` is fitted to all units with what was chosen.

    Raises
    ------
    OptionError
        An option has a value that it cannot take.
    PanelError
        The panel has too few units, or none of the candidates can be fitted.

    Warns
    -----
    CemWarning
        Those of the fit with what was chosen.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()[:40]
    >>> estimator = cem.FailureModeEM(1, time_axis="to_failure", random_state=0)
    >>> found = cem.selection.choose_basis(estimator, panel, ranks=[0], n_folds=3, ages=2)
    >>> found.basis == found.estimator.basis
    True
    """
    if not isinstance(estimator, FailureModeEM):
        raise OptionError(
            f"estimator is of type {type(estimator).__name__}; a FailureModeEM was expected: "
            "choose_basis(cem.FailureModeEM(1), panel)"
        )
    fleet = panel_to_fit(panel, table=estimator._table(None, None, None))
    found = _chosen(
        estimator.get_params(deep=False), fleet, bases=bases, modes=modes, ranks=ranks, penalties=penalties,
        processes=processes, score=score, ages=ages, cap=cap, n_folds=n_folds, standard_errors=standard_errors,
        random_state=random_state, n_jobs=n_jobs, progress=progress,
    )  # fmt: skip
    fitted = found.estimator.fit(fleet)
    if fitted.interrupted_:
        raise KeyboardInterrupt
    return replace(found, estimator=fitted)


def automatic_basis(given: Mapping[str, Any], panel: Panel) -> BasisChoice:
    """What ``FailureModeEM(basis="auto")`` takes: the choice by default, with the process as given.

    Parameters
    ----------
    given : mapping
        Options of the estimator.
    panel : Panel
        The training units, each once.
    """
    kept = None if _is_automatic_process(given["process"]) else given["process"]  # chosen for the basis that is taken
    return _chosen(given, panel, processes=(kept,), n_jobs=given["n_jobs"])


def _chosen(
    given: Mapping[str, Any],
    panel: Panel,
    *,
    bases: Iterable[Basis] | None = None,
    modes: Iterable[int] | None = None,
    ranks: Iterable[int] | None = None,
    penalties: Iterable[float] = PENALTIES,
    processes: Iterable[str | None] | None = None,
    score: Score | None = None,
    ages: Mapping[Hashable, ArrayLike] | ArrayLike | int = 10,
    cap: float | None = None,
    n_folds: int = 5,
    standard_errors: float = 1.0,
    random_state: int = 0,
    n_jobs: int = 1,
    progress: Step | None = None,
) -> BasisChoice:
    """The choice, with an estimator that is not fitted; arguments as for `choose_basis`."""
    given = {**given, "process": None if _is_automatic_process(given["process"]) else given["process"]}
    axis = given["time_axis"]
    to_failure = axis == "to_failure"
    n_jobs = _threads(n_jobs)
    kept = _score(score, given)
    margin = _margin(standard_errors)
    judged = panel[~np.isnan(panel.failure_times)] if to_failure else panel
    if judged.n_units < _LEAST_UNITS:
        what = "units that failed" if to_failure else "units"
        raise PanelError(
            f"a basis is chosen on units that are left out: at least {_LEAST_UNITS} {what} are needed, and there "
            f"{'is' if judged.n_units == 1 else 'are'} {judged.n_units}; give basis=cem.Polynomial(2), or more units"
        )
    numbers = sorted({int(n) for n in ([given["n_modes"]] if modes is None else modes)})
    least = len(all_mode_labels(panel))
    numbers = [n for n in numbers if n >= max(least, 1)]
    if not numbers:
        raise OptionError(f"modes: the units carry {counted(least, 'label')}; compare at least as many modes as labels")
    menu = default_bases(judged, axis) if bases is None else tuple(dict.fromkeys(bases))
    if not menu or not all(isinstance(basis, Basis) for basis in menu):
        raise OptionError(f"bases={shortened(menu)}: one basis or more, such as cem.Polynomial(2), were expected")
    factors = default_ranks(given, panel.n_channels) if ranks is None else tuple(sorted(set(ranks)))
    loads = tuple(sorted(set(penalties)))
    if not factors or not loads:
        raise OptionError("ranks and penalties: one number or more of each was expected; ranks=[0] for no links")
    kinds = _processes(given) if processes is None else tuple(processes)
    n_folds = min(n_folds, judged.n_units) if isinstance(n_folds, int) else n_folds
    fold_of = folds_of_units(judged.n_units, n_folds, random_state)
    cuts = cut_off_ages(judged, ages, random_state) if to_failure else np.zeros((0, 0))
    fixed = {
        **given,
        "random_state": _number(given["random_state"]),  # each candidate has the same starts
        "uncertainty": None,
        "n_jobs": 1,
        "verbose": 0,
        "gross_errors": "keep" if given["gross_errors"] == "warn" else given["gross_errors"],
        "n_init": min(given["n_init"], _MOST_STARTS) if isinstance(given["n_init"], int) else given["n_init"],
    }
    known: dict[int, tuple[Options, Losses]] = {}
    left_out: dict[str, str] = {}
    refused: list[CemError] = []

    def one(options: Options) -> Losses | CemError:
        try:
            return losses_of(FailureModeEM(**{**fixed, **options}), panel, fold_of, kept, cuts, cap)
        except CemError as error:
            return error

    def score_all(stage: str, candidates: Sequence[Options]) -> None:
        results = in_order(one, candidates, n_jobs, take_part=False)
        with threads_told(FitError), closing(results) as in_turn:
            for done, (options, result) in enumerate(zip(candidates, in_turn, strict=True), start=1):
                if isinstance(result, CemError):
                    refused.append(result)
                    left_out[_candidate(options, 0, 0.0, 0.0, 0.0).name] = str(result)
                else:
                    known[len(known)] = (options, result)
                if progress is not None:
                    progress(stage, done, len(candidates))

    def so_far() -> list[tuple[Options, float]]:
        return [(options, float(losses.values.mean())) for options, losses in known.values()]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)  # one for each fold and candidate would bury the result
        score_all("bases", screened(given, menu, factors, loads, numbers[0]))
        if not known:
            raise refused[0]
        score_all("links", refined(given, so_far(), factors, loads, kinds))
        if len(numbers) > 1:
            score_all("modes", with_other_modes(given, so_far(), numbers[1:]))
    candidates, chosen = _by_the_rule(list(known.values()), kept, margin)
    taken = candidates[chosen]
    em = FailureModeEM(**{**given, **taken.options, "basis": taken.basis})
    return BasisChoice(candidates, chosen, kept, judged.n_units, int(fold_of.max()) + 1, left_out, em, margin)


def _by_the_rule(
    known: Sequence[tuple[Options, Losses]], score: str, standard_errors: float
) -> tuple[tuple[BasisCandidate, ...], int]:
    """The candidates by rising number of parameters, and the position of the first within the margin of the best.

    Of equally many parameters the one with the smaller loss comes first.
    """
    best = min((losses.values for _, losses in known), key=lambda values: float(values.mean()))
    found = []
    for options, losses in known:
        gaps = losses.values - best
        error = float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
        mean = float(losses.values.mean())
        shown = float(np.sqrt(mean)) if score == "rmse" else mean
        found.append(_candidate(options, losses.n_parameters, shown, float(gaps.mean()), error))
    found.sort(key=lambda one: (one.n_parameters, one.gap))
    return tuple(found), next(i for i, one in enumerate(found) if one.is_near(standard_errors))


def _candidate(options: Options, n_parameters: int, *figures: float) -> BasisCandidate:
    others = {name: value for name, value in options.items() if name != "basis"}
    return BasisCandidate(options["basis"], others, n_parameters, *figures)


def _margin(standard_errors: float) -> float:
    if isinstance(standard_errors, (int, float)) and not isinstance(standard_errors, bool) and standard_errors >= 0.0:
        return float(standard_errors)
    raise OptionError(
        f"standard_errors={shortened(standard_errors)}: a number from 0 was expected, how far from the best score a "
        "simpler candidate may be; 0 takes the best, 1 the simplest within a standard error of it"
    )


def _score(score: str | None, given: Mapping[str, Any]) -> Score:
    allowed = _OF_AXIS[given["time_axis"]]
    conditioned = given["covariates"] is not None or given["regimes"] is not None
    if score is None:
        return allowed[-1] if conditioned and given["time_axis"] == "forward" else allowed[0]
    for one in allowed:
        if score == one and not (score == "forecast" and conditioned):
            return one
    raise OptionError(
        f"score={score!r} with time_axis={given['time_axis']!r}{' and covariates or regimes' * conditioned}: one of "
        f"{', '.join(repr(one) for one in allowed if not (one == 'forecast' and conditioned))} was expected"
    )


def _processes(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Processes to compare with none: where no option excludes them."""
    excluded = ("process", "covariates", "regimes", "linking_rank", "uncertainty")
    if given["time_axis"] != "forward" or any(given[name] for name in excluded):
        return (given["process"],)
    return (None, *_PROCESSES)


def _is_automatic_process(process: object) -> bool:
    """Whether a fit is to choose how units wander, in some channel."""
    return "auto" in process.values() if isinstance(process, Mapping) else process == "auto"


def _threads(n_jobs: int) -> int:
    if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
        raise OptionError(f"n_jobs={n_jobs!r}: a number of threads, or -1 for one per core, was expected")
    return os.cpu_count() or 1 if n_jobs == -1 else int(n_jobs)


def _number(random_state: object) -> int:
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return int(random_state)
    return int(np.random.default_rng(seed_of(random_state)).integers(2**31))
