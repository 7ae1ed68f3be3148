"""BIC, AIC and ICL: one number wherever they are stated, of a likelihood and a count that theory confirms."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from life_cases import fleet

import cem
from cem.basis.families import Polynomial
from cem.cli import main
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.unconstrained import UnconstrainedCoordinates
from cem.errors import OptionError, PanelError
from cem.fitting.criteria import n_free_parameters, n_loadings
from cem.lifetimes.lifetimes import Empirical, Lifetimes, LinkedLognormal, Lognormal, Weibull
from cem.mixture.parameters import Parameters
from cem.panel.panel import Panel
from cem.statistics.sufficient import SufficientStatistics


def partly_running() -> Panel:
    """Labelled units, a quarter of which are still running."""
    panel = fleet(40, 0)
    failures = np.array(panel.failure_times)
    failures[::4] = np.nan
    cut = panel.until(np.where(np.isnan(failures), 0.7 * panel.failure_times, panel.failure_times))
    return cut.with_failure_times(failures)


def fitted(panel: Panel, **options: object) -> cem.FailureModeEM:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = {"basis": Polynomial(1), "random_state": 0, "n_init": 2, "max_iter": 60, "covariance": "full"}
        return cem.FailureModeEM(2, **arguments | options).fit(panel)


LIVES = {"time_axis": "to_failure"}


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariance": "pooled"},
        {"linking_rank": 1},
        LIVES,
        {**LIVES, "lifetimes": "weibull"},
        {**LIVES, "lifetimes": "empirical"},
        {**LIVES, "linking_rank": 1},
        {**LIVES, "linking_rank": 1, "lifetimes": "lognormal"},
    ],
)
def test_one_bic(options, labelled):
    """`em.bic` left out labels and lives that the summary's had: two numbers for one fit, 60 nats apart."""
    panel = partly_running()
    panel = panel if labelled else panel.with_modes(None)
    em = fitted(panel, **options)
    bic = -2.0 * em.log_likelihood_ + em.n_parameters_ * np.log(40)
    entropy = -sum(p * np.log(p) for p in em.responsibilities_.ravel() if p > 0)
    assert em.bic() == pytest.approx(bic, rel=1e-12)
    assert em.bic(panel) == pytest.approx(bic, rel=1e-10)
    assert em.model_.summary().facts["BIC"] == pytest.approx(bic, rel=1e-12)
    assert em.aic() == pytest.approx(-2.0 * em.log_likelihood_ + 2.0 * em.n_parameters_, rel=1e-12)
    assert em.aic(panel) == pytest.approx(em.aic(), rel=1e-10)
    assert em.icl() == pytest.approx(bic + 2.0 * entropy, rel=1e-12)
    assert em.icl(panel) == pytest.approx(em.icl(), rel=1e-10)


def test_the_command_line_states_it_too(tmp_path, capsys):
    """A report and a notebook must show the same number."""
    panel = fleet(30, 0)
    rows = np.repeat(np.arange(30), np.diff(panel.offsets))
    lines = ["unit,time,a,b,mode"]
    lines += [
        f"u{l},{t!r},{x[0]!r},{x[1]!r},{panel.modes[l]}"
        for l, t, x in zip(rows, panel.times.tolist(), panel.values.tolist(), strict=True)
    ]
    path, model = tmp_path / "fleet.csv", tmp_path / "m.cem"
    path.write_text("\n".join(lines) + "\n")
    arguments = ["--modes", "2", "--basis", "polynomial:1", "--mode", "mode", "--output", str(model)]
    main(["fit", str(path), *arguments, "--json", "--seed", "0", "--covariance", "full"])
    stated = json.loads(capsys.readouterr().out)["bic"]
    em = fitted(panel, n_init=10, max_iter=1000)
    assert stated == pytest.approx(em.bic(), rel=1e-9)
    assert stated == pytest.approx(cem.load(model).summary().facts["BIC"], rel=1e-12)


