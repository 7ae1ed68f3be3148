"""How far near-best optima and bootstrap replicates agree on the mode of each unit."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cem.em.mixture_problem import MixtureProblem
from cem.errors import CemError, CemWarning, OptionError
from cem.errors.names import counted
from cem.fitting.fitted_problem import FittedProblem, fitted_problem
from cem.fitting.near_optima import near_optima
from cem.metrics.agreement import adjusted_rand_index
from cem.mixture.mode_match import match_modes
from cem.uncertainty.replicates import MAX_ITER, bootstrap

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.panel.panel import Panel

__all__ = ["Optimum", "Stability", "stability_of"]

FloatArray = NDArray[np.float64]

_FIRM = 0.8
_MOST_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Optimum:
    """A local optimum of the likelihood, against that of the fit.

    Parameters
    ----------
    difference : float
        Nats of the objective above the fit; negative if below.
    log_likelihood : float
        In the panel's own units.
    n_met : int
        Fresh starts that ended there.
    adjusted_rand : float
        Agreement of its calls with those of the fit: 1 for the same, 0 on average for chance.
    n_moved : int
        Units that it gives another mode, with its modes matched to those of the fit.
    responsibilities : ndarray of shape (L, K)
        In the order of the fit's modes. ``em.fit(panel, init=...)`` takes them as a warm start.
    """

    difference: float
    log_likelihood: float
    n_met: int
    adjusted_rand: float
    n_moved: int
    responsibilities: FloatArray


@dataclass(frozen=True, eq=False)
class Stability:
    """How far other optima and replicates agree with a fit on each unit; made by `FailureModeEM.stability`.

    Parameters
    ----------
    units : tuple of hashable
        Length L: the units that counted in the fit.
    mode_labels : tuple of hashable
        Length K.
    modes : ndarray of shape (L,), int64
        Position of each unit's most probable mode in the fit.
    probabilities : ndarray of shape (L,)
        Of that mode, at the fitted parameters.
    optima : tuple of Optimum
        The fit first, then those near the best, by falling likelihood.
    replicate_modes : ndarray of shape (B, L), int64
        Modes of the units at the parameters of each bootstrap replicate that kept its modes.
    n_starts : int
        Fresh starts that were run to their ends.
    n_replicates : int
        Replicates that were drawn. Those that lost a mode or could not be fitted are not in `replicate_modes`; they
        agree with no call.
    within : float
        Nats below the best optimum that count as near.
    """

    units: tuple[Hashable, ...]
    mode_labels: tuple[Hashable, ...]
    _backend: ClassVar[str | None] = None  # of the frame that the units came from
    modes: NDArray[np.int64]
    probabilities: FloatArray
    optima: tuple[Optimum, ...]
    replicate_modes: NDArray[np.int64]
    n_starts: int
    n_replicates: int
    within: float

    @property
    def share_of_optima(self) -> FloatArray:
        """Share of the near-best optima, the fit among them, that give each unit its mode, (L,)."""
        calls = np.stack([one.responsibilities.argmax(axis=1) for one in self.optima])
        return np.asarray((calls == self.modes).mean(axis=0), dtype=np.float64)

    @property
    def share_of_replicates(self) -> FloatArray:
        """Share of all replicates that give each unit its mode, (L,); NaN without replicates."""
        if not self.n_replicates:
            return np.full(len(self.units), np.nan)
        return np.asarray((self.replicate_modes == self.modes).sum(axis=0) / self.n_replicates, dtype=np.float64)

    @property
    def firm(self) -> NDArray[np.bool_]:
        """Whether every near-best optimum and at least 80 % of all replicates give the unit its mode, (L,).

        Without replicates no call is known to be firm. With one mode every call is.
        """
        if len(self.mode_labels) == 1:
            return np.ones(len(self.units), dtype=np.bool_)
        return np.asarray((self.share_of_optima == 1.0) & (self.share_of_replicates >= _FIRM), dtype=np.bool_)

    @property
    def n_lost(self) -> int:
        """Replicates that lost a mode or could not be fitted."""
        return self.n_replicates - len(self.replicate_modes)

    @property
    def n_met(self) -> int:
        """Fresh starts that ended in the optimum of the fit."""
        return self.optima[0].n_met

    @property
    def gain(self) -> float:
        """Nats by which the best optimum found is above the fit; 0 if the fit is the best."""
        return max(0.0, *(one.difference for one in self.optima))

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each unit: unit, mode, probability, share_of_optima, share_of_replicates, firm.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend, self._backend)

    def optima_frame(self, backend: str | None = None) -> Any:
        """Return one row for each optimum: difference, log_likelihood, n_met, adjusted_rand, n_moved.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._optima(), backend, self._backend)

    def _optima(self) -> dict[str, list[Any]]:
        names = ("difference", "log_likelihood", "n_met", "adjusted_rand", "n_moved")
        return {name: [getattr(one, name) for one in self.optima] for name in names}

    def _table(self, rows: Any = slice(None)) -> dict[str, Any]:
        from cem.mixture.result_tables import mode_cells, unit_cells

        return {
            "unit": unit_cells(self.units)[rows],
            "mode": mode_cells(self.mode_labels)[self.modes][rows],
            "probability": self.probabilities[rows],
            "share_of_optima": self.share_of_optima[rows],
            "share_of_replicates": self.share_of_replicates[rows],
            "firm": self.firm[rows],
        }

    def __repr__(self) -> str:
        if len(self.mode_labels) == 1:
            return f"Stability of {counted(len(self.units), 'unit')}: there is one mode, so every call is firm"
        text = f"Stability of {counted(len(self.units), 'unit')}: {self.n_met} of {self.n_starts} starts led to the fit"
        if self.gain >= 0.005:
            text += f"; the best optimum is {self.gain:.2f} nats above it"
        if len(self.optima) > 1:
            worst = max(self.optima[1:], key=lambda one: one.n_moved)
            n = len(self.optima) - 1
            text += (
                f"; {n:,} other optim{'um' if n == 1 else 'a'} within {self.within:g} nats, which "
                f"give{'s' * (n == 1)} up to {counted(worst.n_moved, 'unit')} another mode"
            )
        else:
            text += f"; no other optimum within {self.within:g} nats"
        if not self.n_replicates:
            return f"{text}; no replicates, without which no call is firm"
        firm = int(self.firm.sum())
        return f"{text}; {self._of_replicates()}; {firm:,} call{'s are' if firm != 1 else ' is'} firm"

    def _of_replicates(self) -> str:
        """What became of the replicates, and how far those that kept their modes agree."""
        n = len(self.replicate_modes)
        lost = f"{self.n_lost:,} of {counted(self.n_replicates, 'replicate')} lost a mode or could not be fitted"
        if not n:
            return lost
        share = f"{100.0 * float((self.replicate_modes == self.modes).mean()):.3g} % of the calls"
        if not self.n_lost:
            return f"{counted(n, 'replicate')} agree{'s' * (n == 1)} on {share}"
        return f"{lost}, which counts against every call, and the other {n:,} agree{'s' * (n == 1)} on {share}"

    def __str__(self) -> str:
        from cem.model.summary import Frame

        lines = [repr(self), "", "Optima", str(Frame(self._optima()))]
        said = "whose mode is not firm" if self.n_replicates else "to which another optimum gives another mode"
        shaky = np.flatnonzero(~self.firm if self.n_replicates else self.share_of_optima < 1.0)
        if len(shaky):
            order = shaky[np.argsort(np.nan_to_num(self.share_of_replicates[shaky], nan=1.0), kind="stable")]
            order = order[:_MOST_SHOWN]
            columns = {name: list(values.tolist()) for name, values in self._table(order).items() if name != "firm"}
            more = "" if len(order) == len(shaky) else f" (the {len(order)} least firm)"
            lines += ["", f"{counted(len(shaky), 'unit')} {said}{more}", str(Frame(columns))]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table

        order = np.argsort(np.nan_to_num(self.share_of_replicates, nan=1.0) + self.share_of_optima, kind="stable")
        return html_table(repr(self), self._table(order[:MOST_ROWS]), len(self.units), "units")


