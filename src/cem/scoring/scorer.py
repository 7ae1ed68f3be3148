"""Streaming scoring of running units: `Scorer`, a packed model, and `Unit`, the state of one unit.

It needs only NumPy, not SciPy. The arithmetic is in the compiled base classes.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import OptionError, ScorerError
from cem.files.digest import sha256
from cem.process.channel_process import refuse_process
from cem.scoring import _scorer, _unit

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import Protocol

    from numpy.typing import ArrayLike, NDArray

    from cem.basis.family import Basis
    from cem.mixture.parameters import Parameters
    from cem.panel.panel import Panel
    from cem.scoring.fleet import Fleet
    from cem.scoring.unit_forecast import UnitForecast
    from cem.statistics.coordinates import Coordinates

    FloatArray = NDArray[np.float64]

    class Model(Protocol):
        """The attributes that a scorer needs of a model; `cem.FailureModeModel` has them."""

        @property
        def internal_parameters(self) -> Parameters: ...
        @property
        def coordinates(self) -> Coordinates: ...
        @property
        def bases(self) -> Sequence[Basis]: ...
        @property
        def channels(self) -> Sequence[str]: ...
        @property
        def response(self) -> str | None: ...
        @property
        def mode_labels(self) -> Sequence[Hashable]: ...


__all__ = ["Scorer", "Unit"]

_MAGIC = b"CEMUNIT\x00"
_VERSION = 1
_VERSION_OF_CONDITIONS = 2  # behind the state of the readings there are covariates
_VERSION_OF_PROCESSES = 3  # and before them the filters of channels that wander
_FROM_CONDITIONS = 6  # and all later numbers of a status: see _scorer.pxd
_HEADER = struct.Struct("<8sII16s")  # magic, version, count of numbers, fingerprint of the scorer
_CHECK_SIZE = 16
_SET_ONCE = frozenset(
    [
        "_model",
        "_rate",
        "_fingerprint",
        "_own_fingerprint",
        "_places",
        "_modes",
        "_whole",
        "_starts",
        "_white",
        "_given",
        "_n_given",
        "_n_filters",
    ]
)


class Scorer(_scorer.PackedScorer):
    """A fitted model packed for scoring single readings; immutable, and safe to share between threads and after fork.

    ``model.scorer()`` makes one.

    Parameters
    ----------
    model : FailureModeModel
        Or any object with its internal_parameters, coordinates, bases, channels, response and mode_labels.
    forgetting : float, optional
        λ in (0, 1]: a reading that is Δ older than the latest one counts λ^Δ. Its conditional likelihood is raised to
        that power, which weights its row of the least-squares problem and its count. Default: 1, nothing is forgotten.
        Lower it if a unit's behaviour changes over time and old readings should fade.

    Raises
    ------
    OptionError
        `forgetting` is not in (0, 1].
    ScorerError
        The model's parts do not fit each other, its time axis is "to_failure", or its channels are linked. For linked
        channels ``model.scorer()`` makes a `cem.scoring.linked_scorer.LinkedScorer`.

    Notes
    -----
    Custom bases work: each reading calls them in Python, which takes some microseconds more.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> scorer = cem.FailureModeEM(3, random_state=0).fit(panel).model_.scorer()
    >>> unit = scorer.unit()
    >>> unit.update(8.0, {"vibration": 2.1})
    >>> unit.mode_probabilities().shape
    (3,)
    """

    _linked = False
    _grouped = False  # whether modes have components, which are evaluated in their place
    _wanders = False  # whether readings are whitened before they enter

    def __init__(self, model: Model, *, forgetting: float | None = None) -> None:
        rate = 1.0 if forgetting is None else forgetting
        if isinstance(rate, bool) or not isinstance(rate, int | float | np.number) or not 0 < rate <= 1:
            raise OptionError(f"forgetting is {forgetting!r}; it must be a number in (0, 1], or None to forget nothing")
        if getattr(model, "time_axis", "forward") != "forward":
            raise ScorerError(
                "this model's time axis is 'to_failure': the time to failure of a running unit is unknown, so it "
                "cannot be scored reading by reading; use cem.RemainingLife, or fit with time_axis='forward'"
            )
        if not self._wanders:
            refuse_process(model, "this scorer", "use model.scorer(), without forgetting", ScorerError)
        if model.internal_parameters.rank and not self._linked:
            raise ScorerError(
                f"this model's channels are linked (linking_rank={model.internal_parameters.rank}), and this scorer "
                "takes them as independent; use model.scorer()"
            )
        if getattr(model, "components", None) is not None:
            raise ScorerError(
                "this model carries the uncertainty of its parameters, and this scorer takes them as known; use "
                "model.scorer()"
            )
        super().__init__(
            model.internal_parameters, model.coordinates, self._bases_of(model), tuple(model.channels), float(rate),
            getattr(model, "conditions", None), getattr(model, "of_units", None),
        )  # fmt: skip
        self._model = model
        self._rate = float(rate)
        self._fingerprint: bytes | None = None
        self._places: dict[str, NDArray[np.intp]] | None = None

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _SET_ONCE:
            raise AttributeError(f"a scorer cannot be changed; {name} was not set")
        super().__setattr__(name, value)

    @property
    def model(self) -> Model:
        """The model that was packed."""
        return self._model

    @property
    def mode_labels(self) -> tuple[Hashable, ...]:
        """Labels of the K modes, in the order of `Unit.mode_probabilities`."""
        return tuple(self._model.mode_labels)

    @property
    def forgetting(self) -> float:
        """λ; 1 if nothing is forgotten."""
        return self._rate

    @property
    def _n_columns(self) -> int:
        """What the kernels evaluate: modes, or their components."""
        return int(self.n_modes)

    def _sum_components(self, found: FloatArray, probabilities_out: FloatArray) -> None:
        """Probabilities of modes (L, K) from those that the kernels evaluate, (L, n)."""
        probabilities_out[:] = found

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.model, self._rate)

    def __repr__(self) -> str:
        forgetting = f", forgetting={self._rate:g}" if self._rate < 1 else ""
        return f"Scorer({self.n_modes} modes, {self.n_channels} channels{forgetting})"

    def unit(self, covariates: object = None) -> Unit:
        """Start a unit without readings.

        Parameters
        ----------
        covariates : mapping of name to value, or sequence, optional
            The unit's own covariates, such as its site, by name or in the order of `model.unit_covariates`. A model
            that has some needs them.

        Raises
        ------
        ScorerError
            They are missing or unknown, or the model has none.
        """
        unit = self._blank()
        if covariates is not None or getattr(self._model, "unit_covariates", None):
            from cem.scoring.under_conditions import unit_row

            unit._begin(unit_row(self, covariates))
        return unit

    def fleet(self, **options: Any) -> Fleet:
        """Start a fleet of running units by id; options and errors are those of `cem.scoring.fleet.Fleet`."""
        from cem.scoring.fleet import Fleet

        return Fleet(self, **options)

    def _blank(self) -> Unit:
        """A unit without readings and without covariates."""
        return Unit(self)

    def _bases_of(self, model: Model) -> tuple[Basis, ...]:
        """The basis of each channel, as the compiled scorer takes it."""
        return tuple(model.bases)

    def _rows_of(
        self, times: FloatArray, values: FloatArray, offsets: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray | None]:
        """A panel's readings as they enter (N, C), and values of Custom bases (N, n); None where they are called."""
        return values, None

    def score(self, panel: Panel, n_threads: int = 1) -> FloatArray:
        """Return the mode probabilities of every unit of a panel, from all its readings.

        Parameters
        ----------
        panel : Panel
            Channels are matched by name. Absent channels count as missing; channels that the fit left out because they
            did not vary are left out here too.
        n_threads : int
            Number of threads; the GIL is released, and the result does not depend on the number.

        Returns
        -------
        ndarray of shape (L, K)

        Raises
        ------
        ScorerError
            The panel has a channel that the model does not know, or another time unit, or a value or time that cannot
            be scored, or it lacks covariates of the model; the message names the unit.
        """
        values = self._own_values(panel)
        probabilities = np.empty((panel.n_units, self._n_columns))
        w, unit_w = self._panel_covariates(panel)
        entering, custom = self._rows_of(panel.times, values, panel.offsets)
        failure = self._score_rows(panel.times, entering, panel.offsets, probabilities, n_threads, w, unit_w, custom)
        if failure is not None:
            number, row, status, channel = failure
            if status >= _FROM_CONDITIONS:
                from cem.scoring.under_conditions import panel_error

                raise panel_error(self, panel, row)
            name = self.channels[channel] if channel >= 0 else "?"
            raise ScorerError(
                f"channel {name!r} of unit {panel.units[number]!r} has the value {values[row, channel]} at time "
                f"{panel.times[row]}, which is too far from all training data; check the units "
                "of value and time"
            )
        return probabilities

    def _panel_covariates(self, panel: Panel) -> tuple[FloatArray | None, FloatArray | None]:
        """Covariates of a panel's readings (N, m) and of its units (L, m_u); None where the model has none."""
        if getattr(panel, "mode_probabilities", None) is not None:
            raise ScorerError(
                "the panel has mode probabilities of an expert, which streaming does not take; call "
                "model.predict_proba(panel), or take panel.with_mode_probabilities(None)"
            )
        if getattr(self._model, "conditions", None) is None and getattr(self._model, "of_units", None) is None:
            return None, None
        from cem.scoring.under_conditions import panel_rows

        return panel_rows(self, panel)

    def _own_values(self, panel: Panel) -> FloatArray:
        """The panel's values with the model's channels as columns; ScorerError if it does not fit the model."""
        own_unit = getattr(self._model, "time_unit", None)
        if own_unit is not None and panel.time_unit is not None and panel.time_unit != own_unit:
            raise ScorerError(
                f"the panel's times are in {panel.time_unit!r}, the model's in {own_unit!r}; convert them"
            )
        left_out = getattr(self._model, "training", {}).get("left_out_channels", ())
        unknown = [name for name in panel.channels if name not in self.channels and name not in left_out]
        if unknown:
            raise ScorerError(
                f"the panel has channels {unknown} that the model does not know; take "
                "panel.select_channels([...]) of the model's own: " + ", ".join(map(repr, self.channels))
            )
        values = panel.values
        if tuple(panel.channels) != self.channels:
            values = np.full((len(panel.times), self.n_channels), np.nan)
            known = [name for name in panel.channels if name in self.channels]
            taken = [panel.channels.index(name) for name in known]
            values[:, [self.channels.index(name) for name in known]] = panel.values[:, taken]
        return values

    def _ignored_names(self) -> tuple[str, ...]:
        """Channels that the fit left out; readings may still have them."""
        training = getattr(self._model, "_training", None)
        return tuple(training.get("left_out_channels", ())) if training else ()

    def _covariate_names(self) -> tuple[str, ...]:
        """Covariates of readings, in order."""
        return self.covariate_names

    def _covariate_row(self, covariates: object) -> FloatArray:
        """The covariates of a reading, (m,), from what is no plain array of numbers."""
        from cem.scoring.under_conditions import covariate_row

        return covariate_row(self, covariates)

    def _covariate_error(self, row: FloatArray, t: float) -> ScorerError:
        """The error of columns of conditions (n_columns,) that were refused."""
        from cem.scoring.under_conditions import covariate_error

        return covariate_error(self, row, t)

    def _no_covariates(self) -> ScorerError:
        from cem.scoring.under_conditions import no_covariates

        return no_covariates(self)

    def _lacks_unit_covariates(self) -> ScorerError:
        from cem.scoring.under_conditions import lacks_unit_covariates

        return lacks_unit_covariates(self)

    def fingerprint(self) -> bytes:
        """16 bytes that identify the model and its forgetting; saved units contain them."""
        if self._fingerprint is None:
            model, parts = self._model, []
            parameters = model.internal_parameters
            parts.append(repr((_VERSION, tuple(model.channels), tuple(parameters.sizes), self._rate)).encode())
            for array in (
                parameters.weights, parameters.means, parameters.factors, parameters.noise_variances,
                model.coordinates.centres, model.coordinates.scales, model.coordinates.transforms,
                *(() if parameters.loadings is None else (parameters.loadings,)),
            ):  # fmt: skip
                parts.append(np.ascontiguousarray(array, dtype="<f8").tobytes())
            for basis in model.bases:
                name = ""
                if basis.kind < 0:
                    function = getattr(basis, "function", basis)
                    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
                parts.append(repr((int(basis.kind), int(basis.size), name)).encode())
                parts.append(np.ascontiguousarray(basis.numbers, dtype="<f8").tobytes())
            for conditions in (getattr(model, "conditions", None), getattr(model, "of_units", None)):
                if conditions is not None:
                    parts.append(json.dumps(conditions.to_dict(), sort_keys=True, default=repr).encode())
            processes = getattr(model, "processes", None)
            if processes is not None:
                own = [None if each is None else [each.kind, each.ratio, each.rate] for each in processes]
                parts.append(json.dumps(own).encode())
            if parameters.membership is not None:
                parts.append(np.ascontiguousarray(parameters.membership, dtype="<f8").tobytes())
            self._fingerprint = sha256(b"".join(parts))[:_CHECK_SIZE]
        return self._fingerprint

    def _state_places(self) -> dict[str, NDArray[np.intp]]:
        """Positions of the diagonals of R, of w, rss and n, and of the constants in a unit's state."""
        if self._places is None:
            unit = self._blank()
            size = len(unit._get_state())
            unit._set_state(np.arange(size, dtype=np.float64))  # every number read back is then its own position
            statistics = [unit._channel_statistics(c) for c in range(self.n_channels)]
            weights = unit._channel_weights().astype(np.intp)
            lanes = (weights - np.array([w[-1] for _, w, _ in statistics], dtype=np.intp)) // 3
            squares = np.concatenate([weights - 2 * lanes, weights - lanes])  # rss and its rounding error
            used = np.zeros(size, dtype=bool)
            has_scales = getattr(getattr(self._model, "conditions", None), "regimes", None) is not None
            used[: 3 if has_scales else 2] = used[weights] = used[squares] = True
            for R, w, _ in statistics:
                used[np.append(R[np.triu_indices(len(w))], w).astype(np.intp)] = True
            diagonals = np.concatenate([np.diagonal(R) for R, _, _ in statistics]).astype(np.intp)
            self._places = {
                "diagonals": diagonals, "squares": squares, "weights": weights, "unused": np.flatnonzero(~used),
            }  # fmt: skip
        return self._places


