"""What setup.py refuses to translate, and what it compiles again after an edit; in trees of their own."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from places import ROOT

pytest.importorskip("Cython", reason="Cython is not installed: nothing can be translated")
pytest.importorskip("setuptools", reason="setuptools is not installed: nothing can be compiled")

pytestmark = pytest.mark.slow

SOURCES = ROOT / "src" / "cem"


def setup(tree, *arguments):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CEM_ABI3")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def tree(tmp_path):
    """A checkout with setup.py and no module yet."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "src" / "cem").mkdir(parents=True)
    (tmp_path / "src" / "cem" / "__init__.py").write_text("")
    return tmp_path


# ---- negative indices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", ["array[-1]", "array[:-1]", "array[-2:]"])
def test_a_negative_index_fails_the_build_and_the_next_one(tree, expression):
    """Scoring would raise IndexError with some versions of NumPy, or read beyond an array."""
    (tree / "src/cem/tiny.pyx").write_text(f"def last(array):\n    return {expression}\n")
    for attempt in range(2):
        done = setup(tree, "setup.py", "--quiet", "--name")
        assert done.returncode != 0, f"attempt {attempt}: the build passes"
        assert re.search(r"tiny\.pyx:2:.*negative ind", done.stderr), done.stderr


def test_indices_that_count_from_the_start_or_wrap_around_by_leave_pass(tree):
    """A build that fails on sound code would be switched off."""
    source = (
        "cimport cython\n"
        "def first(array):\n    return array[0]\n"
        "@cython.wraparound(True)\ndef last(array):\n    return array[-1]\n"
    )
    (tree / "src/cem/tiny.pyx").write_text(source)
    done = setup(tree, "setup.py", "--quiet", "--name")
    assert done.returncode == 0, done.stderr
    assert (tree / "build/cython/src/cem/tiny.c").is_file()


def test_a_module_that_does_not_translate_fails_the_build_with_its_error(tree):
    """Cython's output is read on its way: an error must still be seen."""
    (tree / "src/cem/tiny.pyx").write_text("def broken(:\n    pass\n")
    done = setup(tree, "setup.py", "--quiet", "--name")
    assert done.returncode != 0 and "tiny.pyx:1:" in done.stderr


# ---- what an edit compiles again -------------------------------------------------------------------------------------

DEPENDS = """
import json, runpy, setuptools
import Cython.Build.Dependencies as dependencies
dependencies.cythonize_one = lambda *arguments, **options: None
setuptools.setup = lambda **keywords: print(json.dumps({e.name: e.depends for e in keywords["ext_modules"]}))
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def depends(tmp_path_factory):
    """For each extension of this package, the headers that setuptools compares with the compiled module."""
    tree = tmp_path_factory.mktemp("sources")
    shutil.copy(ROOT / "setup.py", tree)
    ignore = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "data")
    shutil.copytree(SOURCES, tree / "src" / "cem", ignore=ignore)
    done = setup(tree, "-c", DEPENDS)
    assert done.returncode == 0, done.stderr
    return {name: {Path(path) for path in paths} for name, paths in json.loads(done.stdout.splitlines()[-1]).items()}


def dotted(path):
    """Name of the module of a .pyx file."""
    return ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts)


def named_headers(module):
    """C headers that a .pyx file and the .pxd files which it cimports, at any depth, name."""
    waiting, seen, headers = [module], set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        waiting += [path.with_name(name) for name in re.findall(r'^include "([^"]+)"', text, re.MULTILINE)]
        headers |= set(re.findall(r'extern from "([^"]+)"', text))
        cimported = re.findall(r"^\s*from cem\.([\w.]+) cimport", text, re.MULTILINE)
        waiting += [path.with_suffix(".pxd"), *(SOURCES / f"{name.replace('.', '/')}.pxd" for name in cimported)]
    return sorted(name for name in headers if not name.startswith("<"))


def test_every_header_that_the_compiler_reads_is_a_dependency(depends, tmp_path):
    """An edit of a kernel would rebuild nothing, and the tests would pass on the old one."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]}, the C compiler, is not installed")
    modules = sorted(SOURCES.rglob("*.pyx"))
    assert {*map(dotted, modules), "cem._cython_shared"} == depends.keys()
    for path in modules:
        source = tmp_path / f"{path.stem}.c"
        source.write_text("".join(f'#include "{name}"\n' for name in named_headers(path)))
        folders = sorted({str(header.parent) for header in SOURCES.rglob("*.h")})
        places = [word for folder in folders for word in ("-I", folder)]
        command = [*compiler, "-std=c11", "-MM", *places, str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        read = {Path(word).relative_to(ROOT) for word in done.stdout.split() if word.endswith(".h")}
        assert read <= depends[dotted(path)], path.name


def test_no_header_is_without_an_extension(depends):
    """What no extension depends on is either forgotten by setup.py or unused."""
    listed = {path.name for paths in depends.values() for path in paths} - {"setup.py"}
    present = {path.name for path in SOURCES.rglob("*.h")} - {
        "codegen_template.h",
        "codegen_single.h",
    }  # text of `cem export-c`
    assert listed == present


def test_a_touched_header_compiles_its_module_again(tree):
    """Through the real commands: the header behind the header, by way of a macro, the .pxd file, an included part."""
    package = tree / "src" / "cem"
    (package / "deep.h").write_text("static inline int deep(void) { return 3; }\n")
    (package / "outer.h").write_text('#define BODY "deep.h"\n#include BODY\n')
    (package / "shared.pxd").write_text('cdef extern from "outer.h" nogil:\n    int deep()\n')
    (package / "user.pyx").write_text('include "part.pxi"\ndef call():\n    return deeper()\n')
    (package / "part.pxi").write_text("from cem.shared cimport deep\ncdef int deeper():\n    return deep()\n")

    def age():
        for path in (path for path in tree.rglob("*") if path.is_file()):
            os.utime(path, (10_000, 10_000))

    def build():
        """Whether the module was made again."""
        done = setup(tree, "setup.py", "--quiet", "build_ext", "--build-lib", "out")
        assert done.returncode == 0, done.stderr
        (module,) = (tree / "out" / "cem").glob("user.*")
        return module.stat().st_mtime > 30_000

    assert build()
    age()
    assert not build()
    for touched in ("deep.h", "outer.h", "shared.pxd", "part.pxi"):
        os.utime(package / touched, (20_000, 20_000))
        assert build(), f"{touched} was touched and nothing was compiled"
        age()
