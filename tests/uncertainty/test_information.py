"""Standard errors by information: those of a dense Hessian, in any unit of measurement, with floors, or refused."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import cem
from cem import FailureModeEM
from cem.basis.families import Polynomial
from cem.em.membership_ascent import coordinates_of
from cem.model.summary import Frame

TIMES = np.linspace(0.0, 1.0, 6)


def fleet(n_units=60, seed=1, *, gap=2.0, n_channels=1, noise=0.3, missing=0.0):
    """Two modes of a line in each channel, and the modes of the units."""
    rng = np.random.default_rng(seed)
    modes = np.arange(n_units) % 2
    times, values = [], []
    for k in modes:
        t = np.sort(rng.uniform(0.0, 1.0, int(rng.integers(4, 9))))
        t[[0, -1]] = 0.0, 1.0
        x = np.empty((len(t), n_channels))
        for c in range(n_channels):
            level, slope = gap * k + 0.5 * rng.standard_normal(), (1.0, -0.5)[k] + 0.6 * rng.standard_normal()
            x[:, c] = level + slope * t + noise * (1 + 0.3 * k) * rng.standard_normal(len(t))
            if c and rng.random() < missing:
                x[:, c] = np.nan
        times.append(t)
        values.append(x)
    return cem.Panel.from_arrays(times, values), modes


def fitted(panel, modes, **options):
    """Fitted from the true modes, its warnings ignored."""
    options = {"basis": Polynomial(1), "tol": 1e-12, "max_iter": 5000, "covariance": "full", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        return FailureModeEM(2, **options).fit(panel, init=np.eye(2)[modes])


# -- against a dense Hessian


def dense_log_likelihood(theta, rows):
    """ℓ of one channel with lines: logit π_1, and for each mode means, log-Cholesky factor, and log noise."""
    logs = np.log([1.0 / (1.0 + np.exp(theta[0])), 1.0 / (1.0 + np.exp(-theta[0]))])
    total = 0.0
    for functions, x in rows:
        of_modes = []
        for k in range(2):
            own = theta[1 + 6 * k : 7 + 6 * k]
            root = np.array([[np.exp(own[2]), 0.0], [own[3], np.exp(own[4])]])
            V = functions @ root @ root.T @ functions.T + np.exp(own[5]) * np.eye(len(x))
            away = x - functions @ own[:2]
            of_modes.append(
                logs[k] - 0.5 * (len(x) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + away @ np.linalg.solve(V, away))
            )
        total += np.logaddexp(*of_modes)
    return total


def dense_rows(theta):
    """The numbers of the table, in its order."""
    pi = 1.0 / (1.0 + np.exp(-theta[0]))
    parts = [theta[1 + 6 * k : 7 + 6 * k] for k in range(2)]
    roots = [np.array([[np.exp(own[2]), 0.0], [own[3], np.exp(own[4])]]) for own in parts]
    squares = [root @ root.T for root in roots]
    means = [parts[k][j] for j in range(2) for k in range(2)]
    covariances = [square[i, j] for square in squares for i, j in ((0, 0), (1, 0), (1, 1))]
    return np.array([1 - pi, pi, *means, *covariances, *(np.exp(own[5]) for own in parts)])


def dense_covariance(em, panel):
    """The inverse of a numerical Hessian of ℓ, by the delta method in the user's terms."""
    basis = em.model_.bases[0]
    rows = [(basis(t), x[:, 0]) for t, x in units_of(panel)]
    theta = [np.log(em.weights_[1] / em.weights_[0])]
    for k in range(2):
        root = em.covariance_factors_[k, 0]
        theta += [
            *em.means_[k, 0],
            np.log(root[0, 0]),
            root[1, 0],
            np.log(root[1, 1]),
            np.log(em.noise_variances_[k, 0]),
        ]
    theta = np.array(theta)
    n, steps = len(theta), 1e-3 * np.maximum(np.abs(theta), 0.3)
    hessian, jacobian = np.empty((n, n)), np.empty((len(dense_rows(theta)), n))
    unit = np.diag(steps)
    for i in range(n):
        jacobian[:, i] = (dense_rows(theta + unit[i]) - dense_rows(theta - unit[i])) / (2 * steps[i])
        for j in range(i + 1):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            corners = [a * b * dense_log_likelihood(theta + a * unit[i] + b * unit[j], rows) for a, b in signs]
            hessian[i, j] = hessian[j, i] = sum(corners) / (4 * steps[i] * steps[j])
    return jacobian @ np.linalg.solve(-hessian, jacobian.T)