def _unpickled(kind: type[Scorer], model: Model, rate: float) -> Scorer:
    return kind(model, forgetting=rate)


def _restored(kind: type[Unit], scorer: Scorer, data: bytes) -> Unit:
    return kind.from_bytes(scorer, data)  # a function of the module: cloudpickle copies the code of a bound method


class Unit(_unit.UnitState):
    """One running unit: the state of its readings so far, in constant memory; made by `Scorer.unit`.

    Readings may come in any time order. `update`, `update_channel` and `mode_probabilities` hold the GIL, so two
    threads that share a unit do not corrupt it. `update_many` releases the GIL, and other calls are refused meanwhile.
    Give each thread units of its own.
    """

    scorer: Scorer

    def _begin(self, covariates: FloatArray) -> None:
        """Give a unit without readings its own covariates, (m_u,)."""
        memory = self._get_memory()
        memory[: len(covariates)] = covariates
        if not self._set_memory(memory):
            raise ScorerError("the covariates of the unit are too far from all training units; check their units")

    def update_many(self, times: ArrayLike, values: ArrayLike, covariates: object = None) -> None:
        """Add many readings at once: all of them enter, or none.

        Parameters
        ----------
        times : array of shape (n,)
            In any order.
        values : array of shape (n, C), or data frame
            NaN or masked = missing; a data frame is read by its column names.
        covariates : array of shape (n, m), data frame, or mapping of name to n values, optional
            As for `update`, a row for each reading.

        Raises
        ------
        ScorerError
            As for `update`; the message names the row, and the state does not change.
        """
        rows = _float_array("times", times, 1)
        readings = _float_rows(values, self.scorer)
        if readings.shape != (len(rows), self.scorer.n_channels):
            raise ScorerError(
                f"values have shape {readings.shape}; ({len(rows)}, {self.scorer.n_channels}), a row for each time and "
                "a column for each channel, was expected"
            )
        self._update_rows(rows, readings, self._covariate_rows(covariates, len(rows)))

    def _covariate_rows(self, covariates: object, n: int) -> FloatArray | None:
        """The covariates of n readings, (n, m); None if the model has none."""
        scorer = self.scorer
        if covariates is None and getattr(scorer.model, "conditions", None) is None:
            return None
        from cem.scoring import under_conditions
        from cem.scoring.condition_layout import reading_columns

        columns = reading_columns(getattr(scorer.model, "conditions", None))
        if not columns:
            if covariates is not None:
                raise under_conditions.no_covariates(scorer)
            return None
        if covariates is None:
            under_conditions.covariate_row(scorer, None)  # raises
        return under_conditions.covariate_rows(columns, covariates, n)

    def posterior(self, mode: int, channel: int | str) -> tuple[FloatArray, FloatArray]:
        """Return the posterior of the unit's own coefficients T of one channel, given the mode; model.md (4), (12).

        Parameters
        ----------
        mode : int
            0 to K − 1.
        channel : int or str
            Its position or name.

        Returns
        -------
        mean : ndarray of shape (p,)
            T̂, in the panel's units: ``model.bases[c](t) @ mean`` is the curve, in standard conditions if the model
            has covariates or regimes.
        covariance : ndarray of shape (p, p)
            Σ̂.

        Raises
        ------
        ScorerError
            There is no such mode or channel.
        """
        number = self.scorer._channel_number(channel)
        if isinstance(mode, bool) or not isinstance(mode, int | np.integer) or not 0 <= mode < self.scorer.n_modes:
            raise ScorerError(f"there is no mode {mode!r}; give a number from 0 to {self.scorer.n_modes - 1}")
        means, roots = self._posteriors(number)
        p = self.scorer.model.bases[number].size  # behind them may be by-mode columns, which do not vary
        return means[mode, :p], (roots[mode] @ roots[mode].T)[:p, :p]

    def forecast(self, times: ArrayLike, channel: int | str | None = None, covariates: object = None) -> UnitForecast:
        """Forecast a new reading of a channel at given times: the predictive mixture of model.md, "Prognosis".

        Parameters
        ----------
        times : array of shape (m,) or a number
            In the panel's time unit.
        channel : int or str, optional
            Default: the response of the model.
        covariates : mapping of name to m values or one, data frame, array of shape (m, ·), or "last", optional
            Covariates of readings at these times, by name or in the order of `model.covariates`. "last": as they were
            read last. A model that has some needs them; the unit's own covariates hold as before.

        Returns
        -------
        UnitForecast

        Raises
        ------
        ScorerError
            There is no such channel, the model has no response and no channel was given, covariates are missing or
            wrong, or a time is not finite, or so far from the training times that the forecast overflows.
        """
        from cem.scoring.unit_forecast import forecast_of

        return forecast_of(self, np.atleast_1d(_float_array("times", times, None)), channel, covariates)

    def novelty(self) -> float:
        """Return the probability that a unit of its most probable mode fits as badly or worse.

        A value near 0 means: like no training unit. The misfit (x − Φμ)ᵀ V⁻¹ (x − Φμ) under that mode has a chi-square
        distribution with one degree of freedom per observed value (with forgetting approximately, per unit of weight).
        1 before the first reading.
        """
        _, misfits = self._log_densities()
        best = int(np.argmax(self.mode_probabilities()))
        tail = _scorer.chi_square_tail(float(misfits[best]), float(self._channel_weights().sum()))
        return max(0.0, float(tail))  # 1 − sum, where rounding may make the sum larger than 1

    def copy(self) -> Unit:
        """Return an independent unit with the same readings."""
        twin = type(self)(self.scorer)
        twin._set_memory(self._get_memory())
        twin._set_state(self._get_state())
        return twin

    def __copy__(self) -> Unit:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, object]) -> Unit:
        return self.copy()

    def to_bytes(self) -> bytes:
        """Save the state as bytes for `from_bytes` with the same model: version, fingerprint, numbers, checksum."""
        memory = self._get_memory()
        numbers = np.concatenate([self._get_state(), memory]).astype("<f8")
        version = self._version(len(memory))
        body = _HEADER.pack(_MAGIC, version, len(numbers), self.scorer.fingerprint()) + numbers.tobytes()
        return body + sha256(body)[:_CHECK_SIZE]

    def _version(self, n_memory: int) -> int:
        """Of saved units; there are n_memory covariates behind the state."""
        if self.scorer._wanders:
            return _VERSION_OF_PROCESSES
        return _VERSION_OF_CONDITIONS if n_memory else _VERSION

    @classmethod
    def from_bytes(cls, scorer: Scorer, data: bytes) -> Unit:
        """Restore a unit that `to_bytes` saved.

        Parameters
        ----------
        scorer : Scorer
            Of the same model, with the same forgetting.
        data : bytes
            The saved state.

        Raises
        ------
        ScorerError
            The bytes are truncated, altered, of another version or of another model.
        """
        unit = scorer._blank()  # of its own kind: `Unit` reads the bytes of a unit that wanders, too
        try:
            raw = bytes(memoryview(data))
        except TypeError:
            raise ScorerError(f"a saved unit is of type bytes; {type(data).__name__} was found") from None
        fresh, n_memory = unit._get_state(), len(unit._get_memory())
        expected = _HEADER.size + 8 * (len(fresh) + n_memory) + _CHECK_SIZE
        if len(raw) < _HEADER.size or raw[: len(_MAGIC)] != _MAGIC:
            raise ScorerError("these bytes are not a saved unit; they must come from Unit.to_bytes()")
        _, version, count, fingerprint = _HEADER.unpack_from(raw)
        if sha256(raw[:-_CHECK_SIZE])[:_CHECK_SIZE] != raw[-_CHECK_SIZE:]:
            raise ScorerError("the saved unit is truncated or altered: its checksum differs; save it again")
        own_version = unit._version(n_memory)
        if version != own_version:
            raise ScorerError(
                f"the saved unit has format version {version}; this release reads {own_version} of such a model"
            )
        if fingerprint != scorer.fingerprint():
            raise ScorerError(
                "the saved unit belongs to another model or another forgetting; score its readings again with this one"
            )
        if len(raw) != expected or 8 * count != expected - _HEADER.size - _CHECK_SIZE:
            raise ScorerError(f"the saved unit has {len(raw)} bytes; {expected} were expected")
        numbers = np.frombuffer(raw, "<f8", count, _HEADER.size).astype(np.float64)
        from cem.scoring.saved_state import require_memory, require_state

        require_state(numbers[: len(fresh)], fresh, scorer)
        if n_memory:
            require_memory(unit, numbers[len(fresh) :], int(numbers[1]))
        unit._set_state(numbers[: len(fresh)])
        return unit

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.scorer, self.to_bytes())

    def __repr__(self) -> str:
        probabilities = ", ".join(f"{value:.3f}" for value in self.mode_probabilities())
        return f"Unit({self.n_observations} observations, mode probabilities [{probabilities}])"

    def _posteriors(self, channel: int) -> tuple[FloatArray, FloatArray]:
        """Means (K, p) and square roots of the covariances (K, p, p) of one channel, in the panel's units."""
        from cem.scoring.unit_posteriors import posteriors_of

        return posteriors_of(self, channel)


def _float_rows(values: ArrayLike, scorer: Scorer) -> FloatArray:
    if type(values) is np.ndarray and values.dtype == np.float64:
        array: FloatArray = values
    else:
        from cem.panel.readings import readings

        array = readings(values, scorer.channels, scorer._ignored_names())
    if array.ndim != 2:
        raise ScorerError(f"values have {array.ndim} dimensions; 2 were expected")
    return np.ascontiguousarray(array)


def _float_array(name: str, values: ArrayLike, n_dimensions: int | None) -> FloatArray:
    """A contiguous float64 array with this many dimensions; a typed error for anything else."""
    if type(values) is np.ndarray and values.dtype == np.float64:
        array: FloatArray = values
    else:
        from cem.panel.readings import time_rows

        array = time_rows(values) if np.ndim(values) else np.asarray(time_rows([values])[0])
    if n_dimensions is not None and array.ndim != n_dimensions:
        raise ScorerError(f"{name} have {array.ndim} dimensions; {n_dimensions} were expected")
    return np.ascontiguousarray(array, dtype=np.float64)
