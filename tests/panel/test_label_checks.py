"""Labels as people type them: 'Seal ' beside 'seal', '' and 'nan' are named once, and kept as they are."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cem import Panel
from cem.errors import LabelWarning, PanelError

X = np.random.default_rng(0).normal(size=(6, 5))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["Seal ", "seal", "bearing", None, None, None], "'Seal ' and 'seal' differ only in case, blanks or type"),
        (["SEAL", "seal", "Seal", "b", "B", None], "'SEAL' and 'Seal' and 'seal'|'B' and 'b'"),
        (["seal wear", "seal  wear", None, None, None, None], "differ only in case, blanks"),
        (["1", 1, 2, 2, None, None], "differ only in case, blanks or type"),
        (["seal", "", "", None, None, None], "'' is taken for a mode of that name; give None"),
        (["seal", "nan", "None", "unknown", "n/a", None], "'None', 'n/a', 'nan', 'unknown' are taken for"),
    ],
)
def test_labels_that_are_probably_no_modes_are_one_warning(labels, message):
    panel = Panel.from_arrays(None, X)
    frame = pd.DataFrame({"u": range(6), "t": 0.0, "x": X[:, 0], "m": pd.Series(labels, dtype=object)})
    for make in (
        lambda: panel.with_modes(labels),
        lambda: Panel.from_arrays(None, X, modes=labels),
        lambda: Panel.from_frame(frame, unit="u", time="t", channels=["x"], mode="m"),
    ):
        with pytest.warns(LabelWarning, match=message) as caught:
            found = make()
        assert len(caught) == 1
        assert found.modes == tuple(labels)


@pytest.mark.parametrize(
    "labels", [["seal", "bearing", None] * 2, [0, 1, 2] * 2, ["a1", "a 1", "b"] * 2, [("a", 1), None] * 3]
)
def test_plain_labels_are_left_in_peace(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Panel.from_arrays(None, X, modes=labels)


@pytest.mark.parametrize("labels", [[True, 1, 2, None, None, None], [0, 2, False, None, None, None]])
def test_truth_values_among_numbers_do_not_become_one_mode_with_them(labels):
    with pytest.raises(PanelError, match=r"mode labels hold (True|False) as well as the number [01]"):
        Panel.from_arrays(None, X, modes=labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = Panel.from_arrays(None, X, modes=[True, False, True, None, None, None])
    assert alone.mode_labels == (False, True)