def units_of(panel):
    for first, last in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        yield panel.times[first:last], panel.values[first:last]


@pytest.fixture(scope="module")
def problem():
    panel, modes = fleet(gap=1.2, seed=2)
    em = fitted(panel, modes)
    return panel, em, em.uncertainty(panel)


def test_the_covariance_is_that_of_a_dense_hessian(problem):
    """Every interval and every test would be wrong, and no message would say so."""
    panel, em, known = problem
    dense = dense_covariance(em, panel)
    errors = np.sqrt(np.diagonal(dense))
    np.testing.assert_allclose(known.standard_errors, errors, rtol=2e-4)
    np.testing.assert_allclose(known.covariance / np.outer(errors, errors), dense / np.outer(errors, errors), atol=5e-4)


def test_estimates_are_those_of_the_model_under_their_names(problem):
    """A standard error would stand beside another parameter."""
    _, em, known = problem
    at = dict(zip(known.names, known.estimates, strict=True))
    assert at["weight[1]"] == em.weights_[1]
    assert at["mean[1, x1, 0]"] == pytest.approx(em.means_[1, 0, 0], rel=1e-12)
    assert at["covariance[0, x1, 0, 1]"] == pytest.approx(em.covariances_[0, 0, 0, 1], rel=1e-9)
    assert at["noise[1, x1]"] == pytest.approx(em.noise_variances_[1, 0], rel=1e-12)
    assert len(set(known.names)) == len(known.names) == em.n_parameters_ + 1  # all weights are there


def test_units_of_measurement_do_not_matter(problem):
    """A fleet in millimetres and minutes would have other significances than in metres and hours."""
    panel, em, known = problem
    times = [60.0 * t + 5.0 for t, _ in units_of(panel)]
    values = [1000.0 * x + 9e4 for _, x in units_of(panel)]
    other = cem.Panel.from_arrays(times, values)
    moved = FailureModeEM(2, basis=Polynomial(1), covariance="full", tol=1e-12).fit(other, init=em.responsibilities_)
    again = moved.uncertainty(other)
    factor = np.array([{"mean": 1e3, "weight": 1.0}.get(row.kind, 1e6) for row in known.rows])
    np.testing.assert_allclose(again.standard_errors, factor * known.standard_errors, rtol=1e-4)


