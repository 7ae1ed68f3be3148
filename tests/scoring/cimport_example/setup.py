"""Builds the example against whatever cem is importable: its .pxd files are found beside the package."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(name="gateway", ext_modules=cythonize([Extension("gateway", ["gateway.pyx"])]))
