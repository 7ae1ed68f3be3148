"""Remaining life with linked channels: (18) and (19) on the joint law of all channels."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

import cem
from cem import _reference_linked
from cem.censored import LivesProblem
from cem.errors import OptionError
from cem.linked_prediction import linked_candidate_log_densities
from cem.remaining_life import anchored_statistics, candidate_log_densities

CONSTANTS = [8.0, 30.0]


def running_fleet(n_failed=50, n_running=0, seed=0, channels=("a", "b", "c")):
    """Units of one mode whose channels share a factor, on a clock that ends at failure or before."""
    rng = np.random.default_rng(seed)
    times, values, failures = [], [], []
    for l in range(n_failed + n_running):
        life = rng.lognormal(np.log(80.0), 0.2)
        t = np.arange(1.0, life, 3.0)
        tau = t - life
        shared = rng.normal()
        x = np.stack(
            [
                np.exp(0.1 * rng.normal() + 0.4 * shared) * (np.exp(tau / 8.0) + 0.5 * np.exp(tau / 30.0))
                + 0.1 * rng.normal()
                for _ in channels
            ],
            axis=1,
        )
        x += 0.1 * rng.normal(size=x.shape)
        if l >= n_failed:
            keep = len(t) // 2
            t, x, life = t[:keep], x[:keep], np.nan
        times.append(t)
        values.append(x)
        failures.append(life)
    return cem.Panel.from_arrays(times, values, channels=channels, failure_times=failures)


def fitted(panel, rank=1, n_modes=1, **options):
    return cem.FailureModeEM(
        n_modes,
        basis=cem.Exponential(CONSTANTS),
        time_axis="to_failure",
        n_init=2,
        random_state=0,
        linking_rank=rank,
        linking_penalty=50.0,
        **options,
    ).fit(panel)


@pytest.fixture(scope="module")
def panel():
    return running_fleet()


@pytest.fixture(scope="module")
def prognosis(panel):
    return cem.RemainingLife(fitted(panel).model_)


def test_candidates_are_weighed_by_the_joint_law(prognosis, panel):
    """ln P(x | k, r) with all readings of all channels in one dense covariance, channels missing here and there."""
    part = panel[:3].until(np.array([40.0, 55.0, 30.0]))
    values = part.values.copy()
    values[::4, 1] = np.nan
    values[: part.offsets[1], 2] = np.nan
    part = part._replace(values=values)
    grid = np.array([2.0, 10.0, 40.0, 90.0])
    found = prognosis.log_densities(part, grid)
    user, bases = prognosis.model.user_parameters(), prognosis.model.bases
    for l in range(3):
        rows = slice(part.offsets[l], part.offsets[l + 1])
        seen = ~np.isnan(part.values[rows])
        x = np.concatenate([part.values[rows, c][seen[:, c]] for c in range(3)])
        for g, left in enumerate(grid):
            tau = part.times[rows] - part.times[rows][-1] - left
            designs = [bases[c](tau[seen[:, c]]) for c in range(3)]
            mean, V, _, _ = _reference_linked.dense_law(designs, user, 0)
            density = -0.5 * (
                len(x) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + (x - mean) @ np.linalg.solve(V, x - mean)
            )
            assert found[l, g, 0] == pytest.approx(density, rel=1e-7, abs=1e-6)


def test_no_loadings_weigh_candidates_as_independent_channels_do(prognosis, panel):
    """With readings that count for less than one too: the two ways share no code."""
    model = prognosis.model
    user = model.user_parameters()
    none = replace(user, loadings=np.zeros_like(user.loadings))
    anchored = anchored_statistics(panel[:4].until(np.full(4, 40.0)), model.bases)
    shifts = [basis.shift_matrix(np.array([1.0, 20.0, 60.0])) for basis in model.bases]
    worth = np.array([0.4, 1.0, 0.7])
    found = linked_candidate_log_densities(anchored, shifts, none, worth)
    wanted = candidate_log_densities(
        anchored,
        shifts,
        [user.layout.vector(user.means, c) for c in range(3)],
        [user.layout.matrix(user.factors, c) for c in range(3)],
        user.noise_variances,
        information=worth,
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-8)


def test_linked_laws_are_wider_than_independent_ones_and_hold_better():
    """Ten channels that move together are not ten witnesses."""
    channels = tuple("abcdefghij")
    panel, new = running_fleet(channels=channels), running_fleet(n_failed=150, seed=5, channels=channels)
    rng = np.random.default_rng(1)
    cut = new.until(new.failure_times * rng.uniform(0.4, 0.9, new.n_units))
    truth = new.failure_times - cut.times[cut.offsets[1:] - 1]
    held = {}
    for rank in (0, 1):
        law = cem.RemainingLife(fitted(panel, rank).model_).predict(cut)
        low, high = law.interval(0.9)
        held[rank] = (
            ((low <= truth) & (truth <= high)).mean(),
            cem.metrics.crps_pmf(truth, law.grid, law.pmf.sum(axis=2)).mean(),
        )
    assert held[1][0] > held[0][0] + 0.1
    assert held[1][1] < held[0][1]


def test_running_units_take_part_and_the_objective_never_falls():
    em = fitted(running_fleet(n_failed=30, n_running=12, seed=3), n_modes=2, max_iter=60)
    assert em.model_.linking_rank == 1
    assert np.diff(em.objectives_).min() >= -1e-6
    assert (em.objectives_ != em.log_likelihoods_).all()
    law = cem.RemainingLife(em.model_).predict(running_fleet(4, seed=9).until(np.full(4, 30.0)))
    assert np.isfinite(law.median()).all()


def test_lives_and_readings_in_one_pass_are_those_in_two():
    """Densities first and moments with the shares after: what independent channels do, and running units must."""
    panel = running_fleet(n_failed=24, n_running=6)
    modes = np.full(30, None, dtype=object)
    modes[:4] = ["a", "b", "a", "b"]
    panel = panel.with_modes(modes)
    kept, solved = [], LivesProblem.solved

    def keeping(problem, result, options):
        fit = solved(problem, result, options)
        kept.append((problem, fit))
        return fit

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        patch.setattr(LivesProblem, "solved", keeping)
        fitted(panel, n_modes=2, max_iter=5)
    problem, fit = kept[0]
    parameters, laws = fit.result.run.parameters, fit.lifetimes
    total, expected, weights, _ = problem.expectation(parameters, laws)
    n_failed = problem.n_failed
    log_lives = laws.log_density(problem.lives[:n_failed])
    joint = problem._joint(problem.failed, parameters, log_lives, problem.known_modes[problem.has_failed])
    logs = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(weights[:n_failed], np.exp(joint - logs[:, None]), atol=1e-9)
    of_failed, _ = problem.failed(parameters, responsibilities=weights[:n_failed])
    of_running, _ = problem.running(parameters, responsibilities=weights[n_failed:])
    np.testing.assert_allclose(expected.sums[1:], (of_failed + of_running).sums[1:], rtol=1e-9, atol=1e-9)
    assert weights[0, 0] in (0.0, 1.0) and np.isfinite(total)


def test_calibration_goes_on_from_the_linked_model(prognosis, panel):
    """Each fold's fit must be linked too, or the correction would be of other laws."""
    refitted = prognosis.recipe()(panel[:40])
    assert refitted.model.linking_rank == 1
    assert refitted.model.training["linking_penalty"] == 50.0
    calibrated = prognosis.calibrated(panel, ages=2, n_folds=3)
    assert 0.7 < calibrated.calibration.after.coverage[0.9] <= 1.0


def test_streaming_says_what_to_do_instead(prognosis):
    with pytest.raises(OptionError, match=r"linking_rank=1.*RemainingLife\.predict.*linking_rank=0"):
        prognosis.unit()


def test_predicts_without_scipy(prognosis, panel, tmp_path):
    """Where only NumPy is installed a linked model loads, scores and predicts what is left."""
    path = tmp_path / "linked.cem"
    prognosis.save(path)
    code = f"""
import sys
import warnings
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "scipy":
            raise ImportError("no scipy here")
sys.meta_path.insert(0, Block())
import numpy as np
import cem
prognosis = cem.RemainingLife.load({str(path)!r})
t = np.arange(1.0, 40.0, 3.0)
panel = cem.Panel.from_arrays([t], [np.column_stack([np.zeros(len(t))] * 3)], channels=["a", "b", "c"])
print(float(prognosis.predict(panel).median()[0]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    t = np.arange(1.0, 40.0, 3.0)
    same = cem.Panel.from_arrays([t], [np.column_stack([np.zeros(len(t))] * 3)], channels=["a", "b", "c"])
    assert float(out.stdout) == pytest.approx(float(prognosis.predict(same).median()[0]), rel=1e-12)
