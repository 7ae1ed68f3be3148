"""Log weights of each unit in place of ln π: every kernel of the E step must say the same of them.

A fit chooses its kernel by the fleet and the machine. If one of them took a unit's prior probabilities from another
unit, or forgot them, the modes of a fleet would depend on the processor.
"""

from __future__ import annotations

import numpy as np
import pytest
import reference as _reference
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Problem, problems, random_problem

from cem.em.expectation import Expectation
from cem.em.kernels import _lanes, _linked_lanes
from cem.em.kernels.choice import Kernel, LanesKernel, LapackKernel, LinkedKernel, LinkedLanesKernel, SharedKernel
from cem.errors import FitError
from cem.mixture.parameters import Parameters
from cem.statistics.designs import shared_designs
from cem.statistics.sufficient import SufficientStatistics

LEVELS = _lanes.available_levels()
GENTLE = {"log_condition": (0.0, 2.0), "log_noise": (-1.0, 0.0)}
N_UNITS = 21  # not a multiple of the lanes


def kernel_of(name: str, statistics: SufficientStatistics, level: str) -> Kernel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_lanes.LEVEL_VARIABLE, level)
        if name == "lanes":
            return LanesKernel(statistics)
        if name == "shared":
            designs = shared_designs(statistics, 1e-9)
            assert designs is not None
            return SharedKernel(statistics, designs)
        return {"lapack": LapackKernel, "linked": LinkedKernel, "linked lanes": LinkedLanesKernel}[name](statistics)


def expectation_by(name: str, statistics: SufficientStatistics, level: str) -> Expectation:
    """The E step with this kernel."""
    expectation = Expectation(statistics)
    kernel = kernel_of(name, statistics, level)
    if isinstance(kernel, (LinkedKernel, LinkedLanesKernel)):
        expectation._linked = kernel
    else:
        expectation._kernel = kernel
    return expectation


def with_no_links(parameters: Parameters) -> Parameters:
    """The same model as one of linked channels, whose loadings are zero."""
    return Parameters(
        parameters.weights,
        parameters.means,
        parameters.factors,
        parameters.noise_variances,
        parameters.sizes,
        np.zeros((*parameters.means.shape, 1)),
    )


def labelled(problem: Problem) -> SufficientStatistics:
    known = np.full(N_UNITS, -1, dtype=np.int32)
    known[[2, 9]] = [0, problem.parameters.n_modes - 1]
    return problem.statistics.with_known_modes(known)


def random_log_weights(n_modes: int, known: np.ndarray, seed: int) -> np.ndarray:
    """Of every size; some units cannot be in the first mode."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_modes, 0.3), N_UNITS) + 1e-9
    if n_modes > 1:
        weights[(rng.random(N_UNITS) < 0.3) & (known < 0), 0] = 0.0
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["lapack", "lanes", "shared", "linked", "linked lanes"])
@settings(derandomize=True, deadline=None, max_examples=15)
@given(problem=problems(n_units=N_UNITS, **GENTLE), temperature=st.sampled_from([1.0, 0.3]), seed=st.integers(0, 99))
def test_every_kernel_agrees_with_the_reference(name, level, problem, temperature, seed):
    """Known modes, missing channels, tempered responsibilities and modes that are impossible for a unit among them."""
    statistics, parameters = labelled(problem), problem.parameters
    if max(problem.sizes) > _linked_lanes.LARGEST_SIZE:
        return
    log_weights = random_log_weights(parameters.n_modes, statistics.known_modes, seed)
    options = {"inverse_temperature": temperature, "log_weights": log_weights}
    rho, sums = _reference.expectation(
        statistics.factors,
        statistics.factor_offsets,
        statistics.projections,
        statistics.residual_norms,
        statistics.counts,
        statistics.known_modes,
        parameters,
        **options,
    )
    by_kernel = expectation_by(name, statistics, level)
    point = with_no_links(parameters) if name.startswith("linked") else parameters
    found, found_rho = by_kernel(point, **options)
    of_linked = found.sums[: len(sums)]
    np.testing.assert_allclose(found_rho, rho, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(of_linked, sums, rtol=1e-7, atol=1e-8 * (1.0 + np.abs(sums).max()))


@pytest.mark.parametrize("name", ["lapack", "lanes", "shared", "linked", "linked lanes"])
@settings(derandomize=True, deadline=None, max_examples=10)
@given(problem=problems(n_units=N_UNITS, **GENTLE))
def test_log_pi_for_every_unit_changes_no_bit(name, problem):
    """A model without covariates of units must be the special case in which all units have the same weights."""
    if max(problem.sizes) > _linked_lanes.LARGEST_SIZE:
        return
    statistics, parameters = labelled(problem), problem.parameters
    by_kernel = expectation_by(name, statistics, LEVELS[-1])
    point = with_no_links(parameters) if name.startswith("linked") else parameters
    same = np.tile(np.log(parameters.weights), (N_UNITS, 1))
    (plain, plain_rho), (own, own_rho) = by_kernel(point), by_kernel(point, log_weights=same)
    assert plain.sums.tobytes() == own.sums.tobytes()
    assert plain_rho.tobytes() == own_rho.tobytes()


@pytest.mark.parametrize("name", ["lapack", "lanes", "shared", "linked", "linked lanes"])
def test_a_unit_that_no_mode_may_have_is_an_error(name):
    """Never NaN in silence, and the message names the unit."""
    problem = random_problem(np.random.default_rng(3), 2, (2, 3), n_units=N_UNITS, **GENTLE)
    log_weights = np.zeros((N_UNITS, 2))
    log_weights[4] = -np.inf
    point = with_no_links(problem.parameters) if name.startswith("linked") else problem.parameters
    with pytest.raises(FitError, match=f"unit {problem.panel.units[4]!r}"):
        expectation_by(name, problem.statistics, LEVELS[-1])(point, log_weights=log_weights)


@pytest.mark.parametrize("name", ["lapack", "lanes", "shared", "linked", "linked lanes"])
def test_log_weights_of_another_fleet_are_refused(name):
    """A kernel would read another unit's memory."""
    problem = random_problem(np.random.default_rng(3), 2, (2, 3), n_units=N_UNITS, **GENTLE)
    point = with_no_links(problem.parameters) if name.startswith("linked") else problem.parameters
    with pytest.raises(ValueError, match="log_weights"):
        expectation_by(name, problem.statistics, LEVELS[-1])(point, log_weights=np.zeros((N_UNITS - 1, 2)))
