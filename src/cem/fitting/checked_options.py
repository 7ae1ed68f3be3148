"""The options of `cem.FailureModeEM`, checked before a fit begins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from cem.covariates.regimes import Regimes
from cem.em.constraints import COVARIANCE_STRUCTURES
from cem.errors import OptionError
from cem.errors.options import shortened
from cem.fitting.options import FitOptions, seed_of
from cem.process.channel_process import process_kinds

__all__ = ["checked_options"]

# With more units than this the penalty of (25) is so steep that its rounding is larger than what is left to gain.
_MOST_SHRINKAGE = 1e8


def checked_options(given: Mapping[str, Any]) -> FitOptions:
    """Check the options of an estimator, and return them as a `FitOptions`.

    Parameters
    ----------
    given : mapping of str to object
        The constructor's arguments of `cem.FailureModeEM`, by name.

    Raises
    ------
    OptionError
        An option has a value that it cannot take; the message names it.
    """

    def positive(name: str, kind: type = int) -> Any:
        value = given[name]
        number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if kind is float:
            number = number or isinstance(value, (float, np.floating))
        if not number or not value > 0 or not np.isfinite(value):
            article = "an integer above 0" if kind is int else "a number above 0"
            raise OptionError(f"{name}={value!r}: {article} was expected")
        return kind(value)

    def one_of(name: str, allowed: tuple[str, ...]) -> Any:
        value = given[name]
        if not isinstance(value, str) or value not in allowed:
            raise OptionError(f"{name}={value!r}: one of {', '.join(map(repr, allowed))} was expected")
        return value

    if given["time_axis"] not in ("forward", "to_failure"):
        raise OptionError(f"time_axis={given['time_axis']!r}: 'forward' or 'to_failure' was expected")
    if given.get("uncertainty") is not None:
        from cem.fitting.uncertain import checked_option

        checked_option(given["uncertainty"])
    n_jobs = given["n_jobs"]
    if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or (n_jobs < 1 and n_jobs != -1):
        raise OptionError(f"n_jobs={n_jobs!r}: a number of threads, or -1 for one per core, was expected")
    for option in ("noise_floor", "covariance_floor"):
        floor = given[option]
        if not (floor is None or isinstance(floor, (int, float, np.number, Mapping))) or isinstance(floor, bool):
            raise OptionError(f"{option}={floor!r}: None, a positive number, or a dict by channel was expected")
    covariance = one_of("covariance", ("auto", *COVARIANCE_STRUCTURES))
    rank: int = given["linking_rank"]
    penalty: float = given["linking_penalty"]
    if not isinstance(rank, (int, np.integer)) or isinstance(rank, bool) or rank < 0:
        raise OptionError(f"linking_rank={rank!r}: a number of shared factors, 0 for none, was expected")
    number = isinstance(penalty, (int, float, np.number)) and not isinstance(penalty, bool)
    if not number or not 0 <= penalty < np.inf:
        raise OptionError(f"linking_penalty={penalty!r}: a finite number of 0 or more was expected")
    if rank and covariance not in ("auto", "full", "shrunk"):
        raise OptionError(
            f"linking_rank={rank} with covariance={covariance!r}: linked channels need covariance='full' or "
            "'shrunk'; or take linking_rank=0"
        )
    shrinkage = given["shrinkage"]
    if not (isinstance(shrinkage, str) and shrinkage == "auto"):
        number = isinstance(shrinkage, (int, float, np.number)) and not isinstance(shrinkage, bool)
        if not number or not 0 < shrinkage < np.inf:
            raise OptionError(
                f"shrinkage={shrinkage!r}: 'auto', or a number above 0, of units that the common covariance counts as, "
                "was expected"
            )
        if shrinkage > _MOST_SHRINKAGE:
            raise OptionError(
                f"shrinkage={shrinkage!r}: above {_MOST_SHRINKAGE:g} all modes have one covariance; give "
                "covariance='pooled' for that"
            )
        if covariance not in ("auto", "shrunk"):
            raise OptionError(
                f"shrinkage={shrinkage!r} with covariance={covariance!r}: shrinkage is the weight of shrunk ones; "
                "give covariance='shrunk', or leave shrinkage out"
            )
        covariance = "shrunk"
    regimes = given["regimes"]
    if regimes is not None and not isinstance(regimes, Regimes):
        raise OptionError(f"regimes={regimes!r}: cem.Regimes(...), or None, was expected")
    if given.get("process") is not None:
        _check_process(given)
    if given.get("gross_errors", "warn") != "warn":
        one_of("gross_errors", ("warn", "leave_out", "keep"))
    n_modes = positive("n_modes")
    if covariance == "auto":
        covariance = "full" if rank else "shrunk"
    if covariance == "shrunk" and n_modes == 1:
        covariance = "full"  # of one mode, shrunk towards itself
    return FitOptions(
        n_modes=n_modes,
        basis=given["basis"],
        init=one_of("init", ("mixed", "kmeans", "prototypes", "random", "tempered")),
        n_init=positive("n_init"),
        max_iter=_max_iter(given["max_iter"]),
        tol=positive("tol", float),
        noise_floor=given["noise_floor"],
        covariance_floor=given["covariance_floor"],
        covariance=covariance,
        accelerate=one_of("accelerate", ("auto", "none")),
        kernel=one_of("kernel", ("auto", "lapack")),
        n_jobs=os.cpu_count() or 1 if n_jobs == -1 else int(n_jobs),
        seed=seed_of(given["random_state"]),
        verbose=int(given["verbose"]),
        linking_rank=rank,
        linking_penalty=float(penalty),
        covariates=given["covariates"],
        regimes=regimes,
        random_columns=given["random_columns"],
        common_columns=given["common_columns"],
        noise=one_of("noise", ("own", "pooled")),
        membership=given["membership"],
        shrinkage=None if isinstance(shrinkage, str) else float(shrinkage),
        process=given.get("process"),
    )


def _check_process(given: Mapping[str, Any]) -> None:
    """Refuse a process beside options that do not know of it: they would ignore that units wander."""
    process = given["process"]
    named = tuple(name for name in process if name is not None) if isinstance(process, Mapping) else ()
    process_kinds(process, named)
    if isinstance(process, Mapping) and all(kind is None for kind in process.values()):
        return
    without: tuple[tuple[str, object, str], ...] = (
        ("time_axis", "forward", "time_axis='forward'"),
        ("linking_rank", 0, "linking_rank=0"),
        ("covariates", None, "no covariates"),
        ("regimes", None, "no regimes"),
    )
    if given.get("gross_errors") == "leave_out":
        raise OptionError(
            f"process={shortened(process)} with gross_errors='leave_out': where a unit wanders, readings far from its "
            "curve may be right; take gross_errors='warn', or process=None"
        )
    for name, allowed, instead in without:
        if given.get(name) is not None and given[name] != allowed:
            raise OptionError(
                f"process={shortened(process)} with {name}={shortened(given[name])}: a process does not work with it "
                f"yet; fit with {instead}, or with process=None"
            )


def _max_iter(value: Any) -> int:
    """A number of passes; 0 evaluates the parameters given as `init`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
        raise OptionError(
            f"max_iter={value!r}: an integer above 0 was expected, or 0 to evaluate the parameters given as init"
        )
    return int(value)