def stability_of(
    em: FailureModeEM,
    panel: Panel,
    *,
    n_starts: int,
    n_replicates: int,
    within: float,
    random_state: int | np.random.Generator | None,
) -> Stability:
    """Compute the stability of a fit; see `FailureModeEM.stability`.

    Parameters
    ----------
    em : FailureModeEM
        Fitted.
    panel : Panel
        That it was fitted to.
    n_starts, n_replicates, within, random_state
        As for `FailureModeEM.stability`.
    """
    for name, value, least in (("n_starts", n_starts, 1), ("n_replicates", n_replicates, 0)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise OptionError(f"{name} is {value!r}; a whole number of at least {least} was expected")
    if not isinstance(within, (int, float, np.integer, np.floating)) or not 0 < within < np.inf:
        raise OptionError(f"within is {within!r}; a positive number of nats was expected")
    fitted = fitted_problem(em, panel)
    own, near = near_optima(
        fitted, em._options(), n_starts=int(n_starts), within=float(within), seed=_seed(random_state, 0)
    )
    units = _units(fitted)
    ids = tuple(panel.units) if fitted.counts is None else tuple(np.array(panel.units, dtype=object)[fitted.counts > 0])
    rho = own.responsibilities[units]
    modes = rho.argmax(axis=1)
    log_jacobian = em.log_likelihood_ - own.log_likelihood
    optima = []
    for one in (own, *near):
        found = np.array(one.responsibilities[units])
        calls = found.argmax(axis=1)
        found.setflags(write=False)
        optima.append(
            Optimum(
                float(one.objective - own.objective),
                float(one.log_likelihood + log_jacobian),
                one.n_met,
                adjusted_rand_index(modes.tolist(), calls.tolist()),
                int((calls != modes).sum()),
                found,
            )
        )
    replicates = _replicate_modes(em, panel, fitted, units, int(n_replicates), _seed(random_state, 1))
    probabilities = rho.max(axis=1)
    for array in (modes, probabilities, replicates):
        array.setflags(write=False)
    result = Stability(
        ids, em.model_.mode_labels, modes, probabilities, tuple(optima), replicates, int(n_starts), int(n_replicates),
        float(within),
    )  # fmt: skip
    if panel._backend is not None:
        object.__setattr__(result, "_backend", panel._backend)  # it is frozen
    return result


def _seed(random_state: int | np.random.Generator | None, part: int) -> np.random.SeedSequence:
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**63)))
    if random_state is not None and (
        not isinstance(random_state, (int, np.integer)) or isinstance(random_state, bool) or random_state < 0
    ):
        raise OptionError(f"random_state is {random_state!r}; a whole number, a Generator or None was expected")
    return np.random.SeedSequence(None if random_state is None else (int(random_state), part))


