"""The basis that each channel of a panel is to have, as the options say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cem.basis.families import Basis, Polynomial, resolve_bases
from cem.errors import UndeterminedBasisWarning
from cem.errors.names import listed
from cem.errors.warning import warn

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["DEFAULT_BASIS", "specified_bases", "warn_of_lower_degrees"]

DEFAULT_BASIS = Polynomial(2, lower=True)
"""What a fit takes where the user names no basis."""


def specified_bases(panel: Panel, basis: Basis | Mapping[str | None, Basis]) -> tuple[Basis, ...]:
    """The basis of each channel, not bound; of a lower degree where the channel's times ask for it.

    Parameters
    ----------
    panel : Panel
        With the channels of the fit.
    basis : Basis or mapping of channel to Basis
        It may name a constant channel that was left out.
    """
    found = []
    for c, one in enumerate(_as_given(panel, basis)):
        if isinstance(one, Polynomial) and one.lower:
            one = one.determined_by(panel.times[~np.isnan(panel.values[:, c])])
        found.append(one)
    return tuple(found)


def _as_given(panel: Panel, basis: Basis | Mapping[str | None, Basis]) -> tuple[Basis, ...]:
    if isinstance(basis, Mapping):
        basis = {name: value for name, value in basis.items() if name is None or name in panel.channels}
    return resolve_bases(basis, panel.channels)


def warn_of_lower_degrees(panel: Panel, bases: Sequence[Basis], basis: Basis | Mapping[str | None, Basis]) -> None:
    """Name the channels whose basis has a lower degree than was asked for."""
    lowered: dict[Basis, list[str]] = {}
    for name, given, own in zip(panel.channels, _as_given(panel, basis), bases, strict=True):
        if isinstance(given, Polynomial) and given.lower and own.size < given.size:
            lowered.setdefault(own, []).append(name)
    for own, names in lowered.items():
        warn(
            f"channel{'s' * (len(names) > 1)} {listed(names)} {'were' if len(names) > 1 else 'was'} read at "
            f"{own.size} different time{'s' * (own.size > 1)} only, which determine a polynomial of degree "
            f"{own.size - 1}: the basis is {own!r} there",
            UndeterminedBasisWarning,
        )
