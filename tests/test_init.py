"""`import cem` is cheap and says what there is: embedded scoring starts in the time that NumPy takes."""

import importlib
import subprocess
import sys

import pytest
from places import DATA

import cem


def in_fresh_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["scipy", "numpy", "pandas", "rich", "sklearn"])
def test_import_alone_loads_no_package(package):
    assert in_fresh_python(f"import sys, cem; print({package!r} in sys.modules)") == "False"


def test_the_command_line_starts_without_numpy():
    """`cem --help` and a mistyped option answer at once."""
    assert in_fresh_python("import sys, cem.cli; print('numpy' in sys.modules)") == "False"


@pytest.mark.parametrize("name", cem.__all__)
def test_every_public_name_is_there_and_listed(name):
    assert getattr(cem, name) is not None
    assert name in dir(cem)


def test_every_error_that_a_user_may_catch_is_public():
    errors = importlib.import_module("cem.errors")
    lacking = [name for name in errors.__all__ if name.endswith("Error") and name not in cem.__all__]
    assert lacking == []


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'FailureModeEn'"):
        cem.FailureModeEn  # noqa: B018


@pytest.mark.parametrize("file", ["golden-1.cem", "golden-1-labels.cem", "golden-2-linked.cem"])
def test_a_model_that_scores_loads_nothing_that_it_does_not_need(file):
    """Cold starts on small devices: `numpy.ma` and SciPy would cost a tenth of one and more."""
    path = DATA / file
    code = (
        f"import sys, cem; model = cem.load({str(path)!r}); unit = model.scorer().unit(); "
        "unit.update(1.0, [0.0] * len(model.channels)); unit.mode_probabilities(); "
        "print(*{'scipy', 'numpy.ma', 'pathlib', 'concurrent', 'narwhals', 'logging'} & set(sys.modules))"
    )
    assert in_fresh_python(code) == ""
