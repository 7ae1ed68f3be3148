"""Fits by R, where it is installed with the package that a test needs."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest

__all__ = ["fitted_by_r", "needs_r"]


@lru_cache
def _has(package: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    question = f"quit(status = as.integer(!requireNamespace('{package}', quietly = TRUE)))"
    return subprocess.run(["Rscript", "-e", question], capture_output=True, check=False).returncode == 0


def needs_r(package: str) -> None:
    """Skip a test where R or its package is missing."""
    if not _has(package):
        pytest.skip(f"needs Rscript with the package {package}")


def fitted_by_r(package: str, frame: pd.DataFrame, statements: str, folder: Path) -> list[float]:
    """The numbers that R statements print last; they find the frame as `d`."""
    needs_r(package)
    path = folder / "readings.csv"
    frame.to_csv(path, index=False, float_format="%.17g")
    program = f'suppressPackageStartupMessages(library({package})); d <- read.csv("{path}"); {statements}'
    run = subprocess.run(["Rscript", "-e", program], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return [float(number) for number in run.stdout.strip().splitlines()[-1].split()]
