"""Files of format version 4 load for ever, and give the numbers that they gave when they were written.

They are never written anew (tests/data/make_golden_uncertain.py); a failure here is a change that breaks users' files.
"""

import numpy as np
import pytest
from golden_cases import DATA
from golden_uncertain import FILES, MODELS, loaded_numbers, record

import cem

RECORD = record()


@pytest.mark.parametrize("name", FILES)
def test_model_with_uncertainty_predicts_as_it_did(name):
    found, expected = loaded_numbers(name, RECORD["panels"][name]), RECORD["numbers"][name]
    assert set(found) == set(expected)
    for key, numbers in expected.items():
        np.testing.assert_allclose(np.array(found[key]), np.array(numbers), rtol=1e-8, atol=1e-9, err_msg=key)


def test_files_hold_links_conditions_and_membership():
    models = {name: cem.load(DATA / name) for name in MODELS}
    assert models["golden-4-linked.cem"].linking_rank == 1
    assert models["golden-4-conditions.cem"].conditions is not None
    assert models["golden-4-conditions.cem"].internal_parameters.membership is not None
    assert all(model.components.parameters.n_modes == 6 for model in models.values())
    assert sum((DATA / name).stat().st_size for name in FILES) < 60_000