@pytest.mark.parametrize("unit", [1e150, 1e-150])
def test_units_of_measurement_may_be_absurd(problem, unit):
    """Variances of 1e300 had infinite standard errors, those of 1e-300 none and a note that data do not inform them."""
    panel, em, known = problem
    other = cem.Panel.from_arrays([t for t, _ in units_of(panel)], [unit * x for _, x in units_of(panel)])
    power = np.array([{"mean": 1, "weight": 0}.get(row.kind, 2) for row in known.rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        moved = FailureModeEM(2, basis=Polynomial(1), covariance="full", tol=1e-12).fit(
            other, init=em.responsibilities_
        )
        warnings.simplefilter("error", RuntimeWarning)
        again = moved.uncertainty(other)
        assert again.notes == known.notes
        np.testing.assert_allclose(again.standard_errors / unit**power, known.standard_errors, rtol=1e-4)
        np.testing.assert_allclose(again.intervals() / (unit**power)[:, None], known.intervals(), rtol=1e-3)
        np.testing.assert_allclose(again.missing_shares, known.missing_shares, atol=1e-4)
        tests = [one.wald(f"variance[1, x1, {j}]").statistic for one in (again, known) for j in (0, 1)]
        assert tests[:2] == pytest.approx(tests[2:], rel=1e-3)


# -- robust


OPTIONS = [{"covariance": name} for name in ("full", "shrunk", "pooled", "diagonal")]


@pytest.mark.parametrize("options", [*OPTIONS, {"noise": "pooled"}, {"random_columns": [0]}], ids=str)
@pytest.mark.parametrize("labelled", [False, True])
def test_scores_of_units_sum_to_the_gradient(options, labelled):
    """Robust standard errors would be those of another model."""
    from cem.fitting.fitted_problem import fitted_problem
    from cem.fitting.parameter_laws import scores_of_units

    panel, modes = fleet(50, 3, n_channels=2, missing=0.3)
    if labelled:
        panel = panel.with_modes([int(k) if i < 12 else None for i, k in enumerate(modes)])
    em = fitted(panel, modes, **options, max_iter=3)  # the gradient is not 0 yet
    found = fitted_problem(em, panel)
    coordinates = found.problem.coordinates(found.evaluation.point)
    vector = coordinates.vector(found.evaluation.point)
    if "shrunk" in options.values():  # penalties belong to no unit
        constraints = replace(found.mixture.constraints, covariance="full", shrinkage=0.0)
        coordinates = coordinates_of(constraints, found.parameters, None)
    gradient = coordinates.gradient(vector, found.evaluation.point, found.evaluation.sums)[0]
    scores = scores_of_units(found, vector)
    assert scores.shape == (50, len(vector)) and np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(scores.sum(axis=0), gradient, rtol=1e-6, atol=1e-6)


def test_robust_errors_of_a_mean_are_the_scatter_of_the_units():
    """One mode, one reading of each unit: the variance of the mean is the sample's over n, whatever its law."""
    rng = np.random.default_rng(0)
    level = rng.exponential(size=80)
    panel = cem.Panel.from_arrays([np.arange(3.0)] * 80, [x + 0.1 * rng.standard_normal((3, 1)) for x in level])
    em = FailureModeEM(1, basis=Polynomial(0), tol=1e-13).fit(panel)
    means = np.array([x.mean() for _, x in units_of(panel)])
    robust = em.uncertainty(panel, "robust")
    mean = robust.names.index("mean[0, x1, 0]")
    assert robust.standard_errors[mean] == pytest.approx(means.std() / np.sqrt(80), rel=1e-3)
    # An exponential law has a heavier tail than the normal one, so its variance is less certain than that of a normal.
    variance = robust.names.index("variance[0, x1, 0]")
    assert robust.standard_errors[variance] > 1.2 * em.uncertainty(panel).standard_errors[variance]


def test_copies_of_a_unit_are_not_new_units_for_the_robust_covariance():
    """A fleet in which every unit is written twice would look twice as large."""
    panel, modes = fleet(60, 5)
    once = fitted(panel, modes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        twice = FailureModeEM(2, basis=Polynomial(1), covariance="full", tol=1e-12).fit(
            panel, init=np.eye(2)[modes], sample_weight=np.full(60, 2)
        )
    expected = once.uncertainty(panel, "robust")
    found = twice.uncertainty(panel, "robust")
    assert found.n_units == 60
    np.testing.assert_allclose(found.standard_errors, expected.standard_errors, rtol=2e-3)
    np.testing.assert_allclose(
        twice.uncertainty(panel).standard_errors, once.uncertainty(panel).standard_errors / np.sqrt(2), rtol=2e-3
    )


# -- what is held, and what is refused


def test_parameters_at_a_floor_are_named_and_the_others_have_errors():
    """A variance at its floor would look as if it were known exactly, or all standard errors would be refused."""
    rng = np.random.default_rng(2)
    modes = np.arange(60) % 2
    values = [2.0 * k + 0.5 * rng.standard_normal() + (k - 0.5) * TIMES + 0.3 * rng.standard_normal(6) for k in modes]
    panel = cem.Panel.from_arrays([TIMES] * 60, [x[:, None] for x in values])  # slopes do not vary
    em = fitted(panel, modes, covariance="pooled")
    known = em.uncertainty(panel)
    notes = dict(zip(known.names, known.notes, strict=True))
    errors = dict(zip(known.names, known.standard_errors, strict=True))
    assert notes["variance[x1, 1]"] == "covariance partly at its floor"
    assert notes["mean[0, x1, 1]"] == ""
    assert errors["mean[0, x1, 0]"] > 0 and errors["variance[x1, 0]"] > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = FailureModeEM(1, basis=Polynomial(1), covariance_floor=9.0).fit(panel)  # above all that units differ by
    known = em.uncertainty(panel)
    for kind, note, error in zip([row.kind for row in known.rows], known.notes, known.standard_errors, strict=True):
        held = kind in ("variance", "covariance")
        assert note == ("at its floor" if held else "") and np.isnan(error) == held
    assert np.isnan(known.intervals()).any(axis=1).sum() == 3
    with pytest.raises(cem.UncertaintyError, match="no standard error"):
        known.wald("variance[0, x1, 1]", 1.0)


def test_a_noise_floor_is_named():
    """The user would trust a noise that the floor dictates."""
    panel, modes = fleet(60, 4)
    em = fitted(panel, modes, noise_floor=1.0)
    known = em.uncertainty(panel)
    held = [name for name, note in zip(known.names, known.notes, strict=True) if note == "at its floor"]
    assert held == ["noise[0, x1]", "noise[1, x1]"]
    assert np.isnan(known.standard_errors[known.names.index(held[0])])
    assert (known.covariance[known.names.index(held[0])] == 0).all()


def test_too_many_parameters_are_refused_and_the_bootstrap_offered():
    """Thirty parameters of forty units: the information has no meaning, and the intervals would be far too short."""
    panel, modes = fleet(24, 1)
    em = fitted(panel, modes)
    with pytest.raises(cem.UncertaintyError, match=r"13 parameters and 24 units.*method='bootstrap'"):
        em.uncertainty(panel)
    by_draws = em.uncertainty(panel, "bootstrap", n_replicates=20)
    assert by_draws.method == "bootstrap" and (by_draws.standard_errors > 0).all()


def test_a_channel_that_a_mode_does_not_report_is_named():
    """Parameters of the start would be reported with a standard error, or all others refused."""
    panel, modes = fleet(80, 6, n_channels=2, gap=4.0)
    values = panel.values.copy()
    rows = np.repeat(modes, np.diff(panel.offsets))
    values[rows == 1, 1] = np.nan
    panel = panel._replace(values=values)
    known = fitted(panel, modes).uncertainty(panel)
    for row, note, error in zip(known.rows, known.notes, known.standard_errors, strict=True):
        silent = row.mode == 1 and row.channel == panel.channels[1]
        assert (note == "less than one unit reports it") == silent == bool(np.isnan(error)), row.name


def test_a_data_frame_is_read_as_by_the_fit():
    """Users of frames would have to make a panel first, and could get its columns wrong."""
    panel, _ = fleet(60, 2, gap=3.0)
    frame = panel.to_frame("pandas").rename(columns={"x1": "level"})
    em = FailureModeEM(2, basis=Polynomial(1), covariance="pooled", unit="unit", time="time", random_state=0).fit(frame)
    assert em.uncertainty(frame).names[-1] == "noise[1, level]"
    with pytest.raises(cem.PanelError, match="nats away"):
        em.uncertainty(frame.iloc[8:])


def test_a_fit_that_has_not_converged_is_refused():
    """The standard errors of a point on the way would be reported as those of the maximum."""
    panel, modes = fleet(60, 1, gap=0.8)
    em = fitted(panel, modes, max_iter=2, accelerate="none")
    with pytest.raises(cem.UncertaintyError, match="max_iter"):
        em.uncertainty(panel)


def test_a_flat_direction_names_its_parameters():
    """A user could not tell which parameter to leave out."""
    rng = np.random.default_rng(0)
    panel = cem.Panel.from_arrays([TIMES] * 40, [rng.standard_normal((6, 1)) for _ in range(40)])
    em = FailureModeEM(2, basis=Polynomial(0), covariance="pooled", noise="pooled", max_iter=5000)
    half = np.full((40, 2), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em.fit(panel, init=half)  # both modes are the same, so nothing determines the weights
    with pytest.raises(cem.UncertaintyError, match=r"(the weights|the mean curve) of"):
        em.uncertainty(panel)


def test_empirical_laws_and_unknown_methods_are_refused():
    """An assertion inside, or standard errors of numbers that no maximum determines."""
    from life_cases import partly_running

    panel = partly_running(60, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = FailureModeEM(
            2,
            basis=Polynomial(1),
            covariance="pooled",
            time_axis="to_failure",
            lifetimes="empirical",
            random_state=0,
            max_iter=5,
        ).fit(panel)
    with pytest.raises(cem.UncertaintyError, match="empirical"):
        em.uncertainty(panel)
    with pytest.raises(cem.OptionError, match="method='exact'"):
        em.uncertainty(panel, "exact")
    with pytest.raises(cem.NotFittedError):
        FailureModeEM(2).uncertainty(panel)


# -- intervals


def test_intervals_stay_where_parameters_can_be(problem):
    """A variance below 0, or a weight above 1, in a report."""
    _, _, known = problem
    low, high = known.intervals(0.999).T
    kinds = np.array([row.kind for row in known.rows])
    assert (low[(kinds == "variance") | (kinds == "noise")] > 0).all()
    assert (low[kinds == "weight"] > 0).all() and (high[kinds == "weight"] < 1).all()
    inside = known.intervals(0.5)
    assert (low < inside[:, 0]).all() and (inside[:, 1] < high).all()
    with pytest.raises(cem.OptionError, match="level=90"):
        known.intervals(90)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """A smoke test of coverage; benchmarks/coverage.py measures it."""
    hits = []
    for seed in range(101, 141):
        panel, modes = fleet(80, seed, gap=3.0)
        known = fitted(panel, modes).uncertainty(panel)
        rows = dict(zip(known.names, known.intervals(0.8), strict=True))
        for k in range(2):  # at the middle of the times, and half of the rise
            for name, true in (
                (f"mean[{k}, x1, 0]", 3.0 * k + (1.0, -0.5)[k] / 2),
                (f"mean[{k}, x1, 1]", (0.5, -0.25)[k]),
            ):
                hits.append(rows[name][0] <= true <= rows[name][1])
            hits.append(rows[f"noise[{k}, x1]"][0] <= (0.3 * (1 + 0.3 * k)) ** 2 <= rows[f"noise[{k}, x1]"][1])
    assert 0.70 < np.mean(hits) < 0.90


def test_the_table_prints_and_becomes_a_frame(problem):
    """A notebook would show an object in place of a table."""
    pd = pytest.importorskip("pandas")
    _, _, known = problem
    text = str(known)
    assert "mean[1, x1, 1]" in text and text.startswith("Uncertainty: 14 parameters of 60 units by information")
    frame = known.to_frame("pandas", level=0.8)
    assert isinstance(frame, pd.DataFrame) and list(frame["parameter"]) == list(known.names)
    assert "<table" in known._repr_html_()
    assert known.table(kind="noise")["parameter"] == ["noise[0, x1]", "noise[1, x1]"]
    assert set(known.table(kind=("weight", "mean"))["kind"]) == {"weight", "mean"}
    with pytest.raises(cem.OptionError, match="kind='slope'"):
        known.table(kind="slope")
    with pytest.raises(AttributeError):
        known.method = "other"
    with pytest.raises(ValueError, match="read-only"):
        known.estimates[0] = 1.0


# -- overlap


def lost_by_scores(em, panel):
    """1 − Var(known modes) / Var for each row, with the scores that the units would have in either mode."""
    from cem.fitting.fitted_problem import fitted_problem
    from cem.uncertainty.scores import mixture_scores

    found, known = fitted_problem(em, panel), em.uncertainty(panel)
    statistics, point = found.setting.statistics, found.evaluation.point
    vector = found.problem.coordinates(point).vector(point)
    rho = found.evaluation.responsibilities

    def scores(own):
        return mixture_scores(statistics, found.mixture.constraints, point, np.ascontiguousarray(own), vector)

    both = [scores(np.broadcast_to(np.eye(2)[k], rho.shape)) for k in range(2)]
    unit = scores(rho)
    missing = sum(both[k].T @ (rho[:, [k]] * both[k]) for k in range(2)) - unit.T @ unit
    # In the directions of the law's root, the information is the identity.
    root = known.law.root
    inner = root.T @ missing @ root
    kept = known.root @ np.linalg.solve(np.eye(len(inner)) + inner, known.root.T)
    return 1.0 - np.diagonal(kept) / np.square(known.standard_errors)


@pytest.mark.parametrize("labelled", [False, True])
def test_the_share_that_unknown_modes_cost_is_that_of_the_scores(labelled):
    """The warning of overlap would come for the wrong fleets."""
    panel, modes = fleet(80, 4, gap=1.2)
    if labelled:
        panel = panel.with_modes([int(k) if i < 30 else None for i, k in enumerate(modes)])
    em = fitted(panel, modes)
    shares = em.uncertainty(panel).missing_shares
    np.testing.assert_allclose(shares, lost_by_scores(em, panel), rtol=1e-4, atol=1e-7)
    assert 0.1 < shares.max() < 0.95


def test_overlap_is_warned_of_and_the_bootstrap_is_not():
    """Intervals that hold 80 % would say 90 %, without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel, modes = fleet(80, 4, gap=3.0)
        apart = fitted(panel, modes).uncertainty(panel)
        assert apart.missing_shares.max() < 0.3
        panel, modes = fleet(60, 4, gap=0.9)
        em = fitted(panel, modes)
        assert em.uncertainty(panel, "bootstrap", n_replicates=5).missing_shares is None
        with pytest.raises(cem.errors.OverlapWarning, match=r"60 units.*times as large \('.*bootstrap"):
            em.uncertainty(panel)
        with pytest.raises(cem.errors.OverlapWarning, match="Known modes"):
            em.uncertainty(panel, "robust")
        again = FailureModeEM(2, basis=Polynomial(1), covariance="full")
        again.fit(panel, init=em.model_, sample_weight=[2, *[1] * 59])
        with pytest.raises(cem.errors.OverlapWarning) as caught:  # there is no bootstrap then
            again.uncertainty(panel, "robust")
        assert "bootstrap" not in str(caught.value) and "Known modes" in str(caught.value)
        warnings.simplefilter("ignore")
        assert "60 units: nominal 90 % intervals hold about" in str(em.uncertainty(panel))  # where it is printed later
        warnings.simplefilter("error")
        one = FailureModeEM(1, basis=Polynomial(1)).fit(panel)
        assert not one.uncertainty(panel).missing_shares.any()


@pytest.mark.parametrize("state", [-1, "a", 1.5, True])
def test_a_seed_that_is_none_is_refused_by_name(problem, state):
    """A ValueError of numpy's bit generators would come out, which names no option."""
    panel, em, _ = problem
    with pytest.raises(cem.errors.OptionError, match="random_state"):
        em.uncertainty(panel, "bootstrap", n_replicates=2, random_state=state)
    with pytest.raises(cem.errors.OptionError, match="random_state"):
        em.uncertainty(panel).bands(simultaneous=True, random_state=state)


def test_seeds_of_every_kind_are_taken(problem):
    """The option would mean something else than at the estimator."""
    panel, em, _ = problem
    for state in (3, None, np.random.default_rng(3), np.random.SeedSequence(3)):
        assert len(em.uncertainty(panel, "bootstrap", n_replicates=2, random_state=state).law.draws(2)) == 2


@pytest.mark.parametrize("times", ["x", ["a"], [], [[0.0]], [np.nan]])
def test_times_of_bands_are_numbers(problem, times):
    """An untyped error would name no argument."""
    with pytest.raises(cem.errors.OptionError, match="times"):
        problem[2].bands(times)


@pytest.mark.parametrize("kind", [3, ["mean", 3], b"mean"])
def test_kinds_of_parameters_are_words(problem, kind):
    """An untyped error would name no argument."""
    with pytest.raises(cem.errors.OptionError, match="kind="):
        problem[2].table(kind=kind)


def test_few_replicates_make_wide_intervals():
    """Two replicates would claim to know a standard error as well as two hundred."""
    panel, modes = fleet(60, 3, gap=3.0)
    em = fitted(panel, modes)
    few, many = (em.uncertainty(panel, "bootstrap", n_replicates=n) for n in (2, 40))
    width = np.diff(few.intervals(), axis=1).ravel() / few.standard_errors
    mean = few.names.index("mean[0, x1, 0]")
    assert width[mean] == pytest.approx(2 * 6.3138, rel=1e-4)  # the t law with one degree of freedom
    assert many.degrees_of_freedom.max() == many.degrees_of_freedom[0] == 39
    assert em.uncertainty(panel).degrees_of_freedom[0] == pytest.approx(59)


def test_intervals_of_any_width_print_in_a_dozen_characters():
    """Three units leave a variance open over many powers of ten; the digits of its upper limit broke the table."""
    panel, _ = fleet(3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = FailureModeEM(1, basis=Polynomial(1), random_state=0).fit(panel)
        table = em.uncertainty(panel, "bootstrap", kind="parametric", n_replicates=20).table(0.9999, kind="variance")
    assert 1e20 < max(table["upper"]) < np.inf
    shown = str(Frame({name: table[name] for name in ("estimate", "standard_error", "lower", "upper")}))
    assert max(map(len, shown.split())) <= len("standard_error") and "e+" in shown


def test_a_fleet_that_draws_only_itself_is_refused():
    """Every parameter of a single unit would look exactly known, or not informed by the data."""
    panel, _ = fleet(1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = FailureModeEM(1, basis=Polynomial(1)).fit(panel)
        with pytest.raises(cem.UncertaintyError, match="fleet of 1 unit drawn with replacement"):
            em.uncertainty(panel, "bootstrap", n_replicates=4)
        assert "1 unit by" in repr(em.uncertainty(panel, "bootstrap", n_replicates=4, kind="parametric"))


@pytest.mark.parametrize("kind", ["units", "parametric"])
def test_refits_say_nothing_of_what_no_data_inform(kind):
    """Parameters that no unit reports would look better known than all others, and tests of them be significant."""
    panel, modes = fleet(40, 6, n_channels=2, gap=2.0)
    values = panel.values.copy()
    values[np.repeat(modes, np.diff(panel.offsets)) == 1, 1] = np.nan
    panel = panel._replace(values=values)
    em = fitted(panel, modes)
    known = em.uncertainty(panel, "bootstrap", n_replicates=20, kind=kind)
    for row, note, error in zip(known.rows, known.notes, known.standard_errors, strict=True):
        silent = row.mode == 1 and row.channel == panel.channels[1]
        assert (note == "less than one unit reports it") == silent == bool(np.isnan(error)), row.name
    with pytest.raises(cem.UncertaintyError):
        known.wald(f"mean[1, {panel.channels[1]}, 0]")


@pytest.mark.parametrize("method", ["information", "robust"])
def test_options_of_the_bootstrap_are_refused_with_other_methods(method):
    """A user would take errors by information for those of the parametric bootstrap that was asked for."""
    panel, modes = fleet(80, 6, gap=4.0)
    em = fitted(panel, modes)
    for name, value in (("kind", "parametric"), ("n_replicates", 5), ("n_replicates", np.arange(2))):
        with pytest.raises(cem.OptionError, match=f"{name}=.* with method='{method}'.*leave {name} out"):
            em.uncertainty(panel, method, **{name: value})
    assert em.uncertainty(panel, method, n_replicates=np.int64(199), kind="units").method == method
