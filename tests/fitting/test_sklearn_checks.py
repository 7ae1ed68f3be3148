"""scikit-learn's own checks of an estimator. None is expected to fail."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

import cem

SKLEARN = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


def estimator(n_modes=2):
    return cem.FailureModeEM(n_modes, n_init=2, random_state=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_check_of_scikit_learn_passes():
    """A search, a pipeline or a tool for estimators relies on each of them."""
    results = check_estimator(estimator(), on_skip=None, on_fail=None)
    assert len(results) > 40
    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {"check_array_api_input"}


@pytest.mark.slow
@pytest.mark.skipif(SKLEARN < (1, 9), reason="this scikit-learn has no such check of outputs that are not arrays")
def test_the_check_of_arrays_of_other_libraries_passes():
    """It runs only if SciPy is imported with this variable; `check_estimator` skips it otherwise."""
    code = (
        "import cem, warnings; warnings.simplefilter('ignore')\n"
        "from sklearn.utils.estimator_checks import check_array_api_input as check\n"
        "em = cem.FailureModeEM(2, n_init=2, random_state=0)\n"
        "check('FailureModeEM', em, array_namespace='numpy', expect_only_array_outputs=False)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "SCIPY_ARRAY_API": "1"}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "check",
    [
        "check_clustering",
        "check_clusterer_compute_labels_predict",
        "check_estimators_partial_fit_n_features",
        "check_transformer_get_feature_names_out",
        "check_set_output_transform",
        "check_get_feature_names_out_error",
    ],
)
def test_checks_that_scikit_learn_keeps_for_its_own_clusterers_and_transformers_pass(check):
    """`check_estimator` skips them, because the estimator inherits from no class of scikit-learn."""
    if not hasattr(estimator_checks, check):
        pytest.skip("this release of scikit-learn has no such check")
    getattr(estimator_checks, check)("FailureModeEM", estimator())


def test_an_array_with_another_number_of_times_is_scored_with_times():
    """Columns of an array are features to scikit-learn, so fewer of them are refused unless their times are given."""
    x = np.random.default_rng(0).normal(size=(20, 6)) + 4.0 * (np.arange(20) % 2)[:, None]
    em = estimator().fit(x)
    assert em.n_features_in_ == 6 and not hasattr(em, "feature_names_in_")
    with pytest.raises(cem.PredictionError, match=r"X has 4 features, but FailureModeEM is expecting 6.*range\(4\)"):
        em.predict(x[:, :4])
    padded = np.where(np.arange(6) < 4, x, np.nan)
    np.testing.assert_allclose(em.predict_proba(x[:, :4], times=range(4)), em.predict_proba(padded), atol=1e-12)
    np.testing.assert_allclose(em.predict_proba(list(x[:, :4]), times=range(4)), em.predict_proba(padded), atol=1e-12)
    assert em.model_.predict(x[:, :4]).shape == (20,)  # a model has no columns, only times
