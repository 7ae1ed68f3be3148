"""Functions of custom bases: a file may name one, and only the user's own process provides it."""

import sys
import types

import numpy as np
import pytest
from model_cases import example_model

import cem
from cem.basis import custom_functions
from cem.basis.families import Custom, basis_from_dict
from cem.errors import BasisError, ModelFileError, OptionError


def parabola(t):
    return np.stack([np.ones_like(t), t, t**2], axis=1)


def cubic(t):
    return np.stack([np.ones_like(t), t, t**3], axis=1)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    """No function is known, as in a process that has made no Custom basis."""
    monkeypatch.setattr(custom_functions, "_registered", {})
    monkeypatch.setattr(custom_functions, "_seen", {})


def with_basis(function):
    model = example_model()
    return example_model(bases=(Custom(function, 3).bind([0.0, 1.0]), *model.bases[1:]))


def forget():
    custom_functions._registered.clear()
    custom_functions._seen.clear()


NAME = f"{__name__}:parabola"


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "custom.cem"
    with_basis(parabola).save(path)
    forget()
    return path


def test_a_file_that_names_a_function_is_refused_with_the_call_to_make(saved):
    with pytest.raises(ModelFileError) as caught:
        cem.load(saved)
    message = str(caught.value)
    assert f"functions={{{NAME!r}: parabola}}" in message and f"cem.register_function({NAME!r}, parabola)" in message
    assert f"from {__name__} import parabola" in message and str(saved) in message


def test_the_call_that_is_shown_is_the_one_that_was_made(tmp_path):
    """The message of `RemainingLife.load` would show a call that returns a plain model."""
    path = tmp_path / 'it\'s "one".cem'
    with_basis(parabola).save(path)
    forget()
    given = []
    names = {"loads": lambda *arguments, **options: given.append((arguments, options)), "parabola": parabola}
    for load, shown in ((cem.load, "cem.load"), (cem.RemainingLife.load, "cem.RemainingLife.load")):
        with pytest.raises(ModelFileError) as caught:
            load(path)
        (call,) = [part for part in str(caught.value).split("  ") if part.startswith(f"{shown}(")]
        exec(call.replace(shown, "loads"), names)
    assert given == [((str(path),), {"functions": {NAME: parabola}})] * 2


def test_a_file_names_a_module_and_it_is_not_imported(tmp_path, monkeypatch):
    """The file could name any module of the machine, and importing it runs its code."""
    trap = tmp_path / "trap_module.py"
    trap.write_text("import pathlib\npathlib.Path(__file__).with_name('sprung').touch()\ndef f(t): return t[:, None]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = types.ModuleType("trap_module")
    module.f = lambda t: parabola(t)
    module.f.__module__, module.f.__qualname__ = "trap_module", "f"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "trap_module", module)
        with_basis(module.f).save(tmp_path / "m.cem")
    forget()
    with pytest.raises(ModelFileError, match="trap_module:f"):
        cem.load(tmp_path / "m.cem")
    assert "trap_module" not in sys.modules and not (tmp_path / "sprung").exists()
    bound = cem.load(tmp_path / "m.cem", functions={"trap_module:f": parabola}).bases[0]
    np.testing.assert_array_equal(bound([0.5]), [[1, 0.5, 0.25]])


def test_functions_given_with_the_call_registered_before_or_seen_in_a_basis_are_found(saved):
    assert cem.load(saved, functions={NAME: parabola}).bases[0].function is parabola
    forget()
    cem.load(saved, functions={NAME: lambda t: parabola(t)})
    with pytest.raises(ModelFileError):  # given for one call, not for the next
        cem.load(saved)
    cem.register_function(NAME, parabola)
    assert cem.load(saved).bases[0].function is parabola
    forget()
    Custom(parabola)
    assert cem.load(saved).bases[0].function is parabola


def test_another_function_under_the_name_is_noticed(saved):
    with pytest.raises(ModelFileError, match="log-likelihood of its check panel"):
        cem.load(saved, functions={NAME: cubic})


def test_a_local_function_can_be_saved_once_it_has_a_name(tmp_path):
    def local(t):
        return parabola(t)

    model = with_basis(local)
    with pytest.raises(BasisError, match=r"cem\.register_function\('module:name', function\)"):
        model.save(tmp_path / "m.cem")
    cem.register_function("plant:wear", local)
    model.save(tmp_path / "m.cem")
    assert cem.load(tmp_path / "m.cem").bases[0].function is local


def test_what_is_no_function_is_an_option_error(saved):
    for wrong in ([parabola], {NAME: 3}, {3: parabola}, {"": parabola}):
        with pytest.raises(OptionError):
            cem.load(saved, functions=wrong)
    with pytest.raises(OptionError):
        cem.register_function("plant:wear", "parabola")


def test_a_name_without_end_is_shown_in_part(saved):
    part = {"type": "Custom", "options": {"function": "x" * 10**6, "size": None}, "domain": None, "learned": []}
    with pytest.raises(BasisError) as caught:
        basis_from_dict(part)
    assert len(str(caught.value)) < 2000


def test_the_command_line_imports_what_the_user_names_and_nothing_else(saved, capsys, monkeypatch, tmp_path):
    from cem.cli import main

    (tmp_path / "own_curves.py").write_text("from numpy import ones_like, stack\n\ndef wear(t):\n"
                                            "    return stack([ones_like(t), t, t**2], axis=1)\n")  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["info", str(saved)]) == 1
    assert f"--function {NAME}" in capsys.readouterr().err
    assert main(["info", str(saved), "--function", f"{NAME}=own_curves:wear"]) == 0
    assert "failure modes" in capsys.readouterr().out
    assert main(["info", str(saved), "--function", "own_curves:absent"]) == 1
    assert "own_curves:absent" in capsys.readouterr().err
    sys.modules.pop("own_curves", None)
    with pytest.raises(SystemExit):
        main(["info", str(saved), "--function", "own_curves"])
