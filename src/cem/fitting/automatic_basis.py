"""``FailureModeEM(basis="auto")``: the choice of the basis inside a fit, and its place among the options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cem.basis.families import Basis
from cem.errors import OptionError
from cem.errors.options import shortened
from cem.extras import room
from cem.fitting.bases import DEFAULT_BASIS

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.panel.panel import Panel
    from cem.selection.basis_choice import BasisChoice

__all__ = ["BASIS_CHOICE", "chosen_for", "is_automatic", "settings_of"]

BASIS_CHOICE = "basis_choice"
"""Entry of a model's record: the table of the choice."""


def is_automatic(basis: object) -> bool:
    """Whether the basis is to be chosen.

    Raises
    ------
    OptionError
        It is another text, or that of one channel.
    """
    texts = [basis] if isinstance(basis, str) else []
    if isinstance(basis, Mapping):
        texts = [one for one in basis.values() if isinstance(one, str)]
    if texts and not (isinstance(basis, str) and basis == "auto"):
        raise OptionError(
            f"basis={shortened(basis)}: a basis such as cem.Polynomial(2), a dict of them by channel, or 'auto' for "
            "all channels together was expected"
        )
    return bool(texts)


def chosen_for(em: FailureModeEM, panel: Panel, init: object, record: dict[str, Any]) -> dict[str, BasisChoice]:
    """Choose the basis of a fit from scratch, note it in the record of its model, and return the attribute to keep.

    A fit that continues a model keeps the model's bases.

    Parameters
    ----------
    em : FailureModeEM
        With ``basis="auto"``.
    panel : Panel
        The training units, each once; how often a unit counts has no part in the choice.
    init : object
        Where the fit is to start.
    record : dict
        Of the model.

    Raises
    ------
    OptionError
        Parameters were given, which belong to a basis that is not known.
    PanelError
        There are too few units.
    """
    from cem.mixture.parameters import Parameters
    from cem.model.model import FailureModeModel

    if isinstance(init, FailureModeModel):
        if BASIS_CHOICE in init.training:
            record[BASIS_CHOICE] = init.training[BASIS_CHOICE]
        return {}
    if isinstance(init, Parameters):
        raise OptionError(
            "basis='auto' with init=parameters: these are coefficients of one basis; give this basis, or init=model"
        )
    em._options()  # options that a fit would refuse are refused before the long choice
    chosen: BasisChoice = room("selection.choosing_basis").automatic_basis(em.get_params(deep=False), panel)
    record[BASIS_CHOICE] = chosen.record()
    return {"basis_choice_": chosen}


def settings_of(given: Mapping[str, Any], chosen: BasisChoice | None) -> dict[str, Any]:
    """Options of the fit: those given, with what was chosen in place of "auto", or a basis that stands for it.

    Parameters
    ----------
    given : mapping
        Options of the estimator.
    chosen : BasisChoice or None
        What was chosen; None before it is.
    """
    basis = given["basis"]
    if not is_automatic(basis):
        return dict(given)
    if chosen is None:
        return {**given, "basis": DEFAULT_BASIS}
    assert isinstance(chosen.basis, Basis)
    return {**given, **chosen.taken.options, "basis": chosen.basis, "process": given["process"]}
