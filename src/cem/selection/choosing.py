"""How many modes: every number fitted, compared by likelihood, criteria, left-out units and bootstrap tests."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cem.em.mixture_problem import MixtureProblem
from cem.errors import CemWarning, FitError, OptionError, PanelError, UncertaintyError
from cem.errors.names import counted, listed
from cem.errors.options import shortened
from cem.errors.warning import warn
from cem.fitting.estimator import FailureModeEM
from cem.fitting.fitted_problem import FittedProblem, fitted_problem
from cem.fitting.options import seed_of
from cem.fitting.uncertain import checked_option
from cem.model.inputs import panel_to_fit
from cem.numerics.threads import threads_told
from cem.panel.mode_priors import all_mode_labels
from cem.selection.held_out_modes import folds_of, held_out_scores, with_held_out
from cem.selection.mode_choice import ModeCandidate, ModeChoice
from cem.selection.recommendation import choices_of, recommended
from cem.statistics.sufficient import SufficientStatistics
from cem.uncertainty.mode_test import ModeTest, mode_test

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["choose_modes"]

Step = Callable[[str, int, int], None]

_LIKELY = ("full", "pooled", "diagonal")
_MOST_NUMBERS = 100


def choose_modes(
    estimator: FailureModeEM,
    panel: Any,
    modes: Iterable[int] = range(1, 7),
    *,
    test: bool = True,
    n_replicates: int = 99,
    level: float = 0.05,
    n_folds: int = 5,
    random_state: int | np.random.Generator | None = 0,
    n_jobs: int = 1,
    maximum_likelihood: Literal["full", "pooled", "diagonal"] = "full",
    progress: Step | None = None,
) -> ModeChoice:
    """Compare numbers of modes, and recommend one.

    Each number is fitted to all units, and to all but each fold (with the weight of shrinkage of all units, if
    covariances are shrunk). The bootstrap likelihood-ratio test of K modes against
    K + 1 draws fleets from the K-mode fit, on the units' own times, missing cells and covariates. See "How many modes"
    in model.md.

    The recommendation is what two of three say: the smallest BIC; the fewest modes whose held-out log-likelihood is
    within a standard error of the best; the fewest modes that the test does not reject. If all three differ it is the
    one in the middle. Without the test it is the choice of the held-out log-likelihood. A number of modes that a fold
    could not be fitted with is not recommended if another one can.

    Parameters
    ----------
    estimator : FailureModeEM
        All options but `n_modes`; it is not changed.
    panel : Panel or data frame
        The fleet. Known labels take part: numbers of modes below the number of labels are left out.
    modes : iterable of int
        Numbers of modes, at most 100. A number is tested if the next one is among them, too.
    test : bool
        Whether to test. Linked channels (a penalised fit) and fits on the time to failure (whose running units stop for
        reasons that the model does not know) have no test, and the result says so.
    n_replicates : int
        Most fleets that a test draws; it stops sooner if its verdict is clear.
    level : float
        Of the tests: a p above it does not reject.
    n_folds : int
        Number of folds.
    random_state : int, Generator or None
        Seed of the folds and of the drawn fleets; None: another one each time. That of the fits is the estimator's.
    n_jobs : int
        Threads, for folds and for drawn fleets; -1: one per core. The result is the same for any number.
    maximum_likelihood : {"full", "pooled", "diagonal"}
        Shrunk covariances do not maximise the likelihood. Where the estimator has them, the log-likelihood, AIC, BIC,
        ICL, entropy and test are those of fits with this covariance. Take "pooled" for modes of few units.
    progress : callable, optional
        Called with (stage, done, of how many).

    Returns
    -------
    ModeChoice
        Its `estimator` is fitted with the recommended number, with the `uncertainty` that its option asks for unless
        that is refused, which a warning tells.

    Raises
    ------
    OptionError
        An option has a value that it cannot take, or no number of modes is left.
    PanelError
        The panel cannot be fitted with any of the numbers of modes.

    Warns
    -----
    CemWarning
        Those of the recommended fit.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()[:80]
    >>> estimator = cem.FailureModeEM(1, n_init=5, covariance="pooled", random_state=0)
    >>> cem.selection.choose_modes(estimator, panel, range(1, 4), n_replicates=19, n_folds=3).n_modes
    3
    """
    if not isinstance(estimator, FailureModeEM):
        raise OptionError(
            f"estimator is of type {type(estimator).__name__}; a FailureModeEM was expected: "
            "choose_modes(cem.FailureModeEM(1), panel, range(1, 7))"
        )
    numbers = _numbers(modes)
    _check(n_replicates, level, n_folds, n_jobs, test)
    if progress is not None and not callable(progress):
        raise OptionError(f"progress={progress!r}: a function of (stage, done, of how many), or None, was expected")
    n_jobs = os.cpu_count() or 1 if n_jobs == -1 else int(n_jobs)
    seed = seed_of(random_state).entropy  # of an integer it is the integer
    assert isinstance(seed, int)
    if test and 1.0 / (n_replicates + 1) > level:
        least = int(np.ceil(1.0 / level - 1e-9)) - 1
        raise OptionError(
            f"n_replicates={n_replicates}: p is at least {1 / (n_replicates + 1):.2g}, so the test could never reject "
            f"at level={level}; take at least {least} replicates"
        )
    if maximum_likelihood not in _LIKELY:
        raise OptionError(
            f"maximum_likelihood={maximum_likelihood!r}: one of {', '.join(map(repr, _LIKELY))} was expected"
        )
    fleet = panel_to_fit(panel, table=estimator._table(None, None, None))
    fold_of = folds_of(fleet, n_folds, seed, estimator.time_axis)
    told: Step = progress if progress is not None else lambda stage, done, total: None

    given = estimator.get_params(deep=False)
    if not isinstance(given["random_state"], (int, np.integer)):
        # Without a number each fit would have other starts: a generator's in an order that depends on threads, and with
        # None the fit that is returned could be another than that of the table.
        given["random_state"] = int(np.random.default_rng(seed_of(given["random_state"])).integers(2**31))
    law = given.get("uncertainty")
    if law is not None:  # only the fit that is returned needs it
        checked_option(law)
        given["uncertainty"] = None
    # One mode is not shrunk, and a full covariance is a pooled one there, but not a diagonal one.
    shrinks = given["covariance"] == "shrunk" or (given["covariance"] == "auto" and not given["linking_rank"])

    def of(n_modes: int, **others: Any) -> FailureModeEM:
        return FailureModeEM(**{**given, "n_modes": n_modes, **others})

    labels = all_mode_labels(fleet)
    left_out = {n: f"the units have {counted(len(labels), 'label')}" for n in numbers if n < len(labels)}
    numbers = [n for n in numbers if n not in left_out]
    if not numbers:
        raise OptionError(
            f"the units carry {counted(len(labels), 'label')} ({listed(labels, 5)}), more than any number of modes "
            "asked for; compare at least as many modes as labels"
        )
    instead = ""
    fits: dict[int, FailureModeEM] = {}
    likely: dict[int, FailureModeEM] = {}
    noted: dict[int, list[warnings.WarningMessage]] = {}
    refused: Exception | None = None
    for done, n_modes in enumerate(numbers, start=1):
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fits[n_modes] = of(n_modes).fit(fleet)
                noted[n_modes] = list(caught)
                likely[n_modes] = fits[n_modes]
                shrunk = fits[n_modes].model_.training.get("covariance") == "shrunk"
                if shrunk or (shrinks and n_modes == 1 and maximum_likelihood == "diagonal"):
                    instead = maximum_likelihood
                    likely[n_modes] = of(n_modes, covariance=instead, shrinkage="auto").fit(fleet)
        except (FitError, PanelError) as error:
            refused = refused or error
            left_out[n_modes] = str(error)
            likely.pop(n_modes, None)
        if any(one.interrupted_ for one in (fits.get(n_modes), likely.get(n_modes)) if one is not None):
            raise KeyboardInterrupt
        told("fits", done, len(numbers))
    numbers = [n for n in numbers if n in likely]
    if not numbers:
        assert refused is not None
        raise refused
    candidates: Sequence[ModeCandidate] = [_candidate(n, fits[n], likely[n]) for n in numbers]

    without = "" if test else "it was not asked for"
    if test:
        without = _why_no_test(likely[numbers[0]])
    if not without:
        with threads_told(FitError):
            tests = _tests(likely, fleet, n_replicates, seed, n_jobs, told)
        candidates = [replace(one, test=tests.get(one.n_modes)) for one in candidates]
        if not tests:
            without = (
                "there is only one number of modes" if len(numbers) == 1 else "no two numbers of modes are successive"
            )

    def of_fold(n_modes: int) -> FailureModeEM:
        if n_modes in fits and fits[n_modes].shrinkage_:  # chosen once: choosing it in each fold takes most of the time
            return of(n_modes, covariance="shrunk", shrinkage=fits[n_modes].shrinkage_)
        return of(n_modes)

    scores, without_held_out = held_out_scores(
        of_fold, fleet, numbers, fold_of, n_jobs=n_jobs,
        progress=lambda done, total: told("folds", done, total),
    )  # fmt: skip
    candidates = with_held_out(candidates, scores)
    choices = choices_of(candidates, level)
    n_modes, reason = recommended(candidates, choices, level, without, fleet.n_units)
    if law is not None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                fits[n_modes] = of(n_modes, uncertainty=law).fit(fleet)
                noted[n_modes] = list(caught)
            except UncertaintyError as error:  # the comparison and the fit itself stand
                caught.clear()
                warn(f"the recommended fit is without uncertainty={law!r}: {error}", CemWarning)
                noted[n_modes] += caught
        if fits[n_modes].interrupted_:
            raise KeyboardInterrupt
    for message in noted[n_modes]:
        if issubclass(message.category, CemWarning):
            warn(str(message.message), message.category)
    return ModeChoice(
        tuple(candidates), n_modes, reason, choices, fits[n_modes], left_out, without, instead, level, without_held_out
    )


def _numbers(modes: Iterable[int]) -> list[int]:
    try:
        given = list(islice(modes, _MOST_NUMBERS + 1))
    except TypeError:
        given = []
    whole = [n for n in given if isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1]
    if not given or len(whole) < len(given):
        raise OptionError(f"modes={modes!r}: whole numbers from 1 on were expected, such as range(1, 7)")
    if len(given) > _MOST_NUMBERS:
        raise OptionError(f"modes={shortened(modes)}: at most {_MOST_NUMBERS} numbers of modes can be compared")
    return sorted({int(n) for n in whole})


def _check(n_replicates: int, level: float, n_folds: int, n_jobs: int, test: bool) -> None:
    for name, value, least in (("n_replicates", n_replicates, 1), ("n_folds", n_folds, 2)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise OptionError(f"{name}={value!r}: a whole number of at least {least} was expected")
    if not isinstance(level, (int, float, np.number)) or not 0.0 < level < 1.0:
        raise OptionError(f"level={level!r}: a number between 0 and 1 was expected")
    if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
        raise OptionError(f"n_jobs={n_jobs!r}: a number of threads, or -1 for one per core, was expected")
    if not isinstance(test, (bool, np.bool_)):
        raise OptionError(f"test={test!r}: True or False was expected")


def _candidate(n_modes: int, fit: FailureModeEM, likely: FailureModeEM) -> ModeCandidate:
    """ℓ and criteria of the maximum-likelihood fit, sizes and posteriors of the estimator's own."""
    rho = fit.responsibilities_
    top = rho.argmax(axis=1)
    means = np.array([rho[top == k, k].mean() if (top == k).any() else np.nan for k in range(n_modes)])
    bic, icl = likely.bic(), likely.icl()
    return ModeCandidate(
        n_modes,
        float(likely.log_likelihood_),
        int(likely.n_parameters_),
        likely.aic(),
        bic,
        icl,
        0.5 * (icl - bic),
        np.array(fit.weights_),
        means,
        tuple(fit.mode_labels_),
    )