def test_penalties_are_no_part_of_it():
    """A penalised objective is no likelihood: with a stronger ridge a model would seem worse than it is."""
    panel = partly_running()
    for options in ({"linking_rank": 1, "linking_penalty": 5.0}, {**LIVES, "lifetimes": "lognormal"}):
        em = fitted(panel, **options)
        assert abs(em.objectives_[-1] - em.log_likelihood_) > 1e-6
        assert em.bic() == pytest.approx(-2.0 * em.log_likelihoods_[-1] + em.n_parameters_ * np.log(40), rel=1e-12)


def test_of_another_panel():
    """Its own labels and lives count, and its own number of units; without labels it is the marginal likelihood."""
    em = fitted(fleet(40, 0))
    other = fleet(25, 7)
    bare = other.with_modes(None)
    expected = -2.0 * em.score_samples(bare).sum() + em.n_parameters_ * np.log(25)
    assert em.bic(bare) == pytest.approx(expected, rel=1e-10)
    assert em.bic(other) > em.bic(bare) - 1e-6
    with pytest.raises(PanelError, match="unit 'm0' is labelled 'rust', which is none of the model's modes"):
        em.bic(bare.with_modes(["rust"] + [None] * 24))
    with pytest.raises(OptionError, match="times and axes go with an array"):
        em.bic(times=[1.0])
    with pytest.raises(PanelError, match="none of the 25 units has a failure time"):
        fitted(partly_running(), **LIVES).bic(other.with_failure_times(np.full(25, np.nan)))


# ---- the count -----------------------------------------------------------------------------------------------------


def identifiable(sizes, covariance="full", rank=0, n_modes=2, laws=None, life=False, once=False):
    """Dimensions in which the likelihoods of 300 units can move: the rank of their derivatives, by differences.

    `laws` makes a law of lifetimes of two numbers; `life` takes the last channel for ln life, whose noise is not free;
    `once` has every channel read once a unit.
    """
    rng = np.random.default_rng(3)
    n = 1 if once else 3 * max(sizes)
    times = np.sort(rng.uniform(0.0, 1.0, (300, n)), axis=1)
    values = rng.normal(size=(300, n, len(sizes)))
    if life:
        values[:, :-1, -1] = np.nan
    panel = Panel.from_arrays(times, values)
    statistics = SufficientStatistics.from_panel(panel, [Polynomial(p - 1).bind(panel.times) for p in sizes])
    expectation = Expectation(statistics)
    C, P = len(sizes), sum(sizes)
    constraints = Constraints(np.full(C, 1e-6), np.full(C, 1e-6), covariance, statistics.coordinates.transforms)
    coordinates = UnconstrainedCoordinates(constraints, tuple(sizes), n_modes, rank)
    squares = sum(p * p for p in sizes)
    start = Parameters(
        np.full(n_modes, 1.0 / n_modes),
        0.7 * rng.normal(size=(n_modes, P)),
        np.concatenate([np.eye(p).ravel() for p in sizes])[None] * np.ones((n_modes, squares)),
        np.full((n_modes, C), 0.5),
        tuple(sizes),
        rng.normal(size=(n_modes, P, rank)) if rank else None,
    )
    point = coordinates.vector(start)
    free = np.ones(len(point), dtype=bool)
    if life:
        free[n_modes + n_modes * P + np.arange(n_modes) * C + C - 1] = False
    point[free] += 0.1 * rng.normal(size=free.sum())
    numbers = np.concatenate([point, rng.uniform(0.5, 1.5, 2 * n_modes if laws else 0)])
    free = np.concatenate([free, np.ones(len(numbers) - len(free), dtype=bool)])
    lives = np.exp(rng.normal(0.5, 0.7, 300))

    def log_likelihoods(vector):
        parameters = coordinates.parameters(vector[: len(point)])
        joint = expectation.log_densities(parameters) + np.log(parameters.weights)
        for k in range(n_modes if laws else 0):
            joint[:, k] += laws(*vector[len(point) + 2 * k :][:2]).log_density(lives)
        return np.logaddexp.reduce(joint, axis=1)

    step, columns = 1e-5, []
    for i in np.flatnonzero(free):
        move = np.zeros(len(numbers))
        move[i] = step
        columns.append((log_likelihoods(numbers + move) - log_likelihoods(numbers - move)) / (2.0 * step))
    derivative = np.stack(columns, axis=1)
    derivative /= np.linalg.norm(derivative, axis=0)
    singular = np.linalg.svd(derivative, compute_uv=False)
    gaps = singular[:-1] / np.maximum(singular[1:], 1e-9)  # differences are right to so much
    assert np.sort(gaps)[-1] > 10.0 * np.sort(gaps)[-2]  # no doubt where the rank ends
    return int(gaps.argmax()) + 1


