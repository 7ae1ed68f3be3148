"""The compiled modules and their flags; all metadata is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# No -march=native and no -ffast-math: the wheel runs on every machine of its platform and keeps IEEE arithmetic.
# FMA contraction is off so that every machine of one instruction level gives the same bits.
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
MACROS: list[tuple[str, str | None]] = [("NDEBUG", "1")]

# CEM_ABI3=1 compiles against CPython 3.11's limited API: one wheel for that and every later version. A call from
# Python is some 100 ns slower than in a wheel of one version, so this wheel is for versions that have none.
ABI3 = os.environ.get("CEM_ABI3", "0") not in ("", "0")
if ABI3:
    MACROS += [("Py_LIMITED_API", "0x030B0000"), ("CYTHON_LIMITED_API", "1")]

extensions = [
    Extension(
        f"cem.{path.stem}",
        [path.as_posix()],
        extra_compile_args=FLAGS,
        define_macros=MACROS,
        py_limited_api=ABI3,
    )
    for path in sorted(Path("src/cem").glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        include_path=["src"],
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "binding": True,
            # Keeps __test__ out of the modules, which stubs would have to name.
            "autotestdict": False,
        },
    ),
    options={
        "build_ext": {"parallel": os.cpu_count()},
        **({"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {}),
    },
)
