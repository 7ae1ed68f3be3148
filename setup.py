"""The compiled modules and their flags; all metadata is in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# No -march=native and no -ffast-math: the wheel runs on every machine of its platform and keeps IEEE arithmetic.
# FMA contraction is off so that every machine of one instruction level gives the same bits.
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]

extensions = [
    Extension(f"cem.{path.stem}", [path.as_posix()], extra_compile_args=FLAGS, define_macros=[("NDEBUG", "1")])
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
    )
)
