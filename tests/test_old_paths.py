"""Code and pickles of releases before 0.4.0 name modules that have moved; both must go on working."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

from cem.errors import DeprecatedUseWarning
from cem.old_paths import NEW_PATHS


@pytest.mark.parametrize("old", sorted(NEW_PATHS))
def test_every_old_path_gives_the_module_that_took_its_place(old):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecatedUseWarning)
        found = importlib.import_module(f"cem.{old}")
    new = importlib.import_module(f"cem.{NEW_PATHS[old]}")
    for name in new.__all__:
        assert getattr(found, name) is getattr(new, name)


def test_coordinates_are_found_where_pickles_name_them():
    from cem.statistics.coordinates import Coordinates, Layout

    old = importlib.import_module("cem.parameters")
    assert old.Coordinates is Coordinates and old.Layout is Layout


def test_an_old_path_in_code_is_deprecated_by_the_line_that_imports_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import cem\nimport cem.codegen\nprint(cem.codegen.__name__)\n")
    done = subprocess.run([sys.executable, "-W", "always", str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cem.export.codegen"
    assert "script.py:2: DeprecatedUseWarning: cem.codegen is now cem.export.codegen" in done.stderr


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("cem.nothing_of_this_name")