def _units(fitted: FittedProblem) -> NDArray[np.int64]:
    """The first copy of each unit that counted."""
    if fitted.counts is None:
        return np.arange(fitted.panel.n_units)
    counts = fitted.counts
    return np.asarray((np.cumsum(counts) - counts)[counts > 0], dtype=np.int64)


def _replicate_modes(
    em: FailureModeEM,
    panel: Panel,
    fitted: FittedProblem,
    units: NDArray[np.int64],
    n_replicates: int,
    seed: np.random.SeedSequence,
) -> NDArray[np.int64]:
    """Modes of the units at the parameters of bootstrap replicates, (B, L), in the places of the fit's modes."""
    n_modes = len(em.model_.mode_labels)
    if not n_replicates or n_modes == 1:
        return np.zeros((n_replicates if n_modes == 1 else 0, len(units)), dtype=np.int64)
    if isinstance(fitted.problem, MixtureProblem):
        found = bootstrap(fitted.problem, fitted.parameters, n=n_replicates, seed=seed, n_jobs=em.n_jobs)
        rows = [fitted.problem.expect(one).responsibilities[units] for one in found.usable]
    else:
        rows = _refits(em, panel, fitted, n_replicates, seed)
    calls = [one.argmax(axis=1) for one in rows]
    return np.array(calls, dtype=np.int64).reshape(len(calls), len(units))


def _refits(
    em: FailureModeEM, panel: Panel, fitted: FittedProblem, n_replicates: int, seed: np.random.SeedSequence
) -> list[FloatArray]:
    """Responsibilities of the units by fits to units drawn with replacement, lives included, from the fit itself."""
    counts = np.ones(panel.n_units, dtype=np.int64) if fitted.counts is None else fitted.counts
    rng, found = np.random.default_rng(seed), []
    for _ in range(n_replicates):
        drawn = rng.multinomial(counts.sum(), counts / counts.sum())
        options = em._settings()
        # Parameters that were only evaluated (max_iter=0) are refitted like any other ones.
        other = type(em)(**{**options, "uncertainty": None, "max_iter": options["max_iter"] or MAX_ITER})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CemWarning)
                other.fit(panel, init=em.model_, sample_weight=drawn)
        except CemError:  # no unit of the draw has failed, say
            continue
        match = match_modes(em.responsibilities_, other.responsibilities_)
        found.append(match.in_order(other.responsibilities_)[counts > 0])
    return found
