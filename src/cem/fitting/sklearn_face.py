"""The interface that scikit-learn expects of an estimator, without inheriting from it: parameters, tags, metadata."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from cem.errors import OptionError, SuspectDataWarning
from cem.errors.warning import warn
from cem.fitting.estimator_state import restored_state, saved_state
from cem.fitting.nested_parameters import nested_parameters, with_nested
from cem.model.clock_match import SEARCH_ADVICE, is_positions

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["SklearnFace", "check_scores_get", "warn_of_split_units"]

_OF_ARRAYS = ("times", "axes", "covariates", "unit_covariates")
_ROUTED = {
    "fit": (*_OF_ARRAYS, "modes", "sample_weight", "unit", "time", "columns"),
    **dict.fromkeys(("predict", "predict_proba", "transform"), _OF_ARRAYS),
    "score": (*_OF_ARRAYS, "sample_weight"),
}
"""Arguments that scikit-learn's searches can pass on, by method."""

_DEEPEST = 24
"""Largest number of calls between a search and the fit inside it."""


class SklearnFace:
    """Parameters by name, tags, and metadata requests for `fit`, `predict` and `score`."""

    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        # Tools for estimators take every name in the signature for an option, and so would take **nested.
        whole = inspect.signature(cls.__init__)
        options = {name: one for name, one in whole.parameters.items() if one.kind is not one.VAR_KEYWORD}
        above = getattr(super(cls, cls), "__signature__", None)
        if above is not None and len(options) < len(whole.parameters):  # a subclass passes **keywords on
            passed = {name: one.replace(kind=one.KEYWORD_ONLY) for name, one in above.parameters.items()}
            options = {**options, **{name: one for name, one in passed.items() if name not in options}}
        cls.__signature__ = whole.replace(parameters=list(options.values())[1:])

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return sorted(cls.__signature__.parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name.

        Parameters
        ----------
        deep : bool
            Also return the parameters of these arguments: ``basis__degree``, or ``basis__vib__degree`` where the
            channel "vib" has a basis of its own, and ``regimes__n``.
        """
        own = {name: self._option(name) for name in self._parameter_names()}
        return {**own, **nested_parameters(own)} if deep else own

    def _option(self, name: str) -> Any:
        """An option; that of the name of a method is behind it."""
        return self.__dict__[name] if name == "uncertainty" else getattr(self, name)

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name, and return the estimator.

        Parameters
        ----------
        **params
            Arguments of the constructor and their new values. ``basis__degree=3`` gives the estimator a new basis of
            degree 3; the old one does not change, because bases are immutable.

        Raises
        ------
        OptionError
            There is no such argument; the estimator stays as it was.
        """
        names = self._parameter_names()
        changed: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for name, value in params.items():
            first, _, rest = name.partition("__")
            if name in names:
                changed[name] = value
            elif rest and first in names:
                nested.setdefault(first, {})[rest] = value
            else:
                raise OptionError(f"FailureModeEM has no option {name!r}; its options are {', '.join(names)}")
        for first, changes in nested.items():
            changed[first] = with_nested(changed.get(first, getattr(self, first)), changes, first)
        for name, value in changed.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = self.__signature__.parameters
        shown = [repr(self.__dict__["n_modes"])]
        for name, parameter in defaults.items():
            if name == "n_modes":
                continue
            value = self._option(name)
            if not (value is parameter.default or value == parameter.default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return saved_state(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(restored_state(state))

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(two_d_array=True, three_d_array=True, allow_nan=True),
        )

    # -- metadata ---------------------------------------------------------------------------------------------------

    def get_metadata_routing(self) -> Any:
        """Return the arguments that a scikit-learn search passes on, as a `MetadataRequest`."""
        # sklearn.clone copies the attribute of this name.
        kept = self.__dict__.get("_metadata_request")
        return _no_requests(self) if kept is None else kept

    def set_fit_request(self, **requests: bool | str | None) -> Self:
        """Tell scikit-learn's searches which arguments to pass on to `fit`: ``times``, ``axes``, ``modes``, ...

        Parameters
        ----------
        requests : bool, str or None
            True: pass on the argument of this name. A str: pass on the argument of that name. False or None: do not.

        Raises
        ------
        OptionError
            `fit` takes no such argument, or metadata routing is off.
        """
        return self._set_requests("fit", requests)

    def set_predict_request(self, **requests: bool | str | None) -> Self:
        """Tell scikit-learn to pass ``times`` or ``axes`` on to `predict`; as for `set_fit_request`."""
        return self._set_requests("predict", requests)

    def set_predict_proba_request(self, **requests: bool | str | None) -> Self:
        """Tell scikit-learn to pass ``times`` or ``axes`` on to `predict_proba`; as for `set_fit_request`."""
        return self._set_requests("predict_proba", requests)

    def set_transform_request(self, **requests: bool | str | None) -> Self:
        """Tell scikit-learn to pass ``times`` or ``axes`` on to `transform`; as for `set_fit_request`."""
        return self._set_requests("transform", requests)

    def set_score_request(self, **requests: bool | str | None) -> Self:
        """Tell scikit-learn to pass ``times`` or ``axes`` on to `score`; as for `set_fit_request`."""
        return self._set_requests("score", requests)

    def _set_requests(self, method: str, requests: dict[str, bool | str | None]) -> Self:
        import copy

        import sklearn

        if not sklearn.get_config().get("enable_metadata_routing", False):
            raise OptionError(
                f"set_{method}_request needs scikit-learn's metadata routing, which is off: call "
                "sklearn.set_config(enable_metadata_routing=True) first"
            )
        for name in requests:
            if name not in _ROUTED[method]:
                raise OptionError(
                    f"set_{method}_request: {method} takes no {name!r} that could be passed on; it takes "
                    f"{', '.join(_ROUTED[method])}"
                )
        request = copy.deepcopy(self.get_metadata_routing())
        for name, alias in requests.items():
            getattr(request, method).add_request(param=name, alias=alias)
        self._metadata_request = request
        return self


def _no_requests(owner: SklearnFace) -> Any:
    from sklearn.utils.metadata_routing import MetadataRequest

    request = MetadataRequest(owner=owner)
    for method, names in _ROUTED.items():
        for name in names:
            getattr(request, method).add_request(param=name, alias=None)
    return request


def check_scores_get(of_arrays: Mapping[str, Any], panel: Panel) -> None:
    """Refuse a fit with ``times`` or covariates in a scikit-learn search that will call `score` without them.

    Every score would raise an error, and the search would choose among NaNs: it would return the first candidate and
    only warn. The refusal must come from the fit, because scikit-learn raises only if all fits fail.

    Parameters
    ----------
    of_arrays : mapping of str to object
        What `fit` received beside the array, by argument; None where it was left out.
    panel : Panel
        Made of them.

    Raises
    ------
    OptionError
        The search calls `score` without one of them.
    """
    given = [name for name, value in of_arrays.items() if value is not None]
    if "times" in given and is_positions(panel):
        given.remove("times")
    names = _names_in_search("_fit_and_score")
    if names is None:
        return
    scorer = names.get("scorer")
    several = getattr(scorer, "_scorers", {"score": scorer}).values()
    own = any(type(one).__name__ == "_PassthroughScorer" for one in several)  # other scorers may know the times
    routed = {name.rpartition("__")[2] for name in names.get("score_params") or {}}
    lacking = next((name for name in given if name not in routed), None)
    if own and lacking is not None:
        raise OptionError(
            f"{lacking} reach fit but not score in this search of scikit-learn, which could score no candidate; "
            f"{SEARCH_ADVICE.replace('times', lacking)}"
        )


def warn_of_split_units(unit: str, panel: Panel) -> None:
    """Warn where a scikit-learn search cut a table by rows, so that a unit is in the training and the test part.

    Scores of units that the fit knows are too good, and the search prefers what fits them too closely.

    Parameters
    ----------
    unit : str
        Column of the unit's id.
    panel : Panel
        The training part.
    """
    names = _names_in_search("_fit_and_score", "_fit_and_predict")
    if names is None:
        return
    try:
        left_out = np.asarray(names["X"][unit])[names["test"]].tolist()
    except Exception:  # another step of the pipeline made the table, or the search cuts no rows
        return
    own = set(panel.units)
    both = [one for one in dict.fromkeys(left_out) if one in own]
    if both:
        warn(
            f"this search of scikit-learn cuts the data frame by rows: unit {both[0]!r} has readings in the training "
            f"part and in the part left out ({len(both)} such units); make a panel of the frame first, "
            f"Panel.from_frame(...), or give cv=GroupKFold() and groups=frame[{unit!r}]",
            SuspectDataWarning,
        )


def _names_in_search(*functions: str) -> Mapping[str, Any] | None:
    """Local names of the function of scikit-learn that called the fit; None outside of its searches."""
    frame = sys._getframe(2)
    for _ in range(_DEEPEST):  # a pipeline may come between
        caller = frame.f_back
        if caller is None:
            return None
        frame = caller
        if frame.f_code.co_name in functions and frame.f_globals.get("__name__", "").startswith("sklearn."):
            return frame.f_locals
    return None
