"""What scikit-learn asks of an estimator, without inheriting from it: parameters, tags and requests for metadata."""

from __future__ import annotations

import inspect
from typing import Any, Self

from cem.errors import OptionError

__all__ = ["SklearnFace"]

_ROUTED = {
    "fit": ("times", "axes", "modes", "unit", "time", "columns"),
    "predict": ("times", "axes"),
    "score": ("times", "axes"),
}
"""Arguments that scikit-learn's searches can pass on, by method."""


class SklearnFace:
    """Parameters by name, tags, and which arguments of `fit`, `predict` and `score` a search is to pass on."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name.

        Raises
        ------
        OptionError
            There is no such argument.
        """
        names = self._parameter_names()
        for name, value in params.items():
            if name not in names:
                raise OptionError(f"FailureModeEM has no option {name!r}; its options are {', '.join(names)}")
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True, allow_nan=True),
        )

    # -- metadata ---------------------------------------------------------------------------------------------------

    def get_metadata_routing(self) -> Any:
        """Which arguments a search of scikit-learn passes on, as its `MetadataRequest`."""
        # scikit-learn's clone copies an attribute of this name.
        kept = self.__dict__.get("_metadata_request")
        return _no_requests(self) if kept is None else kept

    def set_fit_request(self, **requests: bool | str | None) -> Self:
        """Have a search of scikit-learn pass arguments on to `fit`: ``times``, ``axes``, ``modes``, ...

        Parameters
        ----------
        requests : bool, str or None
            True: pass the argument of this name on; a str: the one of that name; False or None: do not.

        Raises
        ------
        OptionError
            `fit` takes no such argument, or metadata routing is off.
        """
        return self._set_requests("fit", requests)

    def set_predict_request(self, **requests: bool | str | None) -> Self:
        """Have scikit-learn pass ``times`` or ``axes`` on to `predict`; as for `set_fit_request`."""
        return self._set_requests("predict", requests)

    def set_score_request(self, **requests: bool | str | None) -> Self:
        """Have scikit-learn pass ``times`` or ``axes`` on to `score`; as for `set_fit_request`."""
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
