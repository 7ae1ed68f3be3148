"""The detector of copies that .ci/run calls: what it finds in Python and in Cython, and what it lets pass."""

import importlib.util
import sys

import pytest
from places import ROOT

pytest.importorskip("pylint", reason="pylint is not installed: copies are looked for by .ci/run alone")

LINES = [f"    total += x[{i}] * y[{i}]" for i in range(14)]


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The script, in a project of its own without any source."""
    specification = importlib.util.spec_from_file_location("ci_copies", ROOT / ".ci" / "copies.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "ci_copies", module)
    specification.loader.exec_module(module)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    start, _, rest = text.partition("[tool.copies]")
    assert rest
    (tmp_path / "pyproject.toml").write_text(start + "[tool.copies]\nexplained = []\n", encoding="utf-8")
    (tmp_path / "src" / "cem").mkdir(parents=True)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "SOURCES", tmp_path / "src")
    return module


def write(copies, name, signature, lines):
    (copies.SOURCES / "cem" / name).write_text("\n".join([signature, *lines]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("ending, signature", [("py", "def {}(x, y, total):"), ("pyx", "cdef int {}(int* x) nogil:")])
@pytest.mark.parametrize("n_lines, faults", [(11, 1), (10, 0)])
def test_eleven_lines_are_a_copy_and_ten_are_not(copies, capsys, ending, signature, n_lines, faults):
    """Copies would creep in, or sound code be refused."""
    for name in ("one", "other"):
        write(copies, f"{name}.{ending}", signature.format(name), LINES[:n_lines])
    assert copies.main() == faults, capsys.readouterr().out
    if faults:
        assert f"one.{ending}" in capsys.readouterr().out


def test_a_declaration_is_no_copy_of_its_definition(copies):
    """A .pxd file repeats what its .pyx file says, because Cython asks for it."""
    for ending in ("pyx", "pxd"):
        write(copies, f"kernel.{ending}", "cdef int kernel(", [f"    const double* x{i}," for i in range(14)])
    assert copies.main() == 0


@pytest.mark.parametrize("included, faults", [(True, 0), (False, 1)])
def test_a_declaration_is_no_copy_of_a_definition_in_a_part(copies, included, faults):
    """A module in parts would have to be one long file; but only its own parts are declared in its .pxd file."""
    (copies.SOURCES / "cem" / "kernel.pyx").write_text('include "part.pxi"\n' if included else "", encoding="utf-8")
    for name in ("kernel.pxd", "part.pxi"):
        write(copies, name, "cdef int kernel(", [f"    const double* x{i}," for i in range(14)])
    assert copies.main() == faults


def test_an_explanation_without_a_copy_is_refused(copies, capsys):
    """Explanations of copies that are gone would let others pass."""
    path = copies.ROOT / "pyproject.toml"
    explained = 'explained = [{ files = ["cem/a.py", "cem/b.py"], why = "none" }]'
    path.write_text(path.read_text(encoding="utf-8").replace("explained = []", explained), encoding="utf-8")
    assert copies.main() == 1
    assert "cem/a.py and cem/b.py are explained" in capsys.readouterr().out
