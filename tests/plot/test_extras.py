"""Without matplotlib everything but pictures works, and a picture says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest
from places import DATA

import cem
from cem.extras import extra


def test_a_missing_package_names_its_extra():
    with pytest.raises(cem.MissingPackageError, match=r"drawing needs .* nowhere_here, .*modes\[plot\]"):
        extra("nowhere_here.part", "plot", "drawing")
    with pytest.raises(ImportError):  # what other libraries catch
        extra("nowhere_here", "plot", "drawing")


def test_a_package_that_fails_to_import_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_here.py").write_text("import nowhere_here")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(cem.MissingPackageError, match="installed and cannot be imported"):
        extra("broken_here", "plot", "drawing")


def test_importing_the_room_imports_no_matplotlib():
    """A service that imports it for its reports starts as fast as before."""
    code = "import sys, cem, cem.plot; cem.plot.TrajectoryDisplay; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_scoring_loads_nothing_of_pictures():
    """Cold starts on small devices."""
    code = (
        f"import sys, cem; model = cem.load({str(DATA / 'golden-1.cem')!r}); unit = model.scorer().unit(); "
        "unit.update(1.0, [0.0] * len(model.channels)); unit.mode_probabilities(); "
        "print(sorted(name for name in sys.modules if name.startswith(('cem.plot', 'cem.extras', 'matplotlib'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_picture_without_matplotlib_is_a_typed_error():
    code = (
        "import sys; sys.modules['matplotlib'] = None; import cem\n"
        "try: cem.datasets.load_demo_fleet().plot()\n"
        "except cem.MissingPackageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'cem-failure-modes[plot]'" in done.stdout
