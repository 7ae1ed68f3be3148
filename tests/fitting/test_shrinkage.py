"""The weight of shrunk covariances as a user meets it: chosen by what suits held-out units, kept, stated, refused."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pytest

import cem
import cem.fitting.fit
from cem.cli import main
from cem.errors import CemWarning, ConvergenceWarning, OptionError
from cem.fitting.shrinkage import first_shrinkage, menu_of

FIRST = first_shrinkage((3, 3))


def readings(n_units, seed=0, spreads=(1.0, 1.0), apart=3.0):
    """Times, readings of two channels, and modes of units whose coefficients scatter by `spreads`."""
    rng = np.random.default_rng(seed)
    modes = np.arange(n_units) % len(spreads)
    times, values = [], []
    for mode in modes:
        t = np.sort(rng.uniform(0.0, 10.0, 12))
        u = (t - 5.0) / 5.0
        own = spreads[mode] * rng.normal(size=(3, 2)) + apart * mode
        times.append(t)
        values.append(np.stack([u**0, u, u**2], axis=1) @ own + 0.3 * rng.normal(size=(12, 2)))
    return times, values, modes


def fleet(*args, order=None, scales=(1.0, 1.0), **options):
    times, values, _ = readings(*args, **options)
    order = range(len(times)) if order is None else order
    return cem.Panel.from_arrays([times[l] for l in order], [values[l] * np.array(scales) for l in order])


def fitted(panel, n_modes=2, *, fit=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return cem.FailureModeEM(n_modes, random_state=0, **options).fit(panel, **(fit or {}))


@pytest.fixture(scope="module")
def panel():
    return fleet(40)


@pytest.fixture(scope="module")
def em(panel):
    return fitted(panel)


def test_modes_of_one_covariance_share_it_and_modes_that_differ_keep_theirs():
    """This is what the default is for: a wrong weight costs held-out likelihood in one fleet or the other."""
    alike, differing = fitted(fleet(120)), fitted(fleet(120, spreads=(0.3, 3.0)))
    menu = menu_of((3, 3))
    assert alike.shrinkage_ > menu[3]
    assert differing.shrinkage_ < menu[1]
    spread = [em.noise_variances_.size and np.linalg.det(em.covariances_[:, 0]) for em in (alike, differing)]
    assert max(spread[0]) < 3 * min(spread[0])
    assert max(spread[1]) > 1e3 * min(spread[1])


def test_the_weight_does_not_depend_on_the_order_of_units_nor_on_units_of_measurement(em):
    order = np.random.default_rng(1).permutation(40)
    shuffled = fitted(fleet(40, order=order))
    rescaled = fitted(fleet(40, scales=(1e4, 1e-6)))
    assert shuffled.shrinkage_ == rescaled.shrinkage_ == em.shrinkage_
    assert shuffled.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=1e-4)


def test_copies_by_weight_are_the_units_repeated(panel):
    """Else a fleet would get another model when its rows are counted rather than repeated."""
    counts = np.where(np.arange(40) < 15, 3, 1)
    weighted = fitted(panel, fit={"sample_weight": counts})
    repeated = fitted(fleet(40, order=np.repeat(np.arange(40), counts)))
    assert weighted.shrinkage_ == repeated.shrinkage_
    assert weighted.log_likelihood_ == pytest.approx(repeated.log_likelihood_, abs=1e-6)


def test_copies_of_a_unit_are_never_on_both_sides_of_a_fold():
    """A unit whose copy was fitted is not unseen, and would ask for covariances of its own."""
    once = fitted(fleet(30, seed=4))
    often = fitted(fleet(30, seed=4, order=np.repeat(np.arange(30), 4)))
    best = np.argmax(np.asarray(once.model_.training["held_out"])[:, 1])
    assert np.asarray(often.model_.training["held_out"])[best, 1] > -20.0
    assert often.shrinkage_ > menu_of((3, 3))[1]


def test_labels_take_part_in_the_choice():
    """Units of known mode are held out with that mode, so labels that cut across the curves change the weight."""
    times, values, modes = readings(60, apart=0.0, spreads=(0.3, 3.0))
    both = cem.Panel.from_arrays(times, values)
    told = fitted(both.with_modes(["a" if mode else "b" for mode in modes]))
    crossed = fitted(both.with_modes(["a" if l % 4 < 2 else "b" for l in range(60)]))
    assert told.shrinkage_ < menu_of((3, 3))[1]
    assert crossed.shrinkage_ > menu_of((3, 3))[2]
    assert told.mode_labels_ == ("a", "b")


def test_a_label_of_a_single_unit_does_not_spoil_the_choice():
    """Held out, that unit is impossible; minus infinity in the sums would make the weight arbitrary, with a warning."""
    panel = fleet(40, spreads=(1.0, 1.0), apart=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", CemWarning)
        em = cem.FailureModeEM(3, random_state=0).fit(panel.with_modes(["rare", "x"] + ["y"] * 38))
    assert np.isfinite(em.model_.training["held_out"]).all()
    assert em.shrinkage_ > menu_of((3, 3))[2]


def test_threads_do_not_change_a_bit(panel, em):
    other = fitted(panel, n_jobs=2)
    np.testing.assert_array_equal(other.responsibilities_, em.responsibilities_)
    assert other.model_.training["held_out"] == em.model_.training["held_out"]


def test_a_warm_start_keeps_the_weight_and_the_optimum(panel, em):
    """A refit that chose again would maximise another objective, and its log-likelihoods could not be compared."""
    again = fitted(panel, fit={"init": em.model_})
    assert again.shrinkage_ == em.shrinkage_
    assert "held_out" not in again.model_.training
    assert again.objectives_[-1] == pytest.approx(em.objectives_[-1], abs=1e-3)
    anew = fitted(panel, fit={"init": em.responsibilities_})  # says nothing of the weight, so it is chosen
    assert anew.shrinkage_ == em.shrinkage_
    given = fitted(panel, covariance="shrunk", shrinkage=11.0, fit={"init": em.model_})
    assert given.shrinkage_ == 11.0


def test_evaluation_at_given_parameters_takes_the_penalty_of_their_fit_and_none_where_there_was_none(panel, em):
    """A penalty of some other weight would be a silent guess in `objectives_` and standard errors."""
    evaluated = cem.FailureModeEM(2, max_iter=0).fit(panel, init=em.model_)
    assert evaluated.shrinkage_ == em.shrinkage_
    assert evaluated.objectives_[-1] == pytest.approx(em.objectives_[-1], abs=1e-9)
    for init in (em.model_.user_parameters(), fitted(panel, covariance="full").model_):
        alone = cem.FailureModeEM(2, max_iter=0).fit(panel, init=init)
        assert alone.shrinkage_ == 0.0
        assert alone.objectives_[-1] == pytest.approx(alone.log_likelihood_, abs=1e-9)
        assert alone.model_.training["covariance"] == "full"


def interrupted_at(panel, n):
    seen = []

    def stop(stage, done, total, best):
        seen.append(stage)
        if len(seen) == n:
            raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        found = cem.FailureModeEM(2, random_state=0).fit(panel, progress=stop)
    return found, seen[-1]


def test_an_interrupted_fit_is_usable_and_a_continuation_chooses_what_was_not_chosen(panel, em, monkeypatch, tmp_path):
    early, stage = interrupted_at(panel, 3)
    assert not stage.startswith("shrinkage")
    assert early.interrupted_ and early.shrinkage_ == FIRST
    continued = fitted(panel, fit={"init": early.model_})
    assert continued.shrinkage_ == pytest.approx(em.shrinkage_, rel=0.02)
    assert continued.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=0.1)

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.warns(ConvergenceWarning, match="interrupted"):
        patch.setattr(cem.fitting.fit, "chosen_shrinkage", stop)
        found = cem.FailureModeEM(2, random_state=0).fit(panel)
    assert found.shrinkage_ == FIRST and found.converged_  # the first search, whole
    assert found.model_.training["held_out"] == []
    found.model_.save(tmp_path / "interrupted.cem")
    assert fitted(panel, fit={"init": cem.load(tmp_path / "interrupted.cem")}).shrinkage_ > FIRST


def test_an_interrupted_second_search_keeps_the_weight_and_is_no_worse_than_the_first(panel, em):
    seen = []
    fitted(panel, fit={"progress": lambda stage, *rest: seen.append(stage)})
    late, stage = interrupted_at(panel, next(i for i, stage in enumerate(seen, 1) if stage.startswith("shrinkage")))
    assert stage.startswith(f"shrinkage {em.shrinkage_:.4g}")
    assert late.shrinkage_ == em.shrinkage_
    assert late.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=0.5)


def test_a_given_weight_is_used_and_needs_no_second_option(panel):
    for options in ({"shrinkage": 12}, {"covariance": "shrunk", "shrinkage": np.float32(12)}):
        em = fitted(panel, **options)
        assert em.shrinkage_ == 12.0
        assert "held_out" not in em.model_.training
        assert not any(start["kind"] == "known" for start in em.starts_)
    assert fitted(panel, shrinkage=12, linking_rank=1).model_.training["covariance"] == "shrunk"


@pytest.mark.parametrize("value", [None, 0, -1.0, np.nan, np.inf, 1e9, True, "20", [1.0], np.array([1.0, 2.0]), {}])
def test_a_weight_that_is_none_is_refused_by_name(panel, value):
    with pytest.raises(OptionError, match="shrinkage="):
        cem.FailureModeEM(2, shrinkage=value).fit(panel)


@pytest.mark.parametrize("covariance", ["full", "pooled", "diagonal"])
def test_a_weight_beside_another_structure_is_refused_with_what_to_do(panel, covariance):
    with pytest.raises(OptionError, match="covariance='shrunk'"):
        cem.FailureModeEM(2, covariance=covariance, shrinkage=5.0).fit(panel)


@pytest.mark.parametrize("covariance", ["auto", "shrunk"])
@pytest.mark.parametrize("options", [{"n_modes": 1}, {"random_columns": "none"}])
def test_where_there_is_nothing_to_shrink_criteria_hold(panel, covariance, options):
    """One mode, or group-based trajectories, whose coefficients do not vary: refusing their BIC would be wrong."""
    em = fitted(panel, **{"n_modes": 2, **options}, covariance=covariance)
    assert em.shrinkage_ == 0.0
    assert em.model_.training["covariance"] == "full"
    assert np.isfinite([em.bic(), em.aic(), em.icl()]).all()


def test_where_some_channels_have_random_columns_theirs_are_shrunk(panel):
    em = fitted(panel, random_columns={"x1": "none"})
    assert em.shrinkage_ > 0


def test_linked_channels_are_shrunk_only_if_asked(panel):
    linked, shrunk = fitted(panel, linking_rank=1), fitted(panel, linking_rank=1, covariance="shrunk")
    assert linked.shrinkage_ == 0.0 and linked.model_.training["covariance"] == "full"
    assert shrunk.shrinkage_ > 0.0 and shrunk.model_.linking_rank == 1
    for em in (linked, shrunk):
        assert np.diff(em.objectives_).min(initial=0.0) >= -1e-9 * (1.0 + abs(em.objectives_[-1]))


def test_fits_of_every_kind_have_a_weight_and_an_objective_that_never_falls():
    times, values, _ = readings(36, seed=2)
    sites = np.array(["mill", "mine"])[np.random.default_rng(0).integers(2, size=36)]
    failures = np.array([t[-1] for t in times]) + np.random.default_rng(3).gamma(2.0, 1.0, 36)
    failures[::3] = np.nan
    whole = cem.Panel.from_arrays(times, values, unit_covariates={"site": sites}, failure_times=failures)
    for options in (
        {"membership": ["site"]},
        {"noise": "pooled"},
        {"random_columns": [0, 1]},
        {"basis": {"x1": cem.Polynomial(1), None: cem.Polynomial(3)}},
        {"basis": cem.Polynomial(1), "time_axis": "to_failure"},
        {"basis": cem.Polynomial(1), "time_axis": "to_failure", "linking_rank": 1, "covariance": "shrunk"},
        {"n_modes": 4, "max_iter": 60},
    ):
        em = fitted(whole, **{"n_modes": 2, **options})
        assert em.shrinkage_ >= 3.0, options
        assert np.diff(em.objectives_).min(initial=0.0) >= -1e-9 * (1.0 + abs(em.objectives_[-1])), options


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_criteria_of_a_shrunk_fit_name_the_way(panel, em, criterion):
    with pytest.raises(OptionError, match=r"covariance='full' or 'pooled', fit\(X, init=model_\)"):
        getattr(em, criterion)()
    with pytest.raises(OptionError, match="shrunk"):
        getattr(em, criterion)(panel)
    likely = fitted(panel, covariance="full", fit={"init": em.model_})  # the way that is named
    assert np.isfinite(getattr(likely, criterion)())


def test_what_is_said_of_a_fit_states_the_weight_and_no_criterion(panel, em, tmp_path, capsys):
    """A BIC beside shrunk covariances would be compared with those of maximum likelihood."""
    facts = str(em.model_.summary())
    assert f"shrinkage, units  {em.shrinkage_:g}" in facts and "BIC" not in facts
    held_out = np.asarray(em.model_.training["held_out"])
    assert tuple(held_out[:, 0]) == menu_of((3, 3)) and held_out[:, 1].max() == 0.0
    table, model = tmp_path / "fleet.csv", tmp_path / "fleet.cem"
    rows = [f"{unit},{t!r},{x!r},{y!r}" for unit, t, (x, y) in _rows(panel)]
    table.write_text("unit,time,x1,x2\n" + "\n".join(rows))
    common = ["--unit", "unit", "--time", "time", "--seed", "0"]
    assert main(["fit", str(table), "--modes", "2", *common, "-o", str(model), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert main(["info", str(model), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    for one in (said, info):
        assert em.shrinkage_ == pytest.approx(_found(one, "shrinkage"))
        assert _found(one, "bic") is None


def _rows(panel):
    for l in range(panel.n_units):
        for i in range(panel.offsets[l], panel.offsets[l + 1]):
            yield l, float(panel.times[i]), map(float, panel.values[i])


def _found(record, name):
    """The value of a key, however deep."""
    if isinstance(record, dict):
        for key, value in record.items():
            found = value if key == name else _found(value, name)
            if found is not None:
                return found
    return None


def test_models_keep_the_weight_in_files_and_pickles(em, tmp_path):
    em.model_.save(tmp_path / "shrunk.cem")
    for model in (pickle.loads(pickle.dumps(em)).model_, cem.load(tmp_path / "shrunk.cem")):
        assert model.training["shrinkage"] == em.shrinkage_
        assert model.training["held_out"] == em.model_.training["held_out"]
    assert pickle.loads(pickle.dumps(em)).shrinkage_ == em.shrinkage_


def test_an_estimator_pickled_before_there_was_shrinkage_fits_with_what_it_had(panel):
    """Its covariance was "full": the new default must not take its place, and it has no option of the new name."""
    state = cem.FailureModeEM(2, covariance="full", random_state=0).__getstate__()
    old = {name: value for name, value in state.items() if name not in ("shrinkage", "uncertainty")}
    em = object.__new__(cem.FailureModeEM)
    em.__setstate__(old)
    assert em.get_params()["shrinkage"] == "auto" and em.get_params()["covariance"] == "full"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        assert em.fit(panel).shrinkage_ == 0.0
    fitted = {name: value for name, value in em.__getstate__().items() if name != "shrinkage_"}
    older = object.__new__(cem.FailureModeEM)
    older.__setstate__(fitted)
    assert older.shrinkage_ == 0.0


def test_options_are_those_of_a_scikit_learn_estimator(panel):
    sklearn = pytest.importorskip("sklearn.base")
    em = cem.FailureModeEM(2, shrinkage=9.0, covariance="shrunk", random_state=0)
    copy = sklearn.clone(em)
    assert copy.get_params()["shrinkage"] == 9.0
    assert copy.set_params(shrinkage="auto", covariance="pooled").fit(panel).shrinkage_ == 0.0


def test_fleets_of_a_few_units_and_copies_of_one_do_not_fail(panel):
    for units in (2, 3, 5):
        assert fitted(panel[np.arange(units)]).shrinkage_ >= menu_of((3, 3))[0]
    assert fitted(panel, fit={"sample_weight": [5] + [0] * 39}).shrinkage_ == menu_of((3, 3))[-1]


@pytest.mark.parametrize(("seed", "weight"), [(1, 7.0), (4, 70.0)])
def test_a_fit_with_a_sensor_that_is_stuck_in_one_mode_converges(seed, weight):
    """Variances at their floor in some modes and not in others: quasi-Newton steps must know what (25) leaves free."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, 10, 12)) for _ in range(40)]
    values = [
        np.stack([0.3 * t + 2 * (l % 2), np.sin(t)], axis=1) + 0.2 * rng.normal(size=(12, 2))
        for l, t in enumerate(times)
    ]
    for stuck in values[::2]:
        stuck[:, 1] = stuck[0, 1]
    em = fitted(cem.Panel.from_arrays(times, values), covariance="shrunk", shrinkage=weight)
    assert em.converged_
    assert em.n_iter_ < 400


