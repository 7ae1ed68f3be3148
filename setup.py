"""The compiled modules and their flags, and what the metadata says of this project's address.

All other metadata is in pyproject.toml. Imported, this file compiles nothing.
"""

import contextlib
import io
import os
import re
import sys
import tomllib
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# No -march=native and no -ffast-math: the wheel runs on every machine of its platform and keeps IEEE arithmetic.
# FMA contraction is off so that every machine of one instruction level gives the same bits.
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
# Tables for unwinding, which C without exceptions needs for debuggers only, are a fortieth of a wheel.
FLAGS += ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
if "-g" not in os.environ.get("CFLAGS", ""):
    # setuptools passes on the -g that interpreters are built with, a quarter of the compiler's time; CFLAGS=-g asks for
    # it.
    FLAGS.append("-g0")
# Compiled for size: LAPACK or Python does their work, they are called once a fit, or their loops have a few turns.
FOR_SIZE = {
    "cem._core",
    "cem.em.kernels._em",
    "cem.em.kernels._linked_maximisation",
    "cem.em.kernels._maximisation",
    "cem.em.kernels._unconstrained",
    "cem.mixture._bundle",
    "cem.mixture._prediction",
    "cem.search._clusters",
    "cem.search._moves",
    "cem.search._one_mode",
    "cem.statistics._bundle",
}
MACROS: list[tuple[str, str | None]] = [("NDEBUG", "1")]

# CEM_ABI3=1 compiles against CPython 3.11's limited API: one wheel for that and every later version. A call from
# Python is some 100 ns slower than in a wheel of one version, so this wheel is for versions that have none.
ABI3 = os.environ.get("CEM_ABI3", "0") not in ("", "0")
if ABI3:
    MACROS += [("Py_LIMITED_API", "0x030B0000"), ("CYTHON_LIMITED_API", "1")]

SOURCES = Path("src")
TRANSLATION = Path("build/cython")
# What Cython would else put into every module, memoryviews above all: half of all that there is to compile, and a third
# of a wheel. It has no source; Cython writes it.
SHARED = SOURCES / "cem" / "_cython_shared.c"
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
    "binding": True,
    # Keeps __test__ out of the modules, which stubs would have to name.
    "autotestdict": False,
}
# Cython warns of a negative index in code without wraparound, and translates it. What such an index then reads
# depends on the type that is indexed and on that type's version: some releases of NumPy count from the end all the
# same, others raise IndexError.
FATAL_WARNING = "wraparound=False"

HEADER_DIRECTORIES = sorted({path.parent.as_posix() for path in SOURCES.rglob("*.h")})
HEADER_NAME = re.compile(r'"([\w./-]+\.h)"')


def with_included(headers: list[str]) -> list[str]:
    """The C headers and those that they include, at any depth; also through a macro, hence every quoted header name."""
    found: set[str] = set()
    waiting = list(headers)
    while waiting:
        header = waiting.pop()
        if header in found:
            continue
        found.add(header)
        for name in HEADER_NAME.findall(Path(header).read_text(encoding="utf-8")):
            places = [Path(directory, name) for directory in (Path(header).parent, *HEADER_DIRECTORIES)]
            waiting += [Path(os.path.normpath(place)).as_posix() for place in places if place.is_file()][:1]
    return sorted(found)


def dotted(path: Path) -> str:
    """The name of a source's module."""
    return ".".join(path.relative_to(SOURCES).with_suffix("").parts)


def is_older(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime < other.stat().st_mtime


def translate(path: Path) -> Extension:
    """The extension of one .pyx file or of `SHARED`, translated to C where that is out of date."""
    extension = Extension(
        dotted(path),
        [path.as_posix()],
        include_dirs=HEADER_DIRECTORIES,
        extra_compile_args=[*FLAGS, "-Os"] if dotted(path) in FOR_SIZE else FLAGS,
        define_macros=MACROS,
        py_limited_api=ABI3,
    )
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            (translated,) = cythonize(
                [extension],
                build_dir=TRANSLATION.as_posix(),
                include_path=[SOURCES.as_posix()],
                compiler_directives=DIRECTIVES,
                shared_utility_qualified_name=dotted(SHARED),
                force=is_older(TRANSLATION / path.with_suffix(".c"), Path("setup.py")),
            )
    finally:
        sys.stderr.write(heard.getvalue())
    faults = [line for line in heard.getvalue().splitlines() if FATAL_WARNING in line]
    if faults:
        # Left in place, it would be up to date and the next build would pass.
        Path(translated.sources[0]).unlink(missing_ok=True)
        raise SystemExit("\n".join(["setup.py: a negative index where Cython does not wrap it around:", *faults]))
    # Cython found the headers that the .pyx file and the .pxd files it cimports name, and none of those behind them.
    # The .pxd files, and the .pxi files that a .pyx file includes, need no entry: a changed one makes a newer C file.
    # Flags and directives stand in this file.
    translated.depends = [*with_included(translated.depends), "setup.py"]
    return translated


# ---- the project's address -------------------------------------------------------------------------------------------

# Code, in which nothing is a link, or a link to a path.
CODE_OR_LINK = re.compile(
    r"^```.*?^```$|`[^`\n]+`|"
    r"(?P<image>!?)(?P<text>\[[^\]]*\])\((?P<path>(?![a-z][a-z+.-]*:|#|/)[^)\s#]+)(?P<anchor>#[^)\s]*)?\)",
    re.MULTILINE | re.DOTALL,
)


def repository() -> str:
    """The address of the public repository, from pyproject.toml: the one place that has it. Empty: there is none."""
    path = Path("pyproject.toml")
    tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}) if path.is_file() else {}
    address: str = tools.get("cem", {}).get("repository", "")
    return address.rstrip("/")


def version() -> str:
    found = re.search(r'^__version__ = "(.*)"$', (SOURCES / "cem" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "0"


def project_urls(address: str, release: str) -> dict[str, str]:
    """What becomes of [project.urls]: nothing without an address."""
    if not address:
        return {}
    return {
        "Documentation": f"{address}/blob/v{release}/docs/index.md",
        "Source": address,
        "Issues": f"{address}/issues",
        "Changelog": f"{address}/blob/v{release}/CHANGELOG.md",
    }


def index_readme(text: str, address: str, release: str) -> str:
    """README as a package index shows it, where a path in the repository leads nowhere: its links made absolute.

    They lead to the files of this release. Without an address the text stays as it is.
    """
    if not address:
        return text

    def absolute(found: re.Match[str]) -> str:
        if found["path"] is None:
            return found[0]
        kind = "raw" if found["image"] else "blob"
        path = os.path.normpath(found["path"])
        return f"{found['image']}{found['text']}({address}/{kind}/v{release}/{path}{found['anchor'] or ''})"

    return CODE_OR_LINK.sub(absolute, text)


def main() -> None:
    extensions = [translate(path) for path in (*sorted(SOURCES.rglob("*.pyx")), SHARED)]
    # Cython copies headers beside its C, where the compiler would take them before those of the sources, old or not.
    for copy in TRANSLATION.rglob("*.h"):
        copy.unlink()
    readme, address, release = Path("README.md"), repository(), version()
    setup(
        ext_modules=extensions,
        project_urls=project_urls(address, release),
        long_description=index_readme(readme.read_text("utf-8"), address, release) if readme.is_file() else "",
        long_description_content_type="text/markdown",
        options={
            "build_ext": {"parallel": os.cpu_count()},
            **({"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {}),
        },
    )


if __name__ == "__main__":
    main()