@pytest.mark.parametrize("covariance", ["full", "diagonal", "pooled"])
@pytest.mark.parametrize(("sizes", "n_modes"), [((2, 3), 2), ((1, 2, 2), 3)])
def test_the_count_of_every_structure(covariance, sizes, n_modes):
    """A criterion with a wrong count prefers the wrong structure."""
    assert n_free_parameters(n_modes, sizes, covariance) == identifiable(sizes, covariance, n_modes=n_modes)


@pytest.mark.parametrize(
    ("sizes", "rank", "expected"),
    [
        ((2, 2), 1, 3),  # two channels: one may be scaled against the other
        ((3, 2), 2, 6),
        ((1, 1), 1, 1),
        ((2, 2, 2), 1, 6),
        ((2, 2, 2), 2, 11),
        ((1, 1, 1, 1, 1), 2, 9),
    ],
)
def test_the_count_of_links(sizes, rank, expected):
    """r P − r (r − 1) / 2 counts what Ψ makes up for where channels are few."""
    assert n_loadings(sizes, rank) == expected
    found = n_free_parameters(2, sizes, "full", rank)
    assert found == n_free_parameters(2, sizes, "full") + 2 * expected == identifiable(sizes, rank=rank)


def test_many_channels_have_the_count_of_theory():
    """The rank of a derivative of millions of entries would take longer than the fit."""
    assert n_loadings((4,) * 30, 3) == 3 * 120 - 3
    assert n_loadings((4,) * 14, 3) == 3 * 56 - 3
    assert n_loadings((3,), 0) == 0


@pytest.mark.parametrize("law", [Lognormal, Weibull])
def test_the_count_of_laws(law):
    """The laws of lifetimes were free of charge: of two families no criterion could tell which pays."""
    laws = Lifetimes((law(1.0, 1.0), law(1.2, 0.8)))
    assert n_free_parameters(2, (2, 2), "full", lifetimes=laws) == identifiable((2, 2), laws=law)


def test_the_count_of_linked_laws():
    """Location, spread and direction of each law; the factors' rotation is counted once."""
    laws = Lifetimes((LinkedLognormal(1.0, 1.0, (0.5, 0.1)), LinkedLognormal(1.2, 0.8, (0.1, 0.3))))
    found = n_free_parameters(2, (2, 2, 2), "full", 2, lifetimes=laws)
    assert found == identifiable((2, 2, 2, 1), rank=2, life=True)


def test_the_count_of_empirical_laws():
    """Kernels far apart are one number each, and one kernel is one."""
    apart = Lifetimes((Empirical(np.array([1.0, 10.0, 100.0]), np.ones(3), 0.1),))
    alike = Lifetimes((Empirical(np.array([10.0, 10.1, 10.2]), np.ones(3), 0.5),))
    one = n_free_parameters(1, (2,), "full")
    assert n_free_parameters(1, (2,), "full", lifetimes=apart) == one + 3
    assert n_free_parameters(1, (2,), "full", lifetimes=alike) == one + 1


def test_what_nothing_tells_is_not_counted():
    """One reading a unit of a constant: what units differ by and noise are one variance."""
    rng = np.random.default_rng(0)
    panel = Panel.from_arrays(
        None,
        rng.normal(size=(60, 1, 2)) + 6.0 * (np.arange(60) % 2)[:, None, None],
        axes="units, times, channels",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = cem.FailureModeEM(2, basis=Polynomial(0), random_state=0, n_init=2).fit(panel)
    assert em.n_parameters_ == n_free_parameters(2, (1, 1), "full") - 4 == identifiable((1, 1), once=True)