@pytest.mark.parametrize("weight", [3.0, 40.0, 1000.0])
def test_the_objective_is_that_of_dense_gaussians_less_the_penalty_and_no_neighbour_is_higher(weight):
    """Written out in the user's units without any of the package's algebra: (1) to (3), and (25)."""
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 10, 8)) for _ in range(24)]
    values = [
        (1 + l % 2) * (1 + rng.normal()) + 0.2 * rng.normal() * t + 0.3 * rng.normal(size=8)
        for l, t in enumerate(times)
    ]
    panel = cem.Panel.from_arrays(times, [x[:, None] for x in values])
    em = fitted(panel, basis=cem.Polynomial(1), shrinkage=weight, tol=1e-13)
    phi = em.model_.bases[0]

    def objective(weights, means, covariances, noise):
        total = 0.0
        for t, x in zip(times, values, strict=True):
            terms = []
            for k in range(2):
                V = phi(t) @ covariances[k] @ phi(t).T + noise[k] * np.eye(8)
                left = x - phi(t) @ means[k]
                terms.append(
                    np.log(weights[k]) - 0.5 * (left @ np.linalg.solve(V, left) + np.linalg.slogdet(2 * np.pi * V)[1])
                )
            total += np.logaddexp(*terms)
        common = np.linalg.inv(np.linalg.inv(covariances).mean(axis=0))
        spread = np.linalg.slogdet(covariances)[1].sum() - 2 * np.linalg.slogdet(common)[1]
        return total - 0.5 * weight * spread

    found = em.weights_, em.means_[:, 0], em.covariances_[:, 0], em.noise_variances_[:, 0]
    assert not em.model_.training["floors"]
    highest = objective(*found)
    assert em.objectives_[-1] == pytest.approx(highest, abs=1e-9)
    for _ in range(50):
        A = np.eye(2) + 0.02 * rng.normal(size=(2, 2, 2))
        other = (
            found[0] + 0.02 * rng.normal() * np.array([1.0, -1.0]),
            found[1] + 0.02 * rng.normal(size=(2, 2)),
            A @ found[2] @ np.swapaxes(A, 1, 2),
            found[3] * np.exp(0.02 * rng.normal(size=2)),
        )
        assert objective(*other) < highest