def _why_no_test(em: FailureModeEM) -> str:
    if em.linking_rank:
        return "fits with linked channels are penalised; test with linking_rank=0"
    if em.time_axis == "to_failure":
        return "on the time to failure the model does not say when running units are looked at"
    return ""


def _tests(
    fits: dict[int, FailureModeEM], panel: Panel, n_replicates: int, entropy: int, n_jobs: int, told: Step
) -> dict[int, ModeTest]:
    """The test of each K whose K + 1 is there, by K."""
    pairs = [n for n in fits if n + 1 in fits]
    problems: dict[int, FittedProblem] = {}
    found: dict[int, ModeTest] = {}
    for n_modes in pairs:
        for n in (n_modes, n_modes + 1):
            if n not in problems:
                problems[n] = fitted_problem(fits[n], panel)
        small, large = problems[n_modes], problems.pop(n_modes + 1)
        problems = {n_modes + 1: large}
        smaller = small.mixture
        larger = _on_the_same_units(smaller, large.mixture)
        if n_modes > 1:  # a floor that was lowered for a quiet mode of K would leave K + 1 below it
            floors = np.minimum(smaller.constraints.noise_floors, larger.constraints.noise_floors)
            larger = replace(larger, constraints=replace(larger.constraints, noise_floors=floors))
        seed = np.random.SeedSequence([entropy, n_modes])
        found[n_modes] = mode_test(smaller, small.parameters, larger, n=n_replicates, seed=seed, n_jobs=n_jobs)
        told("tests", len(found), len(pairs))
    return found


def _on_the_same_units(smaller: MixtureProblem, larger: MixtureProblem) -> MixtureProblem:
    """The problem of K + 1 modes on the statistics of that of K.

    The offsets of regimes are refined with the modes, so those of the K-mode fit hold for both in a test.
    """
    own, other = smaller.expectation.statistics, larger.expectation.statistics
    same = np.array_equal(own.projections, other.projections) and np.array_equal(own.factors, other.factors)
    if same:
        return larger
    statistics: SufficientStatistics = own.with_known_modes(np.array(other.known_modes)).with_membership(
        other.membership_design, other.mode_priors
    )
    constraints = replace(larger.constraints, transforms=smaller.constraints.transforms)
    return MixtureProblem(larger.expectation.on(statistics), constraints)
