"""The recommended number of modes, by a rule that is stated, and the reason in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cem.errors.names import counted

if TYPE_CHECKING:
    from cem.selection.mode_choice import ModeCandidate

__all__ = ["choices_of", "recommended"]

# A recommended mode of fewer units is mentioned: it may be no mode, but a few odd units.
_FEW = 2.5


def choices_of(candidates: Sequence[ModeCandidate], level: float) -> dict[str, int]:
    """The number of modes that each criterion chooses, among the candidates that have it.

    Parameters
    ----------
    candidates : sequence of ModeCandidate
        By rising number of modes.
    level : float
        Of the test.

    Returns
    -------
    dict
        "BIC": the smallest one. "held-out": the fewest modes whose held-out log-likelihood is within a standard error
        of the best. "test": the fewest modes that the test does not reject in favour of one more; if it rejects all
        that were tested, one more than the largest of them. A criterion that no candidate has is left out.
    """
    found: dict[str, int] = {}
    found["BIC"] = min(candidates, key=lambda one: one.bic).n_modes
    held = [one for one in candidates if one.held_out is not None]
    if held:
        best = max(one.held_out for one in held if one.held_out is not None)
        near = [one for one in held if _gap(one, best) <= (one.held_out_standard_error or 0.0)]
        found["held-out"] = near[0].n_modes
    tested = [one for one in candidates if one.p_value is not None]
    if tested:
        kept = [one.n_modes for one in tested if one.p_value is not None and one.p_value > level]
        found["test"] = kept[0] if kept else tested[-1].n_modes + 1
    return found


def _gap(one: ModeCandidate, best: float) -> float:
    assert one.held_out is not None
    return best - one.held_out


def recommended(
    candidates: Sequence[ModeCandidate], choices: Mapping[str, int], level: float, without: str, n_units: int
) -> tuple[int, str]:
    """The recommendation: what two of the three criteria choose, or the middle of three different choices.

    Without the test it is the choice of the held-out log-likelihood, without a held-out log-likelihood that of the
    test, and without both that of BIC. A number of modes without a held-out log-likelihood is not recommended if
    others have one.

    Parameters
    ----------
    candidates : sequence of ModeCandidate
    choices : mapping
        From `choices_of`.
    level : float
        Of the test.
    without : str
        Why there is no test; empty if there is one.
    n_units : int
        Number of units.

    Returns
    -------
    n_modes : int
    reason : str
        One sentence, which names the criteria that disagree, and a mode of one or two units.
    """
    if len(candidates) == 1:
        return candidates[0].n_modes, "it is the only number of modes that was fitted."
    if len(choices) == 3:
        n_modes = sorted(choices.values())[1]
    else:
        n_modes = choices.get("held-out", choices.get("test", choices["BIC"]))
    by_name = {one.n_modes: one for one in candidates}
    said = {name: _said(name, choice, by_name, level) for name, choice in choices.items()}
    if "held-out" in choices and by_name[n_modes].held_out is None:
        lost = [name for name, choice in choices.items() if by_name[choice].held_out is None]
        would = _and([f"{said[name]} would take {choices[name]}" for name in lost])
        return choices["held-out"], (
            f"{would}, but not every fold of the units could be left out there; the held-out likelihood takes "
            f"{choices['held-out']}."
        )
    agree = [said[name] for name, choice in choices.items() if choice == n_modes]
    others = [f"{said[name]} would take {choice}" for name, choice in choices.items() if choice != n_modes]
    reason = _and(agree) + (" agree" if len(agree) > 1 else " says so")
    if not others and len(agree) == 3:
        reason = _and(agree) + " all agree"
    if len(agree) == 1 and len(choices) == 3:
        reason = f"it is the middle of three answers: {agree[0]} takes {n_modes}"
    if others:
        reason += ", while " + _and(others)
    if (size := float(by_name[n_modes].weights.min()) * n_units) < _FEW:
        reason += f"; its smallest mode has about {counted(max(1, round(size)), 'unit')}"
    if n_modes == max(by_name):
        reason += "; it is the largest number that was compared, so compare more"
    elif without:
        reason += "; there is no test"
    return n_modes, reason + "."


def _said(name: str, choice: int, candidates: Mapping[int, ModeCandidate], level: float) -> str:
    if name == "BIC":
        return "BIC"
    if name == "held-out":
        return "the held-out likelihood"
    p = candidates[choice].p_value
    if p is None or p <= level:
        smaller = [n for n in candidates if n < choice]
        rejected = [n for n in smaller if candidates[n].p_value is not None]
        which = "every smaller number" if rejected == smaller else _and([str(n) for n in rejected])
        return f"the test (it rejects {which})"
    return f"the test (p = {p:.2g} for {choice} against {choice + 1})"


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
