"""Files of format version 3 load for ever, and give the numbers that they gave when they were written.

They are never written anew (tests/data/make_golden_conditions.py); a failure here is a change that breaks users' files.
"""

import numpy as np
import pytest
from golden_cases import DATA
from golden_conditions import FILES, LIVES, MODELS, loaded_numbers, panel_of, record

import cem

RECORD = record()


@pytest.mark.parametrize("name", FILES)
def test_model_with_conditions_scores_as_it_did(name):
    found, expected = loaded_numbers(name, panel_of(RECORD["panel"])), RECORD["numbers"][name]
    assert set(found) == set(expected)
    for key, numbers in expected.items():
        np.testing.assert_allclose(np.array(found[key]), np.array(numbers), rtol=1e-8, atol=1e-9, err_msg=key)


def test_every_kind_of_condition_is_in_one_of_the_files():
    models = {name: cem.load(DATA / name) for name in MODELS}
    models[LIVES] = cem.RemainingLife.load(DATA / LIVES).model
    everything = models["golden-3-conditions.cem"]
    assert everything.covariates == ("load", "speed", "stage") and everything.unit_covariates == ("rate", "site")
    assert any(everything.conditions.by_mode) and any(everything.conditions.common)
    assert {kind for own in everything.column_kinds for kind in own} == {"random", "by mode", "common"}
    assert everything.internal_parameters.membership is not None
    assert models[LIVES].linking_rank == 1 and models[LIVES].conditions.regimes is not None
    assert sum((DATA / name).stat().st_size for name in FILES) < 60_000
