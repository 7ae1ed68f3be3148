"""Learn reading conditions from training readings: levels, centring, features, regimes, and each channel's columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cem.covariates.columns import Column, learned_columns, training_rows
from cem.covariates.conditions import Conditions
from cem.covariates.features import Feature, learned_features
from cem.covariates.recognition import recognised
from cem.covariates.regimes import Regimes
from cem.covariates.terms import Term
from cem.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["learned_conditions"]


def learned_conditions(
    columns: Sequence[Column],
    w: FloatArray,
    *,
    channels: Sequence[str] = (),
    sizes: Sequence[int] = (),
    terms: Sequence[Sequence[Term]] = (),
    regimes: Regimes | None = None,
    unit_terms: Sequence[Term] = (),
) -> Conditions:
    """The conditions of training readings, with offsets 0, scales 1 and coefficients 0.

    Parameters
    ----------
    columns : sequence of m Column
        The covariates, from the panel: name, levels, whether they are of units.
    w : ndarray of shape (N, m)
        Their values at the training readings; positions of levels, NaN = missing.
    channels : sequence of C str
    sizes : sequence of C int
        Coefficients of each channel's basis.
    terms : sequence of C sequences of Term
        From `terms_by_channel`; empty for none.
    regimes : Regimes, optional
    unit_terms : sequence of Term
        Terms whose features belong to no channel (membership); w then has a row for each unit. They come first.

    Raises
    ------
    OptionError, PanelError
        A term or the regimes do not fit the covariates, or the readings do not determine them; the message names the
        covariate.
    """
    rows = training_rows(columns, w)
    found = Found(columns, rows)
    of_units = [position for term in unit_terms for position in found.features_of(term)]
    _refuse_repeats([(f, -1) for f in of_units], "", found.features)
    common, by_mode = [], []
    for c, channel in enumerate(channels):
        entries = {False: [], True: []}  # type: dict[bool, list[tuple[int, int]]]
        for term in terms[c] if terms else ():
            positions = found.features_of(term)
            for j in _functions(term, channel, sizes[c]):
                entries[term.by_mode] += [(f, j) for f in positions]
        _refuse_repeats(entries[False] + entries[True], channel, found.features)
        common.append(tuple(entries[False]))
        by_mode.append(tuple(entries[True]))
    fitted = None if regimes is None else recognised(regimes, columns, rows)
    shape = (0 if fitted is None else fitted.n_regimes, len(channels))
    return Conditions(
        learned_columns(columns, rows),
        tuple(channels),
        tuple(sizes),
        tuple(found.features),
        tuple(common),
        tuple(by_mode),
        tuple(np.zeros(len(entries)) for entries in common),
        fitted,
        np.zeros(shape),
        np.ones(shape),
    )


class Found:
    """The features of terms, each once, whichever channels use them."""

    def __init__(self, columns: Sequence[Column], rows: FloatArray) -> None:
        self.columns, self.rows = columns, rows
        self.features: list[Feature] = []
        self._learned: list[tuple[Term, list[int]]] = []

    def features_of(self, term: Term) -> list[int]:
        """Positions of the term's features, learned once however many channels have the term."""
        for known, positions in self._learned:
            if known == term:
                return positions
        positions = []
        for feature in learned_features(term, self.columns, self.rows):
            if feature not in self.features:
                self.features.append(feature)
            positions.append(self.features.index(feature))
        self._learned.append((term, positions))
        return positions


def _functions(term: Term, channel: str, size: int) -> Sequence[int]:
    """Basis functions that a term's features are multiplied with; -1: none."""
    if term.basis_functions is None:
        return (-1,)
    if term.basis_functions == "all":
        return range(size)
    too_far = [j for j in term.basis_functions if j >= size]
    if too_far:
        raise OptionError(f"{term!r} has basis function {too_far[0]}; channel {channel!r} has {size}, numbered from 0")
    return term.basis_functions


def _refuse_repeats(entries: Sequence[tuple[int, int]], channel: str, features: Sequence[Feature]) -> None:
    where = f"channel {channel!r}" if channel else "membership"
    seen: dict[tuple[str, int], int] = {}
    for f, j in entries:
        name = features[f].name
        if (name, j) in seen:
            product = "" if j < 0 else f" times basis function {j}"
            if seen[name, j] != f:  # such as level 'low' of covariate 'load', and a covariate 'load=low'
                raise OptionError(
                    f"{where} has two columns of the name {name!r}{product}, of different covariates; "
                    "rename a covariate"
                )
            raise OptionError(
                f"{where} has column {name!r}{product} twice; name each covariate in one term of a channel, common or "
                "by mode"
            )
        seen[name, j] = f
